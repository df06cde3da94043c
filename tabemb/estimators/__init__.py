"""scikit-learn estimators: one row, one answer."""

"""scikit-learn estimators: the public face of the library."""

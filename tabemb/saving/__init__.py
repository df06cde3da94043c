"""Files of fitted estimators."""

"""Files that hold fitted estimators."""

"""Vectors without a target on data sets that the field knows, beside published figures."""

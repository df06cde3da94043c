"""Vectors without a target on well-known data sets, compared with published results."""

"""Vectors and recommendations without a target column."""

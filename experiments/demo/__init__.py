"""Forecast known data, compare the errors with those of other models, and show the vectors."""

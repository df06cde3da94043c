"""Forecast what is known already, with errors beside those of other models, and show the vectors."""

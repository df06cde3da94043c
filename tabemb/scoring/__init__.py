"""Predictions for files that do not fit into memory."""

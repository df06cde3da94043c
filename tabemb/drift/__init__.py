"""Drift: how later rows differ from the training rows. Internal; no public names."""

"""Drift: how later rows differ from the training rows. Imported by the floors above; no public names."""

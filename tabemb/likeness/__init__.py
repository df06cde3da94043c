"""Likeness: which known labels a new one resembles. Imported by the floors above; no public names."""

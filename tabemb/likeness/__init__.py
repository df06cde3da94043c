"""Likeness: which known labels a new label is similar to. Internal; no public names."""

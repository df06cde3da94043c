"""Runnable studies: each stands on the library, none is imported by it."""

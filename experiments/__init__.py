"""Runnable studies: they import the library, which imports none of them."""

"""The number of random trials of a test: few in `make test`, all in `make fuzz`."""

import os


def trials(few, many):
    """Return `many` where the environment sets TABEMB_FUZZ, and `few` otherwise."""
    return many if os.environ.get("TABEMB_FUZZ") else few

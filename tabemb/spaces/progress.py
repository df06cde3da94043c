"""A progress bar for what takes long."""

from __future__ import annotations

from tqdm import tqdm

BAR_DELAY = 3.0
"""Seconds before a progress bar appears: short work stays quiet."""


def progress(total: int) -> tqdm:
    """Return a bar that shows on a terminal alone, and only when the work takes long."""
    return tqdm(total=total, disable=None, delay=BAR_DELAY, leave=False)

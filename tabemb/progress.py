"""A progress bar for what takes long."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm

BAR_DELAY = 3.0
"""Seconds before a progress bar appears: short work stays quiet."""


def bar_settings(show: bool | None = None) -> dict[str, Any]:
    """Arguments of tqdm for a bar that shows only when the work takes long; None: and on a terminal alone."""
    return {"disable": None if show is None else not show, "delay": BAR_DELAY, "leave": False}


def progress(total: int, unit: str = "it", show: bool | None = None) -> tqdm:
    """Return a bar with `bar_settings`."""
    return tqdm(total=total, unit=unit, **bar_settings(show))

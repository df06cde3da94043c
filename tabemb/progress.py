"""Progress bars for work that takes long."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm

BAR_DELAY = 3.0
"""Seconds before a progress bar appears: short work stays quiet."""


def bar_settings(show: bool | None = None) -> dict[str, Any]:
    """Return arguments of tqdm for a bar that appears late; ``show=None``: and only on a terminal."""
    return {"disable": None if show is None else not show, "delay": BAR_DELAY, "leave": False}


def progress(total: int | None, unit: str = "it", show: bool | None = None, done: int = 0) -> tqdm[Any]:
    """Return a bar of ``total`` units (None: not known), some of them done, with `bar_settings`."""
    return tqdm(total=total, unit=unit, initial=done, **bar_settings(show))

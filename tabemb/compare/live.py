"""The progress of a running cell: how far its fit is, and for how many seconds it has run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from tqdm import tqdm

SECONDS = 0.5
"""Seconds between two refreshes of the bar, and between two reports of a fit."""
FORMAT = "{desc} {percentage:3.0f}%|{bar}| {unit}"

Report = Callable[[float, str], None]
"""Takes the share of a fit that is done, from 0 to 1, and a text such as "epoch 3"."""

_REPORT: ContextVar[Report | None] = ContextVar("tabemb_cell_report", default=None)


def report(share: float, text: str) -> None:
    """Report the progress of the current fit; does nothing without a listener."""
    listener = _REPORT.get()
    if listener is not None:
        listener(share, text)


@contextmanager
def reporting_to(listener: Report) -> Iterator[None]:
    """Send the reports of fits within this block to a listener, twice a second at most."""
    last = -SECONDS

    def rarely(share: float, text: str) -> None:
        nonlocal last
        if time.monotonic() - last >= SECONDS:
            last = time.monotonic()
            listener(share, text)

    token = _REPORT.set(rarely)
    try:
        yield
    finally:
        _REPORT.reset(token)


def epochs_done(number: int) -> float:
    """Return the share of a fit that counts as done after some epochs, as its end is not known.

    Examples
    --------
    >>> epochs_done(10)
    0.5
    """
    return number / (number + 10)


class LiveBar:
    """A progress bar over cells that also shows progress and seconds within the running cell.

    Parameters
    ----------
    bar : tqdm
        The bar of all cells; a hidden one is not refreshed.
    """

    def __init__(self, bar: tqdm[Any]) -> None:
        self.bar, self.n_done = bar, int(bar.n)
        self._share, self._text, self._start = 0.0, "", 0.0

    @contextmanager
    def cell(self, name: str) -> Iterator[None]:
        """Show a cell while the block runs; it counts as finished afterwards."""
        self._share, self._text, self._start = 0.0, "", time.monotonic()
        self.bar.set_description_str(name, refresh=False)
        is_over = threading.Event()
        ticking = threading.Thread(target=self._tick, args=(is_over,), daemon=True)
        if not self.bar.disable:
            ticking.start()
        try:
            with reporting_to(self._reported):
                yield
        finally:
            is_over.set()
            if not self.bar.disable:
                ticking.join()
        self.n_done += 1
        self._share, self._text = 0.0, ""
        self._set()

    def _reported(self, share: float, text: str) -> None:
        self._share, self._text = min(max(share, 0.0), 1.0), text

    def _tick(self, is_over: threading.Event) -> None:
        self.show()
        while not is_over.wait(SECONDS):
            self.show()

    def show(self) -> None:
        """Draw the bar with the state of the running cell."""
        self._set()
        self.bar.refresh()

    def _set(self) -> None:
        seconds = f"{time.monotonic() - self._start:.0f} s"
        texts = [f"{self.n_done} of {self.bar.total} done", self._text, seconds]
        self.bar.n = self.n_done + self._share
        self.bar.unit = ", ".join(filter(None, texts))  # FORMAT shows the unit at its end

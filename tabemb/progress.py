"""Progress bars for long work, and a line when it is done, on terminals and in notebooks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec
from typing import Any

from tqdm import tqdm

BAR_DELAY = 3.0
"""Seconds before a progress bar appears, and after which a line on a terminal says that work is done:
short work prints nothing."""

_IS_QUIET: ContextVar[bool] = ContextVar("tabemb_is_quiet", default=False)


def in_notebook() -> bool:
    """Whether a Jupyter kernel runs this process, so that output goes into a notebook."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


def bar_settings(show: bool | None = None) -> dict[str, Any]:
    """Return arguments of tqdm for a bar that appears after ``BAR_DELAY``.

    ``show=None``: only on a terminal or in a notebook.
    """
    is_hidden = (None if not in_notebook() else False) if show is None else not show
    return {"disable": is_hidden, "delay": BAR_DELAY, "leave": False}


def bar_class() -> type[tqdm[Any]]:
    """Return tqdm's class of bars: the one for notebooks if a notebook can show it."""
    if in_notebook() and find_spec("ipywidgets") is not None:
        from tqdm.notebook import tqdm as notebook_bar

        return notebook_bar
    return tqdm


def progress(total: int | None, unit: str = "it", show: bool | None = None, done: int = 0) -> tqdm[Any]:
    """Return a bar of ``total`` units (None: not known), with ``done`` finished, and `bar_settings`."""
    return bar_class()(total=total, unit=unit, initial=done, **bar_settings(show))


def print_line(line: str, seconds: float, show: bool | None = None) -> None:
    """Print a line that work is done, which took ``seconds``.

    ``show=None``: in a notebook, or on a terminal if it took long. Never within `quiet`.
    """
    if _IS_QUIET.get():
        return
    if show is None:
        show = in_notebook() or (seconds >= BAR_DELAY and sys.stderr.isatty())
    if show:
        print(line, file=sys.stdout if in_notebook() else sys.stderr)


@contextmanager
def quiet() -> Iterator[None]:
    """Print no lines within this context: the work is a part of other work."""
    token = _IS_QUIET.set(True)
    try:
        yield
    finally:
        _IS_QUIET.reset(token)

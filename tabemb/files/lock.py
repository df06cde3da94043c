"""Folders that one process at a time works in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]


@contextmanager
def locked(folder: Path, waits: bool = True) -> Iterator[bool]:
    """Hold the lock of a folder within the context; the system frees that of a killed process.

    Parameters
    ----------
    folder : Path
        Exists.
    waits : bool, default=True
        Whether to wait for another process.

    Yields
    ------
    bool
        Whether the lock is held.
    """
    with open(folder / "lock", "a") as file:
        if fcntl is None:
            yield waits
            return
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True

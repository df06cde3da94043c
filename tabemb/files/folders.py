"""Folders that can be written to, and those that one process at a time works in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]


@contextmanager
def writable(folder: Path, argument: str) -> Iterator[None]:
    """Make a folder if need be, and enter the block if it can be written to.

    Raises
    ------
    ValueError
        It cannot be made or written to, or the block could not; the message names the argument.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
        yield
    except OSError as error:
        raise ValueError(
            f"{argument} must name a folder that can be written to; {str(folder)!r} cannot be: "
            f"{error.strerror}."
        ) from error


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

"""Folders: a check that one can be written to, and a lock for one process at a time."""

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
    """Create a folder if needed, and enter the block if it can be written to.

    Raises
    ------
    ValueError
        The folder cannot be created or written to, also by the block; the message names the argument.
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
    """Hold the lock of a folder within the context; if the process is killed, the system releases it.

    Parameters
    ----------
    folder : Path
        An existing folder.
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

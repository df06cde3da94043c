"""Files that are replaced as a whole or not at all, and checksums that detect damage."""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import secrets
from collections.abc import Iterator
from io import BufferedRandom
from pathlib import Path

N_DIGITS = 64
"""Length of a checksum, SHA-256 in hexadecimal digits."""
Buffer = bytes | bytearray | mmap.mmap
BLANK = b"0" * N_DIGITS
"""Placeholder for the checksum of a file while it is computed."""


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BufferedRandom]:
    """Yield a new file that replaces ``path`` at the end.

    It is in the same folder under a unique name, so writers do not collide, and readers see either the
    old file or the new one. After an error, the old file stays and the new one is removed. A link stays
    a link: the file that it names is replaced.

    Parameters
    ----------
    path : str or path-like

    Raises
    ------
    ValueError
        ``path`` exists but is not a file, or its folder does not exist.
    """
    target = Path(os.path.realpath(path))
    _check_target(target, os.fspath(path))
    part = target.with_name(f".tabemb-{secrets.token_hex(8)}.part")
    try:
        with open(part, "x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            os.chmod(part, target.stat().st_mode)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    _flush_folder(target.parent)


def _check_target(target: Path, path: str) -> None:
    if target.is_dir():
        raise ValueError(f"path must name a file; {path!r} is a folder.")
    if target.exists() and not target.is_file():
        raise ValueError(f"path must name a file; {path!r} is a device or a pipe.")
    if not target.parent.is_dir():
        raise ValueError(f"path must name a file; {path!r} lies in a folder that does not exist.")


def _flush_folder(folder: Path) -> None:
    """Write the new name to the disk if the system can; the file itself is already in place."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def checksum(content: Buffer, place: int) -> bytes:
    """Return the checksum of a file's content, in which the stored checksum counts as `BLANK`.

    Parameters
    ----------
    content : bytes, bytearray or mmap
    place : int
        Where the stored checksum starts.
    """
    with memoryview(content) as view:
        digest = hashlib.sha256(view[:place])
        digest.update(BLANK)
        digest.update(view[place + N_DIGITS :])
    return digest.hexdigest().encode()


def seal(file: BufferedRandom, place: int) -> None:
    """Write the checksum of a file to its place in the file, which contains `BLANK`."""
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    file.seek(place)
    file.write(digest.encode())
    file.seek(0, os.SEEK_END)


def check_seal(content: Buffer, place: int, path: str) -> None:
    """Raise ValueError unless a file's content matches the checksum stored in it."""
    if bytes(content[place : place + N_DIGITS]) != checksum(content, place):
        raise ValueError(
            f"{path!r} is damaged: its content does not match its checksum; take another copy or save "
            "it again."
        )

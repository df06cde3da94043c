"""Files that are replaced as a whole or not at all, checksums that find damaged ones, and safe CSV."""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import re
import secrets
from collections.abc import Iterator
from io import BufferedRandom
from numbers import Number
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api import types

N_DIGITS = 64
"""Length of a checksum, SHA-256 in hexadecimal digits."""
Buffer = bytes | bytearray | mmap.mmap
BLANK = b"0" * N_DIGITS
"""What stands in the place of the checksum of a file while it is computed."""
FORMULA = re.compile("'*[=+\\-@\t\r\n\uff0b\uff0d\uff1d\uff20]")
"""The start of a cell that a spreadsheet runs as a formula, after apostrophes; also in full width."""
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BufferedRandom]:
    """Yield a new file that takes the place of ``path`` at the end.

    It lies beside the target under a name of its own, so savers do not meet, and readers see the old
    file or the new one. After an error the old file stays and nothing is left behind. A link stays a
    link: the file that it names is replaced.

    Parameters
    ----------
    path : str or path-like

    Raises
    ------
    ValueError
        ``path`` names something that is not a file, or lies in no folder.
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
    """Write the new name to the disk, where the system can: the file itself is in place."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def checksum(content: Buffer, place: int) -> bytes:
    """Return the checksum of a file's content, in which that of the file itself counts as blank.

    Parameters
    ----------
    content : bytes, bytearray or mmap
    place : int
        Where the checksum of the file starts.
    """
    with memoryview(content) as view:
        digest = hashlib.sha256(view[:place])
        digest.update(BLANK)
        digest.update(view[place + N_DIGITS :])
    return digest.hexdigest().encode()


def seal(file: BufferedRandom, place: int) -> None:
    """Write the checksum of a file to its place in it, which is blank."""
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    file.seek(place)
    file.write(digest.encode())
    file.seek(0, os.SEEK_END)


def check_seal(content: Buffer, place: int, path: str) -> None:
    """Raise ValueError unless a file's content has the checksum that stands in it."""
    if bytes(content[place : place + N_DIGITS]) != checksum(content, place):
        raise ValueError(
            f"{path!r} is damaged: its content does not match its checksum; take another copy or save "
            "it again."
        )


def write_csv(
    frame: pd.DataFrame, path: str | os.PathLike[str], float_format: str | None = None
) -> None:
    """Write a frame as CSV of which a spreadsheet runs nothing; numbers stay as they are.

    Parameters
    ----------
    frame : pandas.DataFrame
        Its index is not written.
    path : str or path-like
    float_format : str, optional
        As in ``DataFrame.to_csv``.
    """
    columns = {i: _guarded_column(frame.iloc[:, i]) for i in range(frame.shape[1])}
    header = [guarded(str(name)) for name in frame.columns]
    text = pd.DataFrame(columns).to_csv(index=False, header=header, float_format=float_format)
    with replacing(path) as file:
        file.write(text.encode(errors="backslashreplace"))


def _guarded_column(column: pd.Series) -> pd.Series:
    if types.is_numeric_dtype(column) or types.is_datetime64_any_dtype(column):
        return column
    cells: pd.Series = column.astype(object).map(_guarded_cell, na_action="ignore")
    return cells


def _guarded_cell(cell: Any) -> Any:
    if isinstance(cell, Number):
        return cell
    text = str(cell).encode(errors="backslashreplace").decode()  # for halves of characters
    return guarded(re.sub("\r\n?", "\n", text))  # pandas quotes no other line break


def guarded(cell: str) -> str:
    """Return a cell with an apostrophe before what a spreadsheet would run as a formula.

    Numbers stay as they are. Cells that begin so already get one more, so that reading can take it off.
    See https://owasp.org/www-community/attacks/CSV_Injection.
    """
    return "'" + cell if FORMULA.match(cell) and not NUMBER.fullmatch(cell) else cell


def without_guard(cell: str) -> str:
    """Return the cell that `guarded` was given."""
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell

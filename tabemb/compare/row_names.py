"""Rows in error messages, named by the place where the user finds them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd

NOTES, LINES = "tabemb_notes", "tabemb_lines"
"""Keys in the `attrs` of a frame that was read from a text file."""
_ROW = re.compile(r"\brow (\d+)\b")


class Lines:
    """The line of a text file on which each row begins; kept in a frame's `attrs` and never copied.

    Parameters
    ----------
    numbers : array of shape (n_rows,)
    """

    def __init__(self, numbers: np.ndarray) -> None:
        self.numbers = numbers

    def __deepcopy__(self, memo: object) -> Lines:
        """Return itself, as pandas copies a frame's `attrs` in every operation."""
        return self


def lines_of(frame: pd.DataFrame) -> np.ndarray | None:
    """Return the lines of a frame that was read from a text file; None for any other."""
    lines = frame.attrs.get(LINES)
    return lines.numbers if isinstance(lines, Lines) else None


def named_rows(text: str, rows: np.ndarray | None, lines: np.ndarray | None) -> str:
    """Replace positions of rows in a message by lines of the file, or else by rows of the source.

    Parameters
    ----------
    text : str
        A message with "row 7", counted from 0.
    rows : array of shape (n_rows,) or None
        The number in the source of each row of the frame that the message is about; None if the
        message already counts rows of the source.
    lines : array or None
        The line of each row of the source if that is a text file.

    Returns
    -------
    str

    Examples
    --------
    >>> named_rows("it holds 'x' in row 1.", np.array([4, 7]), None)
    "it holds 'x' in row 7."
    >>> named_rows("it holds 'x' in row 1.", None, np.array([2, 3, 5]))
    "it holds 'x' in line 3."
    """

    def named(match: re.Match[str]) -> str:
        row = int(match[1])
        if rows is not None:
            if row >= len(rows):
                return match[0]
            row = int(rows[row])
        if lines is None:
            return f"row {row}"
        return f"line {lines[row]}" if row < len(lines) else match[0]

    return _ROW.sub(named, text)


@contextmanager
def naming_lines(lines: np.ndarray | None) -> Iterator[None]:
    """Make errors in the block name rows by their line in the file, if there is a file."""
    try:
        yield
    except ValueError as error:
        if lines is None or not _ROW.search(str(error)):
            raise
        raise ValueError(named_rows(str(error), None, lines)) from None

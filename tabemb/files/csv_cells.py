"""CSV files in which a spreadsheet runs no cell as a formula."""

from __future__ import annotations

import os
import re
from numbers import Number
from typing import Any

import pandas as pd
from pandas.api import types

from tabemb.files.whole import replacing

FORMULA = re.compile("'*[=+\\-@\t\r\n\uff0b\uff0d\uff1d\uff20]")
"""The start of a cell that a spreadsheet runs as a formula, after any apostrophes; also full-width."""
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)


def write_csv(
    frame: pd.DataFrame, path: str | os.PathLike[str], float_format: str | None = None
) -> None:
    """Write a frame as CSV in which a spreadsheet runs no formula; numbers stay as they are.

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
    text = str(cell).encode(errors="backslashreplace").decode()  # for lone surrogates
    return guarded(re.sub("\r\n?", "\n", text))  # pandas quotes no other line breaks


def guarded(cell: str) -> str:
    """Put an apostrophe before a cell that a spreadsheet would run as a formula.

    Numbers stay as they are. A formula after apostrophes gets one more, so that a reader can remove it.
    See https://owasp.org/www-community/attacks/CSV_Injection.
    """
    return "'" + cell if FORMULA.match(cell) and not NUMBER.fullmatch(cell) else cell


def without_guard(cell: str) -> str:
    """Return the cell that `guarded` was given."""
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell

"""Conversion of a file's text columns to numbers, dates, booleans or categories."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tabemb.data.number_text import (
    MISSING_MARKS,
    NumberFormat,
    are_number_shaped,
    choose_format,
    decimal_of,
    formats_of,
    read_numbers,
)

MIN_NUMBERS, MAX_STRAY = 20, 0.05
"""Fewest distinct numbers and largest share of other texts in a column that was meant as numbers."""
_SIGNS = ("-", "--", ".")
"""Marks of missing values that are also common categories, and so need no note."""
_ISO_DATE = r"^\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?)?$"
_NO_MARK = r"^[0-9A-Za-z.,+-].{3,}[0-9A-Za-z.,]$"
"""Texts that are too long to be a mark, as most are."""
_BOOLEANS = ({"True", "False"}, {"true", "false"}, {"TRUE", "FALSE"})
_LARGEST_EXACT = 2**53


class TextColumn:
    """The texts of one column, by distinct value.

    Parameters
    ----------
    name : str
    values : pyarrow.Array of strings
    missing : collection of str
        Texts that stand for missing values, in addition to the empty one.
    """

    def __init__(self, name: str, values: pa.Array, missing: Collection[str] = ()) -> None:
        self.name = name
        encoded = values.dictionary_encode()
        self.codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        self.levels = np.array([*encoded.dictionary.to_pylist(), None], dtype=object)
        is_absent = pc.is_in(encoded.dictionary, pa.array(["", *missing], pa.string()))
        self.is_known = np.append(~is_absent.to_numpy(zero_copy_only=False), False)
        self.is_mark = self.is_known & np.append(_are_marks(encoded.dictionary), False)

    @property
    def numeric(self) -> np.ndarray:
        """Which levels must be numbers in a column of numbers: all but missing ones and marks."""
        numeric: np.ndarray = self.is_known & ~self.is_mark
        return numeric

    def formats(self, decimal: str | None = None, thousands: str | None = None) -> list[NumberFormat]:
        """Return the formats in which every value is a number."""
        return formats_of(pa.array(self.levels[self.numeric], pa.string()), decimal, thousands)

    @cached_property
    def counts(self) -> np.ndarray:
        """Number of rows of each level."""
        # the code of a missing value is -1, the last level
        return np.bincount(self.codes % len(self.levels), minlength=len(self.levels))

    def first_row(self, level: str) -> int:
        """Return the first row with this value."""
        code = list(self.levels).index(level)
        return int(np.flatnonzero(self.codes == code)[0])

    def numbers(self, format: NumberFormat) -> pd.Series | None:
        """Return the column as numbers; None if one is too large to be stored."""
        try:
            read = read_numbers(pa.array(self.levels[self.numeric], pa.string()), format)
        except pa.ArrowInvalid:
            return None
        values = read.to_numpy(zero_copy_only=False)
        if not np.isfinite(values).all():
            return None
        is_exact = values.dtype.kind == "f" or (np.abs(values) <= _LARGEST_EXACT).all()
        known = np.zeros(len(self.levels), values.dtype)
        known[self.numeric] = values
        column = pd.Series(known[self.codes])
        absent = ~self.numeric[self.codes]
        if not absent.any():
            return column
        # float64 would round larger integers, so that two ids could become one
        return column.astype("float64" if is_exact else "Int64").mask(absent)

    def booleans(self) -> pd.Series | None:
        """Return the column as booleans; None if it contains other values."""
        values = set(self.levels[self.numeric])
        if not values or not any(values <= pair for pair in _BOOLEANS):
            return None
        is_true = np.array([str(level).lower() == "true" for level in self.levels])
        column, absent = pd.Series(is_true[self.codes]), ~self.numeric[self.codes]
        return column.astype("boolean").mask(absent) if absent.any() else column

    def dates(self) -> pd.Series | None:
        """Return the column as dates; None unless all values are ISO 8601 dates without a time zone."""
        known = pa.array(self.levels[self.numeric], pa.string())
        if not len(known) or not pc.all(pc.match_substring_regex(known, _ISO_DATE)).as_py():
            return None
        try:
            read = known.cast(pa.timestamp("us")).to_numpy()
        except pa.ArrowInvalid:  # such as 2024-02-30
            return None
        dates = np.full(len(self.levels), np.datetime64("NaT", "us"))
        dates[self.numeric] = read
        return pd.Series(dates[self.codes])

    def texts(self) -> pd.Series:
        """Return the column as text."""
        levels = np.where(self.is_known, self.levels, np.nan)
        if not self.is_known[self.codes].any():
            return pd.Series(np.full(len(self.codes), np.nan))
        return pd.Series(levels[self.codes], dtype="str")

    def strays(self) -> list[str]:
        """Return the few texts that prevent a column of numbers; none if there are many."""
        texts, counts = self.levels[self.numeric], self.counts[self.numeric]
        shaped = are_number_shaped(pa.array(texts, pa.string()))
        if shaped.all() or shaped.sum() < MIN_NUMBERS:
            return []
        if counts[~shaped].sum() > MAX_STRAY * counts.sum():
            return []
        return list(texts[~shaped]) if formats_of(pa.array(texts[shaped], pa.string())) else []


def read_columns(
    columns: Sequence[TextColumn],
    lines: Sequence[int],
    decimal: str | None = None,
    thousands: str | None = None,
) -> tuple[pd.DataFrame, list[str]]:
    """Read each column as numbers, booleans, dates or text: the first that fits all its values.

    Parameters
    ----------
    columns : sequence of TextColumn
    lines : sequence of int
        The line of each row in the file.
    decimal, thousands : str, optional
        The separators in numbers; by default inferred from all columns together.

    Returns
    -------
    frame : DataFrame
    notes : list of str
        Sentences about decisions that are not obvious.
    """
    formats = [column.formats(decimal, thousands) for column in columns]
    mark = decimal or decimal_of(listed for listed in formats if listed)
    frame: dict[str, pd.Series] = {}
    notation: list[str] = []
    marks: list[str] = []
    for column, listed in zip(columns, formats):
        frame[column.name], format = _read(column, listed, mark)
        if not isinstance(frame[column.name].dtype, pd.StringDtype):
            marks += _marks_of(column, lines)
        if format and not (format.is_plain or (decimal and not format.unit)):
            notation.append(_example(column, format))
    return pd.DataFrame(frame), _notes(columns, frame, lines, notation, marks)


def _read(
    column: TextColumn, formats: Sequence[NumberFormat], decimal: str
) -> tuple[pd.Series, NumberFormat | None]:
    """Return the values of a column, and the format of its numbers if it has any."""
    if formats:
        format = choose_format(formats, decimal)
        numbers = column.numbers(format)
        if numbers is not None:
            return numbers, format
    plain = (column.booleans(), column.dates())
    return next((values for values in plain if values is not None), column.texts()), None


def _marks_of(column: TextColumn, lines: Sequence[int], without: Collection[str] = ()) -> list[str]:
    return [
        f"{level!r} in column {column.name!r} ({column.counts[code]} rows, the first is line "
        f"{lines[column.first_row(level)]})"
        for code in np.flatnonzero(column.is_mark)
        if (level := column.levels[code]).strip() and level.strip() not in without
    ]


def _example(column: TextColumn, format: NumberFormat) -> str:
    text = max(column.levels[column.numeric], key=len)
    value = read_numbers(pa.array([text]), format)[0].as_py()
    return f"{text!r} in column {column.name!r} is {value}"


def _notes(
    columns: Sequence[TextColumn],
    frame: Mapping[str, pd.Series],
    lines: Sequence[int],
    notation: Sequence[str],
    marks: Sequence[str],
) -> list[str]:
    texts = [column for column in columns if isinstance(frame[column.name].dtype, pd.StringDtype)]
    kept = [mark for column in texts for mark in _marks_of(column, lines, _SIGNS)]
    strays = [(column, stray) for column in texts if (stray := column.strays())]
    notes = []
    if notation:
        notes.append(
            f"numbers were read so: {', '.join(notation)}; decimal and thousands read them otherwise."
        )
    if marks:
        notes.append(f"missing among numbers: {', '.join(marks)}; mend the file if they are not.")
    if kept:
        notes.append(
            f"categories, not missing values: {', '.join(kept)}; name them in missing if they are."
        )
    notes += [
        f"column {column.name!r} is text, for line {lines[column.first_row(stray[0])]} holds "
        f"{stray[0]!r}, which is no number ({len(stray)} such values); mend it, or name it in missing."
        for column, stray in strays
    ]
    return notes


def _are_marks(levels: pa.Array) -> np.ndarray:
    """Return which texts are blank or a mark of a missing value."""
    is_long = pc.match_substring_regex(levels, _NO_MARK).to_numpy(zero_copy_only=False).astype(bool)
    are_marks = np.zeros(len(levels), dtype=bool)
    for i in np.flatnonzero(~is_long):
        text = levels[i].as_py().strip()
        are_marks[i] = not text or text in MISSING_MARKS
    return are_marks

"""Numbers written as text: find the notation of a column, and read its values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

MISSING_MARKS = frozenset(
    (
        "NA",
        "N/A",
        "n/a",
        "#N/A",
        "NaN",
        "nan",
        "NULL",
        "null",
        "Null",
        "None",
        "none",
        "?",
        "-",
        "--",
        ".",
    )
)
"""Texts that mean a missing value among numbers; among other texts they are categories."""

_UNIT = r"(?:[$€£¥₹₽₩₺%‰]|US\$|EUR|USD|GBP|CHF|JPY|CNY|INR|CAD|AUD|SEK|NOK|DKK|PLN|CZK|kr|zł)"
_NUMBER = (
    rf"^(?P<sign>[+-]?)\s*(?P<before>{_UNIT}?)\s*(?P<inner>[+-]?)"
    rf"(?P<body>[\d.,][\d.,' ]*(?:[eE][+-]?\d+)?)\s*(?P<after>{_UNIT}?)$"
)
_EXPONENT = r"(?:[eE][+-]?\d+)?"
_BARE = rf"^[+-]?[\d.,]+{_EXPONENT}$"
"""Numbers without unit and blanks: the usual case, which is parsed much faster."""


@dataclass(frozen=True)
class NumberFormat:
    """How the numbers of a column are written.

    Parameters
    ----------
    decimal : str
        The decimal mark.
    thousands : str
        The mark between groups of three digits; empty if there is none.
    unit : str
        The currency or percent sign of every number; "12 %" is 12.
    """

    decimal: str = "."
    thousands: str = ""
    unit: str = ""

    @property
    def is_plain(self) -> bool:
        """Whether this is the notation of programming languages."""
        return self == NumberFormat()

    @property
    def _pattern(self) -> str:
        point = rf"\{self.decimal}"
        if not self.thousands:
            return rf"^(?:\d+(?:{point}\d*)?|{point}\d+){_EXPONENT}$"
        groups = rf"\d{{1,3}}(?:[{self.thousands}]\d{{3}})+"
        return rf"^(?:(?:\d+|{groups})(?:{point}\d*)?|{point}\d+){_EXPONENT}$"

    def fits(self, bodies: pa.Array) -> bool:
        """Return whether all numbers, without sign and unit, have this format."""
        return bool(pc.all(pc.match_substring_regex(bodies, self._pattern)).as_py())


# plain notations come first, because a column of whole numbers fits all
_NOTATIONS = [(".", ""), (",", "")]
_NOTATIONS += [(decimal, mark) for mark in (",", ".", " ", "'") for decimal in ".," if decimal != mark]


def formats_of(
    values: pa.Array, decimal: str | None = None, thousands: str | None = None
) -> list[NumberFormat]:
    """Return the formats in which every text is a number; an empty list if there is none.

    Texts with leading zeros, such as "00123", are codes rather than numbers.

    Parameters
    ----------
    values : pyarrow.Array of strings
        The distinct texts, without missing values.
    decimal, thousands : str, optional
        Only formats with these marks.

    Examples
    --------
    >>> formats_of(pa.array(["1.234,5", "7"]))
    [NumberFormat(decimal=',', thousands='.', unit='')]
    >>> formats_of(pa.array(["00123", "7"]))
    []
    """
    parts = _parts(values)
    if parts is None:
        return []
    bodies, units = parts["body"], pc.unique(parts["unit"])
    if len(units) != 1 or pc.any(pc.match_substring_regex(bodies, r"^0\d")).as_py():
        return []
    formats = [NumberFormat(*marks, unit=units[0].as_py()) for marks in _NOTATIONS]
    without_groups = {mark: NumberFormat(mark).fits(bodies) for mark in ".,"}
    separators = {mark for mark in ",. '" if pc.any(pc.match_substring(bodies, mark)).as_py()}
    return [
        format
        for format in formats
        if decimal in (None, format.decimal)
        and thousands in (None, format.thousands)
        and (format.fits(bodies) if format.thousands in separators else without_groups[format.decimal])
    ]


def are_number_shaped(values: pa.Array) -> np.ndarray:
    """Return which texts could be numbers in some format, booleans of shape (n_values,)."""
    shaped: np.ndarray = pc.match_substring_regex(values, _NUMBER).to_numpy(zero_copy_only=False)
    return shaped.astype(bool)


def choose_format(formats: Iterable[NumberFormat], decimal: str | None) -> NumberFormat:
    """Return the first format with this decimal mark; the first one if no format has it."""
    listed = list(formats)
    return next((format for format in listed if format.decimal == decimal), listed[0])


def decimal_of(columns: Iterable[list[NumberFormat]]) -> str:
    """Return the decimal mark that the columns prove together; a point if they prove none or both.

    A column proves a mark if it can be read with no other: "0,5" proves the comma, "1,234" does not.
    """
    proven = {formats[0].decimal for formats in columns if len({f.decimal for f in formats}) == 1}
    return "," if proven == {","} else "."


def read_numbers(values: pa.Array, format: NumberFormat) -> pa.Array:
    """Return texts as numbers, int64 if all are whole, otherwise float64.

    Raises
    ------
    pyarrow.ArrowInvalid
        A number is too large.
    """
    parts = _parts(values)
    assert parts is not None
    text = parts["body"]
    if format.thousands:
        text = pc.replace_substring(text, format.thousands, "")
    text = pc.replace_substring(text, format.decimal, ".")
    text = pc.binary_join_element_wise(parts["sign"], text, "")
    is_whole = not pc.any(pc.match_substring_regex(text, "[.eE]")).as_py()
    return text.cast(pa.int64() if is_whole else pa.float64())


def _parts(values: pa.Array) -> dict[str, pa.Array] | None:
    """Return sign, body and unit of each number; None if a text is not a number."""
    text = pc.utf8_trim_whitespace(values.cast(pa.string()))
    # other minus signs, apostrophes and spaces mean the same
    for odd, usual in (("\u2212", "-"), ("\u2019", "'"), ("\u00a0", " "), ("\u202f", " ")):
        text = pc.replace_substring(text, odd, usual)
    if len(text) and pc.all(pc.match_substring_regex(text, _BARE)).as_py():
        return _bare_parts(text)
    matched = pc.extract_regex(text, _NUMBER)
    if matched.null_count or not len(matched):
        return None
    sign, before, inner, body, after = matched.flatten()
    signs = pc.binary_join_element_wise(sign, inner, "")
    units = pc.binary_join_element_wise(before, after, "")
    if pc.any(pc.greater(pc.utf8_length(signs), 1)).as_py():
        return None
    minus = pc.replace_substring(signs, "+", "")
    return {"sign": minus, "body": pc.utf8_trim_whitespace(body), "unit": units}


def _bare_parts(text: pa.Array) -> dict[str, pa.Array]:
    """Return the parts of numbers that all match `_BARE`."""
    sign = pc.if_else(pc.starts_with(text, "-"), "-", "")
    unit = pa.repeat(pa.scalar(""), len(text))
    return {"sign": sign, "body": pc.utf8_ltrim(text, "+-"), "unit": unit}

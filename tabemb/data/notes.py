"""Notes on columns that are read by their type but look like something else."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tabemb.data.histories import Events, is_list
from tabemb.data.number_text import are_number_shaped, formats_of
from tabemb.data.schema import Table
from tabemb.data.text import is_text, words_of
from tabemb.data.values import OBJECT

MIN_ROWS, MIN_LEVELS = 100, 20
"""Fewest rows with a value and fewest distinct values of a column whose type is questioned."""
_N_LOOKED_AT = 200
_SHARE = 0.95
_N_WORDS = 5
"""Average number of words per value from which text that hardly repeats is taken for sentences."""
_REPEATS = 2
"""Rows per distinct value from which digits given as text are taken for categories."""
_CODE_LENGTH = 4
"""Number of digits from which digits of equal length are taken for codes."""
_MONTH = "(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_CLOCK = r"(?:[ T,]+\d{1,2}:\d{2}.*)?"
_DATE = (
    rf"^(?:\d{{4}}[-/.]\d{{1,2}}[-/.]\d{{1,2}}{_CLOCK}|\d{{1,2}}[-/]\d{{1,2}}[-/]\d{{2}}(?:\d{{2}})?{_CLOCK}"
    rf"|\d{{1,2}}\.\d{{1,2}}\.\d{{4}}{_CLOCK}|\d{{1,2}}[- .]+{_MONTH}[- .,]+\d{{2,4}}{_CLOCK}"
    rf"|{_MONTH}[- .]+\d{{1,2}},? +\d{{4}}{_CLOCK})$"
)
_ID_NAME = (
    r"(?:^|[_\W])(?i:ids?|zip|zip_?code|post_?code|postal_?code|plz|sku|ean|isbn|uuid|code|key)\d*$"
    r"|[a-z](?:Id|ID|Key|Code|Zip)\d*$|^(?i:zip|zipcode|postcode|postalcode|[a-z]{0,4}zip)\d*$"
)


class InputNote(UserWarning):
    """A note on how the inputs were interpreted, with the line of code that settles it.

    Columns that ``roles`` names have no note. ``warnings.simplefilter("ignore", tabemb.InputNote)``
    silences all notes.
    """


@dataclass(frozen=True)
class Doubt:
    """A column that looks like something other than its type.

    Parameters
    ----------
    column : str
    looks : {"dates", "numbers", "ids", "sentences"}
    example : str
        One of its values.
    """

    column: str
    looks: str
    example: str

    @property
    def sentence(self) -> str:
        """A sentence on what the column contains and how it is read."""
        holds, read = ("integers", "numbers") if self.looks == "ids" else ("text", "categories")
        return (
            f"column {self.column!r} holds {holds} that look{'s' if holds == 'text' else ''} like "
            f"{self.looks} ({self.example}) and is read as {read}"
        )


def doubts(frame: pa.Table, named: Iterable[str] = (), sentences: bool = False) -> list[Doubt]:
    """Return the columns and fields of events that look like something other than their type.

    Text may look like dates or numbers, whole numbers like ids. Columns with few rows or few distinct
    values are never in doubt.

    Parameters
    ----------
    frame : pyarrow.Table
    named : iterable of str
        Columns whose meaning the user has stated.
    sentences : bool
        Whether columns of text may also look like sentences; only if they can have the role "text".

    Returns
    -------
    list of Doubt

    Examples
    --------
    >>> days = pa.array([f"{1 + day % 28}.5.2024" for day in range(200)])
    >>> doubts(pa.table({"day": days}))[0].looks
    'dates'
    """
    stated = set(named)
    of_columns = [
        _doubt(field, column) or (_sentences(field, column) if sentences and is_column else None)
        for field, column, is_column in _columns(frame)
        if field.name not in stated
    ]
    return [doubt for doubt in of_columns if doubt is not None]


def note_doubts(
    frame: pa.Table,
    roles: Mapping[str | int, str] | None,
    tables: Mapping[str, Table] | None,
    keys: Iterable[str] = (),
    stacklevel: int = 3,
) -> None:
    """Warn about all columns in doubt in one note, with the roles that settle it.

    Parameters
    ----------
    frame : pyarrow.Table
    roles, tables : mapping, optional
        Parameters of the estimator; the columns that they name are not in doubt.
    keys : iterable of str
        Further columns that are not in doubt, such as entities and times.
    stacklevel : int
        Number of calls between the user's code and the warning.
    """
    names = frame.schema.names
    stated = {names[key] if isinstance(key, int) else key for key in roles or ()}
    stated |= {column for table in (tables or {}).values() for column in table.columns}
    doubtful = doubts(frame, {*stated, *keys}, sentences=True)
    if not doubtful:
        return
    text = "; ".join(doubt.sentence for doubt in doubtful)
    warnings.warn(
        f"{text[0].upper()}{text[1:]}. roles={_roles(doubtful, _MEANT)} reads them as what they look "
        f"like, roles={_roles(doubtful, _READ)} keeps them as they are; either ends this note.",
        InputNote,
        stacklevel=stacklevel,
    )


def note_log(doubtful: Sequence[Doubt], stacklevel: int = 4) -> None:
    """Warn about all columns of a log that are in doubt in one note, with a way to settle it.

    Parameters
    ----------
    doubtful : sequence of Doubt
    stacklevel : int
        As in `note_doubts`.
    """
    if not doubtful:
        return
    text = "; ".join(doubt.sentence for doubt in doubtful)
    calls = ", ".join(_CONVERTED[doubt.looks].format(f"log[{doubt.column!r}]") for doubt in doubtful)
    warnings.warn(
        f"In the log, {text}. {calls} reads what they look like; leave fields out with fields=[...], or "
        "end this note with warnings.simplefilter('ignore', tabemb.InputNote).",
        InputNote,
        stacklevel=stacklevel,
    )


_CONVERTED = {
    "dates": "pandas.to_datetime({}, format=...)",
    "numbers": "pandas.to_numeric({})",
    "ids": "{}.astype('category')",
}
_MEANT = {"dates": "datetime", "numbers": "number", "ids": "categorical", "sentences": "text"}
_READ = {**dict.fromkeys(("dates", "numbers", "sentences"), "categorical"), "ids": "number"}


def _roles(doubtful: Iterable[Doubt], role_of: Mapping[str, str]) -> dict[str, str]:
    return {doubt.column: role_of[doubt.looks] for doubt in doubtful}


def _columns(frame: pa.Table) -> Iterator[tuple[pa.Field, pa.ChunkedArray, bool]]:
    """Yield the columns and the fields of events, and whether each is a column of X."""
    for field in frame.schema:
        if is_list(field.type):
            events = Events.of(frame[field.name], field.name).frame
            yield from ((inner, events[inner.name], False) for inner in events.schema)
        else:
            yield field, frame[field.name], True


def _doubt(field: pa.Field, column: pa.ChunkedArray) -> Doubt | None:
    if (field.metadata or {}).get(b"tabemb") == OBJECT[b"tabemb"]:
        return None
    if len(column) - column.null_count < MIN_ROWS:
        return None
    dtype = field.type
    if is_text(dtype):
        return _doubtful_text(field.name, column)
    if pa.types.is_integer(dtype) or pa.types.is_floating(dtype):
        return _doubtful_integers(field.name, column)
    return None


def _doubtful_text(name: str, column: pa.ChunkedArray) -> Doubt | None:
    # a few values are enough for most columns; the others are checked completely
    for values in (column[:: max(len(column) // _N_LOOKED_AT, 1)], column):
        levels = pc.unique(pc.drop_null(_plain(values)))
        looks = _text_looks(levels)
        if looks is None:
            return None
    n_rows = len(column) - column.null_count
    if (
        looks is None
        or len(levels) < MIN_LEVELS
        or (looks == "numbers" and _are_codes(name, levels, n_rows))
    ):
        return None
    return Doubt(name, looks, repr(levels[0].as_py()))


def _sentences(field: pa.Field, column: pa.ChunkedArray) -> Doubt | None:
    """Return a doubt if nearly all texts are distinct and have many words."""
    values = column.drop_null()
    if not is_text(field.type) or len(values) < MIN_ROWS:
        return None
    sample = values[:: max(len(values) // _N_LOOKED_AT, 1)]
    n_words = pc.mean(pc.list_value_length(words_of(sample))).as_py()
    if n_words < _N_WORDS or pc.count_distinct(_plain(values)).as_py() < _SHARE * len(values):
        return None
    return Doubt(field.name, "sentences", f"{values[0].as_py()!r:.60}")


def _plain(values: pa.ChunkedArray) -> pa.Array:
    return values.cast(pa.string()).combine_chunks()


def _text_looks(levels: pa.Array) -> str | None:
    if not len(levels):
        return None
    if pc.mean(pc.match_substring_regex(pc.utf8_trim_whitespace(levels), _DATE)).as_py() >= _SHARE:
        return "dates"
    is_number = are_number_shaped(levels)
    are_numbers = is_number.mean() >= _SHARE and formats_of(levels.filter(pa.array(is_number)))
    return "numbers" if are_numbers else None


def _are_codes(name: str, levels: pa.Array, n_rows: int) -> bool:
    """Return whether digits are evidently names, such as postal codes.

    They are if values repeat, have leading zeros or all have the same length of four digits or more, or
    if the name of the column is that of an id.
    """
    if not pc.all(pc.match_substring_regex(levels, r"^\d+$")).as_py():
        return False
    lengths = pc.min_max(pc.utf8_length(levels)).as_py()
    return bool(
        n_rows >= _REPEATS * len(levels)
        or lengths["min"] == lengths["max"] >= _CODE_LENGTH
        or pc.any(pc.match_substring_regex(levels, r"^0\d")).as_py()
        or _has_id_name(name)
    )


def _has_id_name(name: str) -> bool:
    return bool(pc.match_substring_regex(pa.array([name]), _ID_NAME)[0].as_py())


def _doubtful_integers(name: str, column: pa.ChunkedArray) -> Doubt | None:
    low, high = (float(value.as_py()) for value in pc.min_max(column).values())
    # numbers that differ only in their last digits, such as 98001 and 98199, are ids
    is_offset = low >= 1e4 and high - low < 0.01 * low
    if not (low >= 0 and high < np.inf and (is_offset or _has_id_name(name))):
        return None
    values = np.unique(pc.drop_null(column).to_numpy())
    values = values[~np.isnan(values)]
    if len(values) < MIN_LEVELS or (values != np.floor(values)).any():
        return None
    return Doubt(name, "ids", str(int(values[0])))

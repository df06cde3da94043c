"""Vocabularies: the categories of one table, with a code and a count for each."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from decimal import Decimal
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tabemb.data.distinct import (
    as_dictionary,
    decoded,
    exact_floats,
    fits_int64,
    index_of,
    whole_numbers,
)
from tabemb.data.hashing import NO_LIMIT, Limit, buckets, hashed_names
from tabemb.data.keys import key_of, value_of
from tabemb.data.values import is_keys, labels_of, python_values, types_of

UNKNOWN = 0
"""Code of a category that is not in the vocabulary: never seen, or too rare to have a code."""
MISSING = 1
"""Code of a missing value."""
N_SPECIAL = 2
"""Number of codes that do not stand for a category."""
FEW = 8
"""Number of cells up to which it is faster to look up each than to find distinct values first."""
PLAIN = {"text", "integer", "float", "boolean"}
"""Kinds whose values Arrow converts to Python values that equal the categories."""


class Vocabulary:
    """The categories of one table, with a code and a count for each.

    Code 0 stands for unknown categories, 1 for missing values. The categories follow in sorted order;
    those of later rows (`grown`) come after those of earlier rows.
    Categories are matched **by value**: 3, 3.0 and a dictionary entry 3 are the same category, whatever
    its position.

    Parameters
    ----------
    kind : str
        "text", "integer", "float", "boolean", "time", "binary", "object" (keys of other Python values)
        or "nothing": there was no value, so every value is unknown.
    categories : pyarrow.Array of length n_categories
        Unique values.
    counts : ndarray of shape (n_categories + 2 + n_hashed,)
        Sum of the rows' weights by code; the first two are for unknown (rare) and missing.
    given : mapping, optional
        Properties of the user's labels that the categories do not keep: the "zone" of times, whether
        they are "dates", and the "types" of keys.
    n_hashed : int
        Number of codes at the end that all other categories share by their hash; 0: these are unknown.
        With hashed codes, no category gets a code later.
    """

    given: Mapping[str, Any] = {}  # in files of tabemb 0.2
    n_hashed = 0  # in files without hashed rows

    def __init__(
        self,
        kind: str,
        categories: pa.Array,
        counts: np.ndarray,
        given: Mapping[str, Any] | None = None,
        n_hashed: int = 0,
    ) -> None:
        self.kind = kind
        self.categories = categories
        self.counts = counts
        self.given = given or {}
        self.n_hashed = n_hashed
        self._index: pd.Index | None = None

    @classmethod
    def from_columns(
        cls,
        columns: dict[str, tuple[pa.ChunkedArray, pa.Field]],
        weights: np.ndarray | Mapping[str, np.ndarray | None] | None = None,
        limit: Limit = NO_LIMIT,
    ) -> Vocabulary:
        """Collect and count the categories of one or several columns that share a table.

        Parameters
        ----------
        columns : dict of name -> (column, field)
        weights : ndarray of shape (n_rows,) or dict of name -> ndarray or None, optional
            Weight of each row, the same for all columns or by column; all are one when None.
        limit : Limit
            Which categories get a code.

        Raises
        ------
        ValueError
            The columns contain values of different kinds.
        """
        kind = _common_kind(columns)
        nothing = cls(kind, pa.array([], _KINDS[kind].dtype), np.zeros(N_SPECIAL))
        return nothing._with(_encoded(columns, kind), _given(columns), weights, limit)

    def grown(
        self,
        columns: dict[str, tuple[pa.ChunkedArray, pa.Field]],
        weights: np.ndarray | Mapping[str, np.ndarray | None] | None = None,
        limit: Limit = NO_LIMIT,
    ) -> Vocabulary:
        """Return a vocabulary that has also counted more rows; old codes stay, new categories follow.

        Parameters
        ----------
        columns, weights : as in `from_columns`
        limit : Limit
            Which new categories get a code, by their counts in these rows.

        Raises
        ------
        ValueError
            A column contains values of another kind than the categories.
        """
        kind = _common_kind(columns) if self.kind == "nothing" else self.kind
        encoded = _encoded(columns, kind)
        for name, (_, values) in encoded.items():
            _check_of_kind(values, kind, name)
        categories = self.categories.cast(_KINDS[kind].dtype)
        known = Vocabulary(kind, categories, self.counts, self.given, self.n_hashed)
        return known._with(encoded, _given(columns), weights, limit)

    def _with(
        self,
        encoded: dict[str, tuple[np.ndarray, pa.Array]],
        given: Mapping[str, Any],
        weights: np.ndarray | Mapping[str, np.ndarray | None] | None,
        limit: Limit,
    ) -> Vocabulary:
        """Return a vocabulary with the categories of more rows, given as `_dictionary` by column."""
        values = pc.unique(pa.concat_arrays([values for _, values in encoded.values()]))
        is_new = self._positions(values) < 0 if len(self.categories) else np.ones(len(values), bool)
        new = values.filter(pa.array(is_new))
        categories = pa.concat_arrays([self.categories, new.take(pc.sort_indices(new))])
        no_counts = np.zeros(len(categories) + N_SPECIAL)
        vocabulary = Vocabulary(self.kind, categories, no_counts, _merged(self.given, given))
        by_column = weights if isinstance(weights, Mapping) else dict.fromkeys(encoded, weights)
        counts = [
            np.bincount(vocabulary._look_up(*dictionary), by_column[name], len(vocabulary)).astype(float)
            for name, dictionary in encoded.items()
        ]
        total, n_own = np.sum(counts, axis=0), N_SPECIAL + len(self.categories)
        total[:n_own] += self.counts[:n_own]
        return vocabulary._limited(total, limit, len(self.categories), self.counts[n_own:])

    def _limited(
        self, counts: np.ndarray, limit: Limit, n_known: int, of_hashed: np.ndarray
    ) -> Vocabulary:
        """Remove the new categories that do not get a code.

        Their counts are added to unknown, or to the hashed codes' counts in earlier rows, ``of_hashed``.
        """
        special, by_category = counts[:N_SPECIAL].copy(), counts[N_SPECIAL:]
        n_hashed = len(of_hashed)
        is_kept = limit.kept(by_category, n_known, is_full=n_hashed > 0)
        rest, of_rest = self.categories.filter(pa.array(~is_kept)), by_category[~is_kept]
        if len(rest) and limit.n_hashed != 0:
            n_hashed = n_hashed or limit.hashed_rows(len(rest))
            rows = buckets(rest, n_hashed, rest.type)
            of_hashed = np.bincount(rows, of_rest, n_hashed) + (of_hashed if len(of_hashed) else 0.0)
        else:
            special[UNKNOWN] += of_rest.sum()
        counts = np.concatenate([special, by_category[is_kept], of_hashed])
        categories = self.categories.filter(pa.array(is_kept))
        return Vocabulary(self.kind, categories, counts, self.given, n_hashed)

    def __len__(self) -> int:
        """Return the number of codes (with special and hashed ones): the rows of the embedding table."""
        return len(self.categories) + N_SPECIAL + self.n_hashed

    @property
    def kept(self) -> slice:
        """The codes that stand for one category each."""
        return slice(N_SPECIAL, N_SPECIAL + len(self.categories))

    def row_labels(self) -> list[Any]:
        """Return the label of each code except the special ones."""
        return [*self.labels().tolist(), *hashed_names(self.n_hashed)]

    def codes(self, column: pa.ChunkedArray, field: pa.Field) -> np.ndarray:
        """Return the code of each cell, int64 of shape (n_rows,).

        In a column that also has values of the kind in ``fit``, a value of another kind is unknown.

        Raises
        ------
        ValueError
            All values of the column are of another kind than in ``fit`` (say text instead of whole
            numbers).
        """
        if not len(column):
            return np.zeros(0, np.int64)
        if self.kind == "nothing":
            missing = column.is_null(nan_is_null=True).to_numpy()
            return np.where(missing, MISSING, UNKNOWN).astype(np.int64)
        if is_keys(field) and self.kind != "object":
            return self._codes_among_strays(as_dictionary(column), field)
        if len(column) <= FEW and self.kind in PLAIN and _KINDS[self.kind].includes(field.type):
            return np.array([self._code_of_cell(value) for value in column.to_pylist()], np.int64)
        return self._look_up(*_dictionary(column, field, self.kind, field.name))

    def _codes_among_strays(self, keys: pa.DictionaryArray, field: pa.Field) -> np.ndarray:
        """Return the code of each cell of a column that mixes several kinds."""
        values = python_values(keys.dictionary, field)
        belong = [isinstance(value, _KINDS[self.kind].python) for value in values]
        if not any(belong):
            raise _another_kind(field.name, self.kind, "other")
        codes = [self._code_of(value) if fits else UNKNOWN for value, fits in zip(values, belong)]
        indices = keys.indices.cast(pa.int64()).fill_null(-1).to_numpy()
        codes_by_cell: np.ndarray = np.array([*codes, MISSING], dtype=np.int64)[indices]
        return codes_by_cell

    def _code_of_cell(self, value: Any) -> int:
        """Return the code of a cell in a column of this kind; a missing cell is None or NaN."""
        if value is None or value != value:
            return MISSING
        try:
            position: Any = self._searcher().get_loc(value)
            return int(position) + N_SPECIAL
        except (KeyError, OverflowError):
            return self._code_of_other(value)

    def _code_of_other(self, value: Any) -> int:
        """Return the code of a value without a code of its own."""
        if not self.n_hashed:
            return UNKNOWN
        try:
            return int(self._hashed(pa.array([value], _KINDS[self.kind].dtype))[0])
        except (pa.ArrowException, OverflowError):  # an integer beyond 64 bits
            return UNKNOWN

    def _hashed(self, values: pa.Array) -> np.ndarray:
        """Return the hashed codes of values, UNKNOWN for values that cannot be a category."""
        rows = buckets(values, self.n_hashed, _KINDS[self.kind].dtype)
        return np.where(rows < 0, UNKNOWN, self.kept.stop + rows)

    def _code_of(self, value: Any) -> int:
        """Return the code of a Python value of this kind."""
        try:
            return self._code_of_cell(_KINDS[self.kind].read(value))
        except (KeyError, ValueError, OverflowError):  # ValueError: a time that pandas cannot hold
            return UNKNOWN

    def codes_of(self, other: Vocabulary) -> np.ndarray:
        """Return this vocabulary's code for each code of another one of the same kind, (len(other),)."""
        hashed = np.full(other.n_hashed, UNKNOWN)
        if other.n_hashed == self.n_hashed:
            hashed = self.kept.stop + np.arange(self.n_hashed)
        return np.concatenate([[UNKNOWN, MISSING], self._codes_of_values(other.categories), hashed])

    def _look_up(self, indices: np.ndarray, values: pa.Array) -> np.ndarray:
        """Return the code of each cell, given its index into distinct values (-1 if missing)."""
        codes: np.ndarray = np.append(self._codes_of_values(values), MISSING)[indices]
        return codes

    def _codes_of_values(self, values: pa.Array) -> np.ndarray:
        codes = self._positions(values) + N_SPECIAL
        others = np.flatnonzero(codes < N_SPECIAL)
        codes[others] = UNKNOWN
        if self.n_hashed and len(others):
            codes[others] = self._hashed(values.take(pa.array(others)))
        return codes

    def _positions(self, values: pa.Array) -> np.ndarray:
        """Return the position of each value among the categories, -1 if it is not a category."""
        if len(values) != 1:
            return self._searcher().get_indexer(index_of(values))
        try:  # one row: building an index would be the slowest step
            return np.array([self._searcher().get_loc(values[0].as_py())])
        except KeyError:
            return np.array([-1])

    def _searcher(self) -> pd.Index:
        if self._index is None:
            self._index = index_of(self.categories)
        return self._index

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_index": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.kind == "object":  # equal values had several keys in tabemb 0.2.0
            old = self.categories.to_pylist()
            new = [key if (value := value_of(key)) is None else key_of(value, "") for key in old]
            self.categories = pa.array(new if len(set(new)) == len(new) else old, pa.large_string())

    def labels(self) -> pd.Index:
        """Return the categories as the user gave them, in the order of their codes."""
        if self.kind == "object":
            return labels_of(self.categories, self.given.get("types", {}))
        index = index_of(self.categories)
        if self.kind == "time" and self.given.get("dates"):
            return pd.Index(pd.DatetimeIndex(index).date, dtype=object)
        if self.kind == "time" and "zone" in self.given:
            return pd.DatetimeIndex(index).tz_localize("UTC").tz_convert(self.given["zone"])
        return index


def _given(columns: dict[str, tuple[pa.ChunkedArray, pa.Field]]) -> dict[str, Any]:
    """Return `Vocabulary.given`; the first column that has a property decides."""
    given: dict[str, Any] = {}
    for column, field in columns.values():
        dtype = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if is_keys(field):
            given["types"] = types_of(field) | given.get("types", {})
        elif pa.types.is_decimal(dtype):
            keys = _python_keys(as_dictionary(column).dictionary, field.name)
            given["types"] = dict.fromkeys(filter(None, keys), "Decimal") | given.get("types", {})
        elif pa.types.is_timestamp(dtype) and dtype.tz is not None:
            given.setdefault("zone", dtype.tz)
        given.setdefault("dates", bool(pa.types.is_date(dtype)))
    return {name: value for name, value in given.items() if value}


def _merged(given: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two mappings of `Vocabulary.given`; the first one takes precedence."""
    types = {**more.get("types", {}), **given.get("types", {})}
    return {**more, **given} | ({"types": types} if types else {})


def kind_of(field: pa.Field) -> str | None:
    """Return the kind of a column's values; None if every value is missing."""
    if is_keys(field):
        return "object"
    dtype = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    for name, kind in _KINDS.items():
        if kind.includes(dtype):
            return name
    return None if pa.types.is_null(dtype) else "object"


def _is_text(dtype: pa.DataType) -> bool:
    is_string = pa.types.is_string(dtype) or pa.types.is_large_string(dtype)
    return bool(is_string or pa.types.is_string_view(dtype))


def _is_time(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(dtype) or pa.types.is_date(dtype))


def _is_binary(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_binary(dtype) or pa.types.is_large_binary(dtype))


def _moment(value: Any) -> pd.Timestamp:
    time = pd.Timestamp(value)
    return time if time.tz is None else time.tz_convert(None)


def _whole(value: Any) -> int:
    if value != int(value):
        raise KeyError(value)
    return int(value)


class _Kind(NamedTuple):
    """A kind of values."""

    includes: Callable[[pa.DataType], bool]  # whether an Arrow type is of this kind
    dtype: pa.DataType  # of the categories
    python: tuple[type, ...] = ()  # types of Python values of this kind
    read: Callable[[Any], Any] = lambda value: value  # from such a value to a category


_NUMBER = (Real, Decimal)
_KINDS = {
    "text": _Kind(_is_text, pa.large_string(), (str,)),
    "boolean": _Kind(pa.types.is_boolean, pa.bool_(), _NUMBER, {0: False, 1: True}.__getitem__),
    "integer": _Kind(pa.types.is_integer, pa.int64(), _NUMBER, _whole),
    "float": _Kind(pa.types.is_floating, pa.float64(), _NUMBER, float),
    "time": _Kind(_is_time, pa.timestamp("us"), (dt.date,), _moment),
    "binary": _Kind(_is_binary, pa.large_binary(), (bytes,)),
    "object": _Kind(lambda dtype: False, pa.large_string()),
    "nothing": _Kind(lambda dtype: False, pa.large_string()),
}
_READS_AS = {
    # kind of a vocabulary: other kinds of column that it can read
    "integer": {"float", "boolean"},
    "float": {"integer", "boolean"},
    "boolean": {"integer", "float"},
    "object": set(_KINDS),
}


def _common_kind(columns: dict[str, tuple[pa.ChunkedArray, pa.Field]]) -> str:
    kinds = {name: kind_of(field) for name, (_, field) in columns.items()}
    kinds = {name: _narrow(kind, columns[name][0]) for name, kind in kinds.items() if kind is not None}
    if len(set(kinds.values())) > 1:
        listed = ", ".join(f"{name!r} holds {kind}" for name, kind in kinds.items())
        raise ValueError(f"Columns that share a table must hold values of one kind; {listed}.")
    return next((kind for kind in kinds.values() if kind), "nothing")


def _narrow(kind: str, column: pa.ChunkedArray) -> str:
    """Return the kind according to the values, if the type alone does not determine it.

    Floats that are all whole are integers, because pandas turns ids into floats if one is missing.
    Integers beyond 64 bits are objects.
    """
    if kind not in ("integer", "float"):
        return kind
    values = pc.drop_null(decoded(column))
    if kind == "integer":
        return kind if fits_int64(values) else "object"
    values = values.filter(pc.invert(pc.is_nan(values)))
    is_whole = pc.all(pc.equal(values, pc.floor(values))).as_py() is not False
    return "integer" if is_whole and fits_int64(values) else kind


def _dictionary(
    column: pa.ChunkedArray, field: pa.Field, kind: str, name: str
) -> tuple[np.ndarray, pa.Array]:
    """Return the index of each cell into the distinct values (-1: missing), and these values."""
    column_kind = "nested" if pa.types.is_nested(column.type) else kind_of(field)
    if column_kind is None:
        return np.full(len(column), -1), pa.array([], _KINDS[kind].dtype)
    if column_kind not in (kind, *_READS_AS.get(kind, ())):
        raise _another_kind(name, kind, column_kind)
    array = as_dictionary(column)
    indices = array.indices.cast(pa.int64()).fill_null(-1).to_numpy()
    values = _as_kind(array.dictionary, column_kind, kind, name)
    if values.null_count or pa.types.is_floating(values.type):  # NaN
        missing = values.is_null(nan_is_null=True).to_numpy(zero_copy_only=False)
        position = np.append(np.where(missing, -1, np.cumsum(~missing) - 1), -1)
        indices, values = position[indices], values.filter(pa.array(~missing))
    return indices, values


def _as_kind(values: pa.Array, column_kind: str, kind: str, name: str) -> pa.Array:
    """Return distinct values in the Arrow type of a vocabulary's kind.

    Values that cannot be categories of this kind, such as 1.5 among integers, may keep another type and
    match no category.
    """
    dtype = _KINDS[kind].dtype
    if kind == "object":
        are_keys = column_kind == "object" and _is_text(values.type)
        return pa.array(values.to_pylist() if are_keys else _python_keys(values, name), dtype)
    if kind == "integer" and column_kind == "float":
        return whole_numbers(values)
    if kind == "float" and pa.types.is_integer(values.type):
        return pc.add(exact_floats(values), 0.0)
    if kind == "integer" and not fits_int64(values):
        return values.cast(pa.float64(), safe=False)
    if pa.types.is_timestamp(values.type) and values.type.tz is not None:
        return values.cast(pa.timestamp("us", "UTC"), safe=False).cast(dtype)
    values = values.cast(dtype, safe=kind != "time")
    # -0.0 equals 0.0, but Arrow treats them as two values
    return pc.add(values, 0.0) if kind == "float" else values


def _encoded(
    columns: dict[str, tuple[pa.ChunkedArray, pa.Field]], kind: str
) -> dict[str, tuple[np.ndarray, pa.Array]]:
    return {name: _dictionary(column, field, kind, name) for name, (column, field) in columns.items()}


def _check_of_kind(values: pa.Array, kind: str, name: str) -> None:
    """Raise ValueError if a value cannot be a category of this kind, such as 1.5 among integers."""
    is_infinite = kind == "float" and pc.any(pc.is_inf(values)).as_py()
    if values.type != _KINDS[kind].dtype or is_infinite:
        raise ValueError(
            f"Column {name!r} held {kind} values when it was fitted, and holds {_stray(values, kind)!r} "
            "now; correct such rows or leave them out."
        )


def _stray(values: pa.Array, kind: str) -> Any:
    """Return a number that cannot be a category of integers or floats."""
    numbers = values.to_pylist()
    strays = (v for v in numbers if (v != v // 1 if kind == "integer" else v in (np.inf, -np.inf)))
    return next(strays, numbers[0])


def _another_kind(name: str, kind: str, now: str) -> ValueError:
    return ValueError(
        f"Column {name!r} held {kind} values when it was fitted and holds {now} values now; "
        "convert it to the kind that it had."
    )


def _python_keys(values: pa.Array, name: str) -> list[str | None]:
    return [None if value is None else key_of(value, name) for value in values.to_pylist()]

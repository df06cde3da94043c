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

from tabemb.data.keys import key_of, value_of
from tabemb.data.values import is_keys, labels_of, python_values, types_of

UNKNOWN = 0
"""Code of a category that is not in the vocabulary: never seen, or too rare to have a code."""
MISSING = 1
"""Code of a missing value."""
N_SPECIAL = 2
"""Number of codes that stand for no category."""
FEW = 8
"""Cells up to which it is faster to look up each than to find the distinct ones."""
PLAIN = {"text", "integer", "float", "boolean"}
"""Kinds whose values Arrow gives back as Python's, equal to the categories."""


class Vocabulary:
    """The categories of one table, with a code and a count for each.

    Code 0 stands for unknown categories, 1 for missing values; the categories follow in sorted order,
    those of later rows (`grown`) after those of earlier ones.
    Categories are matched **by value**: 3, 3.0 and a dictionary entry 3 are the same category, whatever
    its position.

    Parameters
    ----------
    kind : str
        "text", "integer", "float", "boolean", "time", "binary", "object" (keys of other Python values)
        or "nothing": no value was there, so any value is unknown.
    categories : pyarrow.Array of length n_categories
        Unique values.
    counts : ndarray of shape (n_categories + 2,)
        Sum of the rows' weights by code; the first two belong to unknown (rare) and missing.
    given : mapping, optional
        What the categories do not say of the labels that the user gave: the "zone" of times, whether
        they are "dates", and the "types" of keys.
    """

    given: Mapping[str, Any] = {}  # in files that tabemb 0.2 saved

    def __init__(
        self,
        kind: str,
        categories: pa.Array,
        counts: np.ndarray,
        given: Mapping[str, Any] | None = None,
    ) -> None:
        self.kind = kind
        self.categories = categories
        self.counts = counts
        self.given = given or {}
        self._index: pd.Index | None = None

    @classmethod
    def from_columns(
        cls,
        columns: dict[str, tuple[pa.ChunkedArray, pa.Field]],
        weights: np.ndarray | Mapping[str, np.ndarray | None] | None = None,
        min_count: float = 1,
    ) -> Vocabulary:
        """Collect and count the categories of one or several columns that share a table.

        Parameters
        ----------
        columns : dict of name -> (column, field)
        weights : ndarray of shape (n_rows,) or dict of name -> ndarray or None, optional
            Weight of each row, of all columns or by column; one each when None.
        min_count : float, default=1
            Categories with a smaller count get no code and are read as unknown.

        Raises
        ------
        ValueError
            The columns hold values of different kinds.
        """
        kind = _common_kind(columns)
        nothing = cls(kind, pa.array([], _KINDS[kind].dtype), np.zeros(N_SPECIAL))
        return nothing._with(_encoded(columns, kind), _given(columns), weights, min_count)

    def grown(
        self,
        columns: dict[str, tuple[pa.ChunkedArray, pa.Field]],
        weights: np.ndarray | Mapping[str, np.ndarray | None] | None = None,
        min_count: float = 1,
    ) -> Vocabulary:
        """Return a vocabulary that has counted more rows; codes stay, and new categories follow.

        Parameters
        ----------
        columns, weights : as in `from_columns`
        min_count : float, default=1
            New categories with a smaller count among these rows get no code.

        Raises
        ------
        ValueError
            A column holds values of another kind than the categories.
        """
        kind = _common_kind(columns) if self.kind == "nothing" else self.kind
        encoded = _encoded(columns, kind)
        for name, (_, values) in encoded.items():
            _check_of_kind(values, kind, name)
        known = Vocabulary(kind, self.categories.cast(_KINDS[kind].dtype), self.counts, self.given)
        return known._with(encoded, _given(columns), weights, min_count)

    def _with(
        self,
        encoded: dict[str, tuple[np.ndarray, pa.Array]],
        given: Mapping[str, Any],
        weights: np.ndarray | Mapping[str, np.ndarray | None] | None,
        min_count: float,
    ) -> Vocabulary:
        """Return a vocabulary with the categories of more rows, from `_dictionary` of each column."""
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
        total = np.sum(counts, axis=0)
        total[: len(self)] += self.counts
        return vocabulary._without_rare(total, min_count, len(self.categories))

    def _without_rare(self, counts: np.ndarray, min_count: float, n_known: int) -> Vocabulary:
        """Return a vocabulary without rare new categories, whose counts go to unknown."""
        special, by_category = counts[:N_SPECIAL].copy(), counts[N_SPECIAL:]
        is_frequent = by_category >= min_count
        is_frequent[:n_known] = True
        special[UNKNOWN] += by_category[~is_frequent].sum()
        categories = self.categories.filter(pa.array(is_frequent))
        counts = np.concatenate([special, by_category[is_frequent]])
        return Vocabulary(self.kind, categories, counts, self.given)

    def __len__(self) -> int:
        """Return the number of codes, the two special ones included: rows of the embedding table."""
        return len(self.categories) + N_SPECIAL

    def codes(self, column: pa.ChunkedArray, field: pa.Field) -> np.ndarray:
        """Return the code of each cell, int64 of shape (n_rows,).

        Among values of the kind of ``fit``, a value of another kind is unknown.

        Raises
        ------
        ValueError
            All values of the column are of another kind (say text, where there were whole numbers in
            ``fit``).
        """
        if not len(column):
            return np.zeros(0, np.int64)
        if self.kind == "nothing":
            missing = column.is_null(nan_is_null=True).to_numpy()
            return np.where(missing, MISSING, UNKNOWN).astype(np.int64)
        if is_keys(field) and self.kind != "object":
            return self._codes_among_strays(_encode(column), field)
        if len(column) <= FEW and self.kind in PLAIN and _KINDS[self.kind].includes(field.type):
            return np.array([self._code_of_cell(value) for value in column.to_pylist()], np.int64)
        return self._look_up(*_dictionary(column, field, self.kind, field.name))

    def _codes_among_strays(self, keys: pa.DictionaryArray, field: pa.Field) -> np.ndarray:
        """Return the code of each cell of a column of several kinds."""
        values = python_values(keys.dictionary, field)
        belong = [isinstance(value, _KINDS[self.kind].python) for value in values]
        if not any(belong):
            raise _another_kind(field.name, self.kind, "other")
        codes = [self._code_of(value) if fits else UNKNOWN for value, fits in zip(values, belong)]
        indices = keys.indices.cast(pa.int64()).fill_null(-1).to_numpy()
        codes_by_cell: np.ndarray = np.array([*codes, MISSING], dtype=np.int64)[indices]
        return codes_by_cell

    def _code_of_cell(self, value: Any) -> int:
        """Return the code of a cell, None or NaN where it is missing, in a column of this kind."""
        if value is None or value != value:
            return MISSING
        try:
            position: Any = self._searcher().get_loc(value)
            return int(position) + N_SPECIAL
        except KeyError:
            return UNKNOWN

    def _code_of(self, value: Any) -> int:
        """Return the code of a Python value of this kind."""
        try:
            position: Any = self._searcher().get_loc(_KINDS[self.kind].read(value))
            return int(position) + N_SPECIAL
        except (KeyError, ValueError, OverflowError):  # ValueError: a time that pandas cannot hold
            return UNKNOWN

    def codes_of(self, other: Vocabulary) -> np.ndarray:
        """Return the code here of each code of another vocabulary of this kind, int64 (len(other),)."""
        return np.concatenate([[UNKNOWN, MISSING], self._codes_of_values(other.categories)])

    def _look_up(self, indices: np.ndarray, values: pa.Array) -> np.ndarray:
        """Return the code of each cell, from its index into distinct values; -1 is a missing cell."""
        codes: np.ndarray = np.append(self._codes_of_values(values), MISSING)[indices]
        return codes

    def _codes_of_values(self, values: pa.Array) -> np.ndarray:
        codes = self._positions(values) + N_SPECIAL
        codes[codes < N_SPECIAL] = UNKNOWN
        return codes

    def _positions(self, values: pa.Array) -> np.ndarray:
        """Return the position of each value among the categories, -1 if it is none of them."""
        if len(values) != 1:
            return self._searcher().get_indexer(_index(values))
        try:  # one row: to make an index of its value would take longer than everything else
            return np.array([self._searcher().get_loc(values[0].as_py())])
        except KeyError:
            return np.array([-1])

    def _searcher(self) -> pd.Index:
        if self._index is None:
            self._index = _index(self.categories)
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
        index = _index(self.categories)
        if self.kind == "time" and self.given.get("dates"):
            return pd.Index(pd.DatetimeIndex(index).date, dtype=object)
        if self.kind == "time" and "zone" in self.given:
            return pd.DatetimeIndex(index).tz_localize("UTC").tz_convert(self.given["zone"])
        return index


def _given(columns: dict[str, tuple[pa.ChunkedArray, pa.Field]]) -> dict[str, Any]:
    """Return what the categories do not say of the labels; the first column that says it counts."""
    given: dict[str, Any] = {}
    for column, field in columns.values():
        dtype = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if is_keys(field):
            given["types"] = types_of(field) | given.get("types", {})
        elif pa.types.is_decimal(dtype):
            keys = _python_keys(_encode(column).dictionary, field.name)
            given["types"] = dict.fromkeys(filter(None, keys), "Decimal") | given.get("types", {})
        elif pa.types.is_timestamp(dtype) and dtype.tz is not None:
            given.setdefault("zone", dtype.tz)
        given.setdefault("dates", bool(pa.types.is_date(dtype)))
    return {name: value for name, value in given.items() if value}


def _merged(given: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return both; where both say something, the first one counts."""
    types = {**more.get("types", {}), **given.get("types", {})}
    return {**more, **given} | ({"types": types} if types else {})


def kind_of(field: pa.Field) -> str | None:
    """Return the kind of a column's values; None when every value is missing."""
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
    """Return the kind by the values, where the type alone does not settle it.

    Floats that are all whole are integers: pandas makes floats of ids where one is missing. Integers
    beyond 64 bits are objects.
    """
    if kind not in ("integer", "float"):
        return kind
    values = pc.drop_null(_decode(column))
    if kind == "integer":
        return kind if _fits_int64(values) else "object"
    values = values.filter(pc.invert(pc.is_nan(values)))
    is_whole = pc.all(pc.equal(values, pc.floor(values))).as_py() is not False
    return "integer" if is_whole and _fits_int64(values) else kind


def _fits_int64(values: pa.Array | pa.ChunkedArray) -> bool:
    ends = pc.min_max(values).as_py()
    return ends["max"] is None or bool(ends["max"] < 2**63 and ends["min"] >= -(2**63))


def _decode(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        return column.cast(column.type.value_type)
    return column


def _dictionary(
    column: pa.ChunkedArray, field: pa.Field, kind: str, name: str
) -> tuple[np.ndarray, pa.Array]:
    """Return the index of each cell into the distinct values (-1: missing), and these values."""
    column_kind = "nested" if pa.types.is_nested(column.type) else kind_of(field)
    if column_kind is None:
        return np.full(len(column), -1), pa.array([], _KINDS[kind].dtype)
    if column_kind not in (kind, *_READS_AS.get(kind, ())):
        raise _another_kind(name, kind, column_kind)
    array = _encode(column)
    indices = array.indices.cast(pa.int64()).fill_null(-1).to_numpy()
    values = _as_kind(array.dictionary, column_kind, kind, name)
    if values.null_count or pa.types.is_floating(values.type):  # NaN
        missing = values.is_null(nan_is_null=True).to_numpy(zero_copy_only=False)
        position = np.append(np.where(missing, -1, np.cumsum(~missing) - 1), -1)
        indices, values = position[indices], values.filter(pa.array(~missing))
    return indices, values


def _encode(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """Return a column as one dictionary array."""
    if (
        pa.types.is_dictionary(column.type)
        and not pa.types.is_nested(column.type.value_type)  # which Arrow cannot cast, such as intervals
        and any(len(chunk.dictionary) > len(column) for chunk in column.chunks)
    ):
        column = column.cast(column.type.value_type)  # a few rows may carry a dictionary of millions
    if pa.types.is_dictionary(column.type):
        array = column.unify_dictionaries().combine_chunks()
    else:
        array = column.dictionary_encode().combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # a column without chunks stays chunked
        array = array.chunk(0) if array.num_chunks else pa.array([], column.type).dictionary_encode()
    return array


def _as_kind(values: pa.Array, column_kind: str, kind: str, name: str) -> pa.Array:
    """Return distinct values in the Arrow type of a vocabulary's kind.

    Values that cannot be categories of this kind, such as 1.5 among integers, may have another type:
    they match none.
    """
    dtype = _KINDS[kind].dtype
    if kind == "object":
        are_keys = column_kind == "object" and _is_text(values.type)
        return pa.array(values.to_pylist() if are_keys else _python_keys(values, name), dtype)
    if kind == "integer" and column_kind == "float":
        return _whole_numbers(values)
    if kind == "float" and pa.types.is_integer(values.type):
        return pc.add(_exact_floats(values), 0.0)
    if kind == "integer" and not _fits_int64(values):
        return values.cast(pa.float64(), safe=False)
    if pa.types.is_timestamp(values.type) and values.type.tz is not None:
        return values.cast(pa.timestamp("us", "UTC"), safe=False).cast(dtype)
    values = values.cast(dtype, safe=kind != "time")
    # -0.0 equals 0.0, but Arrow has them as two values
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
    """Return a number that is no category of integers or floats."""
    numbers = values.to_pylist()
    strays = (v for v in numbers if (v != v // 1 if kind == "integer" else v in (np.inf, -np.inf)))
    return next(strays, numbers[0])


def _exact_floats(values: pa.Array) -> pa.Array:
    """Return integers as float64; one that float64 cannot hold becomes infinite, and matches none."""
    largest = pc.max(pc.abs(values.cast(pa.float64(), safe=False))).as_py() or 0.0
    if largest <= 2.0**53:
        return values.cast(pa.float64())
    exact = (float(v) if int(float(v)) == v else np.inf for v in values.to_pylist())
    return pa.array(exact, pa.float64())


def _another_kind(name: str, kind: str, now: str) -> ValueError:
    return ValueError(
        f"Column {name!r} held {kind} values when it was fitted and holds {now} values now; "
        "convert it to the kind that it had."
    )


def _python_keys(values: pa.Array, name: str) -> list[str | None]:
    return [None if value is None else key_of(value, name) for value in values.to_pylist()]


def _whole_numbers(values: pa.Array) -> pa.Array:
    """Return floats as int64 if all are whole; else as floats, which match no category."""
    numbers = values.to_numpy(zero_copy_only=False)
    present = numbers[~np.isnan(numbers)]
    if np.all((present == np.floor(present)) & (np.abs(present) < 2.0**63)):
        return pa.array(numbers, pa.float64(), from_pandas=True).cast(pa.int64(), safe=False)
    return values.cast(pa.float64())


def _index(values: pa.Array) -> pd.Index:
    numpy_values = values.to_numpy(zero_copy_only=False)
    is_object = _is_text(values.type) or pa.types.is_large_binary(values.type)
    index: pd.Index = pd.Index(numpy_values, dtype=object) if is_object else pd.Index(numpy_values)
    return index

"""Convert columns of Python values to Arrow: values of one sort in an Arrow type, others as keys.

A column is converted to keys if Arrow has no type for its values. The metadata of its field record this,
whether all values are numbers, and which value does not fit the others. ``fit`` refuses such a stray
value. In rows to predict, each reader uses the values of the kind that it was fitted on.
"""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from itertools import chain
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tabemb.data.keys import key_of, value_of

OBJECT = {b"tabemb": b"object"}
"""Field metadata of a column of keys."""
NUMBERS = {**OBJECT, b"tabemb.values": b"numbers"}
"""Field metadata of a column of keys of numbers only, such as 2**70 or a mix of Decimal and float."""
STRAY = b"tabemb.stray"
"""Metadata name of the message about a value that does not fit the others."""
TYPES = b"tabemb.types"
"""Metadata name of the original types of values whose keys restore an equal value of another type."""
RETYPE: dict[str, Callable[[Any], Any]] = {
    "bool": bool,
    "float": float,
    "Decimal": Decimal,
    "datetime": lambda value: getattr(value, "to_pydatetime", lambda: value)(),
    "timedelta": lambda value: getattr(value, "to_pytimedelta", lambda: value)(),
}
"""Functions that convert the value of a key to such an original type."""
_SORTS: dict[str, tuple[type, ...]] = {
    "numbers": (Real, Decimal, np.number, np.bool_),
    "text": (str,),
    "bytes": (bytes,),
    "times": (dt.date, np.datetime64),  # includes datetime and Timestamp
    "durations": (dt.timedelta, np.timedelta64),
    "times of day": (dt.time,),
    "lists": (list, np.ndarray),
    "dicts": (dict,),
}
_OTHER = "other values"
_NAMES = {"text", "bytes", _OTHER}
"""Sorts of values that can only be names of categories; a column may mix several of these sorts."""
_REFUSED = (pa.ArrowException, OverflowError, UnicodeEncodeError, TypeError)
_UNREADABLE = object()
"""Placeholder for a value that its key does not restore."""


class Column(NamedTuple):
    """Values as an Arrow array, with the metadata of their field."""

    array: pa.Array
    metadata: dict[bytes, bytes] | None = None

    def field(self, name: str) -> pa.Field:
        """Return the field of the column."""
        return pa.field(name, self.array.type, metadata=self.metadata)


def is_keys(field: pa.Field) -> bool:
    """Return whether a column contains keys."""
    return bool((field.metadata or {}).get(b"tabemb") == OBJECT[b"tabemb"])


def are_numbers(field: pa.Field) -> bool:
    """Return whether a column contains keys of numbers only."""
    return b"tabemb.values" in (field.metadata or {})


def types_of(field: pa.Field) -> dict[str, str]:
    """Return, by key, the original types (of `RETYPE`) of the values of a column of keys."""
    text = (field.metadata or {}).get(TYPES, b"{}")
    return {key: name for name, keys in json.loads(text).items() for key in keys}


def stray_of(field: pa.Field) -> str | None:
    """Return the message about a value that does not fit the others, if there is one."""
    text = (field.metadata or {}).get(STRAY)
    return None if text is None else text.decode()


def python_values(values: pa.Array | pa.ChunkedArray, field: pa.Field) -> list[Any]:
    """Return Python values, None where missing; keys become the values that they stand for."""
    if not is_keys(field):
        plain: list[Any] = values.to_pylist()
        return plain
    return [None if key is None else value_of(key, _UNREADABLE) for key in values.to_pylist()]


def hashable_values(values: pa.Array | pa.ChunkedArray, field: pa.Field) -> list[Any]:
    """Return Python values; a key stays a key if its value is not hashable or cannot be restored."""
    if not is_keys(field):
        plain: list[Any] = values.to_pylist()
        return plain
    keys = values.to_pylist()
    read = [None if key is None else value_of(key, key) for key in keys]
    return [key if isinstance(value, (list, dict)) else value for key, value in zip(keys, read)]


def labels_of(keys: pa.Array, types: Mapping[str, str]) -> pd.Index:
    """Return the values of keys as labels in their original types; keys that cannot be restored stay.

    Parameters
    ----------
    keys : pyarrow.Array
    types : mapping of key -> str
        As `types_of` returns them.
    """
    values = [
        RETYPE[types[key]](value_of(key, key)) if key in types else value_of(key, key)
        for key in keys.to_pylist()
    ]
    return pd.Index(_objects(values), dtype=object, tupleize_cols=False)


def column_of(values: Sequence[Any] | pd.Series, name: str, rows: np.ndarray | None = None) -> Column:
    """Return Python values as Arrow.

    Parameters
    ----------
    values : sequence or Series of dtype object
    name : str
        Name of the column in errors.
    rows : ndarray of shape (n_values,), optional
        The row of each value; its position when None.
    """
    cells = values.to_numpy() if isinstance(values, pd.Series) else _objects(values)
    if any(issubclass(kind, np.ma.MaskedArray) for kind in set(map(type, cells))):
        cells = _objects([without_mask(cell) for cell in cells])
    rows = np.arange(len(cells)) if rows is None else rows
    is_missing = pd.isna(cells)
    present = cells[~is_missing]
    types = set(map(type, present))
    sorts = {_sort(kind) for kind in types}
    if not sorts:
        return Column(pa.nulls(len(cells)))
    if "lists" in sorts and types <= {list, np.ndarray, tuple}:
        return _arrays(cells, present, types) or _lists(cells, is_missing, name, rows)
    return _of_one_sort(cells, present, types, sorts) or _keys(cells, is_missing, name, rows)


def without_mask(cell: Any) -> Any:
    """Return a masked cell as None, and a masked array as a list with None for such cells."""
    return cell.tolist() if isinstance(cell, np.ma.MaskedArray) else cell


def _objects(values: Sequence[Any]) -> np.ndarray:
    return np.fromiter(values, object, len(values))


def _sort(kind: type) -> str:
    return next((sort for sort, types in _SORTS.items() if issubclass(kind, types)), _OTHER)


def _arrays(cells: np.ndarray, present: np.ndarray, types: set[type]) -> Column | None:
    """Return lists that are numpy arrays of numbers; these cannot mix several kinds of values."""
    if types == {np.ndarray} and all(cell.ndim == 1 and cell.dtype.kind in "fiu" for cell in present):
        return _converted(cells)
    return None


def _of_one_sort(
    cells: np.ndarray, present: np.ndarray, types: set[type], sorts: set[str]
) -> Column | None:
    """Return values of one sort in their Arrow type; None if they have none."""
    if len(sorts) > 1 or sorts == {_OTHER}:
        return None
    if sorts == {"times"} and len({_is_zoned(value) for value in present}) > 1:
        return None
    # convert: Arrow would truncate datetimes among dates, and cannot read numpy's days or years
    is_mixed = dt.date in types and len(types) > 1
    try:
        if sorts == {"times"} and (is_mixed or np.datetime64 in types):
            cells = _objects([None if pd.isna(cell) else pd.Timestamp(cell) for cell in cells])
        if np.timedelta64 in types:
            cells = _objects([None if pd.isna(cell) else pd.Timedelta(cell) for cell in cells])
    except (ValueError, OverflowError):  # out of the range of pandas
        return None
    return _converted(cells)


def _converted(cells: np.ndarray) -> Column | None:
    try:
        return Column(pa.array(cells, from_pandas=True))
    except _REFUSED:
        return None


def _is_zoned(value: Any) -> bool:
    return getattr(value, "tzinfo", None) is not None


def _keys(cells: np.ndarray, is_missing: np.ndarray, name: str, rows: np.ndarray) -> Column:
    """Return values as keys, with metadata on numbers, stray values and types."""
    keys = [None if gone else key_of(value, name) for value, gone in zip(cells, is_missing)]
    present, rows = cells[~is_missing], rows[~is_missing]
    sorts = [_sort_of(value) for value in present]
    metadata = dict(NUMBERS if set(sorts) == {"numbers"} else OBJECT) | types_metadata(present, keys)
    if not (set(sorts) == {"numbers"} or set(sorts) <= _NAMES):
        main = Counter(sorts).most_common(1)[0][0]
        first = next((i for i, sort in enumerate(sorts) if sort != main), 0)
        among = f" among {main}" if sorts[first] != main else ""
        metadata[STRAY] = ascii(f"{present[first]!r:.60} in row {rows[first]}{among}")[1:-1].encode()
    return Column(pa.array(keys, pa.string()), metadata)


def types_metadata(present: np.ndarray, keys: list[str | None]) -> dict[bytes, bytes]:
    """Return metadata on the original types of values, if the keys alone do not restore them.

    Among equal values, the first one decides.
    """
    by_key = dict(zip(filter(None, reversed(keys)), present[::-1]))
    names = {key: type(value).__name__ for key, value in by_key.items()}
    by_name: dict[str, list[str]] = {}
    for key, name in names.items():
        by_name.setdefault(name, []).append(key)
    lossy = {name: by_name[name] for name in RETYPE if name in by_name}
    return {TYPES: json.dumps(lossy).encode()} if lossy else {}


def _sort_of(value: Any) -> str:
    sort = _sort(type(value))
    return "times with a time zone" if sort == "times" and _is_zoned(value) else sort


def _lists(cells: np.ndarray, is_missing: np.ndarray, name: str, rows: np.ndarray) -> Column:
    """Return lists of events or of plain values, whose fields are converted like columns."""
    lists = [
        () if gone else list(np.atleast_1d(value) if isinstance(value, np.ndarray) else value)
        for value, gone in zip(cells, is_missing)
    ]
    counts = np.fromiter(map(len, lists), np.int64, len(lists))
    events = list(chain.from_iterable(lists))
    column = events_column(events, name, np.repeat(rows, counts))
    dtype = pa.large_list(column.field("item"))
    offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]))
    return Column(pa.LargeListArray.from_arrays(offsets, column.array, dtype, mask=pa.array(is_missing)))


def events_column(events: list[Any], name: str, rows: np.ndarray | None = None) -> Column:
    """Return events as Arrow: structs if all are dicts, otherwise plain values; ``rows`` as above."""
    cells = _objects(events)
    is_missing = pd.isna(cells)
    present = cells[~is_missing]
    keys = list(dict.fromkeys(chain.from_iterable(present))) if set(map(type, present)) == {dict} else []
    if not keys:
        return column_of(events, name, rows)
    fields = {
        str(key): column_of(
            [None if gone else event.get(key) for event, gone in zip(events, is_missing)],
            f"{name}.{key}",
            rows,
        )
        for key in keys
    }
    arrays = [column.array for column in fields.values()]
    struct_fields = [column.field(key) for key, column in fields.items()]
    return Column(pa.StructArray.from_arrays(arrays, fields=struct_fields, mask=pa.array(is_missing)))


def settled(table: pa.Table) -> pa.Table:
    """Convert a table to the types that the library reads.

    A column without any value gets the type null. Values of extension types become keys, booleans or
    their storage values.
    """
    pairs = [_settled(column, field) for column, field in zip(table.columns, table.schema)]
    fields = [field for _, field in pairs]
    return pa.table([column for column, _ in pairs], schema=pa.schema(fields)) if pairs else table


def _settled(column: pa.ChunkedArray, field: pa.Field) -> tuple[pa.ChunkedArray, pa.Field]:
    dtype = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if len(column) and _is_all_missing(column):
        return pa.chunked_array([pa.nulls(len(column))]), pa.field(field.name, pa.null())
    if isinstance(dtype, pa.BaseExtensionType):
        plain = _without_extension(column, field.name)
        return pa.chunked_array([plain.array]), plain.field(field.name)
    if pa.types.is_float16(dtype):  # Arrow has few kernels for half precision
        column = column.cast(pa.float32())
        return column, field.with_type(column.type)
    return column, field


def _is_all_missing(column: pa.ChunkedArray) -> bool:
    if column.null_count == len(column):
        return True
    if not pa.types.is_floating(column.type) or not np.isnan(column[0].as_py() or np.nan):
        return False
    return bool(pc.all(pc.is_null(column, nan_is_null=True)).as_py())


def _without_extension(column: pa.ChunkedArray, name: str) -> Column:
    if pa.types.is_dictionary(column.type):
        column = column.unify_dictionaries()
        array = column.combine_chunks()
        plain = _without_extension(pa.chunked_array([array.dictionary]), name)
        return Column(pa.DictionaryArray.from_arrays(array.indices, plain.array), plain.metadata)
    if column.type.extension_name == "arrow.uuid":
        return column_of(column.to_pylist(), name)
    chunks = [chunk.storage for chunk in column.chunks]
    storage = pa.chunked_array(chunks, column.type.storage_type).combine_chunks()
    return Column(storage.cast(pa.bool_()) if column.type.extension_name == "arrow.bool8" else storage)

"""Distinct values of a column as a dictionary, as an index and as numbers of another type."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc


def fits_int64(values: pa.Array | pa.ChunkedArray) -> bool:
    """Return whether integers fit into int64."""
    ends = pc.min_max(values).as_py()
    return ends["max"] is None or bool(ends["max"] < 2**63 and ends["min"] >= -(2**63))


def decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column with plain values instead of a dictionary."""
    if pa.types.is_dictionary(column.type):
        return column.cast(column.type.value_type)
    return column


def as_dictionary(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """Return a column as one dictionary array."""
    if (
        pa.types.is_dictionary(column.type)
        and not pa.types.is_nested(column.type.value_type)  # Arrow cannot cast these (intervals)
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


def exact_floats(values: pa.Array) -> pa.Array:
    """Return integers as float64; one that float64 cannot represent becomes inf and matches nothing."""
    largest = pc.max(pc.abs(values.cast(pa.float64(), safe=False))).as_py() or 0.0
    if largest <= 2.0**53:
        return values.cast(pa.float64())
    exact = (float(v) if int(float(v)) == v else np.inf for v in values.to_pylist())
    return pa.array(exact, pa.float64())


def whole_numbers(values: pa.Array) -> pa.Array:
    """Return floats as int64 if all are whole; otherwise as floats, which match no category."""
    numbers = values.to_numpy(zero_copy_only=False)
    present = numbers[~np.isnan(numbers)]
    if np.all((present == np.floor(present)) & (np.abs(present) < 2.0**63)):
        return pa.array(numbers, pa.float64(), from_pandas=True).cast(pa.int64(), safe=False)
    return values.cast(pa.float64())


def index_of(values: pa.Array) -> pd.Index:
    """Return values as an index that finds their positions."""
    numpy_values = values.to_numpy(zero_copy_only=False)
    is_object = any(is_type(values.type) for is_type in _OBJECTS)
    index: pd.Index = pd.Index(numpy_values, dtype=object) if is_object else pd.Index(numpy_values)
    return index


_OBJECTS = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
    pa.types.is_large_binary,
)
"""Types whose values are objects in numpy."""

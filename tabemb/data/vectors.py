"""Ready-made vectors: columns of number lists of equal length, for example from a language model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tabemb.data.histories import is_list, lists_among
from tabemb.data.scales import quantiles

MIN_ROWS = 10
"""Number of lists from which equal lengths are not a coincidence."""
AT_ONCE = 2**22
"""Number of values that are scaled at a time."""
LARGEST = 1e6
"""Scaled coordinates are clipped to +-``LARGEST``, so that float32 can represent their squares."""


@dataclass
class VectorScale:
    """How the vectors of one column are scaled.

    Each coordinate is centred, and all are divided by one common unit. This keeps the directions and
    relative distances of the model that made the vectors. With a unit for each coordinate, coordinates
    that hardly vary, which are mostly noise, would count as much as the others.

    A column without any vector has width 0.

    Parameters
    ----------
    center : ndarray of shape (width,)
        The median of each coordinate.
    unit : float
        The median length of the centred vectors, divided by the root of the width. Scaled coordinates
        then have a root mean square of one in a typical row, whatever outliers there are.
    has_missing : bool
        Whether a training row has no vector.
    """

    center: np.ndarray
    unit: float
    has_missing: bool

    @classmethod
    def fit(cls, vectors: np.ndarray, weights: np.ndarray | None) -> VectorScale:
        """Measure vectors (n_rows, width), NaN in rows without one; rows of weight zero are ignored."""
        used = ~np.isnan(vectors[:, 0]) if vectors.shape[1] else np.zeros(len(vectors), dtype=bool)
        has_missing = not used.all()
        if weights is not None:
            used &= weights > 0
            weights = weights[used]
        if not used.any():
            return cls(np.zeros(vectors.shape[1]), 1.0, True)
        present = vectors[used]
        center = np.concatenate([quantiles(column, [0.5], weights) for column in present.T])
        center = center.astype(np.float64)
        with np.errstate(over="ignore"):  # squares
            squares = np.concatenate([np.square(part - center).mean(1) for _, part in _parts(present)])
        square = float(quantiles(squares, [0.5], weights)[0]) or float(squares.max()) or 1.0
        return cls(center, float(np.sqrt(min(square, np.finfo(float).max))), has_missing)

    @property
    def width(self) -> int:
        """Number of coordinates."""
        return len(self.center)

    def apply(self, vectors: np.ndarray) -> np.ndarray:
        """Return scaled vectors, float32 (n_rows, width)."""
        scaled = np.empty(vectors.shape, np.float32)
        for start, part in _parts(vectors):
            with np.errstate(over="ignore"):  # overflow is clipped
                shifted = (part - self.center) / self.unit
            scaled[start : start + len(part)] = np.clip(shifted, -LARGEST, LARGEST)
        return scaled


def _parts(vectors: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield rows in parts small enough to be copied, each with the position of its first row."""
    step = max(1, AT_ONCE // max(vectors.shape[1], 1))
    for start in range(0, len(vectors), step):
        yield start, vectors[start : start + step]


def are_vectors(column: pa.ChunkedArray) -> bool:
    """Return whether a column contains vectors, by its type or by the equal lengths of its lists.

    Vectors are lists of floats of a fixed size, or at least ten lists of floats with the same length
    above one. Lists of whole numbers may be codes, so they are a history unless the user gives the role.
    """
    dtype = column.type
    if not (is_list(dtype) and pa.types.is_floating(dtype.value_type)):
        return False
    if pa.types.is_fixed_size_list(dtype):
        return bool(dtype.list_size > 1)
    lengths = pc.min_max(pc.list_value_length(column)).as_py()
    n_lists = len(column) - column.null_count
    return bool(n_lists >= MIN_ROWS and 1 < lengths["min"] == lengths["max"])


def read_vectors(column: pa.ChunkedArray, field: pa.Field, width: int | None = None) -> np.ndarray:
    """Return the vectors of a column, (n_rows, width), NaN in rows without one.

    Parameters
    ----------
    column : pyarrow.ChunkedArray
    field : pyarrow.Field
    width : int, optional
        Required width of all vectors; the length of the first one when None. Width 0 means that the
        training column had no vectors, so that all later ones are ignored.

    Raises
    ------
    ValueError
        A cell is not a list of numbers, lengths differ, or a coordinate is missing or infinite.
    """
    if column.null_count == len(column) or width == 0:
        return np.full((len(column), width or 0), np.nan, np.float32)
    name, lists = field.name, _lists(column, field)
    lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(~np.isnan(lengths))
    _check_lengths(lengths, rows, name, width)
    width = int(lengths[rows[0]]) if width is None else width
    coordinates = _coordinates(lists, name)
    dtype = np.float32 if coordinates.type in (pa.float16(), pa.float32()) else np.float64
    flat: np.ndarray = coordinates.cast(pa.from_numpy_dtype(dtype)).to_numpy(zero_copy_only=False)
    present: np.ndarray = flat.reshape(len(rows), width)
    _check_finite(present, rows, name)
    if len(rows) == len(lists):
        return present
    vectors = np.full((len(lists), width), np.nan, dtype)
    vectors[rows] = present
    return vectors


def _lists(column: pa.ChunkedArray, field: pa.Field) -> pa.Array:
    try:
        lists = lists_among(column, field).combine_chunks()
    except ValueError as error:
        raise ValueError(
            f"Column {field.name!r} has the role 'vector', so its cells must be lists of numbers; it "
            f"holds {column.type}."
        ) from error
    return pa.concat_arrays(lists.chunks) if isinstance(lists, pa.ChunkedArray) else lists


def _coordinates(lists: pa.Array, name: str) -> pa.Array:
    values, dtype = lists.flatten(), lists.type.value_type
    is_number = pa.types.is_floating(dtype) or pa.types.is_integer(dtype) or pa.types.is_decimal(dtype)
    if not is_number:
        raise ValueError(
            f"Column {name!r} has the role 'vector', so its cells must be lists of numbers; it holds "
            f"lists of {dtype}."
        )
    return values


def _check_lengths(lengths: np.ndarray, rows: np.ndarray, name: str, width: int | None) -> None:
    expected = lengths[rows[0]] if width is None else width
    wrong = rows[lengths[rows] != expected]
    if len(wrong) and width is not None:
        raise ValueError(
            f"Column {name!r} must hold vectors of {width} numbers, as fit had them; row {wrong[0]} has "
            f"{int(lengths[wrong[0]])}."
        )
    if len(wrong) or not expected:
        row = wrong[0] if len(wrong) else rows[0]
        raise ValueError(
            f"Column {name!r} has the role 'vector', so its lists must have one length; row {rows[0]} "
            f"has {int(expected)} numbers and row {row} has {int(lengths[row])}. Pass None for a row "
            f"without a vector, or read the lists as events with roles={{{name!r}: 'history'}}."
        )


def _check_finite(vectors: np.ndarray, rows: np.ndarray, name: str) -> None:
    for start, part in _parts(vectors):
        finite = np.isfinite(part)
        if not finite.all():
            row, coordinate = np.argwhere(~finite)[0]
            raise ValueError(
                f"Column {name!r} must hold vectors of finite numbers; row {rows[start + row]} has "
                f"{part[row, coordinate]} at position {coordinate}. Pass None for a row without a "
                f"vector, or read the lists as events with roles={{{name!r}: 'history'}}."
            )

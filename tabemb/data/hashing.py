"""Tables of bounded size: which categories have a row of their own, and which rows the others share.

The hash of a category depends on its value alone, and is the same in every process and version: a
polynomial over the bytes of a text, and the finaliser of SplitMix64 (Steele et al. 2014), which mixes
the bits of numbers as well.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa

FEWEST_A_ROW = 10
"""Categories that share a hashed row, at least, on average, where a table does not say how many rows it
has: a row of two or three would answer for new categories as for these."""
_AT_ONCE = 2**16
_BASE = np.uint64(0x100000001B3)


class Limit(NamedTuple):
    """Which categories of a table have a code of their own.

    Parameters
    ----------
    min_count : float
        Those with a smaller count have none.
    max_size : int, optional
        Largest number of those that have one: the most frequent ones, of equal ones the first in order.
    n_hashed : int, optional
        Rows that all others share by their hash; 0: they are unknown. None: as `hashed_rows` says.
    """

    min_count: float = 1
    max_size: int | None = None
    n_hashed: int | None = 0

    def hashed_rows(self, n_others: int) -> int:
        """Return the number of hashed rows for so many categories without a code of their own.

        Where it is not given, a tenth of these, and of ``max_size``.
        """
        if not n_others:
            return 0
        if self.n_hashed is not None:
            return self.n_hashed
        most = n_others if self.max_size is None else min(n_others, self.max_size)
        return max(1, most // FEWEST_A_ROW)

    def kept(self, counts: np.ndarray, n_known: int, is_full: bool = False) -> np.ndarray:
        """Return whether each category has a code, bool (n_categories,).

        Parameters
        ----------
        counts : ndarray of shape (n_categories,)
            Of the known categories, then of new ones in their order.
        n_known : int
            The first ones, which keep their codes.
        is_full : bool
            Whether new ones get none.
        """
        is_kept = np.asarray(counts >= self.min_count) & (not is_full)
        is_kept[:n_known] = True
        if self.max_size is not None and is_kept.sum() > self.max_size:
            new = n_known + np.flatnonzero(is_kept[n_known:])
            by_count = new[np.argsort(-counts[new], kind="stable")]
            is_kept[by_count[max(self.max_size - n_known, 0) :]] = False
        return is_kept


NO_LIMIT = Limit()


def hashed_names(n_hashed: int) -> list[str]:
    """Return what the hashed rows of a table are called, where rows are listed."""
    return [f"(hashed {i})" for i in range(n_hashed)]


def buckets(values: pa.Array, n: int, dtype: pa.DataType) -> np.ndarray:
    """Return the hashed row of each value, int64 (n_values,); -1 for one that is no such category.

    Parameters
    ----------
    values : pyarrow.Array
        None of them missing; of ``dtype``, or floats where that is a type of whole numbers.
    n : int
        Number of hashed rows.
    dtype : pyarrow.DataType
        Type of the categories: 3.0 among floats has the hash of 3 where they are whole numbers.
    """
    can_be = np.ones(len(values), bool)
    if pa.types.is_floating(values.type):
        numbers = values.to_numpy(zero_copy_only=False)
        can_be = np.isfinite(numbers)
        if pa.types.is_integer(dtype):
            can_be &= (numbers == np.floor(numbers)) & (np.abs(numbers) < 2.0**63)
        values = pa.array(np.where(can_be, numbers, 0.0) + 0.0)
    hashes = hashes_of(values.cast(dtype))
    return np.where(can_be, (hashes % np.uint64(n)).astype(np.int64), -1)


def hashes_of(values: pa.Array) -> np.ndarray:
    """Return a hash of each value, uint64 (n_values,).

    Parameters
    ----------
    values : pyarrow.Array
        Text, bytes, whole numbers, floats (-0.0 must be 0.0), booleans or times.
    """
    dtype = values.type
    if pa.types.is_large_string(dtype) or pa.types.is_large_binary(dtype):
        parts = [_of_bytes(values.slice(i, _AT_ONCE)) for i in range(0, len(values), _AT_ONCE)]
        return _mixed(np.concatenate([*parts, np.zeros(0, np.uint64)]))
    if pa.types.is_floating(dtype):
        return _mixed(values.cast(pa.float64()).to_numpy().view(np.uint64))
    return _mixed(values.cast(pa.int64()).to_numpy().view(np.uint64))


def _of_bytes(values: pa.Array) -> np.ndarray:
    """Return the polynomial of the bytes of each value: those of a value at the powers 1, 2, ..."""
    _, offsets, data = values.buffers()
    ends = np.frombuffer(offsets, np.int64)[values.offset : values.offset + len(values) + 1]
    first, last = int(ends[0]), int(ends[-1])
    if first == last:
        return np.zeros(len(values), np.uint64)
    lengths = np.diff(ends)
    digits = np.frombuffer(data, np.uint8)[first:last].astype(np.uint64) + np.uint64(1)
    powers = np.cumprod(np.full(int(lengths.max()), _BASE))  # all of this is modulo 2^64
    starts = ends[:-1] - first
    digits *= powers[np.arange(last - first) - np.repeat(starts, lengths)]
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(digits, dtype=np.uint64)])
    polynomial: np.ndarray = sums[ends[1:] - first] - sums[starts]
    return polynomial


def _mixed(x: np.ndarray) -> np.ndarray:
    """Return the finaliser of SplitMix64 of each number."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)))

"""Tables of bounded size: which categories have a row of their own, and which rows the others share.

The hash of a category depends only on its value, and is the same in every process and version. Text is
hashed by a polynomial over its bytes. The finaliser of SplitMix64 (Steele et al. 2014) then mixes the
bits, and does the same for numbers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa

FEWEST_A_ROW = 10
"""Least average number of categories per hashed row, if a table does not set the number of rows. A row
of two or three categories would predict for a new category what it learned for these."""
_AT_ONCE = 2**16
_BASE = np.uint64(0x100000001B3)


class Limit(NamedTuple):
    """Which categories of a table have a code of their own.

    Parameters
    ----------
    min_count : float
        Categories with a smaller count have no code.
    max_size : int, optional
        Largest number of categories with a code. The most frequent ones get it; ties go to the first.
    n_hashed : int, optional
        Rows that all other categories share by their hash; 0: these are unknown. None: `hashed_rows`
        decides.
    """

    min_count: float = 1
    max_size: int | None = None
    n_hashed: int | None = 0

    def hashed_rows(self, n_others: int) -> int:
        """Return the number of hashed rows for ``n_others`` categories without a code of their own.

        By default it is a tenth of ``n_others``, and at most a tenth of ``max_size``.
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
            Counts of the known categories, then of the new ones in their order.
        n_known : int
            Number of known categories, which keep their codes.
        is_full : bool
            Whether new categories get no code.
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
    """Return the names of a table's hashed rows for lists of its rows."""
    return [f"(hashed {i})" for i in range(n_hashed)]


def buckets(values: pa.Array, n: int, dtype: pa.DataType) -> np.ndarray:
    """Return the hashed row of each value, int64 (n_values,); -1 for values that cannot be a category.

    Parameters
    ----------
    values : pyarrow.Array
        Without missing values; of type ``dtype``, or floats if ``dtype`` is a type of whole numbers.
    n : int
        Number of hashed rows.
    dtype : pyarrow.DataType
        Type of the categories; if they are whole numbers, the float 3.0 has the hash of 3.
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
        Text, bytes, whole numbers, floats (without -0.0), booleans or times.
    """
    dtype = values.type
    if pa.types.is_large_string(dtype) or pa.types.is_large_binary(dtype):
        parts = [_of_bytes(values.slice(i, _AT_ONCE)) for i in range(0, len(values), _AT_ONCE)]
        return _mixed(np.concatenate([*parts, np.zeros(0, np.uint64)]))
    if pa.types.is_floating(dtype):
        return _mixed(values.cast(pa.float64()).to_numpy().view(np.uint64))
    return _mixed(values.cast(pa.int64()).to_numpy().view(np.uint64))


def _of_bytes(values: pa.Array) -> np.ndarray:
    """Return a polynomial for each value; its coefficient at power i is the i-th byte plus one."""
    _, offsets, data = values.buffers()
    ends = np.frombuffer(offsets, np.int64)[values.offset : values.offset + len(values) + 1]
    first, last = int(ends[0]), int(ends[-1])
    if first == last:
        return np.zeros(len(values), np.uint64)
    lengths = np.diff(ends)
    digits = np.frombuffer(data, np.uint8)[first:last].astype(np.uint64) + np.uint64(1)
    powers = np.cumprod(np.full(int(lengths.max()), _BASE))  # all arithmetic is modulo 2^64
    starts = ends[:-1] - first
    digits *= powers[np.arange(last - first) - np.repeat(starts, lengths)]
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(digits, dtype=np.uint64)])
    polynomial: np.ndarray = sums[ends[1:] - first] - sums[starts]
    return polynomial


def _mixed(x: np.ndarray) -> np.ndarray:
    """Apply the finaliser of SplitMix64 to each number."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)))

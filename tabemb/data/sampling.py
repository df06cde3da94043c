"""Draw random rows of a table of any length: the same rows wherever the table is stored.

Each row has a random key that depends only on its position. The rows with the smallest keys are a random
sample, and the rows with the largest keys are another one. Rows in the order of their keys are shuffled.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

MOST_ROWS = 2**20
"""Largest number of rows to fit scales, bins and trees and to choose terms; more rows are sampled."""
AT_ONCE = 2**16
"""Number of keys that are drawn together."""
SEED = 20
MARGIN = 10.0
"""Safety margin of the bound on the n smallest keys, in standard deviations of their number."""


def row_keys(start: int, stop: int) -> np.ndarray:
    """Return the keys of consecutive rows, uniform in [0, 1): float64 (stop - start,).

    Examples
    --------
    >>> bool((row_keys(0, 10)[4:] == row_keys(4, 10)).all())
    True
    """
    first, last = start // AT_ONCE, -(-stop // AT_ONCE)
    drawn = [np.random.default_rng([SEED, block]).random(AT_ONCE) for block in range(first, last)]
    keys = np.concatenate(drawn) if drawn else np.zeros(0)
    return keys[start - first * AT_ONCE : stop - first * AT_ONCE]


def sampled_rows(n_rows: int, n_most: int | None = None) -> np.ndarray | None:
    """Return the positions of a random sample, ascending; None if all rows are few enough.

    Parameters
    ----------
    n_rows : int
    n_most : int, optional
        Size of the sample; ``MOST_ROWS`` when None.
    """
    n_most = MOST_ROWS if n_most is None else n_most
    return None if n_rows <= n_most else smallest(n_rows, n_most)


def smallest(n_rows: int, n: int) -> np.ndarray:
    """Return the positions of the ``n`` rows with the smallest keys, ascending.

    Examples
    --------
    >>> set(smallest(100, 10)) <= set(smallest(100, 20)), len(smallest(100, 20))
    (True, 20)
    """
    return _extreme(n_rows, n, is_largest=False)


def largest(n_rows: int, n: int) -> np.ndarray:
    """Return the positions of the ``n`` rows with the largest keys, ascending."""
    return _extreme(n_rows, n, is_largest=True)


def _extreme(n_rows: int, n: int, is_largest: bool) -> np.ndarray:
    """Return the rows with extreme keys, without holding the keys of all rows in memory."""
    bound = min(1.0, (n + MARGIN * (n + 1) ** 0.5) / max(n_rows, 1))
    rows, keys = [np.zeros(0, np.int64)], [np.zeros(0)]
    for start, stop in slices(n_rows, MOST_ROWS):
        of_part = row_keys(start, stop)
        of_part = 1 - of_part if is_largest else of_part
        near = np.flatnonzero(of_part <= bound)
        rows.append(start + near)
        keys.append(of_part[near])
    order = np.argsort(np.concatenate(keys), kind="stable")[:n]
    return np.sort(np.concatenate(rows)[order])


def slices(n_rows: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield start and stop of consecutive parts of ``size`` rows; the last part may be smaller.

    Examples
    --------
    >>> list(slices(5, 2))
    [(0, 2), (2, 4), (4, 5)]
    """
    return ((start, min(start + size, n_rows)) for start in range(0, n_rows, size))

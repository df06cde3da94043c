"""Columns that depend on a categorical column, and change with it when a row gets another category.

For example, no house has one zip code and the latitude of another, and a prediction for such a row
means little. When a category is put into a row, the columns that depend on it change too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tabemb.data.vocabulary import N_SPECIAL
from tabemb.network.inputs import RowInputs

DEPENDS = 0.5
"""A column depends on a categorical column that determines more than this share of it."""
MOST_ROWS = 10_000
"""Largest number of rows from which the shares are measured."""
N_ERRORS = 2.0
"""Standard errors that are subtracted from a share."""


@dataclass(frozen=True)
class Dependents:
    """The values of other columns that depend on the categories of one column.

    Attributes
    ----------
    codes : dict of column -> Tensor of shape (n_codes,), int32
        The most frequent code of another categorical column among the rows of each code; -1 for a code
        without rows.
    numbers : dict of column -> Tensor of shape (n_codes,), float32
        The mean of a number over the rows of each code; the mean of all rows for a code without values.
    """

    codes: dict[int, Tensor]
    numbers: dict[int, Tensor]

    def follow(self, inputs: RowInputs, before: Tensor, after: Tensor) -> None:
        """Update the dependent columns of rows whose codes, (n_rows,), change from before to after.

        A category becomes the most frequent one of the new code. A number moves by the difference of
        the means.
        """
        for column, codes in self.codes.items():
            new = codes[after.long()]
            inputs.codes[:, column] = torch.where(new < 0, inputs.codes[:, column], new)
        for column, means in self.numbers.items():
            inputs.numbers[:, column] += means[after.long()] - means[before.long()]


def dependents_of(inputs: RowInputs, sizes: list[int]) -> list[Dependents]:
    """Return the dependents of each categorical column of the training rows.

    Parameters
    ----------
    inputs : RowInputs
    sizes : list of int
        Number of codes of each column.
    """
    codes, numbers = (t.numpy(force=True) for t in (inputs.codes, inputs.numbers))
    depends = decided_shares(codes, numbers) > DEPENDS
    n = len(sizes)
    return [
        Dependents(
            {b: _modes(codes[:, a], codes[:, b], sizes[a]) for b in _others(depends[a, :n], a)},
            {j: _means(codes[:, a], numbers[:, j], sizes[a]) for j in _others(depends[a, n:])},
        )
        for a in range(n)
    ]


def grown_dependents(
    dependents: list[Dependents], inputs: RowInputs, sizes: list[int]
) -> list[Dependents]:
    """Return the dependents extended to new codes, with values from the later rows."""
    codes, numbers = (t.numpy(force=True) for t in (inputs.codes, inputs.numbers))

    def longer(known: Tensor, of_rows: Tensor) -> Tensor:
        return torch.cat([known, of_rows[len(known) :]])

    return [
        Dependents(
            {b: longer(m, _modes(codes[:, a], codes[:, b], sizes[a])) for b, m in of.codes.items()},
            {j: longer(m, _means(codes[:, a], numbers[:, j], sizes[a])) for j, m in of.numbers.items()},
        )
        for a, of in enumerate(dependents)
    ]


def decided_shares(codes: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Return the share of each column that each categorical column determines.

    Pairs of rows of one category are compared with pairs of any rows. The share is how much less often
    another categorical column differs (Goodman & Kruskal's tau), or how much smaller the squared
    difference of a number is (eta squared). As no row is compared with itself, neither share grows with
    the number of categories alone. Two standard errors for this number of pairs are subtracted.

    Parameters
    ----------
    codes : ndarray of shape (n_rows, n_columns)
    numbers : ndarray of shape (n_rows, n_numbers)

    Returns
    -------
    ndarray of shape (n_columns, n_columns + n_numbers)
    """
    order = np.random.default_rng(0).permutation(len(codes))[:MOST_ROWS]
    codes, numbers = codes[order], numbers[order].astype(np.float64)
    shares = np.zeros((codes.shape[1], codes.shape[1] + numbers.shape[1]))
    for a in range(codes.shape[1]):
        rows = np.flatnonzero(codes[:, a] >= N_SPECIAL)
        by_code = rows[np.argsort(codes[rows, a], kind="stable")]
        first, second = by_code[:-1], by_code[1:]
        same = codes[first, a] == codes[second, a]
        if same.any():
            of_any, deviation, _ = _differences(codes, numbers, rows[:-1], rows[1:])
            within, _, n_pairs = _differences(codes, numbers, first[same], second[same])
            within += N_ERRORS * deviation / np.sqrt(n_pairs)
            shares[a] = np.where(of_any > 0, 1 - within / np.where(of_any > 0, of_any, 1), 0.0)
    return np.maximum(shares, 0.0)


def _differences(
    codes: np.ndarray, numbers: np.ndarray, first: np.ndarray, second: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return how much pairs of rows differ in each column: mean, standard deviation, number of pairs."""
    squares = np.square(numbers[first] - numbers[second])
    differences = np.hstack([codes[first] != codes[second], squares])
    n_pairs = np.maximum((~np.isnan(differences)).sum(axis=0), 1)
    mean = np.nansum(differences, axis=0) / n_pairs
    variance = np.nansum(np.square(differences - mean), axis=0) / n_pairs
    return mean, np.sqrt(variance), n_pairs


def _others(depends: np.ndarray, column: int | None = None) -> list[int]:
    """Return the positions of the dependent columns, without the column itself."""
    return [j for j in np.flatnonzero(depends).tolist() if j != column]


def _modes(codes: np.ndarray, others: np.ndarray, size: int) -> Tensor:
    """Return the other column's most frequent code for each code; -1 for a code without rows."""
    width = int(others.max()) + 1
    pairs, counts = np.unique(codes.astype(np.int64) * width + others, return_counts=True)
    pairs = pairs[np.argsort(counts, kind="stable")]  # the last one written is the most frequent
    modes = np.full(size, -1, np.int32)
    modes[pairs // width] = pairs % width
    return torch.from_numpy(modes)


def _means(codes: np.ndarray, number: np.ndarray, size: int) -> Tensor:
    """Return the mean of a number for each code; the mean of all rows for a code without values."""
    known = ~np.isnan(number)
    codes, number = codes[known], number[known].astype(np.float64)
    counts = np.bincount(codes, minlength=size)
    sums = np.bincount(codes, number, minlength=size)
    overall = number.mean() if len(number) else 0.0
    means = np.where(counts > 0, sums / np.maximum(counts, 1), overall)
    return torch.from_numpy(means.astype(np.float32))

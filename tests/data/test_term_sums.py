"""Sums by level are exact: they depend neither on the order of the rows nor on the parts."""

import numpy as np
import pytest

from tabemb.data import term_sums
from tabemb.data.term_sums import Grid, TermSums


def summed(keys, responses, weights, grid, parts):
    sums = TermSums(responses.shape[1])
    centered, squares = grid.round(responses), grid.squares(responses)
    for part in parts:
        sums.add(keys[part], centered[part], weights[part], squares[part])
    return sums.result()


@pytest.mark.parametrize("n_levels", [7, 10**6])
@pytest.mark.parametrize("most_dense", [2**26, 3])
def test_sums_do_not_depend_on_the_order_of_the_rows(n_levels, most_dense, monkeypatch):
    monkeypatch.setattr(term_sums, "MOST_DENSE", most_dense)
    rng = np.random.default_rng(0)
    keys, responses = rng.integers(0, n_levels, 3000), rng.normal(size=(3000, 2)) * [1, 1e3]
    weights, grid = np.ones(3000), Grid.of(responses, 3000)
    order = rng.permutation(3000)
    known, sums = summed(keys, responses, weights, grid, [slice(None)])
    again, shuffled = summed(keys, responses, weights, grid, np.array_split(order, 13))
    np.testing.assert_array_equal(known, np.unique(keys))
    np.testing.assert_array_equal(known, again)
    for name in ("counts", "sums", "squares"):
        np.testing.assert_array_equal(getattr(sums, name), getattr(shuffled, name))
    place = np.searchsorted(known, keys)
    for r in range(2):
        exact = np.bincount(place, responses[:, r])
        np.testing.assert_allclose(sums.sums[:, r], exact, atol=1e-7 * np.abs(responses).max())
    np.testing.assert_array_equal(sums.counts, np.bincount(place))


def test_a_level_that_only_rows_without_weight_have_is_there():
    sums = TermSums(1)
    sums.add(np.array([2, 5]), np.ones((2, 1)), np.array([1.0, 0.0]), np.ones(2))
    keys, of_levels = sums.result()
    assert keys.tolist() == [2, 5]
    assert of_levels.counts.tolist() == [1, 0]


def test_there_may_be_no_row():
    sums = TermSums(1)
    sums.add(np.zeros(0, int), np.zeros((0, 1)), np.zeros(0), np.zeros(0))
    assert len(sums.result()[0]) == 0

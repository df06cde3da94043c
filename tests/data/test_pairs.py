import numpy as np
import pytest

from tabemb.data import pairs
from tabemb.data.pairs import PairCodes, choose_pairs, find_keys, term_keys, tried_rows


def test_pairs_that_add_to_their_inputs_are_chosen(two):
    codes, y = two
    copy, noise = codes[:, 0], np.random.default_rng(0).integers(2, 6, len(y))
    levels, centered = [*codes.T, copy, noise], (y - y.mean())[:, None]
    chosen = choose_pairs(levels, centered, np.ones(len(y)), 4)
    assert set(chosen) == {(0, 1), (1, 2)}  # a column and its copy are not a pair
    assert choose_pairs(levels, centered, np.ones(len(y)), 1) == chosen[:1]
    assert choose_pairs(levels, centered, np.ones(len(y)), 0) == []
    assert choose_pairs([], centered, np.ones(len(y)), 4) == []


def test_pairs_are_tried_of_the_columns_with_the_strongest_effects(monkeypatch):
    """Columns 0 and 1 matter only as a pair, 2 and 3 only alone."""
    levels = [*np.random.default_rng(0).integers(2, 4, (4, 2000))]
    y = (levels[0] == levels[1]) + 5.0 * levels[2] + 5.0 * levels[3]
    centered, weights = (y - y.mean())[:, None], np.ones(2000)
    assert choose_pairs(levels, centered, weights, 1) == [(0, 1)]
    monkeypatch.setattr(pairs, "N_PAIRED", 2)
    assert (0, 1) not in choose_pairs(levels, centered, weights, 1)


def test_few_rows_are_all_tried_and_very_many_are_sampled(monkeypatch):
    assert tried_rows(10, np.random.default_rng(0)) == slice(None)
    monkeypatch.setattr(pairs, "N_TRIED", 10)
    rows = tried_rows(1000, np.random.default_rng(0))
    assert len(set(rows)) == 10
    assert max(rows) < 1000


@pytest.mark.parametrize("levels", [(0, 0), (3, 2**31 - 1), (2**31 - 1, 0)])
def test_a_key_holds_both_levels_of_a_pair(levels):
    first, second = (np.array([level], np.int32) for level in levels)
    key = int(term_keys([second, first], (1, 0))[0])
    assert (key >> 32, key & (2**32 - 1)) == levels


def test_keys_that_are_not_known_have_the_position_after_the_last():
    known = np.array([3, 5, 9])
    assert find_keys(known, np.array([5, 4, 9, 10, 3])).tolist() == [1, 3, 2, 3, 0]


def test_pair_codes_are_those_of_the_training_pairs_and_one_for_the_rest():
    codes = np.array([[2, 5, 0], [3, 5, 0], [2, 5, 1]])
    pair_codes = PairCodes.from_codes(codes, [(0, 1), (1, 2)])
    assert pair_codes.sizes == [3, 3]
    assert pair_codes(codes).tolist() == [[0, 0], [1, 0], [0, 1]]
    assert pair_codes(np.array([[9, 5, 1], [5, 2, 0]])).tolist() == [[2, 1], [2, 2]]
    assert PairCodes([], [])(codes).shape == (3, 0)

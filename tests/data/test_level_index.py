"""One search for all terms, compared with one search per term."""

import numpy as np
import pytest

from tabemb.data import level_index
from tabemb.data.level_index import LevelIndex
from tabemb.data.pairs import find_keys, term_keys

TERMS = [(0,), (3,), (0, 2), (1, 2, 3), (0, 1, 2, 3)]


def index_of(levels):
    keys = [np.unique(term_keys(levels, term)) for term in TERMS]
    return LevelIndex(TERMS, np.concatenate(keys), np.cumsum([0, *map(len, keys)])), keys


def one_by_one(levels, keys):
    """Return the position of each row's level with one search per term."""
    ends, total = np.cumsum([0, *map(len, keys)]), sum(map(len, keys))
    positions = []
    for term, known, first in zip(TERMS, keys, ends):
        place = find_keys(known, term_keys(levels, term))
        positions.append(np.where(place < len(known), place + first, total))
    return np.stack(positions)


@pytest.mark.parametrize(("most_keys", "many"), [(2**62, 2**14), (10, 2**14), (2**62, 900)])
@pytest.mark.parametrize("highest", [4, 2**16])  # four levels of 16 bits do not fit into a key
def test_levels_have_the_positions_of_a_search_for_each_term(highest, most_keys, many, monkeypatch):
    monkeypatch.setattr(level_index, "MOST_KEYS", most_keys)
    monkeypatch.setattr(level_index, "MANY", many)
    monkeypatch.setattr(level_index, "AT_ONCE", 100)
    rng = np.random.default_rng(0)
    levels = list(rng.choice([0, 1, 2, highest], (4, 300)))
    index, keys = index_of(levels)
    later = list(rng.choice([0, 1, 2, 3, highest, highest + 7], (4, 950)))
    positions = index.positions(later)
    np.testing.assert_array_equal(positions, one_by_one(later, keys))
    assert 0 < (positions < len(index.keys)).mean() < 1


def test_there_may_be_no_term_and_no_row():
    levels = list(np.zeros((4, 3), np.int64))
    assert index_of(levels)[0].positions([level[:0] for level in levels]).shape == (len(TERMS), 0)
    assert LevelIndex([], np.zeros(0, np.int64), np.zeros(1, np.int64)).inputs == []

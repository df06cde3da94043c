"""Words for the regions of a map, planted in known places."""

import numpy as np
import pytest

from tabemb.spaces.regions import Classes, regions

MIDDLES = {"north": (0, 5), "south": (0, -5), "west": (-5, 0), "east": (5, 0)}
N_EACH = 50


@pytest.fixture
def compass():
    """Four distant clusters; nine in ten names of each contain its word."""
    rng = np.random.default_rng(0)
    xy = np.concatenate([rng.normal(middle, 0.5, (N_EACH, 2)) for middle in MIDDLES.values()])
    texts = [f"{name if i % 10 else 'odd'} place {i}" for name in MIDDLES for i in range(N_EACH)]
    return xy, texts


def test_each_clump_has_its_word_at_a_frequent_category_near_its_middle(compass):
    xy, texts = compass
    counts = np.arange(len(xy)) % N_EACH + 1
    found = regions(xy, texts, [], counts)[: len(MIDDLES)]
    assert {region.text for region in found} == set(MIDDLES)
    for region in found:
        middle = np.array(MIDDLES[region.text])
        assert np.linalg.norm(xy[region.row] - middle) < 1
        assert texts[region.row].startswith(region.text)
        assert counts[region.row] > 0.7 * N_EACH
        assert region.radius == pytest.approx(0.5 * np.sqrt(2), rel=0.2)


def test_a_word_that_all_share_describes_no_region(compass):
    assert "place" not in {region.text for region in regions(*compass, [], None)}


def test_levels_of_a_column_are_words(compass):
    """Names are ids; a column has the side, with missing values for every fifth category."""
    xy, _ = compass
    sides = np.repeat([0, 1], 2 * N_EACH)
    column = Classes(np.where(np.arange(len(xy)) % 5 > 0, sides, -1), ["up", "down"])
    found = regions(xy, [f"id{i}" for i in range(len(xy))], [column], None)
    assert {region.text for region in found} == {"up", "down"}


@pytest.mark.parametrize("seed", range(20))
def test_noise_has_no_regions(seed):
    """Words of all frequencies and a column of two levels are independent of the position."""
    rng = np.random.default_rng(seed)
    words = rng.choice([f"word{letter}" for letter in "abcdefghij"], 2_000, p=np.arange(1, 11) / 55)
    column = Classes(rng.integers(0, 2, 2_000), ["one", "two"])
    assert regions(rng.normal(size=(2_000, 2)), words.tolist(), [column], None) == []


@pytest.mark.parametrize("texts", [["1", "2", "3"], ["a word"] * 31, ["17"] * 500])
def test_few_categories_and_names_without_words_have_none(texts):
    xy = np.random.default_rng(0).normal(size=(len(texts), 2))
    assert regions(xy, texts, [], None) == []


def test_one_place_for_all_is_no_error(compass):
    _, texts = compass
    assert regions(np.zeros((len(texts), 2)), texts, [], None) == []


def test_small_batches_find_the_same_words(compass, monkeypatch):
    exact = {region.text for region in regions(*compass, [], None)}
    monkeypatch.setattr("tabemb.spaces.regions.MAX_EXACT", 10)
    assert {region.text for region in regions(*compass, [], None)} == exact

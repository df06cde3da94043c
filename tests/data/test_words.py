"""Effects of words and of pairs of adjacent words: planted effects, and independent formulas."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.special import logit

from tabemb.data.effects import Effects
from tabemb.data.out_of_fold import OutOfFold
from tabemb.data.words import Text

N, N_WORDS = 1200, 40
NOTHING = np.zeros((N, 0), np.int64), np.zeros((N, 0))


def text_of(rows):
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    return Text(offsets, np.array([code for row in rows for code in row], np.int32))


@pytest.fixture(scope="module")
def planted():
    """Texts whose target is a sum over their words; the last ten words are in no text."""
    rng = np.random.default_rng(0)
    rows = [2 + rng.integers(0, N_WORDS - 10, rng.integers(1, 9)) for _ in range(N)]
    values = rng.normal(size=N_WORDS + 2)
    y = np.array([values[np.unique(row)].sum() for row in rows]) + 0.1 * rng.normal(size=N)
    return rows, values, y


def fitted(rows, y, weights=None, train=None, are_shares=False):
    weights, texts = np.ones(len(y)) if weights is None else weights, [text_of(rows)]
    empty = np.zeros((len(y), 0), np.int64), np.zeros((len(y), 0))
    first = weights if train is None else np.where(np.isin(np.arange(len(y)), train), weights, 0.0)
    effects = Effects(0, are_shares)
    effects.fit(*empty, y[:, None], first, np.random.default_rng(0), texts)
    return effects, OutOfFold(effects, *empty, y[:, None], weights, train, texts)


def by_hand(rows, y, new, strength, length=1, link=lambda effects, mean: effects, mean=None):
    """Return sums of shrunken differences of means, computed word by word."""
    mean = y.mean() if mean is None else mean

    def levels(row):
        row = [int(code) for code in row]
        return set(row) if length == 1 else set(pairwise(row))

    held = [levels(row) for row in rows]
    sums = []
    for row in new:
        total = 0.0
        for level in levels(row):
            with_it = np.array([level in other for other in held])
            effect = (y - mean)[with_it].sum() / (with_it.sum() + strength)
            total += link(effect, mean)
        sums.append(total)
    return np.array(sums)


@pytest.mark.parametrize("length", [1, 2])
def test_a_text_has_the_sum_of_the_effects_of_its_words(planted, length):
    rows, _, y = planted
    effects, _ = fitted(rows, y)
    term = effects.words_[length - 1]
    assert term.length == length
    new = [[2, 3, 3, 9], [5], [0, 2, 3], [], [41, 41]]
    features = effects.transform(np.zeros((5, 0), int), np.zeros((5, 0)), [text_of(new)])
    assert features.shape == (5, *effects.shape) == (5, 2, 2)
    known = [[c for c in row if c >= 2] for row in new]
    expected = by_hand(rows, y, known, term.strength, length) / (y.std() * term.units[0])
    np.testing.assert_allclose(features[:, length - 1, 0], expected, atol=1e-5)
    if length == 1:  # a word counts once; unknown words and those in no training text do not count
        np.testing.assert_allclose(
            features[:, 0, 1] * term.units[1], np.log1p([3, 1, 2, 0, 0]), rtol=1e-5
        )


def test_effects_on_shares_add_up_log_odds(planted):
    rows, _, y = planted
    high = (y > y.mean()).astype(float)
    effects, _ = fitted(rows, high, are_shares=True)
    term = effects.words_[0]
    new = [[2, 7], [9]]
    features = effects.transform(np.zeros((2, 0), int), np.zeros((2, 0)), [text_of(new)])
    expected = by_hand(rows, high, new, term.strength, link=lambda e, m: logit(e + m) - logit(m))
    np.testing.assert_allclose(features[:, 0, 0] * term.units[0], expected, rtol=1e-5)


def test_a_row_reads_the_targets_of_the_other_folds_alone(planted):
    rows, _, y = planted
    effects, out_of_fold = fitted(rows, y)
    chosen = np.arange(0, N, 3)[:100]  # a tenth of the rows is one fold
    features = out_of_fold(chosen)
    rest = np.setdiff1d(np.arange(N), chosen)
    for t, term in enumerate(effects.words_):
        others, new = [rows[i] for i in rest], [rows[i] for i in chosen]
        expected = by_hand(others, y[rest], new, term.strength, term.length, mean=y.mean())
        np.testing.assert_allclose(features[:, t, 0] * y.std() * term.units[0], expected, atol=1e-4)


def test_noise_has_no_effect_out_of_fold():
    rng = np.random.default_rng(0)
    rows = [2 + rng.integers(0, 3000, 12) for _ in range(N)]  # each word is in about five texts
    y = rng.normal(size=N)
    effects, out_of_fold = fitted(rows, y)
    if effects.words_:  # a term that explains nothing may be left out
        assert abs(np.corrcoef(out_of_fold(np.arange(N))[:, 0, 0], y)[0, 1]) < 0.06


def test_effects_of_words_follow_the_rows_that_train(planted):
    rows, _, y = planted
    train = np.arange(0, N, 2)
    effects, out_of_fold = fitted(rows, y, train=train)
    alone, _ = fitted([rows[i] for i in train], y[train])
    new = [text_of([[2, 3], [9, 4, 5]])]
    empty = np.zeros((2, 0), int), np.zeros((2, 0))
    np.testing.assert_allclose(
        effects.transform(*empty, new), alone.transform(*empty, new), rtol=1e-4, atol=1e-4
    )
    out_of_fold.use_rows(None)
    everything, _ = fitted(rows, y)
    np.testing.assert_allclose(effects.words_[0].counts, everything.words_[0].counts)


def test_a_row_of_weight_two_counts_as_two_rows(planted):
    rows, _, y = planted
    weights = np.r_[np.full(100, 2.0), np.ones(N - 100)]
    weighted, _ = fitted(rows, y, weights)
    doubled, _ = fitted([*rows, *rows[:100]], np.r_[y, y[:100]])
    for one, other in zip(weighted.words_, doubled.words_):
        np.testing.assert_allclose(one.counts, other.counts)
        np.testing.assert_allclose(one.sums, other.sums, atol=1e-8)
        assert one.strength == other.strength


def test_only_neighbours_are_pairs_and_only_within_a_text():
    rows = [[2, 3], [3, 2], [2, 0, 3], [2], [3]] * 40  # 0 is an unknown word
    y = np.array([1.0, 0, 0, 0, 0] * 40)
    effects, _ = fitted(rows, y)
    pairs = effects.words_[-1]
    assert pairs.length == 2
    assert [(key >> 32, key & 0xFFFF) for key in pairs.keys.tolist()] == [(2, 3), (3, 2)]
    assert pairs.counts.tolist() == [40, 40]

"""Levels shrunken to those that they resemble: planted groups, closed forms, out-of-fold effects."""

import numpy as np
import pytest

from tabemb.data import similar
from tabemb.data.effects import Effects
from tabemb.data.out_of_fold import OutOfFold
from tabemb.data.shrinkage import STRENGTHS, LevelSums
from tabemb.data.vocabulary import N_SPECIAL
from tabemb.likeness.spelling import Spellings

JOBS = ["engineer", "nurse", "driver", "teacher", "librarian", "sheriff", "plumber", "gardener"]
GRADES = ["senior", "junior", "chief", "deputy", "trainee", "assistant", "principal", "acting"]
LABELS = sorted(f"{grade} {job}" for grade in GRADES for job in JOBS)
NO_NUMBERS = np.zeros((400, 0))


def rows(n=400, noise=1.0, seed=0):
    """Codes of titles of six rows on average, and answers that depend on the job alone."""
    rng = np.random.default_rng(seed)
    of_job = dict(zip(JOBS, 3 * np.random.default_rng(7).normal(size=8)))
    true = np.array([of_job[label.split()[1]] for label in LABELS])
    level = rng.integers(len(LABELS), size=n)
    y = true[level] + rng.normal(scale=noise, size=n)
    return (level + N_SPECIAL)[:, None], y[:, None], true


def fitted(codes, y, are_shares=False, alike=None, weights=None):
    likeness = {} if alike is None else {0: alike}
    weights = np.ones(len(codes)) if weights is None else weights
    generator = np.random.default_rng(0)
    effects = Effects(0, are_shares)
    return effects.fit(codes, NO_NUMBERS[: len(codes)], y, weights, generator, likeness=likeness)


def test_effects_of_rare_levels_lean_on_similar_ones():
    codes, y, true = rows(noise=3)
    alone, leaning = fitted(codes, y), fitted(codes, y, alike=Spellings(LABELS))
    assert len(leaning.similar_) == 1
    assert leaning.similar_[0].leads
    assert leaning.gains_[0] > alone.gains_[0]
    assert leaning.strength_[0] > alone.strength_[0]
    errors = []
    for effects in (alone, leaning):
        levels = effects.levels_of(0)
        got = levels.effects[:, 0] * effects.unit_ + effects.mean_
        errors.append(np.abs(got - true[levels.levels[:, 0] - N_SPECIAL]))
    rare = levels.counts <= 4
    assert rare.sum() > 10
    assert errors[1][rare].mean() < 0.9 * errors[0][rare].mean()


def test_an_effect_is_the_mean_of_its_rows_and_of_the_effects_of_similar_levels():
    codes, y, _ = rows()
    effects = fitted(codes, y, alike=Spellings(LABELS))
    one = effects.similar_[0]
    centered = effects.center(y)[:, 0]
    level, counts = codes[:, 0] - N_SPECIAL, np.bincount(codes[:, 0] - N_SPECIAL, minlength=64)
    sums = np.bincount(level, centered, 64)
    near, weights = Spellings(LABELS).nearest_others(np.arange(64))
    others = (one.share * weights * (sums / (counts + one.strength))[near]).sum(axis=1)
    k = effects.strength_[0]
    expected = ((sums + k * others) / (counts + k))[counts > 0]
    np.testing.assert_allclose(effects.levels_of(0).effects[:, 0], expected)
    features = effects.transform(codes, NO_NUMBERS)[:, 0, 0] * effects.effect_units_[0, 0]
    at = np.cumsum(counts > 0) - 1
    np.testing.assert_allclose(features, expected[at[level]], rtol=1e-5)


def test_out_of_fold_effects_are_those_of_a_fit_without_the_fold():
    codes, y, _ = rows()
    effects = fitted(codes, y, alike=Spellings(LABELS))
    out_of_fold = OutOfFold(effects, codes, NO_NUMBERS, y, np.ones(len(codes)))
    order = np.random.default_rng(1).permutation(len(codes))
    features = out_of_fold(order)
    held = order[np.arange(len(order)) % 10 == 3]
    rest = np.setdiff1d(np.arange(len(codes)), held)
    out_of_fold.use_rows(rest)
    np.testing.assert_allclose(
        features[3::10], effects.transform(codes[held], NO_NUMBERS[: len(held)]), rtol=1e-4, atol=1e-5
    )


def test_the_answer_of_a_row_has_no_part_in_its_own_features():
    codes, y, _ = rows()
    effects = fitted(codes, y, alike=Spellings(LABELS))
    changed = y.copy()
    changed[5] += 10
    features = []
    for answers in (y, changed):
        out_of_fold = OutOfFold(effects, codes, NO_NUMBERS, answers, np.ones(len(codes)))
        out_of_fold.use_rows(np.arange(len(codes)))
        features.append(out_of_fold(np.arange(len(codes))))
    np.testing.assert_allclose(features[0][5], features[1][5], rtol=1e-6)
    assert np.abs(features[0] - features[1]).max() > 0.01


def test_names_that_say_nothing_change_nothing():
    codes, y, _ = rows()
    shuffled = np.random.default_rng(3).permutation(len(LABELS))
    strangers = Spellings([LABELS[i] for i in shuffled])
    alone, other = fitted(codes, y), fitted(codes, y, alike=strangers)
    assert other.similar_ == []
    np.testing.assert_array_equal(alone.transform(codes, NO_NUMBERS), other.transform(codes, NO_NUMBERS))


def test_levels_of_many_rows_stay_as_they_are():
    """Every title has an effect of its own beside that of its job, and rows enough to show it."""
    rng = np.random.default_rng(0)
    codes, y, _ = rows(400, noise=0.1)
    y = y + rng.normal(scale=2, size=len(LABELS))[codes[:, 0] - N_SPECIAL][:, None]
    alone, leaning = fitted(codes, y), fitted(codes, y, alike=Spellings(LABELS))
    frequent = alone.levels_of(0).counts >= 6
    np.testing.assert_allclose(
        leaning.levels_of(0).effects[frequent], alone.levels_of(0).effects[frequent], atol=0.15
    )


def test_shares_stay_shares():
    codes, y, _ = rows(noise=3)
    labels = (y > 2).astype(float)
    effects = fitted(codes, np.hstack([labels, 1 - labels]), True, Spellings(LABELS))
    assert effects.similar_[0].leads
    shares = effects.levels_of(0).effects + effects.mean_
    assert shares.min() >= 0
    assert shares.max() <= 1
    np.testing.assert_allclose(shares.sum(axis=1), 1)


def test_more_levels_than_can_be_compared_stand_alone(monkeypatch):
    codes, y, _ = rows()
    monkeypatch.setattr(similar, "MOST_LEVELS", 10)
    alone, found = fitted(codes, y), fitted(codes, y, alike=Spellings(LABELS))
    assert not found.similar_[0].leads
    assert found.similar_[0].gain > 0.3
    np.testing.assert_array_equal(alone.transform(codes, NO_NUMBERS), found.transform(codes, NO_NUMBERS))


def test_sums_minus_means_are_the_sums_of_what_is_left():
    codes, y, _ = rows()
    level, means = codes[:, 0] - N_SPECIAL, np.random.default_rng(0).normal(size=(64, 1))
    sums = LevelSums.from_rows(level, y, np.ones(len(y)))
    left = LevelSums.from_rows(level, y - means[level], np.ones(len(y)))
    for name in ("counts", "sums", "squares"):
        np.testing.assert_allclose(getattr(sums.minus(means), name), getattr(left, name), atol=1e-9)


def test_the_gain_is_that_of_leaving_out_one_row_at_a_time():
    codes, y, _ = rows(120)
    effects = fitted(codes, y, alike=Spellings(LABELS))
    one, centered, level = effects.similar_[0], effects.center(y)[:, 0], codes[:, 0]
    keys = effects.keys_[effects.span(0)]
    at = np.searchsorted(keys, level)
    counts, sums = np.bincount(at), np.bincount(at, centered)
    others = one.means(sums[:, None], counts)[:, 0]
    best = []
    for k in STRENGTHS:
        rest = (sums[at] - centered + k * others[at]) / (counts[at] - 1 + k)
        best.append(np.square(centered - rest).sum())
    assert effects.strength_[0] == STRENGTHS[int(np.argmin(best))]
    assert effects.gains_[0] == pytest.approx(1 - min(best) / np.square(centered).sum())

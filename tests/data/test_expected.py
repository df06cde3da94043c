"""Effects expected of categories from their descriptions: closed forms, out-of-fold effects."""

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct

from tabemb.data import expected as module
from tabemb.data.effects import Effects
from tabemb.data.expected import ExpectedEffects
from tabemb.data.out_of_fold import OutOfFold
from tabemb.data.shrinkage import LevelSums
from tabemb.data.similar import likeness_gain
from tabemb.data.vocabulary import N_SPECIAL
from tabemb.likeness.spelling import Spellings

JOBS = ["engineer", "nurse", "driver", "teacher", "librarian", "sheriff", "plumber", "gardener"]
GRADES = ["senior", "junior", "chief", "deputy", "trainee", "assistant", "principal", "acting"]
LABELS = sorted(f"{grade} {job}" for grade in GRADES for job in JOBS)
NO_NUMBERS = np.zeros((400, 0))


def rows(noise=1.0, seed=0):
    """Return codes of titles with six rows on average, and targets that depend only on the job."""
    rng = np.random.default_rng(seed)
    of_job = dict(zip(JOBS, 3 * np.random.default_rng(7).normal(size=8)))
    true = np.array([of_job[label.split()[1]] for label in LABELS])
    level = rng.integers(len(LABELS), size=400)
    y = true[level] + rng.normal(scale=noise, size=400)
    return (level + N_SPECIAL)[:, None], y[:, None], true


def fitted(codes, y, labels=LABELS, are_shares=False):
    likeness = {} if labels is None else {0: Spellings(labels)}
    generator = np.random.default_rng(0)
    effects = Effects(0, are_shares)
    return effects.fit(codes, NO_NUMBERS, y, np.ones(400), generator, likeness=likeness)


def sums_of(codes, y):
    return LevelSums.from_rows(codes[:, 0] - N_SPECIAL, y, np.ones(len(y)))


def test_what_is_expected_of_a_level_is_the_prediction_of_a_gaussian_process_without_it():
    codes, y, _ = rows()
    sums, alike = sums_of(codes, y - y.mean()), Spellings(LABELS)
    found = ExpectedEffects.fit(0, alike, np.arange(64), sums, 0.5)
    means = sums.sums / sums.counts[:, None]
    likeness = alike.products(np.arange(64), np.arange(64))
    # the covariance is the dot product of these vectors of length one
    squares, axes = np.linalg.eigh(likeness.astype(float))
    vectors = axes * np.sqrt(np.maximum(squares, 0))
    kernel = ConstantKernel(found.share, "fixed") * DotProduct(0, "fixed")
    for level in (0, 20, 63):
        rest = np.delete(np.arange(64), level)
        noise = 1 - found.share + 0.5 / sums.counts[rest]
        process = GaussianProcessRegressor(kernel, alpha=noise).fit(vectors[rest], means[rest, 0])
        assert found.means[level, 0] == pytest.approx(process.predict(vectors[[level]])[0], rel=1e-3)
    noise = 1 - found.share + 0.5 / sums.counts
    process = GaussianProcessRegressor(kernel, alpha=noise).fit(vectors, means[:, 0])
    like = alike.new_products(["former nurse"], np.arange(64))
    of_new = np.linalg.lstsq(vectors, like[0], rcond=None)[0]
    assert found.of_new(alike, ["former nurse"])[0, 0] == pytest.approx(
        process.predict(of_new[None])[0], rel=1e-3
    )


def test_the_gain_is_that_of_leaving_out_one_level_at_a_time():
    codes, y, _ = rows()
    sums = sums_of(codes, y - y.mean())
    found = ExpectedEffects.fit(0, Spellings(LABELS), np.arange(64), sums, 0.5)
    means, trust = sums.sums / sums.counts[:, None], (sums.counts / (sums.counts + 0.5))[:, None]
    rest = (trust * (means - found.means) ** 2).sum() / (trust * means**2).sum()
    assert found.gain == pytest.approx(1 - rest, rel=1e-4)
    near, _ = likeness_gain(np.arange(64), sums, 0.5, Spellings(LABELS), np.random.default_rng(0))
    assert near > 0.5
    assert found.gain > 0.7


def test_a_planted_effect_is_expected_of_known_and_new_titles():
    codes, y, true = rows()
    kept = codes[:, 0] % 5 > 0
    sums = LevelSums.from_rows(codes[kept, 0] - N_SPECIAL, y[kept] - y.mean(), np.ones(kept.sum()))
    labels = np.arange(len(sums.counts))
    found = ExpectedEffects.fit(0, Spellings(LABELS), labels, sums, 0.5)
    without_rows = sums.counts == 0
    assert without_rows.sum() > 8
    for part in (without_rows, ~without_rows):
        expected = found.means[part, 0]
        assert np.corrcoef(expected, true[: len(labels)][part])[0, 1] > 0.85
    new = found.of_new(Spellings(LABELS), [f"former {job}" for job in JOBS])[:, 0]
    of_job = 3 * np.random.default_rng(7).normal(size=8)
    assert np.corrcoef(new, of_job)[0, 1] > 0.95


def test_levels_without_a_part_in_the_prediction_are_predicted_too(monkeypatch):
    codes, y, _ = rows()
    sums = sums_of(codes, y - y.mean())
    monkeypatch.setattr(module, "MOST_PREDICTING", 30)
    monkeypatch.setattr(module, "AT_ONCE", 7)
    found = ExpectedEffects.fit(0, Spellings(LABELS), np.arange(64), sums, 0.5)
    assert len(found.predicting) == 30
    assert sums.counts[found.predicting].min() >= np.delete(sums.counts, found.predicting).max()
    others = np.setdiff1d(np.arange(64), found.predicting)
    of_new = found.of_new(Spellings(LABELS), [LABELS[i] for i in others])
    np.testing.assert_allclose(found.means[others], of_new, rtol=1e-4, atol=1e-5)


def test_expected_effects_are_the_last_features():
    codes, y, _ = rows()
    alone, both = fitted(codes, y, None), fitted(codes, y)
    assert both.shape == (alone.shape[0] + 1, alone.shape[1])
    features = both.transform(codes, NO_NUMBERS)
    np.testing.assert_array_equal(features[:, :1], alone.transform(codes, NO_NUMBERS))
    (found,) = both.expected_
    at = np.searchsorted(both.keys_, codes[:, 0])
    np.testing.assert_allclose(features[:, 1, 0], (found.means / found.unit)[at, 0], rtol=1e-6)
    assert (features[:, 1, 1] == 1).all()
    spread = np.average(features[:, 1, 0], weights=None)
    assert np.sqrt(np.mean((features[:, 1, 0] - spread) ** 2)) == pytest.approx(1, rel=1e-4)
    assert both.expects.tolist() == [[False], [True]]
    assert both.reads.tolist() == [[True], [False]]


def test_unknown_and_missing_categories_have_no_expected_effect():
    codes, y, _ = rows()
    codes[:40] = 1
    effects = fitted(codes, y)
    others = effects.transform(np.array([[0], [1], [2]]), NO_NUMBERS[:3])[:, 1]
    assert not others[:2].any()
    assert others[2].all()
    new = np.array([[[1.5]], [[np.nan]], [[np.nan]]])
    with_new = effects.transform(np.array([[0], [1], [2]]), NO_NUMBERS[:3], new=new)[:, 1]
    np.testing.assert_allclose(with_new[0], [1.5 / effects.expected_[0].unit[0], 1], rtol=1e-6)
    np.testing.assert_array_equal(with_new[1:], others[1:])


def test_out_of_fold_expected_effects_are_those_of_a_fit_without_the_fold():
    codes, y, _ = rows()
    effects = fitted(codes, y)
    out_of_fold = OutOfFold(effects, codes, NO_NUMBERS, y, np.ones(400))
    order = np.random.default_rng(1).permutation(400)
    features = out_of_fold(order)
    held = order[np.arange(400) % 10 == 3]
    out_of_fold.use_rows(np.setdiff1d(np.arange(400), held))
    again = effects.transform(codes[held], NO_NUMBERS[:40])
    np.testing.assert_allclose(features[3::10], again, rtol=1e-4, atol=1e-5)


def test_the_answer_of_a_row_has_no_part_in_its_own_features():
    codes, y, _ = rows()
    effects = fitted(codes, y)
    changed = y.copy()
    changed[5] += 10
    features = []
    for answers in (y, changed):
        out_of_fold = OutOfFold(effects, codes, NO_NUMBERS, answers, np.ones(400))
        out_of_fold.use_rows(np.arange(400))
        features.append(out_of_fold(np.arange(400)))
    np.testing.assert_allclose(features[0][5], features[1][5], rtol=1e-5)
    assert np.abs(features[0] - features[1]).max() > 0.01


def test_names_that_say_nothing_have_no_expected_effects():
    codes, y, _ = rows()
    shuffled = np.random.default_rng(3).permutation(len(LABELS))
    alone, other = fitted(codes, y, None), fitted(codes, y, [LABELS[i] for i in shuffled])
    assert other.expected_ == []
    np.testing.assert_array_equal(alone.transform(codes, NO_NUMBERS), other.transform(codes, NO_NUMBERS))


def test_more_levels_than_weights_are_kept_for_have_none(monkeypatch):
    codes, y, _ = rows()
    monkeypatch.setattr("tabemb.data.effects.MOST_LEVELS", 10)
    assert fitted(codes, y).expected_ == []


def test_shares_of_several_classes_are_expected():
    codes, y, _ = rows(noise=2)
    labels = np.digitize(y[:, 0], [-1, 1])
    effects = fitted(codes, np.eye(3)[labels], are_shares=True)
    (found,) = effects.expected_
    np.testing.assert_allclose(found.means.sum(axis=1), 0, atol=1e-6)  # differences of shares
    assert np.isfinite(effects.transform(codes, NO_NUMBERS)).all()

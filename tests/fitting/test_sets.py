"""Thresholds of sets: a quantile regression with known answers."""

import numpy as np
import pytest

from tabemb.fitting.sets import ClassSets, fit_quantile


@pytest.mark.parametrize("level", [0.3, 0.8, 0.9])
def test_the_quantile_of_one_group_is_that_of_its_rows(level):
    scores = np.random.default_rng(0).exponential(size=2000)
    found = fit_quantile(np.ones((2000, 1)), scores, np.ones(2000), level)
    assert found == pytest.approx([np.quantile(scores, level)], rel=0.03)


def test_the_share_above_is_the_same_in_every_group_of_two_columns():
    rng = np.random.default_rng(0)
    groups = rng.random((5000, 2)) < [0.3, 0.1]
    scores = rng.exponential(size=5000) * np.exp(groups @ [1.0, -1.5]) + 3 * groups[:, 0]
    features = np.column_stack([np.ones(5000), groups])
    below = scores <= features @ fit_quantile(features, scores, np.ones(5000), 0.9)
    for column in groups.T:
        assert below[column].mean() == pytest.approx(0.9, abs=0.01)
        assert below[~column].mean() == pytest.approx(0.9, abs=0.01)


def test_a_step_with_few_rows_is_shrunken():
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.exponential(size=1000), np.full(3, 50.0)])
    features = np.column_stack([np.ones(1003), np.repeat([0.0, 1.0], [1000, 3])])
    start, step = fit_quantile(features, scores, np.ones(1003), 0.9)
    # each of the three rows has a gradient of .9, in the unit of the quantile
    assert step == pytest.approx(2.7 * start, rel=0.1)


def test_a_weight_of_two_is_two_rows():
    rng = np.random.default_rng(1)
    scores, features = rng.exponential(size=300), np.column_stack([np.ones(300), rng.random(300)])
    weights = rng.integers(1, 4, 300)
    twice = fit_quantile(
        features.repeat(weights, 0), scores.repeat(weights), np.ones(weights.sum()), 0.8
    )
    np.testing.assert_allclose(fit_quantile(features, scores, weights, 0.8), twice, rtol=0.01)


@pytest.mark.parametrize("scores", [np.zeros(50), np.r_[np.zeros(49), 700], np.full(50, 1e-300)])
def test_the_quantile_of_odd_scores_is_finite(scores):
    features = np.column_stack([np.ones(50), np.arange(50) % 2])
    assert np.isfinite(fit_quantile(features, scores, np.ones(50), 0.9)).all()


def sets(scores, n_columns=0, **changed):
    n = len(scores)
    parts = {
        "columns": tuple(range(n_columns)),
        "scores": np.reshape(scores, (n, -1)),
        "counts": np.ones((n, n_columns)),
        "is_unseen": np.zeros((n, n_columns), bool),
        "weights": np.ones(n),
        "copies": np.arange(n),
        "share": 1.0,
    }
    return ClassSets(**{**parts, **changed})


def test_new_rows_are_covered_as_often_as_promised_though_the_threshold_was_fitted():
    rng, shares = np.random.default_rng(0), []
    for _ in range(30):
        counts = rng.choice([1, 5, 50, 500], (200, 3))
        fitted = sets(rng.exponential(size=200), 3, counts=counts)
        new = fitted.thresholds(rng.choice([1, 5, 50, 500], (500, 3)), 0.9)[:, 0]
        shares.append((rng.exponential(size=500) <= new).mean())
    assert np.mean(shares) == pytest.approx(0.9, abs=0.015)


def test_an_easy_bucket_takes_no_coverage_from_a_hard_one():
    rng = np.random.default_rng(0)
    counts = np.repeat([500.0, 1.0], [1800, 200])[:, None]
    scores = np.where(counts[:, 0] == 1, 1 + rng.exponential(size=2000), 0.0)
    threshold = sets(scores, 1, counts=counts).thresholds(np.array([[1.0]]), 0.9)[0, 0]
    assert (scores[counts[:, 0] == 1] <= threshold).mean() == pytest.approx(0.9, abs=0.03)


def test_a_class_as_probable_as_those_at_the_threshold_is_in_the_set():
    threshold = sets(np.repeat([0.0, 0.94, 0.99], [36, 14, 10])).thresholds(np.ones((1, 0)), 0.9)[0, 0]
    assert 1.02 < threshold < 1.06


def test_wrong_shapes_are_refused():
    for name, wrong in [("columns", (0,)), ("weights", np.ones(9)), ("copies", np.zeros((20, 2)))]:
        with pytest.raises(ValueError, match="other shapes"):
            sets(np.ones(20), **{name: wrong})

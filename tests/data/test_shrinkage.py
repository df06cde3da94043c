import numpy as np
import pytest

from tabemb.data.shrinkage import STRENGTHS, LevelSums, shrunken_means


def centered_rows(n=60, n_responses=2, n_levels=5, seed=0):
    rng = np.random.default_rng(seed)
    levels = np.r_[np.arange(n_levels), rng.integers(0, n_levels, n - n_levels)]
    responses = rng.normal(size=(n, n_responses)) + rng.normal(size=(n_levels, n_responses))[levels]
    return levels, responses - responses.mean(axis=0)


def left_out_means(levels, responses, strength):
    """Return for each row the shrunken mean of its level's other rows, by a simple loop."""
    means = np.zeros_like(responses)
    for i, level in enumerate(levels):
        rest = (levels == level) & (np.arange(len(levels)) != i)
        means[i] = responses[rest].sum(axis=0) / (rest.sum() + strength)
    return means


def test_leave_one_out_means_are_those_of_a_loop():
    levels, responses = centered_rows()
    sums = LevelSums.from_rows(levels, responses, np.ones(len(levels)))
    expected = left_out_means(levels, responses, 4.0)
    np.testing.assert_allclose(sums.leave_one_out(levels, responses, 4.0), expected)


@pytest.mark.parametrize("seed", range(5))
def test_the_best_strength_has_the_smallest_error_of_a_loop(seed):
    levels, responses = centered_rows(seed=seed)
    errors = [((responses - left_out_means(levels, responses, s)) ** 2).sum() for s in STRENGTHS]
    strength, gain = LevelSums.from_rows(levels, responses, np.ones(len(levels))).best_strength()
    assert strength == STRENGTHS[np.argmin(errors)]
    assert gain == pytest.approx(1 - min(errors) / (responses**2).sum())


@pytest.mark.parametrize("ratio", [1.0, 16.0])
def test_the_best_strength_is_the_ratio_of_variances(ratio):
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 1000, 8000)
    y = rng.normal(size=1000)[levels] + ratio**0.5 * rng.normal(size=8000)
    sums = LevelSums.from_rows(levels, (y - y.mean())[:, None], np.ones(8000))
    assert ratio / 2 <= sums.best_strength()[0] <= ratio * 2


def test_a_row_of_weight_two_is_two_rows_in_shrunken_means():
    levels, responses = centered_rows()
    weights = np.where(np.arange(60) < 20, 2.0, 1.0)
    weighted = shrunken_means(levels, responses, weights, 7)
    twice = [np.r_[part, part[:20]] for part in (levels, responses)]
    np.testing.assert_allclose(weighted, shrunken_means(*twice, np.ones(80), 7))
    np.testing.assert_allclose(weighted[5:], [np.average(responses, axis=0, weights=weights)] * 2)

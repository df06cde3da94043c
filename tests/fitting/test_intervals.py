"""The calibration of intervals: a quantile that is exact, a scale with a known answer, hidden levels."""

import math

import numpy as np
import pytest

from tabemb.data.vocabulary import UNKNOWN
from tabemb.fitting.calibration import _without_level, check_coverage, conformal_quantile
from tabemb.fitting.intervals import RIDGE, Intervals, fit_scale


@pytest.mark.parametrize("n", [9, 10, 19, 57, 200])
@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9])
def test_the_quantile_is_the_score_of_the_finite_sample(n, coverage):
    scores = np.random.default_rng(n).permutation(np.arange(1.0, n + 1))
    assert conformal_quantile(scores, np.ones(n), coverage) == math.ceil(round((n + 1) * coverage, 9))


def test_a_new_score_is_covered_as_often_as_promised():
    draws = np.random.default_rng(0).exponential(size=(20_000, 20))
    hits = [new <= conformal_quantile(np.array(old), np.ones(19), 0.8) for *old, new in draws]
    assert np.mean(hits) == pytest.approx(16 / 20, abs=0.01)


def test_a_weight_of_two_is_two_rows():
    scores, weights = np.array([3.0, 1.0, 2.0, 5.0] * 10), np.array([2.0, 1.0, 1.0, 2.0] * 10)
    twice = np.repeat(scores, weights.astype(int))
    for coverage in (0.3, 0.6, 0.7):
        expected = conformal_quantile(twice, np.ones(len(twice)), coverage)
        assert conformal_quantile(scores, weights, coverage) == expected


def test_too_few_rows_for_a_coverage_are_an_error():
    assert conformal_quantile(np.arange(9.0), np.ones(9), 0.9) == 8
    with pytest.raises(
        ValueError, match=r"coverage=0.9 needs more validation rows than the 8 .* 0.8889"
    ):
        conformal_quantile(np.arange(8.0), np.ones(8), 0.9)


@pytest.mark.parametrize("coverage", [0, 1, -0.5, 90, float("nan"), "0.9", None, True])
def test_a_coverage_is_a_share(coverage):
    with pytest.raises(ValueError, match="coverage must be above 0 and below 1"):
        check_coverage(coverage)


def test_the_scale_of_one_group_is_its_mean_and_a_step_is_shrunken():
    errors = np.repeat([2.0, 6.0], [300, 3])
    weights = np.ones(303)
    assert np.exp(fit_scale(np.ones((303, 1)), errors, weights)) == pytest.approx([errors.mean()])
    is_rare = np.repeat([0.0, 1.0], [300, 3])
    start, step = fit_scale(np.column_stack([np.ones(303), is_rare]), errors, weights)
    # the gradient at the optimum, computed by hand
    assert 3 * (1 - 6 * math.exp(-start - step)) + RIDGE * step == pytest.approx(0, abs=1e-3)
    assert 0 < step < math.log(3)


def test_the_scale_finds_a_planted_dependence():
    rng = np.random.default_rng(0)
    features = np.column_stack([np.ones(4000), rng.normal(size=(4000, 2))])
    errors = 1e6 * rng.exponential(size=4000) * np.exp(features @ [0.5, 1.5, -0.7])
    found = fit_scale(features, errors, np.ones(4000))
    np.testing.assert_allclose(found, [0.5 + math.log(1e6), 1.5, -0.7], atol=0.06)


@pytest.mark.parametrize("errors", [np.zeros(50), np.r_[np.zeros(49), 1e-300], np.full(50, 1e200)])
def test_the_scale_of_odd_errors_is_finite(errors):
    features = np.column_stack([np.ones(50), np.arange(50) % 2])
    assert np.isfinite(np.exp(fit_scale(features, errors, np.ones(50)))).all()


def test_levels_that_occur_with_a_hidden_one_alone_are_hidden_too():
    # columns: shop, its street (unique), its city (shared)
    seen = np.array([[2, 2, 2], [2, 2, 2], [3, 3, 2], [3, 3, 2], [4, 4, 3]])
    hidden = _without_level(np.array([[2, 2, 2], [4, 4, 3], [4, 3, 2]]), 0, seen)
    assert hidden.tolist() == [[UNKNOWN, UNKNOWN, 2], [UNKNOWN] * 3, [UNKNOWN, 3, 2]]


def test_wrong_shapes_are_refused():
    parts = {
        "columns": (0,),
        "coefficients": np.zeros((1, 7)),
        "spreads": np.zeros((2, 1)),
        "scores": np.ones((20, 1)),
        "errors": np.ones((20, 1)),
        "weights": np.ones(20),
        "share": 1.0,
    }
    halves = Intervals(**parts).half_widths(np.ones((3, 2)), np.ones((3, 1)), 0.9)
    assert halves.tolist() == [[1.0]] * 3
    for name, wrong in [("columns", (0, 1)), ("weights", np.ones(19)), ("scores", np.ones((0, 1)))]:
        with pytest.raises(ValueError, match="other shapes"):
            Intervals(**{**parts, name: wrong})

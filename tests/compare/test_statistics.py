from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scikit_posthocs
from scipy import stats

from tabemb.compare import paired_differences, rank_test, summarize
from tabemb.compare.statistics import MEASUREMENTS


def cell(
    dataset, model, fold, error, seed=0, n_train=800, n_test=200, losses=None, status="ok", metric="rmse"
):
    others = ("mse", "mae", "mape", "r2") if metric == "rmse" else ("roc_auc", "accuracy")
    row = {"dataset": dataset, "model": model, "fold": fold, "seed": seed,
           "n_train": n_train, "n_test": n_test, "metric": metric, "status": status, "losses": losses,
           "task": "regression" if metric == "rmse" else "binary",
           "error": "" if status == "ok" else "ValueError: no"}  # fmt: skip
    if status == "ok":
        row |= {metric: error} | dict.fromkeys((*others, *MEASUREMENTS), 1.0)
    return row


def grid(errors):
    """Return cells from {(dataset, model): errors by fold}."""
    return pd.DataFrame(
        [cell(d, m, f, e) for (d, m), own in errors.items() for f, e in enumerate(own, 1)]
    )


A, B = [1.0, 1.2, 0.9, 1.1, 1.0], [1.3, 1.25, 1.2, 1.3, 1.15]


def test_difference_over_folds_is_the_corrected_resampled_t_test():
    found = paired_differences(grid({("d", "a"): A, ("d", "b"): B}), "a").iloc[0]
    d = np.subtract(B, A)
    # Nadeau & Bengio 2003: t = mean / sqrt((1/k + n_test/n_train) var)
    deviation = np.sqrt((1 / 5 + 200 / 800) * d.var(ddof=1))
    margin = stats.t(4).ppf(0.975) * deviation
    assert (found["low"], found["difference"], found["high"]) == pytest.approx(
        (d.mean() - margin, d.mean(), d.mean() + margin)
    )
    assert found["p_value"] == pytest.approx(2 * stats.t(4).sf(d.mean() / deviation))
    assert found["percent"] == pytest.approx(100 * d.mean() / np.mean(B))


def test_without_the_correction_it_would_be_the_paired_t_test():
    cells = grid({("d", "a"): A, ("d", "b"): B}).assign(n_test=1, n_train=10**12)
    found, plain = paired_differences(cells, "a").iloc[0], stats.ttest_rel(B, A)
    assert found["p_value"] == pytest.approx(plain.pvalue)
    interval = plain.confidence_interval()
    assert (found["low"], found["high"]) == pytest.approx((interval.low, interval.high))


def test_seeds_are_averaged_before_folds_are_counted():
    one = grid({("d", "a"): A, ("d", "b"): B})
    noisy = pd.concat(
        [one.assign(seed=s, rmse=one["rmse"] + shift) for s, shift in ((0, -0.1), (1, 0.1))]
    )
    columns = ["low", "difference", "high", "p_value"]
    expected = paired_differences(one, "a")[columns]
    pd.testing.assert_frame_equal(paired_differences(noisy, "a")[columns], expected)
    assert summarize(noisy)["n_seeds"].tolist() == [2, 2]


def one_fold(metric, losses):
    error = {"rmse": lambda x: np.sqrt(np.mean(x)), "log_loss": np.mean}[metric]
    return pd.DataFrame([cell("d", m, 1, error(x), losses=x, metric=metric) for m, x in losses.items()])


@pytest.mark.parametrize(
    ("metric", "statistic"), [("log_loss", np.mean), ("rmse", lambda x, axis: np.sqrt(x.mean(axis)))]
)
def test_one_fold_is_judged_by_its_rows_as_a_paired_bootstrap_would(metric, statistic):
    rng = np.random.default_rng(0)
    a = rng.exponential(size=2000)
    b = 1.1 * a + 0.3 * rng.exponential(size=2000)
    found = paired_differences(one_fold(metric, {"a": a, "b": b}), "a").iloc[0]
    bootstrap = stats.bootstrap(
        (a, b), lambda a, b, axis: statistic(b, axis=axis) - statistic(a, axis=axis), paired=True,
        vectorized=True, n_resamples=3000, method="percentile", rng=1,
    )  # fmt: skip
    low, high = bootstrap.confidence_interval
    assert found["difference"] == pytest.approx(statistic(b, axis=0) - statistic(a, axis=0))
    assert (found["low"], found["high"]) == pytest.approx((low, high), rel=0.05)


def test_one_fold_of_log_losses_is_the_normal_interval_of_the_mean():
    losses = np.array([0.1, 0.5, 0.9, 0.3])
    found = summarize(one_fold("log_loss", {"a": losses})).iloc[0]
    margin = 1.959964 * losses.std(ddof=1) / 2
    assert (found["mean"], found["low"], found["high"]) == pytest.approx(
        (0.45, 0.45 - margin, 0.45 + margin)
    )


def test_verdicts_tell_losses_as_plainly_as_wins():
    b, c, d = (
        np.add(A, [0.2, 0.21, 0.2, 0.19, 0.2]),
        np.subtract(A, 0.2),
        np.add(A, [0.2, -0.2, 0.1, -0.1, 0.01]),
    )
    cells = grid({("adult", "a"): A, ("adult", "b"): b, ("adult", "c"): c, ("adult", "d"): d})
    found = paired_differences(cells, "a").set_index("model")
    assert found["outcome"].to_dict() == {"c": "worse", "d": "no difference", "b": "better"}
    assert list(found.index) == ["c", "d", "b"]
    assert found.loc["b", "verdict"].startswith("a is better than b by 16.1 % [")
    assert (
        found.loc["c", "verdict"]
        == "a is worse than c by 23.8 % [23.8, 23.8] on adult (rmse 1.040 against 0.8400)."
    )
    assert found.loc["d", "verdict"].startswith("No difference shown between a and d on adult: +0.2 % [")
    mirrored = paired_differences(cells, "c").set_index("model")
    assert mirrored.loc["a", "difference"] == -found.loc["c", "difference"]


def test_models_are_compared_on_the_folds_that_both_have():
    cells = grid({("d", "a"): A, ("d", "b"): B[:3]})
    found = paired_differences(cells, "a").iloc[0]
    assert found["n_folds"] == 3
    assert found["difference"] == pytest.approx(np.mean(B[:3]) - np.mean(A[:3]))


def test_failures_are_told():
    cells = pd.concat([grid({("d", "a"): A}), pd.DataFrame([cell("d", "b", 1, 0, status="failed")])])
    (verdict,) = paired_differences(cells, "a")["verdict"]
    assert verdict == "b failed on d: ValueError: no."
    summary = summarize(cells).set_index("model")
    assert summary.loc["b", "n_failed"] == 1
    assert np.isnan(summary.loc["b", "mean"])
    with pytest.raises(ValueError, match=r"got 'z' \(the models are 'a', 'b'\)\."):
        paired_differences(cells, "z")


def test_a_model_against_its_twin_shows_no_difference():
    (twin,) = paired_differences(grid({("d", "a"): A, ("d", "b"): A}), "a").to_dict("records")
    assert (twin["difference"], twin["outcome"], twin["p_value"]) == (0, "no difference", 1)


def test_ranks_over_data_sets_are_those_of_friedman_and_nemenyi():
    rng = np.random.default_rng(0)
    errors = rng.random((6, 3)) + np.array([0, 0.5, 1])
    cells = grid({(f"d{i}", m): [errors[i, j]] for i in range(6) for j, m in enumerate("abc")})
    found = rank_test(cells)
    assert (found.block, found.n_blocks) == ("data set", 6)
    assert found.p_value == pytest.approx(stats.friedmanchisquare(*errors.T).pvalue)
    np.testing.assert_allclose(found.ranks[list("abc")], stats.rankdata(errors, axis=1).mean(axis=0))
    expected = scikit_posthocs.posthoc_nemenyi_friedman(errors)
    np.testing.assert_allclose(found.pairwise.loc[list("abc"), list("abc")], expected)
    assert found.sentence.startswith("Mean ranks over 6 data sets differ (p = 0.0")


def test_ranks_of_two_models_over_folds_are_those_of_wilcoxon():
    found = rank_test(grid({("d", "a"): A, ("d", "b"): B}))
    assert (found.block, found.n_blocks) == ("fold", 5)
    assert found.p_value == pytest.approx(stats.wilcoxon(A, B).pvalue)
    assert found.ranks.to_dict() == {"a": 1, "b": 2}


def test_ranks_leave_out_who_has_not_finished_and_say_so():
    cells = grid({("d", "a"): A, ("d", "b"): B, ("d", "c"): B[:2]})
    assert rank_test(cells).left_out == ("c",)
    assert "Without c: not finished everywhere." in rank_test(cells).sentence
    assert rank_test(grid({("d", "a"): A})) is None
    assert rank_test(grid({("d", "a"): A[:2], ("d", "b"): B[:2]})) is None


def test_summary_ranks_the_best_first_and_takes_the_median_of_seconds():
    cells = grid({("d", "a"): B, ("d", "b"): A}).assign(fit_seconds=[1, 1, 1, 1, 100, 2, 2, 2, 2, 2])
    summary = summarize(cells)
    assert summary["model"].tolist() == ["b", "a"]
    assert summary["rank"].tolist() == [1, 2]
    assert summary["fit_seconds"].tolist() == [2, 1]

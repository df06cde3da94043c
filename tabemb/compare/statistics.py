"""Statistics of the results: means with intervals, paired differences of errors, and ranks.

With several folds, the unit is the fold (seeds are averaged first). Training sets of folds overlap,
so the variance of a mean over folds is that of Nadeau & Bengio 2003, (1 / n_folds + n_test /
n_train) times the variance between folds, with Student's t. With one fold, the unit is the test
row: the interval is the normal one of the mean loss, for "rmse" by the delta method.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from tabemb.compare.digits import significant
from tabemb.compare.hints import did_you_mean
from tabemb.compare.metrics import OTHER_METRICS, main_error
from tabemb.extras import need

MEASUREMENTS = ("fit_seconds", "fit_cpu_seconds", "predict_seconds", "fit_memory_mib")
# fewest data sets, or else folds of one data set, for a test of ranks
MIN_BLOCKS = 3


def summarize(results: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """Average the cells of each data set and model.

    Parameters
    ----------
    results : DataFrame
        Cells as returned by `run`; several data sets may be stacked.
    confidence : float
        Coverage of the intervals.

    Returns
    -------
    DataFrame
        One row per data set and model, the best model first: `metric`, `mean`, `low`, `high` (the
        main error with its interval), `n_folds`, `n_seeds`, `n_failed`, `error` (text of the first
        failure), `rank`, the other metrics, and medians of `fit_seconds`, `fit_cpu_seconds`,
        `predict_seconds`, `fit_memory_mib`. A model without any finished cell has NaN.
    """
    rows = [
        _summary(cells, confidence) for _, cells in results.groupby(["dataset", "model"], sort=False)
    ]
    summary = pd.DataFrame(rows).sort_values(["dataset", "mean"], na_position="last", ignore_index=True)
    return summary.assign(rank=summary.groupby("dataset")["mean"].rank())


def _summary(cells: pd.DataFrame, confidence: float) -> dict[str, object]:
    finished, failed = cells[cells["status"] == "ok"], cells[cells["status"] == "failed"]
    first = cells.iloc[0]
    row: dict[str, object] = {name: first[name] for name in ("dataset", "model", "task", "metric")}
    row |= {
        "n_folds": finished["fold"].nunique(),
        "n_seeds": finished["seed"].nunique(),
        "n_failed": len(failed),
    }
    row |= {"error": failed["error"].iloc[0] if len(failed) else ""}
    row |= dict.fromkeys(("mean", "low", "high", *OTHER_METRICS[first["task"]], *MEASUREMENTS), np.nan)
    if finished.empty:
        return row
    estimate = _estimate(finished, None, confidence)
    row |= {"mean": estimate.value, "low": estimate.low, "high": estimate.high}
    others = list(OTHER_METRICS[first["task"]])
    row |= dict(zip(others, finished[others].mean()))
    return row | dict(zip(MEASUREMENTS, finished[list(MEASUREMENTS)].median()))


def paired_differences(results: pd.DataFrame, reference: str, confidence: float = 0.95) -> pd.DataFrame:
    """Compute the difference of every other model's error to the reference's, on common folds.

    Parameters
    ----------
    results : DataFrame
        Cells as returned by `run`; several data sets may be stacked.
    reference : str
        Label of the model with which every other is compared.
    confidence : float
        Coverage of each single interval; they are not widened for the number of models.

    Returns
    -------
    DataFrame
        One row per data set and other model: `difference` (error of the other minus error of the
        reference, so that above zero the reference is better) with `low`, `high`; the same three in
        percent of the other's error (`percent`, `percent_low`, `percent_high`), `p_value`,
        `n_folds`, `outcome` ("better", "worse", "no difference", "failed") and `verdict`, a
        sentence.

    Raises
    ------
    ValueError
        If the reference has no cell.
    """
    known = list(dict.fromkeys(results["model"]))
    if reference not in known:
        hint = did_you_mean(reference, known, "the models are")
        raise ValueError(f"reference must be the label of a model; got {reference!r} ({hint}).")
    pairs = [
        _comparison(cells, reference, other, confidence)
        for _, cells in results.groupby("dataset", sort=False)
        for other in _by_error(cells)
        if other != reference and reference in set(cells["model"])
    ]
    return pd.DataFrame(pairs)


def _by_error(cells: pd.DataFrame) -> list[str]:
    """List the models of a data set, the best first and those without a result last."""
    errors = (
        cells.assign(value=cells.get(cells["metric"].iloc[0], np.nan))
        .groupby("model", sort=False)["value"]
        .mean()
    )
    return list(errors.sort_values(na_position="last", kind="stable").index)


def _comparison(cells: pd.DataFrame, reference: str, other: str, confidence: float) -> dict[str, object]:
    names = {
        "dataset": cells["dataset"].iloc[0],
        "model": other,
        "reference": reference,
        "metric": cells["metric"].iloc[0],
    }
    finished = cells[cells["status"] == "ok"]
    ours, theirs = finished[finished["model"] == reference], finished[finished["model"] == other]
    common = set(ours["fold"]) & set(theirs["fold"])
    if not common:
        return {
            **names,
            "n_folds": 0,
            "outcome": "failed",
            "verdict": _no_common_fold(cells, reference, other),
        }
    ours, theirs = ours[ours["fold"].isin(common)], theirs[theirs["fold"].isin(common)]
    estimate = _estimate(theirs, ours, confidence)
    errors = _fold_errors(ours).mean(), _fold_errors(theirs).mean()
    percent = np.array([estimate.value, estimate.low, estimate.high]) * (
        100 / errors[1] if errors[1] else np.nan
    )
    outcome = "better" if estimate.low > 0 else "worse" if estimate.high < 0 else "no difference"
    return {
        **names,
        **{"difference": estimate.value, "low": estimate.low, "high": estimate.high},
        **{"percent": percent[0], "percent_low": percent[1], "percent_high": percent[2]},
        **{"p_value": estimate.p_value, "n_folds": len(common), "outcome": outcome},
        "verdict": _verdict(names, outcome, percent, errors),
    }


def _verdict(
    names: dict[str, str], outcome: str, percent: np.ndarray, errors: tuple[float, float]
) -> str:
    ours, theirs, dataset = names["reference"], names["model"], names["dataset"]
    figures = f"{names['metric']} {significant(errors[0])} against {significant(errors[1])}"
    if np.isnan(percent[1]):
        return f"{ours} and {theirs} on {dataset} cannot be distinguished by this data ({figures})."
    if outcome == "no difference":
        interval = f"{signed(percent[0])} % [{signed(percent[1])}, {signed(percent[2])}]"
        return f"No difference shown between {ours} and {theirs} on {dataset}: {interval} ({figures})."
    # "worse by 5 % [3, 7]": the word gives the sign, the numbers have none
    low, high = sorted(np.abs(percent[1:]))
    interval = f"{abs(percent[0]):.1f} % [{signed(low)}, {signed(high)}]".replace("+", "")
    return f"{ours} is {outcome} than {theirs} by {interval} on {dataset} ({figures})."


def signed(percent: float) -> str:
    """Format a percentage with its sign; one that would round to zero keeps a digit."""
    return f"{percent:+.1f}" if abs(percent) >= 0.05 or percent == 0 else f"{percent:+.1g}"


def _no_common_fold(cells: pd.DataFrame, reference: str, other: str) -> str:
    dataset = cells["dataset"].iloc[0]
    for model in (reference, other):
        of_model = cells[cells["model"] == model]
        if not (of_model["status"] == "ok").any():
            error = of_model["error"].iloc[0].rstrip(".")
            where = f" in all of {len(of_model)} fits" if len(of_model) > 1 else ""
            return f"{model} failed on {dataset}{where}: {error}."
    return f"{reference} and {other} have no common fold on {dataset}."


@dataclass(frozen=True)
class _Estimate:
    """A mean with its interval, and the p-value of the hypothesis that it is zero."""

    value: float
    low: float
    high: float
    p_value: float


def _estimate(cells: pd.DataFrame, minus: pd.DataFrame | None, confidence: float) -> _Estimate:
    """Estimate the main error of a model, or its excess over another's on the same folds."""
    # the spread between folds includes the chance in the training rows; one fold has only test rows
    if cells["fold"].nunique() > 1:
        values = _fold_errors(cells) - (0 if minus is None else _fold_errors(minus))
        ratio = float((cells["n_test"] / cells["n_train"]).mean())
        return _from_folds(values.to_numpy(), ratio, confidence)
    effects = _row_effects(cells) - (0 if minus is None else _row_effects(minus))
    value = _fold_errors(cells).mean() - (0 if minus is None else _fold_errors(minus).mean())
    return _from_rows(float(value), effects, confidence)


def _fold_errors(cells: pd.DataFrame) -> pd.Series:
    """Average a model's main error over seeds, one value per fold."""
    metric = cells["metric"].iloc[0]
    errors: pd.Series = cells.groupby("fold")[metric].mean()
    return errors


def _from_folds(values: np.ndarray, test_to_train: float, confidence: float) -> _Estimate:
    mean, variance = float(values.mean()), float(values.var(ddof=1))
    deviation = np.sqrt((1 / len(values) + test_to_train) * variance)
    return _interval(mean, deviation, stats.t(df=len(values) - 1), confidence)


def _row_effects(cells: pd.DataFrame) -> np.ndarray:
    """Return each row's contribution to the error, averaged over seeds; for "rmse", loss / (2 rmse)."""
    effects = []
    for metric, losses in zip(cells["metric"], cells["losses"]):
        losses = np.asarray(losses, dtype=float)
        effects.append(losses / (2 * main_error(metric, losses) or 1) if metric == "rmse" else losses)
    return np.asarray(np.mean(effects, axis=0))


def _from_rows(value: float, effects: np.ndarray, confidence: float) -> _Estimate:
    deviation = float(stats.sem(effects)) if len(effects) > 1 else np.nan
    return _interval(value, deviation, stats.norm(), confidence)


def _interval(value: float, deviation: float, distribution: Any, confidence: float) -> _Estimate:
    margin = deviation * float(distribution.ppf((1 + confidence) / 2))
    if deviation > 0:
        p_value = 2 * float(distribution.sf(abs(value) / deviation))
    else:  # models with equal errors do not differ
        p_value = 1.0 if value == 0 else np.nan
    return _Estimate(value, value - margin, value + margin, p_value)


@dataclass(frozen=True)
class RankTest:
    """A test of whether the ranks of models over data sets, or over folds of one data set, differ.

    Parameters
    ----------
    ranks : Series
        Mean rank of each model, where 1 is the best; sorted.
    p_value : float
        Of Friedman's test that all models rank alike; for two models, Wilcoxon's signed-rank test.
    pairwise : DataFrame
        Nemenyi's p-value of each pair (for two models, Wilcoxon's).
    n_blocks : int
        How many rankings were averaged.
    block : {"data set", "fold"}
        The unit in which models are ranked. Folds of one data set share training rows, so a small
        p-value says less there.
    left_out : tuple of str
        Models that have not finished every block.
    """

    ranks: pd.Series
    p_value: float
    pairwise: pd.DataFrame
    n_blocks: int
    block: str
    left_out: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """The result in words."""
        order = ", ".join(f"{model} {rank:.2f}" for model, rank in self.ranks.items())
        result = "differ" if self.p_value < 0.05 else "do not differ beyond chance"
        left_out = ", ".join(self.left_out)
        without = f" Without {left_out}: not finished everywhere." if left_out else ""
        ranks = f"Mean ranks over {self.n_blocks} {self.block}s {result}"
        return f"{ranks} (p = {self.p_value:.2g}): {order}.{without}"


def rank_test(results: pd.DataFrame, models: Sequence[str] | None = None) -> RankTest | None:
    """Rank the models on every data set, or on every fold where there are fewer than three data sets.

    Parameters
    ----------
    results : DataFrame
        Cells as returned by `run`; several data sets may be stacked.
    models : sequence of str, optional
        The models to rank; all by default. Those that have not finished every block are left out.

    Returns
    -------
    RankTest or None
        None where fewer than two models or fewer than three blocks are complete.
    """
    cells = results if models is None else results[results["model"].isin(models)]
    finished = cells[cells["status"] == "ok"]
    if finished.empty:
        return None
    errors = finished.assign(value=[row[row["metric"]] for _, row in finished.iterrows()])
    by_fold = errors.pivot_table(index=["dataset", "fold"], columns="model", values="value")
    by_dataset = by_fold.groupby("dataset").mean()
    table, block = (by_dataset, "data set") if len(by_dataset) >= MIN_BLOCKS else (by_fold, "fold")
    # a rank among fewer models is not comparable, so a model must have finished everywhere
    table = table[by_fold.columns[by_fold.notna().all()]]
    if len(table) < MIN_BLOCKS or table.shape[1] < 2:
        return None
    p_value, pairwise = _two_models(table) if table.shape[1] == 2 else _many_models(table)
    left_out = tuple(model for model in dict.fromkeys(cells["model"]) if model not in table)
    return RankTest(
        table.rank(axis=1).mean().sort_values(), p_value, pairwise, len(table), block, left_out
    )


def _two_models(table: pd.DataFrame) -> tuple[float, pd.DataFrame]:
    a, b = table.to_numpy().T
    p_value = 1.0 if np.array_equal(a, b) else float(stats.wilcoxon(a, b).pvalue)
    return p_value, pd.DataFrame(
        [[1, p_value], [p_value, 1]], index=table.columns, columns=table.columns
    )


def _many_models(table: pd.DataFrame) -> tuple[float, pd.DataFrame]:
    scikit_posthocs = need("scikit_posthocs", "compare")  # only here, as the import takes seconds
    p_value = float(stats.friedmanchisquare(*table.to_numpy().T).pvalue)
    pairwise = scikit_posthocs.posthoc_nemenyi_friedman(table.to_numpy())
    return p_value, pairwise.set_axis(table.columns, axis=0).set_axis(table.columns, axis=1)

"""Details that cells store as JSON, pooled over folds and seeds; older cells have fewer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from tabemb.compare.details import N_BINS
from tabemb.compare.statistics import summarize


def stored(cells: pd.DataFrame, name: str) -> list[Any]:
    """Return the parsed values of a JSON column; cells without a value are left out."""
    texts = cells.get(name, ())
    return [json.loads(text) for text in texts if isinstance(text, str) and text]


def models_by_error(results: pd.DataFrame) -> list[str]:
    """Return the models of a data set with a finished fit, the best first."""
    return list(summarize(results).dropna(subset="mean")["model"])


def rarity(results: pd.DataFrame) -> pd.DataFrame:
    """Return the main error by the frequency of the rarest category of a test row.

    Parameters
    ----------
    results : DataFrame
        Cells of one data set.

    Returns
    -------
    DataFrame
        Columns `model`, `bin`, `n_rows`, `error` and `deviation` (its standard error). Empty if no cell
        has them; bins without rows are left out.
    """
    rows = [row for model in models_by_error(results) for row in _rarity_of(results, model)]
    return pd.DataFrame(rows, columns=["model", "bin", "n_rows", "error", "deviation"])


def _rarity_of(results: pd.DataFrame, model: str) -> list[dict[str, Any]]:
    cells = results[(results["model"] == model) & (results["status"] == "ok")]
    parts = stored(cells, "rarity")
    if not parts:
        return []
    n_seeds, metric = cells["seed"].nunique(), cells["metric"].iloc[0]
    n, total, squares = (
        np.sum([part[key] for part in parts], axis=0) / n_seeds for key in ("n_rows", "total", "squares")
    )
    return [
        {"model": model, "bin": name, "n_rows": round(n[i])} | _error(metric, n[i], total[i], squares[i])
        for i, name in enumerate(parts[0]["bin"])
        if n[i]
    ]


def _error(metric: str, n: float, total: float, squares: float) -> dict[str, float]:
    """Return an error with its standard error, from the sums of the losses and their squares."""
    mean = total / n
    deviation = np.sqrt(max(squares / n - mean**2, 0) / (n - 1)) if n > 1 else np.nan
    if metric != "rmse":
        return {"error": mean, "deviation": deviation}
    # delta method for the root
    return {"error": mean**0.5, "deviation": deviation / (2 * mean**0.5) if mean else 0.0}


def importance_table(results: pd.DataFrame) -> pd.DataFrame:
    """Return the mean rise of the main error by column (index) and model, the largest rises first.

    Models that were too slow, or whose cells are of earlier versions, are left out.
    """
    by_model = {}
    for model in models_by_error(results):
        parts = [one for one in stored(_of(results, model), "importances") if one["column"]]
        if parts:
            rises = pd.concat([pd.Series(one["rise"], one["column"]) for one in parts], axis=1)
            by_model[model] = rises.mean(axis=1)
    table = pd.DataFrame(by_model)
    return table.loc[table.max(axis=1).sort_values(ascending=False, kind="stable").index]


def importance_settings(results: pd.DataFrame) -> tuple[int, list[str]]:
    """Return how many rows were permuted, and the models that were too slow for importances."""
    parts = stored(results, "importances")
    slow = [
        model
        for model in models_by_error(results)
        if any(not one["column"] for one in stored(_of(results, model), "importances"))
    ]
    return max((one["n_rows"] for one in parts), default=0), slow


def calibrations(results: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return for each model its calibration by tenths of its predictions, over all cells.

    Returns
    -------
    dict of str -> DataFrame
        Columns `n_rows`, `predicted`, `observed` and `deviation`, the standard error of `observed`.
    """
    by_model = {model: stored(_of(results, model), "calibration") for model in models_by_error(results)}
    return {model: _tenths(parts) for model, parts in by_model.items() if parts}


def _tenths(parts: Sequence[Any]) -> pd.DataFrame:
    """Pool the tenths of several cells into ten parts, from the lowest predictions to the highest."""
    rows = pd.concat([pd.DataFrame(part) for part in parts]).sort_values("predicted", kind="stable")
    middle = rows["n_rows"].cumsum() - rows["n_rows"] / 2
    part = np.minimum(middle / rows["n_rows"].sum() * N_BINS, N_BINS - 1e-9).astype(int)
    pooled = [_pooled(group) for _, group in rows.groupby(np.asarray(part))]
    return pd.DataFrame(pooled)


def _pooled(rows: pd.DataFrame) -> dict[str, float]:
    weights, n = rows["n_rows"], rows["n_rows"].sum()
    predicted = float(np.average(rows["predicted"], weights=weights))
    observed = float(np.average(rows["observed"], weights=weights))
    spread = np.average(rows["variance"] + (rows["observed"] - observed) ** 2, weights=weights)
    deviation = float(np.sqrt(spread / n))
    return {"n_rows": n, "predicted": predicted, "observed": observed, "deviation": deviation}


def calibration_gap(tenths: pd.DataFrame) -> tuple[float, float]:
    """Return the mean gap between observed and predicted means, and the gap expected by chance.

    The expected gap assumes normal errors with the standard errors of the observed means.
    """
    weights = tenths["n_rows"]
    gap = np.average((tenths["observed"] - tenths["predicted"]).abs(), weights=weights)
    return float(gap), float(np.average(tenths["deviation"] * np.sqrt(2 / np.pi), weights=weights))


def _of(results: pd.DataFrame, model: str) -> pd.DataFrame:
    return results[(results["model"] == model) & (results["status"] == "ok")]

"""Measure predictions of future rows: train on the rows before a time, test on those after it.

`python -m experiments.in_time` sorts each data set by its time, and at three origins compares our
model, with and without `time=`, with boosted trees. bank_marketing has no time column, but its rows
are in the order of time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from time import process_time
from typing import Any, NamedTuple

import hydra
import numpy as np
import pandas as pd
from omegaconf import DictConfig
from rich.table import Table as TextTable
from scipy.stats import gmean

from experiments.shared.published import error_on, load_named
from experiments.shared.settings import CONFIG_FOLDER, RESULTS, data_folder, read_settings
from tabemb.compare import Dataset, ModelSpec, build_model
from tabemb.compare.table import wide_console
from tabemb.files.csv_cells import write_csv

REFERENCE = "catboost"


class Split(NamedTuple):
    """The rows before and after an origin, in the order of time."""

    X: pd.DataFrame
    y: np.ndarray
    X_test: pd.DataFrame
    y_test: np.ndarray


@hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name="in_time")
def main(config: DictConfig) -> None:
    settings = read_settings(config)
    data_folder()
    table = pd.DataFrame(line for name in settings["datasets"] for line in lines_of(name, settings))
    show(table)
    write_csv(table, RESULTS / "in_time.csv", float_format="%.5g")


def lines_of(name: str, settings: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the error and the CPU seconds of each model at each origin."""
    dataset = load_named(name)
    for origin in settings["origins"]:
        split = split_at(dataset, origin, settings)
        for half_life in settings["half_lives"]:
            label = "ours" if half_life is None else f"ours, half-life {half_life:g}"
            times = (
                {} if half_life is None else {"time": np.arange(len(split.y)), "half_life": half_life}
            )
            results = [
                fit(dataset, "embedding", split, seed, settings, times) for seed in settings["seeds"]
            ]
            yield line_of(name, origin, label, results)
        for peer in settings["peers"]:
            yield line_of(name, origin, peer, [fit(dataset, peer, split, 0, settings, {})])


def split_at(dataset: Dataset, origin: float, settings: Mapping[str, Any]) -> Split:
    """Return the newest rows before an origin, which is a share of all rows, and those after it."""
    n = len(dataset.y)
    order = np.argsort(moments(dataset), kind="stable")
    start, end = int(origin * n), int((origin + settings["test_share"]) * n)
    train, test = order[max(0, start - settings["n_rows"]) : start], order[start:end]
    X, y = dataset.X, dataset.y.to_numpy()
    return Split(X.iloc[train].reset_index(drop=True), y[train], X.iloc[test], y[test])


def moments(dataset: Dataset) -> np.ndarray:
    """Return the time of each row, or its position; text, such as 12/31/2009, is read as dates."""
    time = dataset.time
    if time is None:
        return np.arange(len(dataset.y))
    is_text = time.dtype == object or isinstance(time.dtype, pd.StringDtype)
    return (pd.to_datetime(time, format="mixed") if is_text else time).to_numpy()


def fit(
    dataset: Dataset,
    model: str,
    split: Split,
    seed: int,
    settings: Mapping[str, Any],
    arguments: Mapping[str, Any],
) -> tuple[float, float]:
    """Return the error of a model on the later rows and the CPU seconds of its fit."""
    estimator: Any = build_model(
        ModelSpec(model), dataset.task, split.X, dataset.roles, seed, settings["n_jobs"]
    )
    start = process_time()
    estimator.fit(split.X, split.y, **arguments)
    seconds = process_time() - start
    return error_on(dataset, estimator, split.X_test, split.y_test), seconds


def line_of(
    dataset: str, origin: float, model: str, results: list[tuple[float, float]]
) -> dict[str, Any]:
    error, seconds = np.mean(results, axis=0)
    return {
        "dataset": dataset,
        "origin": origin,
        "model": model,
        "error": error,
        "cpu_seconds": seconds,
    }


def show(table: pd.DataFrame) -> None:
    """Print the error of each model, and its mean ratio to CatBoost's error if that was fitted."""
    wide = table.pivot_table(index=["dataset", "origin"], columns="model", values="error", sort=False)
    text = TextTable("data set", "origin", *wide.columns, title="Error on later rows (RMSE, log loss)")
    for dataset, origin, *errors in wide.reset_index().itertuples(index=False):
        text.add_row(dataset, f"{origin:g}", *(f"{error:.4f}" for error in errors))
    if REFERENCE in wide:
        ratios = wide.div(wide[REFERENCE], axis=0)
        for words, summary in (("mean", gmean), ("largest", np.max)):
            numbers = summary(ratios.to_numpy(), axis=0)
            text.add_row(f"{words} ratio to {REFERENCE}", "", *(f"{ratio:.3f}" for ratio in numbers))
    wide_console().print(text)


if __name__ == "__main__":
    main()

"""Named data sets on their published splits: one error per model, fold and seed."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from experiments.shared.settings import data_folder
from tabemb.compare import Dataset, ModelSpec, Protocol, named_dataset, read_cells, run, select
from tabemb.compare.metrics import SMALLEST_PROBABILITY, score

COLUMNS = ["dataset", "fold", "seed", "model", "fit_seconds", "fit_cpu_seconds", "predict_seconds"]


def load_named(name: str) -> Dataset:
    """Return a data set of ``conf/dataset``, or end the program with a line that names the error."""
    try:
        return named_dataset(name)
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")


def error_on(dataset: Dataset, model: Any, X: Any, y: np.ndarray) -> float:
    """Return the error of a fitted model on rows: RMSE, or log loss."""
    if dataset.task == "regression":
        return score(dataset.task, y, model.predict(X))["rmse"]
    probability = np.maximum(model.predict_proba(X), SMALLEST_PROBABILITY)
    return score(dataset.task, y, probability, model.classes_)["log_loss"]


def measure(specs: Sequence[ModelSpec], settings: Mapping[str, Any]) -> pd.DataFrame:
    """Fit every model on every data set; stored cells are not fitted again.

    Parameters
    ----------
    specs : sequence of ModelSpec
    settings : mapping
        ``datasets``, ``folds``, ``seeds``, ``n_jobs`` and the ``folder`` of the cells.

    Returns
    -------
    DataFrame
        One row per cell: :data:`COLUMNS` and ``error``, the RMSE or log loss.
    """
    data_folder()
    parts = [_cells_of(name, specs, settings) for name in settings["datasets"]]
    cells = pd.concat(parts, ignore_index=True)
    for cell in cells[cells["status"] != "ok"].itertuples():
        sys.exit(f"error: {cell.model} failed on {cell.dataset}: {cell.error}")
    error = cells["rmse"].fillna(cells["log_loss"]) if "log_loss" in cells else cells["rmse"]
    return cells[COLUMNS].assign(error=error)


def _cells_of(name: str, specs: Sequence[ModelSpec], settings: Mapping[str, Any]) -> pd.DataFrame:
    """Return the wanted cells of one data set, without the others of earlier runs."""
    dataset, protocol = load_named(name), Protocol("published")
    options = {key: settings[key] for key in ("seeds", "folds", "n_jobs")}
    run(dataset, specs, protocol, settings["folder"], **options)
    cells = select(read_cells(settings["folder"]), dataset, protocol)
    wanted = cells["model"].isin([spec.label for spec in specs])
    wanted &= cells["seed"].isin(settings["seeds"])
    if settings["folds"]:
        wanted &= cells["fold"].isin(settings["folds"])
    return cells[wanted]

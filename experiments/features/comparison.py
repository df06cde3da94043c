"""Every model on every encoding that suits it, and what the vectors gain."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table as TextTable

from experiments.features.encodings import ENCODINGS, encode
from experiments.shared.models import MODELS
from experiments.shared.tables import find_problem
from tabemb.compare import run_cells
from tabemb.compare.table import wide_console

IN_SAMPLE = "in-sample vectors"
_WITH_CATEGORIES = tuple(name for name in ENCODINGS if "ordinal" not in name)
_NUMBERS_ONLY = tuple(name for name in ENCODINGS if "native" not in name)
# distances between integer codes mean nothing, and would distort those of the vectors
_DISTANCES = tuple(name for name in _NUMBERS_ONLY if not name.startswith("ordinal,"))
SUITABLE = {
    # model: the encodings that suit it
    "lightgbm": _WITH_CATEGORIES,
    "catboost": tuple(name for name in _WITH_CATEGORIES if name != "one-hot"),
    "histogram trees": _NUMBERS_ONLY,
    "random forest": _NUMBERS_ONLY,
    "nearest neighbours": _DISTANCES,
    "linear": _DISTANCES,
    "svm": _DISTANCES,
}


def compare(settings: Mapping[str, Any]) -> pd.DataFrame:
    """Run every cell that is not stored yet.

    Returns
    -------
    DataFrame
        One row per cell: data, model, encoding, seed, error, metric, seconds of the model only, n_rows.
    """
    return run_cells(
        Path(settings["folder"]) / "cells",
        _cells(settings),
        lambda cell: _measure(cell, settings),
        lambda row: f"{row['metric']} {row['error']:.4f} in {row['seconds']:.0f} s",
    )


def _cells(settings: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for data in settings["data"]:
        for model in settings["models"]:
            for encoding in (name for name in settings["encodings"] if name in SUITABLE[model]):
                for seed in settings["seeds"]:
                    yield {"data": data, "model": model, "encoding": encoding, "seed": seed}


def _measure(cell: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    problem = find_problem(cell["data"], settings["n_rows"], settings["n_test"])
    model, seed = MODELS[cell["model"]], cell["seed"]
    encoded = encode(problem, cell["encoding"], model.measures_distances, settings, seed)
    started = time.perf_counter()
    error = problem.error(*model.predict(problem, encoded, seed, settings["n_jobs"]))
    seconds = time.perf_counter() - started
    return {"error": error, "metric": problem.metric, "seconds": seconds, "n_rows": len(problem.y)}


def show(cells: pd.DataFrame) -> None:
    """Print the errors of each model, and by how much vectors lower the best error without them."""
    console = wide_console()
    for model in (model for model in MODELS if (cells["model"] == model).any()):
        console.print(_table(model, cells[cells["model"] == model]))
    console.print(
        "gain: by how much out-of-fold vectors lower the best error of the encodings without them."
    )


def _table(model: str, cells: pd.DataFrame) -> TextTable:
    errors = cells.pivot_table(index=["data", "metric"], columns="encoding", values="error", sort=False)
    encodings = [encoding for encoding in SUITABLE[model] if encoding in errors]
    text = TextTable("data", "error", title=f"{model}: mean error over seeds", title_justify="left")
    for encoding in [*encodings, "gain"]:
        text.add_column(encoding.replace(" ", "\n"), justify="right", no_wrap=True)
    for data, metric in errors.index:
        row = errors.loc[(data, metric)]
        best = row[encodings].min()
        figures = [f"[bold]{e:.4f}[/]" if e == best else f"{e:.4f}" for e in row[encodings]]
        text.add_row(data, metric, *figures, f"{gain(row):+.1%}")
    return text


def gain(errors: pd.Series[float]) -> float:
    """Return by which share out-of-fold vectors lower the smallest error of the other encodings.

    In-sample vectors are not counted at all.
    """
    with_vectors = [name for name in errors.index if "vectors" in name and name != IN_SAMPLE]
    without = [name for name in errors.index if name not in (*with_vectors, IN_SAMPLE)]
    return float(1 - errors[with_vectors].min() / errors[without].min())

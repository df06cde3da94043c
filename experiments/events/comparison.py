"""Every model on every problem that suits it, and the tables of the results."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table as TextTable

from experiments.events.metrics import METRICS
from experiments.events.models import MODELS, suitable_models
from experiments.events.problems import FOLDS, find_problem
from tabemb.compare import run_cells
from tabemb.compare.table import wide_console


def compare(settings: Mapping[str, Any], folder: Path | None) -> pd.DataFrame:
    """Run every cell that is not stored yet.

    Parameters
    ----------
    settings : mapping
        ``conf/events.yaml``.
    folder : Path, optional
        Where the data are.

    Returns
    -------
    DataFrame
        One row per cell: task, model, fold, seed, the problem's metrics, seconds, n_rows.
    """
    return run_cells(
        Path(settings["folder"]) / "cells",
        _cells(settings),
        lambda cell: _measure(cell, settings, folder),
        _outcome,
    )


def _cells(settings: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for task in settings["tasks"]:
        has_folds = task in FOLDS
        models = suitable_models(task)
        for fold in settings["folds"] if has_folds else [0]:
            for model in (model for model in settings["models"] if model in models):
                for seed in settings["seeds"][: 1 if has_folds else None]:
                    yield {"task": task, "model": model, "fold": fold, "seed": seed}


def _measure(
    cell: Mapping[str, Any], settings: Mapping[str, Any], folder: Path | None
) -> dict[str, Any]:
    problem = find_problem(cell["task"], folder, cell["fold"], settings["n_sequences"])
    problem = replace(problem, net_params={**problem.net_params, **settings["net"]})
    started = time.perf_counter()
    proba, classes = MODELS[cell["model"]](problem, cell["seed"])
    seconds = time.perf_counter() - started
    problem.predictions[cell["model"], cell["seed"]] = proba, classes
    y, proba = problem.scored(problem.y_test), problem.scored(proba)
    scores = {metric: METRICS[metric].score(y, proba, classes) for metric in problem.metrics}
    return {**scores, "seconds": seconds, "n_rows": len(problem.y)}


def _outcome(row: Mapping[str, Any]) -> str:
    scores = [f"{METRICS[name].title} {row[name]:.4f}" for name in METRICS if name in row]
    return f"{', '.join(scores)} in {row['seconds']:.0f} s"


def show(cells: pd.DataFrame) -> None:
    """Print a table for each metric: the means of each problem and model, the best in bold."""
    console = wide_console()
    for metric in (metric for metric in METRICS if metric in cells):
        console.print(_table(metric, cells.dropna(subset=metric)))
    console.print(f"{cells['seconds'].sum() / 60:.0f} minutes in all", highlight=False)


def _table(metric: str, cells: pd.DataFrame) -> TextTable:
    title = f"{METRICS[metric].title}: mean over seeds or folds"
    table = TextTable(title=title, title_justify="left")
    table.add_column("task", no_wrap=True)
    models = [model for model in MODELS if (cells["model"] == model).any()]
    for model in models:
        table.add_column(model.replace(" ", "\n"), justify="right", no_wrap=True)
    means = cells.pivot_table(index="task", columns="model", values=metric, sort=False)
    for task, row in means.iterrows():
        best = f"{row.max() if METRICS[metric].more_is_better else row.min():.4f}"
        figures = [f"{row[model]:.4f}" if row[model] == row[model] else "-" for model in models]
        table.add_row(str(task), *(f"[bold]{f}[/bold]" if f == best else f for f in figures))
    return table

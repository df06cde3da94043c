"""The cells of the paper's table, with our and the paper's results."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table as TextTable

from experiments.rossmann.models import MODELS
from experiments.rossmann.problem import SalesProblem
from tabemb.compare import run_cells
from tabemb.compare.store import cell_name

PAPER = {
    # MAPE without embeddings, with embeddings
    "shuffled": dict(zip(MODELS, [(0.315, 0.099), (0.167, 0.089), (0.122, 0.071), (0.070, 0.070)])),
    "time": dict(zip(MODELS, [(0.290, 0.116), (0.158, 0.108), (0.152, 0.115), (0.101, 0.093)])),
}
WITHOUT_AND_WITH = (False, True)


def compare(sales: pd.DataFrame, settings: Mapping[str, Any]) -> pd.DataFrame:
    """Run every cell that is not stored yet.

    Parameters
    ----------
    sales : DataFrame
        The seven inputs and ``sales``, oldest first.
    settings : mapping
        ``conf/rossmann.yaml``.

    Returns
    -------
    DataFrame
        One row per cell: split, model, embeddings, mape, seconds, and the paper's mape.
    """

    @cache  # the cells of a split share the network's vectors
    def problem_of(split: str) -> SalesProblem:
        return SalesProblem.draw(sales, split, settings)

    def measure(cell: Mapping[str, Any]) -> dict[str, Any]:
        split, model, embeddings = cell.values()
        started = time.perf_counter()
        problem = problem_of(split)
        mape = problem.mape(MODELS[model](problem, embeddings))
        seconds = time.perf_counter() - started
        return {"mape": mape, "seconds": seconds, "paper": PAPER[split][model][embeddings]}

    return run_cells(
        Path(settings["folder"]) / "cells",
        _cells(settings["splits"]),
        measure,
        lambda row: f"MAPE {row['mape']:.4f} in {row['seconds']:.0f} s",
        key=lambda cell: cell_name(_named(cell)),
        label=lambda cell: f"{cell['split']}, {cell['model']}, {_named(cell)['embeddings']} embeddings",
    )


def _cells(splits: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the network with embeddings first, as the other cells of a split read its vectors."""
    first = ("neural net", True)
    rest = [(model, with_them) for model in MODELS for with_them in WITHOUT_AND_WITH]
    for split in splits:
        for model, with_them in (first, *(cell for cell in rest if cell != first)):
            yield {"split": split, "model": model, "embeddings": with_them}


def _named(cell: Mapping[str, Any]) -> dict[str, Any]:
    return {**cell, "embeddings": "with" if cell["embeddings"] else "without"}


def show(cells: pd.DataFrame) -> None:
    """Print our errors next to the paper's, without and with embeddings."""
    title = "MAPE without and with embeddings, ours | Guo & Berkhahn 2016 (bold: at or below the paper)"
    table = TextTable(title=title, title_justify="left")
    table.add_column("")
    splits = [split for split in PAPER if (cells["split"] == split).any()]
    columns = [(split, with_them) for split in splits for with_them in WITHOUT_AND_WITH]
    for split, with_them in columns:
        header = f"{split}\n{'with' if with_them else 'without'}"
        table.add_column(header, justify="right", no_wrap=True)
    for model in MODELS:
        table.add_row(model, *(_entry(cells, split, model, with_them) for split, with_them in columns))
    Console().print(table)
    Console().print(f"{cells['seconds'].sum() / 60:.0f} minutes in all", highlight=False)


def _entry(cells: pd.DataFrame, split: str, model: str, embeddings: bool) -> str:
    row = cells.query("split == @split and model == @model and embeddings == @embeddings")
    if row.empty:
        return "-"
    ours, paper = row["mape"].iloc[0], row["paper"].iloc[0]
    text = f"{ours:.4f} | {paper:.3f}".replace("0.", ".")
    return f"[bold]{text}[/bold]" if ours <= paper else text

"""What a comparison found, in words and as a table in the terminal."""

from __future__ import annotations

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from tabemb.compare.figures import decimals
from tabemb.compare.metrics import OTHER_METRICS
from tabemb.compare.statistics import paired_differences, rank_test, signed, summarize

_CELLS = (
    "mean",
    "interval",
    "against",
    "fit_seconds",
    "fit_cpu_seconds",
    "predict_seconds",
    "fit_memory_mib",
    "runs",
)
_HEADERS = ("fit s", "CPU s", "predict s", "MiB", "folds x seeds")


def choose_reference(results: pd.DataFrame, wanted: str | None = None) -> str:
    """Choose the model that the others are set against: as wanted, else the embedding net where it ran, else the first.

    Raises
    ------
    ValueError
        If no cell is of the wanted model.
    """
    models = list(dict.fromkeys(results["model"]))
    if wanted is not None and wanted not in models:
        raise ValueError(f"reference must be one of {models}, got {wanted!r}")
    return wanted or next((model for model in models if model.startswith("embedding")), models[0])


def print_report(
    results: pd.DataFrame, reference: str | None = None, console: Console | None = None
) -> None:
    """Print a table and the verdicts of each data set, and the ranks.

    Parameters
    ----------
    results : DataFrame
        Cells as returned by `run`; several data sets may be stacked.
    reference : str, optional
        The model that the others are set against; the embedding net by default.
    console : rich.console.Console, optional
        Where to print.
    """
    console = console or wide_console()
    reference = choose_reference(results, reference)
    for _, cells in results.groupby("dataset", sort=False):
        console.print(score_table(cells, reference))
        for verdict in verdicts(cells, reference):
            console.print(f"  {verdict}", markup=False, highlight=False, soft_wrap=True)
    ranks = rank_test(results)
    if ranks is not None:
        console.print(f"\n{ranks.sentence}", markup=False, highlight=False, soft_wrap=True)


def wide_console() -> Console:
    """The terminal, or a file wide enough for a table."""
    console = Console()
    return console if console.is_terminal else Console(width=140)


def score_table(results: pd.DataFrame, reference: str | None = None, confidence: float = 0.95) -> Table:
    """Build the terminal table of one data set: the best model is marked, a failed one stands last with its error.

    Parameters
    ----------
    results : DataFrame
        Cells of one data set, as returned by `run`.
    reference : str, optional
        The model that the others are set against.
    confidence : float
        Coverage of the intervals.

    Returns
    -------
    rich.table.Table
    """
    reference = choose_reference(results, reference)
    first = results.iloc[0]
    rows = f"{first['n_train']:,} training rows in fold {first['fold']}"
    title = f"{first['dataset']}: {first['target']}, {first['protocol']}, {rows}"
    table = Table(title=title, title_justify="left", title_style="bold", caption_justify="left")
    table.caption = (
        "* best; gains are in % of the other's error, above zero where the reference is better"
    )
    table.add_column("model", no_wrap=True, min_width=results["model"].str.len().max() + 2)
    for header in (*headers(first["metric"], reference, confidence), *_HEADERS):
        table.add_column(header, justify="right")
    for row in formatted_rows(results, reference, confidence):
        style = "bold" if row["best"] else "red" if row["failed"] else ""
        table.add_row(f"{row['model']}{' *' * row['best']}", *(row[key] for key in _CELLS), style=style)
    return table


def headers(metric: str, reference: str, confidence: float) -> tuple[str, str, str]:
    """Name the columns of the error, its interval and the paired difference."""
    return metric, f"{confidence:.0%} interval", f"{reference} gains, %"


def formatted_rows(results: pd.DataFrame, reference: str, confidence: float) -> list[dict]:
    """Format the summary of one data set: a dict of texts a model, best first, with `best`, `failed`, `outcome`."""
    summary = summarize(results, confidence)
    against = {
        row["model"]: row
        for row in paired_differences(results, reference, confidence).to_dict("records")
    }
    return [
        _formatted(row, against.get(row["model"]), decimals(summary))
        for row in summary.to_dict("records")
    ]


def _formatted(row: dict, against: dict | None, places: int) -> dict:
    if np.isnan(row["mean"]):
        blank = dict.fromkeys((*_CELLS, *OTHER_METRICS[row["task"]]), "")
        failed = {"mean": "failed", "failed": row["error"], "outcome": "failed"}
        return {**blank, **failed, "model": row["model"], "best": False}
    texts = {name: f"{row[name]:.4f}" for name in OTHER_METRICS[row["task"]]}
    texts |= {name: f"{row[name]:.2f}" for name in ("fit_seconds", "fit_cpu_seconds", "predict_seconds")}
    failures = f", {row['n_failed']} failed" if row["n_failed"] else ""
    return texts | {
        "model": row["model"],
        "best": row["rank"] == 1,
        "failed": "",
        "mean": f"{row['mean']:.{places}f}",
        "interval": f"[{row['low']:.{places}f}, {row['high']:.{places}f}]",
        "against": _percent(against),
        "outcome": against["outcome"] if against else "no difference",
        "fit_memory_mib": f"{row['fit_memory_mib']:.0f}",
        "runs": f"{row['n_folds']} x {row['n_seeds']}{failures}",
    }


def _percent(against: dict | None) -> str:
    if against is None or np.isnan(against.get("percent", np.nan)):
        return ""
    middle, low, high = (signed(against[name]) for name in ("percent", "percent_low", "percent_high"))
    return f"{middle} [{low}, {high}]"


def verdicts(results: pd.DataFrame, reference: str | None = None, confidence: float = 0.95) -> list[str]:
    """Say in a sentence each how the reference fares against every other model, wins and losses alike.

    Parameters and defaults are as in `score_table`.

    Returns
    -------
    list of str
    """
    found = paired_differences(results, choose_reference(results, reference), confidence)
    return list(found["verdict"]) if len(found) else []

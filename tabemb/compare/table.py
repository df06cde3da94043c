"""The results as text: a table of errors with intervals and paired differences, and sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from tabemb.compare.digits import seconds, significant
from tabemb.compare.hints import did_you_mean
from tabemb.compare.metrics import OTHER_METRICS
from tabemb.compare.statistics import paired_differences, rank_test, signed, summarize
from tabemb.extras import need

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

GAINS = "gains are in % of the other's error, above zero where the reference is better"
FILE_WIDTH = 140
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
_DROPPED_FIRST = (
    "predict_seconds",
    "runs",
    "fit_memory_mib",
    "fit_cpu_seconds",
    "fit_seconds",
    "interval",
)
"""Columns that are dropped on a narrow terminal, in this order."""
PLAIN_WIDTH = 100
_BETWEEN, _AROUND = 3, 1
"""Characters between two columns of the terminal's table, and around them."""


def choose_reference(results: pd.DataFrame, wanted: str | None = None) -> str:
    """Choose the model that the others are compared with.

    Parameters
    ----------
    results : DataFrame
        Cells as returned by `run`.
    wanted : str, optional
        A model's label, or its name without its settings; by default the embedding net, or another
        model if no fit of the net finished.

    Returns
    -------
    str
        A label among the results.

    Raises
    ------
    ValueError
        If the wanted model has no cell.
    """
    finished = dict.fromkeys(results.loc[results["status"] == "ok", "model"])
    if wanted is None and finished:
        return matching_label(list(finished))
    return matching_label(list(dict.fromkeys(results["model"])), wanted)


def matching_label(labels: Sequence[str], wanted: str | None = None) -> str:
    """Return the label that equals or begins with the wanted name; see `choose_reference`."""
    if wanted is None:
        return next((label for label in labels if label.startswith("embedding")), labels[0])
    if wanted in labels:
        return wanted
    for label in labels:
        if label.startswith(f"{wanted}("):
            return label
    hint = did_you_mean(wanted, labels, "the models are")
    raise ValueError(f"reference must be a model of the comparison; got {wanted!r} ({hint}).")


def print_report(
    results: pd.DataFrame, reference: str | None = None, console: Console | None = None
) -> None:
    """Print the table and the verdicts of each data set, and the ranks.

    Parameters
    ----------
    results, reference
        As in `tabemb.compare.render_html`.
    console : rich.console.Console, optional
        Where to print.

    Raises
    ------
    ImportError
        If rich is not installed.
    """
    console = console or wide_console()
    reference = choose_reference(results, reference)
    for _, cells in results.groupby("dataset", sort=False):
        console.print(score_table(cells, reference, width=console.width))
        for verdict in verdicts(cells, reference):
            console.print(f"  {verdict}", markup=False, highlight=False, soft_wrap=True)
    ranks = rank_test(results)
    if ranks is not None:
        console.print(f"\n{ranks.sentence}", markup=False, highlight=False, soft_wrap=True)


def wide_console() -> Console:
    """Return the terminal or, if the output goes into a file, a console wide enough for a table."""
    need("rich", "compare")
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=FILE_WIDTH)


def score_table(
    results: pd.DataFrame,
    reference: str | None = None,
    confidence: float = 0.95,
    width: int | None = None,
) -> Table:
    """Build the terminal's table of one data set; the best model is marked, failed ones are last.

    Parameters
    ----------
    results : DataFrame
        Cells of one data set, as returned by `run`.
    reference : str, optional
        The model that the others are compared with.
    confidence : float
        Coverage of the intervals.
    width : int, optional
        Characters per line; a wider table loses its least important columns.

    Returns
    -------
    rich.table.Table
    """
    need("rich", "compare")
    from rich.table import Table

    reference = choose_reference(results, reference)
    shown = _fitting(results, reference, confidence, width, _BETWEEN, _AROUND)
    table = Table(
        title=describe(results), title_justify="left", title_style="bold", caption_justify="left"
    )
    table.caption = shown.caption
    # only the name may be wrapped, between its settings
    table.add_column(shown.head[0], overflow="fold", no_wrap=not shown.is_too_wide)
    for header in shown.head[1:]:
        table.add_column(header, justify="right", no_wrap=True)
    for row, style in zip(shown.rows, shown.styles):
        table.add_row(*row, style=style)
    return table


def plain_table(
    results: pd.DataFrame, reference: str, confidence: float = 0.95, width: int = PLAIN_WIDTH
) -> str:
    """Build the table of `score_table` as plain text, which needs no package.

    Parameters are as in `score_table`.

    Returns
    -------
    str
    """
    shown = _fitting(results, reference, confidence, width, between=2, around=0)
    widths = [max(map(len, column)) for column in zip(shown.head, *shown.rows)]
    lines = [
        "  ".join(
            [first.ljust(widths[0]), *(text.rjust(width) for text, width in zip(rest, widths[1:]))]
        )
        for first, *rest in (shown.head, *shown.rows)
    ]
    return "\n".join([describe(results), "", *(line.rstrip() for line in lines), shown.caption])


class _Shown(NamedTuple):
    """A table of texts that fits a width."""

    head: list[str]
    rows: list[list[str]]
    styles: list[str]
    caption: str
    is_too_wide: bool
    """Whether the names of the models must be wrapped, as no further column can be dropped."""


def _fitting(
    results: pd.DataFrame,
    reference: str,
    confidence: float,
    width: int | None,
    between: int,
    around: int,
) -> _Shown:
    """Return the table with as many columns as fit the width; its caption names the dropped ones."""
    names = headers(results["metric"].iloc[0], reference, confidence)
    header_of = dict(zip(_CELLS, (*names, *_HEADERS)))
    rows = formatted_rows(results, reference, confidence)
    models = ["model", *(f"{row['model']}{' *' * row['best']}" for row in rows)]
    texts = {key: [header, *(row[key] for row in rows)] for key, header in header_of.items()}
    left_out: list[str] = []

    def is_too_wide() -> bool:
        columns = [models, *(texts[key] for key in texts if key not in left_out)]
        total = sum(max(map(len, column)) + between for column in columns) - between + 2 * around
        return width is not None and total + 2 * around > width

    for key in _DROPPED_FIRST:
        left_out += [key] if is_too_wide() else []
    caption = f"* best; {GAINS}"
    if left_out:
        omitted = ", ".join(header_of[key] for key in texts if key in left_out)
        caption += f"; for want of width without {omitted}"
    kept = [models, *(column for key, column in texts.items() if key not in left_out)]
    head, *lines = [list(line) for line in zip(*kept)]
    styles = ["bold" if row["best"] else "red" if row["failed"] else "" for row in rows]
    return _Shown(head, lines, styles, caption, is_too_wide())


def describe(results: pd.DataFrame) -> str:
    """Describe the comparison on one data set in one line: target, protocol and training rows."""
    first = results.iloc[0]
    rows = f"{first['n_train']:,} training rows in fold {first['fold']}"
    return f"{first['dataset']}: {first['target']}, {first['protocol']}, {rows}"


def headers(metric: str, reference: str, confidence: float) -> tuple[str, str, str]:
    """Name the columns of the error, its interval and the paired difference."""
    # the settings of the reference are shown in its row
    return metric, f"{confidence:.0%} interval", f"{reference.partition('(')[0]} gains, %"


def decimals(summary: pd.DataFrame) -> int:
    """Choose the decimals of an error: four digits of the best, two of half the typical interval."""
    half = ((summary["high"] - summary["low"]) / 2).replace(0, np.nan).median()
    best = summary["mean"].abs().replace(0, np.nan).min()
    wanted = [
        digits - np.floor(np.log10(size)) for digits, size in ((1, half), (3, best)) if np.isfinite(size)
    ]
    return int(np.clip(max(wanted, default=4), 0, 6))


def formatted_rows(results: pd.DataFrame, reference: str, confidence: float) -> list[dict[str, Any]]:
    """Format the summary of one data set: a dict of texts for each model, the best first.

    Parameters are as in `score_table`.

    Returns
    -------
    list of dict
        The texts by column, with `model`, `best`, `failed` (the error's text) and `outcome`.
    """
    summary = summarize(results, confidence)
    differences = paired_differences(results, reference, confidence).to_dict("records")
    against = {row["model"]: row for row in differences}
    return [
        _formatted(row, against.get(row["model"]), decimals(summary))
        for row in summary.to_dict("records")
    ]


def _formatted(row: dict[Any, Any], against: dict[Any, Any] | None, places: int) -> dict[str, Any]:
    if np.isnan(row["mean"]):
        blank = dict.fromkeys((*_CELLS, *OTHER_METRICS[row["task"]]), "")
        failed = {"mean": "failed", "failed": row["error"], "outcome": "failed"}
        return {**blank, **failed, "model": row["model"], "best": False}
    texts = {name: significant(row[name]) for name in OTHER_METRICS[row["task"]]}
    texts |= {name: seconds(row[name]) for name in ("fit_seconds", "fit_cpu_seconds", "predict_seconds")}
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


def _percent(against: dict[Any, Any] | None) -> str:
    if against is None or np.isnan(against.get("percent", np.nan)):
        return ""
    middle, low, high = (signed(against[name]) for name in ("percent", "percent_low", "percent_high"))
    return f"{middle} [{low}, {high}]"


def verdicts(results: pd.DataFrame, reference: str | None = None, confidence: float = 0.95) -> list[str]:
    """Compare the reference with every other model in one sentence each, wins and losses alike.

    Parameters
    ----------
    results : DataFrame
        Cells of one data set, as returned by `run`.
    reference : str, optional
        The model that the others are compared with; the embedding net by default.
    confidence : float, default=0.95
        Coverage of the intervals.

    Returns
    -------
    list of str
    """
    differences = paired_differences(results, choose_reference(results, reference), confidence)
    # a failed reference is mentioned once, not for each model
    return list(dict.fromkeys(differences["verdict"])) if len(differences) else []

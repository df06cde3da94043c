"""Sections of the page that explain the errors: rare categories, columns, calibration, curves."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np
import pandas as pd

from tabemb.compare.detail_figures import colours, plot_calibration, plot_rarity
from tabemb.compare.digits import percent, significant
from tabemb.compare.figures import plot_curves
from tabemb.compare.html_tables import Cell, Row, bullets, html_table
from tabemb.compare.stored import (
    calibration_gap,
    calibrations,
    importance_settings,
    importance_table,
    rarity,
    stored,
)
from tabemb.compare.themes import legend, page_figure

MANY = 25
"""Columns of a data set above which the full tables are collapsed."""
_SMALL = 0.01
"""Share of the largest importance below which a column is collapsed."""


def rarity_section(cells: pd.DataFrame, reference: str, name: str) -> str:
    """Return the errors by the frequency of a row's rarest category; empty where no cell has them."""
    table = rarity(cells)
    if table.empty:
        return ""
    metric = cells["metric"].iloc[0]
    figure = page_figure(
        lambda width: plot_rarity(table, reference, metric, width),
        f"{name}-rarity",
        "Error with its 95 % interval; a triangle stands for an error beyond the scale.",
    )
    note = (
        "Each test row counts by its rarest category: how many training rows have it. Unseen: none has. "
        "A missing value is a category too."
    )
    left_out = sorted({c for one in stored(cells, "columns") for c in one["left_out"]})
    if left_out:
        note += f" Left out, as nearly every test row is unseen in them: {', '.join(left_out)}."
    shown = legend(colours(list(dict.fromkeys(table["model"])), reference))
    return f"<h3>Error by rarest category</h3>{_note(note)}{shown}{figure}{_rarity_table(table)}"


def _rarity_table(table: pd.DataFrame) -> str:
    bins = list(dict.fromkeys(table["bin"]))
    counts = table.groupby("bin")["n_rows"].max()
    errors = table.pivot(index="model", columns="bin", values="error")
    best = errors.min()
    rows = []
    for model in dict.fromkeys(table["model"]):
        values = errors.loc[model]
        kinds = ["main" if values[b] == best[b] else "" for b in bins]
        rows.append(Row(model, [Cell(significant(values[b]), kind) for b, kind in zip(bins, kinds)]))
    return html_table(["model", *(f"{b} ({counts[b]:,} rows)" for b in bins)], rows)


def importance_section(cells: pd.DataFrame) -> str:
    """Return how much each model's error rises if a column is permuted; empty if no cell has it."""
    table = importance_table(cells)
    if table.empty:
        return ""
    n_rows, slow = importance_settings(cells)
    note = (
        f"The rise of {cells['metric'].iloc[0]} when the values of a column are shuffled among "
        f"{n_rows:,} test rows: how much a model needs the column. Columns that say the same share "
        "their importance. About zero: the model does without."
    )
    if slow:
        note += f" Not measured, as its predictions take too long: {', '.join(slow)}."
    largest = max(float(table.max().max()), 1e-300)
    rows = [Row(str(name), [_rise(value, largest) for value in table.loc[name]]) for name in table.index]
    names = ["column", *table.columns]
    n_shown = min(max(int((table.max(axis=1) >= _SMALL * largest).sum()), 1), MANY)
    html = html_table(names, rows[:n_shown])
    if len(rows) > n_shown:
        summary = f"{len(rows) - n_shown} columns that matter less"
        html += _folded(summary, html_table(names, rows[n_shown:]))
    return f"<h3>Which columns the models need</h3>{_note(note)}{html}"


def _rise(value: float, largest: float) -> Cell:
    if np.isnan(value):
        return Cell("")
    return Cell(significant(value), bar=value / largest)


def calibration_section(cells: pd.DataFrame, reference: str, name: str) -> str:
    """Return predicted against observed means; empty where no cell has them."""
    tenths = calibrations(cells)
    if not tenths:
        return ""
    names, note = _calibration_words(cells)
    # a model that predicts one number for all rows has nothing to show
    drawn = {
        model: rows
        for model, rows in tenths.items()
        if np.ptp(rows["predicted"]) > rows["deviation"].min()
    }
    figure = ""
    if drawn:
        figure = page_figure(
            lambda width: plot_calibration(drawn, reference, names, width),
            f"{name}-calibration",
            "A point for each tenth of the test rows, with the 95 % interval of the observed mean.",
        )
    rows = [
        Row(model, [Cell(significant(value)) for value in calibration_gap(rows)])
        for model, rows in tenths.items()
    ]
    table = html_table(["model", "mean gap", "gap by chance alone"], rows)
    return f"<h3>Calibration</h3>{_note(note)}{figure}{table}"


_SORTED_BY = {
    "regression": "the prediction",
    "binary": "the probability of {second_class}",
    "multiclass": "the probability of their most probable class",
}
_AXES = {
    "regression": ("predicted mean", "observed mean"),
    "binary": ("predicted probability", "observed share"),
    "multiclass": ("predicted probability", "share that is right"),
}


def _calibration_words(cells: pd.DataFrame) -> tuple[tuple[str, str], str]:
    task, target = str(cells["task"].iloc[0]), cells["target"].iloc[0]
    classes = (one.get("second_class") for one in stored(cells, "columns"))
    label = next((label for label in classes if label is not None), None)
    second_class = "the second class" if label is None else f"{target} = {label}"
    sorted_by = _SORTED_BY[task].format(second_class=second_class)
    return _AXES[task], (
        f"The test rows are sorted by {sorted_by} and cut into tenths. In each tenth, the mean of "
        "the predictions should be the mean of what is observed: a point on the line. Mean gap: the "
        "mean distance from it. Gap by chance alone: that of a model without any fault on so few rows."
    )


def curve_section(cells: pd.DataFrame, name: str) -> str:
    """Return the learning curves; empty where no model has one."""
    if plot_curves(cells) is None:
        return ""

    def draw(width: float) -> Any:
        return plot_curves(cells, width)

    figure = page_figure(
        draw,
        f"{name}-curves",
        "Loss by epoch, a line for each fit. Where a line leaves the figure, the first epoch is beyond "
        "it. Training rows are read with dropout: their loss may be above that of validation rows. "
        "After the last epoch with a validation loss, those rows train too.",
    )
    return f"<h3>Learning curves</h3>{figure}"


def column_section(cells: pd.DataFrame) -> str:
    """Return a description of each column and its oddities; empty if no cell has one."""
    described = [one["columns"] for one in stored(cells, "columns")]
    if not described:
        return ""
    # all cells of a fold have the same description; the first fold stands for all
    columns = described[0]
    rows = [_column_row(column) for column in columns]
    names = ["column", "role", "levels", "missing", "unseen", "note"]
    note = (
        "Levels and missing values are those of the training rows. Unseen: the share of test rows whose "
        "category no training row has."
    )
    html = html_table(names, rows)
    if len(rows) > MANY:
        noted = [row for row, column in zip(rows, columns) if column["note"]]
        html = html_table(names, noted) if noted else ""
        html += _folded(f"All {len(rows)} columns", html_table(names, rows))
    return f"<h3>The columns</h3>{_note(note)}{html}"


def _column_row(column: dict[str, Any]) -> Row:
    unseen = "" if column["unseen"] is None else percent(column["unseen"])
    cells = [
        Cell(column["role"], "text"),
        Cell(f"{column['levels']:,}"),
        Cell(percent(column["missing"])),
        Cell(unseen),
        Cell(column["note"], "text note"),
    ]
    return Row(column["column"], cells, "noted" if column["note"] else "")


def input_notes(cells: pd.DataFrame) -> str:
    """Return how doubtful inputs were read, as a list; empty if nothing was in doubt."""
    # results of tabemb 0.2 have no notes
    texts = "\n".join(cells["notes"].dropna()) if "notes" in cells else ""
    notes = dict.fromkeys(note for note in texts.split("\n") if note)
    if not notes:
        return ""
    return f"<h3>How the inputs were read</h3>{bullets(n[:1].upper() + n[1:] for n in notes)}"


def _note(text: str) -> str:
    return f"<p class='note'>{escape(text)}</p>"


def _folded(summary: str, html: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{html}</details>"

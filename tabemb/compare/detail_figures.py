"""Figures of the details that cells store: errors by rarity, and calibration."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from tabemb.compare.columns import BINS
from tabemb.compare.digits import significant
from tabemb.compare.figures import FAR, panel_width, panels_of
from tabemb.compare.stored import calibration_gap
from tabemb.compare.themes import ACCENT, FAINT, LINE, SERIES, folded

Z = 1.96
"""Standard errors on each side of a 95 % interval."""


def colours(models: list[str], reference: str) -> dict[str, str]:
    """Return a colour for each model; the reference has the same colour in all figures."""
    others = [model for model in models if model != reference]
    return {reference: ACCENT} | {model: SERIES[i % len(SERIES)] for i, model in enumerate(others)}


def plot_rarity(table: pd.DataFrame, reference: str, metric: str, width: float = 8) -> Figure:
    """Draw the error of each model by the frequency of a row's rarest category, with 95 % intervals.

    Parameters
    ----------
    table : DataFrame
        As from `tabemb.compare.stored.rarity`.
    reference, metric : str
        The highlighted model, and the name of the error.
    width : float
        Inches.

    Returns
    -------
    Figure
    """
    figure = Figure(figsize=(width, 3.8), layout="constrained")
    axes = figure.subplots()
    models = list(dict.fromkeys(table["model"]))
    bins = [name for name, _, _ in BINS if name in set(table["bin"])]
    edge = _far_edge(table)
    for number, model in enumerate(models):
        rows = table[table["model"] == model].set_index("bin").reindex(bins)
        x = np.arange(len(bins)) + 0.5 * (number - (len(models) - 1) / 2) / max(len(models) - 1, 1)
        colour = colours(models, reference)[model]
        near = (rows["error"] <= edge).to_numpy()
        error, half = rows["error"].to_numpy()[near], Z * rows["deviation"].fillna(0).to_numpy()[near]
        axes.errorbar(x[near], error, half, fmt="o", markersize=6, elinewidth=1.6, color=colour)
        axes.plot(x[~near], np.full((~near).sum(), edge), "^", markersize=7, color=colour)
    counts = table.groupby("bin")["n_rows"].max()
    axes.set_xticks(range(len(bins)), [f"{name}\n{counts[name]:,} rows" for name in bins])
    axes.set(xlabel="training rows with a test row's rarest category", ylabel=metric)
    axes.set_xlim(-0.5, len(bins) - 0.5)
    for boundary in range(1, len(bins)):
        axes.axvline(boundary - 0.5, color=LINE, linewidth=0.8)
    axes.grid(axis="y", color=LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _far_edge(table: pd.DataFrame) -> float:
    """Return the largest error drawn to scale: the largest that is near the best one of its bin."""
    best = table.groupby("bin")["error"].transform("min")
    near = table.loc[table["error"] <= FAR * best, "error"]
    return float(near.max()) * 1.1


def plot_calibration(
    tenths: Mapping[str, pd.DataFrame], reference: str, names: tuple[str, str], width: float = 8
) -> Figure:
    """Draw predicted against observed means by tenths of the predictions, one panel per model.

    Parameters
    ----------
    tenths : mapping of str -> DataFrame
        As from `tabemb.compare.stored.calibrations`.
    reference : str
    names : (str, str)
        What is predicted and what is observed.
    width : float
        Inches.

    Returns
    -------
    Figure
    """
    figure, panels = panels_of(len(tenths), width, height=3.5, per_row=3)
    for axes, (model, rows) in zip(panels, tenths.items()):
        both = rows[["predicted", "observed"]].to_numpy()
        ends = both.min(), both.max()
        axes.plot(ends, ends, color=FAINT, linewidth=1)
        colour = colours(list(tenths), reference)[model]
        half = Z * rows["deviation"]
        axes.errorbar(rows["predicted"], rows["observed"], half, fmt="o", markersize=5, color=colour)
        gap, _ = calibration_gap(rows)
        axes.set(
            xlabel=names[0],
            ylabel=names[1],
            title=folded(f"{model}: gap {significant(gap, 3)}", panel_width(figure)),
        )
        axes.title.set(ha="left", x=0)
        axes.locator_params(nbins=5)
        axes.grid(color=LINE, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    return figure

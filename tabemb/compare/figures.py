"""Figures of a comparison: errors with intervals, time against error, learning curves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

from tabemb.compare.statistics import summarize
from tabemb.compare.table import decimals

ACCENT, PLAIN, FAINT = "#c8553d", "#2d6a8e", "#8a8a8a"
# an error above this multiple of the best is drawn at the edge, for it would flatten the rest
FAR = 1.35
MAX_CURVES = 4


def plot_scores(results: pd.DataFrame, reference: str | None = None, confidence: float = 0.95) -> Figure:
    """Draw each model's error with its interval, the best on top, with the numbers at the right.

    Parameters
    ----------
    results : DataFrame
        Cells of one data set, as returned by `run`.
    reference : str, optional
        The model that is coloured.
    confidence : float
        Coverage of the intervals.

    Returns
    -------
    Figure
    """
    summary = summarize(results, confidence).dropna(subset="mean")
    figure = Figure(figsize=(8, 0.9 + 0.32 * len(summary)), layout="constrained")
    draw_scores(figure.subplots(), summary, reference)
    return figure


def plot_time(results: pd.DataFrame, reference: str | None = None) -> Figure:
    """Draw seconds of a fit against the error: down and left is better.

    Parameters and result are as in `plot_scores`.
    """
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    draw_time(figure.subplots(), summarize(results).dropna(subset="mean"), reference)
    return figure


def plot_curves(results: pd.DataFrame) -> Figure | None:
    """Draw the learning curves of the models that have them; None where no model has.

    Parameters and result are as in `plot_scores`.
    """
    fits = with_learning_curve(results)
    if fits.empty:
        return None
    models = list(fits["model"].unique())[:MAX_CURVES]
    figure = Figure(figsize=(8, 2.9 * len(models)), layout="constrained")
    for axes, model in zip(figure.subplots(len(models), squeeze=False)[:, 0], models):
        draw_curves(axes, fits[fits["model"] == model])
    return figure


def plot_all(results: pd.DataFrame, reference: str | None = None, confidence: float = 0.95) -> Figure:
    """Draw all figures of one data set on one sheet.

    Parameters and result are as in `plot_scores`.
    """
    summary = summarize(results, confidence).dropna(subset="mean")
    fits = with_learning_curve(results)
    models = list(fits["model"].unique())[:MAX_CURVES]
    heights = [0.9 + 0.32 * len(summary), 4.0, *[2.8] * len(models)]
    figure = Figure(figsize=(8, sum(heights) + 0.4), layout="constrained")
    figure.suptitle(
        f"{results['dataset'].iloc[0]}: {results['protocol'].iloc[0]}", x=0.02, ha="left", weight="bold"
    )
    sheet = figure.subplots(len(heights), height_ratios=heights)
    draw_scores(sheet[0], summary, reference)
    draw_time(sheet[1], summary, reference)
    for axes, model in zip(sheet[2:], models):
        draw_curves(axes, fits[fits["model"] == model])
    return figure


def with_learning_curve(results: pd.DataFrame) -> pd.DataFrame:
    """Return the finished cells that hold a learning curve."""
    finished = results[results["status"] == "ok"]
    if "learning_curve" not in finished:
        return finished.iloc[:0]
    return finished[finished["learning_curve"].fillna("") != ""]


def draw_scores(axes: Axes, summary: pd.DataFrame, reference: str | None) -> None:
    """Draw the intervals of a summary of one data set."""
    rows = summary.sort_values("mean", ignore_index=True)
    edge, places = _edge(rows["mean"]), decimals(rows)
    beside = axes.get_yaxis_transform()
    for position, row in enumerate(rows.to_dict("records")):
        if row["mean"] > edge:
            axes.plot(0.985, position, marker=">", color=FAINT, markersize=7, transform=beside)
        else:
            colour = _colour(row["model"], reference)
            axes.plot(
                [row["low"], row["high"]],
                [position] * 2,
                color=colour,
                linewidth=2,
                solid_capstyle="butt",
            )
            axes.plot(row["mean"], position, "o", color=colour, markersize=6)
        text = f"{row['mean']:.{places}f}  [{row['low']:.{places}f}, {row['high']:.{places}f}]"
        axes.text(1.02, position, text, transform=beside, va="center", family="monospace", fontsize=8)
    axes.set_yticks(range(len(rows)), rows["model"])
    axes.set(ylim=(len(rows) - 0.4, -0.6), xlabel=f"{rows['metric'].iloc[0]} (smaller is better)")
    _plain(axes, grid="x")


def draw_time(axes: Axes, summary: pd.DataFrame, reference: str | None) -> None:
    """Draw time against error for a summary of one data set."""
    edge, places = _edge(summary["mean"]), decimals(summary)
    points, labels = [], []
    for row in summary.to_dict("records"):
        far = row["mean"] > edge
        colour = FAINT if far else _colour(row["model"], reference)
        points.append((max(row["fit_seconds"], 1e-3), min(row["mean"], edge)))
        labels.append((f"{row['model']} ({row['mean']:.{places}f})" if far else row["model"], colour))
        axes.plot(*points[-1], "^" if far else "o", color=colour, markersize=7, zorder=3)
    axes.set(
        xscale="log",
        xlabel="seconds of a fit",
        ylabel=f"{summary['metric'].iloc[0]} (smaller is better)",
    )
    axes.margins(x=0.16, y=0.12)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    _plain(axes, grid="both")
    _label(axes, points, labels)


# where a label may stand from its point, in typographic points, the best first
_PLACES = [
    (9 * side, step * up, "left" if side > 0 else "right")
    for step in (0, 10, 20, 30, 40)
    for side in (1, -1)
    for up in ((1, -1) if step else (1,))
]

_TIE = {"arrowstyle": "-", "color": "#b5b5b5", "linewidth": 0.7, "shrinkA": 0, "shrinkB": 4}


def _label(axes: Axes, points: Sequence[tuple[float, float]], labels: Sequence[tuple[str, str]]) -> None:
    """Write each point's label where it covers no other label, no point and not the frame."""
    figure = axes.figure
    figure.draw_without_rendering()  # type: ignore[union-attr]
    pixels = axes.transData.transform(points)
    taken = [Bbox.from_bounds(x - 6, y - 6, 12, 12) for x, y in pixels]
    for number, (point, (text, colour)) in enumerate(zip(points, labels)):
        obstacles = taken[:number] + taken[number + 1 :]
        for right, up, align in _PLACES:
            # a label that moves up or down is tied to its point by a line
            tie = _TIE if up else None
            style: dict[str, Any] = {
                "ha": align,
                "va": "center",
                "fontsize": 8.5,
                "color": colour,
                "arrowprops": tie,
            }
            note = axes.annotate(text, point, (right, up), textcoords="offset points", **style)
            # the first call moves the text and counts the line; the second measures the text alone
            note.get_window_extent()
            box = Text.get_window_extent(note)
            free = not any(box.overlaps(obstacle) for obstacle in obstacles)
            inside = axes.bbox.contains(box.x0, box.y0) and axes.bbox.contains(box.x1, box.y1)
            if (free and inside) or (right, up, align) == _PLACES[-1]:
                taken.append(box)
                break
            note.remove()


_LINES: dict[str, dict[str, Any]] = {
    "train_loss": {"color": FAINT, "linewidth": 0.8, "label": "training rows"},
    "eval_loss": {"color": PLAIN, "linewidth": 1.6, "label": "validation rows"},
}


def draw_curves(axes: Axes, cells: pd.DataFrame) -> None:
    """Draw the losses of a model's fits by epoch, of training (thin) and validation rows (bold)."""
    for number, curve in enumerate(map(json.loads, cells["learning_curve"])):
        for key, style in _LINES.items():
            losses = np.array(curve.get(key) or [], dtype=float)
            if np.isfinite(losses).any():
                epochs = curve.get("epoch", range(1, len(losses) + 1))
                # one entry in the legend stands for the lines of all fits
                axes.plot(epochs, losses, **{**style, "label": None if number else style["label"]})
    fits = f"{len(cells)} fit{'s' * (len(cells) > 1)}"
    axes.set(
        xlabel="epoch", ylabel="loss", title=f"learning curves of {cells['model'].iloc[0]} ({fits})"
    )
    axes.title.set(fontsize=9, ha="left", x=0)
    axes.legend(frameon=False, fontsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _plain(axes, grid="y")


def _edge(means: pd.Series) -> float:
    """Return the largest error drawn to scale: the largest of all where only the best would be."""
    near = means[means <= FAR * means.min()] if (means > 0).all() else means
    return float(near.max() if len(near) > 1 else means.max()) * (1 + 1e-12)


def _colour(model: str, reference: str | None) -> str:
    return ACCENT if model == reference else PLAIN


def _plain(axes: Axes, grid: str) -> None:
    axes.grid(axis=grid, color="#dddddd", linewidth=0.6)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8.5)

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
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from matplotlib.transforms import Bbox

from tabemb.compare.statistics import summarize
from tabemb.compare.table import decimals
from tabemb.compare.themes import ACCENT, FAINT, LINE, SERIES, folded

PLAIN = SERIES[0]
# an error above this multiple of the best is drawn at the edge, as it would flatten the rest
FAR = 1.35
MAX_CURVES = 6
# least width in inches for two panels side by side
WIDE_INCHES = 7.0


def plot_scores(
    results: pd.DataFrame, reference: str | None = None, confidence: float = 0.95, width: float = 8
) -> Figure:
    """Draw each model's error with its interval, the best on top, with the numbers at the right.

    Parameters
    ----------
    results : DataFrame
        Cells of one data set, as returned by `run`.
    reference : str, optional
        The highlighted model.
    confidence : float
        Coverage of the intervals.
    width : float
        Width in inches; a narrow figure has no numbers.

    Returns
    -------
    Figure
    """
    summary = summarize(results, confidence).dropna(subset="mean")
    n_lines = sum(folded(model, _name_width(width)).count("\n") for model in summary["model"])
    height = 0.9 + 0.4 * len(summary) + 0.2 * n_lines
    figure = Figure(figsize=(width, height), layout="constrained")
    draw_scores(figure.subplots(), summary, reference, width)
    return figure


def _name_width(width: float) -> float:
    """Return the width in inches that the names of models may take."""
    return 0.3 * width if width >= WIDE_INCHES else 0.4 * width


def plot_time(results: pd.DataFrame, reference: str | None = None, width: float = 8) -> Figure:
    """Draw the error against the seconds of a fit: lower left is better.

    Parameters and result are as in `plot_scores`.
    """
    figure = Figure(figsize=(width, 3.2 + 0.1 * width), layout="constrained")
    draw_time(figure.subplots(), summarize(results).dropna(subset="mean"), reference, width)
    return figure


def plot_curves(results: pd.DataFrame, width: float = 8) -> Figure | None:
    """Draw the learning curves of the models that have them; return None if no model has any.

    Parameters and result are as in `plot_scores`.
    """
    fits = with_learning_curve(results)
    if fits.empty:
        return None
    models = list(fits["model"].unique())[:MAX_CURVES]
    figure, panels = panels_of(len(models), width, height=3.4, per_row=2)
    for axes, model in zip(panels, models):
        draw_curves(axes, fits[fits["model"] == model], width=panel_width(figure))
    return figure


def panel_width(figure: Figure) -> float:
    """Return the width in inches that the title of a panel may take."""
    n_columns = figure.axes[0].get_gridspec().ncols  # type: ignore[union-attr]
    return 0.7 * figure.get_figwidth() / n_columns


def panels_of(n: int, width: float, height: float, per_row: int) -> tuple[Figure, list[Axes]]:
    """Return a figure of n panels: `per_row` side by side, or one per row in a narrow figure."""
    n_columns = min(per_row, n) if width >= WIDE_INCHES else 1
    n_rows = -(-n // n_columns)
    figure = Figure(figsize=(width, height * n_rows), layout="constrained")
    panels = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for unused in panels[n:]:
        unused.set_axis_off()
    return figure, list(panels[:n])


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
    """Return the finished cells that have a learning curve."""
    finished = results[results["status"] == "ok"]
    if "learning_curve" not in finished:
        return finished.iloc[:0]
    return finished[finished["learning_curve"].fillna("") != ""]


def draw_scores(axes: Axes, summary: pd.DataFrame, reference: str | None, width: float = 8) -> None:
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
        if width >= WIDE_INCHES:
            text = f"{row['mean']:.{places}f}  [{row['low']:.{places}f}, {row['high']:.{places}f}]"
            axes.text(1.02, position, text, transform=beside, va="center")
    axes.set_yticks(range(len(rows)), [folded(model, _name_width(width)) for model in rows["model"]])
    axes.set(ylim=(len(rows) - 0.4, -0.6), xlabel=f"{rows['metric'].iloc[0]} (smaller is better)")
    axes.locator_params(axis="x", nbins=9 if width >= WIDE_INCHES else 3)
    _plain(axes, grid="x")


def draw_time(axes: Axes, summary: pd.DataFrame, reference: str | None, width: float = 8) -> None:
    """Draw the error against the seconds of a fit for a summary of one data set."""
    edge, places = _edge(summary["mean"]), decimals(summary)
    points, labels = [], []
    for row in summary.to_dict("records"):
        far = row["mean"] > edge
        colour = FAINT if far else _colour(row["model"], reference)
        points.append((max(row["fit_seconds"], 1e-3), min(row["mean"], edge)))
        text = f"{row['model']} ({row['mean']:.{places}f})" if far else row["model"]
        labels.append((folded(text, _name_width(width)), colour))
        axes.plot(*points[-1], "^" if far else "o", color=colour, markersize=7, zorder=3)
    axes.set(
        xscale="log",
        xlabel="seconds of a fit",
        ylabel=f"{summary['metric'].iloc[0]} (smaller is better)",
    )
    axes.margins(x=0.16, y=0.12)
    _set_seconds(axes, [x for x, _ in points])
    _plain(axes, grid="both")
    _label(axes, points, labels)


def _set_seconds(axes: Axes, seconds: Sequence[float]) -> None:
    """Label a logarithmic axis of seconds: powers of ten, and steps between if there are few."""
    decades = np.log10(max(seconds) / min(seconds))
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if decades > 1.5 else (1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


# offsets of a label from its point, in typographic points, the best first
_PLACES = [
    (9 * side, step * up, "left" if side > 0 else "right")
    for step in (0, 10, 20, 30, 40)
    for side in (1, -1)
    for up in ((1, -1) if step else (1,))
]

_TIE = {"arrowstyle": "-", "color": FAINT, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 4}


def _label(axes: Axes, points: Sequence[tuple[float, float]], labels: Sequence[tuple[str, str]]) -> None:
    """Place each point's label within the axes where it covers no other label and no point."""
    figure = axes.figure
    figure.draw_without_rendering()  # type: ignore[union-attr]
    pixels = axes.transData.transform(points)
    taken = [Bbox.from_bounds(x - 6, y - 6, 12, 12) for x, y in pixels]
    for number, (point, (text, colour)) in enumerate(zip(points, labels)):
        obstacles = taken[:number] + taken[number + 1 :]
        for right, up, align in _PLACES:
            # a label that is moved up or down is connected to its point by a line
            tie = _TIE if up else None
            style: dict[str, Any] = {
                "ha": align,
                "va": "center",
                "color": colour,
                "arrowprops": tie,
            }
            note = axes.annotate(text, point, (right, up), textcoords="offset points", **style)
            # the first call positions the text and includes the line; the second measures only the text
            note.get_window_extent()
            box = Text.get_window_extent(note)
            free = not any(box.overlaps(obstacle) for obstacle in obstacles)
            inside = axes.bbox.contains(box.x0, box.y0) and axes.bbox.contains(box.x1, box.y1)
            if (free and inside) or (right, up, align) == _PLACES[-1]:
                taken.append(box)
                break
            note.remove()


_LINES: dict[str, dict[str, Any]] = {
    "train_loss": {"color": FAINT, "linewidth": 1.2, "linestyle": (0, (4, 2)), "label": "training rows"},
    "eval_loss": {"color": PLAIN, "linewidth": 1.8, "label": "validation rows"},
}
_KEPT: dict[str, Any] = {
    "color": ACCENT,
    "linestyle": ":",
    "linewidth": 1.2,
    "label": "epoch that was kept",
}


def draw_curves(axes: Axes, cells: pd.DataFrame, width: float = 8) -> None:
    """Draw the losses of a model's fits by epoch, on one scale, and mark the epoch that was kept."""
    curves = [json.loads(text) for text in cells["learning_curve"]]
    for number, curve in enumerate(curves):
        for key, style in _LINES.items():
            losses = _losses(curve, key)
            if np.isfinite(losses).any():
                # one entry in the legend stands for the lines of all fits
                label = None if number else style["label"]
                marker = "o" if len(losses) == 1 else None
                epochs = np.arange(1, len(losses) + 1)
                axes.plot(epochs, losses, marker=marker, **{**style, "label": label})
        kept = _kept_epoch(curve)
        if kept is not None:
            axes.axvline(kept + 1, **{**_KEPT, "label": None if number else _KEPT["label"]})
    fits = f"{len(cells)} fit{'s' * (len(cells) > 1)}"
    loss = next((curve["loss"] for curve in curves if "loss" in curve), "loss")
    axes.set(xlabel="epoch", ylabel=loss, title=folded(f"{cells['model'].iloc[0]} ({fits})", width))
    axes.title.set(ha="left", x=0)
    _set_readable_scale(axes, curves)
    axes.legend(frameon=False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    _plain(axes, grid="y")


def _losses(curve: dict[str, Any], key: str) -> np.ndarray:
    return np.array(curve.get(key) or [], dtype=float)


def _kept_epoch(curve: dict[str, Any]) -> int | None:
    """Return the epoch (from 0) whose weights were kept: as stored, or by the validation loss."""
    if "best_epoch" in curve:
        return int(curve["best_epoch"])
    losses = _losses(curve, "eval_loss")
    return int(np.nanargmin(losses)) if np.isfinite(losses).any() else None


def _set_readable_scale(axes: Axes, curves: Sequence[dict[str, Any]]) -> None:
    """Exclude the first epoch from the scale if it would flatten all others."""
    losses = [_losses(curve, key) for curve in curves for key in _LINES]
    later = np.concatenate([values[1:] for values in losses]) if losses else np.empty(0)
    later = later[np.isfinite(later)]
    if len(later) < 2:
        return
    low, high = float(later.min()), float(later.max())
    first = max((float(values[0]) for values in losses if len(values)), default=high)
    margin = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
    if first > high + 2 * (high - low):
        axes.set_ylim(low - margin, high + 2 * margin)


def _edge(means: pd.Series) -> float:
    """Return the largest error drawn to scale: that of all models if only the best one is near."""
    near = means[means <= FAR * means.min()] if (means > 0).all() else means
    return float(near.max() if len(near) > 1 else means.max()) * (1 + 1e-12)


def _colour(model: str, reference: str | None) -> str:
    return ACCENT if model == reference else PLAIN


def _plain(axes: Axes, grid: str) -> None:
    axes.grid(axis=grid, color=LINE, linewidth=0.6)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)

"""The picture of a space: a map whose labels do not overlap."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.text import Annotation

PLAIN, NOTHING = (
    "#3b6ea8",
    "#bdbdbd",
)  # points without a colour argument; points whose colour value is missing
# Okabe and Ito's palette: classes stay apart for colour-blind readers
CLASSES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#8C6D1F")
SMALLEST, LARGEST = (
    10.0,
    60.0,
)  # point areas in square points, of the rarest and the most frequent category
ROOMY = 500  # with more points than this each is drawn smaller, so that they do not run into each other
REACHES = (
    0.0,
    12.0,
    24.0,
    40.0,
)  # how far from its point a label may stand, in points; beyond the first by a line
MAX_CHARACTERS = 32
FONT_SIZE = 7.5
NEAR = 2.0  # points between the edge of a point and its label


def by_category(values: Any, categories: pd.Index, argument: str) -> pd.Series:
    """Return `values` in the order of `categories`; a mapping may lack some, which are then missing."""
    name = getattr(values, "name", None)
    if isinstance(values, pd.Series):
        if not values.index.is_unique:
            raise ValueError(f"{argument}: the index of a Series must hold each category once")
        values = values.to_dict()
    if isinstance(values, Mapping):
        values = _looked_up(values, categories, argument)
    values = pd.Series(values if isinstance(values, pd.Index) else list(values), name=name)
    if len(values) != len(categories):
        raise ValueError(
            f"{argument} must give {len(categories)} values, one for each category, got {len(values)}"
        )
    return values


def _looked_up(values: Mapping[Any, Any], categories: pd.Index, argument: str) -> list[Any]:
    if values and not any(category in values for category in categories):
        raise ValueError(
            f"{argument}: none of its keys is a category; its first key is {next(iter(values))!r}"
        )
    return [values.get(category) for category in categories]


def draw(
    points: np.ndarray,
    labels: pd.Series,
    colors: pd.Series | None = None,
    counts: np.ndarray | None = None,
    title: str = "",
    highlight: Sequence[int] = (),
    n_labels: int = 300,
    figsize: tuple[float, float] = (11.0, 8.0),
) -> Figure:
    """Draw n labelled points, given as (n, 2); larger counts give larger points, which are labelled first.

    The points at the positions `highlight` are labelled before all others.
    """
    figure = Figure(figsize=figsize, dpi=150, layout=ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.12))
    FigureCanvasAgg(figure)
    ax = figure.add_subplot()
    sizes = _sizes(len(points), counts)
    _scatter(ax, points, sizes, colors)
    _dress(ax, title, counts is not None)
    # labels are placed in pixels: the layout must be settled before and stay as it is after
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    order = [*highlight, *(i for i in np.argsort(-sizes, kind="stable") if i not in set(highlight))]
    labelled = [i for i in order if pd.notna(labels.iloc[i])]
    place_labels(ax, points, sizes, labels, labelled[:n_labels], bold=highlight)
    return figure


def _sizes(n_points: int, counts: np.ndarray | None) -> np.ndarray:
    """Areas of the points: the diameter grows with the fourth root of the count, so that rare ones stay visible."""
    room = np.sqrt(min(1.0, ROOMY / max(n_points, 1)))
    if counts is None or not n_points or counts.max() == 0:
        return np.full(n_points, 30.0 * room)
    return room * (SMALLEST + (LARGEST - SMALLEST) * np.sqrt(counts / counts.max()))


def _scatter(ax: Axes, points: np.ndarray, sizes: np.ndarray, colors: pd.Series | None) -> None:
    if colors is None:
        _dots(ax, points, sizes, color=PLAIN)
        return
    missing = colors.isna().to_numpy()
    _dots(ax, points[missing], sizes[missing], color=NOTHING)
    numeric = pd.api.types.is_numeric_dtype(colors) and not pd.api.types.is_bool_dtype(colors)
    paint = _paint_numbers if numeric else _paint_classes
    paint(ax, points[~missing], sizes[~missing], colors[~missing])


def _paint_numbers(ax: Axes, points: np.ndarray, sizes: np.ndarray, colors: pd.Series) -> None:
    dots = _dots(ax, points, sizes, c=colors.to_numpy(dtype=float), cmap="viridis")
    bar = ax.figure.colorbar(dots, ax=ax, shrink=0.6, pad=0.015, aspect=30)
    bar.outline.set_visible(False)
    bar.set_label("" if colors.name is None else str(colors.name))


def _paint_classes(ax: Axes, points: np.ndarray, sizes: np.ndarray, colors: pd.Series) -> None:
    classes = colors.astype(str)
    shown = classes.value_counts().index[: len(CLASSES)]
    for color, shown_class in zip(CLASSES, shown):
        chosen = (classes == shown_class).to_numpy()
        _dots(ax, points[chosen], sizes[chosen], color=color, label=_short(shown_class))
    others = ~classes.isin(shown).to_numpy()
    if others.any():
        _dots(
            ax, points[others], sizes[others], color=NOTHING, label=f"{classes[others].nunique()} others"
        )
    title = None if colors.name is None else str(colors.name)
    legend = ax.legend(title=title, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    for handle in filter(None, legend.legend_handles):
        handle.set(sizes=[30.0])  # they would have the size of some point of the class


def _dots(ax: Axes, points: np.ndarray, sizes: np.ndarray, **style: Any) -> Any:
    edge = 0.1 * np.sqrt(sizes.min(initial=LARGEST))  # white edges would hide the colour of small points
    return ax.scatter(
        points[:, 0], points[:, 1], s=sizes, linewidths=edge, edgecolors="white", alpha=0.9, **style
    )


def _dress(ax: Axes, title: str, has_counts: bool) -> None:
    ax.set_title(title, loc="left", fontsize=13, fontweight="bold", parse_math=False)
    ax.set(xticks=[], yticks=[])
    ax.margins(0.06)
    ax.spines[:].set_color("#dddddd")
    note = "Near points have similar vectors; the axes have no unit."
    ax.set_xlabel(
        note + (" Larger points stand for more rows." if has_counts else ""),
        loc="left",
        color="#666666",
        fontsize=9,
    )


def place_labels(
    ax: Axes,
    points: np.ndarray,
    sizes: np.ndarray,
    labels: pd.Series,
    order: Iterable[int],
    bold: Sequence[int] = (),
) -> list[Annotation]:
    """Write the labels of `points` in the given order beside their points; drop those that find no free place.

    A place is free when it lies inside the axes and meets no label placed before and no point. Where there is none
    beside the point, one further away is taken, with a thin line that meets no label either.
    The axes' limits and the figure's layout must be final.
    """
    centres = ax.transData.transform(points)
    pixels = ax.figure.dpi / 72
    radii = np.sqrt(sizes)[:, None] / 2 * pixels
    dots = np.hstack([centres - 0.7 * radii, centres + 0.7 * radii])  # boxes as left, bottom, right, top
    written, lines, kept = np.empty((0, 4)), np.empty((0, 4)), []
    for i in order:
        text = _text(ax, points[i], labels.iloc[i], "bold" if i in bold else "normal")
        size = np.array(text.get_window_extent().size)
        reach = 1.1 * size + 2 * radii.max() + (NEAR + max(REACHES)) * pixels + 9
        near = (np.abs(centres - centres[i]) < reach).all(axis=1)
        near[i] = False
        found = _first_place(
            ax, size, centres[i], radii[i, 0], np.vstack([dots[near], written, lines]), written
        )
        if found is None:
            text.remove()
            continue
        place, gap, box = found
        _anchor(text, place, gap / pixels)
        written = np.vstack([written, box])
        if gap > radii[i, 0] + NEAR * pixels:
            lines = np.vstack([lines, _line(centres[i], place, gap)])
            end = centres[i] + (gap - NEAR * pixels) * np.array([place.x, place.y])
            ends = ax.transData.inverted().transform([centres[i], end])
            ax.add_line(Line2D(ends[:, 0], ends[:, 1], linewidth=0.5, color="#999999", zorder=0.9))
        kept.append(text)
    return kept


def _first_place(
    ax: Axes, size: np.ndarray, centre: np.ndarray, radius: float, taken: np.ndarray, written: np.ndarray
) -> tuple[Place, float, np.ndarray] | None:
    """Return the first free place of a label of this (width, height), its gap and its box, all in pixels."""
    frame = np.asarray(ax.bbox.extents)
    for reach in REACHES:
        gap = radius + (NEAR + reach) * ax.figure.dpi / 72
        boxes = _boxes(size, centre, gap)
        for i in _free(boxes, taken, frame):
            if not reach or not _meet(_line(centre, PLACES[i], gap), written).any():
                return PLACES[i], gap, boxes[i]
    return None


def _text(ax: Axes, point: np.ndarray, label: Any, weight: str) -> Annotation:
    text = ax.annotate(_short(label), (point[0], point[1]), xytext=(0, 0), textcoords="offset points")
    # parse_math: a category may hold dollar signs, which would start a formula
    text.set(fontsize=FONT_SIZE, fontweight=weight, color="#222222", parse_math=False)
    return text


class Place(NamedTuple):
    """Where a label stands beside its point: the side of the text that faces the point, and the way there in gaps."""

    ha: Literal["left", "center", "right"]
    va: Literal["bottom", "center", "top"]
    x: float
    y: float


# the easiest to read first
PLACES = [
    Place("left", "center", 1, 0),
    Place("right", "center", -1, 0),
    Place("center", "bottom", 0, 1),
    Place("center", "top", 0, -1),
    Place("left", "bottom", 0.6, 0.6),
    Place("left", "top", 0.6, -0.6),
    Place("right", "bottom", -0.6, 0.6),
    Place("right", "top", -0.6, -0.6),
]
SHARES = {
    "left": 0.0,
    "center": 0.5,
    "right": 1.0,
    "bottom": 0.0,
    "top": 1.0,
}  # of a text before its anchor


def _boxes(size: np.ndarray, centre: np.ndarray, gap: float) -> np.ndarray:
    """Boxes, (n_places, 4), that a text of this (width, height) would fill at each place around the centre; pixels."""
    # hinting changes the width of a text with the resolution, so a picture saved at another one needs some air
    air = np.array([0.03 * size[0] + 2, 1.0])
    ways = np.array([(place.x, place.y) for place in PLACES])
    shares = np.array([(SHARES[place.ha], SHARES[place.va]) for place in PLACES])
    corners = centre + gap * ways - shares * size
    return np.hstack([corners - air, corners + size + air])


def _free(boxes: np.ndarray, taken: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Return the positions of the boxes, (m, 4), that lie in the frame, (4,), and meet none of those taken, (n, 4)."""
    inside = (boxes[:, :2] >= frame[:2]).all(axis=1) & (boxes[:, 2:] <= frame[2:]).all(axis=1)
    return np.flatnonzero(inside & ~_meet(boxes, taken))


def _meet(boxes: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """Tell for each of the boxes, (m, 4), whether it meets one of those taken, (n, 4)."""
    overlaps = (boxes[:, None, :2] < taken[:, 2:]) & (boxes[:, None, 2:] > taken[:, :2])  # (m, n, 2)
    return np.any(np.all(overlaps, axis=2), axis=1)


def _line(centre: np.ndarray, place: Place, gap: float) -> np.ndarray:
    """Boxes along the line from a point to its label, (n, 4)."""
    steps = np.linspace(0, 1, 2 + int(gap / 4))[:-1, None]
    along = centre + steps * gap * np.array([place.x, place.y])
    return np.hstack([along - 1, along + 1])


def _anchor(text: Annotation, place: Place, gap: float) -> None:
    text.set(ha=place.ha, va=place.va)
    text.xyann = (gap * place.x, gap * place.y)


def _short(label: Any) -> str:
    text = " ".join(str(label).split())
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1] + "…"

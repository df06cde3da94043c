"""The picture of a space, drawn with matplotlib: a map of points whose labels do not overlap."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from io import BytesIO
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from tabemb.extras import need
from tabemb.spaces.palette import CLASSES
from tabemb.spaces.quality import overlap_in_words
from tabemb.spaces.vectors import CategoryVectors

if TYPE_CHECKING:  # matplotlib is an optional package
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation

POINT_COLOR = "#3b6ea8"
"""Default colour of all points."""
GREY = "#bdbdbd"
"""Colour of points whose value is missing or whose class is rare."""
SMALLEST, LARGEST = 10.0, 60.0
"""Areas of the points of the rarest and the most frequent category, in square points."""
OPACITY, FAINTEST = 0.9, 0.2
"""Opacity of points of reliability one and zero."""
LEAST_SHARE = 0.4
"""Area of a point of reliability zero, as a share of the area at reliability one."""
RELIABILITIES = {
    1.0: "sure",
    0.5: "half noise",
    0.0: "faint: few rows or no effect, mostly noise",
}
"""Entries of the legend of reliability."""
MANY_POINTS = 500
"""Above this number, points are drawn smaller so that they overlap less."""
REACHES = 0.0, 12.0, 24.0, 40.0
"""Distances between a label and its point to try, in points; all but the first get a line."""
FAR = 60.0, 90.0, 130.0
"""Further distances for highlighted categories, which need a label even in crowded areas."""
PALEST = 0.55
"""Opacity of a label whose point has opacity zero."""
MAX_CHARACTERS = 32
FONT_SIZE = 7.5
LABEL_GAP = 2.0
"""Gap between the edge of a point and its label, in points."""


class Dots(NamedTuple):
    """Points, (n, 2), with their areas in square points, (n,), and opacities from 0 to 1, (n,)."""

    points: np.ndarray
    sizes: np.ndarray
    opacity: np.ndarray

    def take(self, mask: Any) -> Dots:
        """Return the points of a mask."""
        return Dots(*(values[np.asarray(mask)] for values in self))


class LabelPlace(NamedTuple):
    """A place of a label: the side of the text that faces the point, and the direction from it."""

    ha: Literal["left", "center", "right"]
    va: Literal["bottom", "center", "top"]
    x: float
    y: float


PLACES = [
    LabelPlace("left", "center", 1, 0),
    LabelPlace("right", "center", -1, 0),
    LabelPlace("center", "bottom", 0, 1),
    LabelPlace("center", "top", 0, -1),
    LabelPlace("left", "bottom", 0.6, 0.6),
    LabelPlace("left", "top", 0.6, -0.6),
    LabelPlace("right", "bottom", -0.6, 0.6),
    LabelPlace("right", "top", -0.6, -0.6),
]
"""Places in the order in which they are tried, the easiest to read first."""
SHARES = {"left": 0.0, "center": 0.5, "right": 1.0, "bottom": 0.0, "top": 1.0}
"""Share of the width or height of a text that lies left of or below its anchor."""


def draw(
    space: CategoryVectors,
    points: np.ndarray,
    color: Any = None,
    label: Any = None,
    highlight: Sequence[int] = (),
    n_labels: int = 300,
    title: str | None = None,
    figsize: tuple[float, float] = (11.0, 8.0),
) -> Figure:
    """Draw the categories at `points`, (n_levels, 2), as `EmbeddingSpace.map` describes.

    `highlight` contains positions, not categories.
    """
    labels = _by_category(space.categories if label is None else label, space.categories, "label")
    colors = None if color is None else _by_category(color, space.categories, "color")
    matplotlib = _matplotlib()
    layout = matplotlib.layout_engine.ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.12)
    figure: Figure = matplotlib.figure.Figure(figsize=figsize, dpi=150, layout=layout)
    # notebooks show other figures only once pyplot has been imported
    figure._repr_png_ = partial(_png, figure)  # type: ignore[attr-defined]
    matplotlib.backends.backend_agg.FigureCanvasAgg(figure)
    ax = figure.add_subplot()
    dots = _dots(space, points)
    _draw_points(ax, dots, colors)
    _decorate(ax, space, space.name if title is None else title)
    # labels are placed in pixels, so the layout must be final
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    order = [*highlight, *(i for i in _best_first(space, dots.sizes) if i not in set(highlight))]
    labelled = [i for i in order if pd.notna(labels.iloc[i])]
    place_labels(ax, points, dots.sizes, labels, labelled[:n_labels], highlight, dots.opacity / OPACITY)
    return figure


def _png(figure: Figure) -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _dots(space: CategoryVectors, points: np.ndarray) -> Dots:
    """Return the points of a space: large for many rows, faint and small for low reliability."""
    sure = np.ones(len(space)) if space.reliability is None else space.reliability
    sizes = _sizes(len(points), space.counts) * _share(sure)
    return Dots(points, sizes, _opacity(sure))


def _share(reliability: np.ndarray) -> np.ndarray:
    return 1 - (1 - LEAST_SHARE) * (1 - reliability)


def _opacity(reliability: np.ndarray) -> np.ndarray:
    return OPACITY - (OPACITY - FAINTEST) * (1 - reliability)


def _best_first(space: CategoryVectors, sizes: np.ndarray) -> np.ndarray:
    """Return the order of the labels: by reliability to one decimal, then by size."""
    sure = np.ones(len(space)) if space.reliability is None else space.reliability.round(1)
    return np.lexsort((-sizes, -sure))


def _matplotlib() -> ModuleType:
    """Return matplotlib with the modules that a figure outside pyplot needs."""
    package = need("matplotlib", "maps")
    for name in ("backends.backend_agg", "figure", "layout_engine", "lines"):
        need(f"matplotlib.{name}", "maps")
    return package


def _by_category(values: Any, categories: pd.Index, argument: str) -> pd.Series:
    """Return one value for each category; a category that a mapping lacks has a missing value."""
    name = getattr(values, "name", None)
    if isinstance(values, pd.Series):
        if not values.index.is_unique:
            raise ValueError(f"{argument} must be indexed by unique categories; its index repeats one.")
        values = values.to_dict()
    if isinstance(values, Mapping):
        values = _from_mapping(values, categories, argument)
    series = pd.Series(values if isinstance(values, pd.Index) else list(values), name=name)
    if len(series) != len(categories):
        raise ValueError(
            f"{argument} must hold {len(categories)} values, one for each category; got {len(series)}."
        )
    return series


def _from_mapping(values: Mapping[Any, Any], categories: pd.Index, argument: str) -> list[Any]:
    if values and not any(category in values for category in categories):
        raise ValueError(
            f"{argument} must map categories to values; none of its keys is a category, "
            f"the first is {next(iter(values))!r}."
        )
    return [values.get(category) for category in categories]


def _sizes(n_points: int, counts: np.ndarray | None) -> np.ndarray:
    """Return the areas of the points.

    The diameter grows with the fourth root of the count, so that rare categories stay visible.
    """
    shrinkage = np.sqrt(min(1.0, MANY_POINTS / max(n_points, 1)))
    if counts is None or not n_points or counts.max() == 0:
        return np.full(n_points, 30.0 * shrinkage)
    areas: np.ndarray = shrinkage * (SMALLEST + (LARGEST - SMALLEST) * np.sqrt(counts / counts.max()))
    return areas


def _draw_points(ax: Axes, dots: Dots, colors: pd.Series | None) -> None:
    if colors is None:
        _fade(_scatter(ax, dots, color=POINT_COLOR), dots)
        return
    missing = dots.take(colors.isna().to_numpy())
    _fade(_scatter(ax, missing, color=GREY), missing)
    numeric = pd.api.types.is_numeric_dtype(colors) and not pd.api.types.is_bool_dtype(colors)
    draw_values = _draw_numbers if numeric else _draw_classes
    draw_values(ax, dots.take(colors.notna().to_numpy()), colors.dropna())


def _draw_numbers(ax: Axes, dots: Dots, colors: pd.Series) -> None:
    drawn = _scatter(ax, dots, c=colors.to_numpy(dtype=float), cmap="viridis")
    bar = ax.figure.colorbar(drawn, ax=ax, shrink=0.6, pad=0.015, aspect=30)
    bar.outline.set_visible(False)
    bar.set_label("" if colors.name is None else str(colors.name), parse_math=False)
    _fade(drawn, dots)


def _draw_classes(ax: Axes, dots: Dots, colors: pd.Series) -> None:
    classes = colors.astype(str)
    frequent = classes.value_counts().index[: len(CLASSES)]
    parts, entries = [dots.take(classes == name) for name in frequent], [*map(_short, frequent)]
    rare = ~classes.isin(frequent)
    if rare.any():
        parts.append(dots.take(rare))
        entries.append(f"{classes[rare].nunique()} others")
    hues = [*CLASSES[: len(frequent)], GREY]
    handles = [_scatter(ax, part, color=color) for part, color in zip(parts, hues)]
    # entries are passed, because a legend omits labels that start with an underscore by default
    legend = ax.legend(handles, entries, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    legend.set_title("" if colors.name is None else str(colors.name))
    for text in (legend.get_title(), *legend.get_texts()):
        text.set_parse_math(False)  # as in `_text`
    for handle in filter(None, legend.legend_handles):
        handle.set(sizes=[30.0])  # by default the size of an arbitrary point of the class
    for drawn, part in zip(handles, parts):
        _fade(drawn, part)


def _scatter(ax: Axes, dots: Dots, **style: Any) -> Any:
    edge = 0.1 * np.sqrt(dots.sizes.min(initial=LARGEST))  # wide white edges would hide small points
    style |= {"linewidths": edge, "edgecolors": "white", "alpha": OPACITY}
    return ax.scatter(dots.points[:, 0], dots.points[:, 1], s=dots.sizes, **style)


def _fade(drawn: Any, dots: Dots) -> None:
    """Set the opacity of each point; legends and scales, which take a single one, are drawn before."""
    if len(dots.opacity):
        drawn.set_alpha(dots.opacity)


def _decorate(ax: Axes, space: CategoryVectors, title: str) -> None:
    ax.set_title(title, loc="left", fontsize=13, fontweight="bold", parse_math=False)
    ax.set(xticks=[], yticks=[])
    ax.margins(0.06)
    ax.spines[:].set_color("#dddddd")
    note = "Near points have similar vectors; the axes have no unit."
    if space.counts is not None:
        note += " Larger points stand for more rows."
    lines = [note] if space.reliability is None else [note, overlap_in_words(space)]
    ax.set_xlabel("\n".join(filter(None, lines)), loc="left", color="#666666", fontsize=9)
    if space.reliability is not None:
        _add_reliability(ax)


def _add_reliability(ax: Axes) -> None:
    """Add a legend below the axes that explains faint and small points."""
    steps = np.array(list(RELIABILITIES))
    samples = [
        ax.scatter([], [], s=30 * share, color=POINT_COLOR, alpha=opacity, linewidths=0)
        for share, opacity in zip(_share(steps), _opacity(steps))
    ]
    ax.figure.legend(
        samples,
        list(RELIABILITIES.values()),
        loc="outside lower left",
        ncols=len(samples),
        frameon=False,
        fontsize=9,
        labelcolor="#666666",
        handletextpad=0.2,
        columnspacing=1.2,
        borderaxespad=0.2,
    )


def place_labels(
    ax: Axes,
    points: np.ndarray,
    sizes: np.ndarray,
    labels: pd.Series,
    order: Iterable[int],
    bold: Sequence[int] = (),
    strength: np.ndarray | None = None,
) -> list[Annotation]:
    """Write labels next to their points in the given order, and drop those without a free place.

    A place is free if it lies inside the axes and overlaps no point and no earlier label. If no place
    next to the point is free, a place further away is used, with a thin line that crosses no label.
    Labels in `bold` may be furthest away. `strength`, from 0 to 1 for each point, makes the labels of
    weak points paler. The limits of the axes and the layout of the figure must be final.
    """
    matplotlib = _matplotlib()
    centers = ax.transData.transform(points)
    pixels = ax.figure.dpi / 72
    radii = np.sqrt(sizes)[:, None] / 2 * pixels
    # boxes have the form left, bottom, right, top
    dots = np.hstack([centers - 0.7 * radii, centers + 0.7 * radii])
    written, lines, kept = np.empty((0, 4)), np.empty((0, 4)), []
    for i in order:
        text = _text(ax, points[i], labels.iloc[i], "bold" if i in bold else "normal")
        size = np.array(text.get_window_extent().size)
        reaches = (*REACHES, *FAR) if i in bold else REACHES
        reach = 1.1 * size + 2 * radii.max() + (LABEL_GAP + max(reaches)) * pixels + 9
        near = (np.abs(centers - centers[i]) < reach).all(axis=1)
        near[i] = False
        obstacles = np.vstack([dots[near], written, lines])
        placed = _first_place(ax, size, centers[i], radii[i, 0], obstacles, written, reaches)
        if placed is None:
            text.remove()
            continue
        place, gap, box = placed
        _anchor(text, place, gap / pixels)
        text.set_alpha(None if strength is None else PALEST + (1 - PALEST) * strength[i])
        written = np.vstack([written, box])
        if gap > radii[i, 0] + LABEL_GAP * pixels:
            lines = np.vstack([lines, _line_boxes(centers[i], place, gap)])
            end = centers[i] + (gap - LABEL_GAP * pixels) * np.array([place.x, place.y])
            x, y = ax.transData.inverted().transform([centers[i], end]).T
            ax.add_line(matplotlib.lines.Line2D(x, y, linewidth=0.5, color="#999999", zorder=0.9))
        kept.append(text)
    return kept


def _first_place(
    ax: Axes,
    size: np.ndarray,
    center: np.ndarray,
    radius: float,
    obstacles: np.ndarray,
    written: np.ndarray,
    reaches: Sequence[float],
) -> tuple[LabelPlace, float, np.ndarray] | None:
    """Return the first free place of a label of this (width, height), its gap and its box, in pixels."""
    frame = np.asarray(ax.bbox.extents)
    for reach in reaches:
        gap = radius + (LABEL_GAP + reach) * ax.figure.dpi / 72
        boxes = _label_boxes(size, center, gap)
        for i in _free(boxes, obstacles, frame):
            if not reach or not _overlap(_line_boxes(center, PLACES[i], gap), written).any():
                return PLACES[i], gap, boxes[i]
    return None


def _text(ax: Axes, point: np.ndarray, label: Any, weight: str) -> Annotation:
    text = ax.annotate(_short(label), (point[0], point[1]), xytext=(0, 0), textcoords="offset points")
    # parse_math: a dollar sign in a category would start a formula
    text.set(fontsize=FONT_SIZE, fontweight=weight, color="#222222", parse_math=False)
    return text


def _label_boxes(size: np.ndarray, center: np.ndarray, gap: float) -> np.ndarray:
    """Return the boxes, (n_places, 4), of a text of this (width, height) around a point, in pixels."""
    # hinting changes the width of a text with the resolution, and a picture may be saved at another one
    margin = np.array([0.03 * size[0] + 2, 1.0])
    directions = np.array([(place.x, place.y) for place in PLACES])
    shares = np.array([(SHARES[place.ha], SHARES[place.va]) for place in PLACES])
    corners = center + gap * directions - shares * size
    return np.hstack([corners - margin, corners + size + margin])


def _free(boxes: np.ndarray, obstacles: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Return the indices of boxes, (m, 4), inside the frame, (4,), that overlap no obstacle, (n, 4)."""
    inside = (boxes[:, :2] >= frame[:2]).all(axis=1) & (boxes[:, 2:] <= frame[2:]).all(axis=1)
    return np.flatnonzero(inside & ~_overlap(boxes, obstacles))


def _overlap(boxes: np.ndarray, obstacles: np.ndarray) -> np.ndarray:
    """Return for each box, (m, 4), whether it overlaps an obstacle, (n, 4)."""
    overlaps = (boxes[:, None, :2] < obstacles[:, 2:]) & (boxes[:, None, 2:] > obstacles[:, :2])
    overlaps_any: np.ndarray = np.any(np.all(overlaps, axis=2), axis=1)  # (m, n, 2) to (m,)
    return overlaps_any


def _line_boxes(center: np.ndarray, place: LabelPlace, gap: float) -> np.ndarray:
    """Return boxes along the line from a point to its label, (n, 4)."""
    steps = np.linspace(0, 1, 2 + int(gap / 4))[:-1, None]
    along = center + steps * gap * np.array([place.x, place.y])
    return np.hstack([along - 1, along + 1])


def _anchor(text: Annotation, place: LabelPlace, gap: float) -> None:
    text.set(ha=place.ha, va=place.va)
    text.xyann = (gap * place.x, gap * place.y)


def _short(label: Any) -> str:
    text = " ".join(str(label).split())
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1] + "…"

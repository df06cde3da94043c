"""Figures in a page: drawn once for wide and once for narrow windows, in the colours of the page."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

INK, SOFT, LINE = "#1c2429", "#5d6a72", "#d9dee1"
ACCENT, FAINT = "#c8553d", "#8a8a8b"
SERIES = ("#2d6a8e", "#3f8f5f", "#8a6fb0", "#b8892b", "#b04a7a", "#4d8f9a", "#7a7a3a")
VARIABLES = {
    INK: "ink",
    SOFT: "soft",
    LINE: "line",
    ACCENT: "accent",
    FAINT: "faint",
    **{colour: f"series-{i}" for i, colour in enumerate(SERIES)},
}
"""The page's variable that replaces each colour of a figure, as it differs in dark mode."""
WIDE, NARROW = 1120, 380
"""Widths in pixels of the two drawings; windows of up to 700 pixels show the narrow one."""
_POINTS = 72
STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 12.5,
    "axes.labelsize": 12.5,
    "axes.titlesize": 13,
    "legend.fontsize": 12.5,
    "text.color": INK,
    "axes.labelcolor": SOFT,
    "axes.edgecolor": SOFT,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
}

_LETTERS = 10
"""Letters of average width that fit an inch."""


def folded(text: str, width: float) -> str:
    """Wrap a text to a width in inches, after a space, a bracket or an equals sign.

    Examples
    --------
    >>> print(folded("lightgbm(n_estimators=200)", 2.3))
    lightgbm(n_estimators=
    200)
    """
    n_letters = max(int(width * _LETTERS), 8)
    lines = [""]
    for part in re.findall(r"[^\s(=]*(?:[(=]|\s+|$)", text):
        while len(lines[-1] + part.rstrip()) > n_letters:
            free = n_letters - len(lines[-1]) if len(part.rstrip()) > n_letters else 0
            lines[-1] += part[:free]
            lines.append("")
            part = part[free:]
        lines[-1] += part
    return "\n".join(line.rstrip() for line in lines if line.strip())


Draw = Callable[[float], Figure]
"""Takes a width in inches and returns a figure."""


def page_figure(draw: Draw, name: str, caption: str) -> str:
    """Return a figure as HTML, drawn for wide and for narrow windows.

    Parameters
    ----------
    draw : callable
        Takes a width in inches and returns a figure.
    name : str
        Prefix of the ids in the drawing; it must be unique on the page.
    caption : str

    Returns
    -------
    str
    """
    drawings = "".join(
        f'<div class="{kind}">{_svg(draw, pixels, f"{name}-{kind}", caption)}</div>'
        for kind, pixels in (("on-wide", WIDE), ("on-narrow", NARROW))
    )
    return f"<figure>{drawings}<figcaption>{escape(caption)}</figcaption></figure>"


def _svg(draw: Draw, pixels: int, name: str, caption: str) -> str:
    buffer = io.StringIO()
    style: Any = {**STYLE, "svg.hashsalt": name}
    with mpl.rc_context(style):
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        draw(pixels / _POINTS).savefig(buffer, format="svg", metadata=nothing)
    return themed(buffer.getvalue(), name, caption)


def themed(svg: str, name: str, caption: str) -> str:
    """Return an SVG drawing for use within a page, with the page's colours and fonts.

    Parameters
    ----------
    svg : str
        The drawing as matplotlib writes it.
    name, caption : str
        Prefix of its ids, and the text that screen readers read instead of it.

    Returns
    -------
    str
    """
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg)
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="\w+">', "<g>", svg)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r"font-family: [^;\"]*(?:; )?", "", svg)
    svg = re.sub(r"font: ([^;\"]*?)(\d[\d.]*px)[^;\"]*", _font, svg)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable})")
    size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    assert size is not None
    head = f'<svg role="img" aria-label="{escape(caption, quote=True)}" viewBox="{size[0][9:-1]}"'
    return re.sub(r"<svg [^>]*", lambda _: head, svg, count=1)


def _font(style: re.Match[str]) -> str:
    """Return only size and weight of a font, so that the font family is that of the page."""
    weight = "font-weight: 600; " if "bold" in style[1] or "700" in style[1] else ""
    return f"{weight}font-size: {style[2]}"


def legend(colours: Mapping[str, str]) -> str:
    """Return an HTML legend of names and colours that wraps to the width of the page."""
    items = "".join(
        f"<li><i style='background: var(--{VARIABLES[colour]})'></i>{escape(name)}</li>"
        for name, colour in colours.items()
    )
    return f"<ul class='legend'>{items}</ul>"

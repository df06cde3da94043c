"""Draw the pictures of docs/explanation/how_it_works.md: `python docs/images/draw.py` writes them.

A drawing uses the colours of the theme if it is part of the HTML of a page, and the colours of the
system if it is shown as a file.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

HERE = Path(__file__).resolve().parent
LIGHT = (
    "--ink:#1f2933;--soft:#61707f;--line:#8795a1;"
    "--a:#cfe3f7;--b:#fbe3c4;--c:#d6efd8;--d:#eadcf5;--n:#eef1f4"
)
DARK = (
    "--ink:#e8edf2;--soft:#a9b6c2;--line:#7d8b98;"
    "--a:#1f4468;--b:#66471c;--c:#24502c;--d:#4a3560;--n:#2b333b"
)
STYLE = (
    f".drawing{{{LIGHT}}}@media (prefers-color-scheme:dark){{.drawing{{{DARK}}}}}"
    f'html[data-theme="light"] .drawing{{{LIGHT}}}html[data-theme="dark"] .drawing{{{DARK}}}'
    ".drawing text{font-family:system-ui,'DejaVu Sans',sans-serif;fill:var(--ink)}"
)


class Drawing:
    """Shapes on a canvas, in pixels from the upper left corner."""

    def __init__(self, name: str, title: str, width: int, height: int) -> None:
        self.name, self.title, self.width, self.height = name, title, width, height
        self.parts: list[str] = []

    def box(
        self, x: float, y: float, w: float, h: float, *lines: str, fill: str = "n", size: int = 14
    ) -> None:
        """Draw a rounded box with lines of text in its middle; the first one is bold."""
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="6" '
            f'fill="var(--{fill})" stroke="var(--line)"/>'
        )
        step = size * 1.3
        first = y + h / 2 - (len(lines) - 1) * step / 2 + size * 0.35
        for i, line in enumerate(lines):
            self.text(
                x + w / 2,
                first + i * step,
                line,
                size if i == 0 else size - 2,
                bold=i == 0 and len(lines) > 1,
            )

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: int = 13,
        anchor: str = "middle",
        bold: bool = False,
        soft: bool = False,
    ) -> None:
        """Write a line."""
        weight = ' font-weight="600"' if bold else ""
        colour = ' style="fill:var(--soft)"' if soft else ""
        self.parts.append(
            f'<text x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}"{weight}{colour}>'
            f"{escape(text)}</text>"
        )

    def line(self, *points: tuple[float, float], arrow: bool = False, dashed: bool = False) -> None:
        """Draw a line through points, with an arrow at its end if asked."""
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        end = f' marker-end="url(#{self.name}-arrow)"' if arrow else ""
        dash = ' stroke-dasharray="4 4"' if dashed else ""
        self.parts.append(
            f'<polyline points="{path}" fill="none" stroke="var(--line)" stroke-width="1.6"{end}{dash}/>'
        )

    def arrow(self, *points: tuple[float, float]) -> None:
        """Draw an arrow through points."""
        self.line(*points, arrow=True)

    def dot(self, x: float, y: float, r: float, fill: str = "a") -> None:
        """Draw a dot."""
        self.parts.append(
            f'<circle cx="{x:g}" cy="{y:g}" r="{r:g}" '
            f'fill="var(--{fill})" stroke="var(--ink)" stroke-width="1.2"/>'
        )

    def svg(self) -> str:
        """Return the drawing as a file."""
        arrow = (
            f'<defs><marker id="{self.name}-arrow" viewBox="0 0 10 10" refX="9" refY="5" '
            'markerWidth="7" markerHeight="7" orient="auto-start-reverse">'
            '<path d="M0,0 L10,5 L0,10 z" fill="var(--line)"/></marker></defs>'
        )
        return (
            '<svg class="drawing" xmlns="http://www.w3.org/2000/svg" '
            f'viewBox="0 0 {self.width} {self.height}" role="img" '
            f'aria-label="{escape(self.title)}">\n<style>{STYLE}</style>\n{arrow}\n'
            + "\n".join(self.parts)
            + "\n</svg>\n"
        )


def network() -> Drawing:
    """Draw how one row goes through the network."""
    d = Drawing(
        "network", "A row goes through four kinds of inputs into shared layers and heads", 760, 470
    )
    rows = [
        ("city = Bonn", "n", "table of vectors", "vector of Bonn", "a"),
        ("size = 3.2", "n", "scale, 48 bins", "vector of 3.2", "b"),
        ("city, city × kind, ...", "n", "effects, out-of-fold", "effect, log of count", "c"),
        ("all columns", "n", "boosted trees, out-of-fold", "score", "c"),
        ("history of events", "n", "recurrent net", "last, mean, maximum", "d"),
    ]
    d.text(85, 24, "a row", bold=True)
    d.text(300, 24, "how it is read", bold=True)
    d.text(520, 24, "inputs of the layers", bold=True)
    for i, (cell, fill, reader, result, colour) in enumerate(rows):
        y = 40 + 58 * i
        d.box(10, y, 150, 42, cell, fill=fill, size=13)
        d.arrow((160, y + 21), (205, y + 21))
        d.box(205, y, 190, 42, reader, fill=colour, size=13)
        d.arrow((395, y + 21), (440, y + 21))
        d.box(440, y, 160, 42, result, fill=colour, size=13)
        d.line((600, y + 21), (650, y + 21))
    d.line((650, 61), (650, 293))
    d.arrow((650, 293), (650, 365), (600, 365))
    d.text(662, 180, "joined", anchor="start", soft=True)
    d.box(400, 340, 200, 50, "two hidden layers", "shared by all members", fill="a")
    d.arrow((400, 365), (350, 365))
    d.box(190, 340, 160, 50, "a head", "for each member", fill="b")
    d.arrow((190, 365), (150, 365))
    d.box(10, 340, 140, 50, "prediction", "mean of members", fill="n")
    d.arrow((190, 430), (80, 430), (80, 392))
    d.box(
        190,
        410,
        410,
        40,
        "biases: each category adds a number to the output directly",
        fill="n",
        size=13,
    )
    return d


def effects() -> Drawing:
    """Draw means of levels before and after shrinkage, with strength 8 and a mean of all rows of 50."""
    d = Drawing("effects", "Mean targets of five categories, and their shrunken means", 760, 330)
    left, right, low, high, strength, mean = 190, 690, 20.0, 80.0, 8.0, 50.0

    def x(value: float) -> float:
        return left + (right - left) * (value - low) / (high - low)

    levels = [
        ("Bonn", 400, 66.0),
        ("Rome", 60, 38.0),
        ("Oslo", 12, 70.0),
        ("Turin", 3, 26.0),
        ("Lyon", 1, 76.0),
    ]
    d.text(20, 28, "category", anchor="start", bold=True)
    d.text(130, 28, "rows", bold=True)
    d.text((left + right) / 2, 28, "mean target of its rows  →  shrunken mean", bold=True)
    for i, (name, count, value) in enumerate(levels):
        y = 66 + 44 * i
        shrunken = mean + count / (count + strength) * (value - mean)
        d.text(20, y + 5, name, anchor="start", size=14)
        d.text(130, y + 5, str(count), size=14)
        d.line((left, y), (right, y), dashed=True)
        if abs(x(value) - x(shrunken)) > 20:
            d.arrow((x(value), y), (x(shrunken) + (9 if shrunken < value else -9), y))
        d.dot(x(value), y, 5, "n")
        d.dot(x(shrunken), y, 8, "c")
    d.line((x(mean), 44), (x(mean), 270))
    d.text(x(mean), 292, "mean of all rows", soft=True)
    for value in (20, 30, 40, 60, 70, 80):
        d.text(x(value), 292, str(value), soft=True, size=12)
    d.dot(210, 316, 5, "n")
    d.text(222, 321, "mean of the rows", anchor="start")
    d.dot(400, 316, 8, "c")
    d.text(415, 321, "shrunken by n / (n + 8); minus 50: the effect", anchor="start")
    return d


def out_of_fold() -> Drawing:
    """Draw which rows the effects of a fold are computed from."""
    d = Drawing("out-of-fold", "The effects of the rows of a fold come from all other folds", 760, 280)
    d.text(20, 28, "training rows, in ten folds", anchor="start", bold=True)
    for i in range(10):
        is_own = i == 3
        d.box(20 + 72 * i, 44, 64, 46, f"fold {i + 1}", fill="b" if is_own else "a", size=13)
        if not is_own:
            d.line((52 + 72 * i, 90), (52 + 72 * i, 122))
    d.line((52, 122), (700, 122))
    d.arrow((480, 122), (480, 150))
    d.box(370, 150, 220, 52, "sums and counts by level", "from the nine other folds", fill="a")
    d.arrow((370, 176), (268, 176), (268, 92))
    d.text(256, 150, "effects of", anchor="end", size=13)
    d.text(256, 167, "the rows of fold 4", anchor="end", size=13)
    d.text(
        20,
        240,
        "No row of fold 4 has a part in the effects that it reads. The other folds are treated alike,",
        anchor="start",
    )
    d.text(
        20,
        260,
        "and new folds are drawn in later epochs. New rows read the effects of all training rows.",
        anchor="start",
    )
    return d


def members() -> Drawing:
    """Draw members that share layers, each with its own scales and head."""
    d = Drawing(
        "members", "Members share tables and layers and differ in their scales and heads", 760, 300
    )
    d.box(10, 120, 120, 60, "inputs", "of a row", fill="n")
    d.box(350, 30, 150, 240, "hidden layers", "one set of weights,", "used by all members", fill="a")
    for i in range(4):
        y = 30 + 64 * i
        d.arrow((130, 150), (180, y + 24))
        d.box(180, y, 120, 48, f"× scale {i + 1}", "of each input", fill="b")
        d.arrow((300, y + 24), (350, y + 24))
        d.arrow((500, y + 24), (545, y + 24))
        d.box(545, y, 90, 48, f"head {i + 1}", fill="b")
        d.line((635, y + 24), (665, 150))
    d.box(665, 120, 85, 60, "mean", fill="n")
    return d


def responses() -> Drawing:
    """Draw how a category gets its vector in a space."""
    d = Drawing("responses", "From predictions in reference rows to the vectors of a space", 760, 330)
    d.text(20, 26, "64 training rows, the same for all categories", anchor="start", bold=True)
    for i, row in enumerate(["  ?      3.2   red", "  ?      0.7   blue", "  ?      ...   ..."]):
        y = 40 + 34 * i
        d.box(20, y, 62, 28, "city", fill="b", size=13)
        d.box(86, y, 130, 28, row.replace("?", "").strip(), fill="n", size=13)
    d.text(20, 166, "each city in turn takes its place,", anchor="start", soft=True)
    d.text(20, 183, "with what depends on it", anchor="start", soft=True)
    d.arrow((220, 90), (268, 90))
    d.box(268, 60, 110, 60, "model", "with all its parts", fill="a")
    d.arrow((378, 90), (420, 90))
    d.text(585, 26, "predictions minus their mean over cities", bold=True)
    values = [
        ("Bonn", [0.9, 0.4, 0.7, 0.8]),
        ("Rome", [-0.8, -0.3, -0.9, -0.6]),
        ("Oslo", [0.8, 0.5, 0.6, 0.9]),
    ]
    for i, (name, answers) in enumerate(values):
        y = 40 + 34 * i
        d.text(428, y + 20, name, anchor="start", size=14)
        for j, value in enumerate(answers):
            d.box(480 + 62 * j, y, 56, 28, f"{value:+.1f}", fill="c" if value > 0 else "d", size=13)
    d.text(604, 160, "64 columns, or 64 times the classes", soft=True)
    d.arrow((604, 172), (604, 205))
    d.box(480, 205, 248, 48, "leading axes", "each scaled to the root of its deviation", fill="a")
    d.arrow((480, 229), (380, 229))
    d.line((120, 310), (370, 310))
    d.line((120, 310), (120, 205))
    for name, x, y in [("Bonn", 300, 240), ("Oslo", 322, 262), ("Rome", 160, 285)]:
        d.dot(x, y, 7, "b")
        d.text(x + 12, y + 5, name, anchor="start")
    d.text(245, 326, "the space: Bonn and Oslo are near, as the model answers alike", soft=True)
    return d


DRAWINGS = [network, effects, out_of_fold, members, responses]


def main() -> None:
    """Write all drawings."""
    for draw in DRAWINGS:
        (HERE / f"{draw.__name__}.svg").write_text(draw().svg(), encoding="utf-8")


if __name__ == "__main__":
    main()

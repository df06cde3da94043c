"""Tables of the page; on a phone, each row is a card with the column names before the values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

_BAR = 6
"""Length of the longest bar, in letters of the page."""


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Parameters
    ----------
    text : str
    kind : str
        Its CSS class: "main", "better", "text" (aligned left), ...
    bar : float, optional
        Length of a bar below the text, from 0 to 1.
    n_columns : int
        Columns that it spans.
    """

    text: str
    kind: str = ""
    bar: float | None = None
    n_columns: int = 1

    def html(self, name: str) -> str:
        """Return the cell as HTML, for a column of this name."""
        # equal values have bars of equal length, whatever the widths of their columns
        bar = "" if self.bar is None else f"<i style='width:{_BAR * max(self.bar, 0):.2f}rem'></i>"
        across = f" colspan='{self.n_columns}'" if self.n_columns > 1 else ""
        kind = f"{self.kind} bar".strip() if bar else self.kind
        label = f" data-label='{escape(name, quote=True)}'"
        return f"<td class='{kind}'{across}{label}><span>{escape(self.text)}</span>{bar}</td>"


@dataclass(frozen=True)
class Row:
    """A row of a table: its name, its other cells, and its CSS class."""

    name: str
    cells: Sequence[Cell]
    kind: str = ""


def html_table(names: Sequence[str], rows: Iterable[Row]) -> str:
    """Return a table as HTML.

    Parameters
    ----------
    names : sequence of str
        Names of the columns; the first is the heading of the row names.
    rows : iterable of Row

    Returns
    -------
    str
    """
    rows = list(rows)
    columns = [[row.cells[i] for row in rows if i < len(row.cells)] for i in range(len(names) - 1)]
    texts = [bool(cells) and all("text" in cell.kind for cell in cells) for cells in columns]
    kinds = ["", *(" class='text'" if is_text else "" for is_text in texts)]
    head = "".join(f"<th{kind}>{escape(name)}</th>" for name, kind in zip(names, kinds))
    body = "".join(_row(row, names[1:]) for row in rows)
    return f"<table class='cards'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _row(row: Row, names: Sequence[str]) -> str:
    cells = "".join(cell.html(name) for cell, name in zip(row.cells, names))
    return f"<tr class='{row.kind}'><td>{escape(row.name)}</td>{cells}</tr>"


def bullets(sentences: Iterable[str]) -> str:
    """Return sentences as an HTML list."""
    return f"<ul>{''.join(f'<li>{escape(sentence)}</li>' for sentence in sentences)}</ul>"

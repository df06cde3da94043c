"""Summary: facts of a fitted estimator and a line for each of its columns, as text, HTML or a frame."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd

from tabemb.estimators.card import Statements, card

WIDTH = 100
"""Characters of a line of text."""
LONGEST_TABLE = 14
"""Longest name of a table in the text; the frame and the HTML have names in full."""
UNKNOWN = "-"
"""Text for a fact that is not known."""
COLUMNS = (
    "column",
    "role",
    "table",
    "levels",
    "missing",
    "width",
    "explained",
    "reliability",
    "overlap",
)
SOMETIMES = {"table", "reliability", "overlap"}
"""Columns that are shown only if they have a value."""
TITLES = {"explained": "share of the variance of y that the effects of the column explain"} | {
    "levels": "categories of its table",
    "missing": "share of the training rows without a value",
    "width": "width of its vector",
    "reliability": "share of its vectors that is signal, 0 to 1: the mean over the rows",
    "overlap": "of five neighbours, the share that a model of other rows would have too",
    "table": "embedding table, where it has another name than the column",
}
TEXT_COLUMNS = {"column", "role", "table"}
# semi-transparent greys and inherited colours are readable on light and on dark notebooks
STYLE = """
.tabemb-summary { font: 13px/1.45 system-ui, sans-serif; color: inherit; max-width: 60rem; }
.tabemb-summary h4 { font-size: 15px; margin: 0 0 .3em; }
.tabemb-summary dl { display: flex; flex-wrap: wrap; gap: .1em 1.4em; margin: 0 0 .7em; }
.tabemb-summary dl div { display: flex; gap: .4em; }
.tabemb-summary dt { opacity: .65; font-weight: normal; }
.tabemb-summary dd { margin: 0; }
.tabemb-summary .lines { overflow: auto; max-height: 42em; }
.tabemb-summary table { font: inherit; border-collapse: collapse; margin: 0; color: inherit;
  background: none; }
.tabemb-summary th, .tabemb-summary td { text-align: right; padding: .18em .7em; white-space: nowrap;
  border: 0; border-bottom: 1px solid rgb(128 128 128 / .3); background: none; }
.tabemb-summary th { font-weight: 600; opacity: .75; }
.tabemb-summary .text { text-align: left; }
.tabemb-summary td.share { min-width: 9em;
  background: linear-gradient(rgb(64 140 220 / .38) 0 0) no-repeat right / var(--share) 72%; }
.tabemb-summary details { margin-top: .5em; }
.tabemb-summary pre { margin: .3em 0; white-space: pre-wrap; color: inherit; background: none; }
"""


@dataclass(frozen=True, repr=False)
class Summary:
    """The summary of a fitted estimator: print it, let a notebook display it, or take its frame.

    Parameters
    ----------
    title : str
        The class of the estimator.
    facts : dict of name -> value
        Facts of the fit as a whole; None stands for an unknown one.
    columns : DataFrame
        One row for each column of X, or field of its events; `RowEstimator.summary` describes it.
    parameters : str
        The parameters that are not at their defaults.
    memory : DataFrame, optional
        One row for each table; `RowEstimator.summary` describes it.
    """

    title: str
    facts: Mapping[str, Any]
    columns: pd.DataFrame
    parameters: str = ""
    memory: pd.DataFrame | None = None

    def __str__(self) -> str:
        head = _filled([self.title, *(f"{name} {text}" for name, text in self.texts().items())])
        cells = {name: [name, *map(_cell(name), self.columns[name])] for name in self._shown}
        if "table" in cells:
            cells["table"] = [_cut(text, LONGEST_TABLE) for text in cells["table"]]
        widths = {name: max(map(_width, column)) for name, column in cells.items()}
        space = WIDTH - sum(widths.values()) - 2 * (len(widths) - 1)  # names of columns take the rest
        widths["column"] = min(widths["column"], widths["column"] + space)
        cells["column"] = [_cut(text, widths["column"]) for text in cells["column"]]
        lines = (
            "  ".join(
                _padded(text, widths[name], name in TEXT_COLUMNS) for name, text in zip(cells, line)
            )
            for line in zip(*cells.values())
        )
        return "\n".join([*head, "", *map(str.rstrip, lines)])

    __repr__ = __str__

    def texts(self) -> dict[str, str]:
        """Return the facts as text."""
        return {name: _fact(value) for name, value in self.facts.items()}

    def to_markdown(self, results: pd.DataFrame | None = None, use: str = "", data: str = "") -> str:
        """Return a model card: use, training data, fit, columns, results, limits, parameters.

        The card accompanies the saved model, as in Mitchell et al. 2019
        (https://arxiv.org/abs/1810.03993). Parts that are not passed here are "Not stated."

        Parameters
        ----------
        results : DataFrame, optional
            Errors on rows that the model has not seen, shown as a table, such as
            ``tabemb.compare.summarize(results)``.
        use : str
            What the model is for, and what it is not for.
        data : str
            Where the training rows come from, and whom they leave out.

        Returns
        -------
        str

        Examples
        --------
        >>> import tabemb
        >>> model = tabemb.EmbeddingClassifier(max_epochs=2, random_state=0)
        >>> model = model.fit([["a"], ["b"]] * 20, [0, 1] * 20)
        >>> print(model.summary().to_markdown(use="An example.")[:44])
        # EmbeddingClassifier
        <BLANKLINE>
        ## Use
        <BLANKLINE>
        An example.
        """
        cells = {name: list(map(_cell(name), self.columns[name])) for name in self._shown}
        return card(self.title, self.texts(), cells, self.parameters, Statements(use, data, results))

    @property
    def _shown(self) -> list[str]:
        """The columns of the frame that are shown."""
        return [n for n in COLUMNS if n not in SOMETIMES or self.columns[n].notna().any()]

    def _repr_html_(self) -> str:
        facts = "".join(
            f"<div><dt>{escape(name)}</dt><dd>{escape(_fact(value))}</dd></div>"
            for name, value in self.facts.items()
        )
        head = "".join(
            f'<th{_class_of(name)} title="{escape(TITLES.get(name, name))}">{name}</th>'
            for name in self._shown
        )
        cells = zip(*(map(_html_cell(name), self.columns[name]) for name in self._shown))
        body = "".join(f"<tr>{''.join(line)}</tr>" for line in cells)
        parameters = (
            f"<details><summary>parameters</summary><pre>{escape(self.parameters)}</pre></details>"
            if self.parameters
            else ""
        )
        return (
            f'<style>{STYLE}</style><div class="tabemb-summary"><h4>{escape(self.title)}</h4>'
            f'<dl>{facts}</dl><div class="lines"><table><thead><tr>{head}</tr></thead>'
            f"<tbody>{body}</tbody></table></div>{parameters}</div>"
        )


def _is_unknown(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def _fact(value: Any) -> str:
    if _is_unknown(value):
        return UNKNOWN
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _cell(name: str) -> Any:
    """Return the function that formats a value of a column of the frame as text."""

    def text(value: Any) -> str:
        if _is_unknown(value):
            return UNKNOWN
        if name in ("missing", "explained"):
            return f"{100 * value:.1f} %"
        if name in ("reliability", "overlap"):
            return f"{value:.2f}"
        return _printable(value) if name in TEXT_COLUMNS else f"{value:,}"

    return text


def _html_cell(name: str) -> Any:
    as_text = _cell(name)

    def cell(value: Any) -> str:
        text = escape(as_text(value))
        if name == "explained" and not _is_unknown(value):
            return f'<td class="share" style="--share: {100 * value:.1f}%">{text}</td>'
        return f"<td{_class_of(name)}>{text}</td>"

    return cell


def _class_of(name: str) -> str:
    return ' class="text"' if name in TEXT_COLUMNS else ""


def _printable(text: str) -> str:
    """Return a text with line breaks and other unprintable characters escaped."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _width(text: str) -> int:
    """Return the width of a text on a terminal: wide characters take two columns."""
    return sum(
        0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "FW") for c in text
    )


def _cut(text: str, longest: int) -> str:
    if _width(text) <= longest:
        return text
    while _width(text) > longest - 1:
        text = text[:-1]
    return text + "…"


def _padded(text: str, width: int, is_text: bool) -> str:
    space = " " * (width - _width(text))
    return text + space if is_text else space + text


def _filled(facts: list[str]) -> list[str]:
    """Join facts into lines of up to ``WIDTH`` characters."""
    lines = [facts[0]]
    for fact in map(_printable, facts[1:]):
        if _width(lines[-1]) + len(" · ") + _width(fact) > WIDTH:
            lines.append("  " + _cut(fact, WIDTH - 2))
        else:
            lines[-1] += " · " + fact
    return lines

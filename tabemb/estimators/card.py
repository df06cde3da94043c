"""A model card: what a model is, reads and scores, as Markdown (Mitchell et al. 2019)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any, NamedTuple

import pandas as pd

NOT_STATED = "Not stated."
LIMITS = (
    "Predictions hold for rows like those of training; `model.check(X)` says how far new rows are.",
    "A saved file holds the labels of all categories, and a model of rows may hold training rows: "
    "`model.forget_rows()` drops those.",
)
"""Limits of every model."""


class Statements(NamedTuple):
    """Facts about a model that only people know."""

    use: str
    data: str
    results: pd.DataFrame | None


def card(
    title: str,
    facts: Mapping[str, str],
    columns: Mapping[str, Sequence[str]],
    parameters: str,
    stated: Statements,
) -> str:
    """Return a card; ``columns`` maps each title of the summary's table to the texts below it."""
    results = NOT_STATED if stated.results is None else _frame(stated.results)
    fit = {**facts, "versions": _versions()}
    parts = [
        f"# {title}",
        f"## Use\n\n{stated.use or NOT_STATED}",
        f"## Training data\n\n{stated.data or NOT_STATED}",
        f"## Fit\n\n{_list(f'{name}: {text}' for name, text in fit.items())}",
        f"## Columns\n\n{_table(columns, zip(*columns.values()))}",
        f"## Results\n\n{results}",
        f"## Limits\n\n{_list(LIMITS)}",
        f"## Parameters\n\n```python\n{parameters}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _list(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _versions() -> str:
    return ", ".join(f"{name} {version(name)}" for name in ("tabemb", "torch", "scikit-learn"))


def _frame(frame: pd.DataFrame) -> str:
    rows = ([_text(value) for value in row] for row in frame.itertuples(index=False))
    return _table(map(str, frame.columns), rows)


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _table(titles: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    head = list(titles)
    return "\n".join(map(_line, [head, ["---"] * len(head), *rows]))


def _line(texts: Sequence[str]) -> str:
    escaped = (text.replace("|", r"\|") for text in texts)  # a bar would end the cell
    return f"| {' | '.join(escaped)} |"

"""Numbers aggregated within the levels of a category: which ones, and their columns."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from tabemb.data.aggregates.fields import CategoryField, NamedColumns, number_aggregates
from tabemb.data.aggregates.segments import Segments
from tabemb.data.logs import Slices
from tabemb.data.notes import MIN_ROWS, InputNote
from tabemb.data.schema import near
from tabemb.data.vocabulary import N_SPECIAL
from tabemb.labels import text_of

MAX_LEVELS = 100
"""Number of levels up to which a category has few of them, for ``by="auto"``."""
MIN_SHARE = 0.01
"""Share of the rows that must have a level, for ``by="auto"``."""
_LONG = 0.5
"""Share of a number's variance that is between levels from which on a log is noted to be long."""
_N_LOOKED_AT = 20_000

By: TypeAlias = "Mapping[str, Sequence[str]]"
"""The numbers to aggregate within the levels of each category."""
Numbers: TypeAlias = "Mapping[str, np.ndarray]"
"""Numbers of the log's events by name."""
Categories: TypeAlias = "Mapping[str, CategoryField]"


@dataclass
class Within:
    """Numbers that are aggregated within the levels of one category.

    Parameters
    ----------
    category : CategoryField
    codes : dict of number to ndarray of int64
        Codes of the levels that have columns.
    """

    category: CategoryField
    codes: dict[str, np.ndarray]

    def __post_init__(self) -> None:
        self.chosen = np.unique(np.concatenate(list(self.codes.values())))
        self.places = self.category.places_of(self.chosen)
        self.names = list(map(text_of, self.category.labels_of(self.chosen)))

    @property
    def levels(self) -> dict[str, list[Any]]:
        """The levels that have columns, by number."""
        return {number: self.category.labels_of(codes) for number, codes in self.codes.items()}

    def aggregates(
        self, rows: Segments, numbers: Numbers, days: np.ndarray, now: np.ndarray
    ) -> NamedColumns:
        """Return the aggregates of the numbers by row and level; days and now are those of a number."""
        cells = rows.split(self.places[rows.take(self.category.codes)], len(self.chosen))
        nows, columns = np.tile(now, len(self.chosen)), []
        for number, codes in self.codes.items():
            present = cells.where(~np.isnan(cells.take(numbers[number])))
            aggregates = number_aggregates(present, numbers[number], days, nows)
            by_level = {name: a.reshape(len(self.chosen), -1) for name, a in aggregates.items()}
            columns += [
                (f"{self.names[place]}_{number}_{name}", values[place])
                for place in self.places[codes]
                for name, values in by_level.items()
            ]
        return columns


def check_by(by: Any, categories: Iterable[str], numbers: Iterable[str]) -> None:
    """Raise unless ``by`` is "auto", None or lists of the log's numbers by its categories."""
    categories, numbers = list(categories), list(numbers)
    if by is None or by == "auto":
        return
    if not isinstance(by, Mapping):
        raise ValueError(f"by must be 'auto', None or such as {{'what': ['paid']}}; got {by!r}.")
    for category, chosen in by.items():
        if category not in categories:
            hint = " convert it with astype('category')" if category in numbers else " choose one"
            raise ValueError(
                f"by must name columns of categories; {category!r} is none of "
                f"the log's, {categories}{near(category, categories)};{hint}."
            )
        if isinstance(chosen, str) or not isinstance(chosen, Sequence):
            raise ValueError(f"by[{category!r}] must be a list of numbers; got {chosen!r}.")
        for number in chosen:
            if number not in numbers:
                raise ValueError(
                    f"by[{category!r}] must name numbers of the log; {number!r} is none of "
                    f"{numbers}{near(number, numbers)}; choose one."
                )


def choose_levels(
    by: By,
    categories: Categories,
    numbers: Numbers,
    slices: Slices,
    *,
    n_most: int,
    few_only: bool,
) -> tuple[dict[str, Within], int]:
    """Choose the levels that have columns: those of most rows, counted for each number.

    Parameters
    ----------
    by : mapping of category to numbers
    categories, numbers : mapping
    slices : Slices
        The events of the rows of ``fit``.
    n_most : int
        Largest number of levels, of all pairs together.
    few_only : bool
        Leave out levels of few rows, and then pairs whose category has many levels or a single one.

    Returns
    -------
    dict of category to Within
    int
        How many levels are left out because they are more than ``n_most``.
    """
    few = max(1.0, MIN_SHARE * np.count_nonzero(slices.counts)) if few_only else 1.0
    candidates: list[tuple[str, str, np.ndarray, np.ndarray]] = []
    for name, names in by.items():
        for number, n_rows in _n_rows(slices, categories[name], numbers, names).items():
            codes = np.flatnonzero(n_rows >= few)
            if few_only and not 2 <= len(codes) <= MAX_LEVELS:
                continue
            candidates.append((name, number, codes, n_rows[codes]))
    every = np.concatenate([n_rows for *_, n_rows in candidates] or [np.zeros(0)])
    stays = np.zeros(len(every), dtype=bool)
    stays[np.argsort(-every, kind="stable")[:n_most]] = True
    chosen: dict[str, dict[str, np.ndarray]] = {}
    start = 0
    for name, number, codes, _ in candidates:
        kept = codes[stays[start : start + len(codes)]]
        start += len(codes)
        if len(kept):
            chosen.setdefault(name, {})[number] = kept
    within = {name: Within(categories[name], codes) for name, codes in chosen.items()}
    return within, int((~stays).sum())


def _n_rows(
    slices: Slices, category: CategoryField, numbers: Numbers, names: Sequence[str]
) -> dict[str, np.ndarray]:
    """Return the number of rows with a value of each number by code of the category, (n_codes,)."""
    n_codes = len(category.vocabulary)
    counts = {name: np.zeros(n_codes) for name in names}
    for _, chunk in slices.chunks() if counts else ():
        rows = Segments.of_rows(chunk)
        codes = rows.take(category.codes)
        order = np.argsort(codes.astype(np.min_scalar_type(n_codes)), kind="stable")
        codes, groups, positions = codes[order], rows.groups[order], rows.positions[order]
        is_head = (np.diff(codes, prepend=-1) != 0) | (np.diff(groups, prepend=-1) != 0)
        heads = np.flatnonzero(is_head)
        for name in names if len(heads) else ():
            present = np.logical_or.reduceat(~np.isnan(numbers[name][positions]), heads)
            counts[name] += np.bincount(codes[heads], present, n_codes)
    for n_rows in counts.values():
        n_rows[:N_SPECIAL] = 0  # a missing category is no level
    return counts


def note_levels(
    within: Mapping[str, Within],
    numbers: Numbers,
    n_left: int,
    *,
    is_auto: bool,
    n_each: int,
    stacklevel: int = 4,
) -> None:
    """Note what was chosen, where levels are left out or a log is evidently long.

    Parameters
    ----------
    within : mapping of category to Within
    numbers : mapping
    n_left : int
        Number of levels that are left out.
    is_auto : bool
        Whether the user left the choice to the joiner.
    n_each : int
        Number of columns of a level.
    stacklevel : int
        Calls between the line of the user and the warning.
    """
    codes = [codes for choice in within.values() for codes in choice.codes.values()]
    n_columns = n_each * sum(map(len, codes))
    text = f"In the log, {_pairs(within)} are aggregated in {n_columns} columns"
    if n_left:
        text += (
            f"; {n_left} rarer level{'s have' if n_left > 1 else ' has'} none. "
            f"max_columns={n_columns + n_each * n_left} keeps all levels and ends this note."
        )
    elif is_auto and _is_long(within, numbers):
        by = {name: list(choice.codes) for name, choice in within.items()}
        text += (
            f", because numbers differ by level. by={by} takes all levels, by=None none; either ends "
            "this note."
        )
    else:
        return
    warnings.warn(text, InputNote, stacklevel=stacklevel)


def _pairs(within: Mapping[str, Within]) -> str:
    pairs = [
        f"{number!r} within {len(codes)} level{'s' * (len(codes) > 1)} of {name!r}"
        for name, choice in within.items()
        for number, codes in choice.codes.items()
    ]
    return ", ".join(pairs) or "no numbers"


def _is_long(within: Mapping[str, Within], numbers: Numbers) -> bool:
    return any(
        _between(choice.category.codes, numbers[number]) >= _LONG
        for choice in within.values()
        for number in choice.codes
    )


def _between(codes: np.ndarray, values: np.ndarray) -> float:
    """Return the share of the variance of a number's ranks that is between categories, adjusted."""
    present = np.flatnonzero(~np.isnan(values) & (codes >= N_SPECIAL))
    present = present[:: max(len(present) // _N_LOOKED_AT, 1)]
    n = len(present)
    _, groups = np.unique(codes[present], return_inverse=True)
    if n < MIN_ROWS:
        return 0.0
    _, places, counts = np.unique(values[present], return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    ranks -= ranks.mean()
    sizes = np.bincount(groups)
    between = (np.bincount(groups, ranks) ** 2 / sizes).sum()
    total = (ranks**2).sum()
    if total == 0 or n <= len(sizes):
        return 0.0
    return float(1 - (total - between) / total * (n - 1) / (n - len(sizes)))

"""Vectors of wanted categories from a space made elsewhere, with a report of how each was matched."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import pandas as pd

from tabemb.spaces.vectors import CategoryVectors, as_index, checked_counts

N_EXAMPLES = 5
"""Number of categories without a vector that a report names."""

SpaceT = TypeVar("SpaceT", bound=CategoryVectors)


def _casefolded(category: Hashable) -> str:
    # word2vec files write spaces as underscores
    return " ".join(str(category).replace("_", " ").casefold().split())


STEPS: dict[str, Callable[[Hashable], str]] = {"as text": str, "casefolded": _casefolded}
"""Texts to compare if no category has an equal value, the strictest first."""


@dataclass(frozen=True, repr=False)
class Match(Generic[SpaceT]):
    """Result of `EmbeddingSpace.match`: the vectors found for wanted categories, and a report.

    Attributes
    ----------
    space : EmbeddingSpace
        The wanted categories that have a vector, with the given counts and, if known, the reliability
        of the vectors. It can be passed to ``Table(pretrained=...)``.
    table : pandas.DataFrame
        One row for each wanted category, the most frequent first: `found`, the category of the other
        space; `how`, "exact", "as text", "casefolded" or missing if there is no match; and `count`.
    """

    space: SpaceT
    table: pd.DataFrame

    @property
    def share(self) -> float:
        """Share of the wanted categories that have a vector."""
        return float(self.table["how"].notna().mean())

    @property
    def share_of_rows(self) -> float:
        """`share`, weighted by the counts; NaN if all counts are zero."""
        counts = self.table["count"]
        total = counts.sum()
        return float(counts[self.table["how"].notna()].sum() / total) if total else float("nan")

    def __repr__(self) -> str:
        n_by_way = self.table["how"].value_counts()
        ways = ", ".join(f"{n_by_way[way]} {way}" for way in ("exact", *STEPS) if way in n_by_way)
        shares = f"{self.share:.1%}; {self.share_of_rows:.1%} of rows"
        report = [
            f"{len(self.space)} of {len(self.table)} categories have a vector ({shares})",
            f"found: {ways}",
        ]
        unmatched = self.table.index[self.table["how"].isna()]
        if len(unmatched):
            report.append(f"not found: {', '.join(map(repr, unmatched[:N_EXAMPLES]))}")
        if len(unmatched) > N_EXAMPLES:
            report[-1] += f" and {len(unmatched) - N_EXAMPLES} more"
        return "\n".join(report)


def match(space: SpaceT, categories: Any, counts: Any) -> Match[SpaceT]:
    """Look up wanted categories, as `EmbeddingSpace.match` describes."""
    index = as_index(categories, unique=False)
    weights = np.ones(len(index), dtype=np.int64) if counts is None else checked_counts(counts, index)
    wanted, sums = _most_frequent_first(index, weights)
    positions, how = _look_up(space, wanted)
    matched = positions >= 0
    if not matched.any():
        raise ValueError(
            f"categories must hold at least one that has a vector in {space!r}; "
            f"none of the {len(wanted)} has one."
        )
    table = pd.DataFrame({"found": None, "how": how, "count": sums}, index=wanted)
    names = np.fromiter(space.categories[positions[matched]], dtype=object, count=matched.sum())
    table.loc[matched, "found"] = names
    positions = positions[matched]
    reliability = None if space.reliability is None else space.reliability[positions]
    parts = wanted[matched], sums[matched], space.name, reliability
    return Match(type(space)(space.vectors[positions], *parts), table)


def _most_frequent_first(index: pd.Index, weights: np.ndarray) -> tuple[pd.Index, np.ndarray]:
    """Return the different categories with the sums of their weights."""
    wanted = index.unique()
    sums = np.zeros(len(wanted), dtype=weights.dtype)
    np.add.at(sums, wanted.get_indexer(index), weights)
    order = np.argsort(-sums, kind="stable")
    return wanted[order], sums[order]


def _look_up(space: CategoryVectors, wanted: pd.Index) -> tuple[np.ndarray, np.ndarray]:
    """Return the position of each wanted category in the space, -1 for none, and how it was matched."""
    is_missing, missing_in_space = np.asarray(wanted.isna()), np.asarray(space.categories.isna())
    positions = space.categories.get_indexer(wanted)
    # None, NaN and NaT all stand for the one missing category
    positions[is_missing] = np.append(np.flatnonzero(missing_in_space), -1)[0]
    how = np.full(len(wanted), None, dtype=object)
    how[positions >= 0] = "exact"
    present = np.flatnonzero(~missing_in_space)
    counts = np.zeros(len(space)) if space.counts is None else space.counts
    rarest_first = present[np.argsort(-counts[present], kind="stable")][::-1].tolist()
    for step, text_of in STEPS.items():
        unmatched = np.flatnonzero((positions < 0) & ~is_missing)
        if len(unmatched):
            # the most frequent category with a text wins, because a dict keeps the last entry
            by_text = {text_of(space.categories[i]): i for i in rarest_first}
            positions[unmatched] = [by_text.get(text_of(c), -1) for c in wanted[unmatched]]
            how[unmatched[positions[unmatched] >= 0]] = step
    return positions, how

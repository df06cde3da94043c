"""Which wanted categories a space of vectors from elsewhere knows, and how each was found."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from tabemb.spaces.space import EmbeddingSpace

N_EXAMPLES = 5


def _casefolded(category: Hashable) -> str:
    # word2vec files write spaces as underscores
    return " ".join(str(category).replace("_", " ").casefold().split())


STEPS: dict[str, Callable[[Hashable], str]] = {"as text": str, "casefolded": _casefolded}
"""How a category is looked for where there is none of equal value, the strictest first."""


@dataclass(frozen=True, repr=False)
class Match:
    """The vectors of wanted categories, and a report of which have one; `EmbeddingSpace.match` makes it.

    Attributes
    ----------
    space : EmbeddingSpace
        The wanted categories that have a vector, with the counts wanted; fit for ``Table(pretrained=...)``.
    table : pandas.DataFrame
        One row a wanted category, the most frequent first: `found`, the category of the other space, `how` ("exact",
        "as text", "casefolded", or missing where there is none) and `count`.
    """

    space: EmbeddingSpace
    table: pd.DataFrame

    @property
    def share(self) -> float:
        """Share of the wanted categories that have a vector."""
        return float(self.table["how"].notna().mean())

    @property
    def share_of_rows(self) -> float:
        """The same weighted by the counts; NaN where these are all zero."""
        counts = self.table["count"]
        return (
            float(counts[self.table["how"].notna()].sum() / counts.sum())
            if counts.sum()
            else float("nan")
        )

    def __repr__(self) -> str:
        n, how = len(self.table), self.table["how"].value_counts()
        ways = ", ".join(f"{how[way]} {way}" for way in ("exact", *STEPS) if way in how)
        lines = [
            f"{len(self.space)} of {n} categories have a vector ({self.share:.1%}; {self.share_of_rows:.1%} of rows)"
        ]
        lines.append(f"found: {ways}")
        lacking = self.table.index[self.table["how"].isna()]
        if len(lacking):
            shown = ", ".join(repr(category) for category in lacking[:N_EXAMPLES])
            lines.append(
                f"not found: {shown}"
                + (f" and {len(lacking) - N_EXAMPLES} more" * (len(lacking) > N_EXAMPLES))
            )
        return "\n".join(lines)


def match(space: EmbeddingSpace, given: pd.Index, weights: np.ndarray) -> Match:
    """Look up the given categories, which may repeat; each counts its weights."""
    wanted = given.unique()
    counts = np.zeros(len(wanted), dtype=weights.dtype)
    np.add.at(counts, wanted.get_indexer(given), weights)
    order = np.argsort(-counts, kind="stable")
    wanted, counts = wanted[order], counts[order]
    places, how = _find(space, wanted)
    there = places >= 0
    if not there.any():
        raise ValueError(f"none of the {len(wanted)} categories has a vector in {space!r}")
    table = pd.DataFrame({"found": None, "how": how, "count": counts}, index=wanted)
    table.loc[there, "found"] = np.fromiter(
        space.categories[places[there]], dtype=object, count=there.sum()
    )
    return Match(
        type(space)(space.vectors[places[there]], wanted[there], counts[there], space.name), table
    )


def _find(space: EmbeddingSpace, wanted: pd.Index) -> tuple[np.ndarray, np.ndarray]:
    """Return the position of each wanted category in the space, -1 for none, and how it was found."""
    lacks, missing_here = np.asarray(wanted.isna()), np.asarray(space.categories.isna())
    missing = np.flatnonzero(missing_here)
    places = space.categories.get_indexer(wanted)
    places[lacks] = missing[0] if len(missing) else -1  # None, NaN and NaT name one missing category
    how = np.full(len(wanted), None, dtype=object)
    how[places >= 0] = "exact"
    present = np.flatnonzero(~missing_here)
    counts = np.zeros(len(space)) if space.counts is None else space.counts
    rarest_first = present[np.argsort(-counts[present], kind="stable")][::-1].tolist()
    for step, text_of in STEPS.items():
        left = np.flatnonzero((places < 0) & ~lacks)
        if len(left):
            # of several that read the same the most frequent one is meant: the last entry of a dict wins
            known = {text_of(space.categories[i]): i for i in rarest_first}
            places[left] = [known.get(text_of(category), -1) for category in wanted[left]]
            how[left[places[left] >= 0]] = step
    return places, how

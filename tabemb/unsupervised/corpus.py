"""Lists of items as codes, in memory or read from a file in each epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from tabemb.data.values import OBJECT
from tabemb.data.vocabulary import MISSING, N_SPECIAL, UNKNOWN, Vocabulary
from tabemb.unsupervised.item_lists import ItemLists
from tabemb.unsupervised.item_sources import ITEM, RawLists, Source, StreamSource

MOST_PARTS = 32
"""Maximum number of vocabularies of parts of a file before they are merged."""


@dataclass(frozen=True)
class Corpus:
    """Lists of items as ranks: 0 is the most frequent item.

    Parameters
    ----------
    source : Source or StreamSource
    vocabulary : Vocabulary
        The items that have a vector.
    ranks : ndarray of int32, shape (n_codes,)
        The rank of each code of the vocabulary; -1 for those without a vector.
    sets : bool
        Whether lists are sets.
    tally : dict of str -> int
        Counts of what was read and of what was left out.
    """

    source: Source | StreamSource
    vocabulary: Vocabulary
    ranks: np.ndarray
    sets: bool
    tally: dict[str, int]

    @property
    def counts(self) -> np.ndarray:
        """How often each item was read, by rank: (n_items,)."""
        by_rank = np.zeros(len(self.vocabulary.categories))
        by_rank[self.ranks[N_SPECIAL:]] = self.vocabulary.counts[N_SPECIAL:]
        return by_rank

    @property
    def n_items(self) -> float:
        """Number of items in all lists, including the goals."""
        return float(self.counts.sum())

    def pieces(self) -> Iterator[ItemLists]:
        """Yield all lists; lists from a file come in pieces."""
        for raw in self.source.pieces():
            lists = _encoded(raw, self.vocabulary, self.ranks)
            yield lists.as_sets().in_canonical_order() if self.sets else lists

    def kept(self) -> Corpus | KeptCorpus:
        """Return a corpus that encodes its lists once, if they are in memory anyway."""
        return KeptCorpus(list(self.pieces())) if self.source.in_memory else self


@dataclass(frozen=True)
class KeptCorpus:
    """Lists of items as ranks, in memory."""

    lists: list[ItemLists]

    @property
    def n_items(self) -> float:
        """Number of items in all lists."""
        return sum(len(lists.codes) for lists in self.lists)

    def pieces(self) -> Iterator[ItemLists]:
        """Yield all lists."""
        yield from self.lists


def read_corpus(source: Source | StreamSource, sets: bool, min_count: float) -> Corpus:
    """Read the items of all lists once, and count them.

    Parameters
    ----------
    source : Source or StreamSource
    sets : bool
        Whether an item counts once in each list.
    min_count : float
        Items that occur less often get no vector.

    Raises
    ------
    ValueError
        Fewer than two items are left.
    """
    tally = dict.fromkeys(["lists", "items", "missing", "repeated", "without_entity"], 0)
    parts: list[Vocabulary] = []
    for raw in source.pieces():
        parts.append(_counted(raw, sets, tally))
        parts = [_merged(parts)] if len(parts) == MOST_PARTS else parts
    vocabulary = _merged(parts)
    counts = vocabulary.counts[N_SPECIAL:]
    kept = counts >= max(min_count, 1)
    tally["rare"] = int(counts[~kept].sum())
    n_rare = int((~kept).sum())
    if kept.sum() < 2:
        raise ValueError(
            f"X must hold at least two different items, each at least min_count={min_count:g} times; "
            f"{int(kept.sum())} of {len(kept)} are left."
        )
    vocabulary = _filtered(vocabulary, kept)
    tally["items_with_vector"], tally["rare_items"] = len(vocabulary.categories), n_rare
    return Corpus(source, vocabulary, ranks_of(vocabulary), sets, tally)


def ranks_of(vocabulary: Vocabulary) -> np.ndarray:
    """Return the rank of each code by decreasing count, int32 (n_codes,); ties by code."""
    order = np.argsort(-vocabulary.counts[N_SPECIAL:], kind="stable")
    ranks = np.full(len(vocabulary), -1, np.int32)
    ranks[order + N_SPECIAL] = np.arange(len(order), dtype=np.int32)
    return ranks


def _encoded(raw: RawLists, vocabulary: Vocabulary, ranks: np.ndarray) -> ItemLists:
    """Return lists with the ranks of their items; items without a rank are dropped."""
    items = ranks[vocabulary.codes(*raw.items)]
    goals = None if raw.goals is None else ranks[vocabulary.codes(*raw.goals)]
    return ItemLists(items, raw.offsets, goals).where(items >= 0)


def extended(read: Corpus, known: Vocabulary, min_count: float) -> Corpus:
    """Return a corpus with the items of an earlier vocabulary before the new ones, and summed counts.

    Parameters
    ----------
    read : Corpus
        A corpus that was read without a minimum count.
    known : Vocabulary
    min_count : float
        New items that occur less often get no vector.

    Raises
    ------
    ValueError
        There is no new item.
    """
    vocabulary = _merged([known, read.vocabulary])
    codes = vocabulary.codes_of(known)[N_SPECIAL:]
    is_known = np.zeros(len(vocabulary.categories), bool)
    is_known[codes - N_SPECIAL] = True
    kept = is_known | (vocabulary.counts[N_SPECIAL:] >= max(min_count, 1))
    if kept.sum() == is_known.sum():
        raise ValueError(
            f"X must hold an item without a vector at least min_count={min_count:g} times; it has none."
        )
    tally = {**read.tally, "rare": int(vocabulary.counts[N_SPECIAL:][~kept].sum())}
    tally |= {"rare_items": int((~kept).sum()), "items_with_vector": int(kept.sum())}
    vocabulary, is_known = _filtered(vocabulary, kept), is_known[kept]
    # the known items keep their ranks, whatever their counts are now
    ranks = np.full(len(vocabulary), -1, np.int32)
    ranks[vocabulary.codes_of(known)[N_SPECIAL:]] = ranks_of(known)[N_SPECIAL:]
    new = np.flatnonzero(~is_known)
    order = new[np.argsort(-vocabulary.counts[N_SPECIAL:][new], kind="stable")]
    ranks[order + N_SPECIAL] = is_known.sum() + np.arange(len(order))
    return Corpus(read.source, vocabulary, ranks, read.sets, tally)


def groups_by_rank(groups: Mapping[Any, Any], corpus: Corpus) -> np.ndarray:
    """Return the group of each item by rank, from 0: int64 (n_items,); -1 for none.

    Raises
    ------
    ValueError
        No item has a group.
    """
    codes: dict[Any, int] = {}
    by_item = [
        codes.setdefault(groups[label], len(codes)) if label in groups else -1
        for label in corpus.vocabulary.labels()
    ]
    if not codes:
        raise ValueError(
            "groups must hold the group of items of X by item; it has none of its "
            f"{len(by_item)} items, such as {corpus.vocabulary.labels().tolist()[0]!r}."
        )
    by_rank = np.empty(len(by_item), np.int64)
    by_rank[corpus.ranks[N_SPECIAL:]] = by_item
    return by_rank


def _counted(raw: RawLists, sets: bool, tally: dict[str, int]) -> Vocabulary:
    """Return the vocabulary of some lists, with the count of each item."""
    columns = {ITEM: raw.items} | ({"goal": raw.goals} if raw.goals is not None else {})
    vocabulary = Vocabulary.from_columns(columns)
    codes = vocabulary.codes(*raw.items)
    lists = ItemLists(codes, raw.offsets).where(codes != MISSING)
    tally["lists"] += len(lists)
    tally["items"] += len(codes)
    tally["missing"] += len(codes) - len(lists.codes)
    tally["without_entity"] += raw.n_without_entity
    if sets:
        n_items, lists = len(lists.codes), lists.as_sets()
        tally["repeated"] += n_items - len(lists.codes)
    counts = np.bincount(lists.codes, minlength=len(vocabulary)).astype(float)
    if raw.goals is not None:  # a goal need not occur in any list
        counts += np.bincount(vocabulary.codes(*raw.goals), minlength=len(vocabulary))
    counts[:N_SPECIAL] = 0
    return Vocabulary(vocabulary.kind, vocabulary.categories, counts, vocabulary.given)


def _merged(parts: list[Vocabulary]) -> Vocabulary:
    """Return one vocabulary of all parts, with the sums of their counts."""
    parts = [part for part in parts if part.kind != "nothing"] or parts
    if len(parts) == 1:
        return parts[0]
    columns: dict[str, Any] = {}
    for i, part in enumerate(parts):
        metadata = OBJECT if part.kind == "object" else None
        name = f"rows {i}"
        values = pa.chunked_array([part.categories])
        if {other.kind for other in parts} == {"integer", "float"}:
            values = values.cast(pa.float64())
        columns[name] = values, pa.field(name, values.type, metadata=metadata)
    weights = {name: part.counts[N_SPECIAL:] for name, part in zip(columns, parts)}
    merged = Vocabulary.from_columns(columns, weights)
    return Vocabulary(merged.kind, merged.categories, merged.counts, parts[0].given)


def _filtered(vocabulary: Vocabulary, kept: np.ndarray) -> Vocabulary:
    special = vocabulary.counts[:N_SPECIAL].copy()
    special[UNKNOWN] += vocabulary.counts[N_SPECIAL:][~kept].sum()
    counts = np.concatenate([special, vocabulary.counts[N_SPECIAL:][kept]])
    categories = vocabulary.categories.filter(pa.array(kept))
    return Vocabulary(vocabulary.kind, categories, counts, vocabulary.given)

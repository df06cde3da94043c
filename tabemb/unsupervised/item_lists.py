"""Lists of items, sequences or sets, as codes in one concatenated array."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Self

import numpy as np
from scipy.sparse import csr_array

LONGEST = 10_000
"""Maximum number of items of a list that are trained together: gensim's limit."""


@dataclass(frozen=True)
class ItemLists:
    """Lists of items as codes.

    Parameters
    ----------
    codes : ndarray of int32, shape (n_items,)
        The items of all lists, concatenated; codes start at 0.
    offsets : ndarray of int64, shape (n_lists + 1,)
        List i has the items from ``offsets[i]`` up to ``offsets[i + 1]``.
    goals : ndarray of int32, shape (n_lists,), optional
        The goal item of each list; -1 for none.
    """

    codes: np.ndarray
    offsets: np.ndarray
    goals: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Number of items of each list, (n_lists,)."""
        return np.diff(self.offsets)

    @cached_property
    def rows(self) -> np.ndarray:
        """Index of each item's list, (n_items,)."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def take(self, lists: np.ndarray) -> Self:
        """Return some of the lists, in the order given."""
        lengths = self.lengths[lists]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        positions = np.arange(offsets[-1]) + np.repeat(self.offsets[lists] - offsets[:-1], lengths)
        goals = None if self.goals is None else self.goals[lists]
        return type(self)(self.codes[positions], offsets, goals)

    def where(self, kept: np.ndarray) -> Self:
        """Return the lists with only the items of a mask, (n_items,)."""
        offsets = np.concatenate([[0], np.cumsum(kept)])[self.offsets]
        return type(self)(self.codes[kept], offsets, self.goals)

    def as_sets(self) -> Self:
        """Return each list with its distinct items, in the order of their codes."""
        order = np.lexsort((self.codes, self.rows))
        codes = self.codes[order]
        repeats = np.concatenate([[False], (codes[1:] == codes[:-1]) & (np.diff(self.rows) == 0)])
        return type(self)(codes, self.offsets, self.goals).where(~repeats)

    def in_canonical_order(self) -> Self:
        """Return sets in an order that depends on their items alone, not on the order of the lists."""
        sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(_mixed(self.codes))])
        keys = sums[self.offsets[1:]] - sums[self.offsets[:-1]]  # uint64 sums wrap around
        goals = np.zeros(len(self), np.int32) if self.goals is None else self.goals
        return self.take(np.lexsort((goals, keys, self.lengths)))

    def shuffled(self, rng: np.random.Generator) -> Self:
        """Return the lists in a random order, and the items of each in a random order."""
        lists = self.take(rng.permutation(len(self)))
        keys = lists.rows + 0.999 * rng.random(len(lists.codes))  # below the next row, even if rounded
        return type(self)(lists.codes[np.argsort(keys)], lists.offsets, lists.goals)

    def cut(self, longest: int = LONGEST) -> Self:
        """Return the lists, with lists longer than `longest` cut into several."""
        if not len(self) or self.lengths.max() <= longest:
            return self
        n_parts = np.maximum(-(-self.lengths // longest), 1)
        first = np.concatenate([[0], np.cumsum(n_parts)])[:-1]
        part = np.arange(n_parts.sum()) - np.repeat(first, n_parts)
        starts = np.repeat(self.offsets[:-1], n_parts) + part * longest
        goals = None if self.goals is None else np.repeat(self.goals, n_parts)
        return type(self)(self.codes, np.append(starts, self.offsets[-1]), goals)

    def batches(self, n_items: int) -> Iterator[Self]:
        """Yield batches of successive lists with up to ``n_items`` items; a longer list comes alone."""
        start = 0
        while start < len(self):
            end = self.offsets[start] + n_items
            stop = max(int(np.searchsorted(self.offsets, end, side="right")) - 1, start + 1)
            offsets = self.offsets[start : stop + 1]
            goals = None if self.goals is None else self.goals[start:stop]
            yield type(self)(self.codes[offsets[0] : offsets[-1]], offsets - offsets[0], goals)
            start = stop

    def to_lists(self) -> list[list[int]]:
        """Return the lists as Python lists."""
        codes, offsets = self.codes.tolist(), self.offsets.tolist()
        return [codes[start:stop] for start, stop in pairwise(offsets)]


def _mixed(codes: np.ndarray) -> np.ndarray:
    """Return a pseudo-random 64-bit number for each code (splitmix64, Steele et al. 2014)."""
    values = (codes.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = values ^ (values >> np.uint64(31))
    return mixed


def concatenated(parts: Sequence[ItemLists]) -> ItemLists:
    """Return the lists of all parts."""
    lengths = np.concatenate([part.lengths for part in parts])
    goals = [part.goals for part in parts if part.goals is not None]
    return ItemLists(
        np.concatenate([part.codes for part in parts]),
        np.concatenate([[0], np.cumsum(lengths)]),
        np.concatenate(goals) if goals else None,
    )


def with_items_from(lists: ItemLists, first: int) -> np.ndarray:
    """Return the positions of lists with an item or a goal whose code is ``first`` or larger."""
    has = np.bincount(lists.rows[lists.codes >= first], minlength=len(lists)) > 0
    if lists.goals is not None:
        has |= lists.goals >= first
    return np.flatnonzero(has)


def last_items(lists: ItemLists) -> ItemLists:
    """Return each list with only its last item."""
    is_last = np.zeros(len(lists.codes), bool)
    is_last[lists.offsets[1:][lists.lengths > 0] - 1] = True
    return lists.where(is_last)


def means_of(vectors: np.ndarray, lists: ItemLists) -> np.ndarray:
    """Return the mean vector of each list's items, (n_lists, dim); zeros for a list without any."""
    share = np.repeat(1 / np.maximum(lists.lengths, 1), lists.lengths)
    shape = len(lists), len(vectors)
    weights = csr_array((share, lists.codes, lists.offsets), shape=shape)
    means: np.ndarray = weights @ vectors
    return means

"""Sampled negatives: the items that the positive item of a pair is compared with."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from tabemb.network.draws import Draws

NEGATIVES = ("uniform", "popularity", "in_batch", "group")
"""Ways to draw negatives."""


class Pool(NamedTuple):
    """Negatives of a batch of n pairs.

    Shape
    -----
    items      : int64 (m,), compared with all pairs; (n, m) if the negatives differ by pair
    log_expected : (m,) or (), logarithm of the expected number of times that each is in a pool
    """

    items: Tensor
    log_expected: Tensor


class Sampler:
    """Draws the negatives of a batch.

    Parameters
    ----------
    how : {"uniform", "popularity", "in_batch", "group"}
    counts : Tensor of shape (n_items,)
        Number of pairs of each item; on the device of the pairs, as are the pools.
    n_negatives : int
        With "uniform" and at least as many as there are items, a pool contains each item once.
    exponent : float
        Exponent of the counts, for "popularity".
    groups : Tensor of shape (n_items,), int64, optional
        Group of each item, for "group".
    """

    def __init__(
        self,
        how: str,
        counts: Tensor,
        n_negatives: int,
        exponent: float,
        groups: Tensor | None = None,
    ) -> None:
        self.how, self.n_items = how, len(counts)
        self.n_negatives = n_negatives
        self.is_full = how == "uniform" and n_negatives >= self.n_items
        weight = counts.double().clamp(min=1e-12) ** exponent if how == "popularity" else counts.double()
        self.draws = Draws(weight)
        if groups is not None:
            self.by_group = groups.argsort(stable=True)
            self.sizes = torch.bincount(groups)[groups]  # size of the group of each item
            starts = torch.bincount(groups).cumsum(0) - torch.bincount(groups)
            self.starts = starts[groups]

    def draw(self, positives: Tensor, generator: torch.Generator) -> Pool:
        """Return the negatives of a batch with these positive items, int64 (n,)."""
        device, m = positives.device, self.n_negatives
        if self.is_full:
            return Pool(torch.arange(self.n_items, device=device), torch.zeros((), device=device))
        if self.how == "in_batch":
            share = self.draws.share[positives]
            return Pool(positives, (share * len(positives)).log().float())
        if self.how == "group":
            draws = torch.rand(len(positives), m, generator=generator).to(device)
            within = (draws * self.sizes[positives].unsqueeze(1)).long()
            items = self.by_group[self.starts[positives].unsqueeze(1) + within]
            return Pool(items, torch.zeros((), device=device))
        if self.how == "uniform":
            items = torch.randint(self.n_items, (m,), generator=generator).to(device)
            return Pool(items, torch.tensor(math.log(m / self.n_items), device=device))
        items = self.draws.draw(m, generator).to(device)
        return Pool(items, (self.draws.share[items] * m).log().float())


class KnownPairs:
    """Finds the items of a pool that a user has; these are not negatives.

    Parameters
    ----------
    offsets, values : Tensor, int64
        The items of each user, as in `Lists`.
    n_items : int
    """

    def __init__(self, offsets: Tensor, values: Tensor, n_items: int) -> None:
        self.offsets, self.values, self.device = offsets, values, values.device
        self._slot = torch.full((n_items,), -1, dtype=torch.long, device=self.device)

    def of(self, users: Tensor, pool: Tensor) -> Tensor:
        """Return whether each user has each item of a pool (m,), bool (n, m)."""
        distinct, places = torch.unique(pool, return_inverse=True)
        self._slot[distinct] = torch.arange(len(distinct), device=self.device)
        counts = self.offsets[users + 1] - self.offsets[users]
        rows = torch.repeat_interleave(counts)
        within = torch.arange(len(rows), device=self.device) - (counts.cumsum(0) - counts)[rows]
        slots = self._slot[self.values[self.offsets[users][rows] + within]]
        self._slot[distinct] = -1  # only these, so that the cost is independent of n_items
        known = torch.zeros(len(users), len(distinct), dtype=torch.bool, device=self.device)
        known[rows[slots >= 0], slots[slots >= 0]] = True
        return known[:, places]

    def each(self, users: Tensor, items: Tensor) -> Tensor:
        """Return whether each user has each item in the user's row of a pool (n, m), bool (n, m)."""
        keys = self._keys
        wanted = users.unsqueeze(1) * len(self._slot) + items
        places = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
        return keys[places] == wanted

    @property
    def _keys(self) -> Tensor:
        if not hasattr(self, "_all_keys"):
            owner = torch.repeat_interleave(self.offsets.diff())
            self._all_keys = owner * len(self._slot) + self.values
        return self._all_keys

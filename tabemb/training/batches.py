"""Batches by index: the whole data lies in tensors, an epoch is a shuffled index cut into pieces."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

N_PARTS = 10
"""Parts of an epoch."""
N_SORTED = 16
"""Batches, at least, whose rows are sorted by length together."""
LOOSE = 0.5
"""Groups are of like size that differ by no more than this share."""
KEPT = 31 << 20
"""Bytes; glibc adapts to the largest block freed, up to 32 MiB, and returns less memory to the system at every turn."""


class Batches:
    """Random batches of rows from tensors of equal length.

    Parameters
    ----------
    tensors : sequence of Tensor, each of shape (n_rows, ...)
        Or whatever has rows that ``index_select`` takes, or functions from rows, int64 (n,), to a tensor (n, ...),
        asked for a tenth of an epoch at a time, so that what they give need not lie in memory for all rows; the first
        must be a tensor.
    batch_size : int
    generator : torch.Generator
        The only source of randomness of the order.
    rows : Tensor of shape (n,), int64, optional
        The rows to take; all of them when None.
    lengths : Tensor of shape (n_rows,), optional
        How long each row is. Rows of a batch then are of like length, so that little has to be padded.
    groups : Tensor of shape (n_rows,), optional
        The group of each row, the rows of a group being neighbours. A batch then is some whole groups of like size,
        with ``batch_size`` rows or a little more.
    start : callable, optional
        Called at the start of every epoch.

    Examples
    --------
    >>> batches = Batches([torch.arange(5)], 2, torch.Generator().manual_seed(0))
    >>> len(batches), sorted(torch.cat([b for b, in batches]).tolist())
    (3, [0, 1, 2, 3, 4])
    """

    def __init__(
        self,
        tensors: Sequence[Any],
        batch_size: int,
        generator: torch.Generator,
        rows: Tensor | None = None,
        lengths: Tensor | None = None,
        groups: Tensor | None = None,
        start: Callable[[], None] | None = None,
    ) -> None:
        self.tensors, self.batch_size, self.generator = tensors, batch_size, generator
        self.lengths, self.groups, self.start = lengths, groups, start
        first = tensors[0]
        self.rows = (
            torch.arange(len(first), device=first.device) if rows is None else rows.to(first.device)
        )

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return -(-len(self.rows) // self.batch_size)

    def __iter__(self) -> Iterator[list[Any]]:
        if self.start:
            self.start()
        batches = self._batches_of_groups() if self.groups is not None else self._batches_of_rows()
        n_together = max(-(-len(batches) // N_PARTS), 1 if self.lengths is None else N_SORTED)
        for start in range(0, len(batches), n_together):
            yield from self._part(self._alike(batches[start : start + n_together]))

    def _batches_of_rows(self) -> Sequence[Tensor]:
        order = self.rows[torch.randperm(len(self.rows), generator=self.generator).to(self.rows.device)]
        return order.tensor_split(len(self))  # sizes differ by one at most: no tiny last batch

    def _batches_of_groups(self) -> Sequence[Tensor]:
        assert self.groups is not None
        sizes = torch.unique_consecutive(self.groups[self.rows], return_counts=True)[1]
        groups = self.rows.split(sizes.tolist())
        noise = torch.rand(len(sizes), generator=self.generator).to(sizes.device)
        alike = (sizes * (1 + LOOSE * noise)).argsort().tolist()  # other neighbours in every epoch
        filled = sizes[alike].cumsum(0).sub(1).div(self.batch_size, rounding_mode="floor")
        counts = torch.unique_consecutive(filled, return_counts=True)[1].tolist()
        starts = [0, *itertools.accumulate(counts)]
        order = torch.randperm(len(counts), generator=self.generator).tolist()
        return [torch.cat([groups[g] for g in alike[starts[i] : starts[i + 1]]]) for i in order]

    def _alike(self, batches: Sequence[Tensor]) -> Sequence[Tensor]:
        """The same rows in as many batches, each of rows of like length."""
        if self.lengths is None:
            return batches
        rows = torch.cat(list(batches))
        alike = rows[self.lengths[rows].argsort(stable=True)].split([len(batch) for batch in batches])
        return [alike[i] for i in torch.randperm(len(alike), generator=self.generator).tolist()]

    def _part(self, batches: Sequence[Tensor]) -> Iterator[list[Any]]:
        rows, sizes = torch.cat(list(batches)), [len(batch) for batch in batches]
        drawn = {t: given(rows).split(sizes) for t, given in enumerate(self.tensors) if callable(given)}
        for i, batch in enumerate(batches):
            yield [
                drawn[t][i] if t in drawn else given.index_select(0, batch)
                for t, given in enumerate(self.tensors)
            ]


def in_pieces(tensors: Sequence[Any], size: int) -> Iterator[tuple[Any, ...]]:
    """Consecutive rows, ``size`` at a time, for prediction."""
    if len(tensors[0]) > size:
        torch.empty(
            KEPT, dtype=torch.uint8
        )  # freed at once: from then on the allocator keeps as much for the pieces
    yield from zip(*(tensor.split(size) for tensor in tensors))

"""Batches by index: an epoch is a shuffled index of rows, cut into pieces."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

from tabemb.network.inputs import Rowwise
from tabemb.training.workers import current

N_PARTS = 10
"""Parts of an epoch, which are taken from the source one after the other."""
N_SORTED = 16
"""Smallest number of batches whose rows are sorted by length together."""
SIZE_NOISE = 0.5
"""Groups whose sizes differ by no more than this share may be in one batch."""
BLOCK, N_BLOCKS = 2**14, 2**4
"""Rows of a block, which are neighbours on disk, and blocks that are in memory at a time.

Blocks are large, as the system maps up to two MiB of a file for every position that is read."""
KEPT = 31 << 20
"""Bytes that are allocated and freed once: glibc adapts to the largest freed block, up to 32 MiB, and
then returns less memory to the system for every piece."""


T = TypeVar("T", bound=Rowwise)
T_co = TypeVar("T_co", bound=Rowwise, covariant=True)


class Source(Protocol[T_co]):
    """Training rows, in memory or computed when they are taken."""

    @property
    def device(self) -> torch.device:
        """The device of the rows that `take` returns."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def take(self, rows: Tensor) -> T_co:
        """Return the given rows, int64 (m,), in the given order."""


class Batches(Generic[T]):
    """Iterate over random batches of rows; every iteration is a new epoch.

    A tenth of all rows is taken from the source at a time, so that what a source computes is never in
    memory for all rows. If there are several workers, each takes its piece of every batch.

    Parameters
    ----------
    source : Source
    batch_size : int
    generator : torch.Generator
        The only source of randomness of the order.
    rows : Tensor of shape (n,), int64, optional
        The rows to take; all of them when None.
    lengths : Tensor of shape (n_rows,), optional
        The length of each row. Rows of a batch then have similar lengths, so that little is padded.
    groups : Tensor of shape (n_rows,), optional
        The group of each row; the rows of a group are neighbours. A batch is then several whole groups
        of similar size, with ``batch_size`` rows or a little more.
    start : callable, optional
        Called at the start of every epoch.

    Examples
    --------
    >>> from tabemb.network.inputs import Kept
    >>> rows = Kept(torch.zeros(5, 1), torch.arange(5))
    >>> batches = Batches(rows, 2, torch.Generator().manual_seed(0))
    >>> len(batches), sorted(torch.cat([batch.counts for batch in batches]).tolist())
    (3, [0, 1, 2, 3, 4])
    """

    def __init__(
        self,
        source: Source[T],
        batch_size: int,
        generator: torch.Generator,
        rows: Tensor | None = None,
        lengths: Tensor | None = None,
        groups: Tensor | None = None,
        start: Callable[[], None] | None = None,
    ) -> None:
        self.source, self.batch_size, self.generator = source, batch_size, generator
        self.lengths, self.groups, self.start = lengths, groups, start
        self.workers = current()
        device = source.device
        self.rows = torch.arange(len(source), device=device) if rows is None else rows.to(device)

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return -(-len(self.rows) // self.batch_size)

    def __iter__(self) -> Iterator[T]:
        if self.start:
            self.start()
        batches = (
            self._batches_of_rows() if self.groups is None else self._batches_of_groups(self.groups)
        )
        n_parts = max(1, N_PARTS // self.workers.size)
        n_together = max(-(-len(batches) // n_parts), 1 if self.lengths is None else N_SORTED)
        for start in range(0, len(batches), n_together):
            whole = self._sorted_by_length(batches[start : start + n_together])
            part = [self._piece(rows) for rows in whole]
            yield from self.source.take(torch.cat(part)).split([len(batch) for batch in part])

    def _piece(self, rows: Tensor) -> Tensor:
        return self.workers.piece(rows, None if self.groups is None else self.groups[rows])

    def _batches_of_rows(self) -> Sequence[Tensor]:
        order = self.rows[torch.randperm(len(self.rows), generator=self.generator).to(self.rows.device)]
        return order.tensor_split(len(self))  # sizes differ by one at most: no tiny last batch

    def _batches_of_groups(self, groups_of_rows: Tensor) -> Sequence[Tensor]:
        sizes = torch.unique_consecutive(groups_of_rows[self.rows], return_counts=True)[1]
        groups = self.rows.split(sizes.tolist())
        # noise on the sizes combines different groups in every epoch
        noise = torch.rand(len(sizes), generator=self.generator).to(sizes.device)
        by_size = (sizes * (1 + SIZE_NOISE * noise)).argsort().tolist()
        filled = sizes[by_size].cumsum(0).sub(1).div(self.batch_size, rounding_mode="floor")
        counts = torch.unique_consecutive(filled, return_counts=True)[1].tolist()
        starts = [0, *itertools.accumulate(counts)]
        order = torch.randperm(len(counts), generator=self.generator).tolist()
        return [torch.cat([groups[g] for g in by_size[starts[i] : starts[i + 1]]]) for i in order]

    def _sorted_by_length(self, batches: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return the same rows in as many batches, each of rows with similar lengths."""
        if self.lengths is None:
            return batches
        rows = torch.cat(list(batches))
        ordered = rows[self.lengths[rows].argsort(stable=True)].split([len(batch) for batch in batches])
        return [ordered[i] for i in torch.randperm(len(ordered), generator=self.generator).tolist()]


class BlockedBatches(Batches[T]):
    """Iterate, block by block, over batches of rows that are stored on disk in random order.

    An epoch reads blocks of neighbouring rows in random order. Several blocks at a time are in memory,
    where their rows are shuffled.

    Parameters
    ----------
    source : Source
    batch_size : int
    generator : torch.Generator
    rows : Tensor of shape (n,), int64, optional
        The rows to take, ascending; all of them when None.

    Examples
    --------
    >>> from tabemb.network.inputs import Kept
    >>> rows = Kept(torch.zeros(5, 1), torch.arange(5))
    >>> batches = BlockedBatches(rows, 2, torch.Generator().manual_seed(0))
    >>> len(batches), sorted(torch.cat([batch.counts for batch in batches]).tolist())
    (3, [0, 1, 2, 3, 4])
    """

    def __init__(
        self, source: Source[T], batch_size: int, generator: torch.Generator, rows: Tensor | None = None
    ) -> None:
        self.source, self.batch_size, self.generator = source, batch_size, generator
        self.chosen, self.n_rows = rows, len(source) if rows is None else len(rows)
        self.workers = current()

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        full, rest = divmod(self.n_rows, BLOCK * N_BLOCKS)
        return full * -(-BLOCK * N_BLOCKS // self.batch_size) + -(-rest // self.batch_size)

    def __iter__(self) -> Iterator[T]:
        n_full = self.n_rows // BLOCK
        blocks = torch.randperm(n_full, generator=self.generator)
        if n_full * BLOCK < self.n_rows:  # the last, smaller block comes last
            blocks = torch.cat([blocks, torch.tensor([n_full])])
        for together in blocks.split(N_BLOCKS):
            rows = (together[:, None] * BLOCK + torch.arange(BLOCK)).flatten()
            rows = rows[rows < self.n_rows]
            rows = rows[torch.randperm(len(rows), generator=self.generator)]
            rows = rows if self.chosen is None else self.chosen[rows]
            batches = rows.tensor_split(-(-len(rows) // self.batch_size))
            part = [self.workers.piece(batch) for batch in batches]
            yield from self.source.take(torch.cat(part)).split([len(batch) for batch in part])


def pieces_of(rows: T, sizes: Sequence[int]) -> Sequence[T]:
    """Split rows into consecutive pieces, to be predicted one after the other."""
    if len(sizes) > 1:
        # freed at once, so that the allocator keeps this much memory for the pieces
        torch.empty(KEPT, dtype=torch.uint8)
    return rows.split(sizes)


def equal_sizes(n_rows: int, size: int) -> list[int]:
    """Return the sizes of pieces of ``size`` rows, of which the last may be smaller.

    Examples
    --------
    >>> equal_sizes(5, 2)
    [2, 2, 1]
    """
    full, rest = divmod(n_rows, size)
    return [size] * full + [rest] * (rest > 0 or not full)

"""Batches by index: the whole data lies in tensors, an epoch is a shuffled index cut into pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor


class Batches:
    """Random batches of rows from tensors of equal length.

    Parameters
    ----------
    tensors : sequence of Tensor, each of shape (n_rows, ...)
        Or functions that give one, drawn anew for each epoch; the first must be a tensor.
    batch_size : int
    generator : torch.Generator
        The only source of randomness of the order.

    Examples
    --------
    >>> batches = Batches([torch.arange(5)], 2, torch.Generator().manual_seed(0))
    >>> len(batches), sorted(torch.cat([b for b, in batches]).tolist())
    (3, [0, 1, 2, 3, 4])
    """

    def __init__(
        self, tensors: Sequence[Tensor | Callable[[], Tensor]], batch_size: int, generator: torch.Generator
    ) -> None:
        self.tensors, self.batch_size, self.generator = tensors, batch_size, generator
        self.n_rows, self.device = len(tensors[0]), tensors[0].device  # type: ignore[arg-type, union-attr]

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return -(-self.n_rows // self.batch_size)

    def __iter__(self) -> Iterator[list[Tensor]]:
        tensors = [given if isinstance(given, Tensor) else given() for given in self.tensors]
        order = torch.randperm(self.n_rows, generator=self.generator).to(self.device)
        for rows in order.tensor_split(len(self)):  # sizes differ by one at most: no tiny last batch
            yield [tensor.index_select(0, rows) for tensor in tensors]


def in_pieces(tensors: Sequence[Tensor], size: int) -> Iterator[list[Tensor]]:
    """Consecutive rows, ``size`` at a time, for prediction."""
    yield from zip(*(tensor.split(size) for tensor in tensors))

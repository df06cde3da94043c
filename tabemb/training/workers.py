"""Workers: processes that train one network together, each on a piece of every batch.

All workers draw the same batches and take different rows of them. Their gradients are averaged, weighted
by the numbers of rows, so a step equals that of one process on the whole batch. The workers' weights
stay equal bit for bit. Every worker takes as many steps as one process would, so none ends before the
others, whatever the number of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

T = TypeVar("T")


class Workers:
    """A process that trains alone; base class of processes that train together.

    Attributes
    ----------
    rank : int
        Number of this worker, from 0 on.
    size : int
        Number of workers.
    """

    rank, size = 0, 1

    def agreed(self, value: float) -> float:
        """Return the value of the first worker."""
        return value

    def shared(self, compute: Callable[[], T]) -> T:
        """Return what the first worker computes, or raise what it raises; the others wait."""
        return compute()

    def gathered(self, value: T) -> list[T]:
        """Return the values of all workers, in the order of their ranks."""
        return [value]

    def piece(self, rows: Tensor, groups: Tensor | None = None) -> Tensor:
        """Return the rows of a batch, (n,), that this worker takes.

        If there are fewer rows, or groups, than workers, each worker takes all of them.

        Parameters
        ----------
        rows : Tensor of shape (n,)
        groups : Tensor of shape (n,), optional
            The group of each row; the rows of a group follow one another, and go to one worker.
        """
        return rows

    def mean(self, value: Tensor, n_rows: int) -> Tensor:
        """Return the mean over the rows of all workers, (), from the mean over this worker's rows."""
        return value

    def total(self, value: float) -> float:
        """Return the sum of the workers' values."""
        return value

    def combine(
        self, dense: Sequence[nn.Parameter], sparse: Sequence[nn.Parameter], loss: Tensor, n_rows: int
    ) -> Tensor:
        """Replace gradients by those of the whole batch, and return its loss, ().

        Parameters
        ----------
        dense, sparse : sequence of nn.Parameter
            Weights with dense gradients, and with row-sparse ones. A weight gets no gradient if no
            worker has one.
        loss : Tensor of shape ()
            The mean over this worker's piece of the batch, whose gradients the weights have.
        n_rows : int
            Rows of the piece.
        """
        return loss.detach()


class ProcessGroup(Workers):
    """The processes of torch's default process group, which must exist."""

    def __init__(self) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self._sums: Tensor | None = None

    @cached_property
    def device(self) -> torch.device:
        """The device from which single values are sent."""
        return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")

    def agreed(self, value: float) -> float:
        box = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.broadcast(box, 0)
        return box.item()

    def shared(self, compute: Callable[[], T]) -> T:
        box: list[Any] = [None, None]
        if self.rank == 0:
            try:
                box[0] = compute()
            except Exception as error:  # the others wait for an answer
                box[1] = error
        dist.broadcast_object_list(box, 0)
        if box[1] is not None:
            raise box[1]
        value: T = box[0]
        return value

    def gathered(self, value: T) -> list[T]:
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def piece(self, rows: Tensor, groups: Tensor | None = None) -> Tensor:
        if groups is None:
            return rows if len(rows) < self.size else rows[self.rank :: self.size]
        sizes = torch.unique_consecutive(groups, return_counts=True)[1]
        if len(sizes) < self.size:
            return rows
        n_rows = [int(part.sum()) for part in sizes.tensor_split(self.size)]
        piece: Tensor = rows.split(n_rows)[self.rank]
        return piece

    def mean(self, value: Tensor, n_rows: int) -> Tensor:
        sums = torch.stack([value * n_rows, value.new_tensor(n_rows)])
        dist.all_reduce(sums)
        mean: Tensor = sums[0] / sums[1]
        return mean

    def total(self, value: float) -> float:
        box = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.all_reduce(box)
        return box.item()

    def combine(
        self, dense: Sequence[nn.Parameter], sparse: Sequence[nn.Parameter], loss: Tensor, n_rows: int
    ) -> Tensor:
        pieces = [_rows_and_values(weight) for weight in sparse]
        has_gradient = loss.new_tensor([weight.grad is not None for weight in dense])
        parts = [_gradient(weight).flatten() for weight in dense]
        parts += [has_gradient, loss.detach().reshape(1), loss.new_ones(1)]
        parts += [loss.new_zeros(self.size * len(sparse))]
        sums = torch.cat(parts, out=self._vector_for(parts)).mul_(n_rows)
        *means, has_gradient, loss, n_in_all, counts = sums.split([len(part) for part in parts])
        counts = counts.view(self.size, len(sparse))  # each worker sets its row; others are zero
        counts[self.rank] = counts.new_tensor([len(rows) for rows, _ in pieces])
        dist.all_reduce(sums)
        n_sent = [[int(n) for n in of_worker] for of_worker in counts.tolist()]
        share = n_rows / n_in_all
        sums.div_(n_in_all.clone())
        for weight, mean, has in zip(dense, means, has_gradient.tolist()):
            weight.grad = mean.view_as(weight) if has else None
        if sparse:
            self._combine_rows(sparse, pieces, n_sent, share)
        return loss.squeeze(0).clone()

    def _vector_for(self, parts: list[Tensor]) -> Tensor:
        """Return a vector as long as all parts; it is reused, as new memory is slow."""
        length, like = sum(map(len, parts)), parts[0]
        if self._sums is None or len(self._sums) != length or self._sums.device != like.device:
            self._sums = like.new_empty(length)
        return self._sums

    def _combine_rows(
        self,
        sparse: Sequence[nn.Parameter],
        pieces: Sequence[tuple[Tensor, Tensor]],
        n_sent: Sequence[Sequence[int]],
        share: Tensor,
    ) -> None:
        """Replace row-sparse gradients by their sums over workers, each times the share of its worker.

        All tables are sent at once, as a step waits for each transfer. ``n_sent[i][j]`` is the number of
        rows that worker i sends of table j.
        """
        sent = [_packed(rows, values * share) for rows, values in pieces]
        lengths = [[n * (1 + w.shape[1]) for n, w in zip(of_worker, sparse)] for of_worker in n_sent]
        received = self._received(torch.cat(sent), [sum(of_worker) for of_worker in lengths])
        by_worker = [vector.split(of_worker) for vector, of_worker in zip(received, lengths)]
        for weight, parts, counts in zip(sparse, zip(*by_worker), zip(*n_sent)):
            weight.grad = None
            if any(counts):
                weight.grad = _unpacked(parts, counts, weight)

    def _received(self, vector: Tensor, lengths: Sequence[int]) -> list[Tensor]:
        """Return the vectors of all workers, which have these lengths."""
        padded = vector.new_zeros(max(lengths))
        padded[: len(vector)] = vector
        parts = [torch.empty_like(padded) for _ in lengths]
        dist.all_gather(parts, padded)
        return [part[:length] for part, length in zip(parts, lengths)]


def _gradient(weight: nn.Parameter) -> Tensor:
    return torch.zeros_like(weight) if weight.grad is None else weight.grad


def _rows_and_values(weight: nn.Parameter) -> tuple[Tensor, Tensor]:
    """Return the rows of a row-sparse gradient, int64 (m,), each once, and their values (m, dim)."""
    if weight.grad is None:
        return torch.zeros(0, dtype=torch.long, device=weight.device), weight.detach()[:0]
    gradient = weight.grad.coalesce()
    return gradient.indices()[0], gradient.values()


def _packed(rows: Tensor, values: Tensor) -> Tensor:
    """Return rows (m,) and values (m, dim) as one float32 vector, (m * (1 + dim),)."""
    bits = rows.to(torch.int32).view(torch.float32)  # bits, as numbers would be rounded
    return torch.cat([bits, values.to(torch.float32).flatten()])


def _unpacked(parts: Sequence[Tensor], counts: Sequence[int], weight: nn.Parameter) -> Tensor:
    """Return the row-sparse gradient of a weight, from what all workers packed."""
    rows = torch.cat([part[:n].view(torch.int32) for part, n in zip(parts, counts)]).long()
    values = torch.cat([part[n:] for part, n in zip(parts, counts)]).view(len(rows), -1)
    values = values.to(weight.dtype)
    gradient = torch.sparse_coo_tensor(rows[None], values, weight.shape, check_invariants=False)
    return gradient.coalesce()


_ALONE = Workers()
_CURRENT: ContextVar[Workers] = ContextVar("tabemb_workers", default=_ALONE)


def current() -> Workers:
    """Return the workers that train within `working_together`; outside of it, a single one."""
    return _CURRENT.get()


@contextmanager
def working_together() -> Iterator[Workers]:
    """Share fits within the block, in this thread, among all processes of torch's process group."""
    token = _CURRENT.set(ProcessGroup())
    try:
        yield _CURRENT.get()
    finally:
        _CURRENT.reset(token)


def check_alone(estimator: object) -> None:
    """Raise ValueError where several workers would each fit an estimator whose fit they cannot share."""
    if current().size > 1:
        raise ValueError(
            f"{type(estimator).__name__} must be fitted by one process, outside of distributed.workers; "
            f"{current().size} workers share the fits of classifiers and regressors alone."
        )

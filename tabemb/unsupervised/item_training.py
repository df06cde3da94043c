"""Training epochs of item vectors: order, batches, learning rate and threads."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

import numpy as np

from tabemb.progress import progress
from tabemb.unsupervised.item_lists import LONGEST, ItemLists
from tabemb.unsupervised.skip_gram import LAST_RATE, Trainer

Pieces = Callable[[], Iterator[ItemLists]]
"""Returns all lists of an epoch, piece by piece."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How often and in which steps the lists are read.

    Parameters
    ----------
    n_epochs : int
    n_items : float
        Number of items in an epoch.
    learning_rate : float
        It decreases linearly to `LAST_RATE`.
    shuffle : numpy.random.Generator, optional
        Shuffles the lists, and the items of each, in each epoch. None: they keep their order.
    n_threads : int
    show : bool, optional
        Whether to show a progress bar.
    """

    n_epochs: int
    n_items: float
    learning_rate: float
    shuffle: np.random.Generator | None
    n_threads: int
    show: bool | None

    def rate(self, n_done: float) -> float:
        """Return the learning rate after training on ``n_done`` items, counted over all epochs."""
        last = min(LAST_RATE, self.learning_rate)
        share = min(n_done / (self.n_epochs * self.n_items), 1.0)
        return self.learning_rate - (self.learning_rate - last) * share

    def batches(self, pieces: Pieces) -> Iterator[ItemLists]:
        """Yield the lists of an epoch in batches of up to 10,000 items."""
        for piece in pieces():
            lists = piece if self.shuffle is None else piece.shuffled(self.shuffle)
            yield from lists.cut().batches(LONGEST)


def train_items(
    trainer: Trainer,
    pieces: Pieces,
    schedule: Schedule,
    after: Callable[[], None] | None = None,
) -> dict[str, list[float]]:
    """Train vectors of items.

    Parameters
    ----------
    trainer : Trainer
    pieces : callable
    schedule : Schedule
    after : callable, optional
        Called after each batch, on one thread.

    Returns
    -------
    dict of list
        The learning curve: epoch, seconds and train_loss (the loss per item read), one entry per epoch.
    """
    curve: dict[str, list[float]] = {"epoch": [], "seconds": [], "train_loss": []}
    n_done, started = 0, time.perf_counter()
    total = int(schedule.n_epochs * schedule.n_items)
    with progress(total, "items", schedule.show) as bar, Threads(trainer, schedule.n_threads) as threads:
        for epoch in range(schedule.n_epochs):
            first, loss = n_done, 0.0
            for batch in schedule.batches(pieces):
                loss += threads.step(batch, schedule.rate(n_done))
                if after is not None:
                    after()
                n_done += len(batch.codes)
                bar.update(len(batch.codes))
            loss += threads.finish()
            curve["epoch"].append(epoch + 1)
            curve["seconds"].append(time.perf_counter() - started)
            curve["train_loss"].append(loss / max(n_done - first, 1))
    return curve


class Threads:
    """Training steps on several threads, which update the same vectors without locks (Hogwild).

    Recht et al. 2011, https://arxiv.org/abs/1106.5730. With one thread, the steps run one after the
    other in the calling thread, so they are reproducible and can be interrupted.

    Parameters
    ----------
    trainer : Trainer
    n : int
        Number of threads.
    """

    def __init__(self, trainer: Trainer, n: int) -> None:
        self._trainer, self._n = trainer, n
        self._running: deque[Future[float]] = deque()
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Threads:
        if self._n > 1:
            self._pool = ThreadPoolExecutor(self._n, "tabemb-items")
            self._free: SimpleQueue[Trainer] = SimpleQueue()
            for i in range(self._n):
                self._free.put(self._trainer.twin(i))
        return self

    def __exit__(self, *error: Any) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def step(self, lists: ItemLists, rate: float) -> float:
        """Train on some lists, now or later; return the loss of a finished step."""
        if self._pool is None:
            return self._trainer.step(lists, rate)
        self._running.append(self._pool.submit(self._step, lists, rate))
        return self._running.popleft().result() if len(self._running) > 2 * self._n else 0.0

    def _step(self, lists: ItemLists, rate: float) -> float:
        trainer = self._free.get()
        try:
            return trainer.step(lists, rate)
        finally:
            self._free.put(trainer)

    def finish(self) -> float:
        """Wait for all steps; return the loss of those not yet returned."""
        loss = sum(step.result() for step in self._running)
        self._running.clear()
        return loss

"""The loop: epochs of steps, evaluation, early stopping, a time budget, learning curves."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import repeat

import torch
from torch import Tensor, nn
from tqdm import tqdm

from tabemb.progress import progress
from tabemb.training.batches import Batches
from tabemb.training.checkpoint import Checkpoint
from tabemb.training.optimizers import Optimizer

History = dict[str, list[float]]
"""Learning curves by name, one entry an epoch: epoch, seconds, train_loss, eval_loss."""

CLIP = 1.0
"""Longest gradient of a step; longer ones are scaled down to it."""


class Clock:
    """Seconds since the start, against an optional budget."""

    def __init__(self, budget: float | None = None) -> None:
        self.start, self.budget = time.perf_counter(), budget

    def part(self, n_parts: int) -> Clock:
        """A clock from now on whose budget is one of ``n_parts`` equal parts of what is left."""
        return Clock(None if self.budget is None else max(self.budget - self.seconds, 0) / n_parts)

    @property
    def seconds(self) -> float:
        """Seconds that have passed."""
        return time.perf_counter() - self.start

    @property
    def over(self) -> bool:
        """Whether the budget is spent."""
        return self.budget is not None and self.seconds >= self.budget


def train(
    network: nn.Module,
    batches: Batches,
    loss: Callable[..., Tensor],
    optimizer: Optimizer,
    *,
    max_epochs: int,
    evaluate: Callable[[], float] | None = None,
    patience: int = 1,
    clock: Clock | None = None,
    show: bool | None = False,
) -> tuple[History, int]:
    """Train a network and leave in it the average weights of its best epoch.

    Parameters
    ----------
    network : nn.Module
    batches : Batches
    loss : callable
        From the tensors of a batch to the loss, a scalar.
    optimizer : Optimizer
        What it averages is evaluated, and kept.
    max_epochs : int
    evaluate : callable, optional
        Gives the loss that the best epoch is chosen by, under a constant rate; without it the end is known beforehand:
        the rate falls to zero until there, and the last epoch stays.
    patience : int, default=1
        Epochs without a better evaluation loss after which training ends.
    clock : Clock, optional
        Ends the training when its budget is spent, within an epoch if need be.
    show : bool or None, default=False
        A progress bar; None shows one on a terminal alone, when training takes longer than three seconds.

    Returns
    -------
    history : History
    best_epoch : int
        The epoch whose weights were kept, counted from 0; without ``evaluate`` the last one.

    Raises
    ------
    ValueError
        The training loss is no longer finite.
    """
    clock = clock or Clock()
    best = Checkpoint(network, patience)
    rates = repeat(1.0) if evaluate else falling(max_epochs * len(batches))
    history: History = {key: [] for key in ("epoch", "seconds", "train_loss", "eval_loss")}
    with progress(max_epochs * len(batches), show=show) as bar:
        for epoch in range(max_epochs):
            train_loss = _run_epoch(network, batches, loss, optimizer, rates, clock, bar)
            if not math.isfinite(train_loss):
                raise ValueError(
                    f"the training loss became {train_loss} in epoch {epoch}; try a smaller learning_rate."
                )
            with optimizer.average.in_place():
                eval_loss = evaluate() if evaluate else float("nan")
                best.update(epoch, eval_loss)
            _record(history, epoch, clock.seconds, train_loss, eval_loss)
            bar.set_postfix_str(_describe(epoch, max_epochs, train_loss, eval_loss), refresh=False)
            if clock.over or (evaluate and best.exhausted):
                break
    optimizer.average.swap()
    best.restore()
    network.eval()
    return history, best.epoch if evaluate and best.epoch >= 0 else epoch


def falling(n_steps: int) -> Iterator[float]:
    """Shares of the learning rate from one to zero along a cosine (Loshchilov & Hutter 2017).

    Examples
    --------
    >>> [round(share, 2) for share in falling(4)]
    [1.0, 0.85, 0.5, 0.15]
    """
    return (0.5 + 0.5 * math.cos(math.pi * step / n_steps) for step in range(n_steps))


def _run_epoch(
    network: nn.Module,
    batches: Batches,
    loss: Callable[..., Tensor],
    optimizer: Optimizer,
    rates: Iterable[float],
    clock: Clock,
    bar: tqdm,
) -> float:
    """One pass over the rows, each step at its share of the learning rates; gives their mean loss."""
    network.train()
    losses = []
    for batch, rate in zip(batches, rates):
        value = loss(*batch)
        value.backward()
        clip_gradients(network)
        optimizer.step(rate)
        losses.append(value.detach())
        bar.update()
        if clock.over:
            break
    return float(torch.stack(losses).mean())


def clip_gradients(network: nn.Module) -> None:
    """Scale the dense gradients down to :data:`CLIP`; those of sparse tables are bounded by Adam's own step."""
    dense = [p for p in network.parameters() if p.grad is not None and not p.grad.is_sparse]
    nn.utils.clip_grad_norm_(dense, CLIP)


def _record(history: History, *values: float) -> None:
    for curve, value in zip(history.values(), values):
        curve.append(value)


def _describe(epoch: int, max_epochs: int, train_loss: float, eval_loss: float) -> str:
    evaluated = "" if eval_loss != eval_loss else f", eval {eval_loss:.4f}"
    return f"epoch {epoch + 1}/{max_epochs}, loss {train_loss:.4f}{evaluated}"

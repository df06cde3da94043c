"""The training loop: epochs of steps, validation, early stopping, a time budget, learning curves."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import islice, repeat
from threading import Event, current_thread, main_thread
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tabemb.progress import progress
from tabemb.training.batches import Batches
from tabemb.training.best import BestWeights, Validated
from tabemb.training.checkpoints import NoCheckpoints
from tabemb.training.optimizers import Loss, Optimizer
from tabemb.training.state import State
from tabemb.training.threads import threads
from tabemb.training.watch import current_watch
from tabemb.training.workers import current

LearningCurve = dict[str, list[float]]
"""One entry per epoch: epoch, seconds, train_loss, eval_loss (NaN without validation rows).

Both losses are means over rows, without the prior of the tables."""


_STOP: ContextVar[Event | None] = ContextVar("tabemb_stop", default=None)


@contextmanager
def keep_on_interrupt() -> Iterator[None]:
    """Let the first Ctrl-C within the block end a fit as ``max_time`` does: what was trained is kept.

    The step is finished, and the best epoch so far is kept. A second Ctrl-C interrupts the fit, which
    then leaves the estimator as it was. Without this block, the first Ctrl-C does that.

    Raises
    ------
    ValueError
        Outside of the main thread, which alone receives Ctrl-C.

    Examples
    --------
    >>> import tabemb
    >>> model = tabemb.EmbeddingClassifier(max_epochs=2, random_state=0)
    >>> with tabemb.keep_on_interrupt():
    ...     _ = model.fit([["a"], ["b"]] * 20, [0, 1] * 20)
    """
    if current_thread() is not main_thread():
        raise ValueError("keep_on_interrupt must be used in the main thread, which receives Ctrl-C.")
    stop, before = Event(), signal.getsignal(signal.SIGINT)

    def first(signum: int, frame: Any) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, first)
    token = _STOP.set(stop)
    try:
        yield
    finally:
        _STOP.reset(token)
        signal.signal(signal.SIGINT, before)


class Budget:
    """A time budget with an optional limit, which Ctrl-C in `keep_on_interrupt` also ends."""

    def __init__(self, limit: float | None = None) -> None:
        self.start, self.limit = time.perf_counter(), limit
        self._stop = _STOP.get()

    def share(self, n_shares: int) -> Budget:
        """Return a budget that starts now: one of ``n_shares`` equal shares of the time that is left."""
        return Budget(None if self.limit is None else max(self.limit - self.seconds, 0) / n_shares)

    @property
    def seconds(self) -> float:
        """Seconds that have passed."""
        return time.perf_counter() - self.start

    @property
    def is_limited(self) -> bool:
        """Whether anything can end the budget."""
        return self.limit is not None or self._stop is not None

    @property
    def over(self) -> bool:
        """Whether the time is spent."""
        is_stopped = self._stop is not None and self._stop.is_set()
        return is_stopped or (self.limit is not None and self.seconds >= self.limit)


@dataclass(frozen=True)
class Training:
    """All that one training needs.

    Parameters
    ----------
    network : nn.Module
    batches : Batches
    loss : callable
        From a batch to its loss; it calls the network.
    optimizer : Optimizer
        Its averaged weights are validated, and kept.
    max_epochs : int
    evaluate : callable, optional
        Returns the validation loss, which chooses the best epoch; the learning rate is constant then.
        Without it the last epoch is kept.
    falls : bool, default=True
        Whether the learning rate falls to zero by the last epoch, if no epoch is validated.
    patience : int, default=1
        Epochs without a better validation loss after which training ends.
    budget : Budget, optional
        Ends the training when it is spent, within an epoch if need be.
    show : bool or None, default=False
        Whether to show a progress bar. None: on a terminal or in a notebook, after three seconds.
    checkpoints : NoCheckpoints, optional
        Writes the state at the ends of epochs, and resumes a training that was killed.
    """

    network: nn.Module
    batches: Batches[Any]
    loss: Callable[[Any], Loss]
    optimizer: Optimizer
    max_epochs: int
    evaluate: Callable[[], Validated] | None = None
    falls: bool = True
    patience: int = 1
    budget: Budget = field(default_factory=Budget)
    show: bool | None = False
    checkpoints: NoCheckpoints = field(default_factory=NoCheckpoints)

    def is_cut(self) -> bool:
        """Return whether time is up or a callback stops the fit; the first worker decides for all."""
        watch = current_watch()
        is_over = self.budget.over or watch.is_stopped
        can_be = self.budget.is_limited or watch.callbacks
        return bool(current().agreed(is_over)) if can_be else is_over


class Trained(NamedTuple):
    """The learning curve of a training, and the epoch whose weights were kept, counted from 0."""

    curve: LearningCurve
    best_epoch: int

    def followed_by(self, more: Trained) -> Trained:
        """Return the curves of both trainings as one; the best epoch stays that of the first."""
        curve = {key: self.curve[key] + more.curve[key] for key in self.curve}
        curve["epoch"] = [float(epoch) for epoch in range(len(curve["epoch"]))]
        return Trained(curve, self.best_epoch)


class Run:
    """A running training: the parts that change from epoch to epoch.

    Attributes
    ----------
    best : BestWeights
    curve : LearningCurve
        The learning curve of the finished epochs.
    """

    def __init__(self, training: Training) -> None:
        self.training = training
        self.best = BestWeights(training.network, training.patience)
        self.curve: LearningCurve = {key: [] for key in ("epoch", "seconds", "train_loss", "eval_loss")}
        self._seconds_before = 0.0
        training.optimizer.average.restart()

    @property
    def n_epochs(self) -> int:
        """Epochs that are over."""
        return len(self.curve["epoch"])

    @property
    def is_over(self) -> bool:
        """Whether no epoch follows."""
        training = self.training
        if not self.n_epochs:
            return False
        is_exhausted = training.evaluate is not None and self.best.exhausted
        return self.n_epochs >= training.max_epochs or is_exhausted or training.is_cut()

    @property
    def n_steps(self) -> int:
        """Steps of all epochs."""
        return self.training.max_epochs * len(self.training.batches)

    @property
    def n_done(self) -> int:
        """Steps of the epochs that are over."""
        return self.n_epochs * len(self.training.batches)

    def rates(self) -> Iterator[float]:
        """Return the share of the learning rate for each of the following steps."""
        if self.training.evaluate or not self.training.falls:
            return repeat(1.0)
        return islice(falling(self.n_steps), self.n_done, None)

    def end_epoch(self, losses: list[Tensor], events_per_second: float = 0.0) -> str:
        """Validate the averaged weights, record the epoch, and return a description of it."""
        training, epoch = self.training, self.n_epochs
        train_loss = _finite_mean(losses, epoch)
        with training.optimizer.average.in_place():
            validated = training.evaluate() if training.evaluate else Validated(float("nan"))
            self.best.update(epoch, validated)
        eval_loss = validated.loss
        seconds = self._seconds_before + training.budget.seconds
        for entries, value in zip(self.curve.values(), (epoch, seconds, train_loss, eval_loss)):
            entries.append(value)
        current_watch().epoch_ended(train_loss, eval_loss, self.best.epoch == epoch)
        described = _describe(epoch, training.max_epochs, train_loss, eval_loss)
        return described + (f", {events_per_second:,.0f} events/s" if events_per_second else "")

    def end(self) -> Trained:
        """Leave the best averaged weights in the network."""
        self.training.optimizer.average.swap()
        self.best.restore()
        self.training.network.eval()
        has_best = self.training.evaluate is not None and self.best.epoch >= 0
        return Trained(self.curve, self.best.epoch if has_best else self.n_epochs - 1)

    def state(self) -> State:
        """Return all that later epochs depend on, except the weights and the fit's generators."""
        return {
            "optimizer": self.training.optimizer.state(),
            "best": self.best.state(),
            "order": self.training.batches.generator.get_state(),
            "curve": self.curve,
        }

    def load(self, state: State) -> None:
        """Load a state of the same training."""
        self.training.optimizer.load(state["optimizer"])
        self.best.load(state["best"])
        self.training.batches.generator.set_state(state["order"])
        self.curve = state["curve"]
        self._seconds_before = self.curve["seconds"][-1]


def train(training: Training) -> Trained:
    """Train a network and leave in it the averaged weights of its best epoch.

    Parameters
    ----------
    training : Training

    Returns
    -------
    Trained

    Raises
    ------
    ValueError
        The training loss is no longer finite.
    """
    checkpoints = training.checkpoints
    if result := checkpoints.result():
        training.network.eval()
        return Trained(**result)
    run = Run(training)
    if state := checkpoints.state():
        run.load(state)
    rates = run.rates()
    show = training.show if current().rank == 0 else False
    bar = progress(run.n_steps, show=show, done=run.n_done)
    with threads(checkpoints.n_threads), bar:
        while not run.is_over:
            training.network.train()
            losses, n_events, start = [], 0, training.budget.seconds
            for batch, rate in zip(training.batches, rates):
                loss = training.optimizer.step(training.loss(batch), rate, len(batch))
                losses.append(loss)
                n_events += getattr(batch, "n_events", 0)  # only rows with histories have events
                bar.update()
                if training.is_cut():
                    break
            seconds = max(training.budget.seconds - start, 1e-9)
            bar.set_postfix_str(run.end_epoch(losses, n_events / seconds), refresh=False)
            checkpoints.write(run.state, is_cut=training.is_cut())
    trained = run.end()
    checkpoints.ended(trained._asdict(), is_cut=training.is_cut())
    return trained


def falling(n_steps: int) -> Iterator[float]:
    """Return shares of the learning rate that fall to zero along a cosine (Loshchilov & Hutter 2017).

    Examples
    --------
    >>> [round(share, 2) for share in falling(4)]
    [1.0, 0.85, 0.5, 0.15]
    """
    return (0.5 + 0.5 * math.cos(math.pi * step / n_steps) for step in range(n_steps))


def _finite_mean(losses: list[Tensor], epoch: int) -> float:
    mean = float(torch.stack(losses).mean())
    if not math.isfinite(mean):
        raise ValueError(
            f"The training loss became {mean} in epoch {epoch}; try a smaller learning_rate."
        )
    return mean


def _describe(epoch: int, max_epochs: int, train_loss: float, eval_loss: float) -> str:
    validation = "" if math.isnan(eval_loss) else f", validation {eval_loss:.4f}"
    return f"epoch {epoch + 1}/{max_epochs}, loss {train_loss:.4f}{validation}"

"""Callbacks, which are called during a fit and may end it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from tabemb.training.workers import current


@dataclass(frozen=True)
class Epoch:
    """An epoch that is over, as `Callback.on_epoch_end` receives it.

    Attributes
    ----------
    number : int
        Counted from 1 over all trainings of a fit, including a second one on all rows.
    train_loss : float
        Mean loss of the training rows, without the prior of the tables.
    eval_loss : float
        Mean loss of the validation rows; NaN where no rows are validated.
    is_best : bool
        Whether ``eval_loss`` is the smallest so far.
    seconds : float
        Since the start of the fit.
    """

    number: int
    train_loss: float
    eval_loss: float
    is_best: bool
    seconds: float


class Callback:
    """Base class of callbacks, whose methods are called during a fit.

    Subclasses override the methods that they need; here, all of them do nothing. If several processes
    train together, only the first one calls them.

    Examples
    --------
    >>> import tabemb
    >>> class Stop(tabemb.callbacks.Callback):
    ...     def on_epoch_end(self, epoch):
    ...         return epoch.number == 3
    >>> model = tabemb.EmbeddingClassifier(random_state=0, early_stopping=False)
    >>> model = model.fit([["a"], ["b"]] * 20, [0, 1] * 20, callbacks=[Stop()])
    >>> len(model.learning_curve_["epoch"])
    3
    """

    def on_fit_start(self, estimator: Any) -> None:
        """Run before the first epoch.

        Parameters
        ----------
        estimator : estimator
            It has its parameters, and is not fitted yet.
        """

    def on_epoch_end(self, epoch: Epoch) -> bool | None:
        """Run after each epoch.

        Parameters
        ----------
        epoch : Epoch

        Returns
        -------
        bool or None
            True ends the fit as ``max_time`` does: what was trained is kept.
        """

    def on_fit_end(self, estimator: Any, error: BaseException | None) -> None:
        """Run after the fit.

        Parameters
        ----------
        estimator : estimator
            Fitted, if there is no error.
        error : BaseException or None
            The error that ended the fit, if any.
        """


class Watch:
    """The callbacks of a running fit."""

    def __init__(self, callbacks: Sequence[Callback] = ()) -> None:
        self.callbacks, self.is_stopped = callbacks, False
        self._n_epochs, self._start = 0, time.perf_counter()
        self._started: list[Callback] = []

    def fit_started(self, estimator: Any) -> None:
        """Call ``on_fit_start`` of all callbacks."""
        for callback in self.callbacks if current().rank == 0 else ():
            callback.on_fit_start(estimator)
            self._started.append(callback)

    def epoch_ended(self, train_loss: float, eval_loss: float, is_best: bool) -> None:
        """Call ``on_epoch_end`` of all callbacks; stop if one of them returns True."""
        if current().rank:
            return
        self._n_epochs += 1
        seconds = time.perf_counter() - self._start
        epoch = Epoch(self._n_epochs, train_loss, eval_loss, is_best, seconds)
        answers = [callback.on_epoch_end(epoch) for callback in self.callbacks]
        self.is_stopped |= any(answers)

    def fit_ended(self, estimator: Any, error: BaseException | None = None) -> None:
        """Call ``on_fit_end`` of the callbacks that have started: one may have failed at the start."""
        for callback in self._started:
            callback.on_fit_end(estimator, error)


_NOBODY = Watch()
_WATCH: ContextVar[Watch] = ContextVar("tabemb_watch", default=_NOBODY)


def current_watch() -> Watch:
    """Return the watch of the current fit; outside of `watched`, one without callbacks."""
    return _WATCH.get()


@contextmanager
def watched(callbacks: Sequence[Callback] | None, estimator: Any) -> Iterator[Watch]:
    """Call callbacks during the trainings within the block, and once more if an error ends it.

    Raises
    ------
    TypeError
        One of them is not a `Callback`.
    """
    watch = Watch(_checked(callbacks))
    token = _WATCH.set(watch)
    try:
        watch.fit_started(estimator)
        yield watch
    except BaseException as error:
        watch.fit_ended(estimator, error)
        raise
    finally:
        _WATCH.reset(token)


def _checked(callbacks: Any) -> Sequence[Callback]:
    if callbacks is None:
        return ()
    listed = callbacks if isinstance(callbacks, list | tuple) else [callbacks]
    for callback in listed:
        if not isinstance(callback, Callback):
            raise TypeError(
                "callbacks must be a list of tabemb.callbacks.Callback; "
                f"it holds {callback!r}, a {type(callback).__name__}."
            )
    return tuple(listed)

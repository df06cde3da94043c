"""Callbacks: who watches a fit from outside, and may end it."""

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
        Counted from 1 over all trainings of a fit, such as a second one on all rows.
    train_loss : float
        Mean loss of the training rows, without the prior of the tables.
    eval_loss : float
        Mean loss of the validation rows; NaN where no rows are validated.
    is_best : bool
        Whether ``eval_loss`` is the least so far.
    seconds : float
        Since the start of the fit.
    """

    number: int
    train_loss: float
    eval_loss: float
    is_best: bool
    seconds: float


class Callback:
    """Watches a fit; subclasses override the methods that they need, all of which do nothing here.

    Of several processes that train together, the first one alone calls them.

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
        """Before the first epoch.

        Parameters
        ----------
        estimator : estimator
            It has its parameters, and nothing fitted yet.
        """

    def on_epoch_end(self, epoch: Epoch) -> bool | None:
        """After each epoch.

        Parameters
        ----------
        epoch : Epoch

        Returns
        -------
        bool or None
            True ends the fit as ``max_time`` does: what was trained is kept.
        """

    def on_fit_end(self, estimator: Any, error: BaseException | None) -> None:
        """After the fit.

        Parameters
        ----------
        estimator : estimator
            Fitted, where there is no error.
        error : BaseException or None
            What ended the fit.
        """


class Watch:
    """The callbacks of a fit under way."""

    def __init__(self, callbacks: Sequence[Callback] = ()) -> None:
        self.callbacks, self.is_stopped = callbacks, False
        self._n_epochs, self._start = 0, time.perf_counter()
        self._started: list[Callback] = []

    def fit_started(self, estimator: Any) -> None:
        """Tell all callbacks."""
        for callback in self.callbacks if current().rank == 0 else ():
            callback.on_fit_start(estimator)
            self._started.append(callback)

    def epoch_ended(self, train_loss: float, eval_loss: float, is_best: bool) -> None:
        """Tell all callbacks; stop where one of them says so."""
        if current().rank:
            return
        self._n_epochs += 1
        seconds = time.perf_counter() - self._start
        epoch = Epoch(self._n_epochs, train_loss, eval_loss, is_best, seconds)
        answers = [callback.on_epoch_end(epoch) for callback in self.callbacks]
        self.is_stopped |= any(answers)

    def fit_ended(self, estimator: Any, error: BaseException | None = None) -> None:
        """Tell the callbacks that know of the start: one may have failed at it."""
        for callback in self._started:
            callback.on_fit_end(estimator, error)


_NOBODY = Watch()
_WATCH: ContextVar[Watch] = ContextVar("tabemb_watch", default=_NOBODY)


def current_watch() -> Watch:
    """Return the watch of the fit around; one without callbacks outside of `watched`."""
    return _WATCH.get()


@contextmanager
def watched(callbacks: Sequence[Callback] | None, estimator: Any) -> Iterator[Watch]:
    """Let callbacks watch the trainings within the block; its end is told them if it is an error.

    Raises
    ------
    TypeError
        One of them is no `Callback`.
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

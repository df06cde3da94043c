"""One cell of a comparison: a model fitted and asked on one split with one seed, measured in a process of its own."""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import pandas as pd
import psutil
from sklearn.base import BaseEstimator
from threadpoolctl import threadpool_limits

from tabemb.compare.metrics import class_probabilities, row_losses, score
from tabemb.compare.models import ModelSpec, build_model

MEBIBYTE = 2**20


@dataclass(frozen=True)
class Task:
    """What one cell has to do; small enough to be sent to another process.

    Parameters
    ----------
    spec : ModelSpec
    task : {"binary", "multiclass", "regression"}
    roles : mapping
    X_train, X_test : DataFrame
    y_train, y_test : array
    classes : array or None
        All classes of the data set, sorted; those missing in training get the smallest probability.
    seed : int
    n_jobs : int
        Threads of the model, and of every numerical library below it.
    """

    spec: ModelSpec
    task: str
    roles: Mapping[str, str]
    X_train: pd.DataFrame
    y_train: np.ndarray
    X_test: pd.DataFrame
    y_test: np.ndarray
    classes: np.ndarray | None
    seed: int
    n_jobs: int


class _Stopwatch:
    """Wall seconds, CPU seconds of all threads, and the most memory above the start, in MiB.

    Memory is sampled a hundred times a second: the system's own high-water mark would count what was read before.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.readings: dict[str, float] = {}

    def __enter__(self) -> _Stopwatch:
        self._process, self._done = psutil.Process(), threading.Event()
        self._before = self._peak = self._process.memory_info().rss
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._sampler.start()
        self._cpu, self._wall = time.process_time(), time.perf_counter()
        return self

    def __exit__(self, *error: object) -> None:
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        self._peak = max(self._peak, self._process.memory_info().rss)
        self._done.set()
        self._sampler.join()
        self.readings = {
            f"{self.prefix}_seconds": wall,
            f"{self.prefix}_cpu_seconds": cpu,
            f"{self.prefix}_memory_mib": (self._peak - self._before) / MEBIBYTE,
        }

    def _sample(self) -> None:
        while not self._done.wait(0.01):
            self._peak = max(self._peak, self._process.memory_info().rss)


def measure(task: Task) -> dict[str, Any]:
    """Fit and ask a model, here and now.

    Parameters
    ----------
    task : Task

    Returns
    -------
    dict
        The errors; `fit_` and `predict_` with `seconds`, `cpu_seconds`, `memory_mib`; `losses`, the main loss of each
        test row; and `history`, the learning curves as JSON (empty where the model keeps none).
    """
    model = build_model(task.spec, task.task, task.X_train, task.roles, task.seed, task.n_jobs)
    with threadpool_limits(task.n_jobs):
        with _Stopwatch("fit") as fit:
            model.fit(task.X_train, task.y_train)
        with _Stopwatch("predict") as predict:
            predictions = _predict(model, task)
    losses = row_losses(task.task, task.y_test, predictions, task.classes)
    if not np.isfinite(losses).all():
        raise ValueError(
            f"{task.spec.label} predicts {np.sum(~np.isfinite(losses))} of {len(losses)} rows as NaN or infinite"
        )
    return {
        **score(task.task, task.y_test, predictions, task.classes),
        **fit.readings,
        **predict.readings,
        "losses": losses.astype(np.float32),
        "history": _history(model),
    }


def _predict(model: Any, task: Task) -> np.ndarray:
    if task.classes is None:
        return np.asarray(model.predict(task.X_test), dtype=float).ravel()
    return class_probabilities(model, task.X_test, task.classes)


def _history(model: BaseEstimator) -> str:
    history = getattr(model, "history_", None)
    return (
        json.dumps({key: np.asarray(values).tolist() for key, values in history.items()})
        if history
        else ""
    )


def measure_apart(task: Task, time_limit: float | None = None) -> dict[str, Any]:
    """Fit and ask a model in a fresh process, so that neither its memory nor its crash touches another cell.

    Parameters
    ----------
    task : Task
    time_limit : float, optional
        Seconds after which it is stopped and counts as failed.

    Returns
    -------
    dict
        As of `measure`.

    Raises
    ------
    CellError
        If the model raised, crashed its process, or took longer than the limit.
    """
    # threads that wait should sleep: where they spin and another program holds a core, a fit can take 50 times as long
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(sender, task), daemon=False)
    process.start()
    sender.close()
    try:
        if not receiver.poll(time_limit):
            process.kill()
            raise CellError(f"took longer than the limit of {time_limit:g} seconds")
        outcome: dict[str, Any] | str = receiver.recv()
    except EOFError:
        process.join()
        raise CellError(f"the process died with exit code {process.exitcode}") from None
    except BaseException:
        process.kill()
        raise
    finally:
        process.join()
        receiver.close()
    if isinstance(outcome, str):
        raise CellError(outcome)
    return outcome


def _answer(sender: Connection, task: Task) -> None:
    try:
        outcome: dict[str, Any] | str = measure(task)
    except Exception as error:
        outcome = f"{type(error).__name__}: {error}"
    sender.send(outcome)
    sender.close()


class CellError(RuntimeError):
    """A model that could not be fitted or asked."""


def attempt(task: Task, isolate: bool, time_limit: float | None) -> dict[str, Any]:
    """Measure a cell; a failure is a result too.

    Returns
    -------
    dict
        As of `measure` with status "ok", or status "failed" with the error's text.
    """
    try:
        with warnings.catch_warnings():
            result = measure_apart(task, time_limit) if isolate else measure(task)
    except CellError as error:
        return {"status": "failed", "error": str(error)}
    except Exception as error:
        return {"status": "failed", "error": f"{type(error).__name__}: {error}"}
    return {"status": "ok", "error": "", **result}

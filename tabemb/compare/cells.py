"""One cell of a comparison: a model fitted and tested on one split with one seed."""

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
from sklearn.base import BaseEstimator
from threadpoolctl import threadpool_limits

from tabemb.compare.metrics import class_probabilities, row_losses, score
from tabemb.compare.models import ModelSpec, build_model
from tabemb.extras import need
from tabemb.progress import quiet

MEBIBYTE = 2**20
SAMPLING_SECONDS = 0.01


@dataclass(frozen=True)
class Job:
    """The model, the rows and the seed of one cell; it can be sent to another process."""

    spec: ModelSpec
    task: str
    """"binary", "multiclass" or "regression"."""
    roles: Mapping[str, str]
    X_train: pd.DataFrame
    y_train: np.ndarray
    X_test: pd.DataFrame
    y_test: np.ndarray
    classes: np.ndarray | None
    """Codes of all classes of the data set, which the targets are; None for a regression.

    Classes without training rows get the smallest probability.
    """
    seed: int
    n_jobs: int
    """Threads of the model, and of every numerical library below it."""


class _Stopwatch:
    """Wall seconds, CPU seconds of all threads, and the peak of memory above the start, in MiB.

    Memory is sampled a hundred times a second: the system's high-water mark would count earlier
    work too.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.readings: dict[str, float] = {}

    def __enter__(self) -> _Stopwatch:
        self._process, self._done = need("psutil", "compare").Process(), threading.Event()
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
        while not self._done.wait(SAMPLING_SECONDS):
            self._peak = max(self._peak, self._process.memory_info().rss)


def measure(job: Job) -> dict[str, Any]:
    """Fit a model and predict the test rows, in this process.

    Parameters
    ----------
    job : Job

    Returns
    -------
    dict
        The errors; `fit_` and `predict_` with `seconds`, `cpu_seconds` and `memory_mib`; `losses`,
        the main loss of each test row; and `learning_curve` as JSON (empty where the model has
        none).

    Raises
    ------
    ValueError
        If a prediction is NaN or infinite.
    """
    model = build_model(job.spec, job.task, job.X_train, job.roles, job.seed, job.n_jobs)
    with threadpool_limits(job.n_jobs):
        with _Stopwatch("fit") as fit, quiet():
            model.fit(job.X_train, job.y_train)
        with _Stopwatch("predict") as predict:
            predictions = _predict(model, job)
    losses = row_losses(job.task, job.y_test, predictions, job.classes)
    if not np.isfinite(losses).all():
        n_wrong = np.sum(~np.isfinite(losses))
        raise ValueError(
            f"{job.spec.label} must predict finite numbers; "
            f"{n_wrong} of {len(losses)} are NaN or infinite."
        )
    return {
        **score(job.task, job.y_test, predictions, job.classes),
        **fit.readings,
        **predict.readings,
        # single precision: there is one for every test row of every cell
        "losses": losses.astype(np.float32),
        "learning_curve": _learning_curve(model),
    }


def _predict(model: Any, job: Job) -> np.ndarray:
    if job.classes is None:
        return np.asarray(model.predict(job.X_test), dtype=float).ravel()
    return class_probabilities(model, job.X_test, job.classes)


def _learning_curve(model: BaseEstimator) -> str:
    curve = getattr(model, "learning_curve_", None)
    return (
        json.dumps({key: np.asarray(values).tolist() for key, values in curve.items()}) if curve else ""
    )


class CellError(RuntimeError):
    """A model that could not be fitted or could not predict."""


def measure_apart(job: Job, time_limit: float | None = None) -> dict[str, Any]:
    """Fit a model and predict the test rows in a fresh process, so that a crash is one failed cell.

    Parameters
    ----------
    job : Job
    time_limit : float, optional
        Seconds after which the process is stopped and the cell counts as failed.

    Returns
    -------
    dict
        As from `measure`.

    Raises
    ------
    CellError
        If the model raised, its process died, or it took longer than the limit.
    """
    # threads that wait should sleep: spinning ones on a busy core can make a fit 50 times as long
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # a forked process would inherit locks of numerical libraries and could hang
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_result, args=(sender, job), daemon=False)
    process.start()
    # only the process holds the sending end now, so that its death ends the wait below
    sender.close()
    try:
        if not receiver.poll(time_limit):
            process.kill()
            raise CellError(f"The cell took longer than the time limit of {time_limit:g} seconds.")
        result: dict[str, Any] | str = receiver.recv()
    except EOFError:
        process.join()
        raise CellError(f"The process of the cell died with exit code {process.exitcode}.") from None
    except BaseException:
        # an interrupted comparison must not leave a fit behind that keeps the cores busy
        process.kill()
        raise
    finally:
        process.join()
        receiver.close()
    if isinstance(result, str):
        raise CellError(result)
    return result


def _send_result(sender: Connection, job: Job) -> None:
    """Measure in the fresh process; an error travels as text, for its class may not unpickle."""
    try:
        result: dict[str, Any] | str = measure(job)
    except Exception as error:
        result = f"{type(error).__name__}: {error}"
    sender.send(result)
    sender.close()


def attempt(job: Job, isolate: bool, time_limit: float | None) -> dict[str, Any]:
    """Measure a cell; a failure is a result too.

    Parameters
    ----------
    job : Job
    isolate : bool
        Whether it runs in a fresh process.
    time_limit : float, optional
        Seconds, with `isolate`.

    Returns
    -------
    dict
        As from `measure` with status "ok", or status "failed" with the text of the error.
    """
    try:
        with warnings.catch_warnings():
            result = measure_apart(job, time_limit) if isolate else measure(job)
    except CellError as error:
        return {"status": "failed", "error": str(error)}
    except Exception as error:
        return {"status": "failed", "error": f"{type(error).__name__}: {error}"}
    return {"status": "ok", "error": "", **result}

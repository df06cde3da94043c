"""One cell of a comparison: a model fitted and tested on one split with one seed."""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from threadpoolctl import threadpool_limits

from tabemb.compare.details import calibration, importances
from tabemb.compare.live import epochs_done, report, reporting_to
from tabemb.compare.metrics import predicted, row_losses, score
from tabemb.compare.models import ModelSpec, build_model, find_model
from tabemb.compare.row_names import named_rows
from tabemb.extras import need
from tabemb.progress import quiet

MEBIBYTE = 2**20
SAMPLING_SECONDS = 0.01
# messages from the process that measures a cell; _LATE stands for a passed time limit
_REPORT, _RESULT, _DETAILS, _FAILED, _LATE = "report", "result", "details", "failed", "late"


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
    """Codes of all classes of the data set; the targets are such codes. None for a regression.

    A class without training rows gets the smallest probability.
    """
    seed: int
    n_jobs: int
    """Threads of the model and of the numerical libraries that it uses."""
    lines: np.ndarray | None = None
    """The line of each row in a text file; error messages name rows by it."""
    importances: bool = True
    """Whether to measure which columns the model needs."""


class _Stopwatch:
    """Measure wall seconds, CPU seconds of all threads, and peak memory above the start in MiB.

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
        The errors; `seconds`, `cpu_seconds` and `memory_mib`, each with the prefixes `fit_` and
        `predict_`; `losses`, the main loss of each test row; and as JSON `learning_curve` (empty
        if the model has none), `calibration` and `importances`.

    Raises
    ------
    CellError
        If the model raises an error, or a prediction is NaN or infinite.
    """
    model, result = _measured(job)
    return {**result, "importances": _importances(model, job)}


def _measured(job: Job) -> tuple[Any, dict[str, Any]]:
    """Return the fitted model, and the result without the importances."""
    with _named_rows(job, job.X_train), threadpool_limits(job.n_jobs):
        model = build_model(job.spec, job.task, job.X_train, job.roles, job.seed, job.n_jobs)
        with _Stopwatch("fit") as fit, quiet():
            model.fit(job.X_train, job.y_train, **_watching(model))
    with _named_rows(job, job.X_test), threadpool_limits(job.n_jobs):
        with _Stopwatch("predict") as predict:
            predictions = predicted(model, job.X_test, job.classes)
        losses = row_losses(job.task, job.y_test, predictions, job.classes)
        _check_finite(job, losses)
    return model, {
        **score(job.task, job.y_test, predictions, job.classes),
        **fit.readings,
        **predict.readings,
        # single precision: there is one for every test row of every cell
        "losses": losses.astype(np.float32),
        "learning_curve": _learning_curve(model),
        "calibration": json.dumps(calibration(job.task, job.y_test, predictions)),
    }


@contextmanager
def _named_rows(job: Job, X: pd.DataFrame) -> Iterator[None]:
    """Turn an error into a `CellError` that names rows by their place in the source."""
    try:
        yield
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        # how other packages number rows is not known
        is_known = find_model(job.spec.name).package == "tabemb"
        raise CellError(named_rows(text, X.index.to_numpy(), job.lines) if is_known else text) from error


def _check_finite(job: Job, losses: np.ndarray) -> None:
    if not np.isfinite(losses).all():
        n_wrong = np.sum(~np.isfinite(losses))
        raise ValueError(
            f"{job.spec.label} must predict finite numbers; "
            f"{n_wrong} of {len(losses)} are NaN or infinite."
        )


def _watching(model: Any) -> dict[str, Any]:
    """Return the arguments of `fit` that make an estimator of tabemb report its epochs."""
    if not any(base.__module__ == "tabemb.estimators.base" for base in type(model).__mro__):
        return {}
    from tabemb.callbacks import Callback, Epoch

    class Reporter(Callback):
        def on_epoch_end(self, epoch: Epoch) -> None:
            loss = "" if np.isnan(epoch.eval_loss) else f", validation loss {epoch.eval_loss:.4g}"
            report(epochs_done(epoch.number), f"epoch {epoch.number}{loss}")

    return {"callbacks": [Reporter()]}


def _importances(model: Any, job: Job) -> str:
    """Return the importances as JSON; empty if not wanted, or if the model fails on permuted rows."""
    if not job.importances:
        return ""
    report(1.0, "importances")
    try:
        with threadpool_limits(job.n_jobs):
            measured = importances(model, job.task, job.X_test, job.y_test, job.classes)
    except Exception:  # the errors are measured: failing importances must not fail the cell
        return ""
    return json.dumps(measured)


def _learning_curve(model: BaseEstimator) -> str:
    curve = getattr(model, "learning_curve_", None)
    if not curve:
        return ""
    stored: dict[str, Any] = {key: np.asarray(values).tolist() for key, values in curve.items()}
    if hasattr(model, "best_epoch_"):
        stored["best_epoch"] = int(model.best_epoch_)
    target = getattr(model, "target_", None)
    if target is not None:
        stored["loss"] = target.loss_label
    return json.dumps(stored)


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
        If the model raises an error, its process dies, or it takes longer than the limit.
    """
    # waiting threads should sleep: spinning on a busy core can make a fit 50 times as long
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # a forked process would inherit locks of numerical libraries and could hang
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_result, args=(sender, job), daemon=False)
    process.start()
    # now only the process has the sending end, so its death ends the wait below
    sender.close()
    is_over = False
    try:
        result = _received(receiver, process, time_limit)
        is_over = "importances" in result
    finally:
        # after a timeout or an interrupt, no process may keep the cores busy
        if not is_over:
            process.kill()
        process.join()
        receiver.close()
    return result


def _received(receiver: Connection, process: BaseProcess, time_limit: float | None) -> dict[str, Any]:
    """Return what the process sends and forward its reports; ignore failures after the result."""
    end = None if time_limit is None else time.monotonic() + time_limit
    result: dict[str, Any] = {}
    while True:
        kind, content = _next(receiver, process, end)
        if kind == _LATE:
            kind, content = (
                _FAILED,
                f"The cell took longer than the time limit of {time_limit:g} seconds.",
            )
        if kind == _REPORT:
            report(*content)
        elif kind == _RESULT:
            result = content
        elif kind == _DETAILS:
            return {**result, **content}
        elif result:
            return result
        else:
            raise CellError(content)


def _next(receiver: Connection, process: BaseProcess, end: float | None) -> tuple[str, Any]:
    """Return the kind and the content of the next message, or the reason why there is none."""
    try:
        if receiver.poll(None if end is None else max(end - time.monotonic(), 0)):
            kind, content = receiver.recv()
            return kind, content
    except EOFError:
        process.join()
        return _FAILED, f"The process of the cell died with exit code {process.exitcode}."
    return _LATE, None


def _send_result(sender: Connection, job: Job) -> None:
    """Measure in the fresh process; errors are sent as text, as their classes may not unpickle."""
    with reporting_to(lambda share, text: sender.send((_REPORT, (share, text)))):
        try:
            model, result = _measured(job)
        except CellError as error:
            sender.send((_FAILED, str(error)))
        else:
            # the importances may run into the time limit
            sender.send((_RESULT, result))
            sender.send((_DETAILS, {"importances": _importances(model, job)}))
    sender.close()


def attempt(job: Job, isolate: bool, time_limit: float | None) -> dict[str, Any]:
    """Measure a cell; return a failure as a result too.

    Parameters
    ----------
    job : Job
    isolate : bool
        Whether to measure in a fresh process.
    time_limit : float, optional
        Seconds for the cell; only with `isolate`.

    Returns
    -------
    dict
        The result of `measure` and status "ok", or status "failed" and the text of the error.
    """
    try:
        with warnings.catch_warnings():
            result = measure_apart(job, time_limit) if isolate else measure(job)
    except CellError as error:
        return {"status": "failed", "error": str(error)}
    except Exception as error:
        return {"status": "failed", "error": f"{type(error).__name__}: {error}"}
    return {"status": "ok", "error": "", **result}

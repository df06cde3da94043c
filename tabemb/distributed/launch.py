"""`fit`: one call that starts workers and returns when the model is fitted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from sklearn.base import clone

from tabemb.data.streams import as_stream, is_source
from tabemb.distributed.engines import ENGINES
from tabemb.distributed.job import Job, outcome
from tabemb.estimators.base import RowEstimator
from tabemb.fitting.settings import FOLDER, one_of, whole


def fit(
    model: Any,
    source: Any,
    y: Any = None,
    *,
    engine: str = "torchrun",
    n_workers: int = 2,
    max_restarts: int = 0,
    folder: str | os.PathLike[str] | None = None,
    **fit_params: Any,
) -> Any:
    """Fit a model on several processes, on this machine or on a cluster.

    Every worker reads the whole source, and trains on its part of every batch. The model is that of one
    process, except for the random draws of dropout and of the folds of effects. Use `workers` in scripts
    that a cluster starts.

    Parameters
    ----------
    model : EmbeddingClassifier, EmbeddingRegressor, EventClassifier or EventRegressor
        It is fitted in place, as by its method ``fit``; a failed call leaves it as it was. If a worker
        is killed, ``checkpoint`` lets the next attempt continue from the end of an epoch.
    source : frame, array-like, or stream
        The X of ``fit``. A frame is sent to the workers. The files of a stream are read by the workers,
        so all machines need access to these files and to the encoded rows, which are in ``cache`` if the
        stream has one, else in ``folder``. Ray also accepts a ``ray.data.Dataset`` and Spark a
        ``DataFrame``; these are first written to ``folder``.
    y : array-like, or name of a column of the source
    engine : {"torchrun", "ray", "spark"}, default="torchrun"
        "torchrun" starts processes on this machine. "ray" (extra ``ray``) uses the cluster that
        ``ray.init`` has connected to, and "spark" (extra ``spark``) uses the active session.
    n_workers : int, default=2
    max_restarts : int, default=0
        How often all workers are restarted after one was killed.
    folder : str or path-like, optional
        Folder for the rows and the model during the fit; with Ray on several machines, one that all of
        them can access. None: a temporary folder.
    **fit_params
        Further arguments of ``fit``, such as ``sample_weight``.

    Returns
    -------
    model
        The model itself.

    Raises
    ------
    TypeError
        The model is of another kind, or an argument cannot be sent to other processes.
    ValueError
        An argument breaks its rule, or ``fit`` raised it.
    RuntimeError
        A worker failed in the last attempt.
    ImportError
        The engine is not installed.

    Examples
    --------
    >>> import pandas as pd
    >>> import tabemb
    >>> X = pd.DataFrame({"city": ["Bonn", "Rome"] * 40, "size": range(80)})
    >>> model = tabemb.EmbeddingClassifier(max_epochs=2, random_state=0)
    >>> model = tabemb.distributed.fit(model, X, X["city"] == "Rome", n_workers=2)  # doctest: +SKIP
    """
    _check(model, engine, n_workers, max_restarts)
    FOLDER.check("folder", folder)
    with _place(folder) as place:
        job = Job(_sent(model), _sent_source(source, place), y, fit_params)
        _run(engine, job, n_workers, max_restarts, place)
        fitted = outcome(place)
    parameters = {name: vars(model)[name] for name in model.get_params(deep=False)}
    model.__dict__ = vars(fitted) | parameters
    return model


def _check(model: Any, engine: str, n_workers: int, max_restarts: int) -> None:
    if not isinstance(model, RowEstimator):
        raise TypeError(
            "model must be an EmbeddingClassifier, EmbeddingRegressor, EventClassifier or "
            f"EventRegressor, whose fit workers share; got {type(model).__name__}."
        )
    for name, rule in model.rules.items():  # not whether the device exists: only workers may have it
        rule.check(name, getattr(model, name))
    one_of(ENGINES).check("engine", engine)
    whole(1).check("n_workers", n_workers)
    whole(0).check("max_restarts", max_restarts)


def _run(engine: str, job: Job, n_workers: int, max_restarts: int, place: Path) -> None:
    try:
        ENGINES[engine](job, n_workers, max_restarts, place)
    except (ValueError, TypeError, ImportError, RuntimeError):
        raise
    except Exception as error:  # each engine raises its own types
        raise RuntimeError(f"The workers that {engine} has started failed: {error}.") from error


def _sent(model: Any) -> Any:
    """Return a copy for workers: with an integer as seed and an absolute path of the checkpoint."""
    copied = clone(model)
    if isinstance(model.random_state, np.random.RandomState):  # a model file cannot store one
        copied.random_state = int(model.random_state.randint(2**31 - 1))
    if model.checkpoint is not None:
        copied.checkpoint = os.path.abspath(model.checkpoint)
    return copied


def _sent_source(source: Any, place: Path) -> Any:
    """Return the source for workers; the rows of a stream are encoded once for all of them."""
    if not is_source(source):
        return source
    stream = as_stream(source)
    return stream.for_workers(place / "encoded" if stream.cache is None else Path(stream.cache))


@contextmanager
def _place(folder: str | os.PathLike[str] | None) -> Iterator[Path]:
    """Yield a new folder for one job, and remove it in the end."""
    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="tabemb-", dir=folder) as place:
        yield Path(place)

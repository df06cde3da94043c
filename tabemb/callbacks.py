"""Callbacks of ``fit``: the base class `Callback`, and callbacks for TensorBoard and MLflow."""

from __future__ import annotations

import math
import os
from typing import Any

from tabemb.extras import need
from tabemb.training.watch import Callback, Epoch

__all__ = ["Callback", "Epoch", "MLflow", "TensorBoard"]


class TensorBoard(Callback):
    """Writes the losses of each epoch for TensorBoard (extra ``tensorboard``).

    Parameters
    ----------
    folder : str or path
        Folder of a run; a fit writes one event file into it. Use a separate folder for each fit to
        compare them.

    Examples
    --------
    >>> import tabemb
    >>> from tabemb.callbacks import TensorBoard
    >>> model = tabemb.EmbeddingClassifier()
    >>> model.fit(X, y, callbacks=[TensorBoard("runs/today")])  # doctest: +SKIP
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = folder

    def on_fit_start(self, estimator: Any) -> None:
        module: Any = need("tensorboard.summary", "tensorboard")
        self._writer = module.Writer(os.fspath(self.folder))

    def on_epoch_end(self, epoch: Epoch) -> None:
        for name, value in losses_of(epoch).items():
            self._writer.add_scalar(name, value, epoch.number)

    def on_fit_end(self, estimator: Any, error: BaseException | None) -> None:
        self._writer.close()


class MLflow(Callback):
    """Logs a fit as a run of MLflow (extra ``mlflow``): parameters, losses by epoch, results.

    A fit within ``mlflow.start_run`` is logged to that run, which stays open. Otherwise a new run starts
    and ends with the fit, and is marked as failed if the fit fails. ``mlflow.set_tracking_uri`` sets
    where runs are stored.

    Examples
    --------
    >>> import tabemb
    >>> from tabemb.callbacks import MLflow
    >>> tabemb.EmbeddingClassifier().fit(X, y, callbacks=[MLflow()])  # doctest: +SKIP
    """

    def on_fit_start(self, estimator: Any) -> None:
        self._mlflow: Any = need("mlflow", "mlflow")
        self._owns_run = self._mlflow.active_run() is None
        if self._owns_run:
            self._mlflow.start_run(run_name=type(estimator).__name__)
        self._best, self._seconds = 0, 0.0
        self._mlflow.log_params({"estimator": type(estimator).__name__, **estimator.get_params(False)})

    def on_epoch_end(self, epoch: Epoch) -> None:
        self._mlflow.log_metrics(losses_of(epoch), step=epoch.number)
        self._best, self._seconds = epoch.number if epoch.is_best else self._best, epoch.seconds

    def on_fit_end(self, estimator: Any, error: BaseException | None) -> None:
        if error is None:
            self._mlflow.log_metrics({"best_epoch": self._best, "seconds": self._seconds})
        if self._owns_run:
            self._mlflow.end_run("FINISHED" if error is None else "FAILED")


def losses_of(epoch: Epoch) -> dict[str, float]:
    """Return the losses of an epoch by name, without those that are not known.

    Examples
    --------
    >>> losses_of(Epoch(number=1, train_loss=0.5, eval_loss=math.nan, is_best=True, seconds=0.1))
    {'train_loss': 0.5}
    """
    losses = {"train_loss": epoch.train_loss, "eval_loss": epoch.eval_loss}
    return {name: loss for name, loss in losses.items() if not math.isnan(loss)}

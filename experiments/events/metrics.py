"""The metrics: AUC and log loss of an outcome, and the rank of the next event among all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

N_SHOWN = 20
"""Number of items that a shop would show."""


@dataclass(frozen=True)
class Metric:
    """A score of predicted probabilities."""

    title: str
    score: Callable[[np.ndarray, np.ndarray, np.ndarray], float]
    """Takes targets y, probabilities (n, n_classes) and the class of each column."""
    more_is_better: bool = True


def auc(y: np.ndarray, proba: np.ndarray, classes: np.ndarray) -> float:
    """Return the area under the ROC curve; for several classes, the mean of each against the rest."""
    if len(classes) == 2:
        return float(roc_auc_score(y, proba[:, 1]))
    return float(roc_auc_score(y, proba, multi_class="ovr", average="macro", labels=classes))


def log_loss(y: np.ndarray, proba: np.ndarray, classes: np.ndarray) -> float:
    """Return the mean log loss; a class without training rows has the smallest probability, 1e-6."""
    probability = np.where(classes == y[:, None], proba, 0).sum(axis=1)
    return float(-np.log(np.maximum(probability, 1e-6)).mean())


def ranks(y: np.ndarray, proba: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the rank of each target's class among all classes, from 1 on.

    It is infinite for a class without training rows.
    """
    columns = pd.Index(classes).get_indexer(y)
    probability = np.where(columns >= 0, proba[np.arange(len(y)), columns], np.inf)
    return np.where(columns >= 0, (proba > probability[:, None]).sum(axis=1) + 1, np.inf)


def accuracy(y: np.ndarray, proba: np.ndarray, classes: np.ndarray) -> float:
    """Return the share of targets that are the most probable class."""
    return float((ranks(y, proba, classes) == 1).mean())


def recall(y: np.ndarray, proba: np.ndarray, classes: np.ndarray) -> float:
    """Return the share of targets among the :data:`N_SHOWN` most probable classes."""
    return float((ranks(y, proba, classes) <= N_SHOWN).mean())


def reciprocal_rank(y: np.ndarray, proba: np.ndarray, classes: np.ndarray) -> float:
    """Return the mean of 1 / rank, which is 0 beyond the :data:`N_SHOWN` most probable classes."""
    places = ranks(y, proba, classes)
    return float(np.where(places <= N_SHOWN, 1 / places, 0).mean())


METRICS = {
    "auc": Metric("AUC", auc),
    "log_loss": Metric("log loss", log_loss, more_is_better=False),
    "accuracy": Metric("accuracy", accuracy),
    "recall_20": Metric("recall@20", recall),
    "mrr_20": Metric("MRR@20", reciprocal_rank),
}

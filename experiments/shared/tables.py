"""Training and test rows of a data set, for experiments that compare models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from experiments.shared.published import load_named
from experiments.shared.sales import INPUTS, read_sales
from tabemb.compare import Protocol, make_splits
from tabemb.compare.metrics import SMALLEST_PROBABILITY, score
from tabemb.compare.preparation import Columns, sort_columns


@dataclass(frozen=True)
class TableProblem:
    """Training and test rows of one data set.

    Parameters
    ----------
    name : str
    X, X_test : DataFrame
    y, y_test : ndarray
    kind : {"regression", "binary"}
    columns : Columns
        The kind of every column of ``X``.
    metric : {"rmse", "log_loss", "mape"}
        "mape" is computed on exp(y), as the targets are logarithms.
    """

    name: str
    X: pd.DataFrame
    y: np.ndarray
    X_test: pd.DataFrame
    y_test: np.ndarray
    kind: str
    columns: Columns
    metric: str

    @property
    def is_regression(self) -> bool:
        """Whether targets are numbers."""
        return self.kind == "regression"

    def error(self, predicted: np.ndarray, classes: np.ndarray | None) -> float:
        """Return the error of predictions for the test rows, or of class probabilities."""
        if self.metric == "mape":
            return float(np.mean(np.abs(np.exp(predicted - self.y_test) - 1)))
        if classes is not None:
            predicted = np.maximum(predicted, SMALLEST_PROBABILITY)
        return score(self.kind, self.y_test, predicted, classes)[self.metric]


class Encoded(NamedTuple):
    """Inputs of a model: training rows, test rows, and the columns with categories as text."""

    train: Any
    test: Any
    categorical: list[str] = []  # noqa: RUF012 (never changed)


@lru_cache(maxsize=1)
def find_problem(name: str, n_rows: int, n_test: int) -> TableProblem:
    """Return a data set's first published fold, or a split of Rossmann's sales as in the paper.

    Parameters
    ----------
    name : str
        A file of ``conf/dataset``, "rossmann shuffled" or "rossmann in time".
    n_rows, n_test : int
        Largest numbers of training and test rows; more are sampled down to them.
    """
    rng = np.random.default_rng(0)
    if name.startswith("rossmann"):
        X, y, train, test = _rossmann(name, rng)
        roles: Mapping[str, str] = dict.fromkeys(INPUTS, "categorical")
        kind, metric = "regression", "mape"
    else:
        dataset = load_named(name)
        X, y, kind, roles = dataset.X, dataset.y.to_numpy(), dataset.task, dataset.roles
        split = make_splits(dataset, Protocol("published"))[0]
        train, test, metric = split.train, split.test, "rmse" if kind == "regression" else "log_loss"
    train, test = draw_rows(train, n_rows, rng), draw_rows(test, n_test, rng)
    X_train = X.iloc[train].reset_index(drop=True)
    columns = sort_columns(X_train, roles)
    return TableProblem(name, X_train, y[train], X.iloc[test], y[test], kind, columns, metric)


def _rossmann(
    name: str, rng: np.random.Generator
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, np.ndarray]:
    """Return inputs, log sales, training and test rows: the last tenth, in time or after shuffling."""
    sales = read_sales()
    order = rng.permutation(len(sales)) if name == "rossmann shuffled" else np.arange(len(sales))
    cut = int(0.9 * len(sales))
    return sales[INPUTS], np.log(sales["sales"].to_numpy()), order[:cut], order[cut:]


def draw_rows(rows: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """Return the rows, or a random draw of ``most`` rows if there are more."""
    return rows if len(rows) <= most else rng.choice(rows, most, replace=False)

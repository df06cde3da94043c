"""The embedding network and its one-hot counterpart, each as an average of several networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

import tabemb
from experiments.rossmann.problem import SalesProblem
from experiments.rossmann.vectors import crossed
from experiments.shared.sales import INPUTS
from tabemb import EmbeddingRegressor, Table

FitNet = Callable[[SalesProblem, int], EmbeddingRegressor]


def neural_net(problem: SalesProblem, embeddings: bool) -> np.ndarray:
    """Predict sales by the mean of several networks' log predictions; they are fitted in parallel."""
    fit, seeds = (fit_net if embeddings else fit_one_hot_net), range(problem.settings["n_nets"])
    paths = [problem.net_path if embeddings and seed == 0 else None for seed in seeds]
    bare = problem.without_net()
    jobs = [delayed(_log_predictions)(fit, bare, seed, path) for seed, path in zip(seeds, paths)]
    logs = np.mean(Parallel(n_jobs=problem.settings["n_jobs"])(jobs), axis=0)
    return np.asarray(np.exp(logs))


def _log_predictions(fit: FitNet, problem: SalesProblem, seed: int, path: Path | None) -> np.ndarray:
    """Return the log predictions of one network, which is saved if a path is given."""
    net = fit(problem, seed)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        tabemb.save(net, path)
    X = crossed(problem.test, problem.recipe["crosses"]) if fit is fit_net else problem.test[INPUTS]
    return np.asarray(np.log(net.predict(X)))


def fit_net(problem: SalesProblem, seed: int) -> EmbeddingRegressor:
    """Fit the embedding network with the recipe of the split."""
    recipe, dims = problem.recipe, problem.settings["dims"]
    names = [*INPUTS, *recipe["crosses"]]
    tables = {name: Table([name], dim=dims.get(name, 1), l2=recipe["l2"][name]) for name in names}
    return _fit(problem, crossed(problem.train, recipe["crosses"]), tables, seed)


def fit_one_hot_net(problem: SalesProblem, seed: int) -> EmbeddingRegressor:
    """Fit the same network on one-hot inputs: frozen tables of unit vectors, no crosses, no biases."""
    rows = problem.train[INPUTS]
    levels = {name: sorted(rows[name].unique()) for name in INPUTS}
    unit = {name: pd.DataFrame(np.eye(len(values)), index=values) for name, values in levels.items()}
    tables = {name: Table([name], pretrained=unit[name], frozen=True, l2=0) for name in INPUTS}
    return _fit(problem, rows, tables, seed, biases=False)


def _fit(
    problem: SalesProblem, X: pd.DataFrame, tables: Mapping[str, Table], seed: int, **params: Any
) -> EmbeddingRegressor:
    roles: dict[str | int, str] = dict.fromkeys(X.columns, "categorical")
    params = {**problem.settings["net"], "max_epochs": problem.recipe["max_epochs"], **params}
    net = EmbeddingRegressor(roles=roles, tables=tables, n_jobs=1, random_state=seed, **params)
    net.fit(X, problem.train["sales"])
    return net

"""The paper's four models, each without the network's embeddings and with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.rossmann.nets import neural_net
from experiments.rossmann.problem import SalesProblem
from tabemb.compare import ModelSpec, build_model


def nearest_neighbours(problem: SalesProblem, embeddings: bool) -> np.ndarray:
    """Predict the mean of ten neighbours by Euclidean distance, weighted by its inverse."""
    spec = ModelSpec("nearest_neighbors", {"n_neighbors": 10, "weights": "distance"})
    return _predict(spec, problem, embeddings)


def random_forest(problem: SalesProblem, embeddings: bool) -> np.ndarray:
    """Predict the mean of fully grown trees."""
    # the coordinates of one vector are correlated, so a third of them is enough for a split
    share = 0.33 if embeddings else 1.0
    params = {"n_estimators": problem.settings["n_trees"], "max_features": share}
    return _predict(ModelSpec("random_forest", params), problem, embeddings)


def boosted_trees(problem: SalesProblem, embeddings: bool) -> np.ndarray:
    """Predict with LightGBM; the paper uses XGBoost."""
    params = {
        "n_estimators": problem.settings["n_rounds"],
        "learning_rate": 0.1,
        "num_leaves": 127,
        "colsample_bytree": 0.5 if embeddings else 0.9,
        "subsample": 0.9,
        "subsample_freq": 1,
    }
    return _predict(ModelSpec("lightgbm", params), problem, embeddings)


def _predict(spec: ModelSpec, problem: SalesProblem, embeddings: bool) -> np.ndarray:
    """Fit a model on log sales and return the predicted sales of the test rows."""
    train, test = problem.inputs(embeddings)
    options = {name: problem.settings[name] for name in ("seed", "n_jobs")}
    model: Any = build_model(spec, "regression", **options)
    return np.asarray(np.exp(model.fit(train, problem.log_sales).predict(test)))


MODELS: dict[str, Callable[[SalesProblem, bool], np.ndarray]] = {
    "nearest neighbours": nearest_neighbours,
    "random forest": random_forest,
    "boosted trees": boosted_trees,
    "neural net": neural_net,
}

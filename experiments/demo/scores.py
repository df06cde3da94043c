"""The models of the demo on one story: predictions, errors with intervals, and inputs for LightGBM."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.multioutput import MultiOutputRegressor

from experiments.demo.stories import Story
from tabemb import EmbeddingEncoder, EmbeddingRegressor, InputNote
from tabemb.compare import ModelSpec, build_model
from tabemb.compare.preparation import level_means

NET, TREES = "embedding", "lightgbm_td"
QUICK: Mapping[str, Any] = {"preset": "fast"}
"""Settings of the networks of the three folds."""
N_DRAWS = 1000
Stage = Callable[[str], AbstractContextManager[None]]
"""Shows a running part of the work, and how long it took."""


@dataclass(frozen=True)
class Fitted:
    """A model that was fitted to the training rows.

    Parameters
    ----------
    model : estimator
    predictions : array of shape (n_test, n_targets)
    seconds : float
    """

    model: Any
    predictions: np.ndarray
    seconds: float


def fit(model: BaseEstimator, X: pd.DataFrame, story: Story) -> Fitted:
    """Fit a model to the training rows of a story, whose inputs are `X`, and predict the test rows."""
    test, y = story.is_test, targets(story)
    started = time.perf_counter()
    model.fit(X[~test], y[~test])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputNote)  # about new entities, whose errors are in the table
        predictions = np.asarray(model.predict(X[test]), dtype=float)
    seconds = time.perf_counter() - started
    return Fitted(model, predictions.reshape(-1, story.y.shape[1]), seconds)


def targets(story: Story) -> pd.DataFrame | pd.Series:
    """Return the targets as estimators take them: a Series if there is only one."""
    return story.y if story.y.shape[1] > 1 else story.y.iloc[:, 0]


def regressor(
    name: str, X: pd.DataFrame, story: Story, params: Mapping[str, Any] | None = None
) -> BaseEstimator:
    """Build a model of the comparison; fit one per target if the model takes a single target."""
    # with so few rows, a second thread would mostly wait
    model = build_model(ModelSpec(name, params or {}), "regression", X, {}, seed=0, n_jobs=1)
    return model if name == NET or story.y.shape[1] == 1 else MultiOutputRegressor(model)


def fit_models(
    story: Story, models: Iterable[str], params: Mapping[str, Any], stage: Stage
) -> dict[str, Fitted]:
    """Fit the models by name; the embedding network gets `params`."""
    fitted = {}
    for name in models:
        with stage(f"fit {name}"):
            model = regressor(name, story.X, story, params if name == NET else None)
            fitted[name] = fit(model, story.X, story)
    return fitted


def losses(story: Story, predictions: Any) -> np.ndarray:
    """Return the squared error of each test row, averaged over the targets."""
    squares = (story.y[story.is_test].to_numpy() - np.asarray(predictions, dtype=float)) ** 2
    return np.asarray(squares.mean(axis=1))


def error_table(story: Story, fitted: Mapping[str, Fitted]) -> pd.DataFrame:
    """Compare models and rules on the test rows, the best first.

    Returns
    -------
    DataFrame
        By model: `rmse`; `gain`, by how many percent the network's error is smaller than the model's,
        with the 95 % interval (`low`, `high`); the errors on rows of `known` entities and of `new`
        ones, which have no training rows (NaN if there are none); `seconds`.
    """
    predictions = {name: one.predictions for name, one in fitted.items()} | dict(story.rules)
    squares = pd.DataFrame({name: losses(story, values) for name, values in predictions.items()})
    entity = story.X.loc[story.is_test, story.entity]
    is_known = entity.isin(story.X.loc[~story.is_test, story.entity]).to_numpy()
    table = pd.DataFrame({"rmse": squares.mean() ** 0.5})
    table = table.join(gains(squares, entity))
    table["known"], table["new"] = squares[is_known].mean() ** 0.5, squares[~is_known].mean() ** 0.5
    table["seconds"] = pd.Series({name: one.seconds for name, one in fitted.items()})
    return table.sort_values("rmse")


def gains(squares: pd.DataFrame, entity: pd.Series) -> pd.DataFrame:
    """Return by how many percent the network's RMSE is smaller than that of each other model.

    The interval is from a bootstrap that draws entities with all their rows. The rows of one entity
    are alike, so a bootstrap of rows would be too narrow.
    """
    sums = squares.groupby(entity.to_numpy()).sum()
    weights = np.random.default_rng(0).multinomial(len(sums), [1 / len(sums)] * len(sums), N_DRAWS)
    # the number of rows cancels in the ratio of two errors
    drawn = pd.DataFrame(weights @ sums.to_numpy(), columns=squares.columns) ** 0.5
    rmse = squares.mean() ** 0.5
    percent = 100 - 100 * drawn.drop(columns=NET).rdiv(drawn[NET], axis=0)
    return pd.DataFrame(
        {
            "gain": 100 * (1 - rmse[NET] / rmse.drop(NET)),
            "low": percent.quantile(0.025),
            "high": percent.quantile(0.975),
        }
    )


def feature_errors(story: Story, native: Fitted, stage: Stage) -> dict[str, float]:
    """Return the RMSE of LightGBM for each encoding of the entity.

    Parameters
    ----------
    story : Story
    native : Fitted
        LightGBM that reads the entity as a category.
    stage : callable
    """
    with stage("vectors as inputs of LightGBM"):
        forms = {"means (TargetEncoder)": target_means(story), **encoded(story)}
        fitted = {name: fit(regressor(TREES, X, story), X, story) for name, X in forms.items()}
    return {
        name: float(losses(story, one.predictions).mean() ** 0.5)
        for name, one in {"category": native, **fitted}.items()
    }


def target_means(story: Story) -> pd.DataFrame:
    """Replace the entity by scikit-learn's target means, out-of-fold for training rows."""
    test, entity = story.is_test, story.X[[story.entity]]
    X = story.X.drop(columns=story.entity)
    for name, y in story.y.items():
        encoder = level_means("regression", seed=0)
        X.loc[~test, f"mean of {name}"] = encoder.fit_transform(entity[~test], y[~test])[:, 0]
        X.loc[test, f"mean of {name}"] = encoder.transform(entity[test])[:, 0]
    return X


def encoded(story: Story) -> dict[str, pd.DataFrame]:
    """Replace the entity by its vector, or by vector and effects, out-of-fold for training rows."""
    test, y = story.is_test, targets(story)
    quick = EmbeddingRegressor(**QUICK, n_jobs=1)
    encoder = EmbeddingEncoder(columns=[story.entity], kind="both", estimator=quick, random_state=0)
    train = encoder.fit_transform(story.X[~test], y[~test])
    X = pd.concat([train, encoder.transform(story.X[test])]).loc[story.X.index]
    effects = [name for name in X if str(name).startswith(f"{story.entity}_effect")]
    return {"vectors": X.drop(columns=effects), "vectors and effects": X}

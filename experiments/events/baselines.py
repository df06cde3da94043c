"""Models on aggregates of the events, and the Markov chain."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer, make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, QuantileTransformer
from sklearn.svm import SVC

from experiments.events.problem import EventProblem, Probabilities
from tabemb.compare import ModelSpec, build_model
from tabemb.compare.models import calibrated

LIGHTGBM = ModelSpec(
    "lightgbm",
    {
        "n_estimators": 2000,
        "learning_rate": 0.03,
        "num_leaves": 31,
        "min_child_samples": 20,
        "subsample": 0.8,
        "subsample_freq": 1,
        "colsample_bytree": 0.8,
        "early_stopping_rounds": 50,
    },
)
FOREST = ModelSpec("random_forest", {"n_estimators": 300})
N_SVM = 5000
"""Most rows to fit the SVM on: its time grows with the square of the rows."""


def trees(problem: EventProblem, seed: int) -> Probabilities:
    """Return LightGBM's predictions from the aggregates."""
    return trees_on(problem, problem.aggregates, seed)


def trees_on(problem: EventProblem, frame: pd.DataFrame, seed: int) -> Probabilities:
    """Return LightGBM's predictions from a frame of all rows with pandas categoricals."""
    train, test = problem.split(frame)
    model: Any = build_model(LIGHTGBM, "multiclass", seed=seed, n_jobs=1)
    model.fit(train, problem.y_train)
    return model.predict_proba(test), model.classes_


def random_forest(problem: EventProblem, seed: int) -> Probabilities:
    """Return a random forest's predictions from the aggregates."""
    train, test = problem.split(problem.aggregates)
    forest = build_model(FOREST, "multiclass", seed=seed, n_jobs=1)
    model = make_pipeline(_as_numbers(train), forest).fit(train, problem.y_train)
    return np.asarray(model.predict_proba(test)), model.classes_


def svm(problem: EventProblem, seed: int) -> Probabilities:
    """Return the predictions of an SVM with a Gaussian kernel from the aggregates."""
    train, test = problem.split(problem.aggregates)
    rows = np.random.default_rng(seed).permutation(len(train))[:N_SVM]
    model: Any = calibrated(make_pipeline(_as_numbers(train), SVC(random_state=seed)))
    model.fit(train.iloc[rows], problem.y_train[rows])
    return model.predict_proba(test), model.classes_


def _as_numbers(frame: pd.DataFrame) -> ColumnTransformer:
    """Build normally distributed numbers, with -1 for missing ones, and one-hot categories."""
    categories = make_column_selector(dtype_include=["category", "object", "string"])
    numbers = make_column_selector(dtype_include="number")
    normal = QuantileTransformer(
        output_distribution="normal", n_quantiles=min(200, len(frame) // 2), subsample=None
    )
    return make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="constant", fill_value=-1), normal), numbers),
        (OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=20), categories),
    )


def markov_chain(problem: EventProblem, seed: int) -> Probabilities:
    """Return the probability of each event after the last one, as counted in the training rows.

    The overall frequency of an event has the weight of one row.
    """
    train, test = problem.split(problem.aggregates)
    classes, codes = np.unique(problem.y_train, return_inverse=True)
    last, last_of_test = (
        pd.Index(classes).get_indexer(frame.iloc[:, -1].astype(object)) for frame in (train, test)
    )
    # the last row, which the code -1 selects, is for events that follow an unknown event
    followed = np.zeros((len(classes) + 1, len(classes)))
    np.add.at(followed, (last, codes), 1)
    followed[-1] = 0
    counts = followed[last_of_test] + np.bincount(codes) / len(codes)
    return counts / counts.sum(axis=1, keepdims=True), classes

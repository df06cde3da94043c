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
"""Rows that the SVM is fitted on, where there are more: its time grows with their square."""


def trees(problem: EventProblem, seed: int) -> Probabilities:
    """Return what LightGBM predicts from the aggregates."""
    return trees_on(problem, problem.aggregates, seed)


def trees_on(problem: EventProblem, frame: pd.DataFrame, seed: int) -> Probabilities:
    """Return what LightGBM predicts from a frame of all rows, with its categories as pandas has them."""
    train, test = problem.split(frame)
    model: Any = build_model(LIGHTGBM, "multiclass", seed=seed, n_jobs=1)
    model.fit(train, problem.y_train)
    return model.predict_proba(test), model.classes_


def random_forest(problem: EventProblem, seed: int) -> Probabilities:
    """Return what a random forest predicts from the aggregates."""
    train, test = problem.split(problem.aggregates)
    forest = build_model(FOREST, "multiclass", seed=seed, n_jobs=1)
    model = make_pipeline(_as_numbers(train), forest).fit(train, problem.y_train)
    return np.asarray(model.predict_proba(test)), model.classes_


def svm(problem: EventProblem, seed: int) -> Probabilities:
    """Return what a support vector machine with a Gaussian kernel predicts from the aggregates."""
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
    """Return how often each event followed the last one in the training rows.

    How common an event is at all counts as much as one row.
    """
    train, test = problem.split(problem.aggregates)
    classes, codes = np.unique(problem.y_train, return_inverse=True)
    last, last_of_test = (
        pd.Index(classes).get_indexer(frame.iloc[:, -1].astype(object)) for frame in (train, test)
    )
    # the last row, which the code -1 reads, is for events that follow nothing known
    followed = np.zeros((len(classes) + 1, len(classes)))
    np.add.at(followed, (last, codes), 1)
    followed[-1] = 0
    counts = followed[last_of_test] + np.bincount(codes) / len(codes)
    return counts / counts.sum(axis=1, keepdims=True), classes

"""Recommenders on one split: each is tuned on held-out training pairs, then measured on the test."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.model_selection import ParameterGrid

from experiments.unsupervised.score import Score
from tabemb import PairEmbedder
from tabemb.unsupervised.baselines import ALS, BPR, EASE, ItemKNN, Popularity, RandomItems
from tabemb.unsupervised.ranking import compare, evaluate, evaluate_users
from tabemb.unsupervised.splits import split_users

Grid = Mapping[str, Sequence[Any]]
MODELS: dict[str, tuple[Any, Grid]] = {
    "random": (RandomItems(random_state=0), {}),
    "popularity": (Popularity(), {}),
    "item-kNN": (ItemKNN(), {"shrinkage": (1.0, 10.0, 100.0)}),
    "EASE": (EASE(), {"l2": (50.0, 100.0, 250.0, 500.0, 1000.0)}),
    "ALS": (ALS(n_jobs=1, random_state=0), {"l2": (1.0, 5.0, 10.0, 30.0)}),
    "BPR": (BPR(n_jobs=1, random_state=0), {}),
    "PairEmbedder, default": (PairEmbedder(n_jobs=1, random_state=0), {}),
    "PairEmbedder": (
        PairEmbedder(n_jobs=1, random_state=0),
        {"l2": (1.5, 4.0, 8.0)},
    ),
}
"""Models with the values to try."""


def measure(
    task: str,
    train: pd.DataFrame,
    test: pd.DataFrame,
    user: str,
    *,
    k: int,
    reach: Mapping[str, str],
    models: Mapping[str, tuple[Any, Grid]] = MODELS,
    seed: int = 0,
) -> list[Score]:
    """Return the metrics of every model, and print how PairEmbedder differs from EASE per user."""
    scores, by_user = [], {}
    for name, (model, grid) in models.items():
        start = time.perf_counter()
        fitted = tuned(model, grid, train, user, k, seed).fit(train)
        table = evaluate(fitted, test, k, metrics=["ndcg", "recall", "mrr", "coverage"])
        seconds = time.perf_counter() - start
        by_user[name] = evaluate_users(fitted, test, k, metrics=["ndcg", "recall"])
        print(task, name, fitted, table[["value", "low", "high"]].round(4).to_dict("index"), flush=True)
        scores += [
            Score(task, name, f"{metric}@{k}", float(row["value"]), reach.get(str(metric), ""), seconds)
            for metric, row in table.iterrows()
        ]
    if {"EASE", "PairEmbedder"} <= set(by_user):
        print(compare(by_user["PairEmbedder"], by_user["EASE"]).round(4).to_string())
    return scores


def tuned(model: Any, grid: Grid, train: pd.DataFrame, user: str, k: int, seed: int) -> Any:
    """Return the model with the grid values that are best on held-out training pairs."""
    candidates = [clone(model).set_params(**params) for params in ParameterGrid(dict(grid))]
    if len(candidates) == 1:
        return candidates[0]
    inner, held_out = split_users(train, user, 0.1, random_state=seed + 1)
    values = [
        evaluate(clone(one).fit(inner), held_out, k, metrics=["ndcg"])["value"].iloc[0]
        for one in candidates
    ]
    return candidates[int(np.argmax(values))]

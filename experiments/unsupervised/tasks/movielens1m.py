"""Movielens 1M: predict each user's last film among all 3,416 from the user's earlier films.

Films that a user has already rated are not ranked, as a film is rated only once. Grid parameters are
chosen by the last training film of each user.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.model_selection import ParameterGrid

from experiments.shared.settings import data_folder
from experiments.unsupervised.next_items import intervals, ranks_of, recurrent
from experiments.unsupervised.ranking import Grid
from experiments.unsupervised.score import Score
from tabemb import ItemEmbedder, Table
from tabemb.unsupervised.baselines import ALS, EASE, ItemKNN, Popularity
from tabemb.unsupervised.splits import split_last

K = 10
METRICS = ("hit_rate", "ndcg")
REACH = {
    "hit_rate": "SASRec .316, gSASRec .300, BERT4Rec .284, one negative .25, MF-BPR .074",
    "ndcg": "SASRec .186, gSASRec .173, BERT4Rec .154, MF-BPR .038",
}
MODELS: dict[str, tuple[Any, Grid]] = {
    "popularity": (Popularity(user="user", item="item"), {}),
    "item-kNN": (ItemKNN(user="user", item="item"), {"shrinkage": (10.0, 100.0)}),
    "EASE": (EASE(user="user", item="item"), {"l2": (250.0, 1000.0)}),
    "ALS": (ALS(user="user", item="item", n_jobs=1, random_state=0), {"l2": (1.0, 10.0)}),
}
GRU: dict[str, Any] = {
    # larger initial vectors would be noise that training must remove
    "tables": {"answer": Table(["earlier.answer"], dim=64, l2=20.0, init=0.01)},
    "n_members": 1,
    "d_history": 128,
    "hidden": (128,),
    "unknown_rate": 0.1,  # share of the earlier films that is hidden
    "max_epochs": 6,
    "early_stopping": False,
    "precision": "bfloat16",
}


def run(seed: int = 0) -> list[Score]:
    films = pd.read_parquet(data_folder() / "movielens1m_sequences.parquet")
    train, test = (films[films["test"] == part].drop(columns="test") for part in (False, True))
    scores: list[Score] = []
    for name, (model, grid) in MODELS.items():
        start = time.perf_counter()
        fitted = tuned(model, grid, train).fit(train)
        scores += measured(name, fitted.recommend(test["user"], K), test, start)
    for name, recommendations in (("item2vec", item2vec), ("GRU", gru)):
        start = time.perf_counter()
        scores += measured(name, recommendations(train, test, seed), test, start)
    return scores


def tuned(model: Any, grid: Grid, train: pd.DataFrame) -> Any:
    """Return the model with the values that find the most of the last training films."""
    candidates = [clone(model).set_params(**params) for params in ParameterGrid(dict(grid))]
    if len(candidates) == 1:
        return candidates[0]
    inner, held_out = split_last(train, "user", "position")
    rates = []
    for one in candidates:
        table = clone(one).fit(inner).recommend(held_out["user"], K)
        ranks = ranks_of(table, held_out.set_index("user")["item"], K)
        rates.append(intervals(ranks, METRICS)["hit_rate"][0])
    return candidates[int(np.argmax(rates))]


def measured(name: str, table: pd.DataFrame, test: pd.DataFrame, start: float) -> list[Score]:
    """Return the metrics of recommendations over all users, and print them with intervals."""
    ranks = ranks_of(table, test.set_index("user")["item"], K)
    seconds, values = time.perf_counter() - start, intervals(ranks, METRICS)
    print(
        "movielens1m", name, {metric: np.round(value, 4) for metric, value in values.items()}, flush=True
    )
    return [
        Score("movielens1m", name, f"{metric}@{K}", value[0], REACH[metric], seconds)
        for metric, value in values.items()
    ]


def item2vec(train: pd.DataFrame, test: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the recommendations of word2vec, fitted on each user's films in order."""
    embedder = ItemEmbedder(
        item="item", entity="user", time="position", dim=64, max_epochs=20, random_state=seed
    )
    return embedder.fit(train).recommend(train[train["user"].isin(test["user"])], K)


def gru(train: pd.DataFrame, test: pd.DataFrame, seed: int, **settings: Any) -> pd.DataFrame:
    """Return the recommendations of a recurrent network that predicts each film from earlier ones."""
    model = recurrent("user", "position", random_state=seed, **GRU | settings)
    model.fit(train[["user", "position"]], train["item"])
    return model.recommend(test[["user", "position"]], K)

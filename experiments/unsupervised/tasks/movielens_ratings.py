"""Movielens 100k: the error of predicted ratings, five folds."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd

from experiments.shared.settings import data_folder
from experiments.unsupervised.score import Score
from tabemb import PairEmbedder

REACH = "SVD .934, SVD++ .919, factorisation machines .895; here <= .890"
USER = ["user_id", "age", "gender", "occupation"]
N_MEMBERS = 5
NONE = {"users": None, "items": None}


def run(seed: int = 0) -> list[Score]:
    ratings = pd.read_parquet(data_folder() / "movielens100k.parquet")
    users = ratings[USER].drop_duplicates("user_id")
    items = ratings[["item_id", "release_year", "class"]].drop_duplicates("item_id")
    items["class"] = items["class"].str.split()
    described = {"users": users, "items": items}
    errors: dict[str, list[float]] = {}
    start = time.perf_counter()
    for fold in range(1, 6):
        is_test = np.random.default_rng(20261120 + fold).random(len(ratings)) < 0.2
        train, test = ratings[~is_test], ratings[is_test]
        for name, sides in (("PairEmbedder", NONE), ("PairEmbedder, columns", described)):
            members = []
            for member in range(N_MEMBERS):
                model = PairEmbedder(n_jobs=1, random_state=seed + member)
                pairs = train[["user_id", "item_id"]]
                model.fit(pairs, train["rating"], users=sides["users"], items=sides["items"])
                members.append(model.predict(test[["user_id", "item_id"]]))
            errors.setdefault(name, []).append(rmse(members[0], test["rating"]))
            mean = np.mean(members, axis=0)
            errors.setdefault(f"{name}, mean of 5", []).append(rmse(mean, test["rating"]))
        print(fold, {name: np.round(values, 4).tolist() for name, values in errors.items()}, flush=True)
    seconds = time.perf_counter() - start
    return [
        Score("movielens_ratings", name, "RMSE", float(np.mean(values)), REACH, seconds)
        for name, values in errors.items()
    ]


def rmse(predicted: np.ndarray, y: pd.Series) -> float:
    return float(np.sqrt(np.mean((predicted.clip(1, 5) - y) ** 2)))

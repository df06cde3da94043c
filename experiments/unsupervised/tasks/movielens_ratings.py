"""Movielens 100k: measure the error of predicted ratings in five folds.

`PairEmbedder` reads who rates what, with or without the columns of users and films.
`EmbeddingRegressor` reads all columns of a rating, including its time.
"""

from __future__ import annotations

import time

import numpy as np
import pandas as pd

from experiments.shared.settings import data_folder
from experiments.unsupervised.score import Score
from tabemb import EmbeddingRegressor, PairEmbedder

REACH = "SVD .934, SVD++ .919, factorisation machines .895; here <= .890"
USER = ["user_id", "age", "gender", "occupation"]
N_MEMBERS = 5
NONE = {"users": None, "items": None}
IDS: dict[str | int, str] = {"user_id": "categorical", "item_id": "categorical"}


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
        rows = as_rows(ratings)
        regressor = EmbeddingRegressor(roles=IDS, n_jobs=1, random_state=seed)
        regressor.fit(rows[~is_test], train["rating"])
        errors.setdefault("EmbeddingRegressor", []).append(
            rmse(regressor.predict(rows[is_test]), test["rating"])
        )
        print(fold, {name: np.round(values, 4).tolist() for name, values in errors.items()}, flush=True)
    seconds = time.perf_counter() - start
    return [
        Score("movielens_ratings", name, "RMSE", float(np.mean(values)), REACH, seconds)
        for name, values in errors.items()
    ]


def as_rows(ratings: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of the ratings, without the title, which only repeats the film."""
    years = pd.to_numeric(ratings["release_year"], errors="coerce")
    rows = ratings.drop(columns=["rating", "movie_title"])
    return rows.assign(release_year=years, **{"class": ratings["class"].str.split()})


def rmse(predicted: np.ndarray, y: pd.Series) -> float:
    return float(np.sqrt(np.mean((predicted.clip(1, 5) - y) ** 2)))

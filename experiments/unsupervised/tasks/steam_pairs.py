"""Games that players own: the top 10 of all other games, with a quarter of each player's held out."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd

from experiments.shared.settings import data_folder
from experiments.unsupervised.ranking import measure
from experiments.unsupervised.score import Score
from tabemb import ItemEmbedder
from tabemb.unsupervised.splits import split_users

MIN_GAMES = 5
K = 10


def run(seed: int = 0) -> list[Score]:
    games = pd.read_parquet(data_folder() / "steam_games.parquet")
    pairs = games[["user", "title"]].drop_duplicates(ignore_index=True)
    pairs = pairs[pairs.groupby("user")["title"].transform("size") >= MIN_GAMES]
    train, test = split_users(pairs, "user", 0.25, random_state=seed)
    scores = measure("steam_pairs", train, test, "user", k=K, reach={}, seed=seed)
    return [*scores, *item2vec(train, test, seed)]


def item2vec(train: pd.DataFrame, test: pd.DataFrame, seed: int) -> list[Score]:
    """Return the metrics of word2vec on each player's games as a set."""
    start = time.perf_counter()
    embedder = ItemEmbedder(
        mode="set", item="title", entity="user", dim=64, window=10, max_epochs=20, random_state=seed
    ).fit(train)
    played = train[train["user"].isin(test["user"])]
    table = embedder.recommend(played, K).rename(columns={"list": "user", "item": "title"})
    hits = table.merge(test, on=["user", "title"])
    n_test = test.groupby("user").size()
    gains = (1 / np.log2(hits["rank"] + 1)).groupby(hits["user"]).sum()
    best = np.cumsum(1 / np.log2(np.arange(K) + 2))[n_test.clip(upper=K) - 1]
    values = {
        "ndcg": gains.reindex(n_test.index, fill_value=0) / best,
        "recall": hits.groupby("user").size().reindex(n_test.index, fill_value=0) / n_test,
    }
    seconds = time.perf_counter() - start
    return [
        Score("steam_pairs", "item2vec", f"{metric}@{K}", float(value.mean()), "", seconds)
        for metric, value in values.items()
    ]

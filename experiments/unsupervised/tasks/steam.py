"""Sets of games that users own: the neighbours of six titles, and held-out pairs."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd

from experiments.shared.settings import data_folder
from experiments.unsupervised.score import Score
from tabemb import ItemEmbedder

TITLES = (
    "The Elder Scrolls V Skyrim",
    "Counter-Strike",
    "Sid Meier's Civilization V",
    "Portal 2",
    "Football Manager 2014",
    "Grand Theft Auto IV",
)
K = 10
MODELS: dict[str, dict[str, Any]] = {"item2vec": {}, "item2vec, 40 epochs": {"max_epochs": 40}}


def run(seed: int = 0) -> list[Score]:
    games = pd.read_parquet(data_folder() / "steam_games.parquet")
    is_test = np.isin(games["user"], held_out(games["user"], seed))
    scores = []
    for name, params in MODELS.items():
        start = time.perf_counter()
        embedder = ItemEmbedder(
            mode="set", item="title", entity="user", dim=64, window=10, random_state=seed, **params
        ).fit(games[~is_test])
        quality = embedder.evaluate(games[is_test], k=K)
        seconds = time.perf_counter() - start
        print(name, quality.to_string(), sep="\n")
        for way, row in quality.iterrows():
            model = str(way) if way == "popularity" else f"{name}, {way}"
            scores.append(
                Score("steam_games", model, f"hit rate@{K} of pairs", row["hit_rate"], "", seconds)
            )
    for title in TITLES:
        near = embedder.space_.nearest(title, k=5, min_count=20)
        print(f"{title}: {', '.join(near['category'])}")
    return scores


def held_out(users: pd.Series, seed: int) -> np.ndarray:
    """Return a fifth of the users."""
    distinct = users.unique()
    return np.random.default_rng(seed).permutation(distinct)[: len(distinct) // 5]

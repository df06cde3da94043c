"""Games that the same players have: the top 10 of all others, a quarter of each player's held out."""

from __future__ import annotations

import pandas as pd

from experiments.shared.settings import data_folder
from experiments.unsupervised.ranking import measure
from experiments.unsupervised.score import Score
from tabemb.unsupervised.splits import split_users

MIN_GAMES = 5


def run(seed: int = 0) -> list[Score]:
    games = pd.read_parquet(data_folder() / "steam_games.parquet")
    pairs = games[["user", "title"]].drop_duplicates(ignore_index=True)
    pairs = pairs[pairs.groupby("user")["title"].transform("size") >= MIN_GAMES]
    train, test = split_users(pairs, "user", 0.25, random_state=seed)
    return measure("steam_pairs", train, test, "user", k=10, reach={}, seed=seed)

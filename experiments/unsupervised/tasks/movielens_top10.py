"""Movielens 100k: the top 10 of all unseen films, 25 % of each user's ratings held out at random.

The protocol of Microsoft's recommenders (benchmarks of movielens100k): every rating is a positive pair.
"""

from __future__ import annotations

import pandas as pd

from experiments.shared.settings import data_folder
from experiments.unsupervised.ranking import measure
from experiments.unsupervised.score import Score
from tabemb.unsupervised.splits import split_users

REACH = {
    "ndcg": "BiVAE .475, BPR .442, LightGCN .420, SAR .382, ALS .044",
    "recall": "BiVAE .219, BPR .213",
}


def run(seed: int = 0) -> list[Score]:
    ratings = pd.read_parquet(data_folder() / "movielens100k.parquet")
    pairs = ratings[["user_id", "item_id"]]
    train, test = split_users(pairs, "user_id", 0.25, random_state=seed)
    return measure("movielens_top10", train, test, "user_id", k=10, reach=REACH, seed=seed)

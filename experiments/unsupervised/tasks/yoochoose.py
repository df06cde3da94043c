"""Predict the next item of a session with item2vec on the earlier clicks: recall at 20."""

from __future__ import annotations

import time

import pandas as pd

from experiments.shared.settings import data_folder
from experiments.unsupervised.score import Score
from tabemb import ItemEmbedder, tune_items

REACH = "GRU .690, Markov .591"
K = 20


def run(seed: int = 0, n_trials: int = 12) -> list[Score]:
    clicks = pd.read_parquet(data_folder() / "yoochoose_clicks.parquet")
    train, test = (clicks[clicks["split"] == split] for split in ("train", "test"))
    embedder = ItemEmbedder(item="item", entity="session", time="time", dim=64, random_state=seed)
    scores = []
    start = time.perf_counter()
    scores += measured("item2vec", embedder.fit(train), test, start)
    start = time.perf_counter()
    tuned = tune_items(embedder, train, n_trials=n_trials, k=K, random_state=seed)
    print(tuned.trials.head(5).to_string(), tuned.quality.to_string(), sep="\n")
    return scores + measured("item2vec, tuned", tuned.embedder, test, start)


def measured(name: str, embedder: ItemEmbedder, test: pd.DataFrame, start: float) -> list[Score]:
    """Return the recall of each way to rank; every click of a session is a query for the next one."""
    quality = embedder.evaluate(test, k=K)
    seconds = time.perf_counter() - start
    print(name, quality.to_string(), sep="\n")
    scores = []
    for way, row in quality.iterrows():
        model = way if way == "popularity" else f"{name}, {way}"
        for metric, value in ((f"recall@{K}", row["hit_rate"]), ("MRR", row["mrr"])):
            reach = REACH if metric == f"recall@{K}" else ""
            scores.append(Score("yoochoose", str(model), metric, float(value), reach, seconds))
    return scores

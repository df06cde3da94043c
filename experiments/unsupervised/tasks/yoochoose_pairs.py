"""Predict the next item of a session from the set of items clicked before: EASE and item-kNN.

Every click of a test session after the first is a query, as for the GRU; the earlier items are those
of a new user. A click may repeat an item, so no item is excluded.
"""

from __future__ import annotations

import time

import numpy as np
import pandas as pd

from experiments.shared.settings import data_folder
from experiments.unsupervised.score import Score
from tabemb.unsupervised.baselines import EASE, ItemKNN, Popularity
from tabemb.unsupervised.ranking import evaluate

REACH = "GRU .690, Markov .591"
K = 20
MODELS = {
    "popularity": Popularity(),
    "item-kNN": ItemKNN(shrinkage=1.0),
    "EASE": EASE(l2=10.0),
}


def run(seed: int = 0) -> list[Score]:
    clicks = pd.read_parquet(data_folder() / "yoochoose_clicks.parquet")
    clicks = clicks.sort_values(["session", "time"], kind="stable")
    train, test = (clicks[clicks["split"] == split] for split in ("train", "test"))
    queries, answers = prefixes(test)
    scores = []
    for name, model in MODELS.items():
        start = time.perf_counter()
        model.fit(train[["session", "item"]])
        if isinstance(model, ItemKNN | EASE):
            model = model.extend(queries)
        table = evaluate(
            model, answers, K, metrics=["hit_rate", "mrr"], exclude_seen=False, seen="keep"
        )["value"]
        seconds = time.perf_counter() - start
        scores += [
            Score("yoochoose", name, f"recall@{K}", float(table["hit_rate"]), REACH, seconds),
            Score("yoochoose", name, "MRR", float(table["mrr"]), "", seconds),
        ]
    return scores


def prefixes(test: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the items before each click, one row per item, and the item of the click."""
    place = test.groupby("session").cumcount()
    clicks = test.assign(place=place, query=np.arange(len(test)))
    pairs = clicks.merge(clicks, on="session", suffixes=("", "_before"))
    before = pairs[pairs["place_before"] < pairs["place"]]
    queries = pd.DataFrame({"session": -1 - before["query"], "item": before["item_before"]})
    later = clicks[place > 0]
    return queries, pd.DataFrame({"session": -1 - later["query"], "item": later["item"]})

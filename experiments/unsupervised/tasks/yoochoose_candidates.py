"""Predict the next item of a session from candidates, with a recurrent network for the session.

The items are found by an index of their vectors, without the network. Every click of a test session
after the first is a query; the network has read the clicks before it.
"""

from __future__ import annotations

import time

import numpy as np
import pandas as pd

from experiments.shared.settings import data_folder
from experiments.unsupervised.next_items import intervals, ranks_of, recurrent
from experiments.unsupervised.score import Score
from tabemb import EventClassifier
from tabemb.unsupervised.ranking import Ranks

REACH = "GRU .690, Markov .591"
K = 20


def run(seed: int = 0) -> list[Score]:
    clicks = pd.read_parquet(data_folder() / "yoochoose_clicks.parquet")
    clicks = clicks.sort_values(["session", "time"], kind="stable")
    train, test = (clicks[clicks["split"] == split] for split in ("train", "test"))
    start = time.perf_counter()
    model = recurrent("session", "time", random_state=seed)
    model.fit(train[["session", "time"]], train["item"])
    ranks = candidates_of(model, test)
    seconds = time.perf_counter() - start
    values = intervals(ranks, ("hit_rate", "mrr"))
    print("yoochoose candidates", {name: np.round(value, 4) for name, value in values.items()})
    return [
        Score("yoochoose", "candidates", f"recall@{K}", values["hit_rate"][0], REACH, seconds),
        Score("yoochoose", "candidates", f"MRR@{K}", values["mrr"][0], "GRU .363", seconds),
    ]


def candidates_of(model: EventClassifier, test: pd.DataFrame) -> Ranks:
    """Return what the index finds for each click after the first, given the vector of its session."""
    index = model.class_space_.index(metric="dot")
    parts = []
    for place, clicks in test.groupby(test.groupby("session").cumcount()):
        events = clicks[["session", "time"]]
        if place:
            found = index.nearest_to(model.user_vectors(events), K)
            parts.append(ranks_of(found, clicks.set_index("session")["item"], K))
        model.update(events, clicks["item"])
    hits, n_relevant = (np.concatenate(arrays) for arrays in zip(*parts))
    return Ranks(hits, n_relevant)

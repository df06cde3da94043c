"""Predict groups of bloggers from node vectors of their network: DeepWalk and node2vec.

The protocol is that of DeepWalk (Perozzi et al. 2014): one-vs-rest logistic regression on the vectors of
labelled nodes predicts as many groups for a node as it has. 80 walks of 40 nodes, window 10, 128
columns.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.multiclass import OneVsRestClassifier

from experiments.shared.settings import data_folder
from experiments.unsupervised.score import Score
from tabemb import EmbeddingSpace, ItemEmbedder, random_walks

PUBLISHED = {0.1: (35.9, 21.1), 0.5: (41.5, 27.7), 0.9: (42.4, 28.2)}
"""Micro and macro F1 of DeepWalk by the share of nodes that are labelled."""
SHARES = (0.1, 0.5, 0.9)
N_SPLITS = 3
WALKS: dict[str, dict[str, Any]] = {
    "DeepWalk": {},
    "node2vec": {"p": 0.25, "q": 0.25},  # the paper's choice for this network
}
EMBEDDINGS: dict[str, dict[str, Any]] = {
    "negative sampling": {"n_negatives": 5},
    "hierarchical softmax": {"n_negatives": 0},
}


def run(
    seed: int = 0, n_walks: int = 80, walks: Any = tuple(WALKS), embeddings: Any = tuple(EMBEDDINGS)
) -> list[Score]:
    edges = pd.read_parquet(data_folder() / "blogcatalog_edges.parquet")
    groups = pd.read_parquet(data_folder() / "blogcatalog_groups.parquet")
    scores = []
    for walk in walks:
        start = time.perf_counter()
        lists = random_walks(edges, n_walks=n_walks, length=40, random_state=seed, **WALKS[walk])
        walked = time.perf_counter() - start
        for embedding in embeddings:
            start = time.perf_counter()
            embedder = ItemEmbedder(
                dim=128,
                window=10,
                max_epochs=1,
                random_state=seed,
                **EMBEDDINGS[embedding],
            ).fit(lists)
            seconds = walked + time.perf_counter() - start
            scores += measured(f"{walk}, {embedding}", embedder.space_, groups, seconds, seed)
    return scores


def measured(
    model: str, space: EmbeddingSpace, groups: pd.DataFrame, seconds: float, seed: int
) -> list[Score]:
    """Return micro and macro F1 of the groups for each share of labelled nodes."""
    table = groups.assign(member=True).pivot_table(
        index="node", columns="group", values="member", aggfunc="any", fill_value=False
    )
    y = table.to_numpy(bool)
    X = space.vectors[space.positions(table.index)]
    scores = []
    for share in SHARES:
        figures = [f1(X, y, share, seed + split) for split in range(N_SPLITS)]
        for metric, value, published in zip(("micro", "macro"), np.mean(figures, 0), PUBLISHED[share]):
            reach = f"DeepWalk {published}"
            scores.append(
                Score("blogcatalog", model, f"{metric} F1 at {share:.0%}", value, reach, seconds)
            )
    return scores


def f1(X: np.ndarray, y: np.ndarray, share: float, seed: int) -> tuple[float, float]:
    """Return micro and macro F1 in percent, given the share of labelled nodes."""
    order = np.random.default_rng(seed).permutation(len(X))
    train, test = np.split(order, [round(share * len(X))])
    known = y[train].any(axis=0)
    model = OneVsRestClassifier(LogisticRegression(max_iter=1000)).fit(X[train], y[train][:, known])
    chance = np.zeros((len(test), y.shape[1]))
    chance[:, known] = model.predict_proba(X[test])
    ranks = (-chance).argsort(axis=1).argsort(axis=1)
    predicted = ranks < y[test].sum(axis=1, keepdims=True)
    micro, macro = (100 * f1_score(y[test], predicted, average=kind) for kind in ("micro", "macro"))
    return float(micro), float(macro)

"""Embed books by the Wikipedia pages they link to, and measure what neighbours have in common.

The model is Koehrsen's: squared error on +-1, two negatives per pair, vectors of length one. The
neighbours of a book should share its author or genre more often than popular books do.
"""

from __future__ import annotations

import time

import numpy as np
import pandas as pd

from experiments.shared.settings import data_folder
from experiments.unsupervised.score import Score
from tabemb import EmbeddingSpace, PairEmbedder
from tabemb.unsupervised.baselines import EASE

N_QUERIES = 6
K = 10
REACH = ">= 5 x popularity"


def run(seed: int = 0) -> list[Score]:
    books = pd.read_parquet(data_folder() / "wikipedia_books.parquet")
    links = pd.read_parquet(data_folder() / "wikipedia_book_links.parquet")
    facts = books.drop_duplicates("title").set_index("title")
    models = {
        "PairEmbedder, squared": PairEmbedder(
            loss="squared",
            negative_weight=2.0,
            normalized=True,
            biases=False,
            dim=50,
            n_jobs=1,
            random_state=seed,
        ),
        "PairEmbedder": PairEmbedder(dim=50, n_jobs=1, random_state=seed),
    }
    pairs = links.iloc[:, :2]
    scores = []
    for name, model in models.items():
        start = time.perf_counter()
        model.fit(pairs)
        space = model.spaces_[pairs.columns[0]]
        near = space.neighbors(k=K)
        share = same(near["category"], near["neighbor"], facts)
        seconds = time.perf_counter() - start
        popular = popularity(space, facts)
        print(name, model.learning_curve_["eval_loss"][::5], flush=True)
        scores.append(Score("books", name, "same author or genre", share, REACH, seconds))
        scores.append(Score("books", name, "over popularity", share / popular, REACH, seconds))
        show(space, name)
    start = time.perf_counter()
    weights = EASE(l2=5.0).fit(pairs.iloc[:, ::-1])
    space = EmbeddingSpace(weights.weights_, weights.items_.labels())
    near = neighbours_of(weights)
    share = same(near["category"], near["neighbor"], facts)
    scores.append(
        Score("books", "EASE", "same author or genre", share, REACH, time.perf_counter() - start)
    )
    return scores


def neighbours_of(ease: EASE) -> pd.DataFrame:
    """Return for each book the books with the largest weights."""
    labels = ease.items_.labels()
    order = np.argsort(-ease.weights_, axis=1, kind="stable")[:, :K]
    return pd.DataFrame(
        {"category": np.repeat(labels, K), "neighbor": np.asarray(labels)[order.ravel()]}
    )


def same(books: pd.Series, others: pd.Series, facts: pd.DataFrame) -> float:
    """Return the share of pairs of books with the same author or genre."""
    alike = [
        facts[fact].reindex(books).to_numpy() == facts[fact].reindex(others).to_numpy()
        for fact in ("author", "genre")
    ]
    return float(np.mean(alike[0] | alike[1]))


def popularity(space: EmbeddingSpace, facts: pd.DataFrame) -> float:
    """Return the same share if the neighbours of every book are the books with the most links."""
    top = space.categories[np.argsort(-np.asarray(space.counts), kind="stable")[:K]]
    books = np.repeat(space.categories, K)
    return same(pd.Series(books), pd.Series(np.tile(top, len(space))), facts)


def show(space: EmbeddingSpace, name: str) -> None:
    for query in space.categories[np.argsort(-np.asarray(space.counts), kind="stable")[:N_QUERIES]]:
        print(f"{name}, {query}: {', '.join(space.nearest(query, k=5)['category'])}")

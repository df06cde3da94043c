"""Compare one-hot vectors of 37,000 books with an embedding table: similarity, memory, step time.

A one-hot vector has one coordinate per book, and the similarity of any two is zero. A linear layer on it
multiplies by many zeros to find one row of its weights, which a table looks up. The vectors of the table
are learned from genres, publishers, countries and languages. The test is whether books of one author,
which is not an input, are near each other.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy.sparse import csr_array, identity
from torch import nn

from experiments.shared.settings import data_folder
from experiments.unsupervised.score import Score
from tabemb import PairEmbedder

FACTS = ["genre", "publisher", "country", "language"]
DIM = 50
BATCH = 1000
N_STEPS = 10
N_PAIRS = 20_000
MEBIBYTE = 2**20


class Vectors(NamedTuple):
    """Vectors of books, in the order of the space, and the layer with which a network reads them."""

    name: str
    unit: csr_array | np.ndarray
    memory: int
    layer: nn.Module
    read: Callable[[torch.Tensor], torch.Tensor]


def run(seed: int = 0) -> list[Score]:
    books = pd.read_parquet(data_folder() / "wikipedia_books.parquet").drop_duplicates("title")
    facts = books.melt("title", FACTS, "fact").dropna()
    facts["value"] = facts["fact"] + ": " + facts["value"].astype(str)
    embedder = PairEmbedder(dim=DIM, n_negatives=256, max_epochs=10, n_jobs=1, random_state=seed)
    space = embedder.fit(facts[["title", "value"]]).spaces_["title"]
    one, other = of_one_author(books, space.categories, seed)
    strangers = np.random.default_rng(seed).permutation(len(space))[: len(one)]
    scores = []
    for vectors in both(space.unit_vectors, len(space)):
        alike = (vectors.unit[one] * vectors.unit[other]).sum(axis=1).mean()
        by_chance = (vectors.unit[one] * vectors.unit[strangers]).sum(axis=1).mean()
        seconds = seconds_of_a_step(vectors, len(space), seed)
        figures = {
            "similarity of books of one author": float(alike),
            "similarity of any two books": float(by_chance),
            "memory of all vectors, MiB": vectors.memory / MEBIBYTE,
            "milliseconds of a step": 1000 * seconds,
        }
        scores += [
            Score("one_hot", vectors.name, metric, value, "", seconds)
            for metric, value in figures.items()
        ]
    return scores


def both(unit: np.ndarray, n_books: int) -> list[Vectors]:
    linear, table = nn.Linear(n_books, DIM), nn.Embedding(n_books, DIM)
    memory = n_books * n_books * unit.itemsize
    return [
        Vectors(
            "one-hot",
            csr_array(identity(n_books, format="csr")),
            memory,
            linear,
            lambda codes: linear(nn.functional.one_hot(codes, n_books).float()),
        ),
        Vectors("table", unit, unit.nbytes, table, table),
    ]


def of_one_author(books: pd.DataFrame, titles: pd.Index, seed: int) -> np.ndarray:
    """Return the positions of pairs of books by one author, (2, n_pairs), sampled if there are many."""
    books = pd.DataFrame({"title": titles, "at": range(len(titles))}).merge(books, on="title")
    pairs = books.merge(books, on="author").query("at_x < at_y")
    return pairs.sample(min(N_PAIRS, len(pairs)), random_state=seed)[["at_x", "at_y"]].to_numpy().T


def seconds_of_a_step(vectors: Vectors, n_books: int, seed: int) -> float:
    """Return the median seconds of a step of Adam on a batch of books."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(vectors.layer.parameters())
    seconds = []
    for _ in range(N_STEPS):
        codes = torch.randint(n_books, (BATCH,), generator=generator)
        start = time.perf_counter()
        optimizer.zero_grad()
        vectors.read(codes).square().mean().backward()
        optimizer.step()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))

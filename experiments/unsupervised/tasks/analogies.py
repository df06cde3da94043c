"""Does vector arithmetic answer "red is to blue as ... is to ..."? For products and for games.

A question consists of two products whose descriptions differ only by a colour, and two others with the
same two colours; or of parts of two series of games. The answer is often near the third category anyway,
so its nearest neighbours are measured too (Linzen 2016, https://aclanthology.org/W16-2503/).
"""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import permutations
from typing import NamedTuple

import numpy as np
import pandas as pd

from experiments.shared.settings import data_folder
from experiments.unsupervised.score import Score
from tabemb import EmbeddingSpace, ItemEmbedder

K = 5
MIN_COUNT = 20
COLOURS = re.compile(r"\b(RED|BLUE|PINK|GREEN|IVORY|BLACK|WHITE|SILVER|GOLD|PURPLE|ORANGE)\b")
PART = re.compile(r"^(?P<series>.*?) (?P<part>2|3|4|II|III|IV)\b")
NUMERALS = {"II": "2", "III": "3", "IV": "4"}
NEAREST = "nearest to the third"
REACH = f"above {NEAREST}"


class Kinds(NamedTuple):
    """The categories of a space that differ by one property.

    Parameters
    ----------
    name : str
        What differs, for the table of results.
    families : dict of str -> (dict of str -> category)
        The categories of each family by their property.
    """

    name: str
    families: dict[str, dict[str, str]]

    def questions(self) -> Iterator[tuple[str, str, str, str]]:
        """Yield (a, b, c, d): a is to b as d is to c, with the answer d."""
        for first, second in permutations(self.families.values(), 2):
            for one, other in permutations(first.keys() & second.keys(), 2):
                yield first[one], first[other], second[other], second[one]


def run(seed: int = 0) -> list[Score]:
    scores = []
    for lists, kinds_of in ((baskets(), colours), (libraries(), parts)):
        start = time.perf_counter()
        space = (
            ItemEmbedder(
                mode="set",
                item="item",
                entity="list",
                dim=64,
                window=10,
                max_epochs=20,
                random_state=seed,
            )
            .fit(lists)
            .space_
        )
        frequent = space.categories[np.asarray(space.counts) >= MIN_COUNT]
        kinds = kinds_of(frequent)
        scores += answered(space.subset(frequent), kinds, time.perf_counter() - start)
    return scores


def baskets() -> pd.DataFrame:
    lines = pd.read_parquet(data_folder() / "online_retail.parquet")
    lines = lines[(lines["Quantity"] > 0) & lines["Description"].notna()]
    return pd.DataFrame({"list": lines["InvoiceNo"], "item": lines["Description"].str.strip()})


def libraries() -> pd.DataFrame:
    games = pd.read_parquet(data_folder() / "steam_games.parquet")
    return pd.DataFrame({"list": games["user"], "item": games["title"]})


def colours(names: Iterable[str]) -> Kinds:
    """Return the products whose descriptions are equal except for the first colour."""
    return by_property("colours of products", names, colour_of)


def colour_of(name: str) -> tuple[str, str] | None:
    found = COLOURS.search(name)
    return None if found is None else (COLOURS.sub("*", name, count=1), found[0])


def parts(names: Iterable[str]) -> Kinds:
    """Return the games by series; a game without a number in its name is the first part."""
    return by_property("parts of series", names, part_of)


def part_of(name: str) -> tuple[str, str] | None:
    found = PART.match(name)
    if found is None:
        return name, "1"
    return found["series"], NUMERALS.get(found["part"], found["part"])


def by_property(
    name: str, categories: Iterable[str], split: Callable[[str], tuple[str, str] | None]
) -> Kinds:
    families: dict[str, dict[str, str]] = defaultdict(dict)
    for category in categories:
        found = split(category)
        if found is not None:
            family, kind = found
            families[family].setdefault(kind, category)
    return Kinds(name, {family: kinds for family, kinds in families.items() if len(kinds) > 1})


def answered(space: EmbeddingSpace, kinds: Kinds, seconds: float) -> list[Score]:
    """Return the share of questions whose answer is among the nearest, with arithmetic and without."""
    questions = np.array([space.positions(question) for question in kinds.questions()])
    a, b, c, d = questions.T
    unit = space.unit_vectors
    ways = {"arithmetic": unit[a] - unit[b] + unit[c], NEAREST: unit[c]}
    hits = {way: ranks(vectors, unit, questions[:, :3], d) for way, vectors in ways.items()}
    is_far = hits[NEAREST] >= K
    print(f"{kinds.name}: {len(kinds.families)} families, {len(questions)} questions", flush=True)
    print(f"{is_far.mean():.0%} of the answers are not among the {K} nearest", flush=True)
    scores = []
    for way, rank in hits.items():
        metrics = {
            "first": rank < 1,
            f"hit rate@{K}": rank < K,
            f"hit rate@{K}, far answers": rank[is_far] < K,
        }
        for metric, is_hit in metrics.items():
            model = f"{kinds.name}, {way}"
            scores.append(Score("analogies", model, metric, float(is_hit.mean()), REACH, seconds))
    return scores


def ranks(vectors: np.ndarray, unit: np.ndarray, asked: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Return the number of categories nearer than the answer, not counting those of the question."""
    scores = vectors @ unit.T
    own = scores[np.arange(len(answers)), answers]
    np.put_along_axis(scores, asked, -np.inf, axis=1)
    return np.asarray((scores > own[:, None]).sum(axis=1))

"""Embed words of film reviews, and check whether those nearest to "brilliant" are praise.

The tokeniser: lower case; a word is a run of letters and digits, with apostrophes inside ("doesn't");
all other characters separate words. There is no stemming and no list of stop words.
"""

from __future__ import annotations

import re
import time

import numpy as np
import pandas as pd

from experiments.shared.settings import data_folder
from experiments.unsupervised.score import Score
from tabemb import EmbeddingSpace, ItemEmbedder

WORD = re.compile(r"[a-z0-9]+(?:'[a-z0-9]+)*")
QUERIES = ("brilliant", "moving", "dull", "mess")
MIN_COUNT = 5


def words_of(text: str) -> list[str]:
    """Return the words of a text.

    Examples
    --------
    >>> words_of("It doesn't work , but it's 'good' .")
    ['it', "doesn't", 'work', 'but', "it's", 'good']
    """
    return WORD.findall(text.lower())


def run(seed: int = 0) -> list[Score]:
    data = pd.read_parquet(data_folder() / "movie_sentences.parquet")
    sentences = data["sentence"].map(words_of)
    praise = praise_of(sentences, data["positive"])
    scores = []
    for mode in ("sequence", "set"):
        start = time.perf_counter()
        embedder = ItemEmbedder(mode=mode, min_count=MIN_COUNT, max_epochs=30, random_state=seed)
        space = embedder.fit(sentences).space_
        seconds = time.perf_counter() - start
        for word in QUERIES:
            near, share = neighbours(space, word, praise)
            print(f"{mode}, {word}: {', '.join(near)}")
            scores.append(Score("movie_sentences", mode, f"praise near {word}", share, "", seconds))
    return scores


def praise_of(sentences: pd.Series, positive: pd.Series) -> pd.Series:
    """Return for each word whether it is more frequent in positive sentences than in negative ones."""
    words = pd.DataFrame({"word": sentences, "positive": positive}).explode("word")
    means = words.groupby("word")["positive"].mean()
    return means > words["positive"].mean()


def neighbours(space: EmbeddingSpace, word: str, praise: pd.Series) -> tuple[list[str], float]:
    """Return the ten nearest words, and the share of them that are more frequent in praise."""
    near = space.nearest(word, k=10)["category"].tolist()
    return near, float(np.mean(praise[near]))

"""The experiments with items: tokeniser and metrics give known answers."""

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("gensim", reason="gensim is not installed")

from experiments.unsupervised.tasks import blogcatalog, sentences, yoochoose
from tabemb import EmbeddingSpace, ItemEmbedder


def test_words_are_runs_of_letters_digits_and_inner_apostrophes():
    text = "It doesn't work , but it's 'good' (3 stars) -- really ."
    assert sentences.words_of(text) == [
        "it",
        "doesn't",
        "work",
        "but",
        "it's",
        "good",
        "3",
        "stars",
        "really",
    ]


def test_praise_stands_more_often_in_positive_sentences():
    words = pd.Series([["fine", "film"], ["fine", "film"], ["poor", "film"], ["poor", "film", "fine"]])
    praise = sentences.praise_of(words, pd.Series([1, 1, 0, 0]))
    assert praise.to_dict() == {"fine": True, "film": True, "poor": False}  # 2/3, 1/2, 0 against 4/9
    space = EmbeddingSpace([[1, 0], [1, 0.1], [0, 1]], ["film", "fine", "poor"])
    assert sentences.neighbours(space, "film", praise) == (["fine", "poor"], 0.5)


def test_as_many_groups_are_predicted_as_a_node_has():
    """With the groups themselves as vectors all groups are found; with random vectors, few are."""
    rng = np.random.default_rng(0)
    y = rng.random((400, 5)) < 0.4
    y[~y.any(axis=1), 0] = True
    assert min(blogcatalog.f1(y * 8.0, y, 0.5, 0)) > 99
    assert max(blogcatalog.f1(rng.normal(size=(400, 5)), y, 0.5, 0)) < 70


def test_each_score_of_clicks_has_its_way_to_rank():
    log = pd.DataFrame({"s": np.repeat(range(30), 3), "item": list("abc") * 30, "t": range(90)})
    embedder = ItemEmbedder(item="item", entity="s", time="t", dim=4, random_state=0).fit(log)
    scores = yoochoose.measured("item2vec", embedder, log, 0.0)
    assert [score.model for score in scores[::2]] == [
        "item2vec, similar",
        "item2vec, context",
        "item2vec, predicted",
        "popularity",
    ]
    assert {score.value for score in scores if score.metric == "recall@20"} == {1.0}

"""Rankings of candidates, as the experiments measure them."""

import numpy as np
import pandas as pd
import pytest

from experiments.unsupervised.next_items import intervals, ranks_of, recurrent
from experiments.unsupervised.tasks import movielens1m
from experiments.unsupervised.tasks.yoochoose_candidates import candidates_of
from tabemb.unsupervised.baselines import Popularity
from tabemb.unsupervised.ranking import evaluate


def sessions(n_sessions=60, length=5, n_items=40, seed=0, first=0):
    """Return sessions in which each item is followed by the next one in a cycle."""
    rng = np.random.default_rng(seed)
    items = (rng.integers(n_items, size=n_sessions)[:, None] + np.arange(length)) % n_items
    who = first + np.repeat(np.arange(n_sessions), length)
    return pd.DataFrame(
        {"session": who, "time": np.tile(np.arange(length), n_sessions), "item": items.ravel()}
    )


def test_ranks_are_those_of_evaluate():
    films = sessions().rename(columns={"session": "user", "time": "position"})
    train, test = films[films["position"] < 4], films[films["position"] == 4]
    model = Popularity(user="user", item="item").fit(train)
    ranks = ranks_of(model.recommend(test["user"], 10), test.set_index("user")["item"], 10)
    table = evaluate(model, test[["user", "item"]], 10, metrics=["hit_rate", "ndcg", "mrr"])
    for name, value in intervals(ranks, ("hit_rate", "ndcg", "mrr")).items():
        assert value == pytest.approx(tuple(table.loc[name, ["value", "low", "high"]]))
    scores = movielens1m.measured("popularity", model.recommend(test["user"], 10), test, 0.0)
    assert [score.metric for score in scores] == ["hit_rate@10", "ndcg@10"]
    assert scores[0].value == pytest.approx(table.loc["hit_rate", "value"])


def test_candidates_of_the_index_are_those_of_a_replay():
    pytest.importorskip("usearch")
    model = recurrent(
        "session", "time", class_vectors=True, history="mean", hidden=(32,), n_members=2, max_epochs=15,
        learning_rate=0.01, random_state=0,
    )  # fmt: skip
    train, test = sessions(), sessions(seed=1, first=1000)
    model.fit(train[["session", "time"]], train["item"])
    assert set(model.encoder_.schema.roles.values()) <= {"ignored", "categorical", "history"}
    probability = model.replay_proba(test[["session", "time"]], test["item"])
    own = probability[np.arange(len(test)), pd.Index(model.classes_).get_indexer(test["item"])]
    place = (probability > own[:, None]).sum(1)[test["time"] > 0]
    ranks = candidates_of(model, test)
    assert ranks.hits.shape == (len(place), 20)
    assert ranks.hits.any(1).mean() == pytest.approx((place < 20).mean(), abs=0.01)
    assert (ranks.hits.argmax(1) == 0).mean() == pytest.approx((place == 0).mean(), abs=0.02)
    assert (place == 0).mean() > 0.9

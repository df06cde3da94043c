"""Metrics compared with hand calculations and other libraries, intervals, leaks, splits."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.metrics import ndcg_score

from tabemb.unsupervised.baselines import ALS, EASE, Popularity, RandomItems
from tabemb.unsupervised.ranking import (
    METRICS,
    Ranks,
    compare,
    evaluate,
    evaluate_users,
    mean_interval,
)
from tabemb.unsupervised.splits import split_by_time, split_last, split_users


def pairs(n_users=60, n_items=30, n=900, seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"user": rng.integers(n_users, size=n), "item": rng.integers(n_items, size=n)})
    return frame.drop_duplicates(ignore_index=True)


class Fixed:
    """Recommend a given list for each user; the fit has seen no test pair."""

    def __init__(self, lists, train):
        fitted = Popularity().fit(train)
        self.users_, self.items_, self.seen_ = fitted.users_, fitted.items_, fitted.seen_
        self.lists = lists

    def recommend(self, users, k, exclude_seen=True):
        rows = [
            (user, rank, item, -rank)
            for user in users
            for rank, item in enumerate(self.lists.get(user, [])[:k], start=1)
        ]
        return pd.DataFrame(rows, columns=["user", "rank", "item", "score"])


TRAIN = pd.DataFrame({"user": list("abcdd"), "item": list("xyzpq")})


def test_all_metrics_by_hand():
    # user a: hits at ranks 1 and 3 of three test items; b: none; c: gets an empty list
    test = pd.DataFrame({"user": list("aaabc"), "item": ["p", "q", "r", "p", "q"]})
    recommender = Fixed({"a": ["p", "x", "q", "y"], "b": ["x", "z"]}, TRAIN)
    by_user = evaluate_users(recommender, test, k=3, metrics=list(METRICS))
    ideal = 1 + 1 / np.log2(3) + 1 / 2
    expected = {
        "ndcg": (1 + 1 / 2) / ideal,
        "recall": 2 / 3,
        "hit_rate": 1.0,
        "mrr": 1.0,
        "precision": 2 / 3,
        "map": (1 + 2 / 3) / 3,
    }
    assert by_user.loc["a"].to_dict() == pytest.approx(expected)
    assert not by_user.loc[["b", "c"]].to_numpy().any()
    table = evaluate(recommender, test, k=3, metrics=["recall", "coverage"])
    assert table.loc["recall", "value"] == pytest.approx(2 / 9)
    assert table.loc["recall", ["n_users", "n_pairs", "n_unknown_items"]].tolist() == [3, 5, 1]
    assert table.loc["coverage", "value"] == 4 / 5


def test_reciprocal_rank_is_of_the_first_hit():
    ranks = Ranks(np.array([[False, True, True], [False, False, True]]), np.array([2, 1]))
    assert METRICS["mrr"](ranks).tolist() == [1 / 2, 1 / 3]


@pytest.mark.parametrize("k", [1, 5, 10])
def test_ndcg_is_that_of_scikit_learn(k):
    train, test = split_users(pairs(), "user", random_state=1)
    model = EASE(l2=10).fit(train)
    ours = evaluate_users(model, test, k=k, metrics=["ndcg"])["ndcg"]
    for user, value in ours.items():
        seen = set(train["item"][train["user"] == user])
        items = [item for item in range(30) if item not in seen]
        wanted = set(test["item"][test["user"] == user])
        truth = [[float(item in wanted) for item in items]]
        frame = pd.DataFrame({"user": user, "item": items})
        assert value == pytest.approx(ndcg_score(truth, [model.predict(frame)], k=k), abs=1e-6)


def test_ndcg_and_map_are_those_of_implicit():
    implicit = pytest.importorskip("implicit")
    from implicit.als import AlternatingLeastSquares
    from implicit.evaluation import ranking_metrics_at_k

    train, test = split_users(pairs(), "user", random_state=1)
    ours = ALS(dim=8, n_jobs=1, random_state=3).fit(train)
    labels = ours.items_.labels()
    matrices = []
    for frame in (train, test):
        from scipy.sparse import csr_matrix

        frame = frame[frame["item"].isin(labels)]
        cells = (ours.users_.of_labels(frame["user"])[1], ours.items_.of_labels(frame["item"])[1])
        matrices.append(csr_matrix((np.ones(len(frame), np.float32), cells), (60, len(labels))))
    theirs = AlternatingLeastSquares(factors=8, use_gpu=False, num_threads=1)
    theirs.user_factors, theirs.item_factors = ours.user_vectors_, ours.item_vectors_
    expected = ranking_metrics_at_k(theirs, *matrices, K=10, show_progress=False, num_threads=1)
    table = evaluate(ours, test, k=10, metrics=["ndcg", "map"])["value"]
    assert implicit
    assert table.to_dict() == pytest.approx({"ndcg": expected["ndcg"], "map": expected["map"]}, abs=1e-6)


def test_pairs_of_fit_are_refused_left_out_or_kept():
    train = pairs()
    test = pd.concat([train.head(3), pd.DataFrame({"user": [0], "item": [77]})], ignore_index=True)
    model = Popularity().fit(train)
    with pytest.raises(ValueError, match="3 rows do, the first is row 0"):
        evaluate(model, test)
    left = evaluate(model, test, seen="leave_out", metrics=["recall"])
    assert left.loc["recall", ["n_seen", "n_pairs", "n_unknown_items"]].tolist() == [3, 1, 1]
    kept = evaluate(model, test, seen="keep", exclude_seen=False, k=30, metrics=["hit_rate"])
    assert kept.loc["hit_rate", "n_pairs"] == 4
    assert kept.loc["hit_rate", "value"] > 0
    with pytest.raises(ValueError, match="none is left"):
        evaluate(model, train.head(3), seen="leave_out")


def test_unknown_users_are_counted_and_get_what_is_popular():
    train = pd.DataFrame({"user": ["a", "b", "b"], "item": ["x", "x", "y"]})
    test = pd.DataFrame({"user": ["new", "a"], "item": ["x", "y"]})
    table = evaluate(Popularity().fit(train), test, k=1, metrics=["recall"])
    assert table.loc["recall", "n_unknown_users"] == 1
    assert table.loc["recall", "value"] == 1.0


def test_sampled_metrics_are_named_so_and_larger():
    train, test = split_last(pairs(n_items=200, n=3000), "user")
    model = RandomItems(random_state=0).fit(train)
    sampled = evaluate(model, test, metrics=["hit_rate"], n_sampled=20)
    assert list(sampled.index) == ["sampled_hit_rate"]
    assert sampled["value"].iloc[0] == pytest.approx(10 / 21, abs=0.2)
    assert evaluate(model, test, metrics=["hit_rate"])["value"].iloc[0] < 0.2
    with pytest.raises(ValueError, match="coverage"):
        evaluate(model, test, metrics=["coverage"], n_sampled=20)


def test_equal_scores_are_no_advantage_in_sampled_metrics():
    class Constant(Popularity):
        def _scores(self, users):
            return np.zeros((len(users), len(self.items_)))

    train, test = split_last(pairs(n_users=200, n=2000), "user")
    table = evaluate(Constant().fit(train), test, k=1, metrics=["hit_rate"], n_sampled=9)
    assert table["value"].iloc[0] == pytest.approx(0.1, abs=0.06)


@pytest.mark.parametrize("interval", ["normal", "bootstrap"])
def test_intervals_hold_the_mean_as_often_as_they_say(interval):
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(100):
        low, high = mean_interval(rng.exponential(size=80), interval, 0.9)[1:]
        held += low < 1 < high
    assert 80 <= held <= 97


def test_one_user_has_no_interval():
    assert np.isnan(mean_interval(np.ones(1))[1:]).all()


def test_paired_differences_are_narrower_than_the_metrics_themselves():
    rng = np.random.default_rng(0)
    users = pd.DataFrame({"ndcg": rng.random(200)})
    better = users + 0.05 + rng.normal(scale=0.01, size=(200, 1))
    row = compare(better, users).loc["ndcg"]
    assert row["low"] < 0.05 < row["high"]
    assert row["high"] - row["low"] < 0.005
    assert row["better"] > 0.99
    assert row["n_users"] == 200
    with pytest.raises(ValueError, match="same users"):
        compare(users, users.head(3))


def test_names_of_metrics_are_checked():
    model = Popularity().fit(TRAIN)
    with pytest.raises(ValueError, match="Did you mean 'recall'"):
        evaluate(model, log(), metrics=["recal"])
    with pytest.raises(ValueError, match="list of names"):
        evaluate(model, log(), metrics="recall")


# splits


def log():
    return pd.DataFrame(
        {
            "user": list("aabbbc"),
            "item": list("xyxyzx"),
            "time": pd.to_datetime(["2020-01-0" + day for day in "134522"]),
        }
    )


@pytest.mark.parametrize("convert", [pd.DataFrame, pl.from_pandas, pa.Table.from_pandas])
def test_split_by_time_in_every_library(convert):
    train, test = split_by_time(convert(log()), "time", cutoff="2020-01-04")
    assert type(train) is type(convert(log()))
    assert (len(train), len(test)) == (4, 2)


def test_split_by_time_keeps_one_moment_together():
    frame = pd.DataFrame({"user": range(10), "item": range(10), "time": [1] * 4 + [2] * 5 + [3]})
    _train, test = split_by_time(frame, "time", test_size=0.3)
    assert test["time"].tolist() == [3]
    with pytest.raises(ValueError, match="one of them has none"):
        split_by_time(frame, "time", cutoff=9)
    with pytest.raises(ValueError, match="cutoff must be a number"):
        split_by_time(frame, "time", cutoff="2020")


def test_missing_times_are_refused_with_their_row():
    frame = log()
    frame.loc[2, "time"] = None
    with pytest.raises(ValueError, match="1 rows have none, the first is row 2"):
        split_by_time(frame, "time")


def test_split_last_takes_the_latest_by_time_and_leaves_short_users():
    train, test = split_last(log(), "user", "time")
    assert test[["user", "item"]].to_numpy().tolist() == [["a", "y"], ["b", "y"]]
    assert train["user"].tolist() == list("abbc")
    assert split_last(log(), "user")[1]["item"].tolist() == ["y", "z"]  # by the order of the rows
    assert len(split_last(log(), "user", "time", n_last=2)[1]) == 2


def test_split_users_takes_a_share_of_each_and_repeats():
    frame = pairs()
    train, test = split_users(frame, "user", 0.25, random_state=0)
    counts, taken = frame["user"].value_counts(), test["user"].value_counts()
    assert all(abs(taken.get(user, 0) - n / 4) <= 0.5 for user, n in counts.items())
    assert len(pd.merge(train, test)) == 0
    assert len(train) + len(test) == len(frame)
    assert split_users(frame, "user", 0.25, random_state=0)[1].equals(test)
    assert not split_users(frame, "user", 0.25, random_state=1)[1].equals(test)

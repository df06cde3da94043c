import numpy as np
import pandas as pd
import pytest

from experiments import growth
from tabemb.compare import Dataset
from tabemb.spaces import EmbeddingSpace

SETTINGS = {"n_rows": 400, "n_nights": 2, "refits": [2], "seed": 0, "n_jobs": 1}


def dataset(n=450, in_time=False):
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"city": rng.choice(list("abcd"), n)})
    y = pd.Series((X["city"].map(dict(zip("abcd", range(4)))) + rng.normal(size=n)).to_numpy())
    moments = pd.Series(rng.permutation(n)) if in_time else None
    return Dataset("made up", X, y, "regression", time=moments)


def test_a_line_holds_errors_cosines_and_seconds(monkeypatch, capsys):
    monkeypatch.setattr(growth, "load_named", lambda name: dataset())
    table = pd.DataFrame(growth.nights_of("made up", SETTINGS))
    assert table["night"].tolist() == [2]
    assert table["ratio"].between(0.8, 1.25).all()
    assert table["cosine"].between(0.5, 1).all()
    growth.show(table)
    assert "made up" in capsys.readouterr().out


def test_nights_in_time_are_tested_on_the_next_night():
    made_up = dataset(in_time=True)
    stream = growth.stream_of(made_up, SETTINGS)
    order = np.argsort(made_up.time.to_numpy(), kind="stable")[-400:]
    assert stream.y.tolist() == made_up.y.to_numpy()[order].tolist()
    assert stream.ends.tolist() == [200, 267, 333]
    assert stream.tests[2] == slice(333, 400)


def test_rows_of_a_longer_time_are_drawn_and_the_newest_test():
    made_up = dataset(1000, in_time=True)
    stream = growth.stream_of(made_up, SETTINGS | {"span": 2, "test_share": 0.1})
    newest = np.sort(made_up.time.to_numpy())[-800:]
    moments = made_up.time.to_numpy()[[int(np.flatnonzero(made_up.y == v)[0]) for v in stream.y]]
    assert np.isin(moments, newest).all()
    assert (np.diff(moments) > 0).all()
    assert 300 < moments[200] - newest[0] < 500
    assert stream.ends.tolist() == [200, 280, 360]
    assert stream.tests == [slice(360, 400)] * 3


def test_shuffled_nights_have_one_test():
    stream = growth.stream_of(dataset(), SETTINGS)
    assert stream.ends.tolist() == [160, 240, 320]
    assert stream.tests == [slice(320, 400)] * 3


def test_vectors_of_rows_are_zero_where_a_category_is_unknown():
    spaces = {"city": EmbeddingSpace([[1, 2], [3, 4]], ["a", "b"])}
    vectors = growth.vectors_of(spaces, pd.DataFrame({"city": ["b", "z"]}))
    assert vectors.tolist() == [[3, 4], [0, 0]]


def test_whole_numbers_beside_missing_ones_are_the_same_categories():
    spaces = {"agent": EmbeddingSpace([[1, 2], [3, 4]], [7, 9])}
    vectors = growth.vectors_of(spaces, pd.DataFrame({"agent": [9.0, np.nan]}))
    assert vectors.tolist() == [[3, 4], [0, 0]]


def test_vectors_of_zeros_count_in_no_cosine():
    then = {"one": EmbeddingSpace(np.zeros((1, 2)), ["a"], [3], "one", [0.5], ["x"])}
    then["city"] = EmbeddingSpace(np.eye(2), ["a", "b"], [3, 1], "city", [0.5, 0.5], ["x"])
    assert growth.cosine_of(then, then) == pytest.approx(1)


def test_cosines_count_by_rows():
    then = {"city": EmbeddingSpace(np.eye(2), ["a", "b"], [3, 1], "city", [0.5, 0.5], ["x"])}
    turned = [[1, 0], [1, 0]]
    now = {"city": EmbeddingSpace(turned, ["a", "b"], [3, 1], "city", [0.5, 0.5], ["x", "y"])}
    assert growth.cosine_of(then, now) == pytest.approx(0.75)

import pickle
import sys

import numpy as np
import pandas as pd
import pytest

from tabemb.spaces import EmbeddingSpace
from tabemb.spaces import space as space_module

pytest.importorskip("usearch", reason="usearch is not installed: pip install tabemb[index]")


def crowd(n=2000, seed=0, **changed):
    """Forty groups of directions in sixteen dimensions."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(40, 16))[np.arange(n) % 40] + rng.normal(scale=0.4, size=(n, 16))
    return EmbeddingSpace(vectors, [f"c{i}" for i in range(n)], **changed)


def recall(found, exact):
    pairs = [set(zip(table["category"], table["neighbor"])) for table in (found, exact)]
    return len(pairs[0] & pairs[1]) / len(pairs[1])


def test_an_index_finds_nearly_all_of_the_nearest():
    space = crowd()
    found, exact = space.index().neighbors(k=10), space.neighbors(k=10)
    assert list(found.columns) == list(exact.columns)
    assert len(found) == len(exact)
    assert not (found["category"] == found["neighbor"]).any()
    assert list(found["rank"]) == list(exact["rank"])
    assert recall(found, exact) > 0.95


def test_an_index_of_few_is_the_same_however_many_threads_there_are(monkeypatch):
    """If several threads add points to a small graph, groups may have no link to the others."""
    rng = np.random.default_rng(0)
    centers = 9 * rng.normal(size=(20, 16))
    vectors = np.tile(centers, (100, 1)) + rng.normal(size=(2000, 16))
    space = EmbeddingSpace(vectors, range(2000))
    found = []
    for n_threads in 1, 8:
        monkeypatch.setattr("tabemb.spaces.index.n_cores", lambda n_threads=n_threads: n_threads)
        found.append(space.index().neighbors(k=10))
    pd.testing.assert_frame_equal(found[0], found[1])


def test_an_index_answers_for_a_category_and_for_a_vector():
    space = crowd(counts=np.arange(2000))
    index = space.index()
    pd.testing.assert_frame_equal(index.nearest("c7", k=3), space.nearest("c7", k=3), rtol=1e-4)
    own = index.nearest(space["c7"] * 3, k=1)
    assert (own["category"][0], own["count"][0]) == ("c7", 7)
    assert list(index.neighbors(["c9", "c7"], k=1)["category"]) == ["c9", "c7"]


def test_an_index_of_a_few_and_of_zeros():
    space = EmbeddingSpace([[1, 0], [2, 1], [0, 0]], ["a", "b", "c"])
    pd.testing.assert_frame_equal(space.index().nearest("a"), space.nearest("a"))
    assert len(space.index().neighbors()) == 6
    assert EmbeddingSpace([[1, 0]], ["a"]).index().nearest("a").empty
    assert EmbeddingSpace(np.empty((0, 2)), []).index().neighbors().empty
    assert len(EmbeddingSpace(np.ones((50, 2)), range(50)).index().nearest(0, k=5)) == 5


def test_a_saved_index_is_opened_and_answers_the_same(tmp_path):
    space = crowd()
    built = space.index(tmp_path / "c.usearch").neighbors(k=5)
    opened = crowd().open_index(tmp_path / "c.usearch")
    pd.testing.assert_frame_equal(opened.neighbors(k=5), built)


def products(n_queries=200):
    """Return items whose lengths differ as with frequent and rare items, and users to search with."""
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(3000, 12)) * rng.lognormal(sigma=0.7, size=(3000, 1))
    return EmbeddingSpace(vectors, range(3000)), rng.normal(size=(n_queries, 12))


def test_an_index_by_dot_product_finds_nearly_all_of_the_largest(tmp_path):
    space, users = products()
    largest = np.argsort(-(users @ space.vectors.T), axis=1)[:, :10]
    exact = space.nearest_to(users, k=10, metric="dot")
    np.testing.assert_array_equal(exact["category"].to_numpy().reshape(-1, 10), largest)
    by_dot = space.index(tmp_path / "i.usearch", metric="dot")
    opened = products()[0].open_index(tmp_path / "i.usearch")
    for index in (by_dot, opened):
        assert index.metric == "dot"
        found = index.nearest_to(pd.DataFrame(users).rename_axis("user"), k=10)
        assert list(found.columns) == ["user", "rank", "category", "similarity"]
        pairs = [set(zip(*(t[c] for c in t.columns[[0, 2]]))) for t in (found, exact)]
        assert len(pairs[0] & pairs[1]) / len(pairs[1]) > 0.95
        own = np.take_along_axis(
            users @ space.vectors.T, found["category"].to_numpy().reshape(-1, 10), 1
        )
        np.testing.assert_allclose(found["similarity"], own.ravel(), rtol=1e-4, atol=1e-4)
    by_cosine = space.index().nearest_to(users, k=10)
    pairs = [set(zip(t["vector"], t["category"])) for t in (by_cosine, exact)]
    assert len(pairs[0] & pairs[1]) / len(pairs[1]) < 0.8  # the nearest by direction differ


def test_an_index_finds_the_largest_products_of_vectors_with_a_shared_bias():
    """Products of two such items are always large; those of users are more informative."""
    rng = np.random.default_rng(4)
    centers = rng.normal(size=(40, 12))
    items = centers[rng.integers(40, size=3000)] + 0.4 * rng.normal(size=(3000, 12))
    users = 2 * centers[rng.integers(40, size=200)] + rng.normal(size=(200, 12))
    bias = -4 - rng.exponential(2, size=3000)
    space = EmbeddingSpace(np.column_stack([items, bias]), range(3000))
    users = np.column_stack([users, np.ones(200)])
    tables = space.index(metric="dot").nearest_to(users), space.nearest_to(users, metric="dot")
    found, exact = (set(zip(table["vector"], table["category"])) for table in tables)
    assert len(found & exact) / len(exact) > 0.95


def test_neighbors_search_an_index_of_their_metric():
    space, _ = products()
    for metric in ("dot", "cosine"):  # each needs another index
        found = space.neighbors(k=5, metric=metric, approximate=True)
        exact = space.neighbors(k=5, metric=metric)
        assert recall(found, exact) > 0.95
        np.testing.assert_allclose(found["similarity"][:5], exact["similarity"][:5], rtol=1e-4)
    pd.testing.assert_frame_equal(
        space.index(metric="dot").nearest(7, k=3), space.nearest(7, k=3, metric="dot"), rtol=1e-4
    )
    with pytest.raises(ValueError, match="metric must be one of 'cosine', 'dot'; got 'euclidean'"):
        space.index(metric="euclidean")


def test_vectors_of_a_few_and_of_zeros_are_searched_by_dot_product():
    space = EmbeddingSpace([[1, 0], [2, 1], [0, 0]], ["a", "b", "c"])
    found = space.index(metric="dot").nearest_to([[1, 0]], k=5)
    assert found["category"].tolist() == ["b", "a", "c"]
    assert found["similarity"].tolist() == pytest.approx([2, 1, 0], abs=1e-5)
    empty = EmbeddingSpace(np.empty((0, 2)), [])
    assert empty.index(metric="dot").nearest_to([[1, 0]]).empty
    assert EmbeddingSpace([[0, 0]], ["z"]).index(metric="dot").nearest_to([[1, 0]])["similarity"][0] == 0


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ([[1.0, 2.0, 3.0]], r"vectors must have shape \(m, 2\), as those of .*; got \(1, 3\)\."),
        ([1.0, 2.0], r"vectors must have shape \(m, 2\), as those of .*; got \(2,\)\."),
        ([[0.0, 1.0], [np.nan, 1.0]], r"vectors must be finite; row 1 holds \[nan, 1.0\]"),
    ],
)
def test_wrong_vectors_are_named(vectors, message):
    space = EmbeddingSpace([[1, 0], [2, 1], [0, 0]], ["a", "b", "c"])
    for search in (space.nearest_to, space.index().nearest_to):
        with pytest.raises(ValueError, match=message):
            search(vectors)


@pytest.mark.parametrize("other", [crowd(1999), crowd(seed=1), EmbeddingSpace(np.eye(3), list("abc"))])
def test_an_index_of_another_space_is_refused(tmp_path, other):
    crowd().index(tmp_path / "c.usearch")
    with pytest.raises(
        ValueError,
        match=r"the index of EmbeddingSpace.* is the index of other vectors, 2000 of width 16",
    ):
        other.open_index(tmp_path / "c.usearch")
    EmbeddingSpace(np.empty((0, 16)), []).index(tmp_path / "empty.usearch")
    with pytest.raises(ValueError, match=r"is the index of other vectors, 0 of width 16"):
        other.open_index(tmp_path / "empty.usearch")


def test_a_file_that_is_no_index(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"must name an existing file; got .*nothing'"):
        crowd().open_index(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match=r"path must lie in an existing folder; got .*no/index"):
        crowd().index(tmp_path / "no" / "index")
    (tmp_path / "text").write_bytes(b"hello" * 100)
    with pytest.raises(ValueError, match=r"must name a usearch index; .*text' is not one"):
        crowd().open_index(tmp_path / "text")


def test_neighbors_is_exact_until_there_are_very_many_pairs(monkeypatch):
    space, asked = crowd(), []
    monkeypatch.setattr(
        space_module.ApproximateIndex, "neighbors", lambda *arguments: asked.append(arguments)
    )
    space.neighbors(["c1"])
    space.neighbors(["c1"], metric="dot")
    assert not asked
    monkeypatch.setattr(space_module, "MAX_EXACT", 1999)
    space.neighbors(["c1"], metric="dot")
    space.neighbors(["c1"], approximate=False)
    assert not asked
    space.neighbors(["c1"])
    assert len(asked) == 1


def test_neighbors_asks_the_index_that_is_there(tmp_path):
    space = crowd()
    index = space.index(tmp_path / "c.usearch")
    pd.testing.assert_frame_equal(space.neighbors(approximate=True), index.neighbors())
    assert space._index is index
    assert pickle.loads(pickle.dumps(space))._index is None


def test_without_usearch_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "usearch", None)
    with pytest.raises(ImportError, match=r"usearch is not installed; pip install 'tabemb\[index\]'"):
        crowd().index()


def unsure(n=2000, seed=0):
    rng = np.random.default_rng(seed)
    return crowd(n, counts=rng.integers(1, 100, n), reliability=rng.uniform(size=n))


@pytest.mark.parametrize(
    "least",
    [
        {"min_count": 50},  # half of the categories are left
        {"min_count": 10, "min_reliability": 0.9},
        {"min_reliability": 0.997},  # a handful
        {"min_count": 101},  # none
    ],
)
def test_an_index_takes_the_filters_of_nearest(least):
    space = unsure()
    found, exact = space.index().neighbors(k=10, **least), space.neighbors(k=10, **least)
    assert list(found.columns) == list(exact.columns)
    assert len(found) == len(exact)
    assert list(found["category"]) == list(exact["category"])
    assert exact.empty or recall(found, exact) > 0.95
    assert not (found["category"] == found["neighbor"]).any()
    places = space.positions(found["neighbor"])
    np.testing.assert_array_equal(found["reliability"], space.reliability[places])
    assert (space.counts[places] >= least.get("min_count", 0)).all()
    assert (space.reliability[places] >= least.get("min_reliability", 0)).all()
    through = space.neighbors(k=10, approximate=True, **least)
    pd.testing.assert_frame_equal(through, found)
    sure = space.categories[space.reliability.argmax()]
    alone, wanted = (made.nearest(sure, k=10, **least) for made in (space._index, space))
    assert list(alone.columns) == list(wanted.columns)
    assert len(alone) == len(wanted)
    assert len(set(alone["category"]) & set(wanted["category"])) >= 0.8 * len(wanted)


def test_an_index_finds_what_the_graph_hides_behind_those_that_are_left_out():
    rng = np.random.default_rng(0)
    vectors = np.repeat([[1, 0.0], [0, 1]], [900, 100], axis=0) + rng.normal(scale=0.01, size=(1000, 2))
    space = EmbeddingSpace(vectors, range(1000), counts=np.r_[np.ones(900), np.full(100, 9)])
    found = space.index().nearest(0, k=5, min_count=5)
    assert len(found) == 5
    assert (found["category"] >= 900).all()


def test_an_index_warns_of_a_doubtful_category():
    space = unsure()
    doubtful = space.categories[space.reliability.argmin()]
    index = space.index()
    with pytest.warns(UserWarning, match=f"The vector of '{doubtful}' has reliability") as caught:
        index.nearest(doubtful)
    assert [one.filename for one in caught] == [__file__]
    with pytest.raises(ValueError, match="min_count needs a space with a count of each category"):
        crowd().index().nearest("c1", min_count=2)

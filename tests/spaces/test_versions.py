"""Versions of a space: which categories have moved more than the counts explain."""

import numpy as np
import pandas as pd
import pytest

from tabemb import EmbeddingRegressor
from tabemb.spaces import EmbeddingSpace

NAMES = [f"c{i}" for i in range(10)]


def space(vectors, ancestry, names=NAMES, counts=None, name="city"):
    n = len(names)
    counts = np.full(n, 90) if counts is None else counts
    return EmbeddingSpace(vectors, names, counts, name, np.full(n, 0.9), ancestry)


def test_movement_is_measured_by_the_standard_error_of_the_count():
    rng = np.random.default_rng(0)
    then = rng.normal(size=(10, 3))
    then /= np.linalg.norm(then, axis=1, keepdims=True)
    now = then.copy()
    now[0, 0] += 1.0
    older, newer = space(then, ["a"]), space(now, ["a", "b"], counts=np.full(10, 100))
    table = newer.compare(older).set_index("category")
    noise = 0.1 / 0.9  # for vectors of length one
    assert table.loc["c0", "movement"] == pytest.approx(1 / np.sqrt(noise * 10 / 100), rel=1e-5)
    assert table["has_moved"].tolist() == [True] + [False] * 9
    assert table["cosine"][1:].round(5).eq(1).all()
    assert newer.version == 1
    assert older.version == 0


def test_a_vector_of_zeros_has_no_cosine():
    then = np.eye(10)
    now = then.copy()
    now[0] = 0
    table = space(now, ["a", "b"]).compare(space(then, ["a"]))
    assert np.isnan(table["cosine"][0])
    assert table["cosine"][1:].eq(1).all()
    assert table["movement"][0] > 0


def test_what_all_categories_do_is_no_movement_of_one():
    then = np.random.default_rng(0).normal(size=(10, 3))
    table = space(-5 * then, ["a", "b"]).compare(space(then, ["a"]))
    assert table["movement"].min() > 3
    assert not table["has_moved"].any()


def test_new_and_gone_categories():
    older = space(np.eye(10), ["a"])
    newer = space(np.eye(10), ["a", "b"], names=[*NAMES[1:], "new"])
    table = newer.compare(older).set_index("category")
    assert table.loc["new", "change"] == "new"
    assert table.loc["c0", "change"] == "gone"
    assert table.loc[["new", "c0"], "cosine"].isna().all()
    assert table.index[-1] == "c0"
    assert np.isnan(table.loc["new", "count_then"])
    assert not table["has_moved"].any()


@pytest.mark.parametrize(
    "older",
    [space(np.eye(10), ["x"]), space(np.eye(10), []), space(np.eye(10), ["a"], name="shop")],
)
def test_only_earlier_versions_of_the_same_space_compare(older):
    with pytest.raises(ValueError, match="older must be an earlier version of the space 'city'"):
        space(np.eye(10), ["a", "b"]).compare(older)


def test_spaces_without_counts_do_not_compare():
    bare = EmbeddingSpace(np.eye(10), NAMES, ancestry=["a"], name="city")
    with pytest.raises(ValueError, match="Both spaces need counts"):
        space(np.eye(10), ["a", "b"]).compare(bare)


def test_a_parquet_file_and_a_part_keep_the_ancestry(tmp_path):
    newer = space(np.eye(10), ["a", "b"])
    newer.to_parquet(tmp_path / "space")
    read = EmbeddingSpace.from_parquet(tmp_path / "space")
    assert read.ancestry == ("a", "b")
    assert read.subset(["c1"]).version == 1


def test_the_category_whose_effect_has_changed_is_found():
    rng = np.random.default_rng(0)
    names = np.array([f"c{i}" for i in range(30)])
    effects = dict(zip(names, rng.normal(size=30)))

    def rows(n, changed):
        X = pd.DataFrame({"city": rng.choice(names, n)})
        return X, X["city"].map({**effects, **changed}).to_numpy() + 0.3 * rng.normal(size=n)

    settings = {"hidden": (32,), "n_members": 4, "random_state": 0, "n_jobs": 1}
    settings |= {"batch_size": 128, "learning_rate": 0.01, "trees": False}
    first = EmbeddingRegressor(**settings).fit(*rows(3000, {}))
    same = EmbeddingRegressor(**settings).fit(*rows(1500, {}), start=first)
    other = EmbeddingRegressor(**settings).fit(*rows(1500, {"c3": effects["c3"] + 6}), start=first)
    older = first.spaces_["city"]
    assert same.spaces_["city"].compare(older)["has_moved"].sum() <= 1
    table = other.spaces_["city"].compare(older).set_index("category")
    assert table.loc["c3", "has_moved"]
    assert table["has_moved"].sum() <= 2
    assert table["cosine"].drop("c3").median() > 0.98

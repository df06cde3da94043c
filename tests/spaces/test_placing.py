"""Vectors of new categories from those of known categories with similar descriptions."""

import pickle

import numpy as np
import pandas as pd
import pytest

import tabemb
from tabemb import EmbeddingRegressor, EmbeddingSpace, Table


@pytest.fixture
def places():
    rng = np.random.default_rng(0)
    kinds = rng.choice(["town", "village"], 60)
    return pd.DataFrame({"north": rng.normal(size=60), "kind": kinds}, [f"p{i}" for i in range(60)])


@pytest.fixture
def space(places):
    """Vectors that follow from the descriptions of the first 50 places."""
    known = places.head(50)
    vectors = np.column_stack([known["north"], known["kind"] == "town", np.ones(50)])
    return EmbeddingSpace(vectors, known.index, counts=range(1, 51), name="place")


def test_new_categories_get_vectors_by_their_description(space, places):
    placed = space.by_description(places.index[48:], places)
    new = places.iloc[50:]
    assert list(placed) == list(places.index[48:])
    np.testing.assert_array_equal(placed.vectors[:2], space.vectors[48:])
    np.testing.assert_allclose(placed.vectors[2:, 0], new["north"], atol=0.6)
    np.testing.assert_allclose(placed.vectors[2:, 1], new["kind"] == "town", atol=0.25)
    assert placed.counts.tolist() == [49, 50, *[0] * 10]
    assert placed.reliability[2] > 0.8
    shuffled = places.set_axis(np.random.default_rng(1).permutation(places.index))
    assert space.by_description(places.index[50:], shuffled).reliability.max() < 0.2


def test_descriptions_stay_with_the_space_of_a_model(places, tmp_path):
    rng = np.random.default_rng(0)
    code = rng.integers(50, size=1000)
    X = pd.DataFrame({"place": places.index[code]})
    y = places["north"].to_numpy()[code] * 3 + rng.normal(scale=0.2, size=1000)
    settings = {"hidden": (16,), "n_members": 2, "max_epochs": 8, "random_state": 0, "n_jobs": 1}
    settings |= {"batch_size": 64, "learning_rate": 0.01, "trees": False}
    tables = {"place": Table(["place"], describe=places)}
    model = EmbeddingRegressor(**settings, tables=tables).fit(X, y)
    new = places.index[50:]
    placed = model.spaces_["place"].by_description(new)
    effect = placed.vectors[:, 0]
    assert np.corrcoef(effect, places["north"].iloc[50:])[0, 1] > 0.9
    tabemb.save(model, tmp_path / "model.tabemb")
    loaded = tabemb.load(tmp_path / "model.tabemb").spaces_["place"]
    np.testing.assert_allclose(loaded.by_description(new).vectors, placed.vectors, atol=1e-4)
    alone = pickle.loads(pickle.dumps(model.spaces_["place"]))
    np.testing.assert_allclose(alone.by_description(new).vectors, placed.vectors, atol=1e-4)
    bare = EmbeddingRegressor(**settings | {"max_epochs": 1}).fit(X, y)
    assert bare.spaces_["place"].descriptions is None


def test_what_breaks_a_rule_is_named(space, places):
    with pytest.raises(ValueError, match=r"by_description needs describe=\.\.\., as this space has no"):
        space.by_description(["p55"])
    with pytest.raises(KeyError, match="describe has no row for category 'p99'"):
        space.by_description(["p55", "p99"], places)
    with pytest.raises(ValueError, match="two known categories or more, but describe has 0 of the 50"):
        space.by_description(["p55"], places.tail(10))
    with pytest.raises(TypeError, match="Table 'place': describe must be"):
        space.by_description(["p55"], 3)

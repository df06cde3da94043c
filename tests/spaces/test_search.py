import numpy as np
import pandas as pd
import pytest

from tabemb.spaces import EmbeddingSpace, search

CAPITALS = {"Madrid": "Spain", "Paris": "France", "Rome": "Italy", "Oslo": "Norway"}


@pytest.fixture
def world():
    """Each country is one direction; its capital adds a direction that all capitals share."""
    countries = np.eye(5)[:4]
    vectors = np.vstack([countries + np.eye(5)[4], countries * 3])
    return EmbeddingSpace(vectors, [*CAPITALS, *CAPITALS.values()], counts=range(8), name="place")


@pytest.mark.parametrize("country", ["France", "Italy", "Norway"])
def test_the_capital_of_a_country_by_analogy(world, country):
    found = world.analogy("Madrid", "Spain", country, k=1)
    assert list(found.columns) == ["category", "similarity", "count"]
    assert CAPITALS[found["category"][0]] == country


def test_an_analogy_is_of_vectors_of_length_one_and_leaves_out_the_three(world):
    found = world.analogy("Madrid", "Spain", "France", k=99)
    assert len(found) == 5
    assert not {"Madrid", "Spain", "France"} & set(found["category"])
    unit = world.normalized()
    query = unit["Madrid"] - unit["Spain"] + unit["France"]
    assert found["similarity"][0] == pytest.approx(unit.similarity(query, "Paris"))


def test_arithmetic_of_vectors_can_be_asked_for(world):
    query = world["Madrid"] - world["Spain"] / 3 + world["France"] / 3
    assert world.nearest(query, k=1)["category"][0] == "Paris"


@pytest.mark.parametrize("place", range(3))
def test_an_analogy_with_an_unknown_category_names_close_spellings(world, place):
    asked = ["Madrid", "Spain", "France"]
    asked[place] = "Pariss"
    with pytest.raises(KeyError, match=r"'Pariss' is not a category .*did you mean 'Paris'"):
        world.analogy(*asked)


def crowd(n=300, d=6, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(n, d)).round(1)  # rounded: there are ties
    vectors[5] = 0
    return EmbeddingSpace(vectors, [f"c{i}" for i in range(n)])


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "dot"])
@pytest.mark.parametrize("block", [1, 700, 2**23])
def test_neighbors_of_all_are_those_of_each(monkeypatch, metric, block):
    monkeypatch.setattr(search, "BLOCK", block)
    space = crowd()
    found = space.neighbors(k=4, metric=metric)
    column = "distance" if metric == "euclidean" else "similarity"
    assert list(found.columns) == ["category", "rank", "neighbor", column]
    assert list(found["category"]) == [category for category in space for _ in range(4)]
    assert list(found["rank"]) == [1, 2, 3, 4] * 300
    for category in ["c0", "c5", "c299"]:
        mine, alone = found[found["category"] == category], space.nearest(category, k=4, metric=metric)
        assert list(mine["neighbor"]) == list(alone["category"])
        np.testing.assert_allclose(mine[column], alone[column], atol=1e-6)


def test_neighbors_of_some_in_their_order():
    space = EmbeddingSpace(np.eye(3), [None, ("a", 1), 7])
    found = space.neighbors([7, ("a", 1), float("nan")], k=9)
    assert list(found["rank"]) == [1, 2] * 3
    assert list(found["category"][:4]) == [7, 7, ("a", 1), ("a", 1)]
    assert found["category"][4:].isna().all()


@pytest.mark.parametrize("n", [0, 1])
def test_neighbors_where_there_are_none(n):
    assert EmbeddingSpace(np.ones((n, 2)), range(n)).neighbors().empty
    assert crowd().neighbors([]).empty


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"categories": ["c1", "c"]}, KeyError, "'c' is not a category .*did you mean 'c"),
        (
            {"categories": "c1"},
            TypeError,
            "categories must be a sequence of categories; got the text 'c1'",
        ),
        ({"metric": "l1"}, ValueError, "metric must be one of 'cosine', 'euclidean', 'dot'; got 'l1'"),
        ({"k": 2.5}, ValueError, "k must be an integer of at least 1; got 2.5"),
        ({"k": 0}, ValueError, "k must be an integer of at least 1; got 0"),
        (
            {"metric": "euclidean", "approximate": True},
            ValueError,
            "metric must be 'cosine' or 'dot' for an approximate search; got 'euclidean'",
        ),
    ],
)
def test_bad_questions_for_neighbors(arguments, error, message):
    with pytest.raises(error, match=message):
        crowd().neighbors(**arguments)


def test_clusters_are_the_planted_groups_the_largest_first():
    rng = np.random.default_rng(0)
    sizes = {"few": 5, "many": 40, "some": 15}
    centres = dict(zip(sizes, np.eye(8) * 10))
    names = [f"{group} {i}" for group, size in sizes.items() for i in range(size)]
    vectors = np.vstack(
        [centres[name.split()[0]] * rng.uniform(0.5, 2) + rng.normal(size=8) for name in names]
    )
    found = EmbeddingSpace(vectors, names, name="thing").clusters(3)
    assert list(found.columns) == ["cluster", "similarity"]
    assert found.index.name == "thing"
    assert [name.split()[0] for name in found.index] == ["many"] * 40 + ["some"] * 15 + ["few"] * 5
    assert list(found["cluster"]) == [0] * 40 + [1] * 15 + [2] * 5
    assert found.groupby("cluster")["similarity"].is_monotonic_decreasing.all()


def test_the_similarity_of_a_cluster_is_the_cosine_with_its_middle():
    space = EmbeddingSpace([[1, 0], [0, 5], [-1, 0]], ["a", "b", "c"])
    found = space.clusters(2)["similarity"]
    assert sorted(found) == pytest.approx([0.5**0.5, 0.5**0.5, 1])
    np.testing.assert_array_equal(
        EmbeddingSpace(np.zeros((2, 3)), ["a", "b"]).clusters(1)["similarity"], [0, 0]
    )


@pytest.mark.parametrize("n_clusters", [0, 3, 4, 1.5])
def test_more_clusters_than_directions(n_clusters):
    space = EmbeddingSpace([[1, 0], [2, 0], [0, 1]], ["a", "b", "c"])
    message = f"from 1 to the number of different directions, 2; got {n_clusters}"
    with pytest.raises(ValueError, match=message):
        space.clusters(n_clusters)


def test_normalized_vectors_have_length_one_or_are_zero():
    space = EmbeddingSpace([[3, 4], [0, 0], [-7, 0]], ["a", "b", "c"], counts=[1, 2, 3], name="n")
    normalized = space.normalized()
    np.testing.assert_allclose(normalized.vectors, [[0.6, 0.8], [0, 0], [-1, 0]])
    assert (list(normalized), list(normalized.counts), normalized.name) == (
        ["a", "b", "c"],
        [1, 2, 3],
        "n",
    )
    pd.testing.assert_frame_equal(normalized.nearest("a"), space.nearest("a"))


# Reliability


def unsure(n=300, seed=1, **changed):
    """Return the crowd with a reliability and a count for each category."""
    rng = np.random.default_rng(seed)
    space, reliability = crowd(n, seed=seed), rng.uniform(size=n) ** 2
    return EmbeddingSpace(
        space.vectors, space.categories, rng.integers(1, 99, n), "crowd", reliability, **changed
    )


@pytest.mark.filterwarnings("ignore:The vector of")
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("block", [1, 700, 2**23])
def test_neighbors_take_the_filters_of_nearest(monkeypatch, metric, block):
    monkeypatch.setattr(search, "BLOCK", block)
    space, least = unsure(), {"min_count": 20, "min_reliability": 0.3}
    found = space.neighbors(k=4, metric=metric, **least)
    assert len(found) == 4 * len(space)
    column = "distance" if metric == "euclidean" else "similarity"
    assert list(found.columns) == ["category", "rank", "neighbor", column, "reliability"]
    assert (space.counts[space.positions(found["neighbor"])] >= 20).all()
    for category in ["c0", "c5", "c299", *found["neighbor"][:3]]:
        mine, alone = (
            found[found["category"] == category],
            space.nearest(category, k=4, metric=metric, **least),
        )
        assert list(mine["neighbor"]) == list(alone["category"])
        np.testing.assert_allclose(mine[column], alone[column], atol=1e-6)
        np.testing.assert_array_equal(mine["reliability"], alone["reliability"])


def test_neighbors_where_the_filter_leaves_one_or_none():
    space = EmbeddingSpace(np.eye(3), ["a", "b", "c"], counts=[1, 2, 9])
    found = space.neighbors(min_count=9)
    assert list(zip(found["category"], found["neighbor"])) == [("a", "c"), ("b", "c")]
    assert space.neighbors(min_count=10).empty
    with pytest.raises(ValueError, match=r"min_reliability needs a space with a reliability of each"):
        space.neighbors(min_reliability=0.1)


def test_the_similarity_of_two_is_the_one_that_nearest_lists():
    space = unsure()
    category = space.categories[space.reliability.argmax()]
    listed = space.nearest(category, k=300).set_index("category")["similarity"]
    for other in listed.index[::50]:
        assert space.similarity(category, other) == pytest.approx(listed[other], abs=1e-6)
    cosine = space.similarity(space["c7"], space["c8"])
    roots = np.sqrt(space.reliability[[7, 8]]).prod()
    assert space.similarity("c7", "c8") == pytest.approx(cosine * roots, abs=1e-6)


def test_clusters_are_those_of_the_sure_and_what_is_as_good_as_zero_lies_apart():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(60, 6))
    vectors = np.vstack([np.repeat(np.eye(6)[:2] * 5, 20, axis=0) + rng.normal(size=(40, 6)), noise])
    reliability = np.r_[np.full(40, 0.95), np.zeros(60)]
    found = EmbeddingSpace(vectors, range(100), reliability=reliability).clusters(3)
    assert list(found.columns) == ["cluster", "similarity", "reliability"]
    assert found["cluster"].sort_index().tolist() == [
        *[found["cluster"][0]] * 20,
        *[found["cluster"][20]] * 20,
        *[0] * 60,
    ]
    assert (found["similarity"][range(40, 100)] == 0).all()
    assert found["similarity"][range(40)].min() > 0.5


def test_an_analogy_prefers_what_is_sure_and_warns_of_what_is_not(world):
    double = EmbeddingSpace(
        np.vstack([world.vectors, world["Paris"]]),
        [*world, "Lutetia"],
        reliability=[*[0.9] * 3, 0.1, *[0.9] * 4, 0.5],
    )
    found = double.analogy("Madrid", "Spain", "France", k=2)
    assert list(found["category"]) == ["Paris", "Lutetia"]
    assert found["similarity"][0] / found["similarity"][1] == pytest.approx((0.9 / 0.5) ** 0.5)
    assert list(found["reliability"]) == [0.9, 0.5]
    with pytest.warns(UserWarning, match="The vector of 'Oslo' has reliability 0.10") as caught:
        double.analogy("Oslo", "Norway", "France")
    assert [one.filename for one in caught] == [__file__]


def test_a_doubtful_category_is_warned_of_where_it_was_asked_for():
    space = EmbeddingSpace(np.eye(3), ["a", "b", "c"], reliability=[0.19, 0.2, 1])
    with pytest.warns(UserWarning, match="The vector of 'a' has reliability 0.19") as caught:
        space.nearest("a")
    assert [one.filename for one in caught] == [__file__]
    space.nearest("b")
    space.nearest(space["a"])


@pytest.mark.parametrize(
    ("least", "message"),
    [
        ({"min_reliability": 2}, r"min_reliability must be from 0 to 1; got 2\."),
        ({"min_reliability": "50%"}, r"min_reliability must be from 0 to 1; got '50%'\."),
        ({"min_reliability": float("nan")}, r"min_reliability must be from 0 to 1; got nan\."),
        ({"min_count": -1}, r"min_count must be a number of at least 0; got -1\."),
        ({"min_count": None}, r"min_count must be a number of at least 0; got None\."),
    ],
)
def test_bounds_that_no_category_can_have_are_errors(least, message):
    space = unsure()
    for find in (space.nearest, lambda category, **least: space.neighbors(**least)):
        with pytest.raises(ValueError, match=message):
            find(space.categories[0], **least)

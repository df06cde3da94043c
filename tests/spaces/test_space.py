import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tabemb.spaces import EmbeddingSpace
from tabemb.spaces.search import first_k

CITIES = ["oslo", "bergen", "cairo", "nowhere"]


@pytest.fixture
def space():
    return EmbeddingSpace([[1, 0], [2, 1], [0, 3], [0, 0]], CITIES, counts=[50, 20, 90, 1], name="city")


def test_what_it_holds(space):
    assert len(space) == 4
    assert list(space) == CITIES
    assert "oslo" in space
    assert "paris" not in space
    assert 7 not in space
    assert space.vectors.dtype == np.float32
    assert space.name == "city"
    np.testing.assert_array_equal(space["bergen"], [2, 1])
    np.testing.assert_array_equal(space.counts, [50, 20, 90, 1])


def test_positions_are_rows_of_the_vectors(space):
    assert space.position("cairo") == 2
    np.testing.assert_array_equal(space.positions(["nowhere", "oslo", "nowhere"]), [3, 0, 3])
    np.testing.assert_array_equal(space.positions(), [0, 1, 2, 3])
    with pytest.raises(KeyError, match="did you mean 'oslo'"):
        space.positions(["bergen", "osla"])


def test_only_the_values_and_the_maps_are_saved(space):
    space.normalized()
    space.nearest("oslo")
    values = {"vectors", "categories", "counts", "name", "reliability", "ancestry"}
    assert set(space.__getstate__()) == values
    places = space.coordinates("pca")
    assert set(space.__getstate__()) == {*values, "_maps"}
    loaded = object.__new__(EmbeddingSpace)  # as a file is loaded
    loaded.__dict__.update(space.__getstate__())
    assert loaded.maps.keys() == {("pca", "cosine", 0)}
    pd.testing.assert_frame_equal(loaded.coordinates("pca"), places)
    pd.testing.assert_frame_equal(loaded.nearest("oslo"), space.nearest("oslo"))


def test_vectors_are_a_copy_that_cannot_be_changed(space):
    given = np.ones((1, 2), dtype=np.float32)
    mine = EmbeddingSpace(given, ["a"])
    given[:] = 7
    np.testing.assert_array_equal(mine["a"], [1, 1])
    with pytest.raises(ValueError, match="read-only"):
        space["oslo"][0] = 5


@pytest.mark.parametrize(
    ("metric", "column", "expected"),
    [
        ("cosine", "similarity", {"bergen": 2 / 5**0.5, "cairo": 0, "nowhere": 0}),
        ("euclidean", "distance", {"nowhere": 1, "bergen": 2**0.5, "cairo": 10**0.5}),
        ("dot", "similarity", {"bergen": 2, "cairo": 0, "nowhere": 0}),
    ],
)
def test_nearest_has_the_known_answer(space, metric, column, expected):
    found = space.nearest("oslo", metric=metric)
    assert list(found.columns) == ["category", column, "count"]
    assert list(found["category"]) == list(expected)
    np.testing.assert_allclose(found[column], list(expected.values()), atol=1e-6)
    assert dict(zip(found["category"], found["count"])) == {"bergen": 20, "cairo": 90, "nowhere": 1}


def test_nearest_to_a_vector_excludes_nothing(space):
    assert list(space.nearest(space["oslo"], k=1)["category"]) == ["oslo"]
    assert list(space.nearest([0.0, 1.0], k=2)["category"]) == ["cairo", "bergen"]


def test_nearest_equals_a_full_sort():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(200, 5)).astype(np.float32)
    space = EmbeddingSpace(vectors, range(200))
    distances = np.linalg.norm(vectors - vectors[17], axis=1)
    expected = [i for i in np.argsort(distances) if i != 17][:12]
    assert list(space.nearest(17, k=12, metric="euclidean")["category"]) == expected


def test_euclidean_keeps_digits_between_close_vectors_far_from_zero():
    space = EmbeddingSpace([[1000, 0], [1000, 0.25], [1000, 1]], ["a", "b", "c"])
    np.testing.assert_array_equal(space.nearest("a", metric="euclidean")["distance"], [0.25, 1])


def test_ties_keep_the_order_of_the_space():
    np.testing.assert_array_equal(first_k(np.array([2, 1, 1, 0, 1]), 3), [3, 1, 2])
    np.testing.assert_array_equal(first_k(np.array([2, 1, 1]), 9), [1, 2, 0])
    assert len(first_k(np.array([]), 3)) == 0
    costs = np.random.default_rng(0).integers(0, 3, 1000)
    np.testing.assert_array_equal(first_k(costs, 500), sorted(range(1000), key=lambda i: costs[i])[:500])


def test_nearest_without_counts_and_with_a_single_category():
    assert list(EmbeddingSpace([[1.0]], ["a"]).nearest("a").columns) == ["category", "similarity"]
    assert EmbeddingSpace([[1.0]], ["a"]).nearest("a").empty


def test_similarity(space):
    assert space.similarity("oslo", "bergen") == pytest.approx(2 / 5**0.5)
    assert space.similarity("oslo", "nowhere") == 0
    assert space.similarity(space["bergen"] - space["oslo"], "bergen") == pytest.approx(3 / 10**0.5)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("Bergen ", "did you mean 'bergen'"),
        ("CAIRO", "did you mean 'cairo'"),
        ("no", "did you mean 'nowhere'"),
        (
            "xyzzy",
            r"'xyzzy' is not a category of EmbeddingSpace\('city', 4 categories, 2 dimensions\)\.\"",
        ),
    ],
)
def test_unknown_category_names_close_spellings(space, asked, message):
    with pytest.raises(KeyError, match=message):
        space[asked]
    with pytest.raises(KeyError, match=message):
        space.nearest(asked)


def test_number_asked_for_as_string():
    with pytest.raises(KeyError, match=r"'12' is not a category .*did you mean 12"):
        EmbeddingSpace(np.eye(2), [12, 5])["12"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda s: s.nearest("oslo", metric="manhattan"),
            "metric must be one of 'cosine', 'euclidean', 'dot'; got 'man",
        ),
        (lambda s: s.coordinates("lda"), "method must be one of 'tsne', 'umap', 'pca'; got 'lda'"),
        (
            lambda s: s.coordinates(metric="dot"),
            "metric must be one of 'cosine', 'euclidean'; got 'dot'",
        ),
        (lambda s: s.nearest("oslo", k=0), "k must be an integer of at least 1; got 0"),
        (lambda s: s.nearest(np.ones(3)), r"must have shape \(2,\); got \(3,\)"),
    ],
)
def test_bad_arguments(space, call, message):
    with pytest.raises(ValueError, match=message):
        call(space)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.eye(2), ["a", "a"]), "categories must be unique; 'a' occurs more than once"),
        ((np.eye(2), ["a"]), "vectors and categories must have the same length; got 2 and 1"),
        (
            (np.ones(2), ["a", "b"]),
            r"vectors must have shape \(n_levels, d\) with d of at least 1; got \(2,\)",
        ),
        (([[1, np.nan], [0, 1]], ["a", "b"]), "vectors must be finite; the vector of 'a' is"),
        (
            (np.eye(2), ["a", "b"], [1]),
            r"counts must have shape \(2,\), one for each category; got \(1,\)",
        ),
        ((np.eye(2), ["a", "b"], [1, -2]), "counts must not be negative or missing; 'b' has -2"),
        ((np.eye(2), ["a", "b"], np.ma.array([1, 2], mask=[0, 1])), "'b' has nan"),
        (
            (np.ma.array(np.eye(2), mask=np.eye(2)), ["a", "b"]),
            "the vector of 'a' is",
        ),
        ((np.eye(2), ["a", "b"], [1, np.nan]), "'b' has nan"),
    ],
)
def test_bad_construction(arguments, message):
    with pytest.raises(ValueError, match=message):
        EmbeddingSpace(*arguments)


@pytest.mark.parametrize(
    "categories",
    [
        pd.Index(["a", "b"]),
        pd.Series(["a", "b"], index=[5, 6]),
        pd.Categorical(["a", "b"], categories=["b", "a", "never"]),
        np.array(["a", "b"]),
        pa.array(["a", "b"]),
        pa.chunked_array([["a"], ["b"]]),
        pa.array(["a", "b"]).dictionary_encode(),
        ("a", "b"),
        (name for name in list("ab")),
    ],
)
def test_categories_from_many_containers(categories):
    space = EmbeddingSpace(np.eye(2), categories)
    assert list(space) == ["a", "b"]
    np.testing.assert_array_equal(space["b"], [0, 1])


def test_categories_of_many_kinds():
    big = 2**60
    for categories in [
        [big, big + 1],
        [("a", 1), ("a", 2)],
        [1, "1"],
        [1.5, float("nan")],
        [None, "x"],
        [False, True],
    ]:
        space = EmbeddingSpace(np.eye(2), categories)
        for i, category in enumerate(categories):
            np.testing.assert_array_equal(space[category], np.eye(2)[i])
    dates = EmbeddingSpace(np.eye(2), pd.to_datetime(["2020-01-01", "2020-01-02"]))
    np.testing.assert_array_equal(dates[pd.Timestamp("2020-01-02")], [0, 1])
    assert None not in dates
    np.testing.assert_array_equal(dates["2020-01-02"], [0, 1])


def test_empty_space():
    space = EmbeddingSpace(np.empty((0, 3)), [])
    assert len(space) == 0
    assert space.nearest(np.ones(3)).empty
    assert space.to_frame().shape == (0, 3)
    assert space.coordinates().shape == (0, 2)


def test_to_frame(space):
    frame = space.to_frame()
    assert list(frame.columns) == ["city_0", "city_1"]
    assert frame.index.name == "city"
    np.testing.assert_array_equal(frame.loc["bergen"], [2, 1])
    frame.iloc[0, 0] = 9  # the user's copy
    assert space["oslo"][0] == 1


@pytest.mark.parametrize("counts", [None, [50, 20], [0.5, 2.25]])
@pytest.mark.parametrize(
    "categories",
    [
        ["a", "b"],
        [2**60, 2**60 + 1],
        [None, "b"],
        [0.5, 1.5],
        [True, False],
        pd.to_datetime(["2020-01-01", "2021-01-01"]),
    ],
)
def test_parquet_round_trip(tmp_path, categories, counts):
    space = EmbeddingSpace([[1.25, -3, 0], [0.1, 0, 7]], categories, counts, name="näme")
    space.to_parquet(tmp_path / "space.parquet")
    read = EmbeddingSpace.from_parquet(tmp_path / "space.parquet")
    np.testing.assert_array_equal(read.vectors, space.vectors)
    assert read.name == "näme"
    for category in space:
        np.testing.assert_array_equal(read[category], space[category])
    if counts is None:
        assert read.counts is None
    else:
        np.testing.assert_array_equal(read.counts, counts)


def test_empty_space_survives_parquet(tmp_path):
    EmbeddingSpace(np.empty((0, 3)), []).to_parquet(tmp_path / "empty.parquet")
    assert EmbeddingSpace.from_parquet(tmp_path / "empty.parquet").vectors.shape == (0, 3)


def test_a_parquet_file_of_something_else(tmp_path):
    pd.DataFrame({"category": ["a"]}).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(ValueError, match="not an embedding space; it has no column 'vector'"):
        EmbeddingSpace.from_parquet(tmp_path / "other.parquet")


def test_a_subset_keeps_vectors_counts_and_the_order_asked_for():
    space = EmbeddingSpace(
        [[1, 0], [2, 1], [0, 3]], ["oslo", "bergen", "cairo"], counts=[50, 20, 90], name="city"
    )
    part = space.subset(["cairo", "bergen"])
    assert (part.categories.tolist(), part.counts.tolist(), part.name) == (
        ["cairo", "bergen"],
        [90, 20],
        "city",
    )
    np.testing.assert_array_equal(part["bergen"], [2, 1])
    assert space.subset(9).categories.tolist() == ["cairo", "oslo", "bergen"]
    with pytest.raises(KeyError, match="did you mean 'oslo'"):
        space.subset(["osla"])
    with pytest.raises(
        ValueError, match=r"categories can be a number only where the space has counts; .* in place of 2"
    ):
        EmbeddingSpace([[1], [2], [3]], ["a", "b", "c"]).subset(2)

import io
import pickle
import sys

import numpy as np
import pandas as pd
import pytest
from tqdm import tqdm

from tabemb import EmbeddingRegressor, Table, load, save
from tabemb.spaces import EmbeddingSpace, plane

METHODS = ["tsne", "umap", "pca"]


@pytest.fixture(params=["tsne", pytest.param("umap", marks=pytest.mark.slow), "pca"])
def method(request):
    if request.param == "umap":
        pytest.importorskip(
            "pynndescent", reason="umap-learn is not installed: pip install 'tabemb[umap]'"
        )
    return request.param


def groups(n_each=20, seed=0, name="thing"):
    """Two groups of directions in eight dimensions, far apart."""
    rng = np.random.default_rng(seed)
    vectors = np.vstack(
        [centre + rng.normal(scale=0.3, size=(n_each, 8)) for centre in np.eye(8)[[0, 3]] * 5]
    )
    return EmbeddingSpace(
        vectors, [f"{group} {i}" for group in ("first", "second") for i in range(n_each)], name=name
    )


def test_coordinates_keep_groups_together_and_repeat(method):
    space = groups()
    placed = space.coordinates(method)
    assert list(placed.columns) == ["x", "y"]
    assert list(placed.index) == list(space.categories)
    distances = np.linalg.norm(placed.to_numpy()[:, None] - placed.to_numpy(), axis=2) + np.diag(
        np.full(40, np.inf)
    )
    assert ((distances.argmin(axis=1) < 20) == (np.arange(40) < 20)).all()
    pd.testing.assert_frame_equal(placed, groups().coordinates(method))


@pytest.mark.parametrize("n", [0, 1, 2, 4, 5, 6])
@pytest.mark.parametrize("d", [1, 3])
def test_a_few_vectors_have_coordinates_too(method, n, d):
    space = EmbeddingSpace(np.random.default_rng(0).normal(size=(n, d)), range(n))
    placed, new = (
        space.coordinates(method, "euclidean"),
        space.place(np.ones((2, d)), method, "euclidean"),
    )
    assert (placed.shape, new.shape) == ((n, 2), (2, 2))
    assert np.isfinite(placed.to_numpy()).all()
    assert np.isfinite(new.to_numpy()).all()


def test_equal_vectors_have_finite_coordinates(method):
    space = EmbeddingSpace(np.zeros((12, 3)), range(12))
    assert np.isfinite(space.coordinates(method).to_numpy()).all()
    assert np.isfinite(space.place(np.ones((1, 3)), method).to_numpy()).all()


def test_new_vectors_are_placed_in_their_group_and_move_nothing(method):
    space, new = groups(n_each=30), groups(n_each=4, seed=1, name="new")
    before = space.coordinates(method)
    placed = space.place(new, method)
    assert list(placed.index) == list(new)
    distances = np.linalg.norm(placed.to_numpy()[:, None] - before.to_numpy(), axis=2)
    np.testing.assert_array_equal(distances.argmin(axis=1) < 30, np.arange(8) < 4)
    pd.testing.assert_frame_equal(space.coordinates(method), before)


def test_known_vectors_are_placed_where_they_are(method):
    space = groups(n_each=50)
    known, placed = (
        space.coordinates(method).to_numpy()[:9],
        space.place(space.vectors[:9], method).to_numpy(),
    )
    spread = np.ptp(space.coordinates(method).to_numpy())
    assert np.linalg.norm(placed - known, axis=1).max() < 0.15 * spread


def test_each_is_placed_regardless_of_the_others():
    space, new = groups(), groups(seed=3)
    alone = space.place(new.vectors[:1])
    np.testing.assert_allclose(space.place(new).to_numpy()[:1], alone, rtol=1e-6)


def test_coordinates_are_computed_once(monkeypatch):
    space = groups()
    first = space.coordinates()
    monkeypatch.setitem(plane.METHODS, "tsne", plane.Method(None, None))
    again = space.coordinates()
    pd.testing.assert_frame_equal(again, first)
    again.iloc[0] = 99  # the user's copy
    pd.testing.assert_frame_equal(space.coordinates(), first)
    with pytest.raises(TypeError, match="not callable"):
        space.coordinates(random_state=1)


@pytest.mark.parametrize("copy", ["parquet", "pickle"])
def test_maps_travel_with_the_space(tmp_path, monkeypatch, copy):
    space = groups()
    maps = {key: space.coordinates(*key) for key in [("tsne", "cosine", 0), ("pca", "euclidean", None)]}
    if copy == "parquet":
        space.to_parquet(tmp_path / "space.parquet")
        names = pd.read_parquet(tmp_path / "space.parquet").columns
        assert list(names) == ["category", "vector", "map_tsne_cosine_0", "map_pca_euclidean_None"]
        space = EmbeddingSpace.from_parquet(tmp_path / "space.parquet")
    else:
        space = pickle.loads(pickle.dumps(space))
    monkeypatch.setattr(
        plane, "METHODS", dict.fromkeys(METHODS, plane.Method(None, plane.place_by_tsne))
    )
    for key, expected in maps.items():
        pd.testing.assert_frame_equal(space.coordinates(*key), expected)
    assert np.isfinite(space.place(space.vectors[:2]).to_numpy()).all()


def test_a_model_that_starts_from_a_mapped_space_can_be_saved(tmp_path, small):
    space = EmbeddingSpace(np.eye(3), ["a", "b", "c"])
    space.coordinates("pca")
    space.nearest("a")
    rows = pd.DataFrame({"x": ["a", "b", "c"] * 20})
    model = EmbeddingRegressor(tables={"x": Table(["x"], pretrained=space)}, **small).fit(
        rows, np.arange(60.0)
    )
    save(model, tmp_path / "model.tabemb")
    read = load(tmp_path / "model.tabemb").tables["x"].pretrained
    pd.testing.assert_frame_equal(read.coordinates("pca"), space.coordinates("pca"))


def test_the_progress_bar_of_tsne_runs_to_its_end(monkeypatch):
    bars = []

    monkeypatch.setattr(
        plane, "progress", lambda total: bars.append(tqdm(total=total, file=io.StringIO())) or bars[-1]
    )
    groups().coordinates()
    assert [(bar.total, bar.n) for bar in bars] == [(750, 750)]


@pytest.mark.parametrize("new", [np.ones(3), np.ones((2, 4)), EmbeddingSpace(np.eye(2), list("ab"))])
def test_new_vectors_of_another_width(new):
    with pytest.raises(
        ValueError, match=r"new must have shape \(n, 3\), as EmbeddingSpace\(.*\) has; got"
    ):
        EmbeddingSpace(np.eye(3), list("abc")).place(new)


def test_without_umap_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ImportError, match=r"umap is not installed; pip install 'tabemb\[umap\]'"):
        groups().coordinates("umap")


def test_without_opentsne_the_error_names_the_extra(monkeypatch):
    space = groups()
    space.coordinates()
    monkeypatch.setitem(sys.modules, "openTSNE", None)
    message = r"openTSNE is not installed; pip install 'tabemb\[maps\]' brings it\."
    with pytest.raises(ImportError, match=message):
        groups().coordinates()
    with pytest.raises(ImportError, match=message):
        space.place(space.vectors[:1])
    assert np.isfinite(groups().coordinates("pca").to_numpy()).all()

"""Responses: the vectors of `spaces_` are the model's responses to each category."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr
from sklearn.linear_model import LinearRegression

import tabemb
from tabemb import EmbeddingClassifier, EmbeddingRegressor, EventClassifier, Table
from tabemb.fitting import responses
from tabemb.network.inputs import Ragged

SMALL = {"random_state": 0, "n_members": 2, "hidden": (16,), "n_pairs": 2}
TABLE = {"tables": {"level": Table(["level"], dim=4)}}


def two_traits(n_levels=20, n_rows=200, noise=0.3):
    """Return rows whose target depends on the effect of a level, and on its slope on x."""
    rng = np.random.default_rng(0)
    effect, slope = rng.normal(size=(2, n_levels))
    level = rng.integers(0, n_levels, n_levels * n_rows)
    x = rng.normal(size=len(level))
    y = effect[level] + slope[level] * x + noise * rng.normal(size=len(level))
    return pd.DataFrame({"level": level.astype(str), "x": x}), y, effect, slope


@pytest.fixture(scope="module")
def planted():
    X, y, effect, slope = two_traits()
    return EmbeddingRegressor(**SMALL, **TABLE, max_epochs=10).fit(X, y), X, effect, slope


def test_both_traits_of_a_category_are_in_its_vector(planted):
    """The two axes are the main effect and a trait that only appears in an interaction."""
    model, _, effect, slope = planted
    space = model.spaces_["level"]
    order = space.categories.to_numpy().astype(int)
    for trait in (effect, slope):
        vectors, known = space.vectors[:, :2], trait[order]
        assert LinearRegression().fit(vectors, known).score(vectors, known) > 0.95


def test_the_vectors_are_the_predictions_in_the_reference_rows(planted):
    model, X, _, _ = planted
    space = model.spaces_["level"]
    rows = responses.reference_rows(list(range(len(X)))).numpy()
    predicted = np.array([model.predict(X.iloc[rows].assign(level=level)) for level in space.categories])
    weights = space.counts / space.counts.sum()
    centred = (predicted - weights @ predicted) / np.sqrt(model.target_.scale[0] ** 2)
    variances, axes = np.linalg.eigh((centred * weights[:, None]).T @ centred)
    leading = axes[:, ::-1][:, : space.vectors.shape[1]]
    scale = variances[::-1][: space.vectors.shape[1]] ** -0.25
    expected = centred @ leading * scale
    np.testing.assert_allclose(pdist(space.vectors), pdist(expected), rtol=0.02, atol=0.01)


def test_two_seeds_agree(planted):
    model, X, _, _ = planted
    y = two_traits()[1]
    other = EmbeddingRegressor(**{**SMALL, "random_state": 1}, **TABLE, max_epochs=10).fit(X, y)
    spaces = [m.spaces_["level"] for m in (model, other)]
    agreement = spearmanr(*(pdist(space.directions) for space in spaces)).statistic
    assert agreement > 0.95


def test_reliability_rises_with_the_rows_and_noise_has_none():
    rng = np.random.default_rng(0)
    n = np.r_[np.full(20, 5), np.full(20, 300)]
    level, value = np.repeat(np.arange(40), n), rng.normal(size=40)
    y = value[level] + 2 * rng.normal(size=len(level))
    X = pd.DataFrame({"level": level.astype(str), "noise": rng.integers(0, 200, len(level)).astype(str)})
    spaces = EmbeddingRegressor(**SMALL, trees=False).fit(X, y).spaces_
    space = spaces["level"]
    known = space.categories.to_numpy().astype(int) >= 20
    assert space.reliability[known].mean() > space.reliability[~known].mean() + 0.2
    assert spaces["noise"].reliability.mean() < 0.35 < space.reliability[known].mean()
    assert space.overlap > 2 * spaces["noise"].overlap


def test_the_same_space_is_returned_until_the_next_fit():
    X, y, _, _ = two_traits(5, 40)
    model = EmbeddingRegressor(**SMALL, max_epochs=2).fit(X, y)
    first = model.spaces_
    assert model.spaces_ is first
    assert pickle.loads(pickle.dumps(model)).spaces_ is not first
    assert model.fit(X, -y).spaces_ is not first
    assert first["level"].vectors.tolist() != model.spaces_["level"].vectors.tolist()


def test_only_the_spaces_that_are_read_are_computed(monkeypatch):
    X, y, _, _ = two_traits(5, 40)
    X["other"] = X["level"]
    computed, compute = [], responses.responses_of
    monkeypatch.setattr(
        responses, "responses_of", lambda *args: (computed.append(args[-1]), compute(*args))[1]
    )
    spaces = EmbeddingRegressor(**SMALL, max_epochs=2).fit(X, y).spaces_
    assert list(spaces) == ["level", "other"]
    assert spaces["other"] is spaces["other"]
    assert computed == ["other"]
    copy = pickle.loads(pickle.dumps(spaces))
    assert computed == ["other", "level"]
    np.testing.assert_array_equal(copy["level"].vectors, spaces["level"].vectors)
    np.testing.assert_array_equal(copy.raw["level"].vectors, spaces.raw["level"].vectors)
    with pytest.raises(KeyError, match="'city' is not a table of the model; it has level, other"):
        spaces["city"]


def test_a_file_keeps_the_responses(tmp_path):
    X, y, _, _ = two_traits(5, 40)
    X.loc[::3, "x"] = np.nan
    model = EmbeddingRegressor(**SMALL, max_epochs=2).fit(X, y)
    tabemb.save(model, tmp_path / "m")
    loaded = tabemb.load(tmp_path / "m").spaces_["level"]
    np.testing.assert_array_equal(loaded.vectors, model.spaces_["level"].vectors)
    np.testing.assert_array_equal(loaded.reliability, model.spaces_["level"].reliability)


def test_a_model_without_reference_rows_has_the_rows_of_its_tables():
    X, y, _, _ = two_traits(5, 40)
    model = EmbeddingRegressor(**SMALL, max_epochs=2).fit(X, y)
    del model.reference_  # as in a file of tabemb 0.2
    space = model.spaces_["level"]
    np.testing.assert_array_equal(space.vectors, model.spaces_.raw["level"].vectors)
    assert space.reliability is None


@pytest.mark.parametrize("target", ["two classes", "three classes", "labels", "several numbers"])
def test_every_kind_of_target_has_responses(target):
    X, y, effect, _ = two_traits(20, 100)
    ys = {
        "two classes": (y > 0).astype(int),
        "three classes": np.digitize(y, [-0.7, 0.7]),
        "labels": np.c_[y > 0, y > 1].astype(int),
        "several numbers": np.c_[y, -y],
    }
    make = EmbeddingRegressor if target == "several numbers" else EmbeddingClassifier
    space = make(**SMALL, trees=False, max_epochs=8).fit(X, ys[target]).spaces_["level"]
    known = effect[space.categories.to_numpy().astype(int)]
    assert LinearRegression().fit(space.vectors, known).score(space.vectors, known) > 0.8
    assert np.all((space.reliability > 0) & (space.reliability < 1))


def test_many_classes_are_compared_by_the_last_hidden_layer(monkeypatch):
    monkeypatch.setattr("tabemb.targets.classes.MANY_CLASSES", 5)
    X, y, effect, _ = two_traits(20, 100)
    classes = np.digitize(y, np.linspace(-2, 2, 9))
    space = EmbeddingClassifier(**SMALL, trees=False, max_epochs=8).fit(X, classes).spaces_["level"]
    known = effect[space.categories.to_numpy().astype(int)]
    assert LinearRegression().fit(space.vectors[:, :3], known).score(space.vectors[:, :3], known) > 0.5


def test_a_table_of_two_columns_has_the_responses_of_both():
    rng = np.random.default_rng(0)
    sends, gets = rng.normal(size=(2, 12))
    a, b = rng.integers(0, 12, (2, 1500))
    X = pd.DataFrame({"from": a.astype(str), "to": b.astype(str)})
    tables = {"city": Table(["from", "to"])}
    model = EmbeddingRegressor(**SMALL, tables=tables, trees=False, max_epochs=15).fit(
        X, sends[a] + gets[b]
    )
    space = model.spaces_["city"]
    order = space.categories.to_numpy().astype(int)
    for trait in (sends[order], gets[order]):
        assert LinearRegression().fit(space.vectors, trait).score(space.vectors, trait) > 0.95


def test_categories_of_a_history_are_put_into_its_last_event():
    rng = np.random.default_rng(0)
    value = dict(zip("abcdef", rng.normal(size=6)))
    lists = [list(rng.choice(list(value), rng.integers(0, 4))) for _ in range(800)]
    y = np.array([sum(map(value.get, items)) for items in lists])
    model = EmbeddingRegressor(**SMALL, history="mean", d_history=8, trees=False, max_epochs=12).fit(
        pd.DataFrame({"items": lists}), y
    )
    space = model.spaces_["items"]
    known = np.array([value[name] for name in space.categories])
    assert abs(np.corrcoef(space.vectors[:, 0], known)[0, 1]) > 0.95


def test_reference_histories_are_cut_to_their_newest_events():
    import torch

    events = Ragged(torch.tensor([0, 4, 4, 6]), torch.arange(6)[:, None], torch.zeros(6, 0))
    newest = events.newest(3)
    assert newest.lengths.tolist() == [3, 0, 2]
    assert newest.codes.flatten().tolist() == [1, 2, 3, 4, 5]


def test_columns_of_events_have_responses_and_answers_the_rows_of_their_table():
    rng = np.random.default_rng(0)
    hardness = dict(zip("abcdef", rng.normal(size=6)))
    log = pd.DataFrame({"user": rng.integers(0, 60, 2400), "time": np.arange(2400)})
    log["task"] = rng.choice(list(hardness), 2400)
    y = (rng.random(2400) < 1 / (1 + np.exp(-2 * log["task"].map(hardness)))).astype(int)
    model = EventClassifier(entity="user", time="time", **SMALL, d_history=8, max_epochs=4).fit(log, y)
    space = model.spaces_["task"]
    known = np.array([hardness[name] for name in space.categories])
    assert np.corrcoef(space.vectors[:, 0], known)[0, 1] > 0.9
    raw = model.spaces_.raw["earlier.answer"]
    np.testing.assert_array_equal(model.spaces_["earlier.answer"].vectors, raw.vectors)


def axes_with(vectors, weights):
    return responses.Axes(1, weights, np.eye(vectors.shape[1]), vectors)


def test_the_scale_of_axes_is_that_of_the_first_fit():
    first = np.random.default_rng(0).normal(size=(200, 3))
    axes = axes_with(first, np.full(200, 1 / 200))
    later = first * [2.0, 0.5, -1.0]
    followed = later @ axes.following(later)
    assert followed == pytest.approx(first * [1, 1, 1], rel=0.05)
    assert responses.Axes(1, axes.weights, axes.axes).following(later) is axes.axes


def test_one_category_that_has_moved_far_moves_no_other():
    first = np.random.default_rng(0).normal(size=(40, 2))
    later = first.copy()
    later[3, 0] += 20
    axes = axes_with(first, np.full(40, 1 / 40))
    followed = later @ axes.following(later)
    assert np.delete(followed, 3, axis=0) == pytest.approx(np.delete(first, 3, axis=0), rel=0.03)
    assert followed[3, 0] - first[3, 0] > 18


def test_an_axis_of_noise_shrinks_and_few_categories_may_change():
    rng = np.random.default_rng(0)
    first, noise = rng.normal(size=(2, 500, 1))
    axes = axes_with(first, np.full(500, 1 / 500))
    assert abs(axes.following(noise)[0, 0]) < 0.2
    two = np.array([[1.0], [-1.0]])
    slope = axes_with(two, np.full(2, 0.5)).following(3 * two)[0, 0]
    assert slope == pytest.approx((2 * 3 + 2) / (2 * 9 + 2), rel=0.1)  # as if two more had not changed

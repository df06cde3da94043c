"""Placing of new categories: planted descriptions, the gate, and what does not change."""

import numpy as np
import pandas as pd
import pytest
import torch

import tabemb
from tabemb import (
    EmbeddingClassifier,
    EmbeddingRegressor,
    EmbeddingSpace,
    EventRegressor,
    PairEmbedder,
    SequenceEncoder,
    Table,
)
from tabemb.data.frames import to_arrow
from tabemb.fitting.fitted import Fitted
from tabemb.fitting.placing import NewCategories
from tabemb.likeness import nearest
from tabemb.likeness.descriptions import Descriptions, described
from tabemb.likeness.nearest import nearest_rows
from tabemb.likeness.spelling import Spellings
from tabemb.network.model import in_double_precision

pytestmark = pytest.mark.filterwarnings("ignore:X has many categories that training did not have")
JOBS = ["engineer", "nurse", "driver", "teacher", "librarian", "sheriff", "plumber", "gardener"]
GRADES = ["senior", "junior", "chief", "deputy", "trainee", "assistant", "principal", "acting"]
KWARGS = {"max_epochs": 8, "random_state": 0, "n_jobs": 1}


def titles(n=2000, seed=0):
    """Return rows whose target depends on the two words of their title."""
    rng = np.random.default_rng(seed)
    job, grade = rng.integers(len(JOBS), size=n), rng.integers(len(GRADES), size=n)
    effects = np.random.default_rng(7).normal(size=(2, 8)) * [[3], [1]]
    X = pd.DataFrame({"title": [f"{GRADES[g]} {JOBS[j]}" for g, j in zip(grade, job)]})
    X["site"] = rng.choice(["a", "b", "c"], n)
    return X, effects[0][job] + effects[1][grade] + rng.normal(scale=0.5, size=n)


@pytest.fixture(scope="module")
def split():
    """Training rows, and rows of the 16 titles that are not among them."""
    X, y = titles()
    is_new = X["title"].isin(X["title"].drop_duplicates().sample(16, random_state=0))
    return X[~is_new], y[~is_new], X[is_new], y[is_new]


def error(model, X, y):
    return float(np.sqrt(np.mean((model.predict(X) - y) ** 2)))


@pytest.fixture(scope="module")
def model(split):
    return EmbeddingRegressor(**KWARGS).fit(split[0], split[1])


def test_new_categories_are_placed_by_their_text(model, split):
    X, y, new_X, new_y = split
    tables = {"title": Table(["title"], describe=None)}
    without = EmbeddingRegressor(**KWARGS, tables=tables).fit(X, y)
    assert without.effects_.expected_ == []
    assert [expected.term for expected in model.effects_.expected_] == [0]
    assert model.effects_.expected_[0].gain > 0.6
    assert error(model, new_X, new_y) < 0.6 * error(without, new_X, new_y)
    assert error(model, X, y) < 1.01 * error(without, X, y)


def test_typos_are_like_what_they_were_meant_to_be(model, split):
    X, y = split[:2]
    spelt = X.assign(title=X["title"].str.replace("senior", "Sr.").str.replace("ee", "e"))
    changed = (spelt["title"] != X["title"]).to_numpy()
    spelt, X, y = spelt[changed], X[changed], y[changed]
    assert error(model, spelt, y) < 1.5 * error(model, X, y) + 0.7


def off(model):
    """Return the same model without placing: new categories are unknown."""
    other = EmbeddingRegressor(**KWARGS, trees=False)
    other.__dict__.update(model.__dict__)
    other._new_categories = NewCategories(model.encoder_, model.effects_)
    other._new_categories.read = lambda inputs, frame: inputs
    return other


def test_a_new_title_reads_the_unknown_vector_and_its_expected_effect(model, split):
    new = split[2].head(3)
    (expected,) = model.effects_.expected_
    labels = model.encoder_.vocabularies_["title"].labels().tolist()
    of_new = expected.of_new(Spellings(labels), new["title"].tolist())
    rows = model.source_.encode_new(model.encoder_, to_arrow(new))
    effects = model._fitted.with_effects(rows).effects.clone()
    at = model.effects_.shape[0] - 1
    assert not effects[:, at].any()
    effects[:, at] = torch.from_numpy(np.column_stack([of_new / expected.unit, np.ones(3)]))
    network = in_double_precision(model.network_)
    inputs = rows.with_effects(effects).double().to(network.head.bias.device)
    outputs = network(inputs).outputs.mean(1)[:, 0].numpy(force=True)
    np.testing.assert_allclose(
        model.predict(new),
        model.target_.predict(torch.tensor(outputs)[:, None, None]).ravel(),
        rtol=1e-4,
    )


def test_a_placed_row_is_predicted_alike_beside_others(model, split):
    """This is exact up to 1,024 rows, and up to the precision of float32 for more."""
    new = pd.concat([split[2]] * 4, ignore_index=True).head(1024)
    together = model.predict(new)
    for rows in (slice(0, 1), slice(100, 300), slice(1000, 1024)):
        np.testing.assert_allclose(model.predict(new[rows]), together[rows], rtol=1e-12)
    many = pd.concat([new, split[0].head(300), new])
    np.testing.assert_allclose(model.predict(many)[:1024], together, atol=1e-4)


def test_rows_with_new_titles_cost_one_prediction_each(model, split, monkeypatch):
    new = split[2].head(200)
    predicted = []
    outputs_of = Fitted.outputs_of
    monkeypatch.setattr(
        Fitted,
        "outputs_of",
        lambda self, inputs, *args: predicted.append(len(inputs)) or outputs_of(self, inputs, *args),
    )
    model.predict(new)
    assert predicted == [200]


def test_other_forms_of_a_known_title_are_read_as_it(model, split):
    X = split[0].head(50)
    expected = model.predict(X)
    for change in (
        lambda title: title.upper(),
        lambda title: f"  {title.replace(' ', '-')}.",
        lambda title: ", ".join(title.title().split()[::-1]),
    ):
        np.testing.assert_array_equal(model.predict(X.assign(title=X["title"].map(change))), expected)


def test_a_column_of_other_values_than_texts_is_unknown(model, split):
    X = split[0].head(4)
    mixed = X.assign(title=pd.Series([1, 2.5, None, X["title"].iloc[3]], dtype=object).to_numpy())
    np.testing.assert_array_equal(model.predict(mixed), off(model).predict(mixed))
    assert model.predict(mixed)[3] == pytest.approx(model.predict(X)[3])


def test_forms_are_the_same_where_one_known_text_alone_has_the_words():
    known = ["Senior Nurse", "C++", "under 5", "1.5 t", "nurse, school", "School Nurse"]
    alike = Spellings(known)
    same = alike.same(["senior nurse", "C", "c++", "5, UNDER", "15 t", "1,5 t", "school nurse", None])
    assert same.tolist() == [0, -1, 1, 2, -1, -1, -1, -1]


def test_random_names_are_not_placed():
    rng = np.random.default_rng(0)
    names = np.array(["".join(rng.choice(list("abcdefghij"), 8)) for _ in range(60)])
    code = rng.integers(60, size=2000)
    y = rng.normal(size=60)[code] + rng.normal(scale=0.3, size=2000)
    X = pd.DataFrame({"name": names[code]})
    model = EmbeddingRegressor(**KWARGS | {"max_epochs": 2}).fit(X, y)
    assert model.effects_.expected_ == []
    tables = {"name": Table(["name"], describe=None)}
    without = EmbeddingRegressor(**KWARGS | {"max_epochs": 2}, tables=tables).fit(X, y)
    np.testing.assert_array_equal(model.predict(X[:200]), without.predict(X[:200]))


def test_new_categories_are_placed_by_columns_that_describe_them(tmp_path):
    rng = np.random.default_rng(0)
    places = pd.DataFrame(
        {"north": rng.normal(size=80), "kind": rng.choice(["town", "village"], 80)}, index=range(80)
    )
    effect = 2 * places["north"] + 3 * (places["kind"] == "town")
    code = rng.integers(80, size=1600)
    X = pd.DataFrame({"place": code})
    y = effect.to_numpy()[code] + rng.normal(scale=0.3, size=1600)
    is_new = code >= 65
    errors, roles = [], {"place": "categorical"}
    for describe in (None, places):
        tables = {"place": Table(["place"], describe=describe)}
        model = EmbeddingRegressor(**KWARGS, roles=roles, tables=tables, trees=False)
        model.fit(X[~is_new], y[~is_new])
        errors.append(error(model, X[is_new], y[is_new]))
    assert errors[1] < 0.5 * errors[0]
    tabemb.save(model, tmp_path / "model.tabemb")
    loaded = tabemb.load(tmp_path / "model.tabemb")
    np.testing.assert_allclose(loaded.predict(X[is_new]), model.predict(X[is_new]), atol=1e-4)
    # a place without a description is unknown
    unknown = pd.DataFrame({"place": [1000]})
    np.testing.assert_array_equal(model.predict(unknown), off(model).predict(unknown))


def test_probabilities_of_placed_rows_sum_to_one(split):
    X, y, new_X, _ = split
    model = EmbeddingClassifier(**KWARGS | {"max_epochs": 2}).fit(X, np.digitize(y, [-2, 2]))
    assert model.effects_.expected_
    both = pd.concat([new_X.head(30).assign(site=None), X.head(30)])
    chances = model.predict_proba(both)
    np.testing.assert_allclose(chances.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(chances[30:], model.predict_proba(X.head(30)), rtol=1e-5)
    assert model.transform(both).shape[0] == 60


def test_a_loaded_model_places_alike(model, split, tmp_path):
    tabemb.save(model, tmp_path / "model.tabemb")
    loaded = tabemb.load(tmp_path / "model.tabemb")
    np.testing.assert_array_equal(loaded.predict(split[2]), model.predict(split[2]))


def describing(n=80):
    """Return places, and rows whose target depends on their location and their vector."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(n, 6))
    places = pd.DataFrame(
        {
            "north": rng.normal(size=n),
            "kind": rng.choice(["town", "village", None], n),
            "vector": list(vectors),
            "note": [f"near the {rng.choice(['river', 'lake', 'sea'])} of {i}" for i in range(n)],
        },
        index=[f"p{i}" for i in range(n)],
    )
    places.loc["p3", ["north", "note"]] = None
    places.at["p4", "vector"] = None
    effect = 2 * places["north"].fillna(0).to_numpy() + vectors[:, 0]
    code = rng.integers(n, size=4000)
    X = pd.DataFrame({"place": places.index.to_numpy()[code]})
    return places, X, effect[code] + rng.normal(scale=0.3, size=4000), code


@pytest.mark.slow
def test_descriptions_may_have_columns_of_all_kinds(tmp_path):
    places, X, y, code = describing()
    is_new = code >= 65
    errors = []
    for describe in (None, places[["north", "vector"]], places):
        tables = {"place": Table(["place"], describe=describe)}
        model = EmbeddingRegressor(**KWARGS, tables=tables).fit(X[~is_new], y[~is_new])
        errors.append(error(model, X[is_new], y[is_new]))
    assert errors[1] < 0.85 * errors[0]
    assert errors[2] < 0.95 * errors[0]
    tabemb.save(model, tmp_path / "model.tabemb")
    loaded = tabemb.load(tmp_path / "model.tabemb")
    np.testing.assert_allclose(loaded.predict(X[is_new]), model.predict(X[is_new]), atol=1e-3)


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        (lambda p: p.set_axis(range(80)), {}, "describe has none of the 80 categories of its columns"),
        (lambda p: pd.concat([p, p]), {}, "Table 'place': describe must have one row for each category"),
        (lambda p: p.assign(north=["far", *range(79)]), {}, "'north' of describe .* 'p1' has 0"),
        (lambda p: p, {"effects": False}, "Table 'place': describe needs effects=True"),
    ],
)
def test_descriptions_are_checked_before_the_training(change, settings, message):
    places, X, y, _ = describing()
    tables = {"place": Table(["place"], describe=change(places))}
    with pytest.raises(ValueError, match=message):
        EmbeddingRegressor(**KWARGS | {"max_epochs": 10**6}, max_time=5, tables=tables, **settings).fit(
            X, y
        )


def test_descriptions_of_events_are_refused():
    places, X, y, _ = describing()
    X = X.head(60).assign(who=["a", "b"] * 30, at=range(60))
    tables = {"place": Table(["place"], describe=places)}
    message = "Table 'place': describe is for columns of the plain rows of a classifier"
    with pytest.raises(ValueError, match=message):
        EventRegressor(entity="who", time="at", tables=tables, **KWARGS).fit(X, y[:60])
    with pytest.raises(ValueError, match=message):
        PairEmbedder(tables=tables, max_epochs=1).fit(X[["who", "place"]])
    bags = pd.DataFrame({"seen": [["p1", "p2"], ["p3"]] * 30})
    tables = {"seen": Table(["seen"], describe=places)}
    with pytest.raises(ValueError, match="and 'seen' is none; leave describe out"):
        EmbeddingRegressor(**KWARGS, tables=tables).fit(bags, y[:60])
    with pytest.raises(ValueError, match="and 'seen' is none; leave describe out"):
        SequenceEncoder(tables=tables, max_epochs=1).fit(bags)


def test_what_describe_may_be(split):
    with pytest.raises(ValueError, match="describe must be 'text', vectors or other columns"):
        EmbeddingRegressor(tables={"title": Table(["title"], describe="words")}).fit(*split[:2])


def test_pieces_do_not_change_the_nearest(monkeypatch):
    rng = np.random.default_rng(0)
    vectors, rows = rng.normal(size=(30, 4)), rng.normal(size=(12, 4))
    but = rng.integers(12, size=30)
    positions, products = nearest_rows(vectors, rows, 5, but)
    scores = vectors @ rows.T
    scores[np.arange(30), but] = -np.inf
    np.testing.assert_array_equal(positions, np.argsort(-scores, axis=1)[:, :5])
    np.testing.assert_allclose(products, np.maximum(-np.sort(-scores, axis=1)[:, :5], 0))
    monkeypatch.setattr(nearest, "CELLS", 24)
    np.testing.assert_array_equal(nearest_rows(vectors, rows, 5, but)[0], positions)


def test_descriptions_compare_in_deviations():
    given = pd.DataFrame({"a": [0, 1, 2, 3.0], "b": [0, 1000, 0, 1000.0]}, index=list("wxyz"))
    alike = Descriptions(["w", "x", "y"], described("t", given))
    assert alike.has(["z", "q"]).tolist() == [True, False]
    assert alike.nearest(["z"])[0][:, 0].tolist() == [1]


def test_a_space_places_new_categories_by_their_text():
    rng = np.random.default_rng(0)
    of_job, of_grade = rng.normal(size=(8, 5)), 0.3 * rng.normal(size=(8, 5))
    names = [f"{grade} {job}" for grade in GRADES for job in JOBS]
    vectors = np.array([of_job[j] + of_grade[g] for g in range(8) for j in range(8)])
    is_new = np.arange(64) % 7 == 0
    known = [name for name, new in zip(names, is_new) if not new]
    space = EmbeddingSpace(vectors[~is_new], known, counts=np.full(len(known), 9), name="title")
    new = [name for name, new in zip(names, is_new) if new]
    placed = space.by_text([*new, known[3]])
    assert list(placed) == [*new, known[3]]
    cosines = [placed.similarity(name, v) for name, v in zip(new, vectors[is_new])]
    strangers = rng.permuted(vectors[is_new], axis=0)
    by_chance = [abs(placed.similarity(name, v)) for name, v in zip(new, strangers)]
    assert np.mean(cosines) > np.mean(by_chance) + 0.2
    np.testing.assert_array_equal(placed[known[3]], space[known[3]])
    assert placed.counts.tolist() == [*[0] * len(new), 9]
    assert 0.2 < placed.reliability[0] < 1
    shuffled = EmbeddingSpace(rng.permutation(vectors[~is_new]), known)
    assert shuffled.by_text(new).reliability.max() < 0.1
    with pytest.raises(TypeError, match="by_text needs categories that are texts; 3 is an int"):
        space.by_text(["senior nurse", 3])
    with pytest.raises(TypeError, match="has no texts"):
        EmbeddingSpace(np.eye(2), [1, 2]).by_text(["a"])

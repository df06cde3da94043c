"""Columns of text and of ready-made vectors in the estimators: planted structure, the interface."""

import re

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.inspection import partial_dependence
from sklearn.model_selection import cross_val_score

import tabemb
from tabemb import (
    EmbeddingClassifier,
    EmbeddingEncoder,
    EmbeddingRegressor,
    EventRegressor,
    PairEmbedder,
    SequenceEncoder,
    Table,
    load,
    save,
)

QUICK = {
    "hidden": (16,),
    "n_members": 1,
    "d_history": 8,
    "max_epochs": 2,
    "batch_size": 64,
    "random_state": 0,
    "n_jobs": 1,
}
N = 300
PRAISE, BLAME = ["bright", "lovely", "moving"], ["dull", "messy", "tedious"]
FILLING = ["the", "a", "film", "it's", "of", "and", "plot", "actor"]


def vectors(n=800, width=6, scale=1.0):
    """Return randomly rotated vectors; two directions determine y."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(n, width))
    y = 2 * hidden[:, 0] - np.abs(hidden[:, 1]) + 0.1 * rng.normal(size=n)
    turn = np.linalg.qr(rng.normal(size=(width, width)))[0]
    return scale * (hidden @ turn + 10), y


def reviews(n=N, seed=0):
    """Return sentences with one word of praise or of blame, and which of the two it is."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    words = [
        rng.permutation([rng.choice(PRAISE if one else BLAME), *rng.choice(FILLING, rng.integers(2, 8))])
        for one in y
    ]
    return pd.DataFrame({"review": [" ".join(row).upper() + "!" for row in words]}), y


@pytest.fixture(scope="module")
def both():
    """A table with a column of vectors, one of text and one of categories, each with a missing value."""
    V, y = vectors(N)
    X, _ = reviews()
    X = X.assign(img=list(V), city=np.resize(["Bonn", "Rome", None], N))
    X.loc[3, "review"], X.at[4, "img"] = None, None
    return X, y


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_two_directions_of_a_vector_are_found_whatever_its_unit(scale):
    V, y = vectors(scale=scale)
    X = pd.DataFrame({"img": list(V)})
    settings = {**QUICK, "hidden": (32,), "max_epochs": 20, "learning_rate": 0.02}
    model = EmbeddingRegressor(**settings).fit(X[:600], y[:600])
    assert model.score(X[600:], y[600:]) > 0.93


def test_small_coordinates_of_noise_cost_little():
    """With a scale per coordinate, sixty noise coordinates would weigh as much as four relevant ones."""
    rng = np.random.default_rng(1)
    V = rng.normal(size=(1000, 64)) * np.r_[np.ones(4), np.full(60, 0.05)]
    y = V[:, 0] + V[:, 1] * V[:, 2] - np.abs(V[:, 3]) + 0.5 * rng.normal(size=len(V))
    X = pd.DataFrame({"img": list(V)})
    settings = {**QUICK, "hidden": (64,), "max_epochs": 25, "learning_rate": 0.02, "batch_size": 32}
    model = EmbeddingRegressor(**settings).fit(X[:400], y[:400])
    assert model.score(X[400:], y[400:]) > 0.7


def test_a_missing_vector_has_a_trained_answer():
    V, y = vectors()
    X, y = pd.DataFrame({"img": list(V)}), y + 5
    gone = np.random.default_rng(1).random(len(X)) < 0.2
    X.loc[gone, "img"], y[gone] = None, -20.0
    settings = {**QUICK, "hidden": (32,), "max_epochs": 12, "learning_rate": 0.02}
    model = EmbeddingRegressor(**settings).fit(X, y)
    np.testing.assert_allclose(model.predict(pd.DataFrame({"img": [None]})), -20, atol=1)
    # if no training row lacks a vector, training hides some
    full = EmbeddingRegressor(**settings).fit(X[~gone], y[~gone])
    assert abs(full.predict(pd.DataFrame({"img": [None]}))[0] - y[~gone].mean()) < 1.5


def test_the_effects_of_words_have_names():
    (X, y) = reviews(500)
    model = EmbeddingClassifier(roles={"review": "text"}, **QUICK).fit(X, y)
    words = model.effects_frame("review").set_index("level")
    holds = X["review"].str.lower().str.contains("lovely").to_numpy()
    assert words["count"]["lovely"] == holds.sum()
    assert words["mean"]["lovely"] == y[holds].mean() == 1
    shrunken = holds.sum() * (1 - y.mean()) / (holds.sum() + words["strength"]["lovely"])
    np.testing.assert_allclose(words["effect"]["lovely"], shrunken)
    assert set(words.index[words["effect"] > 0.3]) == set(PRAISE)
    pairs = model.effects_frame("review*review")
    assert set(pairs["level_2"]) <= {*PRAISE, *BLAME, *FILLING}
    assert set(model.effects_frame()["term"]) == {"review", "review*review"}


@pytest.mark.parametrize("effects", [True, False])
def test_sentiment_from_a_frame_of_sentences(effects):
    (X, y), (new, truth) = reviews(500), reviews(300, seed=1)
    settings = {**QUICK, "max_epochs": 12, "learning_rate": 0.03, "effects": effects}
    model = EmbeddingClassifier(roles={"review": "text"}, **settings).fit(X, y)
    assert model.score(new, truth) > 0.97
    odds = model.predict_proba(pd.DataFrame({"review": ["Lovely film", "it's DULL, messy"]}))[:, 1]
    assert odds[0] > 0.9
    assert odds[1] < 0.1


def test_pairs_of_neighbours_say_what_single_words_cannot():
    rng = np.random.default_rng(0)
    n = 800
    first, second = rng.choice(["not", "very"], n), rng.choice(["good", "bad"], n)
    y = (first == "not") ^ (second == "good")
    filling = [" ".join(rng.choice(FILLING, 4)) for _ in range(n)]
    X = pd.DataFrame({"review": [f"{f} {a} {b}" for f, a, b in zip(filling, first, second)]})
    model = EmbeddingClassifier(
        roles={"review": "text"}, **{**QUICK, "max_epochs": 6}, learning_rate=0.02
    )
    model.fit(X[:600], y[:600])
    assert model.score(X[600:], y[600:]) > 0.97
    assert {words.length for words in model.effects_.words_ if words.gain > 0.1} == {2}


def test_the_order_of_words_matters_by_their_pairs_alone():
    X, y = reviews()
    X["review"] += " the film"
    model = EmbeddingClassifier(roles={"review": "text"}, effects=False, **QUICK).fit(X, y)
    turned = X["review"].map(lambda text: " ".join(text.split()[::-1]))
    np.testing.assert_allclose(model.predict_proba(X), model.predict_proba(turned.to_frame()), atol=1e-6)


def test_a_text_is_its_words_whatever_writes_them():
    X, y = reviews()
    model = EmbeddingClassifier(roles={"review": "text"}, **QUICK).fit(X, y)
    spelt = X["review"].str.lower().str.replace(" ", " … ").to_frame()
    np.testing.assert_array_equal(model.predict_proba(X), model.predict_proba(spelt))
    frame = pl.DataFrame({"review": X["review"].tolist()})
    np.testing.assert_array_equal(model.predict_proba(X), model.predict_proba(frame))
    category = X["review"].astype("category").to_frame()
    np.testing.assert_array_equal(model.predict_proba(X), model.predict_proba(category))
    unknown, nothing = (model.predict_proba(pd.DataFrame({"review": [text]})) for text in ("zzz", None))
    assert np.isfinite([unknown, nothing]).all()


def test_a_column_without_any_value_commits_to_nothing(both):
    X, y = both
    nothing = pd.DataFrame({"img": [None] * N, "review": None})
    roles = {"img": "vector", "review": "text"}
    model = EmbeddingRegressor(roles=roles, **QUICK).fit(nothing, y)
    assert model.summary(spaces=False).columns["missing"].tolist() == [1.0, 1.0]
    assert len(set(model.predict(X[["img"]].assign(review=None)))) == 1
    assert np.isfinite(model.predict(X)).all()


def test_texts_may_share_a_table_of_words():
    X, y = reviews()
    X["title"] = X["review"][::-1].to_numpy()
    roles, tables = {"review": "text", "title": "text"}, {"words": Table(["review", "title"])}
    model = EmbeddingClassifier(roles=roles, tables=tables, **QUICK).fit(X, y)
    assert "lovely" in model.spaces_["words"].categories
    assert model.summary().columns["table"].tolist() == ["words", "words"]


def test_the_summary_names_what_was_read(both):
    X, y = both
    model = EmbeddingRegressor(roles={"review": "text"}, **QUICK).fit(X, y)
    columns = model.summary(spaces=False).columns.set_index("column")
    assert columns["role"].to_dict() == {"review": "text", "img": "vector", "city": "categorical"}
    assert columns["missing"].round(4).to_dict() == {"review": 0.0033, "img": 0.0033, "city": 0.3333}
    n_words = len(set(" ".join(X["review"].dropna()).lower().strip("!").replace("!", "").split()))
    assert columns["levels"]["review"] == n_words
    assert columns["width"].to_dict() == {"review": 25, "img": 6, "city": 2}
    with pytest.raises(AttributeError, match="vectors, texts and histories do not have"):
        model.feature_importances_


def test_models_with_texts_and_vectors_save_and_load(both, tmp_path):
    X, y = both
    model = EmbeddingRegressor(roles={"review": "text"}, **QUICK).fit(X, y)
    save(model, tmp_path / "m.tabemb")
    loaded = load(tmp_path / "m.tabemb")
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert str(loaded.summary()) == str(model.summary())


def test_importances_partial_dependence_and_cross_validation(both):
    X, y = both
    X = X.assign(size=np.arange(N) / 100)
    settings = {**QUICK, "max_epochs": 10, "learning_rate": 0.03}
    model = EmbeddingRegressor(roles={"review": "text"}, **settings).fit(X, y)
    found = model.importances(X, y, n_repeats=1).set_index("column")["importance"]
    assert found.idxmax() == "img"
    assert partial_dependence(model, X, ["size"], grid_resolution=3)["average"].shape == (1, 3)
    assert cross_val_score(model, X, y, cv=2).min() > 0.3


def test_the_encoder_passes_vectors_and_texts(both):
    X, y = both
    net = EmbeddingRegressor(roles={"review": "text"}, **QUICK)
    encoder = EmbeddingEncoder(estimator=net, cv=2, n_repeats=1, random_state=0, n_jobs=1)
    out = encoder.fit_transform(X, y)
    assert [*out.columns[:2], encoder.columns_] == ["review", "img", ["city"]]
    assert out["review"].equals(X["review"])
    assert (out["img"][0] == X["img"][0]).all()
    only = EmbeddingEncoder(estimator=net, cv=2, n_repeats=1, random_state=0, n_jobs=1)
    only.fit(X[["img", "review"]].assign(size=np.arange(N) % 3), y)
    assert only.columns_ == ["size"]  # no column is categorical, so the others are encoded


def test_events_with_texts_and_vectors(both):
    X, y = both
    log = X.assign(who=np.arange(N) % 20, at=np.arange(N))
    settings = {**QUICK, "max_epochs": 10, "learning_rate": 0.02}
    model = EventRegressor(entity="who", time="at", roles={"review": "text"}, **settings).fit(log, y)
    columns = model.summary(spaces=False).columns["column"].tolist()
    assert {"review", "img", "earlier.city"} <= set(columns)
    assert not {"earlier.review", "earlier.img"} & set(columns)  # only those of the present event
    new = log.tail(20).assign(at=N)
    assert np.corrcoef(model.predict(new), y[-20:])[0, 1] > 0.5


def test_items_of_pairs_may_have_texts_and_vectors():
    rng = np.random.default_rng(0)
    kind = np.arange(60) % 2
    items = pd.DataFrame(
        {
            "i": np.arange(60),
            "img": list(np.c_[2.0 * kind - 1, rng.normal(size=60)]),
            "about": np.where(kind, "a lovely film", "some dull plot"),
        }
    )
    user = rng.integers(0, 40, 800)
    pairs = pd.DataFrame({"u": user, "i": 2 * rng.integers(0, 30, 800) + user % 2})
    settings = {"biases": False, "max_epochs": 10, "random_state": 0, "n_jobs": 1}
    model = PairEmbedder(roles={"about": "text"}, dim=8, **settings).fit(pairs, items=items)
    assert model.item_encoder_.schema.roles == {"i": "categorical", "img": "vector", "about": "text"}
    near = model.spaces_["i"].nearest(0, k=5)["category"]
    assert (near % 2 == 0).all()


def test_a_sequence_encoder_reads_lists_of_one_length_as_events():
    X = pd.DataFrame({"v": list(vectors(40)[0])})
    settings = {"max_epochs": 1, "n_jobs": 1, "random_state": 0, "d_history": 4}
    assert SequenceEncoder(**settings).fit(X).transform(X).shape == (40, 4)
    with pytest.raises(ValueError, match="column 'v' must not have the role 'vector'"):
        SequenceEncoder(roles={"v": "vector"}, **settings).fit(X)


def test_a_column_of_sentences_draws_a_note_that_names_the_role():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"review": [" ".join(rng.choice(FILLING, 8)) + f" {i}" for i in range(200)]})
    y = np.arange(200.0)
    with pytest.warns(tabemb.InputNote) as caught:
        EmbeddingRegressor(**QUICK).fit(X, y)
    (note,) = [str(one.message) for one in caught]
    assert re.match(r"Column 'review' holds text that looks like sentences \('.+\) and is read as", note)
    assert "roles={'review': 'text'} reads them as what they look like" in note
    for role in ("text", "categorical"):  # both silence the note: warnings are errors here
        EmbeddingRegressor(roles={"review": role}, **QUICK).fit(X, y)


@pytest.mark.parametrize(
    "values",
    [
        [f"product {i}" for i in range(200)],  # few words per text
        ["the film is a mess", "it's a lovely film of and"] * 100,  # repeats
        [f"the film is a mess {i}" for i in range(99)],  # few rows
    ],
)
def test_names_and_repeated_texts_draw_none(values):
    X = pd.DataFrame({"text": values})
    EmbeddingRegressor(**QUICK).fit(X, np.arange(len(X), dtype=float))


def test_predictions_with_other_widths_or_kinds_are_refused(both):
    X, y = both
    model = EmbeddingRegressor(roles={"review": "text"}, **QUICK).fit(X, y)
    with pytest.raises(ValueError, match="'img' must hold vectors of 6 numbers, as fit had them; row 0"):
        model.predict(X.assign(img=[[1.0, 2.0]] * N))
    with pytest.raises(
        ValueError, match="'review' has the role 'text', so it must hold text; got int64"
    ):
        model.predict(X.assign(review=1))
    nothing = X.head(2).assign(img=None, review=None)
    assert np.isfinite(model.predict(nothing)).all()

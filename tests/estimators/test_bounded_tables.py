"""Tables of bounded size in the estimators: frequent categories stay, the others share hashed rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import tabemb
from tabemb import (
    EmbeddingClassifier,
    EmbeddingEncoder,
    EmbeddingRegressor,
    EventRegressor,
    PairEmbedder,
    Table,
)

FAST = {
    "hidden": (16,),
    "n_members": 2,
    "max_epochs": 12,
    "batch_size": 128,
    "learning_rate": 0.02,
    "random_state": 0,
    "n_jobs": 1,
}
FREQUENT, RARE = ["Bonn", "Rome", "Oslo"], [f"town {i}" for i in range(60)]


def hashed(**settings):
    return {"city": Table(["city"], **{"max_size": 3, "rest": "hash", "n_hashed": 4, **settings})}


@pytest.fixture(scope="module")
def rows():
    """Cities with an effect each; all rare ones have an effect of 5."""
    rng = np.random.default_rng(0)
    city = np.concatenate([np.repeat(FREQUENT, 300), np.repeat(RARE, 5)])
    rng.shuffle(city)
    frame = pd.DataFrame({"city": city, "size": rng.normal(size=len(city))})
    effect = frame["city"].map({"Bonn": -3.0, "Rome": 0.0, "Oslo": 2.0}).fillna(5.0)
    return frame, effect + 0.1 * frame["size"]


@pytest.fixture(scope="module")
def model(rows):
    return EmbeddingRegressor(**FAST, tables=hashed()).fit(*rows)


def of(city, size=0.0):
    return pd.DataFrame({"city": city, "size": size})


def test_hashed_rows_answer_for_rare_and_new_categories(model):
    frequent = model.predict(of(FREQUENT))
    np.testing.assert_allclose(frequent, [-3, 0, 2], atol=0.5)
    np.testing.assert_allclose(model.predict(of(RARE)), 5.0, atol=0.6)
    np.testing.assert_allclose(model.predict(of([f"new {i}" for i in range(50)])), 5.0, atol=0.6)
    assert len(model.encoder_.vocabularies_["city"]) == 2 + 3 + 4


def test_categories_of_one_hashed_row_have_one_answer(model):
    """1,000 new categories have only four different predictions."""
    predicted = model.predict(of([f"new {i}" for i in range(1000)]))
    assert len(np.unique(predicted)) == 4


def test_the_rest_is_unknown_by_default(rows):
    tables = {"city": Table(["city"], max_size=3, describe=None)}
    model = EmbeddingRegressor(**FAST, tables=tables).fit(*rows)
    assert list(model.spaces_.raw["city"].categories) == sorted(FREQUENT)
    np.testing.assert_allclose(model.predict(of([*RARE[:3], "new"])), 5.0, atol=0.6)
    assert len(np.unique(model.predict(of([*RARE[:15], "new"])))) == 1


def test_spaces_hold_the_kept_categories_and_say_how_many_rows_are_hashed(model):
    for space in (model.spaces_["city"], model.spaces_.raw["city"]):
        assert list(space.categories) == sorted(FREQUENT)
        assert space.counts.tolist() == [300, 300, 300]
        assert "others in 4 hashed rows" in repr(space)


def test_a_saved_model_hashes_alike(model, rows, tmp_path):
    tabemb.save(model, tmp_path / "m.tabemb")
    loaded = tabemb.load(tmp_path / "m.tabemb")
    later = of([*FREQUENT, *RARE, "new", None])
    assert loaded.predict(later).tolist() == model.predict(later).tolist()
    assert loaded.tables["city"].rest == "hash"
    assert loaded.spaces_["city"].n_hashed == 4


def test_effects_read_all_hashed_categories_as_rare(model):
    """The mean of different categories is not informative about each of them."""
    frame = model.effects_frame("city").sort_values("level")
    assert frame["level"].tolist() == ["(rare)", *sorted(FREQUENT)]
    assert frame["count"].tolist() == [300, 300, 300, 300]
    assert frame["mean"].iloc[0] == pytest.approx(5.0, abs=0.1)


def test_a_night_keeps_the_kept_and_trains_the_hashed_rows(model, rows):
    from sklearn.base import clone

    grown = clone(model).fit(*rows)
    later = of(["fresh"] * 200, np.zeros(200))
    grown.partial_fit(later, np.full(200, 5.0))
    vocabulary = grown.encoder_.vocabularies_["city"]
    assert vocabulary.labels().tolist() == sorted(FREQUENT)
    assert vocabulary.counts[vocabulary.kept.stop :].sum() == 500
    np.testing.assert_allclose(grown.predict(of(["fresh", "Oslo"])), [5, 2], atol=0.7)


def test_check_counts_no_category_as_unseen(model):
    report = model.check(of(["x1", "x2"] * 100, np.random.default_rng(1).normal(size=200)))
    assert report.columns.set_index("column").loc["city", "unseen"] == 0
    assert "city" in report.verdict  # but they are far more frequent than in training


def test_a_classifier_with_trees_and_a_shared_table(rows):
    frame, y = rows
    rng = np.random.default_rng(3)
    frame = frame.assign(other=rng.permutation(frame["city"]))
    tables = {"place": Table(["city", "other"], max_size=3, rest="hash")}
    model = EmbeddingClassifier(**FAST, tables=tables).fit(frame, y > 4)
    assert model.trees_ is not None
    assert model.encoder_.vocabularies_["place"].n_hashed == 1  # three categories are kept
    later = frame.iloc[:2].assign(city=["new", "Bonn"])
    probability = model.predict_proba(later)[:, 1]
    assert probability[0] > 0.8
    assert probability[1] < 0.2


def test_histories_events_and_pairs_read_hashed_rows(rows):
    frame, y = rows
    lists = [[a, b] for a, b in zip(frame["city"], np.roll(frame["city"], 1))]
    bags = pd.DataFrame({"cities": lists})
    tables = {"cities": Table(["cities"], max_size=3, rest="hash", n_hashed=4)}
    model = EmbeddingRegressor(**{**FAST, "max_epochs": 2}, tables=tables).fit(bags, y)
    same = model.predict(pd.DataFrame({"cities": [["new 1"], ["new 1"]]}))
    assert np.isfinite(same).all()
    log = frame.assign(user=np.arange(len(frame)) % 50, at=pd.date_range("2024", periods=len(frame)))
    events = EventRegressor(
        entity="user", time="at", **{**FAST, "max_epochs": 1}, tables=hashed(max_size=2)
    ).fit(log, y)
    assert events.encoder_.vocabularies_["city"].n_hashed == 4
    later = log.tail(3).assign(at=pd.Timestamp("2040"), city=["new 1", "new 1", "Bonn"], user=[1, 1, 2])
    assert np.isfinite(events.predict(later)).all()
    pairs = PairEmbedder(user="user", item="city", tables=hashed(), max_epochs=1, random_state=0)
    assert np.isfinite(pairs.fit(log[["user", "city"]]).spaces_["city"].vectors).all()


def test_an_encoder_gives_hashed_categories_the_values_of_their_row(rows):
    frame, y = rows
    estimator = EmbeddingRegressor(**{**FAST, "max_epochs": 4}, tables=hashed())
    encoder = EmbeddingEncoder(estimator=estimator, columns=["city"], kind="both", cv=2, random_state=0)
    features = encoder.fit_transform(frame, y)
    assert np.isfinite(features.to_numpy()).all()
    new = encoder.transform(of([f"new {i}" for i in range(200)])).drop(columns="size")
    assert len(new.drop_duplicates()) == 4
    assert set(encoder.inverse_transform(encoder.transform(of(FREQUENT)))["city"]) == set(FREQUENT)


def test_the_folds_of_an_encoder_have_as_many_hashed_rows_as_all_rows(rows):
    frame, y = rows
    tables = {"city": Table(["city"], max_size=20, rest="hash")}
    estimator = EmbeddingRegressor(**{**FAST, "max_epochs": 4}, tables=tables)
    encoder = EmbeddingEncoder(estimator=estimator, columns=["city"], cv=2, random_state=0)
    encoder.fit(frame[:700], y[:700])
    vocabulary = encoder.encoder_.vocabularies_["city"]
    of_hashed = encoder.by_code_[0][vocabulary.kept.stop :]
    assert len(of_hashed) == vocabulary.n_hashed == 2
    assert len(np.unique(of_hashed, axis=0)) == 2  # not twice the vector of unknown categories


def test_onnx_refuses_hashed_rows(model, tmp_path):
    pytest.importorskip("onnx")
    with pytest.raises(ValueError, match="model must have no table with hashed rows"):
        tabemb.to_onnx(model, tmp_path / "m.onnx")


def test_settings_that_contradict_one_another_are_refused(rows):
    cases = [
        ({"max_size": None, "n_hashed": None}, "rest='hash' needs max_size"),
        ({"max_size": 0}, "max_size must be a whole number >= 1"),
        ({"n_hashed": 0}, "n_hashed must be a whole number >= 1"),
        ({"rest": "drop"}, "rest must be 'unknown' or 'hash'"),
        ({"rest": "unknown"}, "n_hashed=4 needs rest='hash'"),
        ({"describe": pd.DataFrame({"a": [1.0]}, index=["Bonn"])}, "describe must be left out"),
    ]
    for settings, message in cases:
        with pytest.raises(ValueError, match=f"Table 'city': {message}"):
            EmbeddingRegressor(**FAST, tables=hashed(**settings)).fit(*rows)

"""Columns of lists in the estimators."""

import re

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

import tabemb
from tabemb import EmbeddingClassifier, EmbeddingRegressor, Table
from tabemb.data.joins import HistoryJoiner
from tabemb.network.history import HISTORY_ENCODERS, HistoryEncoder
from tabemb.progress import progress

NETWORK = {"hidden": (16,), "n_members": 2, "d_history": 8}
QUICK = {**NETWORK, "max_epochs": 2, "random_state": 0, "n_jobs": 1}
EVENTS = [{"city": "Bonn", "paid": 2.5}, {"city": "Rome", "paid": None}]


@pytest.fixture
def trips():
    rng = np.random.default_rng(0)
    history = [
        [
            {"city": rng.choice(["Bonn", "Rome", "Oslo"]), "paid": rng.normal()}
            for _ in range(rng.integers(0, 6))
        ]
        for _ in range(60)
    ]
    X = pd.DataFrame({"home": rng.choice(["Bonn", "Rome"], 60), "trips": history})
    return X, np.array([sum(event["city"] == "Rome" for event in row) for row in history], float)


def patterns(n, longest, pattern):
    rng = np.random.default_rng(0)
    bits = [rng.integers(0, 2, rng.integers(3, longest)).astype(str).tolist() for _ in range(n)]
    return pd.DataFrame({"bits": bits}), np.array([pattern in "".join(row) for row in bits])


@pytest.mark.slow
def test_a_gru_sees_the_order_that_a_bag_cannot():
    X, y = patterns(2400, 9, "110")
    train, test = slice(2000), slice(2000, None)
    share = {}
    for history in ("gru", "mean"):
        settings = {
            "history": history,
            "hidden": (32,),
            "n_members": 1,
            "d_history": 32,
            "effects": False,
        }
        model = EmbeddingClassifier(
            **settings, max_epochs=25, learning_rate=0.01, random_state=0, n_jobs=1
        )
        share[history] = (model.fit(X[train], y[train]).predict(X[test]) == y[test]).mean()
    assert share["gru"] > 0.99
    assert share["mean"] < 0.9


@pytest.mark.parametrize(
    "history", [*(pytest.param(name, marks=pytest.mark.slow) for name in ("gru", "lstm")), "mean"]
)
def test_counts_of_events_are_learned(history):
    rng = np.random.default_rng(0)
    tags = [rng.choice(list("abcd"), rng.integers(0, 5)).tolist() for _ in range(800)]
    y = np.array([row.count("a") - row.count("b") for row in tags], float)
    X = pd.DataFrame({"tags": tags})
    model = EmbeddingRegressor(
        history=history,
        hidden=(32,),
        n_members=1,
        max_epochs=25,
        batch_size=64,
        learning_rate=0.02,
        trees=False,
        random_state=0,
        n_jobs=1,
    )
    assert model.fit(X[:600], y[:600]).score(X[600:], y[600:]) > 0.95


def test_other_rows_their_order_and_the_size_of_the_batch_change_no_prediction(trips):
    X, y = trips
    model = EmbeddingRegressor(**QUICK).fit(X, y)
    together = model.predict(X)
    order = np.random.default_rng(1).permutation(len(X))
    np.testing.assert_allclose(model.predict(X.iloc[order]), together[order], rtol=1e-9)
    alone = [model.predict(X.iloc[[i]])[0] for i in range(5)]
    np.testing.assert_allclose(alone, together[:5], rtol=1e-9)
    many = model.predict(pd.concat([X] * 30, ignore_index=True))  # in float32
    np.testing.assert_allclose(many.reshape(30, -1), np.tile(together, (30, 1)), rtol=1e-5, atol=1e-5)


def test_later_events_change_no_prediction(trips):
    _, y = trips
    rng = np.random.default_rng(2)
    log = pd.DataFrame(
        {"who": rng.integers(0, 20, 300), "at": rng.integers(0, 100, 300), "paid": rng.normal(size=300)}
    )
    rows = pd.DataFrame({"who": rng.integers(0, 20, 60), "today": rng.integers(1, 50, 60)})
    join = {"entity": "who", "time": "at", "cutoff": "today"}
    before = HistoryJoiner(log[log["at"] < 50], **join).fit_transform(rows)
    after = HistoryJoiner(log, **join).fit_transform(rows)
    roles = {"who": "ignored", "today": "ignored"}
    model = EmbeddingRegressor(**QUICK, roles=roles).fit(before, y)
    np.testing.assert_array_equal(model.predict(before), model.predict(after))


def test_empty_missing_unseen_and_very_long_histories_have_predictions(trips):
    X, y = trips
    model = EmbeddingRegressor(**QUICK).fit(X, y)
    strange = [
        [],
        None,
        [{"city": None, "paid": None}],
        [{"city": "Lima", "paid": 1e30}],
        EVENTS * 50_000,
    ]
    rows = pd.DataFrame({"home": "Bonn", "trips": strange})
    predictions = model.predict(rows)
    assert np.isfinite(predictions).all()
    assert predictions[0] == predictions[1]
    cut = pd.DataFrame({"home": ["Bonn"], "trips": [EVENTS * 250]})
    np.testing.assert_allclose(model.predict(cut), predictions[[4]], rtol=1e-9)  # newest 500 events


def test_all_histories_empty_or_all_fields_missing(trips):
    X, y = trips
    for history in ([], [{"city": None, "paid": None}]):
        rows = X.assign(trips=[history] * len(X))
        rows.loc[0, "trips"] = (
            EVENTS[:1] if not history else rows.loc[0, "trips"]
        )  # the type defines the fields
        assert np.isfinite(EmbeddingRegressor(**QUICK).fit(rows, y).predict(rows)).all()


def test_a_column_and_a_field_share_a_table_and_its_vectors(trips):
    X, y = trips
    model = EmbeddingRegressor(
        **QUICK, tables={"city": Table(columns=["home", "trips.city"], dim=3)}
    ).fit(X, y)
    assert set(model.spaces_) == {"city"}
    assert model.spaces_["city"].categories.tolist() == ["Bonn", "Oslo", "Rome"]
    n_events = X["trips"].explode().dropna().map(lambda event: event["city"]).value_counts()
    expected = n_events.add(X["home"].value_counts(), fill_value=0).sort_index()
    assert model.spaces_["city"].counts.tolist() == expected.tolist()


def test_weights_count_events_too(trips):
    X, y = trips
    model = EmbeddingRegressor(**QUICK).fit(X, y, sample_weight=np.full(len(X), 2.0))
    plain = EmbeddingRegressor(**QUICK).fit(X, y)
    np.testing.assert_allclose(
        model.spaces_["trips.city"].counts, 2 * plain.spaces_["trips.city"].counts
    )


def test_datetimes_of_events_give_calendar_gap_and_ago():
    at = pd.to_datetime(["2020-01-01", "2020-02-03", "2020-02-10"])
    X = pd.DataFrame({"visits": [[{"at": t} for t in at], [{"at": at[0]}]] * 20})
    model = EmbeddingRegressor(**QUICK).fit(X, np.arange(40.0))
    events = model.encoder_.schema.histories["visits"]
    assert [f.name for f in events.numbers] == ["visits.at.gap", "visits.at.ago"]
    assert "visits.at.month" in model.spaces_
    history = model.encoder_.transform(tabemb.data.frames.to_arrow(X[:2])).histories[0]
    gap, ago = (
        [s.unit * v + s.center for v in n]
        for s, n in zip(model.encoder_.inputs_[1].scales, history.numbers.T)
    )
    np.testing.assert_allclose(gap, [np.nan, 33, 7, np.nan])
    np.testing.assert_allclose(ago, [40, 7, 0, 0], atol=1e-5)


def test_whole_numbers_in_a_bag_are_categories_where_the_role_says_so():
    X = pd.DataFrame({"items": [[1, 2], [3], []] * 20})
    y = np.arange(60.0)
    assert EmbeddingRegressor(**QUICK).fit(X, y).spaces_ == {}
    model = EmbeddingRegressor(**QUICK, roles={"items": "categorical"}).fit(X, y)
    assert model.spaces_["items"].categories.tolist() == [1, 2, 3]


def test_polars_and_arrow_give_what_pandas_gives(trips):
    X, y = trips
    expected = EmbeddingRegressor(**QUICK).fit(X, y).predict(X)
    for other in (pl.from_pandas(X), pl.from_pandas(X).to_arrow()):
        np.testing.assert_array_equal(EmbeddingRegressor(**QUICK).fit(other, y).predict(other), expected)


def test_a_model_with_histories_survives_its_file(trips, tmp_path):
    X, y = trips
    model = EmbeddingClassifier(**QUICK, n_networks=2).fit(X, y > 1)
    tabemb.save(model, tmp_path / "m.tabemb")
    np.testing.assert_array_equal(
        tabemb.load(tmp_path / "m.tabemb").predict_proba(X), model.predict_proba(X)
    )


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        (
            {"roles": {"trips": "number"}},
            "'trips' holds lists of events; its role is 'history' or 'ignored'",
        ),
        ({"roles": {"home": "history"}}, "'home' has the role 'history', but its cells are no lists"),
        ({"roles": {"trips.town": "number"}}, "roles names column 'trips.town', which X does not have"),
        ({"history": "transformer"}, "history must be one of 'gru', 'lstm', 'mean'; got 'transformer'"),
        ({"max_events": 0}, "max_events must be a whole number >= 1 or None; got 0"),
        (
            {"tables": {"t": Table(columns=["trips"])}},
            "Table 't' names column 'trips', which is not a categorical",
        ),
    ],
)
def test_a_wrong_setting_is_named(trips, settings, error):
    with pytest.raises(ValueError, match=error):
        EmbeddingRegressor(**{**QUICK, **settings}).fit(*trips)


def test_other_fields_than_in_fit_are_errors(trips):
    X, y = trips
    model = EmbeddingRegressor(**QUICK).fit(X, y)
    with pytest.raises(ValueError, match="'trips' lacks the field 'paid'"):
        model.predict(pd.DataFrame({"home": ["Bonn"], "trips": [[{"city": "Rome"}]]}))
    with pytest.raises(ValueError, match="'trips' must hold lists"):
        model.predict(pd.DataFrame({"home": ["Bonn"], "trips": ["Rome"]}))


def test_batches_hold_rows_of_like_length():
    from tabemb.network.inputs import Kept
    from tabemb.training.batches import Batches

    lengths = torch.from_numpy(np.random.default_rng(0).geometric(0.02, 4000))
    source = Kept(torch.zeros(4000, 0), torch.arange(4000))
    generator = torch.Generator().manual_seed(0)
    batches = [batch.counts for batch in Batches(source, 50, generator, lengths=lengths)]
    assert sorted(torch.cat(batches).tolist()) == list(range(4000))
    padded = sum(50 * int(lengths[rows].max()) for rows in batches)
    assert padded < 1.7 * int(lengths.sum())
    plain = sum(50 * int(part.max()) for part in lengths.split(50))
    assert plain > 3 * int(lengths.sum())


def test_an_encoder_of_ones_own_is_a_class_and_a_line(trips, monkeypatch):
    class Counted(HistoryEncoder):
        def __init__(self, d_in, d_history, pooling):
            super().__init__(d_in, d_history, pooling)
            self.layer, self.dim = torch.nn.Linear(d_in, d_history), d_history

        def forward(self, events, history):
            return history.sum(self.layer(events))

    monkeypatch.setitem(HISTORY_ENCODERS, "counted", Counted)
    X, y = trips
    model = EmbeddingRegressor(**QUICK | {"max_epochs": 60}, history="counted").fit(X, y)
    assert np.corrcoef(model.predict(X), y)[0, 1] > 0.95
    with pytest.raises(ValueError, match=r"history must be one of .*'counted'; got 'count'"):
        EmbeddingRegressor(history="count").fit(X, y)


def test_of_a_long_history_the_newest_events_alone_are_read(trips):
    X, y = trips
    three = [(events + 3 * EVENTS)[:3] for events in X["trips"]]
    short, longer = X.assign(trips=three), X.assign(trips=[5 * EVENTS + events for events in three])
    model, again = (EmbeddingRegressor(**QUICK, max_events=3).fit(rows, y) for rows in (short, longer))
    expected = model.predict(short)
    assert expected.std() > 0
    for fitted in (model, again):
        for rows in (short, longer):
            np.testing.assert_array_equal(fitted.predict(rows), expected)


def test_the_bar_shows_events_by_second_where_rows_have_some(trips, capsys, monkeypatch):
    X, y = trips
    monkeypatch.setattr("tabemb.progress.BAR_DELAY", 0)

    def eager(*args, **kwargs):
        bar = progress(*args, **kwargs)
        bar.mininterval = 0  # a quick fit would end before the next refresh
        return bar

    monkeypatch.setattr("tabemb.training.loop.progress", eager)
    shown = {}
    for columns in (["home"], ["home", "trips"]):
        EmbeddingRegressor(**QUICK, verbose=True).fit(X[columns], y)
        shown[len(columns)] = capsys.readouterr().err
    assert "events/s" not in shown[1]
    assert re.search(r"loss \d\.\d+, [\d,]+ events/s", shown[2])

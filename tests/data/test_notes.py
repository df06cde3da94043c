"""Columns that look like another type cause one note, ordinary ones cause none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import tabemb
from tabemb import (
    AggregateJoiner,
    EmbeddingClassifier,
    EmbeddingRegressor,
    EventRegressor,
    HistoryJoiner,
    SequenceEncoder,
)
from tabemb.data.frames import to_arrow
from tabemb.data.notes import doubts

N = 240
RNG = np.random.default_rng(0)
DAYS = pd.date_range("2020-01-01", periods=N)
QUICK = {"max_epochs": 1, "hidden": [4], "n_members": 1, "n_jobs": 1, "random_state": 0}

IN_DOUBT = {
    "iso": (DAYS.strftime("%Y-%m-%d"), "dates"),
    "us": (DAYS.strftime("%m/%d/%Y"), "dates"),
    "short": ([f"{day.month}/{day.day}/{day:%y}" for day in DAYS], "dates"),
    "german": (DAYS.strftime("%d.%m.%Y %H:%M"), "dates"),
    "named": (DAYS.strftime("%d %b %Y"), "dates"),
    "american": (DAYS.strftime("%B %d, %Y"), "dates"),
    "with a few others": (["soon", *DAYS[1:].strftime("%Y-%m-%d")], "dates"),
    "decimal": ([f"{value:.2f}" for value in RNG.normal(size=N)], "numbers"),
    "comma": ([f"{value:.2f}".replace(".", ",") for value in RNG.normal(size=N)], "numbers"),
    "dollars": ([f"${value:,.2f}" for value in RNG.uniform(1, 1e5, N)], "numbers"),
    "percent": ([f"{value:.1f} %" for value in RNG.uniform(0, 100, N)], "numbers"),
    "one stray": (["much", *map(str, RNG.integers(0, 100, N - 1))], "numbers"),
    "digits": (RNG.integers(0, 20_000, N).astype(str), "numbers"),
    "zip": (RNG.integers(1000, 99999, N), "ids"),
    "user_id": (RNG.integers(0, 50, N), "ids"),
    "providerId": (RNG.integers(0, 50, N).astype(float), "ids"),
    "ProductCode": (RNG.integers(0, 50, N).astype(np.int16), "ids"),
    "offset": (2**40 + RNG.integers(0, 300, N), "ids"),
}  # fmt: skip
ORDINARY = {
    "city": RNG.choice(["Bonn", "Rome", "NA"], N),
    "made text on purpose": RNG.integers(0, 100, N).astype(str),
    "shop_id": RNG.integers(0, 20_000, N).astype(str),
    "phone": RNG.integers(2_000_000, 9_000_000, N).astype(str),
    "prefix": [f"{value:03d}" for value in RNG.integers(0, 999, N)],
    "zip": [f"{value:05d}" for value in RNG.integers(0, 99999, N)],
    "version": [f"{a}.{b}.{c}" for a, b, c in RNG.integers(0, 30, (N, 3))],
    "address": [f"10.0.{a}.{b}" for a, b in RNG.integers(0, 250, (N, 2))],
    "clock": [f"{a:02d}:{b:02d}" for a, b in RNG.integers(0, 24, (N, 2))],
    "diagnosis": [f"{RNG.choice(['E', 'V', ''])}{value:.1f}" for value in RNG.uniform(1, 900, N)],
    "age": RNG.integers(18, 90, N),
    "year": RNG.integers(2010, 2020, N),
    "price": RNG.integers(50_000, 900_000, N),
    "salary": RNG.integers(30, 90, N) * 1000,
    "paid": RNG.normal(size=N),
    "width": RNG.integers(1, 100, N),  # ends in "id" without being an id
    "grid": RNG.integers(1, 100, N),
    "flag": RNG.random(N) < 0.5,
    "day": DAYS,
    "few_id": RNG.integers(0, 5, N),
    "empty": [None] * N,
}


@pytest.mark.parametrize("name", IN_DOUBT)
def test_what_looks_like_something_else_is_in_doubt(name):
    values, looks = IN_DOUBT[name]
    frame = pd.DataFrame({name: values})
    for X in (to_arrow(frame), to_arrow(pl.from_pandas(frame)), pa.Table.from_pandas(frame)):
        assert [(doubt.column, doubt.looks) for doubt in doubts(X)] == [(name, looks)]
    assert doubts(to_arrow(frame.head(99))) == []
    assert doubts(to_arrow(frame), {name}) == []


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_columns_are_in_no_doubt(name):
    assert doubts(to_arrow(pd.DataFrame({name: ORDINARY[name]}))) == []


def test_categories_are_stated_by_their_type():
    frame = pd.DataFrame({name: pd.Categorical(values) for name, (values, _) in IN_DOUBT.items()})
    assert doubts(to_arrow(frame)) == []


def test_fields_of_events_are_looked_at():
    trips = [[{"on": day, "city": "Bonn"}] for day in DAYS.strftime("%Y-%m-%d")]
    X = pa.table({"trips": pa.array(trips)})
    assert [doubt.column for doubt in doubts(X)] == ["trips.on"]
    assert doubts(X, {"trips.on"}) == []


def test_fit_draws_one_note_with_the_line_that_settles_it():
    X = pd.DataFrame(
        {"sold": DAYS.strftime("%Y-%m-%d"), "zip": IN_DOUBT["zip"][0], "size": np.arange(N)}
    )
    y = np.arange(N) % 7.0
    with pytest.warns(tabemb.InputNote) as caught:
        EmbeddingRegressor(**QUICK).fit(X, y)
    (note,) = [str(one.message) for one in caught]
    assert note.startswith(
        "Column 'sold' holds text that looks like dates ('2020-01-01') and is read as"
    )
    assert "column 'zip' holds integers that look like ids (" in note
    assert "roles={'sold': 'datetime', 'zip': 'categorical'} reads them as what they look like" in note
    assert caught[0].filename == __file__
    # any explicit role silences the note: warnings are errors here
    EmbeddingRegressor(roles={"sold": "datetime", "zip": "categorical"}, **QUICK).fit(X, y)
    EmbeddingRegressor(roles={"sold": "categorical", 1: "number"}, **QUICK).fit(X, y)
    shared = {"days": tabemb.Table(["sold"])}
    EmbeddingRegressor(roles={"zip": "number"}, tables=shared, **QUICK).fit(X, y)


def test_entities_and_times_of_a_log_are_no_doubt():
    log = pd.DataFrame(
        {"user_id": np.arange(N) % 30, "at": 10**9 + np.arange(N), "item": ["a", "b"] * 120}
    )
    EventRegressor(entity="user_id", time="at", max_epochs=1, n_jobs=1).fit(log, np.arange(N) % 3.0)
    log["item_id"] = np.arange(N) % 40
    with pytest.warns(tabemb.InputNote, match="Column 'item_id' holds integers that look like ids"):
        EventRegressor(entity="user_id", time="at", max_epochs=1, n_jobs=1).fit(log, np.arange(N) % 3.0)


def test_a_note_that_is_an_error_leaves_the_estimator_as_it_was():
    model = EmbeddingClassifier(**QUICK)
    with pytest.raises(tabemb.InputNote):
        model.fit(pd.DataFrame({"zip": IN_DOUBT["zip"][0]}), np.arange(N) % 2)
    assert not model.__sklearn_is_fitted__()


def test_the_encoder_draws_one_note_whatever_its_folds():
    X = pd.DataFrame({"zip": IN_DOUBT["zip"][0], "city": ORDINARY["city"]})
    net = EmbeddingRegressor(**QUICK)
    with pytest.warns(tabemb.InputNote, match="column 'zip'|Column 'zip'") as caught:
        tabemb.EmbeddingEncoder(estimator=net, n_jobs=1).fit_transform(X, np.arange(N) % 7.0)
    assert len(caught) == 1
    net.set_params(roles={"zip": "number"})
    tabemb.EmbeddingEncoder(estimator=net, n_jobs=1).fit_transform(X, np.arange(N) % 7.0)


LOG = pd.DataFrame({"who": np.arange(N) % 30, "at": np.arange(N), "item_id": np.arange(N) % 40})


def test_the_joiner_that_aggregates_a_log_draws_a_note_with_what_settles_it():
    log = LOG.assign(sold=DAYS.strftime("%Y-%m-%d"), cost=IN_DOUBT["comma"][0])
    rows = LOG[["who"]].head()
    with pytest.warns(tabemb.InputNote) as caught:
        AggregateJoiner(log, entity="who", time="at").fit(rows)
    (note,) = [str(one.message) for one in caught]
    assert note.startswith(
        "In the log, column 'item_id' holds integers that look like ids (0) and is read"
    )
    assert caught[0].filename == __file__
    for call in (
        "log['item_id'].astype('category')",
        "pandas.to_datetime(log['sold'], format=...)",
        "pandas.to_numeric(log['cost'])",
    ):
        assert call in note
    settled = LOG.assign(item_id=LOG["item_id"].astype("category"))
    AggregateJoiner(settled, entity="who", time="at").fit(rows)
    AggregateJoiner(log, entity="who", time="at", fields=[]).fit(rows)


def test_histories_are_noted_by_the_estimator_that_reads_them():
    rows = pd.DataFrame({"who": np.arange(30)})
    joined = HistoryJoiner(LOG, entity="who", time="at").fit_transform(rows)  # does not read the values
    with pytest.warns(tabemb.InputNote, match=r"'history.item_id' holds integers.*ids") as caught:
        SequenceEncoder(max_epochs=1, n_jobs=1).fit(joined[["history"]])
    assert len(caught) == 1
    assert caught[0].filename == __file__
    roles = {"history.item_id": "categorical", "history.at": "number"}
    SequenceEncoder(max_epochs=1, n_jobs=1, roles=roles).fit(joined[["history"]])

import datetime as dt
import os
import subprocess
import sys
import uuid
from inspect import signature
from itertools import chain, pairwise

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from tabemb import EmbeddingRegressor
from tabemb.data import logs
from tabemb.data.aggregates import AggregateJoiner
from tabemb.data.frames import to_arrow
from tabemb.data.joins import HistoryJoiner

LOG = pd.DataFrame(
    {
        "who": ["ann", "bob", "ann", "ann", None, "bob"],
        "at": pd.to_datetime(
            ["2020-01-05", "2020-01-02", "2020-01-01", "2020-01-03", "2020-01-01", "2020-01-02"]
        ),
        "what": ["buy", "look", "look", None, "look", "buy"],
        "paid": [5.0, 1.0, 3.0, np.nan, 9.0, 2.0],
    }
)
ROWS = pd.DataFrame(
    {
        "who": ["ann", "ann", "bob", "eve", None],
        "today": pd.to_datetime(["2020-01-05"] * 3 + ["2021-01-01"] * 2),
    }
)


def history(rows=ROWS, log=LOG, **kwargs):
    settings = {"entity": "who", "time": "at", "cutoff": "today", **kwargs}
    joined = HistoryJoiner(log, **settings).fit_transform(rows)
    return to_arrow(joined)["history"].to_pylist()


def naive(log, rows, max_events=None, window=None):
    """Return the positions in the log of each row's events, by a simple loop."""
    histories = []
    for who, today in zip(rows["who"], rows["today"]):
        events = [i for i, (w, t) in enumerate(zip(log["who"], log["at"])) if w == who and t < today]
        events = [i for i in events if window is None or log["at"][i] >= today - window]
        events.sort(key=lambda i: log["at"][i])  # stable
        histories.append(events if max_events is None else events[-max_events:])
    return histories


def test_events_before_the_cutoff_in_time_order_and_none_at_it():
    whats = [[event["what"] for event in row] for row in history()]
    assert whats == [["look", None], ["look", None], ["look", "buy"], [], []]
    assert history()[0][0] == {
        "at": dt.datetime(2020, 1, 1),
        "what": "look",
        "paid": 3.0,
        "before_cutoff": 4.0,
    }


def test_fields_max_events_and_window_narrow_the_history():
    at = dt.datetime(2020, 1, 2)
    assert history(fields=["paid"])[2] == [
        {"at": at, "paid": paid, "before_cutoff": 3.0} for paid in (1.0, 2.0)
    ]
    assert [len(row) for row in history(max_events=1)] == [1, 1, 1, 0, 0]
    assert history(max_events=1, fields=["paid"])[2][0]["paid"] == 2.0  # the newest
    assert [len(row) for row in history(window="2d")] == [1, 1, 0, 0, 0]
    assert [len(row) for row in history(window="4d")] == [2, 2, 2, 0, 0]


def test_events_of_one_time_are_one_step_where_they_are_merged():
    log = pd.DataFrame({"who": list("aababaa"), "at": [2, 1, 1, 2, 3, 3, 2], "what": list("xyzuvwt")})
    rows = pd.DataFrame({"who": ["a", "a", "b", "c", None], "now": [3, 4, 9, 9, 9]})
    join = {"log": log, "entity": "who", "time": "at", "cutoff": "now", "simultaneous": "merge"}

    def steps(**settings):
        joined = HistoryJoiner(**join, **settings).fit_transform(pa.Table.from_pandas(rows))
        return [
            [[event["what"] for event in step] for step in history]
            for history in joined["history"].to_pylist()
        ]

    early, late = [["y"], ["x", "u", "t"]], [["y"], ["x", "u", "t"], ["w"]]
    assert steps() == [early, late, [["z"], ["v"]], [], []]
    assert steps(max_events=2) == [early, late[1:], [["z"], ["v"]], [], []]
    assert steps(window=1) == [early[1:], late[2:], [], [], []]


def test_merged_events_are_those_that_are_kept_apart():
    rng = np.random.default_rng(0)
    log = pd.DataFrame(
        {"who": rng.integers(0, 9, 500), "at": rng.integers(0, 40, 500), "id": np.arange(500)}
    )
    rows = pa.table({"who": rng.integers(0, 12, 60), "now": rng.integers(0, 45, 60)})
    for more in ({}, {"window": 7}):
        join = {"log": log, "entity": "who", "time": "at", "cutoff": "now", **more}
        kept = HistoryJoiner(**join).fit_transform(rows)["history"].to_pylist()
        joiner = HistoryJoiner(**join, simultaneous="merge")
        merged = joiner.fit_transform(rows)["history"].to_pylist()
        assert [list(chain.from_iterable(steps)) for steps in merged] == kept
        times = [[{event["at"] for event in step} for step in steps] for steps in merged]
        assert all(len(step) == 1 for steps in times for step in steps)
        assert all(a < b for steps in times for a, b in pairwise(map(min, steps)))


def test_without_a_cutoff_the_log_is_cut_already():
    joined = HistoryJoiner(LOG, entity="who", time="at").fit_transform(ROWS)
    assert [len(row) for row in joined["history"]] == [3, 3, 2, 0, 0]


LOGS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 6)), min_size=1, max_size=30)


@settings(deadline=None)
@given(LOGS, LOGS, st.one_of(st.none(), st.integers(1, 3)), st.one_of(st.none(), st.integers(1, 4)))
def test_no_event_at_or_after_the_cutoff_ever_enters_and_none_before_it_is_left_out(
    events, cutoffs, max_events, window
):
    log = pd.DataFrame(events, columns=["who", "at"]).assign(place=range(len(events)))
    rows = pd.DataFrame(cutoffs, columns=["who", "today"])
    expected = naive(log, rows, max_events, window)
    histories = history(rows, log, max_events=max_events, window=window)
    assert [[event["place"] for event in row] for row in histories] == expected
    counts = AggregateJoiner(
        log, entity="who", time="at", cutoff="today", max_events=max_events, windows=[window]
    ).fit_transform(rows)
    suffix = "" if window is None else f"_{window}"
    assert counts[f"history_count{suffix}"].tolist() == [len(row) for row in expected]


@pytest.mark.parametrize(
    ("times", "cutoffs", "expected"),
    [
        ([2**53, 2**53 + 1], [2**53 + 1, 2**53 + 2], [1, 2]),
        ([1.5, 2.0], [2, 3], [1, 2]),
        ([1, 2], [1.5, 2.0], [1, 1]),
        ([0.5, 1e300], [np.inf, 1.0], [2, 1]),
        ([1, 2], [np.inf, -np.inf], [2, 0]),
        (pd.to_datetime([1, 2], unit="ns"), pd.to_datetime([2, 3], unit="ns"), [1, 2]),
        (
            pd.to_datetime([1, 2], unit="s"),
            pd.to_datetime([1_000_000_001, 2 * 10**9], unit="ns"),
            [1, 1],
        ),
        (
            pd.to_datetime([1, 2], unit="s").as_unit("s"),
            pd.to_datetime([1_000_000_001, 2 * 10**9], unit="ns"),
            [1, 1],
        ),
        (
            pd.to_datetime([1, 2], unit="s", utc=True),
            pd.to_datetime([2, 3], unit="s", utc=True).tz_convert("Asia/Tokyo"),
            [1, 2],
        ),
        (
            [dt.date(2020, 1, 1), dt.date(2020, 1, 2)],
            pd.to_datetime(["2020-01-01 01:00", "2020-01-02 00:00"]),
            [1, 1],
        ),
    ],
)
def test_times_of_every_kind_are_compared_exactly(times, cutoffs, expected):
    log, rows = pd.DataFrame({"who": 7, "at": times}), pd.DataFrame({"who": 7.0, "today": cutoffs})
    assert [len(row) for row in history(rows, log)] == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"entity": "whom"}, r"The log lacks column 'whom' \(did you mean 'who'\?\)"),
        ({"cutoff": "tody"}, r"X lacks column 'tody' \(did you mean 'today'\?\)"),
        ({"fields": ["prize"]}, "The log lacks column 'prize'"),
        ({"name": "who"}, "X has a column 'who' already"),
        ({"max_events": 0}, "max_events must be a whole number >= 1 or None; got 0"),
        ({"simultaneous": "join"}, "simultaneous must be 'keep' or 'merge'; got 'join'"),
        ({"window": "soon"}, "window must be a span of time such as '7d' or '12h'; got 'soon'"),
        ({"window": "-1d"}, "window must be longer than zero"),
        ({"window": "1d", "cutoff": None}, "name the cutoff's column too"),
    ],
)
def test_a_wrong_argument_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        history(**change)


def test_times_that_cannot_be_compared_are_errors():
    with pytest.raises(ValueError, match="'today' has a time zone, the log's times have none"):
        history(ROWS.assign(today=ROWS["today"].dt.tz_localize("UTC")))
    with pytest.raises(ValueError, match=r"'today' holds int64; the log has times instead"):
        history(ROWS.assign(today=1))
    with pytest.raises(
        ValueError, match="'today' must hold a time in every row; it is missing in row 1"
    ):
        history(ROWS.assign(today=ROWS["today"].where(ROWS.index != 1)))
    with pytest.raises(TypeError, match="'at' must hold times or numbers; it holds"):
        history(log=LOG.assign(at="monday"))
    with pytest.raises(ValueError, match="Column 'who' held text values"):
        history(ROWS.assign(who=3))


@pytest.mark.parametrize("library", [pl.from_pandas, pa.Table.from_pandas])
def test_a_frame_comes_back_in_the_library_it_came_in(library):
    rows = library(ROWS)
    joined = HistoryJoiner(library(LOG), entity="who", time="at", cutoff="today").fit_transform(rows)
    assert type(joined) is type(rows)
    assert to_arrow(joined)["history"].to_pylist() == history()
    aggregates = AggregateJoiner(library(LOG), entity="who", time="at", cutoff="today").fit_transform(
        rows
    )
    assert type(aggregates) is type(rows)


def test_aggregates_are_what_pandas_gives():
    rng = np.random.default_rng(0)
    n = 400
    log = pd.DataFrame(
        {
            "who": rng.integers(0, 20, n),
            "at": pd.Timestamp("2020") + pd.to_timedelta(rng.integers(0, 100, n), unit="h"),
            "what": rng.choice(["x", "y", "z", None], n, p=[0.5, 0.3, 0.1, 0.1]),
            "paid": np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n)),
        }
    )
    rows = pd.DataFrame(
        {
            "who": rng.integers(0, 22, 60),
            "today": pd.Timestamp("2020") + pd.to_timedelta(rng.integers(0, 110, 60), unit="h"),
        }
    )
    joiner = AggregateJoiner(log, entity="who", time="at", cutoff="today", windows=["2d", None], top_k=2)
    joined = joiner.fit_transform(rows)
    assert joined.columns.tolist() == joiner.get_feature_names_out().tolist()
    assert joiner.levels_ == {"what": ["x", "y"]}
    for i, (who, today) in rows.iterrows():
        for window, suffix in [(pd.Timedelta("2D"), "_2d"), (None, "")]:
            events = log[(log["who"] == who) & (log["at"] < today)].sort_values("at", kind="stable")
            events = events if window is None else events[events["at"] >= today - window]
            row = {name: joined[f"history_{name}{suffix}"][i] for name in EXPECTED}
            expected = {name: of(events, today, window) for name, of in EXPECTED.items()}
            assert row == pytest.approx(expected, nan_ok=True), (i, suffix)


def _days(span):
    return span / pd.Timedelta("1D")


EXPECTED = {
    "count": lambda e, t, w: len(e),
    "frequency": lambda e, t, w: len(e) / _days(w or t - e["at"].iloc[0]) if len(e) else 0,
    "days_since_last": lambda e, t, w: _days(t - e["at"].iloc[-1]) if len(e) else np.nan,
    "days_since_first": lambda e, t, w: _days(t - e["at"].iloc[0]) if len(e) else np.nan,
    "gap_mean": lambda e, t, w: _days(e["at"].diff().mean()),
    "gap_std": lambda e, t, w: (e["at"].diff() / pd.Timedelta("1D")).std(ddof=0),
    "gap_max": lambda e, t, w: _days(e["at"].diff().max()),
    "gap_last": lambda e, t, w: _days(e["at"].diff().iloc[-1]) if len(e) else np.nan,
    "paid_sum": lambda e, t, w: e["paid"].sum(),
    "paid_mean": lambda e, t, w: e["paid"].mean(),
    "paid_std": lambda e, t, w: e["paid"].std(ddof=0),
    "paid_min": lambda e, t, w: e["paid"].min(),
    "paid_max": lambda e, t, w: e["paid"].max(),
    "paid_last": lambda e, t, w: e["paid"].dropna().iloc[-1] if e["paid"].notna().any() else np.nan,
    "paid_trend": lambda e, t, w: _slope(e.dropna(subset="paid")),
    "what_unique": lambda e, t, w: e["what"].nunique(),
    "what_x_count": lambda e, t, w: (e["what"] == "x").sum(),
    "what_y_share": lambda e, t, w: (e["what"] == "y").mean() if len(e) else np.nan,
    "what_x_paid_sum": lambda e, t, w: e.loc[e["what"] == "x", "paid"].sum(),
}


def _slope(events):
    if events["at"].nunique() < 2:
        return np.nan
    days = (events["at"] - events["at"].iloc[0]) / pd.Timedelta("1D")
    return np.polyfit(days, events["paid"], 1)[0]


def test_the_last_category_is_there_as_a_category():
    joined = AggregateJoiner(LOG, entity="who", time="at", cutoff="today").fit_transform(ROWS)
    last = joined["history_what_last"]
    assert last.astype(object).where(last.notna(), None).tolist() == [None, None, "buy", None, None]


def test_chunks_give_what_all_rows_at_once_give(monkeypatch):
    whole = AggregateJoiner(LOG, entity="who", time="at", cutoff="today").fit_transform(ROWS)
    monkeypatch.setattr(logs, "CHUNK", 2)
    pd.testing.assert_frame_equal(
        AggregateJoiner(LOG, entity="who", time="at", cutoff="today").fit_transform(ROWS), whole
    )


def test_top_categories_are_those_before_the_cutoffs_of_fit():
    log = pd.DataFrame(
        {"who": 1, "at": [1, 2, 3, 4, 5], "what": ["early", "late", "late", "late", "late"]}
    )
    joiner = AggregateJoiner(log, entity="who", time="at", cutoff="today", top_k=1)
    assert joiner.fit(pd.DataFrame({"who": [1], "today": [2]})).levels_ == {"what": ["early"]}
    assert joiner.fit(pd.DataFrame({"who": [1], "today": [9]})).levels_ == {"what": ["late"]}


def test_shared_parameters_have_one_default_and_stand_in_both_docstrings():
    of_history, of_aggregates = (signature(cls).parameters for cls in (HistoryJoiner, AggregateJoiner))
    shared = of_history.keys() & of_aggregates.keys()
    assert shared == {"log", "entity", "time", "cutoff", "fields", "max_events", "name"}
    assert all(of_history[name].default == of_aggregates[name].default for name in shared)
    for cls in (HistoryJoiner, AggregateJoiner):
        assert all(f"\n    {name} : " in cls.__doc__ for name in signature(cls).parameters)


def test_an_array_has_its_columns_named_and_comes_back_as_pandas():
    rows = np.array([["ann"], ["eve"]], dtype=object)
    joined = HistoryJoiner(LOG.rename(columns={"who": "x0"}), entity="x0", time="at").fit_transform(rows)
    assert joined.columns.tolist() == ["x0", "history"]
    assert [len(row) for row in joined["history"]] == [3, 0]


def test_joiners_clone_and_stand_in_pipelines():
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier

    rng = np.random.default_rng(0)
    log = pd.DataFrame({"who": rng.integers(0, 50, 500), "at": rng.random(500)})
    rows = pd.DataFrame({"who": np.arange(50), "today": 0.5})
    joiner = clone(AggregateJoiner(log, entity="who", time="at", cutoff="today"))
    many = joiner.fit_transform(rows)["history_count"] > 4
    numbers = make_column_transformer(("passthrough", make_column_selector("history_count")))
    model = make_pipeline(joiner, numbers, HistGradientBoostingClassifier(min_samples_leaf=2))
    assert cross_val_score(model, rows, many, cv=3).mean() > 0.9


VALUES = {
    "uuids": [uuid.UUID(int=1), uuid.UUID(int=2)],
    "intervals": [pd.Interval(0, 1), pd.Interval(1, 2)],
    "tuples": [(1, 2), (3,)],
    "surrogates": ["a\ud800", "b"],
    "text and bytes": ["a", b"a"],
    "sets": [frozenset("ab"), frozenset("c")],
    "text": ["a", "b"],
    "periods": [pd.Period("2020-01"), pd.Period("2020-02")],
}


@pytest.mark.parametrize("name", VALUES)
def test_the_last_category_is_the_value_of_the_log(name):
    values = np.fromiter(VALUES[name] * 3, object)
    log = pd.DataFrame({"who": ["a", "b"] * 3, "at": range(6), "what": pd.Series(values, dtype=object)})
    rows = pd.DataFrame({"who": ["b", "c", "a"]})
    joiner = AggregateJoiner(log, entity="who", time="at")
    last = joiner.fit_transform(rows)["history_what_last"]
    assert [last[0], last[2]] == VALUES[name][::-1]
    assert pd.isna(last[1])
    # a model that reads the column knows the values, also in a single row
    y = [0.0, 1.0, 2.0] * 10
    frame = joiner.transform(pd.concat([rows] * 10, ignore_index=True))[["history_what_last"]]
    fitted = EmbeddingRegressor(max_epochs=1, hidden=(8,), n_members=1, random_state=0, n_jobs=1)
    fitted.fit(frame, y)
    assert set(fitted.spaces_["history_what_last"].categories) == set(VALUES[name])
    assert fitted.predict(frame[:1]) == pytest.approx(fitted.predict(frame)[:1], abs=1e-6)


@pytest.mark.parametrize("make", [pl.DataFrame, pa.table])
def test_the_last_category_is_text_where_a_library_has_no_type_for_it(make):
    log = pd.DataFrame({"who": ["a", "b"], "at": [1, 2], "what": [pd.Interval(0, 1), pd.Interval(1, 2)]})
    joined = AggregateJoiner(log, entity="who", time="at").fit_transform(make({"who": ["b", "c", "a"]}))
    last = pa.array(
        joined["history_what_last"].to_arrow()
        if make is pl.DataFrame
        else joined["history_what_last"].combine_chunks()
    )
    assert last.to_pylist() == ["(1, 2]", None, "(0, 1]"]


@pytest.mark.slow
def test_names_of_sets_do_not_depend_on_the_process():
    code = (
        "import pandas as pd; from tabemb import AggregateJoiner; from tabemb.labels import in_order;"
        "sets = [frozenset('abcdef'), frozenset('xyz')];"
        "log = pd.DataFrame({'who': ['a', 'a'], 'at': [1, 2], 'what': sets});"
        "joiner = AggregateJoiner(log, entity='who', time='at').fit(pd.DataFrame({'who': ['a']}));"
        "print(list(joiner.get_feature_names_out()), [len(s) for s in in_order(sets)])"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            text=True,
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(runs) == 1

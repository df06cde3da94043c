"""Aggregates of numbers within the levels of a category, for long and wide formats of a log."""

import os
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import tabemb
from tabemb.data import logs
from tabemb.data.aggregates import AggregateJoiner
from tabemb.data.aggregates.within import MAX_LEVELS

JOIN = {"entity": "who", "time": "at", "cutoff": "today"}
PULSES = pd.DataFrame(
    {
        "who": ["a", "a", "a", "a", "b", "b"],
        "at": [1, 2, 3, 4, 1, 2],
        "what": ["pulse", "weight", "pulse", None, "pulse", "weight"],
        "value": [70.0, 80.0, 90.0, 1.0, 60.0, np.nan],
    }
)


def long_log(n=600, n_levels=4, seed=0):
    """Return a long log with several measurements at one time, at most one of each kind."""
    rng = np.random.default_rng(seed)
    log = pd.DataFrame(
        {
            "who": rng.integers(0, 20, n),
            "at": pd.Timestamp("2020") + pd.to_timedelta(rng.integers(0, 60, n), unit="h"),
            "what": rng.choice([f"p{i}" for i in range(n_levels)], n),
            "value": rng.normal(size=n),
        }
    )
    return log.drop_duplicates(["who", "at", "what"]).reset_index(drop=True)


def rows_of(log, n=50):
    rng = np.random.default_rng(1)
    hours = rng.integers(0, 70, n)
    return pd.DataFrame(
        {
            "who": rng.integers(0, 22, n),
            "today": pd.Timestamp("2020") + pd.to_timedelta(hours, unit="h"),
        }
    )


def days(span):
    return span / pd.Timedelta("1D")


def slope(events):
    if events["at"].nunique() < 2:
        return np.nan
    return np.polyfit(days(events["at"] - events["at"].iloc[0]), events["value"], 1)[0]


def edge(events, column, place):
    return events[column].iloc[place] if len(events) else np.nan


EXPECTED = {
    "sum": lambda e, t: e["value"].sum(),
    "mean": lambda e, t: e["value"].mean(),
    "std": lambda e, t: e["value"].std(ddof=0),
    "min": lambda e, t: e["value"].min(),
    "max": lambda e, t: e["value"].max(),
    "first": lambda e, t: edge(e, "value", 0),
    "last": lambda e, t: edge(e, "value", -1),
    "trend": lambda e, t: slope(e),
    "count": lambda e, t: len(e),
    "days_since_last": lambda e, t: days(t - e["at"].iloc[-1]) if len(e) else np.nan,
}


@pytest.mark.parametrize("max_events", [None, 8])
def test_aggregates_within_levels_are_what_pandas_gives(max_events):
    log = long_log()
    rng = np.random.default_rng(2)
    log.loc[rng.random(len(log)) < 0.15, "value"] = np.nan
    log.loc[rng.random(len(log)) < 0.1, "what"] = None
    rows = rows_of(log)
    joiner = AggregateJoiner(
        log, **JOIN, windows=["1d", None], max_events=max_events, by={"what": ["value"]}
    )
    joined = joiner.fit_transform(rows)
    assert joined.columns.tolist() == joiner.get_feature_names_out().tolist()
    assert joiner.by_ == {"what": {"value": ["p0", "p1", "p2", "p3"]}}
    for i, (who, today) in rows.iterrows():
        for window, suffix in [("1d", "_1d"), (None, "")]:
            events = log[(log["who"] == who) & (log["at"] < today)].sort_values("at", kind="stable")
            events = (
                events
                if window is None
                else events[events["at"] >= today - pd.Timedelta(window.upper())]
            )
            events = events if max_events is None else events.tail(max_events)
            for level in ("p0", "p3"):
                of_level = events[events["what"] == level].dropna(subset="value")
                prefix = f"history_what_{level}_value"
                row = {name: joined[f"{prefix}_{name}{suffix}"][i] for name in EXPECTED}
                expected = {name: of(of_level, today) for name, of in EXPECTED.items()}
                assert row == pytest.approx(expected, nan_ok=True), (i, level, suffix)


def test_no_values_have_a_count_and_a_sum_of_zero_and_no_other_aggregate():
    joiner = AggregateJoiner(PULSES, entity="who", time="at", by={"what": ["value"]})
    joined = joiner.fit_transform(pd.DataFrame({"who": ["b", "c"]}))
    for name in EXPECTED:
        of_none = joined[f"history_what_pulse_value_{name}"][1]
        assert of_none == 0 if name in ("count", "sum") else np.isnan(of_none), name
    # b's weight is missing in fit, so no row of fit has a number at this level
    assert not [name for name in joined if "weight_value" in name and not name.endswith("_sum")]


def test_levels_are_those_of_the_rows_of_fit_and_a_later_one_has_no_column():
    log = PULSES.assign(at=pd.to_datetime("2020") + pd.to_timedelta(PULSES["at"], unit="D"))
    joiner = AggregateJoiner(log, **JOIN, by={"what": ["value"]})
    early = pd.DataFrame({"who": ["a"], "today": pd.to_datetime(["2020-01-03"])})
    joiner.fit(early)
    assert joiner.by_ == {"what": {"value": ["pulse"]}}
    late = joiner.transform(early.assign(today=pd.Timestamp("2021")))
    assert late["history_what_pulse_value_count"].tolist() == [2]
    assert not late.columns.str.contains("weight").any()


@pytest.mark.parametrize("windows", [(None,), ("1d", "12h", None)])
@pytest.mark.parametrize("cutoff", ["today", None])
def test_a_long_and_a_wide_log_give_the_same_aggregates(windows, cutoff):
    long = long_log()
    wide = long.pivot(index=["who", "at"], columns="what", values="value").reset_index()
    assert wide["p0"].isna().mean() > 0.3
    rows = rows_of(long) if cutoff else rows_of(long).drop(columns="today")
    windows = windows if cutoff else (None,)
    join = {"entity": "who", "time": "at", "cutoff": cutoff, "windows": windows}
    of_long = AggregateJoiner(long, **join, by={"what": ["value"]}).fit_transform(rows)
    of_wide = AggregateJoiner(wide, **join).fit_transform(rows)
    for level in ("p0", "p1", "p2", "p3"):
        for aggregate in EXPECTED:
            for window in windows:
                name = aggregate if window is None else f"{aggregate}_{window}"
                pd.testing.assert_series_equal(
                    of_long[f"history_what_{level}_value_{name}"],
                    of_wide[f"history_{level}_{name}"],
                    check_names=False,
                    rtol=1e-12,
                )


def test_the_last_value_of_a_number_is_the_last_that_is_present():
    log = pd.DataFrame({"who": 1, "at": [1, 2, 3, 4], "paid": [np.nan, 5.0, 7.0, np.nan]})
    joined = AggregateJoiner(log, **JOIN).fit_transform(pd.DataFrame({"who": [1], "today": [6]}))
    assert joined[[f"history_paid_{a}" for a in ("first", "last", "count", "days_since_last")]].iloc[
        0
    ].tolist() == [5, 7, 2, 3]
    without = AggregateJoiner(log, entity="who", time="at").fit_transform(pd.DataFrame({"who": [1]}))
    assert without["history_paid_days_since_last"].tolist() == [1]  # before the last event


def test_values_at_one_time_have_no_trend():
    log = pd.DataFrame({"who": 1, "at": [0.1] * 3, "paid": [1.0, 2.0, 4.0]})
    log = pd.concat([log.assign(who=0, at=0.0), log])  # a third of .1 + .1 + .1 is not .1
    joined = AggregateJoiner(log, entity="who", time="at").fit_transform(pd.DataFrame({"who": [1]}))
    assert joined["history_paid_trend"].isna().all()


def test_none_and_an_empty_mapping_turn_it_off():
    log, rows = long_log(), rows_of(long_log())
    names = AggregateJoiner(log, **JOIN).fit(rows).get_feature_names_out()
    for off in (None, {}):
        joiner = AggregateJoiner(log, **JOIN, by=off).fit(rows)
        assert joiner.by_ == {}
        left = set(names) - set(joiner.get_feature_names_out())
        assert left == {
            f"history_what_p{i}_value_{a}" for i in range(4) for a in EXPECTED if a != "sum"
        }  # sums within the most frequent categories do not need `by`


def test_auto_takes_pairs_of_a_category_of_few_levels_and_a_number():
    rng = np.random.default_rng(0)
    n = 4000
    log = pd.DataFrame(
        {
            "who": np.arange(n) % 400,
            "at": np.arange(n),
            "what": rng.choice(["x", "y"], n),
            "item": np.arange(n) % (MAX_LEVELS + 1),  # 100 levels are few, 101 are many
            "alone": "z",
            "sent": (pd.Timestamp("2020") + pd.to_timedelta(np.arange(n) % 30, unit="D")).strftime(
                "%Y-%m-%d"
            ),
            "paid": rng.normal(size=n),
            "due": pd.Timestamp("2020") + pd.to_timedelta(rng.integers(0, 99, n), unit="D"),
            "customer_id": rng.integers(10_000, 99_999, n),
        }
    )
    log["item"] = log["item"].astype(str).add("i").astype("category")
    log.loc[[3, 403], "what"] = "rare"  # only two of 400 entities
    rows = pd.DataFrame({"who": np.arange(400)})
    with pytest.warns(tabemb.InputNote, match="'customer_id' holds integers that look like ids"):
        joiner = AggregateJoiner(log, entity="who", time="at").fit(rows)
    assert joiner.by_ == {"what": {"paid": ["x", "y"]}}
    log["item"] = log["item"].cat.set_categories(log["item"].cat.categories[:MAX_LEVELS])
    joiner = AggregateJoiner(log, entity="who", time="at", fields=["item", "paid"]).fit(rows)
    assert [len(levels) for levels in joiner.by_["item"].values()] == [MAX_LEVELS]
    stated = AggregateJoiner(
        log, entity="who", time="at", fields=["what", "paid", "due"], by={"what": ["due", "paid"]}
    ).fit(rows)
    assert stated.by_ == {"what": {"due": ["rare", "x", "y"], "paid": ["rare", "x", "y"]}}


def test_a_log_whose_numbers_differ_by_level_draws_a_note_with_what_settles_it():
    log, rows = long_log(), rows_of(long_log())
    log["value"] += log["what"].str[1:].astype(float) * 100
    with pytest.warns(tabemb.InputNote) as caught:
        AggregateJoiner(log, **JOIN).fit(rows)
    (note,) = [str(one.message) for one in caught]
    assert note == (
        "In the log, 'value' within 4 levels of 'what' are aggregated in 40 columns, because numbers "
        "differ by level. by={'what': ['value']} takes all levels, by=None none; either ends this note."
    )
    assert caught[0].filename == __file__
    for by in ({"what": ["value"]}, None):
        AggregateJoiner(log, **JOIN, by=by).fit(rows)  # a note would be an error here


def test_levels_beyond_max_columns_are_noted_and_those_of_most_rows_stay():
    log = pd.DataFrame({"who": [1] * 6 + [2, 2, 3], "at": 1.0, "what": list("abccccabb"), "paid": 1.0})
    rows = pd.DataFrame({"who": [1, 2, 3]})
    settings = {"entity": "who", "time": "at", "by": {"what": ["paid"]}}
    with pytest.warns(
        tabemb.InputNote, match="; 1 rarer level has none. max_columns=30 keeps"
    ) as caught:
        joiner = AggregateJoiner(log, **settings, max_columns=29).fit(rows)
    assert joiner.by_ == {"what": {"paid": ["a", "b"]}}
    assert caught[0].filename == __file__
    assert AggregateJoiner(log, **settings, max_columns=30).fit(rows).by_["what"]["paid"] == list("abc")
    n_columns = [
        AggregateJoiner(log, **{**settings, "by": by}, top_k=1, max_columns=30)
        .fit(rows)
        .get_feature_names_out()
        .size
        for by in ({"what": ["paid"]}, None)
    ]
    assert n_columns[0] - n_columns[1] == 29  # one of the 30 is the sum of the most frequent level


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ("what", "by must be 'auto', None or such as {'what': \\['paid'\\]}; got 'what'"),
        ({"whta": ["value"]}, r"'whta' is none of the log's, \['what'\] \(did you mean 'what'\?\)"),
        ({"value": ["value"]}, r"'value' is none of .*; convert it with astype\('category'\)\.$"),
        ({"what": "value"}, r"by\['what'\] must be a list of numbers; got 'value'"),
        ({"what": ["valeu"]}, r"'valeu' is none of \['value'\] \(did you mean 'value'\?\)"),
        ({"what": ["what"]}, r"by\['what'\] must name numbers of the log; 'what' is none of"),
    ],
)
def test_a_wrong_choice_is_named(by, message):
    with pytest.raises(ValueError, match=message):
        AggregateJoiner(PULSES, entity="who", time="at", by=by).fit(pd.DataFrame({"who": ["a"]}))


@pytest.mark.parametrize("value", [0, "many"])
def test_a_wrong_number_of_columns_is_named(value):
    with pytest.raises(ValueError, match=f"max_columns must be a whole number >= 1; got {value!r}"):
        AggregateJoiner(PULSES, entity="who", time="at", max_columns=value).fit(PULSES[["who"]])


@pytest.mark.parametrize("library", [pl.from_pandas, pa.Table.from_pandas])
def test_every_library_gives_the_same(library):
    log, rows = long_log(), rows_of(long_log())
    expected = AggregateJoiner(log, **JOIN).fit_transform(rows)
    joined = AggregateJoiner(library(log), **JOIN).fit_transform(library(rows))
    for name in expected.filter(like="value"):
        np.testing.assert_array_equal(
            np.asarray(joined[name]).astype(float), expected[name], err_msg=name
        )


def test_chunks_give_what_all_rows_at_once_give(monkeypatch):
    log, rows = long_log(), rows_of(long_log())
    whole = AggregateJoiner(log, **JOIN, windows=["1d", None]).fit(rows)
    expected = whole.transform(rows)
    monkeypatch.setattr(logs, "CHUNK", 20)
    joiner = AggregateJoiner(log, **JOIN, windows=["1d", None])
    pd.testing.assert_frame_equal(joiner.fit_transform(rows), expected)
    assert joiner.by_ == whole.by_


def test_levels_beyond_the_codes_that_two_bytes_hold_are_apart():
    n = 2**16
    log = pd.DataFrame({"who": np.arange(n + 4), "at": np.arange(n + 4), "paid": np.arange(n + 4) * 1.0})
    log["what"] = pd.Series([*range(n + 1), 0, n, 0], dtype="category")
    log.loc[n + 1 :, "who"] = n + 1
    rows = pd.DataFrame({"who": [0, n, n + 1]})
    joined = AggregateJoiner(log, entity="who", time="at", by={"what": ["paid"]}).fit_transform(rows)
    assert joined["history_what_unique"].tolist() == [1, 1, 2]
    assert joined["history_what_0_paid_count"].tolist() == [1, 0, 2]
    assert joined[f"history_what_{n}_paid_last"].tolist()[1:] == [n, n + 2]


def test_levels_of_truth_values_have_columns():
    log = pd.DataFrame(
        {"who": 0, "at": range(4), "what": [True, False] * 2, "paid": [1.0, 2.0, 3.0, 4.0]}
    )
    joined = AggregateJoiner(log, entity="who", time="at").fit_transform(pd.DataFrame({"who": [0]}))
    assert joined["history_what_False_paid_last"].tolist() == [4]


@pytest.mark.slow
def test_a_million_events_take_three_seconds_however_many_levels_there_are():
    rng = np.random.default_rng(0)
    n = 1_000_000
    rows = pd.DataFrame({"who": np.arange(n // 400)})
    seconds = {}
    for n_levels in (5, 90):
        log = pd.DataFrame(
            {
                "who": rng.integers(0, len(rows), n),
                "at": rng.integers(0, 100_000, n),
                "what": rng.choice([f"p{i}" for i in range(n_levels)], n),
                "value": rng.normal(size=n),
            }
        )
        start = time.process_time()
        joined = AggregateJoiner(log, entity="who", time="at").fit_transform(rows)
        seconds[n_levels] = time.process_time() - start
        assert f"history_what_p{n_levels - 1}_value_trend" in joined
    assert max(seconds.values()) <= 3
    assert seconds[90] <= 2.5 * seconds[5]


DATA = Path(os.environ.get("TABEMB_DATA", "."))
needs_icu = pytest.mark.skipif(not (DATA / "icu_events.parquet").exists(), reason="needs icu_events")


@needs_icu
def test_measurements_of_patients_are_aggregated_by_parameter_as_pandas_does():
    log, stays = (pd.read_parquet(DATA / f"icu_{name}.parquet") for name in ("events", "stays"))
    stays = stays.head(300)
    log = log[log["stay"].isin(stays["stay"])]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tabemb.InputNote)
        joined = AggregateJoiner(log, entity="stay", time="minute").fit_transform(stays[["stay"]])
    names = ["mean", "min", "max", "last", "first", "count", "std", "sum"]
    table = log.sort_values(["stay", "minute"], kind="stable").groupby(["stay", "Parameter"])["Value"]
    expected = table.agg([*names[:6], ("std", lambda v: v.std(ddof=0)), "sum"]).unstack()
    levels = log["Parameter"].unique()
    assert len(levels) >= 38
    n_stays = log.groupby("Parameter")["stay"].nunique()
    for level in levels[n_stays[levels] >= 3]:
        for name in names:
            column = joined[f"history_Parameter_{level}_Value_{name}"]
            truth = expected[name, level].reindex(stays["stay"])
            truth = truth.fillna(0) if name in ("count", "sum") else truth
            np.testing.assert_allclose(column, truth, rtol=2e-5, atol=2e-4, err_msg=f"{level} {name}")

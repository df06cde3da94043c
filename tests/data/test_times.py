import datetime as dt
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from tabemb import EmbeddingRegressor, EventRegressor
from tabemb.data.aggregates import AggregateJoiner
from tabemb.data.floats import to_floats
from tabemb.data.frames import to_arrow
from tabemb.data.joins import HistoryJoiner
from tabemb.data.times import TimeAxis, days_since

UNITS = ["s", "ms", "us", "ns"]
DAY = pd.Timestamp("2024-01-01")
LAST = pd.Timestamp.max  # the last one in nanoseconds, in the year 2262


def joined(joiner, log, rows, **settings):
    return joiner(log, entity="who", time="at", cutoff="today", **settings).fit_transform(rows)


def counts(log, rows, **settings):
    history = joined(HistoryJoiner, log, rows, **settings)["history"]
    aggregates = joined(AggregateJoiner, log, rows, windows=[settings.get("window")])
    n_events = aggregates.filter(like="history_count").iloc[:, 0].tolist()
    assert [len(row) for row in history] == n_events
    return n_events


def column(times, unit, zone=None):
    """Return times as a column of that unit, whichever unit pandas would choose."""
    array = pa.array(times, pa.timestamp("us")).cast(pa.timestamp(unit, zone))
    return pd.Series(pd.array(array, dtype=pd.ArrowDtype(array.type)))


@pytest.mark.parametrize("log_unit", UNITS)
@pytest.mark.parametrize("cutoff_unit", UNITS[:3])
def test_cutoffs_of_the_years_1_and_9999_hold_all_events_or_none(log_unit, cutoff_unit):
    log = pd.DataFrame({"who": ["a", "a", "b"]})
    log["at"] = column([dt.datetime(2020, 1, d) for d in (1, 3, 2)], log_unit)
    rows = pd.DataFrame({"who": ["a", "b", "c", "a", "a"]})
    last, first = dt.datetime(9999, 12, 31), dt.datetime(1, 1, 1)
    rows["today"] = column([last, last, last, first, dt.datetime(2020, 1, 2)], cutoff_unit)
    assert counts(log, rows) == [2, 1, 0, 0, 1]
    assert counts(log, rows, window="3000000d") == [2, 1, 0, 0, 1]
    assert counts(log, rows, window="300000d") == [0, 0, 0, 0, 1]
    since = joined(AggregateJoiner, log, rows)["history_days_since_last"]
    assert since[0] == (last - dt.datetime(2020, 1, 3)).days
    history = to_arrow(joined(HistoryJoiner, log, rows))["history"].to_pylist()
    assert history[0][1]["before_cutoff"] == since[0]


def test_dates_and_the_units_of_polars_and_numpy_reach_the_year_9999():
    log = pd.DataFrame({"who": 1, "at": pd.to_datetime(["2020-01-01"]).as_unit("ns")})
    for today in (
        [dt.date(9999, 12, 31)],
        np.array(["9999-12-31"], "M8[D]"),
        np.array(["9999-12-31"], "M8[s]"),
        [dt.datetime(9999, 12, 31)],
    ):
        assert counts(log, pd.DataFrame({"who": 1, "today": today})) == [1]
    rows = pl.DataFrame({"who": [1], "today": [dt.date(9999, 12, 31)]})
    polars_log = pl.DataFrame({"who": [1], "at": [dt.datetime(2020, 1, 1)]}).with_columns(
        pl.col("at").dt.cast_time_unit("ns")
    )
    history = joined(HistoryJoiner, polars_log, rows)["history"]
    assert history.list.len().to_list() == [1]


def test_an_event_at_the_last_nanosecond_is_before_the_year_9999_and_not_before_itself():
    log = pd.DataFrame({"who": 1, "at": [LAST]})
    rows = pd.DataFrame({"who": [1, 1], "today": [dt.datetime(9999, 12, 31), dt.datetime(2262, 4, 11)]})
    assert counts(log, rows) == [1, 0]
    assert counts(log, pd.DataFrame({"who": 1, "today": [LAST]})) == [0]


def test_differences_over_the_whole_reach_of_nanoseconds_are_right():
    log = pd.DataFrame({"who": 1, "at": [pd.Timestamp.min.ceil("D"), LAST.floor("D")]})
    rows = pd.DataFrame({"who": [1], "today": [dt.datetime(9999, 1, 1)]})
    gap = (LAST.floor("D").to_pydatetime() - pd.Timestamp.min.ceil("D").to_pydatetime()).days
    assert joined(AggregateJoiner, log, rows)["history_gap_last"].tolist() == [gap]
    whole = pd.DataFrame({"who": 1, "at": [-(2**62) - 2, 2**62 + 2]})
    numbers = joined(AggregateJoiner, whole, pd.DataFrame({"who": [1], "today": [2**63 - 1]}))
    assert numbers["history_gap_last"].tolist() == [2.0**63]


def test_whole_numbers_of_64_bits_are_not_read_as_negative():
    log = pd.DataFrame({"who": 1, "at": [1, 2]})
    rows = pd.DataFrame({"who": 1, "today": np.array([2**63 + 1, 2], dtype=np.uint64)})
    assert counts(log, rows) == [2, 1]
    big = pd.DataFrame({"who": 1, "at": np.array([1, 2**63 + 1], dtype=np.uint64)})
    with pytest.raises(
        ValueError, match=r"'at' holds 9223372036854775809 in row 1, which whole numbers"
    ):
        counts(big, rows)


@pytest.mark.parametrize(
    ("window", "days"),
    [
        ("300000d", 300_000),
        ("300000 days", 300_000),
        ("1.5D", 1.5),
        (dt.timedelta(days=300_000), 300_000),
        (np.timedelta64(300_000, "D"), 300_000),
        (pd.Timedelta("106751D"), 106_751),
        ("1 day 12:00:00", 1.5),
    ],
)
def test_a_window_has_its_length_in_every_unit(window, days):
    for unit in UNITS:
        ticks = days * 86_400 * {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
        assert TimeAxis(unit).length(window) == ticks


def test_a_window_that_is_too_small_or_no_number_is_refused():
    for window in ("-1d", "0d", dt.timedelta(0)):
        with pytest.raises(ValueError, match="window must be longer than zero"):
            TimeAxis("ns").length(window)
    with pytest.raises(ValueError, match="window must be a number > 0"):
        TimeAxis().length(dt.timedelta(1))


@pytest.mark.parametrize("unit", UNITS)
def test_elapsed_days_over_all_years(unit):
    years = (1700, 2200) if unit == "ns" else (1, 9999)
    times = [dt.datetime(year, 1, 1) for year in years]
    micros = pa.array(times, pa.timestamp("us"))
    days = days_since(micros[0].value, pa.chunked_array([micros.cast(pa.timestamp(unit))]), "t")
    assert days.tolist() == [0, (times[1] - times[0]).days]


def test_a_time_beyond_microseconds_is_refused_with_its_row():
    far = pa.chunked_array([pa.array([0, 2**60], pa.int64()).cast(pa.timestamp("s"))])
    with pytest.raises(
        ValueError, match=r"'t' holds a time in row 1 that is .* beyond the year 290,000"
    ):
        days_since(0, far, "t")


def test_durations_of_centuries_are_read_in_every_unit():
    for unit, ticks in [("s", 10**15), ("ms", 10**18)]:
        durations = pa.chunked_array([pa.array([ticks], pa.int64()).cast(pa.duration(unit))])
        assert to_floats(durations, "t").tolist() == [1e15]


def test_infinite_times_of_a_log_and_text_are_refused():
    rows = pd.DataFrame({"who": [1], "today": [np.inf]})
    with pytest.raises(ValueError, match="'at' must hold finite times; it is inf in row 1"):
        counts(pd.DataFrame({"who": 1, "at": [1.0, np.inf]}), rows)
    far = pd.DataFrame({"who": 1, "at": [-1e307, 1e307]})
    assert counts(far, rows) == [2]
    with pytest.raises(
        TypeError, match=r"'at' must hold times or numbers; it holds .* convert text with"
    ):
        counts(pd.DataFrame({"who": 1, "at": ["31/01/2020"]}), rows)


@pytest.mark.parametrize("window", [2**70, np.inf, 2**63])
def test_a_window_of_numbers_may_be_longer_than_all_times(window):
    log = pd.DataFrame({"who": 1, "at": [1, 2]})
    assert counts(log, pd.DataFrame({"who": [1, 1], "today": [-(2**63), 3]}), window=window) == [0, 2]


# Time zones in the estimators

HOURS = pd.date_range("2024-01-01", periods=24 * 20, freq="h", tz="UTC")
QUICK = {"hidden": (16,), "n_members": 1, "max_epochs": 2, "random_state": 0, "n_jobs": 1}


def forms_of(times):
    """Return the same instants in other formats."""
    return {
        "Tokyo": times.tz_convert("Asia/Tokyo"),
        "offset": times.tz_convert(dt.timezone(dt.timedelta(hours=-5))),
        "text": [time.isoformat() for time in times],
        "text of several offsets": [
            time.tz_convert("Asia/Tokyo" if i % 2 else "UTC").isoformat() for i, time in enumerate(times)
        ],
        "seconds": times.as_unit("s"),
    }


@pytest.fixture(scope="module")
def clock():
    """A model that predicts the hour in UTC."""
    frame = pd.DataFrame({"at": HOURS, "x": 0.0})
    return EmbeddingRegressor(**QUICK, roles={"at": "datetime"}).fit(frame, HOURS.hour.to_numpy(float))


@pytest.mark.parametrize("form", list(forms_of(HOURS[:2])))
def test_the_same_instants_in_another_zone_or_as_text_give_the_same_prediction(clock, form):
    frame = pd.DataFrame({"at": HOURS[:24], "x": 0.0})
    other = frame.assign(at=forms_of(HOURS[:24])[form])
    np.testing.assert_array_equal(clock.predict(other), clock.predict(frame))
    one_row = clock.predict(other.iloc[[5]])
    np.testing.assert_allclose(one_row, clock.predict(frame.iloc[[5]]), rtol=1e-6)


def test_naive_times_where_a_zone_was_and_the_other_way_round_are_refused(clock):
    frame = pd.DataFrame({"at": HOURS[:24], "x": 0.0})
    naive = frame.assign(at=HOURS[:24].tz_localize(None))
    for wrong in (naive, naive.assign(at=naive["at"].dt.date), naive.assign(at=naive["at"].astype(str))):
        with pytest.raises(ValueError, match="'at' has no time zone, and had the zone 'UTC' when"):
            clock.predict(wrong)
    target = np.arange(24.0)
    for roles in ({}, {"at": "categorical"}):
        model = EmbeddingRegressor(**QUICK, roles=roles).fit(naive, target)
        with pytest.raises(ValueError, match="'at' has a time zone, and had none when it was fitted"):
            model.predict(frame)
    missing = frame.assign(at=pd.Series(pd.NaT, index=frame.index))
    assert np.isfinite(clock.predict(missing)).all()


def test_the_times_of_events_in_a_history_are_in_the_zone_of_fit():
    frame = pd.DataFrame({"h": [[{"at": time}] for time in HOURS[:48]]})
    model = EmbeddingRegressor(**QUICK).fit(frame, HOURS[:48].hour.to_numpy(float))
    tokyo = pd.DataFrame({"h": [[{"at": time.tz_convert("Asia/Tokyo")}] for time in HOURS[:48]]})
    np.testing.assert_array_equal(model.predict(tokyo), model.predict(frame))
    naive = pd.DataFrame({"h": [[{"at": time.tz_localize(None)}] for time in HOURS[:48]]})
    with pytest.raises(ValueError, match=r"'h.at' has no time zone"):
        model.predict(naive)


def test_python_times_with_and_without_a_zone_are_not_mixed():
    times = [dt.datetime(2020, 1, 1), dt.datetime(2020, 1, 1, tzinfo=dt.UTC)]
    mixed = pd.DataFrame({"at": pd.Series(times * 20, dtype=object)})
    for roles in (None, {"at": "datetime"}):
        with pytest.raises(ValueError, match=r"'at' holds .* in row 1 among times"):
            EmbeddingRegressor(**QUICK, roles=roles).fit(mixed, np.arange(40.0))
    text = pd.DataFrame({"at": ["2020-01-01 00:00", "2020-01-01 00:00Z"] * 20})
    with pytest.raises(ValueError, match=r"'at' holds '2020-01-01 00:00Z' in row 1, which has a time"):
        EmbeddingRegressor(**QUICK, roles={"at": "datetime"}).fit(text, np.arange(40.0))


@pytest.mark.parametrize("values", [range(40), np.arange(40) + 0.5, [True, False] * 20])
def test_numbers_are_no_datetimes(values):
    with pytest.raises(ValueError, match=r"must hold times or text; it holds .*to_datetime"):
        EmbeddingRegressor(**QUICK, roles={"at": "datetime"}).fit(
            pd.DataFrame({"at": values}), np.arange(40.0)
        )


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([DAY, "2024-01-02", DAY], r"'2024-01-02' in row 1 among times"),
        ([DAY, DAY, 7], r"7 in row 2 among times"),
        ([DAY, DAY.tz_localize("UTC"), DAY], r"Timestamp\(.*tz='UTC'\) in row 1 among times"),
        ([1, "2", 3], r"'2' in row 1 among numbers"),
        ([None, Decimal("1.5"), 3.5], r"values of several types, such as 1.5 in row 1"),
        ([{"a": 1}, DAY, DAY], r"\{'a': 1\} in row 0 among times"),
    ],
)
def test_a_time_column_of_several_kinds_names_the_row_and_the_value(values, found):
    """The check covers the log and the cutoffs of joiners, and the log of an event estimator."""
    log = pd.DataFrame({"who": ["a", "b", "a"], "at": [DAY] * 3, "n": [1.0, 2.0, 3.0]})
    mixed = log.assign(at=pd.Series(values, dtype=object))
    rows = log[["who"]].assign(now=log["at"])
    message = rf"Column '(at|now)' must hold times or numbers, all of one kind; it holds {found}"
    for joiner in (HistoryJoiner, AggregateJoiner):
        with pytest.raises(ValueError, match=message):
            joiner(mixed, entity="who", time="at", cutoff="now").fit(rows)
        fitted = joiner(log, entity="who", time="at", cutoff="now").fit(rows)
        with pytest.raises(ValueError, match=message):
            fitted.transform(rows.assign(now=mixed["at"]))
    with pytest.raises(ValueError, match=message):
        EventRegressor(entity="who", time="at").fit(mixed, [0.5, 1.5, 2.5])


def test_times_may_be_categories_of_pandas():
    log = pd.DataFrame({"who": ["a", "b", "a"], "at": [DAY, DAY, DAY + pd.Timedelta("1D")]})
    rows = pd.DataFrame({"who": ["a", "b"], "today": [DAY + pd.Timedelta("1D")] * 2})
    expected = joined(HistoryJoiner, log, rows)["history"].tolist()
    log["at"], rows["today"] = log["at"].astype("category"), rows["today"].astype("category")
    assert joined(HistoryJoiner, log, rows)["history"].tolist() == expected

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from tabemb.data.dates import FORMATS, parse_dates

DAYS = pd.Series(pd.date_range("2019-12-25", periods=200, freq="D"))


@pytest.mark.parametrize("form", [form for form in FORMATS if "%d" in form and "%y" not in form][::7])
def test_a_column_is_read_by_one_format_whichever_it_is(form):
    read = parse_dates(DAYS.dt.strftime(form), "column 'd'")
    assert (read == DAYS).all()


@pytest.mark.parametrize("form", ["%Y-%m-%d", "%Y%m%dT%H%M%S", "%Y/%m/%d", "%Y-%m-%dT%H:%M:%SZ"])
def test_iso_dates_are_read(form):
    read = parse_dates(DAYS.dt.strftime(form), "column 'd'")
    assert (read.dt.tz_localize(None) == DAYS).all()


def test_dates_that_two_formats_read_differently_are_refused():
    text = pd.Series(["01/02/2020", "03/04/2020", "05/05/2020"])
    with pytest.raises(
        ValueError, match=r"'01/02/2020' in row 0, which may be 2020-02-01 or 2020-01-02"
    ):
        parse_dates(text, "column 'd'")
    short = DAYS.dt.strftime("%y/%m/%d")
    with pytest.raises(ValueError, match=r"'19/12/25' in row 0, which may be 2025-12-19 or 2019-12-25"):
        parse_dates(short, "column 'd'")
    same = pd.Series(["01/01/2020", "05/05/2020"])
    assert (parse_dates(same, "column 'd'") == pd.to_datetime(["2020-01-01", "2020-05-05"])).all()


@pytest.mark.parametrize("other", ["2020-01-05", "12/31/2020", "31.12.2020", "5 Jan 2020"])
def test_a_date_of_another_format_is_refused_with_its_row(other):
    text = DAYS.dt.strftime("%d/%m/%Y")
    text[7] = other
    with pytest.raises(
        ValueError, match=rf"dates of several formats, '25/12/2019' .* '{other}' in row 7"
    ):
        parse_dates(text, "column 'd'")


def test_text_that_is_no_date_becomes_missing_unless_it_is_most_of_the_column():
    text = DAYS.dt.strftime("%d/%m/%Y")
    text[[3, 9]] = ["soon", None]
    assert np.flatnonzero(parse_dates(text, "column 'd'").isna()).tolist() == [3, 9]
    with pytest.raises(ValueError, match="'a' in row 0, which is not a date of a known format"):
        parse_dates(pd.Series(["a", "b", "2020-01-01", "c"]), "column 'd'")


@pytest.mark.parametrize("values", [[20200101, 20200102], [1.5, np.nan]])
def test_numbers_are_refused(values):
    with pytest.raises(ValueError, match=r"holds numbers, such as .* in row 0, .*to_datetime"):
        parse_dates(pd.Series(values), "column 'd'")


@pytest.mark.parametrize(
    "values",
    [
        [dt.date(2020, 1, 2), None],
        [dt.datetime(2020, 1, 2), None],
        pd.Categorical(["2020-01-02", None]),
        pd.array(["2020-01-02", None], "string"),
        [" 2020-01-02 ", None],
        [None, None],
    ],
)
def test_other_types_are_read_too(values):
    read = parse_dates(pd.Series(values), "column 'd'")
    assert pd.api.types.is_datetime64_dtype(read)
    assert read[0] is pd.NaT or read[0] == pd.Timestamp("2020-01-02")


def test_text_beside_times_is_refused():
    with pytest.raises(ValueError, match="text and, in row 1, "):
        parse_dates(pd.Series(["2020-01-02", dt.datetime(2020, 1, 2)], dtype=object), "column 'd'")


def test_several_offsets_are_instants_and_an_offset_beside_none_is_refused():
    offsets = pd.Series(["2020-01-01T00:00+09:00", "2019-12-31T15:00Z"])
    assert parse_dates(offsets, "column 'd'").nunique() == 1
    with pytest.raises(ValueError, match="in row 0, which has a time zone, and '2020-01-01' in row 1"):
        parse_dates(pd.Series(["2020-01-01T00:00Z", "2020-01-01"]), "column 'd'")

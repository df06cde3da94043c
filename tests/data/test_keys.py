import datetime as dt
import uuid
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabemb.data.keys import key_of, value_of

PLAIN = st.one_of(
    st.none(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
    st.decimals(allow_nan=False),
    st.fractions(),
    st.dates(),
    st.times(),
    st.uuids(),
)
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.one_of(st.lists(inner).map(tuple), st.frozensets(inner)),
    max_leaves=6,
)


@given(VALUES)
def test_a_key_gives_back_a_value_that_is_equal(value):
    assert value_of(key_of(value, "x")) == value
    assert key_of(value_of(key_of(value, "x")), "x") == key_of(value, "x")


@pytest.mark.parametrize(
    "equal",
    [
        [1, 1.0, True, np.int8(1), np.float32(1), Decimal("1.0"), Fraction(1)],
        [0.5, Decimal("0.50"), Fraction(1, 2)],
        [0.0, -0.0, Decimal("-0")],
        [(1, 2), (1.0, np.int64(2))],
        [pd.Interval(0, 1), pd.Interval(0.0, 1.0)],
        [dt.datetime(2020, 1, 1), pd.Timestamp("2020"), np.datetime64("2020-01-01", "ns")],
        [
            pd.Timestamp("2020-01-01 12:00", tz="UTC"),
            pd.Timestamp("2020-01-01 13:00", tz="Europe/Berlin"),
        ],
        [dt.timedelta(1), pd.Timedelta("1D"), np.timedelta64(1, "D")],
        ["a", np.str_("a")],
    ],
)
def test_equal_values_have_one_key(equal):
    assert len({key_of(value, "x") for value in equal}) == 1


@pytest.mark.parametrize(
    "value", ["1", "(1,)", "UUID('x')", "nan", "", "'", "\ud800", uuid.UUID(int=3), [1, [2]], {"a": [1]}]
)
def test_text_that_looks_like_a_key_is_text(value):
    assert value_of(key_of(value, "x")) == value


@pytest.mark.parametrize(
    "key",
    [
        "__import__('os').system('true')",
        "open('x')",
        "UUID",
        "<Planet.MARS: 4>",
        "(" * 5000,
        "1 + 1",
        "a.b",
    ],
)
def test_a_key_calls_nothing_but_known_types(key):
    assert value_of(key, "as it is") == "as it is"


def test_a_tuple_of_one_in_an_older_file_is_a_tuple():
    assert value_of("(1)") == (1,)

"""Values come back as they were, whatever their type."""

import datetime
import decimal
import enum
import fractions
import uuid
import zoneinfo

import numpy as np
import pandas as pd
import pytest

import tabemb
from tabemb.saving.packing import pack, unpack

VALUES = [
    *(None, True, 3, 2**70, -0.5, "text", "\ud800", b"\x00\xff", (1, ("a", None)), {"a": [1], 2: ()}),
    *(decimal.Decimal("1.10"), decimal.Decimal("Infinity"), uuid.UUID(int=7)),
    *(datetime.date(2020, 2, 29), datetime.datetime(2020, 1, 1, 5), datetime.time(4, 5, 6, 7)),
    *(pd.Timestamp("2020-01-01 00:00:00.000000001"), pd.Timestamp("2020-07-01", tz="Asia/Tokyo")),
    *(pd.Timedelta(7, "ns"), pd.Timedelta(days=-3), pd.Interval(0, 1.5, "left")),
    pd.Interval(pd.Timestamp("2020"), pd.Timestamp("2021"), "both"),
    *(fractions.Fraction(1, 3), 2 - 1j, frozenset([1, ("a", b"")])),
    datetime.time(1, 30, tzinfo=zoneinfo.ZoneInfo("Asia/Tokyo")),
]


def name_of(value):
    """Return the text of a value, as the order of a set differs between processes."""
    return "frozenset" if isinstance(value, frozenset) else repr(value)


@pytest.mark.parametrize("value", VALUES, ids=name_of)
def test_scalars(value):
    arrays = {}
    found = unpack(pack(value, arrays, "value"), arrays)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "values",
    [
        np.array(["a", "bbb"], dtype="<U9"),
        np.array(VALUES[:10], dtype=object),
        np.array(["2020-01-01", "NaT"], dtype="M8[ns]"),
        np.array([5, -5], dtype="m8[s]"),
        np.zeros((0, 3), dtype=np.float32),
        np.array(7),
    ],
    ids=repr,
)
def test_arrays(values):
    arrays = {}
    found = unpack(pack(values, arrays, "values"), arrays)
    np.testing.assert_array_equal(found, values)
    assert found.dtype == values.dtype
    assert not arrays


@pytest.mark.parametrize(
    "labels", [["a", "\ud800"], [True, 2], [b"a", "a"], VALUES[2:9], [2**70], [0.5]]
)
def test_labels_of_a_space(labels):
    index, arrays = pd.Index(np.fromiter(labels, object), dtype=object, tupleize_cols=False), {}
    found = unpack(pack(index, arrays, "labels"), arrays)
    assert [repr(label) for label in found] == [repr(label) for label in labels]
    assert not arrays


def test_labels_that_an_older_file_holds_as_keys():
    found = unpack(
        {"$values": ["UUID('00000000-0000-0000-0000-000000000007')", "(1,)", "'a'", "<E.A: 1>"]}, {}
    )
    assert found.tolist() == [uuid.UUID(int=7), (1,), "a", "<E.A: 1>"]


def test_missing_values_keep_their_type():
    assert unpack(pack([pd.NaT, pd.NA, None], {}, "value"), {}) == [pd.NaT, pd.NA, None]


def test_times_of_numpy_are_no_numbers():
    value = np.datetime64("2020-01-01", "ns")
    assert unpack(pack(value, {}, "value"), {}) == pd.Timestamp("2020-01-01")


def test_what_cannot_be_saved_is_named():
    with pytest.raises(TypeError, match="labels holds a object, <object"):
        pack([object()], {}, "labels")
    with pytest.raises(TypeError, match="weights holds an array of complex128, which cannot be saved"):
        pack(np.zeros(2, complex), {}, "weights")


def test_padding_of_texts_takes_little_memory():
    found = unpack({"$labels": ["a"] * 9, "dtype": "<U99999999"}, {})
    assert found.nbytes == 9 * 4


class Size(enum.Enum):
    SMALL = 1
    LARGE = 2


def test_classes_that_are_members_of_an_enum_are_refused_with_a_way_out(tmp_path):
    X, y = pd.DataFrame({"x": range(20)}), [Size.SMALL, Size.LARGE] * 10
    model = tabemb.EmbeddingClassifier(max_epochs=1, hidden=(4,), random_state=0, n_jobs=1).fit(X, y)
    assert model.predict(X.head(1))[0] in Size
    with pytest.raises(TypeError, match=r"classes_ holds a Size, .*; take text, numbers or times"):
        tabemb.save(model, tmp_path / "m.tabemb")

"""Labels of any type in every format of a space are restored, or one error names the label."""

import datetime as dt
import enum
import uuid
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from tabemb.spaces import EmbeddingSpace

TOKYO = ZoneInfo("Asia/Tokyo")
NOON = dt.datetime(2020, 1, 1, 12)
LABELS = {
    "text": ["a", "b"],
    "surrogates": ["a\ud800", "a\ud801", "a\\ud800"],
    "integers beyond 64 bits": [2**70, -(2**70), 3],
    "unsigned": np.array([2**64 - 1, 0], np.uint64),
    "decimals": [Decimal("1.5"), Decimal("2.25")],
    "odd decimals": [Decimal("Infinity"), Decimal("-Infinity"), Decimal("1E+50"), Decimal("1.50")],
    "dates": [dt.date(2020, 1, 1), dt.date(1600, 1, 1)],
    "times of a zone": [NOON.replace(tzinfo=TOKYO), NOON.replace(tzinfo=dt.UTC)],
    "stamps of a zone": pd.to_datetime(["2020", "2021"], format="%Y").tz_localize("Asia/Tokyo"),
    "date and time": [dt.date(2020, 1, 1), NOON],
    "times of day": [dt.time(1), dt.time(2, tzinfo=TOKYO)],
    "durations": [dt.timedelta(1), dt.timedelta(microseconds=1)],
    "numpy times": np.array(["2020", "2021"], "M8[ns]"),
    "uuids": [uuid.UUID(int=1), uuid.UUID(int=2**100)],
    "intervals": [pd.Interval(0, 1), pd.Interval(1, 2.5)],
    "intervals of sides": [pd.Interval(0, 1), pd.Interval(0, 1, "left"), "a"],
    "periods": pd.period_range("2020-01", periods=2, freq="M"),
    "tuples": [("a", 1), ("a", (None, Decimal("2.5")))],
    "bytes": [b"\xff", b"a"],
    "text and bytes": ["a", b"a"],
    "boolean beside integer": [True, 2],
    "number and text": [1, "1", 2.5],
    "numpy": [np.int64(3), np.str_("3"), np.float32(2.5)],
    "sets": [frozenset([1, "a"]), frozenset()],
    "fractions": [Fraction(1, 3), 2],
    "complex": [1j, 2j],
    "missing": [None, "a"],
    "missing among others": [float("nan"), "a", (1,)],
    "nothing but missing": [pd.NaT],
}


SAME_TEXT = {"number and text", "numpy", "surrogates"}


class Colour(enum.Enum):
    RED = 1


def same(found, given):
    given = given.item() if isinstance(given, np.int64 | np.float32) else given
    return (isinstance(given, type(found)) and found == given) or (pd.isna(found) and pd.isna(given))


def space_of(labels):
    return EmbeddingSpace(np.arange(2.0 * len(labels)).reshape(-1, 2) + 1, labels, name="x")


@pytest.mark.parametrize("name", LABELS)
@pytest.mark.parametrize("form", ["parquet", "duckdb"])
def test_labels_come_back_with_their_type(name, form, tmp_path):
    space = space_of(LABELS[name])
    if form == "parquet":
        space.to_parquet(tmp_path / "space.parquet")
        read = EmbeddingSpace.from_parquet(tmp_path / "space.parquet")
    else:
        space.to_duckdb(tmp_path / "space.db", "x")
        read = EmbeddingSpace.from_duckdb(tmp_path / "space.db", "x")
    assert all(map(same, read.categories, space.categories))
    for label in space.categories:
        np.testing.assert_array_equal(read[label], space[label])


@pytest.mark.parametrize("name", LABELS)
def test_formats_of_text_write_labels_of_any_type(name, tmp_path):
    space = space_of(LABELS[name])
    if name in SAME_TEXT:
        with pytest.raises(ValueError, match="would both be written as"):
            space.to_word2vec(tmp_path / "space.txt")
        return
    space.to_word2vec(tmp_path / "space.txt")
    space.to_projector(tmp_path / "projector")
    for read in (
        EmbeddingSpace.from_word2vec(tmp_path / "space.txt"),
        EmbeddingSpace.from_projector(tmp_path / "projector"),
    ):
        np.testing.assert_array_equal(read.vectors, space.vectors)
    coordinates = pd.DataFrame(space.vectors, index=space.categories, columns=["x", "y"])
    space.atlas(tmp_path / "page.html", coordinates=coordinates)
    assert (tmp_path / "page.html").read_text(encoding="utf-8").count("\ufffd") == 0


def test_a_surrogate_that_is_no_category_is_named():
    with pytest.raises(KeyError, match="is not a category"):
        space_of(["a", "b"])["a\ud800"]
    with pytest.raises(KeyError, match="is not a category"):
        space_of(["a", "b"]).positions(["a", "a\ud800"])


def test_a_label_without_json_is_named(tmp_path):
    with pytest.raises(
        TypeError, match=r"Parquet takes categories .* holds a Colour, <Colour.RED: 1>, which"
    ):
        space_of([Colour.RED, "a"]).to_parquet(tmp_path / "space.parquet")
    assert not list(tmp_path.iterdir())


def test_a_column_of_json_that_is_none_is_an_error(tmp_path):
    frame = pd.DataFrame({"category": ["a"], "category_json": ["{"], "vector": [[1.0, 2.0]]})
    frame.to_parquet(tmp_path / "space.parquet")
    with pytest.raises(ValueError, match=r"is not an embedding space; .*category_json"):
        EmbeddingSpace.from_parquet(tmp_path / "space.parquet")

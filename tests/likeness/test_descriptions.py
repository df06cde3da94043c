"""Descriptions of categories as vectors: columns of any kind, missing cells, and errors."""

import datetime as dt
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tabemb import EmbeddingSpace
from tabemb.likeness.descriptions import Descriptions, described

NAMES = list("abcdefgh")


def vectors_of(values, index=None, name="x"):
    return described("city", pd.DataFrame({name: values}, index=index or NAMES[: len(values)])).vectors


def test_each_column_counts_alike():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "number": rng.normal(size=8) * 1000,
            "kind": ["town", "village", "town", "town"] * 2,
            "vector": list(rng.normal(size=(8, 5)) * 0.01),
            "founded": pd.date_range("1990", periods=8, freq="YS"),
            "note": [f"{name} on the river {name}" for name in NAMES],
        },
        index=NAMES,
    )
    parts = [vectors_of(list(frame[name])) for name in frame]
    for part in parts:
        np.testing.assert_allclose(np.square(part).sum(axis=1).mean(), 1)
        np.testing.assert_allclose(part.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(described("city", frame).vectors, np.hstack(parts))


def test_a_missing_cell_is_at_the_centre():
    numbers = vectors_of([1.0, None, 3.0])
    np.testing.assert_allclose(numbers, [[-1], [0], [1]])
    vectors = vectors_of([[1.0, 0.0], None, [0.0, 1.0]])
    np.testing.assert_allclose(vectors, [[0.5**0.5, -(0.5**0.5)], [0, 0], [-(0.5**0.5), 0.5**0.5]])
    kinds = vectors_of(["town", None, "village", "town", "village"])
    np.testing.assert_allclose(np.abs(kinds[[0, 2]]).sum(axis=1), 2**0.5)
    assert not kinds[1].any()


@pytest.mark.parametrize(
    "values",
    [
        [1, 2, 4],
        [True, False, True],
        [Decimal("1.5"), Decimal(2), Decimal(4)],
        [dt.date(2020, 1, 1), dt.date(2020, 1, 2), dt.date(2021, 1, 1)],
        [dt.timedelta(1), dt.timedelta(2), dt.timedelta(5)],
        pd.Series([1, None, 4], dtype="Int64", index=NAMES[:3]),
        pd.arrays.SparseArray([0.0, 1.0, 0.0]),
    ],
)
def test_numbers_of_all_kinds_have_one_coordinate(values):
    part = vectors_of(values)
    assert part.shape == (3, 1)
    np.testing.assert_allclose(np.square(part[part != 0]).sum() / (part != 0).sum(), 1)


@pytest.mark.parametrize("kind", ["lists", "arrays", "arrow", "fixed"])
def test_vectors_may_come_in_any_container(kind):
    values = np.arange(12.0).reshape(4, 3) ** 2
    dtype = pa.list_(pa.float64(), 3) if kind == "fixed" else pa.list_(pa.float64())
    cells = {
        "lists": values.tolist(),
        "arrays": list(values),
        "arrow": pd.arrays.ArrowExtensionArray(pa.array(values.tolist(), dtype)),
        "fixed": pd.arrays.ArrowExtensionArray(pa.array(values.tolist(), dtype)),
    }[kind]
    expected = values - values.mean(axis=0)
    expected /= np.sqrt(np.square(expected).sum(axis=1).mean())
    np.testing.assert_allclose(vectors_of(cells), expected)
    space = EmbeddingSpace(values, NAMES[:4])
    np.testing.assert_allclose(described("city", space).vectors, expected)
    np.testing.assert_allclose(described("city", dict(zip(NAMES, values))).vectors, expected)


def test_texts_that_repeat_are_categories_and_others_are_compared_by_their_parts():
    kinds = vectors_of(["town", "towns", "town", "towns"])
    assert kinds.shape == (4, 2)
    assert kinds[0] @ kinds[1] < 0  # as different as any two categories
    notes = ["old town", "old towns", "wide sea", "a wide sea"]
    alike = Descriptions(NAMES[:4], described("city", pd.Series(notes, NAMES[:4])))
    assert alike.nearest_others(np.arange(4))[0][:, 0].tolist() == [1, 0, 3, 2]


def test_what_has_been_scaled_is_compared_alike():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=8), "kind": ["a", "b", None, "c"] * 2}, index=NAMES)
    once = described("city", frame)
    again = described("city", EmbeddingSpace(once.vectors, once.labels))
    np.testing.assert_allclose(
        Descriptions(NAMES, again).nearest(NAMES)[1],
        Descriptions(NAMES, once).nearest(NAMES)[1],
        atol=1e-4,
    )


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (
            3,
            TypeError,
            "Table 'city': describe must be 'text', a pandas DataFrame .* got an object of type int",
        ),
        (
            pd.DataFrame({"x": [1, 2]}, index=["a", "a"]),
            ValueError,
            "Table 'city': describe must have one row for each category, but 'a' has several; keep one",
        ),
        (pd.DataFrame({"x": [1, 2]}, index=["a", None]), ValueError, "but row 1 has none; drop it"),
        (pd.DataFrame(index=["a"]), ValueError, r"must hold a value; it has the shape \(1, 0\)"),
        (pd.DataFrame({"x": [None]}, index=["a"]), ValueError, "must hold a value"),
        (
            pd.DataFrame({"size": [1, "high"]}, index=["a", "b"]),
            ValueError,
            "Table 'city': column 'size' of describe must hold .* category 'b' has 'high'",
        ),
        (
            pd.DataFrame({"size": [1.0, np.inf]}, index=["a", "b"]),
            ValueError,
            "column 'size' of describe must hold finite numbers .* category 'b' has inf",
        ),
        (
            {"a": [1.0, 2.0], "b": [1.0]},
            ValueError,
            "must hold vectors of one length; category 'a' has 2 numbers and category 'b' has 1",
        ),
        (
            {"a": ["x"], "b": ["y"]},
            ValueError,
            r"holds lists, which must be vectors of numbers; category 'a' has \['x'\]",
        ),
        (
            {"a": [1.0], "b": [np.nan]},
            ValueError,
            "vectors of finite numbers; that of category 'b' is not",
        ),
        ({"a": object()}, ValueError, "must hold numbers, dates, texts or vectors"),
    ],
)
def test_what_breaks_a_rule_is_named(given, error, message):
    with pytest.raises(error, match=message):
        described("city", given)

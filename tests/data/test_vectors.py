"""Columns of ready-made vectors: which columns they are, how they are scaled, what is refused."""

import re

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from tabemb.data.encoding import Encoder
from tabemb.data.frames import to_arrow
from tabemb.data.schema import infer_schema, roles_of
from tabemb.data.vectors import VectorScale, read_vectors

RNG = np.random.default_rng(0)
VECTORS = RNG.normal(size=(12, 3)) * [1.0, 5.0, 0.2] + [10.0, 0.0, -3.0]


DOUBLE = pa.float64()


def fixed(values, dtype=DOUBLE):
    flat = pa.array(np.asarray(values).ravel()).cast(dtype)
    return pa.table({"v": pa.FixedSizeListArray.from_arrays(flat, len(values[0]))})


FRAMES = {
    "lists": pd.DataFrame({"v": VECTORS.tolist()}),
    "arrays": pd.DataFrame({"v": list(VECTORS)}),
    "Arrow lists": pa.table({"v": VECTORS.tolist()}),
    "fixed size": fixed(VECTORS),
    "pandas ArrowDtype": pd.DataFrame(
        {"v": pd.Series(fixed(VECTORS)["v"], dtype=pd.ArrowDtype(pa.list_(pa.float64(), 3)))}
    ),
    "polars lists": pl.DataFrame({"v": VECTORS.tolist()}),
    "polars arrays": pl.DataFrame({"v": VECTORS}, schema={"v": pl.Array(pl.Float64, 3)}),
}


@pytest.mark.parametrize("name", FRAMES)
def test_floats_of_one_length_are_vectors_whatever_carries_them(name):
    frame = to_arrow(FRAMES[name])
    schema = infer_schema(frame)
    assert (schema.roles, schema.vectors, schema.histories) == ({"v": "vector"}, ["v"], {})
    np.testing.assert_array_equal(read_vectors(frame["v"], frame.schema.field("v")), VECTORS)


@pytest.mark.parametrize(
    ("lists", "role"),
    [
        (VECTORS[:9].tolist(), "history"),  # nine lists may be of equal length by chance
        ([*VECTORS.tolist(), [1.0]], "history"),
        ([[float(i)] for i in range(20)], "history"),  # vectors of one number have no direction
        ([[1, 2, 3]] * 20, "history"),  # whole numbers may be codes
        ([["a", "b"]] * 20, "history"),
        ([[[1.0], [2.0]]] * 20, "history"),
        ([*VECTORS.tolist(), None], "vector"),
    ],
)
def test_lists_that_may_be_something_else_are_histories(lists, role):
    assert roles_of(to_arrow(pd.DataFrame({"v": lists}))) == {"v": role}


def test_a_fixed_size_is_certain_and_a_role_decides():
    assert roles_of(fixed([[1.0, 2.0]])) == {"v": "vector"}
    assert roles_of(fixed([[1, 2]] * 20, pa.int64())) == {"v": "history"}
    whole = infer_schema(fixed([[1, 2]] * 20, pa.uint8()), {0: "vector"})
    assert whole.vectors == ["v"]
    bag = infer_schema(fixed(VECTORS), {"v": "history"})
    assert (bag.vectors, list(bag.histories)) == ([], ["v"])
    assert bag.histories["v"].roles == {"v": "number"}


def test_the_scale_is_one_for_all_coordinates_and_robust():
    scale = VectorScale.fit(VECTORS, None)
    center = np.sort(VECTORS, axis=0)[5]  # the lower median of twelve
    lengths = np.sort(np.linalg.norm(VECTORS - center, axis=1))
    np.testing.assert_allclose(scale.center, center)
    np.testing.assert_allclose(scale.unit, lengths[5] / np.sqrt(3))
    scaled = scale.apply(VECTORS)
    # directions and relative distances are preserved
    np.testing.assert_allclose(np.cov(scaled.T) * scale.unit**2, np.cov(VECTORS.T), rtol=1e-4)
    wild = VECTORS.copy()
    wild[0] *= 1e9
    assert abs(VectorScale.fit(wild, None).unit - scale.unit) < scale.unit
    assert np.isfinite(VectorScale.fit(wild * 1e290, None).apply(wild)).all()
    assert np.isfinite(VectorScale.fit(VECTORS, None).apply(wild * 1e290)).all()
    turned = VectorScale.fit(np.full((5, 3), 7.0), None)  # all rows are equal
    assert (turned.apply(np.full((1, 3), 7.0)) == 0).all()


def test_a_row_of_weight_two_counts_as_two_rows_and_one_of_weight_zero_as_none():
    weights = np.r_[2.0, 2.0, 0.0, np.ones(9)]
    one = VectorScale.fit(VECTORS, weights)
    other = VectorScale.fit(VECTORS[[0, 0, 1, 1, *range(3, 12)]], None)
    np.testing.assert_array_equal(one.center, other.center)
    assert one.unit == other.unit


def test_rows_without_a_vector_are_missing():
    frame = to_arrow(pd.DataFrame({"v": [None, *list(VECTORS), np.nan]}))
    encoder = Encoder(infer_schema(frame), 4, 1).fit(frame)
    (vectors,) = encoder.transform(frame).vectors
    assert vectors.dtype == np.float32
    assert np.isnan(vectors).all(axis=1).tolist() == [True] + [False] * 12 + [True]
    for nothing in (pa.nulls(2), pa.array([None, None], pa.list_(pa.float64()))):
        assert np.isnan(encoder.transform(pa.table({"v": nothing})).vectors[0]).all()
    strays = to_arrow(pd.DataFrame({"v": ["x", VECTORS[0].tolist()]}))  # "x" is not a list: missing
    assert np.isnan(encoder.transform(strays).vectors[0]).all(axis=1).tolist() == [True, False]


def test_a_column_without_any_vector_has_no_width():
    frame = pa.table({"v": pa.nulls(3), "x": [1.0, 2.0, 3.0]})
    encoder = Encoder(infer_schema(frame, {"v": "vector"}), 4, 1).fit(frame)
    later = pa.table({"v": [[1.0, 2.0]], "x": [1.0]})
    assert encoder.transform(later).vectors[0].shape == (1, 0)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.uint8, np.int64])
def test_numbers_of_any_type(dtype):
    values = np.arange(24).reshape(12, 2).astype(dtype)
    frame = to_arrow(pd.DataFrame({"v": list(values)}))
    vectors = read_vectors(frame["v"], frame.schema.field("v"))
    assert vectors.dtype == (np.float32 if dtype in (np.float16, np.float32) else np.float64)
    np.testing.assert_array_equal(vectors, values)


def changed(row, value):
    lists = VECTORS.tolist()
    lists[row] = value
    return lists


@pytest.mark.parametrize(
    ("lists", "problem"),
    [
        (
            changed(4, [1.0, 2.0]),
            "'v' has the role 'vector', so its lists must have one length; row 0",
        ),
        (changed(4, [1.0, 2.0]), "row 4 has 2. Pass None for a row without a vector"),
        (
            changed(7, [1.0, np.inf, 2.0]),
            "vectors of finite numbers; row 7 has inf at position 1",
        ),
        (changed(7, [1.0, 2.0, None]), "row 7 has nan at position 2"),
        (["a"] * 12, "'v' has the role 'vector', so its cells must be lists of numbers; it holds"),
        ([["a", "b"]] * 12, "so its cells must be lists of numbers; it holds lists of string."),
        (changed(7, "none"), "Column 'v' holds 'none' in row 7 among lists"),
        ([[]] * 12, "must have one length; row 0 has 0 numbers and row 0 has 0"),
    ],
)
def test_what_fit_refuses(lists, problem):
    frame = to_arrow(pd.DataFrame({"v": lists}))
    with pytest.raises(ValueError, match=re.escape(problem)):
        Encoder(infer_schema(frame, {"v": "vector"}), 4, 1).fit(frame)


def test_another_width_is_refused():
    frame = fixed(VECTORS)
    encoder = Encoder(infer_schema(frame), 4, 1).fit(frame)
    with pytest.raises(ValueError, match="must hold vectors of 3 numbers, as fit had them; row 1 has 2"):
        encoder.transform(to_arrow(pd.DataFrame({"v": [[1.0, 2.0, 3.0], [1.0, 2.0]]})))
    with pytest.raises(ValueError, match="X lacks column 'v'"):
        encoder.transform(pa.table({"w": [1.0]}))


def test_numbers_of_an_array_stay_numbers():
    assert set(roles_of(to_arrow(VECTORS)).values()) == {"number"}

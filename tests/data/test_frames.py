from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy import sparse

from tabemb.data.frames import feature_names, to_arrow, to_vector
from tabemb.data.keys import key_of

PLAIN = {"city": ["Bonn", None, "Rome"], "size": [1.5, 2.0, float("nan")], "open": [True, False, True]}


@pytest.mark.parametrize(
    "make", [pd.DataFrame, pl.DataFrame, pa.table], ids=["pandas", "polars", "pyarrow"]
)
def test_every_library_gives_the_same_columns(make):
    table = to_arrow(make(PLAIN))
    assert table.schema.names == ["city", "size", "open"]
    assert table["city"].to_pylist() == ["Bonn", None, "Rome"]
    assert table["open"].to_pylist() == [True, False, True]
    assert table["size"].to_pandas().isna().tolist() == [False, False, True]


def test_an_array_gets_scikit_learns_names():
    assert to_arrow(np.zeros((2, 3))).schema.names == ["x0", "x1", "x2"]
    assert feature_names(np.zeros((2, 3))) is None


def test_an_object_array_is_read_column_by_column():
    table = to_arrow(np.array([["a", 1.5], ["b", None]], dtype=object))
    assert table["x0"].to_pylist() == ["a", "b"]
    assert table["x1"].to_pylist() == [1.5, None]


def test_pandas_extension_types_are_read_by_value():
    frame = pd.DataFrame(
        {
            "period": pd.period_range("2020-01", periods=2, freq="M"),
            "nullable": pd.array([1, None], dtype="Int64"),
            "sparse": pd.arrays.SparseArray([0.0, 1.0]),
            "interval": pd.interval_range(0, 2),
        }
    )
    table = to_arrow(frame)
    assert pa.types.is_timestamp(table.schema.field("period").type)
    assert table["nullable"].to_pylist() == [1, None]
    assert table["sparse"].to_pylist() == [0.0, 1.0]
    assert table["interval"].to_pylist()[0] == "Interval(0, 1, closed='right')"


def test_values_of_several_kinds_become_keys_that_are_equal_for_equal_values():
    first = to_arrow(pd.DataFrame({"x": [1, "1", (1, 2), None]}))["x"].to_pylist()
    again = to_arrow(pd.DataFrame({"x": [np.float64(1.0), "1", (1.0, np.int8(2)), None]}))[
        "x"
    ].to_pylist()
    assert first == again == ["1", "'1'", "(1, 2)", None]
    assert key_of(frozenset("ba"), "x") == key_of(frozenset("ab"), "x")
    assert key_of(Decimal("0.1"), "x") == "Decimal('0.1')"
    assert key_of(Decimal("1.50"), "x") == key_of(1.5, "x")


def test_a_value_without_stable_text_is_an_error_that_names_the_column():
    with pytest.raises(TypeError, match=r"Column 'thing' holds a value of type object"):
        to_arrow(pd.DataFrame({"thing": [object(), 1]}))


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), ValueError, "several columns named 'a'"),
        (pa.table([[1], [2]], names=["a", "a"]), ValueError, "several columns named 'a'"),
        (pd.DataFrame({"a": []}), ValueError, r"0 sample\(s\)"),
        (pd.DataFrame(index=[0, 1]), ValueError, r"0 feature\(s\)"),
        (sparse.eye(3).tocsr(), TypeError, "[Ss]parse"),
        (np.zeros(3), ValueError, "1D array"),
        (pl.DataFrame({"a": [1]}).lazy(), TypeError, "lazy frame"),
        (pd.DataFrame([[1, 2]], columns=["a", 1]), TypeError, "all strings or all of another kind"),
    ],
)
def test_bad_input_is_one_clear_error(X, error, message):
    with pytest.raises(error, match=message):
        to_arrow(X)


@pytest.mark.parametrize("values", [[1, 2], pd.Series([1, 2]), pl.Series([1, 2]), pa.array([1, 2])])
def test_a_vector_of_any_library_is_numpy(values):
    assert to_vector(values).tolist() == [1, 2]


GONE = np.array([[True, False], [False, False], [False, True]])
MASKED = {
    "integers": np.arange(6).reshape(3, 2),
    "floats": np.arange(6.0).reshape(3, 2),
    "booleans": np.ones((3, 2), bool),
    "text": np.array([["a", "b"]] * 3),
    "objects": np.array([["a", 1.5]] * 3, dtype=object),
    "times": np.zeros((3, 2), "M8[s]"),
}


@pytest.mark.parametrize("name", MASKED)
def test_masked_cells_of_an_array_are_missing(name):
    values = MASKED[name]
    table, whole = to_arrow(np.ma.array(values, mask=GONE)), to_arrow(values)
    for i, column in enumerate(["x0", "x1"]):
        assert table[column].is_null().to_pylist() == GONE[:, i].tolist()
        assert table[column].type == whole[column].type
        assert table[column].drop_null().equals(whole[column].filter(pa.array(~GONE[:, i])))


def test_masked_cells_inside_lists_and_columns_are_missing():
    gone = np.ma.masked
    assert to_arrow([[1, gone], [2, 3]]).to_pydict() == {"x0": [1, 2], "x1": [None, 3]}
    rows = [np.ma.array([1, 9], mask=[0, 1]), np.ma.array([2, 3])]
    assert to_arrow(rows).to_pydict() == {"x0": [1, 2], "x1": [None, 3]}
    lists = [np.ma.array([1, 9], mask=[0, 1]), [gone, 2], [3]]
    frame = pd.DataFrame({"x": pd.Series([1, gone, 3], dtype=object), "list": lists})
    assert to_arrow(frame).to_pydict() == {"x": [1, None, 3], "list": [[1, None], [None, 2], [3]]}

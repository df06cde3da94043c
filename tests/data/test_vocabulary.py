import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabemb.data.frames import to_arrow
from tabemb.data.hashing import Limit
from tabemb.data.vocabulary import MISSING, UNKNOWN, Vocabulary


def column(values, **kwargs):
    table = to_arrow(pd.DataFrame({"x": pd.Series(values, **kwargs)}))
    return table["x"], table.schema.field("x")


def fit(values, weights=None, min_count=1, **kwargs):
    return Vocabulary.from_columns({"x": column(values, **kwargs)}, weights, Limit(min_count))


def test_codes_follow_sorted_categories_after_unknown_and_missing():
    vocabulary = fit(["b", None, "a", "b"])
    assert vocabulary.labels().tolist() == ["a", "b"]
    assert vocabulary.codes(*column(["a", "b", None, "new"])).tolist() == [2, 3, MISSING, UNKNOWN]
    assert vocabulary.counts.tolist() == [0, 1, 1, 2]


@given(st.lists(st.one_of(st.none(), st.text(max_size=3)), min_size=1))
def test_every_fitted_value_gets_a_code_that_gives_it_back(values):
    vocabulary = fit(values, dtype=object)
    codes = vocabulary.codes(*column(values, dtype=object))
    labels = ["<unknown>", None, *vocabulary.labels()]
    assert [labels[code] for code in codes] == values
    assert vocabulary.counts.sum() == len(values)


def test_rare_categories_are_read_as_unknown_and_counted_there():
    vocabulary = fit(["a", "a", "b"], min_count=2)
    assert vocabulary.labels().tolist() == ["a"]
    assert vocabulary.counts.tolist() == [1, 0, 2]


def test_weights_count_as_repeated_rows():
    weighted = fit(["a", "b", "a"], np.array([2.0, 3.0, 1.0]))
    repeated = fit(["a", "a", "b", "b", "b", "a"])
    assert weighted.counts.tolist() == repeated.counts.tolist()


def test_a_pandas_category_is_matched_by_value_whatever_its_levels():
    vocabulary = fit(pd.Categorical(["u", "v", "u"], categories=["u", "v"]))
    turned = pd.Categorical(["v", "u", "w"], categories=["w", "v", "u"])
    assert vocabulary.codes(*column(turned)).tolist() == [3, 2, UNKNOWN]


def test_a_polars_category_matches_pandas_text():
    table = to_arrow(pl.DataFrame({"x": pl.Series(["v", "zz", None], dtype=pl.Categorical)}))
    assert fit(["u", "v"]).codes(table["x"], table.schema.field("x")).tolist() == [3, UNKNOWN, MISSING]


def test_ids_above_two_to_the_24_and_53_stay_apart():
    ids = [2**24, 2**24 + 1, 2**53, 2**53 + 1]
    vocabulary = fit(ids)
    assert vocabulary.codes(*column(ids)).tolist() == [2, 3, 4, 5]


def test_unsigned_hashes_stay_apart():
    ids = [2**64 - 1, 2**64 - 2, 5]
    vocabulary = fit(ids, dtype="uint64")
    assert sorted(vocabulary.codes(*column(ids, dtype="uint64"))) == [2, 3, 4]


def test_ids_that_met_a_missing_value_in_pandas_are_the_same_ids():
    vocabulary = fit([5, 7])
    assert vocabulary.codes(*column([7.0, np.nan, 5.5])).tolist() == [3, MISSING, UNKNOWN]
    assert fit([5.0, np.nan, 7.0]).codes(*column([5, 7])).tolist() == [2, 3]


def test_booleans_times_and_fractions_are_categories_too():
    assert fit([True, False]).codes(*column([False, True])).tolist() == [2, 3]
    times = pd.to_datetime(["2020-01-01", "2021-01-01"])
    assert fit(times).codes(*column(times[::-1])).tolist() == [3, 2]
    assert fit([0.5, 1.5]).codes(*column([1.5, 2.5])).tolist() == [3, UNKNOWN]


TIMES = pd.to_datetime(["2020-01-01", None, "2021-01-01 12:00:00.000001"], format="ISO8601")


@pytest.mark.parametrize(
    ("fitted", "read"),
    [
        (["a", "b"], ["b", None, "new", ""]),
        ([5, 7], [7, 5, 6, 2**62]),
        ([5, 7], [7.0, np.nan, 5.5, 1e300]),
        ([0.5, 1.5], [1.5, np.nan, 2.0]),
        ([2**64 - 1, 5], [5, 2**64 - 1, 2**64 - 2]),
        ([True], [True, False]),
        ([1, 0], [True, False]),
        (TIMES, TIMES),
        (TIMES.tz_localize("Europe/Berlin"), TIMES.tz_localize("UTC")),
        ([b"a", b"b"], [b"b", b"c", None]),
        ([(1, 2), "a"], [(1, 2), (2, 1), "a", None]),
    ],
)
def test_a_value_alone_has_the_code_that_it_has_among_others(fitted, read):
    vocabulary, read = fit(fitted), pd.Series(read)
    alone = [vocabulary.codes(*column(read[[i]])).item() for i in range(len(read))]
    assert alone == vocabulary.codes(*column(read)).tolist()


def test_an_all_missing_column_gives_missing_and_reads_anything_as_unknown():
    vocabulary = fit([None, None], dtype=object)
    assert vocabulary.codes(*column([None, "a"], dtype=object)).tolist() == [MISSING, UNKNOWN]


def test_another_kind_of_value_is_an_error_not_a_column_of_unknowns():
    with pytest.raises(
        ValueError, match="Column 'x' held integer values when it was fitted and holds text"
    ):
        fit([1, 2]).codes(*column(["1", "2"]))


def test_a_table_shared_by_columns_of_different_kinds_is_an_error():
    frame = to_arrow(pd.DataFrame({"a": ["x"], "b": [1]}))
    columns = {name: (frame[name], frame.schema.field(name)) for name in ("a", "b")}
    with pytest.raises(ValueError, match="'a' holds text, 'b' holds integer"):
        Vocabulary.from_columns(columns)


def test_chunks_with_different_dictionaries_are_unified():
    chunked = pa.chunked_array(
        [pa.array(["a", "b"]).dictionary_encode(), pa.array(["c", "a"]).dictionary_encode()]
    )
    vocabulary = Vocabulary.from_columns({"x": (chunked, pa.field("x", chunked.type))})
    assert vocabulary.codes(chunked, pa.field("x", chunked.type)).tolist() == [2, 3, 4, 2]


def test_an_integer_that_no_float_holds_matches_no_category_of_floats():
    floats = pa.table({"x": pa.array([2.0**53, 2.0**63, 0.5])})
    vocabulary = Vocabulary.from_columns({"x": (floats["x"], floats.schema.field("x"))}, {"x": None})
    whole = pa.table({"x": pa.array([2**53, 2**53 + 1, 2**63 - 1], pa.int64())})
    codes = vocabulary.codes(whole["x"], whole.schema.field("x"))
    assert [code != UNKNOWN for code in codes] == [True, False, False]

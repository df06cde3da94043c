"""Tables of bounded size: which categories they keep, and the hash that assigns the others to rows."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabemb.data.frames import to_arrow
from tabemb.data.hashing import Limit, buckets, hashes_of
from tabemb.data.vocabulary import MISSING, UNKNOWN, Vocabulary

M = 2**64


def column(values, dtype=None):
    table = to_arrow(pd.DataFrame({"x": pd.Series(values, dtype=dtype)}))
    return table["x"], table.schema.field("x")


def fit(values, limit, dtype=None, weights=None):
    return Vocabulary.from_columns({"x": column(values, dtype)}, weights, limit)


def mixed(x):
    x = (x + 0x9E3779B97F4A7C15) % M
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % M
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % M
    return x ^ (x >> 31)


def hash_of_text(text):
    total, power = 0, 1
    for byte in text.encode():
        power = power * 0x100000001B3 % M
        total += (byte + 1) * power
    return mixed(total % M)


@given(st.lists(st.text(), max_size=30), st.integers(0, 5))
def test_the_hash_of_text_is_the_formula_in_python(texts, start):
    hashes = hashes_of(pa.array(texts, pa.large_string()).slice(start))
    assert hashes.tolist() == [hash_of_text(text) for text in texts[start:]]


def test_the_hash_of_numbers_is_that_of_their_bits():
    numbers = [0, 1, -1, 2**62]
    assert hashes_of(pa.array(numbers)).tolist() == [mixed(n % M) for n in numbers]
    bits = np.array([1.5, 0.0]).view(np.uint64).tolist()
    assert hashes_of(pa.array([1.5, 0.0])).tolist() == [mixed(b) for b in bits]


def test_the_hash_never_changes():
    """Saved models depend on these numbers."""
    assert hashes_of(pa.array(["Bonn", "", "Köln"], pa.large_string())).tolist() == [
        8751350348906843664,
        16294208416658607535,
        12384605514201432412,
    ]
    assert hashes_of(pa.array([3])).tolist() == [2092789425003139053]


def test_equal_numbers_fall_into_one_row_whatever_their_type():
    codes = {}
    for name, values, dtype in [
        ("integers", [50, 51, 52], None),
        ("floats", [50.0, 51.0, 52.0], None),
        ("floats with one missing", [50.0, None, 52.0], None),
        ("small", [50, 51, 52], "int8"),
        ("objects", [50, 51.0, Decimal(52)], object),
        ("many", [50, 51, 52, *range(100, 140)], None),
        ("many floats", [50.0, 51.0, 52.0, *(np.arange(100, 140) + 0.5)], None),
    ]:
        vocabulary = fit([1, 1, 2, 2, *range(3, 40)], Limit(1, 2, 7))
        codes[name] = vocabulary.codes(*column(values, dtype))[[0, 2]].tolist()
    assert len(set(map(tuple, codes.values()))) == 1, codes
    assert all(code >= 4 for code in codes["integers"])


def test_a_value_that_can_be_no_category_is_unknown():
    vocabulary = fit([1, 1, 2, 3, 4], Limit(1, 1, 3))
    codes = vocabulary.codes(*column([1.0, 1.5, np.inf, None, 1e300, 9.0]))
    assert codes[:5].tolist() == [2, UNKNOWN, UNKNOWN, MISSING, UNKNOWN]
    assert codes[5] >= 3
    mixed = vocabulary.codes(*column(["x", 1, 9], object))
    assert mixed.tolist() == [UNKNOWN, 2, codes[5]]


def test_the_most_frequent_stay_and_ties_go_by_order():
    values = ["d"] * 3 + ["c"] * 2 + ["b"] * 2 + ["a"] * 2 + ["e", None]
    vocabulary = fit(values, Limit(max_size=3))
    assert vocabulary.labels().tolist() == ["a", "b", "d"]
    assert vocabulary.counts.tolist() == [3, 1, 2, 2, 3]
    assert vocabulary.codes(*column(["c", "new", "d"])).tolist() == [UNKNOWN, UNKNOWN, 4]
    assert fit(values, Limit(min_count=3, max_size=3)).labels().tolist() == ["d"]


@given(st.lists(st.sampled_from("abcdefghijkl"), min_size=1, max_size=60), st.integers(1, 6))
def test_counts_of_hashed_rows_are_sums(values, n_hashed):
    vocabulary = fit(values, Limit(1, 4, n_hashed))
    counts = Counter(values)
    kept = sorted(sorted(counts), key=lambda v: -counts[v])[:4]
    assert vocabulary.labels().tolist() == sorted(kept)
    expected = np.zeros(len(vocabulary))
    codes = vocabulary.codes(*column(values))
    np.add.at(expected, codes, 1)
    assert vocabulary.counts.tolist() == expected.tolist()
    for value in set(counts) - set(kept):
        row = hash_of_text(value) % n_hashed
        assert vocabulary.codes(*column([value])).tolist() == [2 + len(kept) + row]
    assert vocabulary.n_hashed == (n_hashed if len(counts) > 4 else 0)


def test_one_cell_and_many_get_the_same_codes():
    values = [f"v{i}" for i in range(300)]
    vocabulary = fit(values, Limit(1, 10, 16))
    many = vocabulary.codes(*column(values))
    assert many.tolist() == [vocabulary.codes(*column([v]))[0] for v in values]
    assert len(np.unique(many)) > 20  # 10 kept categories and most of the 16 rows


def test_the_number_of_hashed_rows_follows_the_categories_that_share_them():
    assert [Limit(1, 1000, None).hashed_rows(n) for n in (0, 1, 19, 250, 5000)] == [0, 1, 1, 25, 100]
    assert [Limit(1, 1000, 7).hashed_rows(n) for n in (0, 1, 5000)] == [0, 7, 7]
    assert Limit(1, 1000).hashed_rows(50) == 0
    vocabulary = fit([f"v{i}" for i in range(300)], Limit(1, 100, None))
    assert vocabulary.n_hashed == 10
    assert len(vocabulary.counts) == 112


def test_growth_keeps_the_codes_and_adds_to_the_hashed_rows():
    vocabulary = fit(["a", "a", "b", "c", "d"], Limit(1, 2, 2))
    limit = Limit(1, 2, 2)
    later = vocabulary.grown({"x": column(["c"] * 9 + ["new"] * 9)}, None, limit)
    assert later.labels().tolist() == ["a", "b"]
    assert later.counts[:4].tolist() == vocabulary.counts[:4].tolist()
    rows = 4 + np.array([hash_of_text("c") % 2, hash_of_text("new") % 2])
    expected = vocabulary.counts.copy()
    np.add.at(expected, rows, 9)
    assert later.counts.tolist() == expected.tolist()


def test_a_table_with_room_grows_until_it_is_full():
    limit = Limit(1, 3, 2)
    vocabulary = fit(["b", "b"], limit)
    assert vocabulary.n_hashed == 0
    assert vocabulary.codes(*column(["new"])).tolist() == [UNKNOWN]
    later = vocabulary.grown({"x": column(["a", "z", "z", "q", "b"])}, None, limit)
    assert later.labels().tolist() == ["b", "a", "z"] or later.labels().tolist() == ["b", "q", "z"]
    assert later.labels().tolist() == ["b", "a", "z"]  # ties are broken by order
    assert later.counts[[2, 3, 4]].tolist() == [3, 1, 2]
    assert later.n_hashed == 2
    assert later.counts[5:].sum() == 1


def test_codes_of_another_vocabulary():
    outer = fit(["a", "a", "b", "b", "c", "d"], Limit(1, 2, 3))
    inner = fit(["a", "a", "c", "c", "b", "d"], Limit(1, 2, 3))
    codes = inner.codes_of(outer)
    assert codes[:3].tolist() == [0, 1, 2]
    assert codes[3] == 4 + hash_of_text("b") % 3
    assert codes[4:].tolist() == [4, 5, 6]
    none = fit(["a", "b"], Limit(1, 2, 3))
    assert none.codes_of(outer)[4:].tolist() == [UNKNOWN] * 3


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([f"v{i}" for i in range(50)], None),
        (pd.date_range("2024", periods=50), None),
        ([b"%d" % i for i in range(50)], object),
        ([(i, "x") for i in range(50)], object),
        (np.arange(50) + 0.5, None),
    ],
)
def test_every_kind_of_category_can_be_hashed(values, dtype):
    vocabulary = fit(values, Limit(1, 5, 4), dtype)
    codes = vocabulary.codes(*column(values, dtype))
    assert sorted(set(codes.tolist())) == list(range(2, 11))
    assert vocabulary.codes(*column(list(values)[30:31], dtype)).tolist() == [codes[30]]
    strays = column([*list(values)[30:31], "stray" if dtype is None else 1.25], object)
    assert vocabulary.codes(*strays)[0] == codes[30]


def test_rows_follow_from_the_formula_so_that_every_process_has_the_same():
    texts = ["Bonn", "Rome"]
    rows = buckets(pa.array(texts, pa.large_string()), 1000, pa.large_string())
    assert rows.tolist() == [hash_of_text(text) % 1000 for text in texts]

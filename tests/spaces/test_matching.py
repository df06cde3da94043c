import numpy as np
import pandas as pd
import pytest

from tabemb import EmbeddingRegressor, Table
from tabemb.spaces import EmbeddingSpace

WORDS = EmbeddingSpace(
    np.arange(10).reshape(5, 2), ["Oslo", "oslo", "new_york", "7", "x"], counts=[1, 9, 1, 1, 1]
)


def test_how_each_category_was_found():
    found = WORDS.match(["OSLO", "Oslo", "New  York ", 7, "rome"], counts=[1, 2, 3, 4, 10])
    assert list(found.table.index) == [
        "rome",
        7,
        "New  York ",
        "Oslo",
        "OSLO",
    ]  # the most frequent first
    assert list(found.table["how"].fillna("none")) == [
        "none",
        "as text",
        "casefolded",
        "exact",
        "casefolded",
    ]
    assert list(found.table["found"].fillna("none")) == ["none", "7", "new_york", "Oslo", "oslo"]
    assert (found.share, found.share_of_rows) == (0.8, 0.5)
    np.testing.assert_array_equal(
        found.space["OSLO"], WORDS["oslo"]
    )  # of two with the same text, the more frequent one
    np.testing.assert_array_equal(found.space["Oslo"], WORDS["Oslo"])
    np.testing.assert_array_equal(found.space.counts, [4, 3, 2, 1])


def test_the_report_reads_well():
    found = WORDS.match(["x", *(f"lacking {i}" for i in range(8))])
    assert str(found).splitlines() == [
        "1 of 9 categories have a vector (11.1%; 11.1% of rows)",
        "found: 1 exact",
        "not found: 'lacking 0', 'lacking 1', 'lacking 2', 'lacking 3', 'lacking 4' and 3 more",
    ]
    assert str(WORDS.match(["x"])).splitlines() == [
        "1 of 1 categories have a vector (100.0%; 100.0% of rows)",
        "found: 1 exact",
    ]


def test_a_column_counts_its_rows():
    found = WORDS.match(pd.Series(["x", None, "x", "oslo", None, None]))
    assert list(found.table["count"]) == [3, 2, 1]
    assert found.share_of_rows == 0.5
    tuples = EmbeddingSpace(np.eye(2), [("a", 1), None])
    found = tuples.match([("a", 1), ("b", 2), ("a", 1), float("nan")])
    assert found.share == pytest.approx(2 / 3)
    np.testing.assert_array_equal(found.space[("a", 1)], [1, 0])
    np.testing.assert_array_equal(found.space[None], [0, 1])
    assert (
        EmbeddingSpace(np.eye(2), ["nan", "x"]).match([None, "x"]).share == 0.5
    )  # missing is not the text "nan"


def test_no_match_at_all_and_counts_that_do_not_fit():
    with pytest.raises(
        ValueError, match=r"at least one that has a vector in EmbeddingSpace.*; none of the 2 has one"
    ):
        WORDS.match(["rome", "cairo"])
    with pytest.raises(ValueError, match=r"counts must have shape \(1,\)"):
        WORDS.match(["oslo"], counts=[1, 2])


def test_a_model_starts_from_what_matches(small):
    rows = pd.DataFrame({"city": ["OSLO", "New York", "rome"] * 20})
    found = WORDS.match(rows["city"])
    table = Table(columns=["city"], pretrained=found.space, frozen=True)
    model = EmbeddingRegressor(tables={"city": table}, **small).fit(rows, np.arange(60.0))
    np.testing.assert_array_equal(model.spaces_.raw["city"]["New York"][:2], WORDS["new_york"])


def test_a_match_keeps_the_reliability_of_its_vectors():
    space = EmbeddingSpace(np.eye(3), ["oslo", "rome", "bonn"], reliability=[0.1, 0.5, 0.9])
    found = space.match(["bonn", "Oslo", "bonn"]).space
    assert list(found) == ["bonn", "Oslo"]
    np.testing.assert_array_equal(found.reliability, [0.9, 0.1])

"""The tokeniser of texts: what a word is, for texts of any type."""

import re
import unicodedata

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tabemb.data.encoding import Encoder
from tabemb.data.frames import to_arrow
from tabemb.data.schema import infer_schema
from tabemb.data.text import with_words, words_of

WORDS = {
    "It doesn't work, but it's 'GOOD'.": ["it", "doesn't", "work", "but", "it's", "good"],
    "rock 'n' roll: the dogs' ''best'' a''b": ["rock", "n", "roll", "the", "dogs", "best", "a", "b"],
    "L\u2019été à l'École": ["l'été", "à", "l'école"],
    "e\u0301cole ÉCOLE": ["école", "école"],  # É as one character or with a combining accent
    "snake_case co-writer 3.5 x2": ["snake", "case", "co", "writer", "3", "5", "x2"],
    "日本 Ωmega\tнет\n": ["日本", "ωmega", "нет"],
    " ' '' … !": [],
    "": [],
}


@pytest.mark.parametrize("text", WORDS)
def test_words(text):
    assert words_of(pa.chunked_array([[text, None]])).to_pylist() == [WORDS[text], None]


def test_words_are_those_of_a_regular_expression():
    rng = np.random.default_rng(0)
    signs = np.array([*"abcXYZ019éßÄœ.,-_!'''   \u2019\u2018\t\n", "ﬁ", "Ⅳ", "日", "𝒳"])
    texts = ["".join(rng.choice(signs, rng.integers(0, 40))) for _ in range(2000)]
    plain = [re.sub("[\u2018\u2019]", "'", unicodedata.normalize("NFKC", t).lower()) for t in texts]
    expected = [re.findall(r"[^\W_]+(?:'[^\W_]+)*", text) for text in plain]
    assert words_of(pa.chunked_array([texts[:7], texts[7:], []])).to_pylist() == expected


@pytest.mark.parametrize(
    "dtype", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
)
def test_any_type_of_text_is_read(dtype):
    column = pa.array(["A b", None, "c"], pa.string())
    column = column.dictionary_encode() if pa.types.is_dictionary(dtype) else column.cast(dtype)
    assert with_words(pa.table({"t": column}), ["t"])["t"].to_pylist() == [["a", "b"], None, ["c"]]


def history_of(encoder, texts):
    return encoder.transform(to_arrow(pd.DataFrame({"t": pd.Series(texts, dtype=object)}))).histories[0]


def test_words_are_a_history_with_a_vocabulary_that_lower_case_and_order_do_not_change():
    frame = to_arrow(pd.DataFrame({"t": ["Good film", "a dull, DULL film", None]}))
    schema = infer_schema(frame, {"t": "text"})
    assert (schema.roles, schema.texts) == ({"t": "text"}, ["t"])
    encoder = Encoder(schema, 4, 1).fit(frame)
    assert encoder.vocabularies_["t"].labels().tolist() == ["a", "dull", "film", "good"]
    assert encoder.vocabularies_["t"].counts[2:].tolist() == [1, 2, 2, 1]
    new = history_of(encoder, ["FILM; good?", None, "new film", 7.5])  # 7.5 is not a text: missing
    assert new.offsets.tolist() == [0, 2, 2, 4, 4]
    assert new.codes.ravel().tolist() == [4, 5, 0, 4]
    assert history_of(encoder, [None]).offsets.tolist() == [0, 0]


def test_a_column_without_any_text_is_empty():
    frame = to_arrow(pd.DataFrame({"t": [None, None], "x": [1.0, 2.0]}))
    encoder = Encoder(infer_schema(frame, {"t": "text"}), 4, 1).fit(frame)
    later = to_arrow(pd.DataFrame({"t": ["a b", None], "x": [1.0, 2.0]}))
    history = encoder.transform(later).histories[0]
    assert history.offsets.tolist() == [0, 2, 2]
    assert history.codes.ravel().tolist() == [0, 0]


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ([1, 2], "Column 't' has the role 'text', so it must hold text; got int64."),
        ([["a"], ["b"]], "so it must hold text; got large_list<item: string>."),
        (["a", 2.5], "Column 't' holds 2.5 in row 1 among text"),
    ],
)
def test_other_values_are_no_text(values, problem):
    frame = to_arrow(pd.DataFrame({"t": values}))
    with pytest.raises(ValueError, match=re.escape(problem)):
        infer_schema(frame, {"t": "text"})


def test_fields_of_events_are_no_texts_and_no_vectors():
    frame = to_arrow(pd.DataFrame({"log": [[{"note": "a b"}], []]}))
    for role in ("text", "vector"):
        with pytest.raises(ValueError, match=f"Field 'log.note' must not have the role '{role}'"):
            infer_schema(frame, {"log.note": role})

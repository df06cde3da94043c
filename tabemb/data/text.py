"""Texts as bags of words: the tokeniser, and the conversion of text columns to lists of words."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from tabemb.data.values import is_keys, python_values

_APOSTROPHES = "[\u2018\u2019\u02bc]"
_SEPARATORS = (r"[^\p{L}\p{M}\p{N}']+|'{2,}", r"(^| )'", r"'( |$)")
"""Separators of words: all but letters, marks, digits, and apostrophes inside words."""


def words_of(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the words of texts as lists; a missing text becomes a missing list.

    A word is a run of letters and digits in lower case, with single apostrophes inside ("doesn't"); all
    other characters separate words. Text is normalised to Unicode's form NFKC, so that equal letters are
    one letter. There is no stemming and no list of stop words.

    Parameters
    ----------
    texts : pyarrow.ChunkedArray of strings

    Returns
    -------
    pyarrow.ChunkedArray of lists of strings

    Examples
    --------
    >>> words_of(pa.chunked_array([["It doesn't work, but it's 'GOOD'.", None, "?"]])).to_pylist()
    [['it', "doesn't", 'work', 'but', "it's", 'good'], None, []]
    """
    texts = pc.utf8_lower(pc.utf8_normalize(texts.cast(pa.large_string()), "NFKC"))
    texts = pc.replace_substring_regex(texts, _APOSTROPHES, "'")
    for pattern in _SEPARATORS:
        texts = pc.replace_substring_regex(texts, pattern, " ")
    texts = pc.utf8_trim_whitespace(texts)
    words = pc.utf8_split_whitespace(texts)
    return pc.if_else(pc.equal(texts, ""), pa.scalar([], words.type), words)


def with_words(frame: pa.Table, names: Iterable[str]) -> pa.Table:
    """Replace these columns of text in the frame with lists of words.

    Raises
    ------
    ValueError
        A column has values but no text.
    """
    for name in names:
        i = frame.schema.get_field_index(name)
        if not pa.types.is_null(frame.schema.types[i]):
            words = words_of(_texts(frame[name], frame.schema.field(i)))
            frame = frame.set_column(i, pa.field(name, words.type), words)
    return frame


def is_text(dtype: pa.DataType) -> bool:
    """Return whether values of this type are text."""
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(is_kind(dtype) for is_kind in kinds)


def _texts(column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
    """Return a column of text; values that are not text become missing."""
    if is_keys(field):
        values = python_values(column, field)
        texts = [value if isinstance(value, str) else None for value in values]
        column = pa.chunked_array([pa.array(texts, pa.large_string())])
        is_readable = column.null_count < len(column)
    else:
        dtype = column.type
        is_readable = is_text(dtype.value_type if pa.types.is_dictionary(dtype) else dtype)
    if not is_readable:
        given = "other values" if is_keys(field) else field.type
        raise ValueError(
            f"Column {field.name!r} has the role 'text', so it must hold text; got {given}."
        )
    return column

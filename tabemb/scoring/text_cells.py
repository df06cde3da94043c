"""Conversion of cells of CSV files to the values that a model reads, by the kind of each column."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from tabemb.data.encoding import Encoder
from tabemb.data.number_text import MISSING_MARKS
from tabemb.data.schema import Feature
from tabemb.data.vocabulary import Vocabulary

Read = Callable[[pa.ChunkedArray], pa.ChunkedArray]
MARKS = (*sorted(MISSING_MARKS), "<NA>")
"""Texts that stand for a missing value among numbers and times."""
WORDS = tuple(mark for mark in MARKS if any(map(str.isalpha, mark)))
"""The marks that also do so in a column of text, unless they are categories: not "?" or "-"."""
_TRUTH = pa.array(["true", "false", "1", "0"]), pa.array([True, False, True, False])


class TextCells:
    """Converts the columns of a text file for a model.

    Numbers, times and categories get the types that the model was fitted on. Empty cells and marks such
    as NA are missing, unless the mark is a category. All other columns stay text.

    Parameters
    ----------
    encoder : Encoder
    file : str
        Name of the file in errors.
    """

    def __init__(self, encoder: Encoder, file: str) -> None:
        self.encoder, self.file = encoder, file
        self.readers = self._readers()

    def __call__(self, table: pa.Table) -> pa.Table:
        """Return a table in which the columns that the model reads have its types.

        Raises
        ------
        ValueError
            A cell is not a value of the kind that its column has.
        """
        for i, name in enumerate(table.schema.names):
            if name in self.readers:
                table = table.set_column(i, name, self._converted(table[name], name))
        return table

    def _converted(self, cells: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
        kind, read = self.readers[name]
        try:
            return read(cells)
        except pa.ArrowException as error:
            bad = next(cell for cell in cells if _fails(read, cell))
            raise ValueError(
                f"Column {name!r} of {self.file!r} must hold {kind} values, as in fit; "
                f"found {bad.as_py()!r:.60}, so correct the cell or leave it empty."
            ) from error

    def _readers(self) -> dict[str, tuple[str, Read]]:
        rows = self.encoder.inputs_[0]
        zones = rows.zones or {}
        readers: dict[str, tuple[str, Read]] = {}
        for name, role in self.encoder.schema.roles.items():
            if role == "number":
                readers[name] = "number", _numbers
            elif role == "datetime":
                readers[name] = "time", _times(bool(zones.get(name)))
            elif role in ("history", "vector"):
                raise ValueError(
                    f"{self.file!r} cannot hold column {name!r}, which is a {role}, as text; pass a "
                    "Parquet file."
                )
        features = [f for f in rows.schema.categorical if f.part is None]
        for feature, vocabulary in zip(features, self._vocabularies(features)):
            readers[feature.column] = vocabulary.kind, self._of_kind(feature.column, vocabulary)
        return readers

    def _vocabularies(self, features: list[Feature]) -> list[Vocabulary]:
        return [self.encoder.vocabularies_[name] for name in self.encoder.schema.tables_of(features)]

    def _of_kind(self, name: str, vocabulary: Vocabulary) -> Read:
        if vocabulary.kind == "text":
            return _text(vocabulary)
        if vocabulary.kind == "time":
            return _times("zone" in vocabulary.given)
        if vocabulary.kind in _PLAIN:
            return _PLAIN[vocabulary.kind]
        raise ValueError(
            f"{self.file!r} cannot hold column {name!r}, whose categories are {vocabulary.kind} "
            "values, as text; pass a Parquet file."
        )


def _fails(read: Read, cell: pa.Scalar) -> bool:
    try:
        read(pa.chunked_array([pa.array([cell.as_py()], pa.string())]))
    except pa.ArrowException:
        return True
    return False


def _text(vocabulary: Vocabulary) -> Read:
    words = pa.array(WORDS, pa.large_string())
    marks = words.filter(pc.invert(pc.is_in(words, vocabulary.categories))).cast(pa.string())
    return lambda cells: _without(cells, marks)


def _without(cells: pa.ChunkedArray, marks: pa.Array) -> pa.ChunkedArray:
    return pc.if_else(pc.is_in(cells, marks), pa.scalar(None, cells.type), cells)


def _bare(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    return _without(pc.utf8_trim_whitespace(cells), pa.array(MARKS))


def _numbers(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    return _bare(cells).cast(pa.float64())


def _integers(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    bare = _bare(cells)
    try:
        return bare.cast(pa.int64())
    except pa.ArrowException:  # 3.0, as pandas writes ids if one is missing
        return bare.cast(pa.float64())


def _truth(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    words, values = _TRUTH
    lower = pc.utf8_lower(_bare(cells))
    places = pc.index_in(lower, words)
    if places.null_count > lower.null_count:
        raise pa.ArrowInvalid("a cell is neither true nor false.")
    return values.take(places)


def _times(has_zone: bool) -> Read:
    dtype = pa.timestamp("us", "UTC") if has_zone else pa.timestamp("us")
    return lambda cells: _bare(cells).cast(dtype)


_PLAIN: dict[str, Read] = {
    "integer": _integers,
    "float": _numbers,
    "boolean": _truth,
    "nothing": lambda cells: cells,
}
"""How to convert cells to values of a kind, for kinds whose categories do not matter."""

"""Text files such as CSV: their encoding and separator, inferred from the whole file."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from tabemb.compare.row_names import LINES, NOTES, Lines
from tabemb.compare.text_columns import TextColumn, read_columns
from tabemb.data.notes import InputNote
from tabemb.data.number_text import formats_of

SEPARATORS = (",", ";", "\t", "|")
_MARKS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
_NAMES = {"\t": "tab", " ": "space", "tab": "\t", "space": " ", "\\t": "\t"}
_CHUNK = 4096


@dataclass(frozen=True)
class TextOptions:
    """Options for reading a text file; None means inferred from the whole file.

    Parameters
    ----------
    sep : str, optional
        The separator of the fields: one character, "tab" or "space".
    decimal, thousands : str, optional
        The separators in numbers, such as "," and "." in 1.234,5.
    encoding : str, optional
        UTF-8, UTF-16 or UTF-32 are recognised; any other file is read as cp1252, with a note.
    missing : str or sequence of str, optional
        Texts that stand for missing values, in addition to the empty field.
    header : bool, optional
        Whether the first line contains the names; False names the columns x0, x1, ...
    comment : str, optional
        Lines that begin with this text are skipped.
    quote : str
        The quote character around fields that contain separators or line ends; empty for none.
    """

    sep: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    encoding: str | None = None
    missing: Sequence[str] | str | None = None
    header: bool | None = None
    comment: str | None = None
    quote: str = '"'

    def __post_init__(self) -> None:
        """Refuse invalid options."""
        object.__setattr__(self, "sep", _NAMES.get(self.sep or "", self.sep))
        if isinstance(self.missing, str):
            object.__setattr__(self, "missing", [self.missing])
        if self.decimal not in (None, ".", ","):
            raise ValueError(f"decimal must be '.' or ','; got {self.decimal!r}.")
        if self.sep is not None and len(self.sep) != 1:
            raise ValueError(f"sep must be one character, 'tab' or 'space'; got {self.sep!r}.")
        if len(self.quote) > 1:
            raise ValueError(f"quote must be one character, or empty for none; got {self.quote!r}.")
        if self.thousands not in (None, "", ".", ",", " ", "'") or (
            self.thousands and self.thousands == self.decimal
        ):
            raise ValueError(
                "thousands must be '.', ',', ' ', \"'\" or empty, and not the decimal mark; "
                f"got {self.thousands!r}."
            )
        if self.header not in (None, True, False):
            raise ValueError(f"header must be true, false or null; got {self.header!r}.")

    @property
    def given(self) -> list[str]:
        """The names of the options that differ from their defaults."""
        return [one.name for one in fields(self) if getattr(self, one.name) != one.default]


@dataclass
class _Shape:
    """The shape of a file's records under one separator."""

    sep: str
    names: list[str]
    n_fit: int = 0
    fault: str = ""
    """The first line that does not fit, as the end of a sentence."""


def read_text_file(path: Path, options: TextOptions | None = None) -> pd.DataFrame:
    """Read a table from a text file, such as CSV.

    An empty field is a missing value. No other text is, except marks such as NA among numbers. A
    column is numeric if every value is a number, also with decimal commas, thousands separators, one
    currency or a percent sign; codes with leading zeros stay text. Decisions that are not obvious are
    reported in an `InputNote`.

    Parameters
    ----------
    path : Path
        A text file, also compressed with gzip.
    options : TextOptions, optional

    Returns
    -------
    DataFrame

    Raises
    ------
    ValueError
        If the file cannot be read without guessing; the message names the line and the option.
    """
    options = options or TextOptions()
    file = _TextFile(path, options, _decoded(path, options))
    shape = file.shape()
    columns, lines = file.columns(shape)
    if options.header is None:
        _check_header(path, shape, columns, lines)
    missing = options.missing or ()
    texts = [
        TextColumn(name, column.combine_chunks(), missing) for name, column in zip(shape.names, columns)
    ]
    frame, notes = read_columns(texts, lines, options.decimal, options.thousands)
    for note in notes:
        _note(path, note)
    frame.attrs[NOTES], frame.attrs[LINES] = notes, Lines(np.array(lines))
    return frame


def _note(path: Path, text: str) -> None:
    warnings.warn(f"{str(path)!r}: {text}", InputNote, stacklevel=2)


def _decoded(path: Path, options: TextOptions) -> str:
    """Return the text of a file."""
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError) as error:
            raise ValueError(f"path: {str(path)!r} is a damaged gzip file ({error}).") from None
    if not data.strip():
        raise ValueError(f"path: the file {str(path)!r} is empty.")
    encoding = options.encoding or _marked_encoding(data)
    try:
        text = data.decode(encoding or "utf-8")
    except LookupError:
        raise ValueError(f"encoding must be one that Python knows; got {options.encoding!r}.") from None
    except UnicodeError as error:
        if encoding:
            raise ValueError(_undecodable(path, data, encoding, error)) from None
        text = _decoded_as_cp1252(path, data, error)
    text = text.removeprefix("\ufeff")
    if "\0" in text:
        raise ValueError(
            f"path: line {text.partition(chr(0))[0].count(chr(10)) + 1} of {str(path)!r} holds a zero "
            "byte, so it is no text of this encoding; give encoding."
        )
    return text


def _marked_encoding(data: bytes) -> str | None:
    """Return the encoding that a byte order mark, or zero bytes between letters, shows."""
    for mark, encoding in _MARKS.items():
        if data.startswith(mark):
            return encoding
    n_even, n_odd = data[::2].count(0), data[1::2].count(0)
    if max(n_even, n_odd) > len(data) / 8 and min(n_even, n_odd) <= max(n_even, n_odd) / 8:
        return "utf-16-be" if n_even > n_odd else "utf-16-le"
    return None


def _decoded_as_cp1252(path: Path, data: bytes, error: UnicodeError) -> str:
    try:
        text = data.decode("cp1252")
    except UnicodeError:
        raise ValueError(_undecodable(path, data, "utf-8", error)) from None
    line = next(i for i, part in enumerate(text.splitlines(), 1) if not part.isascii())
    shown = text.splitlines()[line - 1].strip()[:40]
    _note(
        path,
        f"the file is not UTF-8 and was read as cp1252 (line {line}: {shown!r}); encoding=cp1252 keeps "
        "this, any other encoding reads it otherwise.",
    )
    return text


def _undecodable(path: Path, data: bytes, encoding: str, error: UnicodeError) -> str:
    line = data[: getattr(error, "start", 0)].count(b"\n") + 1
    return f"path: line {line} of {str(path)!r} is not {encoding}; give encoding, such as latin-1."


class _TextFile:
    """A decoded file and its records."""

    def __init__(self, path: Path, options: TextOptions, text: str) -> None:
        self.path, self.options, self.text = path, options, text
        first = text.splitlines()[0].strip().strip('"').lower() if text.strip() else ""
        # the line by which Excel declares the separator
        self.declared = first[4:] or "," if first.startswith("sep=") and len(first) <= 5 else None
        self.sep = options.sep or self.declared

    def _lines(self) -> Iterator[str]:
        """Return the lines; lines that are not records become blank, so that line numbers stay right."""
        lines = io.StringIO(self.text, newline="")
        return self._records_alone(lines) if self.options.comment or self.declared else lines

    def _records_alone(self, lines: Iterable[str]) -> Iterator[str]:
        comment, quote = self.options.comment, self.options.quote
        inside = False
        for number, line in enumerate(lines):
            is_comment = comment and not inside and line.startswith(comment)
            if is_comment or (number == 0 and self.declared):
                yield "\n"
                continue
            inside ^= bool(quote) and line.count(quote) % 2 == 1
            yield line

    def records(self, sep: str) -> Iterator[tuple[int, list[str]]]:
        """Yield the first line and the fields of each record that is not blank."""
        quote = self.options.quote
        marks: dict[str, Any] = {"quotechar": quote} if quote else {"quoting": csv.QUOTE_NONE}
        reader = csv.reader(self._lines(), delimiter=sep, strict=True, **marks)
        line = 1
        try:
            for record in reader:
                if record:
                    yield line, record
                line = reader.line_num + 1
        except csv.Error:
            raise ValueError(f"line {line} has a quote that is not closed or not doubled.") from None

    def shape(self) -> _Shape:
        """Decide on the separator, and check every record with it."""
        shapes = [self._shape(sep) for sep in ([self.sep] if self.sep else self._candidates())]
        whole = [shape for shape in shapes if not shape.fault]
        if not whole:
            worst = max(shapes, key=lambda shape: shape.n_fit)
            raise ValueError(
                f"path: in {str(self.path)!r}, {worst.fault}; mend it, or give sep (read with "
                f"{_NAMES.get(worst.sep, worst.sep)!r}), quote, comment or header."
            )
        best = max(whole, key=lambda shape: len(shape.names))
        equal = [shape.sep for shape in whole if len(shape.names) == len(best.names)]
        if len(equal) > 1 and len(best.names) > 1:
            marks = " or ".join(map(repr, equal))
            raise ValueError(f"path: {str(self.path)!r} may be separated by {marks}; give sep.")
        return best

    def _candidates(self) -> list[str]:
        """Return the separators that the first record contains."""
        first = next((line for line in self._lines() if line.strip()), "")
        possible = [sep for sep in SEPARATORS if sep in first]
        return possible or [","] + [" "] * (" " in first.strip())

    def _shape(self, sep: str) -> _Shape:
        shape = _Shape(sep, [])
        try:
            records = self.records(sep)
            first_line, first = next(records, (1, []))
            shape.names = self._names(first, first_line)
            width = len(shape.names)
            for line, record in itertools.chain(
                [(first_line, first)] if self.options.header is False else [], records
            ):
                # a separator at the end of a row adds an empty field
                if len(record) != width and not (len(record) == width + 1 and record[-1] == ""):
                    fields = "1 field" if len(record) == 1 else f"{len(record)} fields"
                    shape.fault = f"line {line} has {fields}, but line {first_line} has {width}"
                    break
                if record == first and self.options.header is None:
                    shape.fault = f"line {line} repeats the header"
                    break
                shape.n_fit += 1
        except ValueError as error:
            shape.fault = str(error).rstrip(".")
        return shape

    def _names(self, first: list[str], line: int) -> list[str]:
        """Return the names of the columns, from the first record or by position."""
        if len(first) > 1 and not first[-1].strip():
            first = first[:-1]
        if self.options.header is False:
            return [f"x{i}" for i in range(len(first))]
        return [name.strip() or f"Unnamed: {i}" for i, name in enumerate(first)]

    def columns(self, shape: _Shape) -> tuple[list[pa.ChunkedArray], list[int]]:
        """Return the columns as text, and the line of each row."""
        options = self.options
        if options.comment or self.declared or (options.quote and options.quote in self.text):
            return self._parsed_columns(shape)
        return self._split_columns(shape) or self._parsed_columns(shape)

    def _split_columns(self, shape: _Shape) -> tuple[list[pa.ChunkedArray], list[int]] | None:
        """Split a file without quotes by Arrow, which is much faster; None if Arrow reads other rows."""
        not_blank = (line.strip("\r\n") != "" for line in io.StringIO(self.text, newline=""))
        lines = [number for number, is_record in enumerate(not_blank, 1) if is_record]
        names = list(map(str, range(len(shape.names))))
        types = dict.fromkeys(names, pa.string())
        try:
            table = arrow_csv.read_csv(
                io.BytesIO(self.text.encode()),
                arrow_csv.ReadOptions(column_names=names),
                arrow_csv.ParseOptions(delimiter=shape.sep, quote_char=False),
                arrow_csv.ConvertOptions(column_types=types, null_values=[], strings_can_be_null=False),
            )
        except (pa.ArrowException, ValueError):
            return None
        if table.num_rows != len(lines):
            return None
        n_before = 0 if self.options.header is False else 1
        return table.slice(n_before).columns, lines[n_before:]

    def _parsed_columns(self, shape: _Shape) -> tuple[list[pa.ChunkedArray], list[int]]:
        records = self.records(shape.sep)
        if self.options.header is not False:
            next(records, None)
        width = len(shape.names)
        lines: list[int] = []
        chunks: list[list[pa.Array]] = [[] for _ in range(width)]
        while part := list(itertools.islice(records, _CHUNK)):
            lines += [line for line, _ in part]
            for chunk, values in zip(chunks, zip(*(record[:width] for _, record in part))):
                chunk.append(pa.array(values, pa.string()))
        return [pa.chunked_array(chunk, pa.string()) for chunk in chunks], lines


def _check_header(
    path: Path, shape: _Shape, columns: Sequence[pa.ChunkedArray], lines: Sequence[int]
) -> None:
    """Refuse two columns with the same name, and a first line that contains values."""
    names = shape.names
    if lines and _are_values(names, columns):
        raise ValueError(
            f"path: the first line of {str(path)!r} looks like values ({', '.join(names[:3])}), not "
            "like names; header=false names the columns x0, x1, ..., header=true keeps them as names."
        )
    twice = [name for i, name in enumerate(names) if name in names[:i]]
    if twice:
        raise ValueError(
            f"path: the header of {str(path)!r} has several columns {twice[0]!r}; rename them, or give "
            "header=false if the first line holds values."
        )


def _are_values(names: Sequence[str], columns: Sequence[pa.ChunkedArray]) -> bool:
    """Return whether each name is a number above numbers, or one of the values below it."""
    if list(names) in ([str(i) for i in range(len(names))], [str(i + 1) for i in range(len(names))]):
        return False
    return all(
        pc.any(pc.equal(column, name)).as_py() or (_is_number(name) and _holds_numbers(column))
        for name, column in zip(names, columns)
    )


def _is_number(text: str) -> bool:
    return bool(formats_of(pa.array([text])))


def _holds_numbers(column: pa.ChunkedArray) -> bool:
    values = pc.unique(column)
    return bool(formats_of(values.filter(pc.not_equal(values, ""))))

"""The files to predict, one after another, in batches of rows."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from tabemb.data.schema import near
from tabemb.data.streams import of_size
from tabemb.data.vocabulary import kind_of

PARQUET = (".parquet", ".pq")
TEXT = {".csv": ",", ".tsv": "\t", ".csv.gz": ",", ".tsv.gz": "\t"}
"""Endings of text files, and their delimiters."""
_NUMBERS = {"integer", "float", "boolean"}
_ONE_AT_A_TIME = {"batch_readahead": 1, "fragment_readahead": 1, "use_threads": False}
"""Read-ahead of a data set: by default, Arrow keeps many batches in memory."""
_PARQUET_BUFFER = 2**20
"""Bytes of each column to read at a time, instead of whole row groups, which may be large."""

Batches = Callable[[Sequence[str], int], Iterator[pa.RecordBatch]]


@dataclass(frozen=True)
class Part:
    """A file, or a data set that the user has opened.

    Parameters
    ----------
    name : str
        Name in errors.
    schema : pyarrow.Schema
        The columns and their types, as the file has them.
    batches : callable
        Function from the names of columns and the maximum number of rows of a batch to record batches.
    n_rows : int, optional
        The number of rows, if the file stores it.
    path : str, optional
        Path of a file.
    convert : callable, optional
        Function from cells of text to the types that a model reads; None if the file has types.
    """

    name: str
    schema: pa.Schema
    batches: Batches
    n_rows: int | None = None
    path: str | None = None
    convert: Callable[[pa.Table], pa.Table] | None = None

    def tables(self, columns: Sequence[str], batch_size: int) -> Iterator[pa.Table]:
        """Yield tables of these columns, each with ``batch_size`` rows except the last one.

        Raises
        ------
        ValueError
            The file is damaged.
        """
        names = list(dict.fromkeys(columns))
        try:
            batches = (batch.select(names) for batch in self.batches(names, batch_size))
            yield from of_size(batches, batch_size)
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(self.name, error) from error


def parts_of(source: Any, converter: Callable[[str], Callable[[pa.Table], pa.Table]]) -> list[Part]:
    """Return a part for each file that a source names, or one for a data set.

    Parameters
    ----------
    source : str, path-like, list of them, or pyarrow.dataset.Dataset
        A path may be a pattern such as ``"orders/*.parquet"``, whose files come in sorted order.
    converter : callable
        Function from the name of a text file to the function that converts its cells.

    Raises
    ------
    TypeError
        The source is of another kind.
    ValueError
        A file cannot be read, or its ending is not one of Parquet or CSV.
    FileNotFoundError
    """
    if isinstance(source, ds.Dataset):
        return [_opened("source", source)]
    given = source if isinstance(source, (list, tuple)) else [source]
    if not given:
        raise ValueError("source must name at least one file; got an empty list.")
    return [_part(path, converter) for one in given for path in _files(one)]


def _files(source: Any) -> list[str]:
    """Return the files of a path or a pattern; a file with exactly that name takes precedence."""
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(
            "source must be a path, a pattern, a list of paths or a pyarrow Dataset; "
            f"got {type(source).__name__}."
        )
    path = os.path.expanduser(os.fspath(source))
    if os.path.isdir(path):
        raise ValueError(
            f"source must name files; {path!r} is a folder, so pass a pattern such as "
            f"{os.path.join(path, '*.parquet')!r}."
        )
    matches = [path] if os.path.exists(path) else sorted(glob.glob(path, recursive=True))
    if not matches:
        raise FileNotFoundError(f"source: there is no file {path!r}.")
    return matches


def _part(path: str, converter: Callable[[str], Callable[[pa.Table], pa.Table]]) -> Part:
    name = Path(path).name.lower()
    text = next((ending for ending in TEXT if name.endswith(ending)), None)
    if text is None and not name.endswith(PARQUET):
        raise ValueError(
            f"source must be files that end in {', '.join((*PARQUET, *TEXT))}; got {path!r}."
        )
    try:
        if text is None:
            return _parquet(path)
        dataset = _text_file(path, TEXT[text])
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error
    return replace(_opened(path, dataset), n_rows=None, path=path, convert=converter(path))


def _opened(name: str, dataset: ds.Dataset) -> Part:
    """Return a data set as a part."""

    def batches(columns: Sequence[str], size: int) -> Iterator[pa.RecordBatch]:
        yield from dataset.to_batches(columns=list(columns), batch_size=size, **_ONE_AT_A_TIME)

    return Part(name, dataset.schema, batches)


def _parquet(path: str) -> Part:
    """Return a Parquet file as a part; unlike a data set, it does not load whole row groups."""

    def batches(columns: Sequence[str], size: int) -> Iterator[pa.RecordBatch]:
        with pq.ParquetFile(path, buffer_size=_PARQUET_BUFFER, pre_buffer=False) as file:
            yield from file.iter_batches(size, columns=list(columns), use_threads=False)

    with pq.ParquetFile(path) as file:
        return Part(path, file.schema_arrow, batches, file.metadata.num_rows, path)


def _text_file(path: str, delimiter: str) -> ds.Dataset:
    """Open a text file without converting its cells; an empty cell is missing."""
    parse = arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    names = ds.dataset(path, format=ds.CsvFileFormat(parse)).schema.names
    convert = arrow_csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()), null_values=[""], strings_can_be_null=True
    )
    return ds.dataset(path, format=ds.CsvFileFormat(parse, convert_options=convert))


def _unreadable(name: str, error: Exception) -> ValueError:
    line = (str(error).splitlines() or [type(error).__name__])[0]
    reason = line.rpartition("Invalid: ")[2].rstrip(".")  # the innermost of Arrow's reasons
    return ValueError(f"{name!r} cannot be read ({reason:.200}); take another copy or write it again.")


def check_parts(parts: Sequence[Part], columns: Sequence[str], keep: Sequence[str]) -> None:
    """Raise ValueError unless every file has the columns, each of one kind in all files.

    Parameters
    ----------
    parts : sequence of Part
    columns : sequence of str
        Columns that the model reads.
    keep : sequence of str
        Columns to copy.

    Raises
    ------
    ValueError
        The message names the file and the column.
    """
    for part in parts:
        for name in (*columns, *keep):
            if name not in part.schema.names:
                use = "the model reads" if name in columns else "keep names"
                raise ValueError(
                    f"{part.name!r} lacks column {name!r}, which {use}{near(name, part.schema.names)}."
                )
    typed = [part for part in parts if part.convert is None]
    for part in typed[1:]:
        for name in (*columns, *keep):
            here, first = part.schema.field(name), typed[0].schema.field(name)
            if not _are_alike(here, first):
                raise ValueError(
                    f"Column {name!r} must have one type in all files; it is {first.type} in "
                    f"{typed[0].name!r} and {here.type} in {part.name!r}, so convert one of them."
                )


def _are_alike(a: pa.Field, b: pa.Field) -> bool:
    kinds = {kind_of(a), kind_of(b)} - {None}
    return len(kinds) <= 1 or kinds <= _NUMBERS

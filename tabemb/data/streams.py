"""Read rows in parts, for tables larger than memory: files, and sources that are written to Parquet.

Arrow reads the rows in their order. DuckDB counts the categories and spills to disk.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
from pyarrow.parquet import ParquetWriter

from tabemb.data.counted import Counted, has_missing, with_counts
from tabemb.data.frames import to_arrow
from tabemb.data.sampling import MOST_ROWS
from tabemb.data.schema import near
from tabemb.extras import need
from tabemb.files.folders import locked, writable
from tabemb.progress import progress

PARQUET = pads.ParquetFileFormat(
    default_fragment_scan_options=pads.ParquetFragmentScanOptions(
        use_buffered_stream=True, buffer_size=2**20, pre_buffer=False
    )
)
"""Parquet format that reads row groups in parts, because they may be large."""
FORMATS = {".parquet": PARQUET, ".pq": PARQUET, ".arrow": "ipc", ".feather": "ipc", ".csv": "csv"}
AT_ONCE = 2**16
"""Number of rows that are read at a time."""
AHEAD = 2
"""Number of parts that Arrow reads ahead."""
N_DIGITS = 24
"""Number of digits of a fingerprint."""


class Stream:
    """Rows of a table larger than memory, as the ``X`` of ``fit``.

    ``fit`` also accepts the source itself, ``fit("orders/*.parquet", y="late")``. A stream adds settings
    such as the place of the encoded rows.

    Parameters
    ----------
    source : str, path-like, list of these, pyarrow Dataset, DuckDB relation or Polars LazyFrame
        A path is a file (Parquet, Arrow, CSV), a folder of Parquet files, which may have subfolders such
        as "year=2024", or a pattern such as ``orders/*.parquet``, whose files are read in the order of
        their names. Relations and lazy frames are first written to a Parquet file in the cache.
    cache : str or path-like, optional
        Folder for the encoded rows, which take about as much space as the source; created if needed. A
        later fit on the same rows reuses them, and a fit that was killed resumes. None: a temporary
        folder, which is removed after the fit.
    in_memory : int, default=2**20
        A source with at most this many rows is read as one frame.
    memory_limit : str, default="1GB"
        Memory that DuckDB may use to count categories; beyond it, DuckDB spills to the cache folder.

    Examples
    --------
    >>> import tempfile, pyarrow.parquet as pq
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pq.write_table(pa.table({"city": ["Bonn", "Rome"]}), f"{folder}/a.parquet")
    ...     with Stream(f"{folder}/*.parquet").opened() as rows:
    ...         rows.n_rows, rows.names
    (2, ['city'])
    """

    def __init__(
        self,
        source: Any,
        *,
        cache: str | os.PathLike[str] | None = None,
        in_memory: int = MOST_ROWS,
        memory_limit: str = "1GB",
    ) -> None:
        if isinstance(in_memory, bool) or not isinstance(in_memory, int) or in_memory < 0:
            raise ValueError(f"in_memory must be a whole number >= 0; got {in_memory!r}.")
        self.source, self.cache = source, cache
        self.in_memory, self.memory_limit = in_memory, memory_limit

    def __repr__(self) -> str:
        """Return the source, and the cache if there is one."""
        cache = "" if self.cache is None else f", cache={os.fspath(self.cache)!r}"
        return f"Stream({self.source!r:.200}{cache})"

    @property
    def is_of_files(self) -> bool:
        """Whether the rows are in files, which can be read repeatedly."""
        return not (_is_relation(self.source) or _is_lazy(self.source))

    def for_workers(self, cache: Path) -> Stream:
        """Return the same rows for other processes: files by their full paths.

        Parameters
        ----------
        cache : path-like
            The folder of the encoded rows.
        """
        stream = copy(self)
        stream.cache = os.path.abspath(cache)
        if isinstance(self.source, str | os.PathLike):
            stream.source = os.path.abspath(self.source)
        elif isinstance(self.source, list | tuple):
            stream.source = [os.path.abspath(path) for path in self.source]
        elif not isinstance(self.source, pads.FileSystemDataset):
            with stream.opened() as rows:  # writes rows that are not in files yet to the cache
                stream.source = rows.dataset.files
        return stream

    @contextmanager
    def opened(self) -> Iterator[OpenStream]:
        """Open the source; a temporary folder exists only within the context."""
        with _folder(self.cache) as folder:
            dataset, signature = _dataset(self.source, folder)
            names = dataset.schema.names
            if len(set(names)) < len(names):
                twice = next(name for name in names if names.count(name) > 1)
                raise ValueError(f"X has two columns {twice!r}; give each column a name of its own.")
            with _scratch(folder) as scratch:
                yield OpenStream(dataset, signature, folder, scratch, self.memory_limit)


def is_source(X: Any) -> bool:
    """Return whether X is a source of rows that are read in parts, or the path of one."""
    return isinstance(X, Stream | str | os.PathLike | pads.Dataset) or _is_relation(X) or _is_lazy(X)


def as_stream(X: Any) -> Stream:
    """Return X as a stream, with default settings unless it is one already."""
    return X if isinstance(X, Stream) else Stream(X)


@dataclass(frozen=True)
class OpenStream:
    """The rows of a stream, in their order.

    Parameters
    ----------
    dataset : pyarrow.dataset.FileSystemDataset
    signature : str
        Differs if the rows differ.
    folder : Path
        The cache.
    scratch : Path
        Folder for temporary files of one fit, which is removed afterwards.
    memory_limit : str
    weight : str, optional
        Column of weights; rows with weight zero are left out.
    """

    dataset: pads.FileSystemDataset
    signature: str
    folder: Path
    scratch: Path
    memory_limit: str
    weight: str | None = None

    @property
    def names(self) -> list[str]:
        """Names of all columns."""
        return list(self.dataset.schema.names)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.dataset.count_rows(filter=self._filter))

    @property
    def _filter(self) -> pc.Expression | None:
        if self.weight is None:
            return None
        weight = pc.field(self.weight)
        return (weight != 0) | weight.is_null()

    def check_columns(self, names: Sequence[str], argument: str) -> None:
        """Raise ValueError unless all these columns exist."""
        for name in names:
            if name not in self.names:
                raise ValueError(
                    f"{argument} must name a column of the source, which has no {name!r}"
                    f"{near(name, self.names)}."
                )

    def table(self, names: Sequence[str]) -> pa.Table:
        """Return these columns of all rows, in memory."""
        return to_arrow(self.dataset.to_table(list(names), filter=self._filter))

    def parts(self, names: Sequence[str], size: int = AT_ONCE) -> Iterator[pa.Table]:
        """Yield these columns in parts of ``size`` rows; the last part may be smaller."""
        batches = self.dataset.to_batches(
            columns=list(names),
            filter=self._filter,
            batch_size=size,
            batch_readahead=AHEAD,
            fragment_readahead=1,
        )
        yield from map(to_arrow, of_size(batches, size))

    def sample(
        self, names: Sequence[str], positions: np.ndarray, n_rows: int, show: bool | None = False
    ) -> tuple[pa.Table, set[str]]:
        """Return these columns for the rows at some positions, and the columns with missing values.

        The positions must ascend. Missing values are looked for in all ``n_rows`` rows. ``show`` is as
        in `progress`.
        """
        taken, missing, start = [], set[str](), 0
        with progress(n_rows, "rows", show) as bar:
            for part in self.parts(names):
                first, last = np.searchsorted(positions, [start, start + part.num_rows])
                taken.append(part.take(pa.array(positions[first:last] - start)))
                missing |= {name for name in names if name not in missing and has_missing(part[name])}
                start += part.num_rows
                bar.update(part.num_rows)
        table = pa.concat_tables(taken, promote_options="permissive").combine_chunks()
        return to_arrow(table), missing

    def counted(self, name: str, weights: np.ndarray | None = None) -> Counted:
        """Return the distinct values of a column with their counts or sums of weights."""
        counted = self._counts(name) if weights is None else self._sums(name, weights)
        field = self.dataset.schema.field(name)
        field = field.with_type(_plain(field.type))
        values = counted["value"]
        values = values if values.type == field.type else values.cast(field.type)
        column = to_arrow(pa.table([values], schema=pa.schema([field])))
        return Counted(column[name], column.schema.field(name), counted["n"].to_numpy().astype(float))

    def _counts(self, name: str) -> pa.Table:
        duckdb = need("duckdb", "duckdb")
        where = ""
        if self.weight is not None:
            where = f"WHERE {_quoted(self.weight)} <> 0 OR {_quoted(self.weight)} IS NULL"
        with duckdb.connect() as connection:
            connection.execute(f"SET memory_limit = '{self.memory_limit}'")
            connection.execute(f"SET temp_directory = '{_escaped(self.scratch / 'spilled')}'")
            connection.register("source", self.dataset)
            query = f"SELECT {_quoted(name)} AS value, count(*) AS n FROM source {where} GROUP BY 1"
            return connection.sql(query).to_arrow_table()

    def _sums(self, name: str, weights: np.ndarray) -> pa.Table:
        sums, start = None, 0
        for part in self.parts([name], MOST_ROWS):
            stop = start + part.num_rows
            values = part[name].cast(_plain(part[name].type))
            sums, start = with_counts(sums, values, weights[start:stop]), stop
        assert sums is not None
        return sums


def of_size(batches: Iterable[pa.RecordBatch], size: int) -> Iterator[pa.Table]:
    """Yield the rows of batches in tables of equal size; the last one may be smaller."""
    waiting: list[pa.RecordBatch] = []
    n_waiting = 0
    for batch in batches:
        waiting.append(batch)
        n_waiting += batch.num_rows
        if n_waiting < size:
            continue
        table = pa.Table.from_batches(waiting)
        ready = n_waiting - n_waiting % size
        yield from (table.slice(start, size) for start in range(0, ready, size))
        waiting, n_waiting = table.slice(ready).to_batches(), n_waiting - ready
    if n_waiting:
        yield pa.Table.from_batches(waiting)


@contextmanager
def _folder(cache: str | os.PathLike[str] | None) -> Iterator[Path]:
    if cache is None:
        with tempfile.TemporaryDirectory(prefix="tabemb-") as folder:
            yield Path(folder)
        return
    with writable(Path(cache), "cache"):
        pass
    yield Path(cache)


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """Create a folder for one fit, and remove folders of processes that were killed."""
    with ExitStack() as stack:
        with locked(folder):  # no other process may remove leftovers until the new folder is locked
            _remove_leftovers(folder)
            path = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder, prefix="fit-")))
            stack.enter_context(locked(path))
        yield path


def _remove_leftovers(folder: Path) -> None:
    for leftover in folder.glob("fit-*"):
        # another process may just now finish its fit and remove its folder
        with suppress(FileNotFoundError), locked(leftover, waits=False) as is_free:
            if is_free:
                shutil.rmtree(leftover, ignore_errors=True)


def _plain(dtype: pa.DataType) -> pa.DataType:
    """Return the type of the values of a dictionary type, and any other type unchanged."""
    return dtype.value_type if pa.types.is_dictionary(dtype) else dtype


def _dataset(source: Any, folder: Path) -> tuple[pads.FileSystemDataset, str]:
    """Return a source as a dataset of files, and its signature."""
    if isinstance(source, pads.FileSystemDataset) and not source._scan_options:
        infos = source.filesystem.get_file_info(source.files)
        return source, _signature_of([info.path, info.size, info.mtime_ns] for info in infos)
    if _is_relation(source):
        return _written(folder, lambda path: source.write_parquet(str(path)))
    if _is_lazy(source):
        return _written(folder, lambda path: source.sink_parquet(str(path)))
    if isinstance(source, pads.Dataset):
        return _written(folder, lambda path: _write(source, path))
    paths = _paths(source)
    suffixes = {_suffix(path) for path in paths}
    if len(suffixes) > 1:
        raise ValueError(f"X must name files of one kind; got {', '.join(sorted(suffixes))}.")
    base = source if isinstance(source, str | os.PathLike) and os.path.isdir(source) else None
    try:
        dataset = pads.dataset(
            [str(path) for path in paths],
            format=FORMATS[suffixes.pop()],
            partitioning=None if base is None else "hive",  # year=2024/part.parquet adds a column year
            partition_base_dir=None if base is None else os.fspath(base),
        )
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"X names a file that cannot be read: {error}.") from error
    _check_alike(dataset)
    return dataset, _signature_of(map(_status, paths))


def _check_alike(dataset: pads.FileSystemDataset) -> None:
    """Raise ValueError unless all files have the columns and types of the first one."""
    first: dict[str, pa.DataType] = {}
    for fragment in dataset.get_fragments():
        columns = {field.name: _plain(field.type) for field in fragment.physical_schema}
        first = first or columns
        for name in {**first, **columns}:
            kinds = [of_file.get(name, "no such column") for of_file in (first, columns)]
            if kinds[0] != kinds[1] and pa.null() not in kinds:
                raise ValueError(
                    f"X must name files of the same columns; of column {name!r}, the first file has "
                    f"{kinds[0]} and {Path(fragment.path).name!r} has {kinds[1]}."
                )


def _paths(source: Any) -> list[Path]:
    """Return the files of a path, a pattern, a folder or a list of these."""
    sources = source if isinstance(source, list | tuple) else [source]
    paths: list[Path] = []
    for one in sources:
        if not isinstance(one, str | os.PathLike):
            raise TypeError(
                "A stream must be paths, a pyarrow Dataset, a DuckDB relation or a Polars LazyFrame; "
                f"got a {type(one).__name__}."
            )
        path = Path(one)
        if path.is_dir():
            files = sorted(path.rglob("*.parquet"))
        elif path.is_file():
            files = [path]
        else:
            files = sorted(Path(name) for name in glob.glob(os.fspath(one), recursive=True))
        if not files:
            raise FileNotFoundError(f"X names no file: there is none at {os.fspath(one)!r}.")
        paths += files
    return paths


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise ValueError(f"X must name files that end in {', '.join(FORMATS)}; got {path.name!r}.")
    return suffix


def _status(path: str | Path) -> list[Any]:
    status = os.stat(path)
    return [str(Path(path).resolve()), status.st_size, status.st_mtime_ns]


def _signature_of(statuses: Any) -> str:
    return hashlib.sha256(json.dumps(list(statuses)).encode()).hexdigest()[:N_DIGITS]


def _written(folder: Path, write: Any) -> tuple[pads.FileSystemDataset, str]:
    """Write a source to a Parquet file in the cache, named by a checksum of its contents."""
    with tempfile.NamedTemporaryFile(dir=folder, suffix=".part", delete=False) as file:
        part = Path(file.name)
    try:
        write(part)
        with open(part, "rb") as written:
            signature = hashlib.file_digest(written, "sha256").hexdigest()[:N_DIGITS]
        target = folder / f"source-{signature}.parquet"
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    return pads.dataset(target, format=PARQUET), signature


def _write(dataset: pads.Dataset, path: Path) -> None:
    with ParquetWriter(path, dataset.schema) as writer:
        for batch in dataset.to_batches(batch_readahead=AHEAD, fragment_readahead=1):
            writer.write_batch(batch)


def _is_relation(X: Any) -> bool:
    return type(X).__name__ == "DuckDBPyRelation"


def _is_lazy(X: Any) -> bool:
    return type(X).__name__ == "LazyFrame" and type(X).__module__.startswith("polars")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _escaped(path: Path) -> str:
    return str(path).replace("'", "''")

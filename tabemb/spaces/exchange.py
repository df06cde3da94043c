"""A space in the formats of others: parquet, DuckDB, frames, word2vec, the TensorBoard projector."""

from __future__ import annotations

import contextlib
import json
import mmap
import re
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from tabemb.spaces.space import EmbeddingSpace

MapKey = tuple[str, str, int | None]
"""Method, metric and seed of a map."""


class Parts(NamedTuple):
    """What a space is made of, in the order of its arguments."""

    vectors: Any
    categories: Any
    counts: Any = None
    name: str = ""


def write_parquet(space: EmbeddingSpace, path: str | Path, maps: dict[MapKey, np.ndarray]) -> None:
    """Write the columns of `to_arrow`, one column of places for each map, and what the columns are as metadata."""
    table, named = to_arrow(space, "parquet"), {}
    for key, places in maps.items():
        column = "map_" + "_".join(map(str, key))
        table, named[column] = table.append_column(column, _lists(places)), key
    described = {"name": space.name, "maps": named}
    pq.write_table(table.replace_schema_metadata({b"tabemb": json.dumps(described).encode()}), path)


def read_parquet(path: str | Path) -> tuple[Parts, dict[MapKey, np.ndarray]]:
    """Read what `write_parquet` wrote: a space and its maps."""
    table = pq.read_table(path)
    described = json.loads((table.schema.metadata or {}).get(b"tabemb", b"{}"))
    parts = from_arrow(table, str(path), described.get("name", ""))
    maps = {tuple(key): _matrix(table[column]) for column, key in described.get("maps", {}).items()}
    return parts, maps


def to_arrow(space: EmbeddingSpace, target: str) -> pa.Table:
    """Return the columns `category`, `vector` (lists of d floats) and, if known, `count`."""
    columns = {"category": _arrow_categories(space.categories, target), "vector": _lists(space.vectors)}
    if space.counts is not None:
        columns["count"] = pa.array(space.counts)
    return pa.table(columns)


def from_arrow(table: pa.Table, source: str, name: str) -> Parts:
    """Read a table with the columns of `to_arrow`."""
    if missing := {"category", "vector"} - set(table.column_names):
        raise ValueError(f"{source} is not an embedding space: it has no column {sorted(missing)[0]!r}")
    try:
        vectors = _matrix(table["vector"])
    except (ValueError, AttributeError, pa.ArrowInvalid) as error:
        raise ValueError(
            f"{source} is not an embedding space: its vectors are no lists of one width"
        ) from error
    counts = table["count"].to_numpy() if "count" in table.column_names else None
    return Parts(vectors, table["category"].to_pandas(), counts, name)


def _lists(matrix: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])


def _matrix(column: pa.ChunkedArray) -> np.ndarray:
    lists = column.combine_chunks()
    fixed = pa.types.is_fixed_size_list(lists.type)
    (width,) = [lists.type.list_size] if fixed else lists.value_lengths().unique().to_pylist()
    return lists.flatten().to_numpy().reshape(len(lists), width)


def _arrow_categories(categories: pd.Index, target: str) -> pa.Array:
    try:
        array = pa.array(categories, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        kinds = ", ".join(sorted({type(category).__name__ for category in categories}))
        raise TypeError(f"{target} needs categories of one type, got {kinds}") from error
    if pa.types.is_nested(array.type):
        raise TypeError(
            f"{target} needs categories of one plain type, got {type(categories[0]).__name__}"
        )
    return array


def write_duckdb(space: EmbeddingSpace, database: Any, table: str) -> None:
    """Create a table of the columns of `to_arrow`."""
    duckdb = _duckdb()
    with _connected(database, read_only=False) as connection:
        connection.register("tabemb_space", to_arrow(space, "DuckDB"))
        try:
            connection.execute(f"CREATE TABLE {_quoted(table)} AS SELECT * FROM tabemb_space")
        except duckdb.CatalogException as error:
            raise ValueError(
                f"the database has a table {table!r} already; drop it or choose another name"
            ) from error
        finally:
            connection.unregister("tabemb_space")


def read_duckdb(database: Any, table: str) -> Parts:
    """Read a table with the columns of `to_arrow`."""
    duckdb = _duckdb()
    with _connected(database, read_only=True) as connection:
        try:
            read = connection.table(_quoted(table)).to_arrow_table()
        except duckdb.Error as error:
            raise ValueError(f"the database has no table {table!r}") from error
    return from_arrow(read, f"table {table!r}", table)


def _duckdb() -> Any:
    try:
        import duckdb
    except ImportError as error:
        raise ImportError("DuckDB tables need duckdb: pip install tabemb[duckdb]") from error
    return duckdb


@contextlib.contextmanager
def _connected(database: Any, read_only: bool) -> Iterator[Any]:
    """Yield an open connection as it is, and one to a file, which is closed afterwards."""
    if not isinstance(database, str | Path):
        yield database
        return
    if read_only and not Path(database).is_file():
        raise FileNotFoundError(f"{str(database)!r} is not a file")
    with _duckdb().connect(str(database), read_only=read_only) as connection:
        yield connection


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def frame_parts(frame: pd.DataFrame, counts: Any) -> Parts:
    """Read a frame of one row a category, one column of numbers a dimension."""
    numeric = [pd.api.types.is_numeric_dtype(dtype) for dtype in frame.dtypes]
    if not all(numeric):
        column = frame.columns[numeric.index(False)]
        raise ValueError(
            f"the columns of the frame must hold numbers; {column!r} holds {frame[column].dtype}"
        )
    name = frame.index.name
    return Parts(frame.to_numpy(np.float32), frame.index, counts, "" if name is None else str(name))


def write_word2vec(
    space: EmbeddingSpace, path: str | Path, binary: bool, counts_path: str | Path | None
) -> None:
    """Write what gensim's `KeyedVectors.load_word2vec_format` reads."""
    words = texts(space.categories, r"\s", "_")
    with open(path, "wb") as file:
        file.write(f"{len(space)} {space.vectors.shape[1]}\n".encode())
        for word, vector in zip(words, space.vectors):
            numbers = vector.astype("<f4").tobytes() if binary else (_line(vector, " ") + "\n").encode()
            file.write(f"{word} ".encode() + numbers)
    if counts_path is not None:
        if space.counts is None:
            raise ValueError(f"counts_path is given, but {space!r} has no counts")
        lines = [
            f"{word} {count}\n" for word, count in zip(words, np.rint(space.counts).astype(np.int64))
        ]
        Path(counts_path).write_bytes("".join(lines).encode())


def read_word2vec(path: str | Path, binary: bool, counts_path: str | Path | None) -> Parts:
    """Read what `write_word2vec` or gensim wrote."""
    with open(path, "rb") as file:
        header = file.readline(100).split()
        if len(header) != 2 or not all(part.isdigit() for part in header):
            raise ValueError(
                f"{path} is not a word2vec file: its first line must hold two numbers, words and width"
            )
        shape = int(header[0]), int(header[1])
        words, vectors = (_binary_vectors if binary else _text_vectors)(file, shape, path)
    counts = None if counts_path is None else _counts(counts_path, words)
    return Parts(vectors, pd.Index(words, dtype=str), counts, Path(path).stem)


def _text_vectors(file: Any, shape: tuple[int, int], path: str | Path) -> tuple[list[str], np.ndarray]:
    words, vectors = [], np.empty(shape, dtype=np.float32)
    for i, line in enumerate(file):
        if i == shape[0]:
            raise ValueError(f"{path} holds more than the {shape[0]} words that its first line names")
        word, *numbers = line.rstrip().split(b" ")
        place = f"line {i + 2} of {path}"
        if len(numbers) != shape[1]:
            says = f"{place} holds {len(numbers)} numbers, its first line says {shape[1]}"
            raise ValueError(f"{says}; a word holds no spaces, and a binary file needs binary=True")
        try:
            vectors[i] = numbers
            words.append(word.decode())
        except ValueError as error:
            raise ValueError(f"{place} does not hold a word and numbers: {error}") from error
    if len(words) < shape[0]:
        raise ValueError(f"{path} holds {len(words)} words, its first line says {shape[0]}")
    return words, vectors


def _binary_vectors(file: Any, shape: tuple[int, int], path: str | Path) -> tuple[list[str], np.ndarray]:
    words, vectors = [], np.empty(shape, dtype=np.float32)
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        end = file.tell()
        for i in range(shape[0]):
            start, space = end, data.find(b" ", end)
            end = space + 1 + 4 * shape[1]
            if space < 0 or end > len(data):
                raise ValueError(
                    f"{path} ends before the {shape[0]} words of its first line; text needs binary=False"
                )
            words.append(
                data[start:space].lstrip(b"\n").decode()
            )  # the first word2vec ended vectors with a newline
            vectors[i] = np.frombuffer(data[space + 1 : end], dtype="<f4")
        if data[end:].strip(b"\n"):
            raise ValueError(
                f"{path} goes on after the {shape[0]} words of its first line; text needs binary=False"
            )
    return words, vectors


def _counts(path: str | Path, words: list[str]) -> list[float]:
    by_word = dict(
        line.rsplit(" ", 1) for line in Path(path).read_text(encoding="utf-8").split("\n") if line
    )
    if missing := [word for word in words if word not in by_word]:
        raise ValueError(f"{path} has no count of {missing[0]!r}")
    return [int(by_word[word]) for word in words]


VECTORS, METADATA, CONFIG = "vectors.tsv", "metadata.tsv", "projector_config.pbtxt"


def write_projector(space: EmbeddingSpace, folder: str | Path, metadata: pd.DataFrame | None) -> None:
    """Write the three files that TensorBoard's projector reads."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    columns = {"category": texts(space.categories, r"\s+", " ")}
    if space.counts is not None:
        columns["count"] = list(map(str, space.counts))
    columns |= {} if metadata is None else _extra_columns(metadata, space.categories)
    # a file of one column has no header, one of several must have it
    header = ["\t".join(columns)] if len(columns) > 1 else []
    _write_lines(folder / METADATA, header + ["\t".join(cells) for cells in zip(*columns.values())])
    _write_lines(folder / VECTORS, [_line(vector, "\t") for vector in space.vectors])
    entries = {"tensor_name": space.name or "vectors", "tensor_path": VECTORS, "metadata_path": METADATA}
    body = [f"  {key}: {json.dumps(value, ensure_ascii=False)}" for key, value in entries.items()]
    _write_lines(folder / CONFIG, ["embeddings {", *body, "}"])


def read_projector(folder: str | Path) -> Parts:
    """Read what `write_projector` wrote; categories are text."""
    folder = Path(folder)
    rows = [line.split("\t") for line in _lines(folder / VECTORS)]
    if len({len(row) for row in rows}) != 1:
        raise ValueError(f"{folder / VECTORS} must hold vectors of one width, a line each")
    cells = [line.split("\t") for line in _lines(folder / METADATA)]
    header = cells.pop(0) if len(cells) == len(rows) + 1 else ["category"]
    if len(cells) != len(rows):
        raise ValueError(f"{folder} holds {len(rows)} vectors, but metadata of {len(cells)}")
    by_name = dict(zip(header, zip(*cells)))
    counts = [float(count) for count in by_name["count"]] if "count" in by_name else None
    name = re.search(r"tensor_name: (\".*\")", (folder / CONFIG).read_text(encoding="utf-8"))
    return Parts(
        np.array(rows, dtype=np.float32), by_name[header[0]], counts, json.loads(name[1]) if name else ""
    )


def _extra_columns(metadata: pd.DataFrame, categories: pd.Index) -> dict[str, list[str]]:
    if not metadata.index.is_unique:
        raise ValueError("metadata: the index must hold each category once")
    if not metadata.index.isin(categories).any():
        raise ValueError("metadata: none of its index is a category")
    if taken := {"category", "count"} & set(metadata.columns):
        raise ValueError(
            f"metadata must not have a column {min(taken)!r}, which the space writes itself"
        )
    rows = metadata.astype(object).reindex(categories)
    rows = rows.where(rows.notna(), "")
    return {
        _clean(name, r"\s+", " "): [_clean(cell, r"\s+", " ") for cell in rows[name]]
        for name in metadata.columns
    }


def texts(categories: pd.Index, blank: str, instead: str) -> list[str]:
    """Return categories as text, whatever matches `blank` replaced, and refuse those that become the same."""
    written: dict[str, Hashable] = {}
    for category in categories:
        text = _clean(category, blank, instead)
        if text in written:
            raise ValueError(
                f"categories {written[text]!r} and {category!r} would both be written as {text!r}; rename one of them"
            )
        written[text] = category
    return list(written)


def _clean(value: Any, blank: str, instead: str) -> str:
    return re.sub(blank, instead, str(value))


def _line(vector: np.ndarray, separator: str) -> str:
    return separator.join(vector.astype(str))  # the shortest text that reads back as the same float32


def _write_lines(path: Path, lines: list[str]) -> None:
    path.write_bytes("".join(line + "\n" for line in lines).encode())


def _lines(path: Path) -> list[str]:
    return path.read_bytes().decode().split("\n")[:-1]

"""Read and write a space as Arrow columns (Parquet files, DuckDB tables) or as a pandas frame.

Readers return `Parts`, the arguments of a space. `EmbeddingSpace` describes the formats.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tabemb.extras import need
from tabemb.files.whole import BLANK, check_seal, replacing, seal
from tabemb.labels import as_objects, text_of
from tabemb.names import safe_names
from tabemb.scalars import from_json, to_json
from tabemb.spaces.vectors import CategoryVectors, MapKey, Parts, is_missing

MARK = b'"sha256": "'
"""The bytes before the checksum in a Parquet file. They are JSON syntax, so no name can contain them."""
JSON = "category_json"
"""Column of the categories as JSON if they have no common Arrow type; `category` is then text."""
PLAIN = {str, bytes, bool, int, float, Decimal, dt.date, dt.time}
"""Python types that Arrow returns unchanged if all labels have the same one."""
MOST_EXPANSION = 256
"""Maximum bytes of values per byte of a Parquet file; a space rarely has more than ten."""
ROWS_AT_ONCE = 4096


def write_parquet(space: CategoryVectors, path: str | Path) -> None:
    """Write the columns of `to_arrow` and one column of coordinates for each map.

    The metadata of the file contain the name of the space, its ancestry, the key of each map and the
    checksum.
    """
    table, keys = to_arrow(space, "Parquet"), {}
    for key, coordinates in space.maps.items():
        column = "map_" + "_".join(map(str, key))
        table, keys[column] = table.append_column(column, _lists(coordinates)), key
    description = {"name": space.name, "ancestry": space.ancestry, "maps": keys}
    description["sha256"] = BLANK.decode()
    table = table.replace_schema_metadata({b"tabemb": json.dumps(description).encode()})
    with replacing(path) as file:
        pq.write_table(table, file)
        file.seek(0)
        seal(file, _place(file.read()))


def read_parquet(path: str | Path) -> tuple[Parts, dict[MapKey, np.ndarray]]:
    """Read a space and its maps from a file of `write_parquet`, or a space from another Parquet file.

    Raises
    ------
    ValueError
        The file is damaged, or does not contain a space.
    """
    source = f"file {str(path)!r}"
    content = None if Path(path).is_dir() else Path(path).read_bytes()
    if content is not None and (place := _place(content)) >= 0:
        check_seal(content, place, str(path))
    try:
        table = pq.read_table(path) if content is None else _read_bounded(content)
        description = json.loads((table.schema.metadata or {}).get(b"tabemb", b"{}"))
        if "sha256" in description and (content is None or place < 0):
            raise ValueError("its checksum is damaged.")
        parts = from_arrow(table, source, description.get("name", ""))
        parts = parts._replace(ancestry=_ancestry(description.get("ancestry", [])))
        keys: Mapping[str, list[Any]] = description.get("maps", {})
        maps = {_map_key(*key): _checked_map(_matrix(table[column])) for column, key in keys.items()}
    except Exception as error:  # pyarrow raises many types for damaged files
        if str(error).startswith("The file"):
            raise
        reason = " ".join(str(error).split()).removesuffix(".")[:300]
        raise ValueError(f"The {source} is not an embedding space; {reason}.") from error
    return parts, maps


def _place(content: bytes) -> int:
    """Return the position of the checksum in the description at the end of a Parquet file, or -1."""
    start = content.rfind(MARK)
    return -1 if start < 0 else start + len(MARK)


def _read_bounded(content: bytes) -> pa.Table:
    """Read a Parquet file in batches; refuse one that expands by more than `MOST_EXPANSION`."""
    batches, n_bytes, most = [], 0, MOST_EXPANSION * len(content)
    with pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True) as file:
        schema = file.schema_arrow
        for batch in file.iter_batches(ROWS_AT_ONCE):
            n_bytes += batch.nbytes
            if n_bytes > most:
                raise ValueError(f"it has more than {most} bytes of values in {len(content)} bytes.")
            batches.append(batch)
    table = pa.Table.from_batches(batches, schema)
    table.validate(full=True)
    return table


def _ancestry(versions: Any) -> tuple[str, ...]:
    if not isinstance(versions, list) or not all(isinstance(version, str) for version in versions):
        raise ValueError("its ancestry must be a list of texts.")
    return tuple(versions)


def _checked_map(coordinates: np.ndarray) -> np.ndarray:
    if coordinates.shape[1] != 2 or not np.isfinite(coordinates).all():
        raise ValueError("a map must hold two finite numbers for each category.")
    return coordinates


def _map_key(method: str, metric: str, random_state: int | None) -> MapKey:
    return method, metric, random_state


def to_arrow(space: CategoryVectors, target: str) -> pa.Table:
    """Return the columns `category`, `vector` (d floats) and, if known, `count` and `reliability`."""
    categories = as_arrow(space.categories)
    if target == "DuckDB" and categories is not None and not _has_duckdb(categories.type):
        categories = None
    columns = {"category": _as_text(space.categories) if categories is None else categories}
    if categories is None:
        columns[JSON] = _as_json(space.categories, target)
    columns["vector"] = _lists(space.vectors)
    if space.counts is not None:
        columns["count"] = pa.array(space.counts)
    if space.reliability is not None:
        columns["reliability"] = pa.array(space.reliability)
    return pa.table(columns)


def from_arrow(table: pa.Table, source: str, name: str) -> Parts:
    """Read a table with the columns of `to_arrow`."""
    if missing := {"category", "vector"} - set(table.column_names):
        raise ValueError(f"The {source} is not an embedding space; it has no column {min(missing)!r}.")
    try:
        vectors = _matrix(table["vector"])
    except (ValueError, AttributeError, TypeError, pa.ArrowException) as error:
        raise ValueError(
            f"The {source} is not an embedding space; column 'vector' must hold lists of one width."
        ) from error
    counts, reliability = (
        table[name].to_numpy() if name in table.column_names else None
        for name in ("count", "reliability")
    )
    categories = table["category"].to_pandas()
    if JSON in table.column_names:
        categories = _of_json(table[JSON].to_pylist(), source)
    return Parts(vectors, categories, counts, name, reliability)


def _of_json(texts: list[str], source: str) -> pd.Index:
    try:
        labels = as_objects(from_json(json.loads(text)) for text in texts)
    except Exception as error:  # each type raises its own errors for invalid text
        raise ValueError(
            f"The {source} is not an embedding space; column {JSON!r} must hold categories as JSON."
        ) from error
    return pd.Index(labels, dtype=object, tupleize_cols=False)


def _lists(matrix: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])


def _matrix(column: pa.ChunkedArray) -> np.ndarray:
    lists = column.combine_chunks()
    fixed = pa.types.is_fixed_size_list(lists.type)
    (width,) = [lists.type.list_size] if fixed else lists.value_lengths().unique().to_pylist()
    matrix: np.ndarray = lists.flatten().to_numpy().reshape(len(lists), width)
    return matrix


def as_arrow(labels: pd.Index) -> pa.Array | None:
    """Return labels as an Arrow array; None if no Arrow type returns them unchanged."""
    if labels.dtype.kind == "O":
        types = set(map(type, labels.dropna()))
        if len(types) > 1 or not types <= PLAIN:
            return None
    try:
        return pa.array(labels, from_pandas=True)
    except (pa.ArrowException, OverflowError, TypeError, UnicodeEncodeError):
        return None


def _has_duckdb(dtype: pa.DataType) -> bool:
    """Return whether DuckDB returns values of a type unchanged; durations become months and days."""
    return not (pa.types.is_duration(dtype) or pa.types.is_decimal256(dtype))


def _as_text(labels: pd.Index) -> pa.Array:
    texts = [None if is_missing(label) else text_of(label) for label in labels]
    return pa.array(texts, pa.string())


def _as_json(labels: pd.Index, target: str) -> pa.Array:
    rule = f"{target} takes categories that are text, numbers, times or tuples of these; the space"
    return pa.array([json.dumps(to_json(label, rule)) for label in labels], pa.string())


def write_duckdb(space: CategoryVectors, database: Any, table: str) -> None:
    """Create a table with the columns of `to_arrow`."""
    duckdb = need("duckdb", "duckdb")
    with _connected(database, read_only=False) as connection:
        connection.register("tabemb_space", to_arrow(space, "DuckDB"))
        try:
            connection.execute(f"CREATE TABLE {_quoted(table)} AS SELECT * FROM tabemb_space")
        except duckdb.CatalogException as error:
            raise ValueError(
                f"table must be new; the database has a table {table!r} already, so drop it or choose "
                "another name."
            ) from error
        finally:
            connection.unregister("tabemb_space")


def read_duckdb(database: Any, table: str) -> Parts:
    """Read a table with the columns of `to_arrow`."""
    duckdb = need("duckdb", "duckdb")
    with _connected(database, read_only=True) as connection:
        try:
            columns = connection.table(_quoted(table)).to_arrow_table()
        except duckdb.Error as error:
            raise ValueError(f"table must be one of the database; it has no table {table!r}.") from error
    return from_arrow(columns, f"table {table!r}", table)


@contextlib.contextmanager
def _connected(database: Any, read_only: bool) -> Iterator[Any]:
    """Yield a given open connection, or connect to a file and close it afterwards."""
    if not isinstance(database, str | Path):
        yield database
        return
    if read_only and not Path(database).is_file():
        raise FileNotFoundError(f"database must name an existing file; got {str(database)!r}.")
    with need("duckdb", "duckdb").connect(str(database), read_only=read_only) as connection:
        yield connection


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def to_frame(space: CategoryVectors) -> pd.DataFrame:
    """Return a frame with one row for each category and one column for each dimension."""
    columns = safe_names(f"{space.name or 'vector'}_{i}" for i in range(space.vectors.shape[1]))
    return pd.DataFrame(space.vectors.copy(), index=space.named_categories, columns=columns)


def from_frame(frame: pd.DataFrame, counts: Any, reliability: Any) -> Parts:
    """Read a frame with one row for each category and one column for each dimension."""
    numeric = [pd.api.types.is_numeric_dtype(dtype) for dtype in frame.dtypes]
    if not all(numeric):
        column = frame.columns[numeric.index(False)]
        raise ValueError(
            f"frame must hold numbers only; column {column!r} has dtype {frame[column].dtype}."
        )
    name = frame.index.name
    name = "" if name is None else str(name)
    return Parts(frame.to_numpy(np.float32), frame.index, counts, name, reliability)

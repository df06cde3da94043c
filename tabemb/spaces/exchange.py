"""A space in the formats of others: parquet."""

from __future__ import annotations

import json
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
        raise ValueError(f"{source} is not an embedding space: its vectors are no lists of one width") from error
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
        raise TypeError(f"{target} needs categories of one plain type, got {type(categories[0]).__name__}")
    return array

"""The two sides of pairs: their users or items, and the columns that describe them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from tabemb.data.encoding import Encoder
from tabemb.data.frames import to_arrow
from tabemb.data.hashing import Limit
from tabemb.data.schema import Table, check_column, infer_schema, near
from tabemb.data.vocabulary import N_SPECIAL, Vocabulary
from tabemb.fitting.placing import check_describable
from tabemb.unsupervised.interactions import Entities, PairColumns, known_positions


@dataclass(frozen=True)
class SideRows:
    """The users or items of one side, in the order of their positions, with the columns of each.

    Parameters
    ----------
    entities : Entities
    frame : pyarrow.Table of n_entities rows
        Its first column contains the ids.
    """

    entities: Entities
    frame: pa.Table


def side_rows(
    name: str, columns: list[tuple[pa.ChunkedArray, pa.Field]], frame: Any, argument: str
) -> SideRows:
    """Collect one side of pairs.

    Parameters
    ----------
    name : str
        Column of ids.
    columns : list of (column, field)
        The columns of ids in the pairs; two if both sides share their ids.
    frame : frame, optional
        Describes each id. None: the ids are those of the pairs.
    argument : str
        Name of the frame in errors.

    Raises
    ------
    ValueError
        The frame repeats an id, has a row without an id, or lacks an id of the pairs.
    """
    ids = {f"{name} of pairs {i}": pair for i, pair in enumerate(columns)}
    if frame is None:
        vocabulary = Vocabulary.from_columns(ids)
        return SideRows(Entities(name, vocabulary), _distinct(name, columns, vocabulary))
    described = to_arrow(frame)
    check_column(described, name, argument)
    both = {name: (described[name], described.schema.field(name)), **ids}
    weights = {name: np.zeros(described.num_rows), **dict.fromkeys(ids)}
    entities = Entities(name, Vocabulary.from_columns(both, weights, Limit(min_count=0)))
    places = known_positions(entities, described)
    _check_each_once(entities, places, argument)
    order = np.argsort(places)
    first = [name, *(column for column in described.schema.names if column != name)]
    return SideRows(entities, described.select(first).take(pa.array(order)))


def _distinct(
    name: str, columns: list[tuple[pa.ChunkedArray, pa.Field]], vocabulary: Vocabulary
) -> pa.Table:
    """Return a frame of the distinct ids, by their positions."""
    parts, left = [], np.ones(len(vocabulary.categories), dtype=bool)
    for values, field in columns:
        codes, rows = np.unique(vocabulary.codes(values, field), return_index=True)
        fresh = (codes >= N_SPECIAL) & left[np.maximum(codes - N_SPECIAL, 0)]
        left[codes[fresh] - N_SPECIAL] = False
        part = pa.chunked_array(values.take(pa.array(rows[fresh])).chunks, type=values.type)
        parts.append(pa.table([part], schema=pa.schema([field.with_name(name)])))
    together = pa.concat_tables(parts, promote_options="permissive")
    codes = vocabulary.codes(together[name], together.schema.field(name))
    return together.take(pa.array(np.argsort(codes)))


def _check_each_once(entities: Entities, places: np.ndarray, argument: str) -> None:
    counts = np.bincount(places, minlength=len(entities))
    if (counts > 1).any():
        row = int(np.flatnonzero(counts[places] > 1)[0])
        raise ValueError(
            f"{argument} must have one row for each {entities.column!r}; row {row} is one of "
            f"{counts[places[row]]} with {entities.labels()[places[row]]!r}."
        )
    lacking = np.flatnonzero(counts == 0)
    if len(lacking):
        raise ValueError(
            f"{argument} must have a row for each {entities.column!r} of X; {len(lacking)} have none, "
            f"such as {entities.labels()[lacking[0]]!r}."
        )


def fit_encoder(
    side: SideRows,
    roles: dict[str, str],
    tables: Mapping[str, Table],
    min_count: float,
    n_bins: int,
    max_events: int | None,
) -> Encoder:
    """Fit vocabularies and scales of one side; each row is weighted by its number of pairs."""
    with_id: dict[str | int, str] = dict(roles.items())
    with_id[side.entities.column] = "categorical"
    schema = infer_schema(side.frame, with_id, tables)
    check_describable(schema)
    return Encoder(schema, n_bins, min_count, max_events).fit(side.frame, side.entities.counts)


def of_side(
    frame: pa.Table, roles: Mapping[str | int, str] | None, tables: Mapping[str, Table] | None
) -> tuple[dict[str, str], dict[str, Table]]:
    """Return the roles and the tables of the columns of one side."""

    def is_here(name: str) -> bool:
        return name.partition(".")[0] in frame.schema.names

    own_roles = {str(name): role for name, role in (roles or {}).items() if is_here(str(name))}
    own_tables = {
        name: table for name, table in (tables or {}).items() if all(map(is_here, table.columns))
    }
    return own_roles, own_tables


def check_used(names: Iterable[str], used: Iterable[str], argument: str, known: list[str]) -> None:
    """Raise ValueError for a role or a table that belongs to no side."""
    for name in names:
        if name not in used:
            raise ValueError(
                f"{argument} names {name!r}, which is on neither side of the pairs"
                f"{near(name, known)}; the columns are {known}."
            )


def pair_sides(
    frame: pa.Table, names: PairColumns, users: Any, items: Any, shared: bool
) -> tuple[SideRows, SideRows]:
    """Collect both sides of pairs; with shared ids, both have the same rows."""
    columns = [(frame[name], frame.schema.field(name)) for name in names]
    if shared:
        if users is not None:
            raise ValueError("users must be None with shared=True; pass the rows of all ids as items.")
        one = side_rows(names.item, columns, items, "items")
        return SideRows(Entities(names.user, one.entities.vocabulary), one.frame), one
    return (
        side_rows(names.user, columns[:1], users, "users"),
        side_rows(names.item, columns[1:], items, "items"),
    )

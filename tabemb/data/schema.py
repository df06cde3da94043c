"""The role of each column, and the table that each category reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from numbers import Real
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tabemb.data.histories import Events, is_list
from tabemb.data.vocabulary import kind_of

ROLES = ("categorical", "number", "datetime", "history", "ignored")


@dataclass
class Table:
    """Settings of one embedding table: which columns read it, and how its vectors are made and held back.

    What is left at its default follows the estimator's own setting.

    Parameters
    ----------
    columns : list of str
        The columns whose categories share this table.
    dim : int or str, optional
        Width of a vector, or the name of a rule (see the estimator's ``dim``).
    min_count : float, optional
        Categories with a smaller count are read as unknown.
    init : float or "uniform", default=0.1
        Standard deviation of the normal distribution that the vectors start from; "uniform" draws from
        (-1/sqrt(dim), 1/sqrt(dim)).
    l2 : float, optional
        Strength of the prior that pulls a category's vector to zero, divided by the category's count.
    max_norm : float, optional
        Vectors longer than this are rescaled to it whenever they are read.
    norm_type : float, default=2.0
        The p of the p-norm that ``max_norm`` measures.
    scale_grad_by_freq : bool, default=False
        Divide a vector's gradient by the number of times its category stands in the batch.
    sparse : bool, optional
        Update only the rows that a batch reads. None: for tables of more than 30,000 rows.
    pretrained : EmbeddingSpace or DataFrame or mapping, optional
        Vectors to start from, by category; categories without one start from ``init``. They are matched by value:
        ``EmbeddingSpace.match`` also finds other spellings, and reports what has none.
    frozen : bool, default=False
        Keep the pretrained vectors as they are; only vectors that were not given are trained.

    Examples
    --------
    >>> Table(columns=["origin", "destination"], dim=16).dim
    16
    """

    columns: list[str]
    dim: int | str | None = None
    min_count: float | None = None
    init: float | str = 0.1
    l2: float | None = None
    max_norm: float | None = None
    norm_type: float = 2.0
    scale_grad_by_freq: bool = False
    sparse: bool | None = None
    pretrained: Any = None
    frozen: bool = False


@dataclass(frozen=True)
class Feature:
    """One input of the network: a column or a field of events, or one part of a datetime one."""

    name: str
    column: str
    part: str | None = None


@dataclass
class Schema:
    """Which features a frame gives: ``roles`` by column, the categorical features with their tables, the numbers.

    The events of a history are a frame with a schema of its own, by the history's name in ``histories``; ``tables`` are
    those of all of them and stand in the first schema alone.
    """

    roles: dict[str, str]
    categorical: list[Feature] = field(default_factory=list)
    numbers: list[Feature] = field(default_factory=list)
    tables: dict[str, Table] = field(default_factory=dict)
    histories: dict[str, Schema] = field(default_factory=dict)

    @property
    def table_names(self) -> list[str]:
        """Name of the table that each categorical feature of a row reads."""
        return self.tables_of(self.categorical)

    def tables_of(self, features: Sequence[Feature]) -> list[str]:
        """Name of the table that each of these categorical features reads, of rows or of events."""
        reads = {column: name for name, table in self.tables.items() for column in table.columns}
        return [reads[feature.name] for feature in features]

    @property
    def used(self) -> list[str]:
        """The columns that ``predict`` needs."""
        return [name for name, role in self.roles.items() if role != "ignored"]


def infer_schema(
    frame: pa.Table,
    roles: Mapping[str | int, str] | None = None,
    tables: Mapping[str, Table] | None = None,
) -> Schema:
    """Give every column a role, every categorical feature a table.

    Text, dictionary, boolean and other Python values are categorical; integers, floats, decimals and durations are
    numbers; timestamps and dates are datetimes; lists are histories. ``roles`` overrides this column by column, and
    field by field of a history ("trips.city"; for a list of plain values the column's own name says what they are).

    A datetime gives the number ``{column}.elapsed`` and, where the training rows vary in them, calendar categories such
    as ``{column}.month``; a datetime of events gives the numbers ``{field}.gap`` and ``{field}.ago``, days since the
    event before and until the last one, instead of the first.

    Raises
    ------
    ValueError
        A role that does not exist, a role or table for a column that X lacks, a column in two tables, nothing to learn
        from.
    TypeError
        A column of structs.
    """
    events = _events_of(frame)
    chosen = _check_roles(frame, events, roles or {})
    schema = _schema_of(
        frame, {**chosen, **{n: "history" for n in events if chosen.get(n) != "ignored"}}, TIME_PARTS
    )
    schema.histories = {
        name: _schema_of(
            own, {n: role for n, role in chosen.items() if role != "history"}, EVENT_TIME_PARTS
        )
        for name, own in events.items()
        if schema.roles[name] == "history"
    }
    if not any(part.categorical or part.numbers for part in (schema, *schema.histories.values())):
        raise ValueError("Every column of X has the role 'ignored'; at least one must be used.")
    schema.tables = _assign_tables(schema, tables or {})
    return schema


def roles_of(frame: pa.Table, roles: Mapping[str | int, str] | None = None) -> dict[str, str]:
    """The role of each column: that which is given, or the one by its type.

    Raises
    ------
    ValueError
        A role that does not exist, or for a column that X lacks.
    TypeError
        A column of structs.
    """
    return _filled(frame, _check_roles(frame, _events_of(frame), roles or {}))


def _events_of(frame: pa.Table) -> dict[str, pa.Table]:
    """The events of all rows, for each column of lists."""
    return {f.name: Events.of(frame[f.name], f.name).frame for f in frame.schema if is_list(f.type)}


def _filled(frame: pa.Table, roles: Mapping[str, str]) -> dict[str, str]:
    """These roles, and for every other column the one by its type."""
    return {f.name: roles.get(f.name) or infer_role(f) for f in frame.schema}


def _schema_of(frame: pa.Table, roles: Mapping[str, str], time_parts: Sequence[str]) -> Schema:
    schema = Schema(_filled(frame, roles))
    for name, role in schema.roles.items():
        _add_features(schema, frame, name, role, time_parts)
    return schema


def _check_roles(
    frame: pa.Table, events: Mapping[str, pa.Table], roles: Mapping[str | int, str]
) -> dict[str, str]:
    checked, names = (
        {},
        [*frame.schema.names, *(name for own in events.values() for name in own.schema.names)],
    )
    for key, role in roles.items():
        name = frame.schema.names[key] if isinstance(key, int) and key < frame.num_columns else str(key)
        if name not in names:
            raise ValueError(f"roles names column {key!r}, which X does not have{near(name, names)}.")
        if role not in ROLES:
            raise ValueError(
                f"The role of column {name!r} must be one of {', '.join(ROLES)}; got {role!r}."
            )
        if role == "history" and name not in events:
            raise ValueError(f"Column {name!r} has the role 'history', but its cells are no lists.")
        if (
            role not in ("history", "ignored")
            and name in events
            and name not in events[name].schema.names
        ):
            raise ValueError(
                f"Column {name!r} holds lists of events; its role is 'history' or 'ignored', not {role!r}."
            )
        checked[name] = role
    return checked


def near(name: str, names: list[str]) -> str:
    """A hint at the name that was perhaps meant."""
    by_lower = {other.lower(): other for other in names}
    close = get_close_matches(name.lower(), by_lower, n=1)
    return f" (did you mean {by_lower[close[0]]!r}?)" if close else ""


def infer_role(column: pa.Field) -> str:
    """The role that a column gets by its type."""
    dtype = column.type
    if is_list(dtype):
        return "history"
    if pa.types.is_nested(dtype):
        raise TypeError(
            f"Column {column.name!r} has the type {dtype}; a cell must hold one value or a list of events. Spread its "
            f"values over columns, or leave it out with roles={{{column.name!r}: 'ignored'}}."
        )
    if pa.types.is_dictionary(dtype):
        return "categorical"
    kind = kind_of(column)
    if kind == "time":
        return "datetime"
    is_number = kind in ("integer", "float", None) or _is_quantity(dtype)
    return "number" if is_number else "categorical"


def _is_quantity(dtype: pa.DataType) -> bool:
    return pa.types.is_decimal(dtype) or pa.types.is_duration(dtype) or pa.types.is_time(dtype)


def _add_features(
    schema: Schema, frame: pa.Table, name: str, role: str, time_parts: Sequence[str]
) -> None:
    if role == "categorical":
        schema.categorical.append(Feature(name, name))
    elif role == "number":
        schema.numbers.append(Feature(name, name))
    elif role == "datetime":
        schema.numbers.extend(Feature(f"{name}.{part}", name, part) for part in time_parts)
        parts = varying_parts(frame[name], name)
        taken = set(frame.schema.names)
        schema.categorical.extend(
            Feature(_free_name(f"{name}.{part}", taken), name, part) for part in parts
        )


def _free_name(name: str, taken: set[str]) -> str:
    """The name, with underscores behind it where a column of X has it already."""
    return _free_name(name + "_", taken) if name in taken else name


TIME_PARTS, EVENT_TIME_PARTS = ("elapsed",), ("gap", "ago")
"""Numbers that a datetime of a row gives, and one of an event."""
CALENDAR = {
    "month": pc.month,
    "day": pc.day,
    "weekday": pc.day_of_week,  # Monday is 0
    "hour": pc.hour,
}
"""Calendar parts of a datetime that become categories, each with Arrow's kernel for it."""


def as_times(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """A datetime column as timestamps, read from text where it is text; the time zone is kept.

    Raises
    ------
    ValueError
        A value cannot be read as a date.
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_timestamp(column.type):
        return column
    if pa.types.is_date(column.type) or pa.types.is_null(column.type):
        return column.cast(pa.timestamp("us"))
    values = column.to_pandas()
    if not pd.api.types.is_string_dtype(values.dtype):
        raise ValueError(f"Column {name!r} has the role 'datetime', but holds {column.type} values.")
    times = pd.to_datetime(values, format="ISO8601", errors="coerce")
    unread = values[times.isna() & values.notna()]
    if len(unread):
        raise ValueError(
            f"Column {name!r} has the role 'datetime', but holds {unread.iloc[0]!r} in row {unread.index[0]}, which is "
            "not an ISO 8601 date; convert the column with pandas.to_datetime first."
        )
    return pa.chunked_array([pa.Array.from_pandas(times)])


def varying_parts(column: pa.ChunkedArray, name: str) -> list[str]:
    """The calendar parts that take more than one value; a constant one could teach nothing."""
    times = as_times(column, name)
    return [part for part, kernel in CALENDAR.items() if pc.count_distinct(kernel(times)).as_py() > 1]


def _assign_tables(schema: Schema, tables: Mapping[str, Table]) -> dict[str, Table]:
    """The user's tables first, then one for each categorical feature that none of them names."""
    names = [f.name for part in (schema, *schema.histories.values()) for f in part.categorical]
    owner: dict[str, str] = {}
    for table_name, table in tables.items():
        for column in _check_columns(table_name, table):
            if column not in names:
                raise ValueError(
                    f"Table {table_name!r} names column {column!r}, which is not a categorical column of X"
                    f"{near(column, names)}; the categorical columns are {names}."
                )
            if column in owner:
                raise ValueError(
                    f"Column {column!r} stands in two tables, {owner[column]!r} and {table_name!r}."
                )
            owner[column] = table_name
    assigned = dict(tables)
    for name in names:
        if name not in owner:
            if name in assigned:
                raise ValueError(
                    f"Table {name!r} has the name of a column that it does not list; rename the table."
                )
            assigned[name] = Table([name])
    return assigned


def _check_columns(name: str, table: Table) -> list[str]:
    if not isinstance(table, Table):
        raise TypeError(f"tables[{name!r}] must be a tabemb.Table; got {type(table).__name__}.")
    if isinstance(table.columns, str) or not table.columns:
        raise ValueError(f"Table {name!r} must list its columns; got columns={table.columns!r}.")
    for setting, (holds, rule) in _TABLE_RULES.items():
        if not holds(getattr(table, setting)):
            raise ValueError(
                f"Table {name!r}: {setting} must be {rule}; got {getattr(table, setting)!r}."
            )
    if table.frozen and table.pretrained is None:
        raise ValueError(f"Table {name!r} is frozen, but has no pretrained vectors.")
    return list(table.columns)


def _at_least_zero(value: Any) -> bool:
    return value is None or (isinstance(value, Real) and float(value) >= 0)


_TABLE_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "min_count": (_at_least_zero, "a number >= 0 or None"),
    "l2": (_at_least_zero, "a number >= 0 or None"),
    "max_norm": (lambda v: _at_least_zero(v) and v != 0, "a number > 0 or None"),
    "init": (
        lambda v: v == "uniform" or (v is not None and _at_least_zero(v)),
        "a number >= 0 or 'uniform'",
    ),
}

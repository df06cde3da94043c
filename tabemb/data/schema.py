"""The role of each column, and the embedding table that each categorical column reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.compute as pc

from tabemb.data.histories import Events, is_list, is_list_of_steps
from tabemb.data.table import Table as Table
from tabemb.data.table import check_table
from tabemb.data.text import with_words
from tabemb.data.times import varying_parts
from tabemb.data.values import are_numbers, stray_of
from tabemb.data.vectors import are_vectors
from tabemb.data.vocabulary import kind_of
from tabemb.hints import similar

ROLES = ("categorical", "number", "datetime", "history", "text", "vector", "ignored")
ROW_ROLES = ("text", "vector")
"""Roles that a column of X may have, but not a field of events."""
TIME_PARTS, EVENT_TIME_PARTS = ("elapsed",), ("gap", "ago")
"""Numbers that are made of a datetime of a row, and of a datetime of an event."""
WITHIN, BINS = "within", "bins"
"""Parts of a number of events: its value within the levels of a field, and its bins within these."""


@dataclass(frozen=True)
class Feature:
    """One input of the network: a column, a field of events, or one part of a datetime."""

    name: str
    column: str
    part: str | None = None


@dataclass
class Schema:
    """The features of a frame, with the table that each categorical feature reads.

    The events of a history are a frame too, whose schema is in ``histories`` by the history's name.
    ``tables`` contains the tables of rows and histories, and is empty in the schemas of histories.
    ``in_steps`` is true if the events of a history come in steps, as lists of lists.
    """

    roles: dict[str, str]
    categorical: list[Feature] = field(default_factory=list)
    numbers: list[Feature] = field(default_factory=list)
    tables: dict[str, Table] = field(default_factory=dict)
    histories: dict[str, Schema] = field(default_factory=dict)
    in_steps: bool = False

    @property
    def table_names(self) -> list[str]:
        """Name of the table that each categorical feature of a row reads."""
        return self.tables_of(self.categorical)

    def tables_of(self, features: Sequence[Feature]) -> list[str]:
        """Return the name of the table that each feature (of rows or events) reads."""
        readers = {column: name for name, table in self.tables.items() for column in table.columns}
        return [readers[feature.name] for feature in features]

    @property
    def texts(self) -> list[str]:
        """The columns of text. Their words are a history of the same name."""
        return self._of_role("text")

    @property
    def vectors(self) -> list[str]:
        """The columns of ready-made vectors."""
        return self._of_role("vector")

    def _of_role(self, role: str) -> list[str]:
        return [name for name, given in self.roles.items() if given == role]

    @property
    def used(self) -> list[str]:
        """The columns that ``predict`` needs."""
        return [name for name, role in self.roles.items() if role != "ignored"]


def infer_schema(
    frame: pa.Table,
    roles: Mapping[str | int, str] | None = None,
    tables: Mapping[str, Table] | None = None,
) -> Schema:
    """Assign a role to every column and a table to every categorical feature.

    Text, dictionary, boolean and other Python values are categorical. Integers, floats, decimals and
    durations are numbers. Timestamps and dates are datetimes. Lists of floats that all have the same
    length are vectors, lists of lists are histories in steps, and all other lists are histories. The
    words of a column with the role "text" are a history.

    A datetime becomes the number ``{column}.elapsed`` and those calendar categories that vary in the
    training rows, such as ``{column}.month``. A datetime of events has, instead of ``elapsed``, the
    numbers ``{field}.gap`` (days since the previous event) and ``{field}.ago`` (days until the last
    event).

    Parameters
    ----------
    frame : pyarrow.Table
        Training rows.
    roles : mapping of column -> role, optional
        Roles that override the roles by type. A field of a history is named "trips.city"; for a list of
        plain values, the column's name refers to the values.
    tables : mapping of name -> Table, optional
        Tables that several columns share, or that need settings.

    Raises
    ------
    ValueError
        A role does not exist, a role or table names a column that X lacks, a column is in two tables, or
        no column is used.
    TypeError
        A column of structs.
    """
    frame = _with_words(frame, roles)
    events = _events_by_column(frame, roles)
    checked = _check_roles(frame, events, roles or {})
    used_histories = [name for name in events if checked.get(name) != "ignored"]
    row_roles = {name: "text" if checked.get(name) == "text" else "history" for name in used_histories}
    schema = _schema_of(frame, {**checked, **row_roles}, TIME_PARTS)
    field_roles = {name: role for name, role in checked.items() if role != "history"}
    field_roles |= dict.fromkeys(schema.texts, "categorical")
    for name in used_histories:
        _check_no_lists(events[name], field_roles, name)
    schema.histories = {
        name: _schema_of(events[name], field_roles, EVENT_TIME_PARTS) for name in used_histories
    }
    for name, history in schema.histories.items():
        history.in_steps = is_list_of_steps(frame.schema.field(name).type)
        _check_no_vectors(name, history, checked)
    parts = (schema, *schema.histories.values())
    if not (schema.vectors or any(part.categorical or part.numbers for part in parts)):
        raise ValueError("Every column of X has the role 'ignored'; at least one must be used.")
    schema.tables = _assign_tables(schema, tables or {})
    return schema


def roles_of(frame: pa.Table, roles: Mapping[str | int, str] | None = None) -> dict[str, str]:
    """Return the role of each column: the given one, or by default the one for its type.

    Raises
    ------
    ValueError
        A role does not exist, or names a column that X lacks.
    TypeError
        A column of structs.
    """
    frame = _with_words(frame, roles)
    return _all_roles(frame, _check_roles(frame, _events_by_column(frame, roles), roles or {}))


def infer_role(column: pa.Field) -> str:
    """Return the default role of a column, by its type.

    Raises
    ------
    TypeError
        A column of structs.
    """
    dtype = column.type
    check_no_stray(column)
    if is_list(dtype):
        return "history"
    if pa.types.is_nested(dtype):
        raise TypeError(
            f"Column {column.name!r} has the type {dtype}; a cell must hold one value or a list of "
            f"events. Spread its values over columns, or leave it out with roles={{{column.name!r}: "
            "'ignored'}."
        )
    if pa.types.is_dictionary(dtype) and not are_numbers(column):
        return "categorical"
    kind = kind_of(column)
    if kind == "time":
        return "datetime"
    is_number = kind in ("integer", "float") or are_numbers(column) or _is_quantity(dtype)
    return "number" if is_number else "categorical"


def check_no_stray(column: pa.Field) -> None:
    """Raise if a value does not fit the others, since a failed conversion is not a category."""
    stray = stray_of(column)
    if stray:
        raise ValueError(
            f"Column {column.name!r} holds {stray}; make its values all of one kind, or set "
            f"roles={{{column.name!r}: 'categorical'}}."
        )


def _is_quantity(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_decimal(dtype) or pa.types.is_duration(dtype) or pa.types.is_time(dtype))


def near(name: str, names: list[str]) -> str:
    """Return a hint at the name that was probably meant; empty if none is close."""
    close = similar(name, names, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def check_column(frame: pa.Table, name: str, owner: str) -> None:
    """Raise unless the frame has the column; the error names the ``owner`` of the frame, such as "X"."""
    if name not in frame.schema.names:
        raise ValueError(f"{owner} lacks column {name!r}{near(name, frame.schema.names)}.")


def _events_by_column(
    frame: pa.Table, roles: Mapping[str | int, str] | None = None
) -> dict[str, pa.Table]:
    """Return the events of all rows as a frame, for each column of lists except vectors.

    A column without any value has no events; its fields are those that the given roles name.
    """
    events = {}
    for i, column in enumerate(frame.schema):
        name, role = column.name, _given(roles, frame, i)
        fields = [key for key in roles or {} if str(key).startswith(f"{name}.")]
        if is_list(column.type) and role != "vector" and (role or not are_vectors(frame[name])):
            events[name] = Events.of(frame[name], name).frame
        elif pa.types.is_null(column.type) and (fields or role in ("history", "text")):
            events[name] = pa.table({str(key): pa.nulls(0) for key in fields or [name]})
    return events


def _given(roles: Mapping[str | int, str] | None, frame: pa.Table, i: int) -> str | None:
    """Return the role that the user gave to a column, by its name or its position."""
    return (roles or {}).get(frame.schema.names[i], (roles or {}).get(i))


def _with_words(frame: pa.Table, roles: Mapping[str | int, str] | None) -> pa.Table:
    """Replace texts in the frame with lists of words."""
    texts = [f for i, f in enumerate(frame.schema) if _given(roles, frame, i) == "text"]
    for column in texts:
        check_no_stray(column)
    return with_words(frame, [column.name for column in texts])


def _all_roles(frame: pa.Table, roles: Mapping[str, str]) -> dict[str, str]:
    for column in frame.schema:
        if roles.get(column.name) in ("datetime", "history", "vector"):
            check_no_stray(column)
    return {f.name: roles.get(f.name) or _role_of(frame, f) for f in frame.schema}


def _role_of(frame: pa.Table, field: pa.Field) -> str:
    """Return the role of a column by its type, and by the lengths of its lists."""
    return "vector" if are_vectors(frame[field.name]) else infer_role(field)


def _check_no_lists(events: pa.Table, roles: Mapping[str, str], name: str) -> None:
    """Raise if an event is a list or has a list in a field."""
    for column in events.schema:
        if is_list(column.type) and roles.get(column.name) != "ignored":
            first = pc.index(pc.is_valid(events[column.name]), True).as_py()
            raise ValueError(
                f"Column {column.name!r} holds lists inside the lists of column {name!r}, such as "
                f"{events[column.name][first].as_py()!r:.60}; an event must hold one value in each "
                f"field. Flatten them, or leave them out with roles={{{column.name!r}: 'ignored'}}."
            )


def _check_no_vectors(name: str, history: Schema, roles: Mapping[str, str]) -> None:
    """Raise if steps contain plain numbers: they may be vectors, whose order matters."""
    if history.in_steps and history.roles.get(name) == "number" and name not in roles:
        raise ValueError(
            f"Column {name!r} holds lists of numbers inside lists, which are read as steps of events in "
            f"no order; set roles={{{name!r}: 'number'}} if they are, or name them in structs such as "
            "[[{'x': 1.0, 'y': 2.0}]]."
        )


def _schema_of(frame: pa.Table, roles: Mapping[str, str], time_parts: Sequence[str]) -> Schema:
    """Return the features of rows or events, without tables and histories."""
    schema = Schema(_all_roles(frame, roles))
    for name, role in schema.roles.items():
        if role == "categorical":
            schema.categorical.append(Feature(name, name))
        elif role == "number":
            schema.numbers.append(Feature(name, name))
        elif role == "datetime":
            schema.numbers.extend(Feature(f"{name}.{part}", name, part) for part in time_parts)
            taken = set(frame.schema.names)
            schema.categorical.extend(
                Feature(_free_name(f"{name}.{part}", taken), name, part)
                for part in varying_parts(frame[name], name)
            )
    return schema


def _free_name(name: str, taken: set[str]) -> str:
    """Append underscores to the name until it is not taken."""
    return _free_name(name + "_", taken) if name in taken else name


def _check_roles(
    frame: pa.Table, events: Mapping[str, pa.Table], roles: Mapping[str | int, str]
) -> dict[str, str]:
    """Return the given roles by column name; the keys may also be positions."""
    fields = [name for table in events.values() for name in table.schema.names]
    names = [*frame.schema.names, *fields]
    checked = {}
    for key, role in roles.items():
        name = frame.schema.names[key] if isinstance(key, int) and key < frame.num_columns else str(key)
        if name not in names:
            raise ValueError(f"roles names column {key!r}, which X does not have{near(name, names)}.")
        if role not in ROLES:
            raise ValueError(
                f"The role of column {name!r} must be one of {', '.join(ROLES)}; got {role!r}."
            )
        if role in ROW_ROLES and name not in frame.schema.names:
            raise ValueError(
                f"Field {name!r} must not have the role {role!r}, which only columns of X have; "
                f"leave it out with roles={{{name!r}: 'ignored'}}."
            )
        _check_history_role(name, role, events)
        checked[name] = role
    return checked


def with_parts(
    schema: Schema, column: str, by: str, prefix: str, has_bins: bool, taken: Iterable[str] = ()
) -> Schema:
    """Add features for one number within the levels of a categorical field to the features of events.

    Parameters
    ----------
    schema : Schema
    column, by : str
        The number and the categorical field.
    prefix : str
        Prefix of the names of all fields of these events.
    has_bins : bool
        Whether the number has bins within the levels.
    taken : iterable of str
        Further names that new features must not have.
    """
    names = {*taken, *schema.roles, *(f.name for f in (*schema.categorical, *schema.numbers))}
    within = f"{column} {WITHIN} {by.removeprefix(prefix)}"
    crossed = f"{by} x {column.removeprefix(prefix)}"
    bins = [Feature(_free_name(crossed, names), column, BINS)] if has_bins else []
    numbers = [*schema.numbers, Feature(_free_name(within, names), column, WITHIN)]
    return replace(schema, categorical=[*schema.categorical, *bins], numbers=numbers)


def _check_history_role(name: str, role: str, events: Mapping[str, pa.Table]) -> None:
    if role == "history" and name not in events:
        raise ValueError(f"Column {name!r} has the role 'history', but its cells are no lists.")
    # in a bag of plain values the column is also the only field, so any role may be meant for the values
    is_struct_history = name in events and name not in events[name].schema.names
    if is_struct_history and role not in ("history", "ignored"):
        raise ValueError(
            f"Column {name!r} holds lists of events; its role is 'history' or 'ignored', not {role!r}."
        )


def _assign_tables(schema: Schema, tables: Mapping[str, Table]) -> dict[str, Table]:
    """Return the user's tables, then one for each categorical feature that is in none of these."""
    names = [f.name for part in (schema, *schema.histories.values()) for f in part.categorical]
    readers = _check_tables(tables, names)
    assigned = dict(tables)
    for name in names:
        if name in readers:
            continue
        if name in assigned:
            raise ValueError(
                f"Table {name!r} has the name of a column that it does not list; rename the table."
            )
        assigned[name] = Table([name])
    return assigned


def _check_tables(tables: Mapping[str, Table], names: list[str]) -> dict[str, str]:
    """Return the table of each column that the user's tables list."""
    readers: dict[str, str] = {}
    for table_name, table in tables.items():
        check_table(table_name, table)
        for column in table.columns:
            if column not in names:
                raise ValueError(
                    f"Table {table_name!r} names column {column!r}, which is not a categorical column "
                    f"of X{near(column, names)}; the categorical columns are {names}."
                )
            if column in readers:
                raise ValueError(
                    f"Column {column!r} stands in two tables, {readers[column]!r} and {table_name!r}; "
                    "it can read only one."
                )
            readers[column] = table_name
    return readers

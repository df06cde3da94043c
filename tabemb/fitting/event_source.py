"""A log of events as rows: each event with the earlier events of its entity, or their state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from copy import copy
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from tabemb.data.encoding import Encoder
from tabemb.data.encounters import Coded, Encounters, run_starts
from tabemb.data.floats import to_floats
from tabemb.data.histories import as_structs
from tabemb.data.schema import Schema, Table, check_column, check_no_stray, infer_role, infer_schema
from tabemb.data.seen import SeenClasses
from tabemb.data.states import EntityStates, Past
from tabemb.data.times import TimeAxis, time_column
from tabemb.data.values import hashable_values
from tabemb.fitting.checks import Rows
from tabemb.fitting.networks import D_CLASS
from tabemb.fitting.sources import RowSource, encoded
from tabemb.fitting.target_values import label_column
from tabemb.fitting.training_rows import TrainingRows
from tabemb.labels import codes_of
from tabemb.network.devices import device_of
from tabemb.network.inputs import Batch, Kept, Prefixes, Ragged, RowInputs
from tabemb.network.model import Network, TabularNetwork
from tabemb.targets import ClassTarget, Target
from tabemb.training.batches import Batches, equal_sizes, pieces_of

EARLIER = "earlier"
"""Column of the events that later rows of the entity see: their fields, outcomes and targets."""
PIECE = 4096
"""Events predicted at a time, or one sequence if it is longer."""
L2_CLASSES = 20.0
"""``l2`` of the vectors of many classes, which targets and earlier events share."""
LONGEST = 100
"""Longest part of a sequence in a training step: its events are computed one after the other."""


class EventSource(RowSource):
    """Rows are events of a log; each sees the earlier events of its entity with their targets.

    Parameters
    ----------
    entity, time : str
        Columns of the log.
    outcome_fields : sequence of str
        Columns that only later events of the entity see.
    count_encounters : bool
        Whether the entity's earlier encounters with the same category are inputs.
    roles : mapping, optional
        Roles of columns that the user gave.
    numeric_target : bool
    ties : {"hidden", "order", "merge"}
        What events of an entity at one time see of each other, and whether they are one step.
    example_age : bool, default=False
        Whether the time from an event to the newest of the fit is an input; it is zero in predictions.
    """

    hide_ties = merge_ties = example_age = keeps_classes = False  # for files of earlier versions
    seen: SeenClasses | None = None
    smallest_batch, largest_batch = 64, 1024  # events: a few sequences, not a few rows
    refit_divisor = 8  # a recurrent net soon overfits sequences that it has read before
    n_precise = 0
    has_sequences = True
    earlier = EARLIER
    target_field = f"{EARLIER}.answer"

    def __init__(
        self,
        entity: str,
        time: str,
        outcome_fields: Sequence[str],
        count_encounters: bool,
        roles: Mapping[str | int, str] | None,
        numeric_target: bool,
        ties: str = "order",
        example_age: bool = False,
    ) -> None:
        self.entity, self.time, self.outcome_fields = entity, time, list(outcome_fields)
        self.count_encounters, self.numeric_target = count_encounters, numeric_target
        self.roles = dict(roles or {})
        self.hide_ties, self.merge_ties = ties != "order", ties == "merge"
        self.example_age = example_age

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns of the entity and the time."""
        return self.entity, self.time

    # From the log to rows

    def prepare(self, rows: Rows, target: Target) -> Rows:
        """Sort the events by entity and time, and join each with what later events may see of it."""
        self.check_columns(rows.frame, self.outcome_fields)
        self.time_axis = TimeAxis.of(time_column(rows.frame, self.time), self.time)
        rows = rows.take(self._order(rows.frame))
        self.newest = self.moments(rows.frame).max().item()
        self.keeps_classes = target.has_many_classes
        self.target_names = ["answer"]
        if rows.y.ndim == 2:
            self.target_names = [f"answer_{i}" for i in range(rows.y.shape[1])]
        fields = self._encounter_fields(rows.frame) if self.count_encounters else []
        mean = self._counted(rows.y, target).mean(axis=0)
        self.encounters = Encounters(self.entity, fields, self.time_axis, mean, self.hide_ties)
        self.states = EntityStates(d_state=0)  # no entity has a state yet
        frame = self._with_earlier(rows.frame, rows.y, target, self._ages(rows.frame))
        added = set(frame.schema.names) - set(rows.frame.schema.names)
        counted = [self.time, *sorted(added)]
        self.clocks = [*counted, *(f"{EARLIER}.{name}" for name in ("gap", *counted))]
        return replace(rows, frame=frame)

    def prepare_validation(self, rows: Rows, target: Target) -> Rows:
        """Sort and join other events; they see their own earlier events, not those of training."""
        self.check_columns(rows.frame, self.outcome_fields)
        rows = rows.take(self._order(rows.frame))
        ages = self._ages(rows.frame)
        return replace(rows, frame=self._with_earlier(rows.frame, rows.y, target, ages))

    def check_columns(self, frame: pa.Table, more: Sequence[str] = ()) -> None:
        """Raise ValueError unless the frame has the entity, the time, and ``more``."""
        for name in (self.entity, self.time, *more):
            check_column(frame, name, "X")

    def check_kinds(self, encoder: Encoder, frame: pa.Table) -> None:
        """Raise, as `fit` does, where a value is of another kind than its column: read events stay."""
        earlier = encoder.schema.histories[EARLIER].roles
        for field in frame.schema:
            role = earlier.get(f"{EARLIER}.{field.name}", encoder.schema.roles.get(field.name))
            if role == "number":
                to_floats(frame[field.name], field.name, field)
            elif role == "datetime":
                check_no_stray(field)

    def _encounter_fields(self, frame: pa.Table) -> list[str]:
        """Return the categorical columns that are known before the target."""
        special = {self.entity, self.time, *self.outcome_fields}
        fields = [f for f in frame.schema if f.name not in special and not pa.types.is_null(f.type)]
        role_of = {field.name: self.roles.get(field.name) or infer_role(field) for field in fields}
        return [name for name, role in role_of.items() if role == "categorical"]

    def _counted(self, y: np.ndarray, target: Target) -> np.ndarray:
        """Return targets that can be summed, (n, n_counted): numbers, or one of two classes."""
        if not isinstance(target, ClassTarget):
            return target.responses(y)
        is_second: np.ndarray = codes_of(target.classes_, y)[:, None] == 1
        return is_second.astype(np.float64)[:, : int(target.n_outputs == 2)]

    def _order(self, frame: pa.Table) -> np.ndarray:
        """Return the order by entity and time; events at one time keep their order."""
        return np.lexsort((self.moments(frame), self.groups(frame)))

    def moments(self, frame: pa.Table) -> np.ndarray:
        """Return the time of each event on the axis of the log, (n,)."""
        return self.time_axis.read(time_column(frame, self.time), self.time)

    def groups(self, frame: pa.Table) -> np.ndarray:
        """Return a code of each event's entity: whole entities are held out."""
        self._check_entities(frame)
        return Coded.of(frame, self.entity).codes

    def _check_entities(self, frame: pa.Table) -> None:
        column = frame[self.entity]
        if column.null_count:
            row = column.is_null().to_pylist().index(True)
            raise ValueError(
                f"Column {self.entity!r} must name an entity in every row; it is missing in row {row}."
            )

    def _entities(self, frame: pa.Table, rows: np.ndarray | None = None) -> list[Any]:
        """Return the entity of each row, or of some rows."""
        self._check_entities(frame)
        column = frame[self.entity] if rows is None else frame[self.entity].take(pa.array(rows))
        return hashable_values(column, frame.schema.field(self.entity))

    def _heads(self, frame: pa.Table) -> np.ndarray:
        """Return the first row of each entity in sorted events."""
        return np.flatnonzero(np.diff(self.groups(frame), prepend=-1))

    def _gaps(self, frame: pa.Table) -> np.ndarray:
        """Return the days from the last event that each sorted event sees, or from the kept state."""
        moments, heads = self.moments(frame), self._heads(frame)
        gaps = np.diff(self.time_axis.span(moments), prepend=np.nan)
        past = self.states.read(self._entities(frame, heads))
        gaps[heads] = past.since(self.time_axis, moments[heads])
        seen: np.ndarray = gaps[self._firsts(frame)]
        return seen

    def _ages(self, frame: pa.Table) -> np.ndarray:
        """Return the time from each event to the newest of the fit, in days unless times are numbers."""
        moments = self.moments(frame)
        return self.time_axis.span(np.full(len(moments), self.newest), moments).clip(min=0)

    def _firsts(self, frame: pa.Table) -> np.ndarray:
        """Return the position of each sorted event, or of the first at its time if ties are hidden."""
        if not self.hide_ties:
            return np.arange(frame.num_rows)
        return run_starts(self.groups(frame), self.moments(frame))

    def _before_target(
        self,
        frame: pa.Table,
        gaps: np.ndarray,
        encounters: dict[str, np.ndarray],
        ages: np.ndarray | None = None,
    ) -> pa.Table:
        """Return the columns that are known before the targets of events; ages are zeros if None."""
        hidden = [name for name in self.outcome_fields if name in frame.schema.names]
        frame = frame.drop_columns(hidden)
        added = {f"{self.time}.gap": gaps, **encounters}
        if self.example_age:
            added[f"{self.time}.age"] = np.zeros(frame.num_rows) if ages is None else ages
        self._check_free(frame, {EARLIER, *self.target_names, *added})
        columns = {name: pa.array(numbers) for name, numbers in added.items()}
        fields = [*frame.schema, *(pa.field(name, column.type) for name, column in columns.items())]
        return pa.Table.from_arrays([*frame.columns, *columns.values()], schema=pa.schema(fields))

    def _check_free(self, frame: pa.Table, names: set[str]) -> None:
        taken = names.intersection(frame.schema.names)
        if taken:
            raise ValueError(
                f"X has a column {min(taken)!r}, a name that is needed for the earlier events; "
                "rename it."
            )

    def _with_earlier(
        self, frame: pa.Table, y: np.ndarray, target: Target, ages: np.ndarray | None = None
    ) -> pa.Table:
        """Join what is known before each target with a list of one event, which later rows see."""
        gaps, counted = self._gaps(frame), self._counted(y, target)
        encounters = self.encounters.before(frame, self.moments(frame), counted)
        known = self._before_target(frame, gaps, encounters, ages)
        keys = list({self.entity, self.time})  # one column may be both
        fields = frame.drop_columns(keys).append_column("gap", pa.array(gaps))
        texts = {name for name, role in self.roles.items() if role == "text"}
        flat = [f.name for f in fields.schema if not (pa.types.is_nested(f.type) or f.name in texts)]
        fields = fields.select(flat)
        is_list = isinstance(target.classes_, list)
        classes = target.classes_ if is_list else [target.classes_] * len(self.target_names)
        for name, column, labels in zip(self.target_names, y.reshape(len(y), -1).T, classes):
            answers = label_column(column, labels, name)
            fields = fields.append_column(answers.field(name), answers.array)
        offsets = pa.array(np.arange(frame.num_rows + 1))
        earlier = pa.LargeListArray.from_arrays(offsets, as_structs(fields))
        return known.append_column(EARLIER, earlier)

    def schema(
        self,
        frame: pa.Table,
        roles: Mapping[str | int, str] | None,
        tables: Mapping[str, Table] | None,
        target: Target,
    ) -> Schema:
        """Return a schema where a field of the event and of the earlier events share a table."""
        full_roles = self._roles_of_both(frame, roles or {})
        features = infer_schema(frame, full_roles)
        inside = {feature.name for feature in features.histories[EARLIER].categorical}
        shared = {name: _with_inside(table, inside) for name, table in (tables or {}).items()}
        named = {column for table in shared.values() for column in table.columns}
        single = [feature.name for feature in features.categorical if feature.name not in named]
        all_tables = {**shared, **{name: _with_inside(Table([name]), inside) for name in single}}
        if target.has_many_classes and self.target_field not in named:
            sparse = target.is_sampled
            classes = Table([self.target_field], dim=D_CLASS, l2=L2_CLASSES, sparse=sparse)
            all_tables.setdefault("answer", classes)
        return infer_schema(frame, full_roles, all_tables)

    def _roles_of_both(self, frame: pa.Table, roles: Mapping[str | int, str]) -> dict[str | int, str]:
        """Give the earlier events' fields the roles of the columns with the same name."""
        fields = frame.schema.field(EARLIER).type.value_type
        names = {*frame.schema.names, *(f"{EARLIER}.{field.name}" for field in fields)}
        target_role = "number" if self.numeric_target else "categorical"
        both: dict[str | int, str] = {self.entity: "ignored"}
        both |= {f"{EARLIER}.{name}": target_role for name in self.target_names}
        for name, role in roles.items():
            both |= {key: role for key in (name, f"{EARLIER}.{name}") if key in names} or {name: role}
        return both

    # From rows to what a network reads

    def encode(self, encoder: Encoder, frame: pa.Table) -> RowInputs:
        """Return sorted events, each with the events of its entity before it as history."""
        inputs = encoded(encoder, frame)
        events = inputs.histories[-1]
        assert isinstance(events, Ragged)
        offsets = torch.from_numpy(np.append(self._heads(frame), frame.num_rows))
        ties = torch.from_numpy(np.arange(frame.num_rows) - self._firsts(frame))
        rows = Ragged(offsets, events.codes, events.numbers)
        return inputs.with_history(Prefixes(rows, ties=ties if ties.any() else None))

    def encode_new(self, encoder: Encoder, frame: pa.Table) -> RowInputs:
        """Return events, each of which continues from the kept state of its entity."""
        self.check_columns(frame)
        past = self.states.read(self._entities(frame))
        moments = self.time_axis.read(time_column(frame, self.time), self.time, any_size=True)
        self._check_times(frame, past, moments)
        gaps = past.since(self.time_axis, moments)
        known = self._before_target(frame, gaps, self.encounters.known(frame, moments))
        inputs = encoded(encoder, known.append_column(EARLIER, pa.nulls(frame.num_rows)))
        return inputs.with_history(Kept(torch.from_numpy(past.states), torch.from_numpy(past.counts)))

    def reference(self, inputs: RowInputs, frame: pa.Table, rows: Tensor) -> RowInputs:
        """Return some training events as if they continued from the kept states of their entities."""
        past = self.states.read(self._entities(frame, rows.numpy()))
        kept = Kept(torch.from_numpy(past.states), torch.from_numpy(past.counts))
        others = replace(inputs, histories=inputs.histories[:-1]).take(rows.to(inputs.device))
        return replace(others, histories=(*others.histories, kept.to(inputs.device)))

    def encode_sequences(self, encoder: Encoder, frame: pa.Table) -> RowInputs:
        """Return sorted events whose sequences continue from the kept states of their entities."""
        inputs = self.encode(encoder, frame)
        sequences = inputs.histories[-1]
        assert isinstance(sequences, Prefixes)
        past = self.states.read(self._entities(frame, self._heads(frame)))
        states, counts = torch.from_numpy(past.states), torch.from_numpy(past.counts)
        return inputs.with_history(Prefixes(sequences.events, states, counts, sequences.ties))

    def batches(
        self,
        network: TabularNetwork,
        training_rows: TrainingRows,
        batch_size: int,
        generator: torch.Generator,
        rows: Tensor | None = None,
    ) -> Batches[Batch]:
        """Return batches of whole sequences; long ones are cut into parts that continue each other.

        The states between the parts are computed again at the start of every epoch.
        """
        sequences = training_rows.batch.inputs.histories[-1]
        assert isinstance(sequences, Prefixes)
        parts = sequences.cut(LONGEST)
        return Batches(
            training_rows.with_history(parts),
            batch_size,
            generator,
            rows,
            groups=parts.events.rows,
            start=partial(network.carry, parts),
        )

    def piece_sizes(self, inputs: RowInputs, largest: int) -> list[int]:
        """Return the sizes of pieces of whole sequences, or of single events from kept states."""
        history = inputs.histories[-1]
        at_once = min(PIECE, largest)
        if not isinstance(history, Prefixes):
            return equal_sizes(len(inputs), at_once)
        return list(_sizes_of_groups(history.lengths.tolist(), at_once))

    # States of the entities

    def finish(self, encoder: Encoder, network: Network, rows: Rows, target: Target) -> None:
        """Keep the state of every entity after its last training event."""
        self.forget(network)
        self._keep(encoder, network, rows.frame, rows.y, target)

    def forget(self, network: Network) -> None:
        """Forget the events of all entities."""
        encounters = copy(self.encounters)
        encounters.forget()
        self.encounters, self.states = encounters, EntityStates(network.d_state)
        self.seen = SeenClasses() if self.keeps_classes else None

    def update(
        self, encoder: Encoder, network: Network, frame: pa.Table, y: np.ndarray, target: Target
    ) -> None:
        """Read new events with their targets, and keep the states after them."""
        events, y, _ = self.after_kept(frame, y, target)
        self._keep(encoder, network, events, y, target)

    def after_kept(
        self, frame: pa.Table, y: np.ndarray, target: Target
    ) -> tuple[pa.Table, np.ndarray, np.ndarray]:
        """Return new events, sorted and joined to the kept states, with targets and their order."""
        self.check_columns(frame, self.outcome_fields)
        past = self.states.read(self._entities(frame))
        self._check_times(frame, past, self.moments(frame))
        order = self._order(frame)
        frame = frame.take(pa.array(order))
        return self._with_earlier(frame, y[order], target), y[order], order

    @torch.no_grad()
    def _keep(
        self, encoder: Encoder, network: Network, frame: pa.Table, y: np.ndarray, target: Target
    ) -> None:
        device = device_of(network)
        sequences = self.encode_sequences(encoder, frame).histories[-1].to(device)
        assert isinstance(sequences, Prefixes)
        sizes = list(_sizes_of_groups(sequences.lengths.tolist(), PIECE))
        after = [network.advance(piece).numpy(force=True) for piece in pieces_of(sequences, sizes)]
        moments, heads = self.moments(frame), self._heads(frame)
        last = np.append(heads[1:], len(moments)) - 1
        past = Past(np.concatenate(after), sequences.n_after.numpy(force=True), moments[last])
        entities, counted = self._entities(frame, heads), self._counted(y, target)
        with ExitStack() as undo:  # an interrupt undoes all of it
            self.states.write(entities, past, undo)
            self.encounters.before(frame, moments, counted, undo)
            if self.seen is not None:
                lengths = np.diff(heads, append=len(moments))
                coded = np.repeat(self.states.keys.codes(entities), lengths)
                classes = codes_of(target.classes_, y)
                known = classes >= 0
                self.seen.add(coded[known], classes[known], undo)
            undo.pop_all()

    def seen_of(self, frame: pa.Table) -> tuple[np.ndarray, np.ndarray]:
        """Return the classes that entities have had, each with the row of its entity in the frame."""
        if self.seen is None:
            raise ValueError(
                "exclude_seen must be False for a model of an earlier version, which has not noted what "
                "its entities have seen; got True."
            )
        return self.seen.of(self.states.keys.codes(self._entities(frame)))

    def _check_times(self, frame: pa.Table, past: Past, moments: np.ndarray) -> None:
        late = np.flatnonzero((past.counts > 0) & (moments < past.moments))
        if len(late):
            row = int(late[0])
            time, entity = (frame[name][row].as_py() for name in (self.time, self.entity))
            raise ValueError(
                f"Column {self.time!r} holds {time} in row {row}, but a later event of {entity!r} was "
                "read before; pass events in the order of their times."
            )


def _with_inside(table: Table, inside: set[str]) -> Table:
    """Return the table, which the earlier events' fields of the same names also read."""
    earlier = [f"{EARLIER}.{column}" for column in table.columns]
    new = [column for column in earlier if column in inside and column not in table.columns]
    return replace(table, columns=[*table.columns, *new])


def _sizes_of_groups(sizes: Sequence[int], at_once: int) -> Iterator[int]:
    """Yield the sizes of pieces of whole groups, with up to ``at_once`` rows where groups allow it."""
    piece = 0
    for size in sizes:
        if piece and piece + size > at_once:
            yield piece
            piece = 0
        piece += size
    if piece:
        yield piece

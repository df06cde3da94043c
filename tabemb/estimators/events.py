"""EventClassifier and EventRegressor: one event, one answer, from the events of the same entity before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from sklearn.model_selection import GroupShuffleSplit
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from tabemb.data.encounters import Coded, Encounters
from tabemb.data.histories import as_structs
from tabemb.data.schema import Schema, Table, check_column, infer_role, infer_schema
from tabemb.data.states import EntityStates, Past
from tabemb.data.times import TimeAxis
from tabemb.estimators.base import RowEstimator, extends
from tabemb.estimators.inputs import Rows, align_columns, check_rows
from tabemb.estimators.networks import D_CLASS
from tabemb.estimators.rows import EmbeddingClassifier, EmbeddingRegressor
from tabemb.network.history import Kept, Prefixes, Ragged
from tabemb.network.model import Answer, TabularNetwork
from tabemb.targets import ClassTarget
from tabemb.training.batches import Batches, in_pieces
from tabemb.training.threads import threads

EARLIER = "earlier"
"""What the later rows of its entity know of a row: its fields, those that come with the outcome, and its answer."""
PIECE = 4096
"""Events answered at a time, or one sequence if it is longer."""
L2_ANSWERS = 20.0
"""``l2`` of the vectors of many classes, which answers and earlier events share: they say more than one effect."""
LONGEST = 100
"""Longest part of a sequence in a training step: in a longer one each event would wait for all before it."""


class _EventEstimator(RowEstimator):
    """What the two estimators share: the log in sequences, batches of whole ones, states that are kept."""

    entity: str
    time: str
    outcome_fields: Sequence[str]
    recurrences: bool
    _has_sequences = True
    _answers = f"{EARLIER}.answer"
    _batch_sizes = (64, 1024)  # events: some sequences, not some rows
    _finish_rate = 8  # a recurrent net soon learns by heart what it has read before

    def _check_settings(self) -> None:
        super()._check_settings()
        if isinstance(self.outcome_fields, str):
            raise ValueError(f"outcome_fields must be a list of columns; got {self.outcome_fields!r}.")

    # From the log to sequences

    def _prepare(self, rows: Rows) -> Rows:
        """The events sorted by entity and time, each with what later ones may know of it."""
        self._check_columns(rows.frame, self.outcome_fields)
        self.clock_ = TimeAxis.of(rows.frame[self.time], self.time)
        rows = rows.take(self._order(rows.frame))
        self.answer_names_ = (
            ["answer"] if rows.y.ndim == 1 else [f"answer_{i}" for i in range(rows.y.shape[1])]
        )
        fields = self._recurring(rows.frame) if self.recurrences else []
        self.recurrences_ = Encounters(
            self.entity, fields, self.clock_, self._counted(rows.y).mean(axis=0)
        )
        self.kept_ = EntityStates(d_state=0)  # nothing is known as yet
        return replace(rows, frame=self._with_earlier(rows.frame, rows.y))

    def _recurring(self, frame: pa.Table) -> list[str]:
        """The known categorical columns."""
        others, roles = {self.entity, self.time, *self.outcome_fields}, self.roles or {}
        known = [field for field in frame.schema if field.name not in others]
        return [
            field.name
            for field in known
            if (roles.get(field.name) or infer_role(field)) == "categorical"
        ]

    def _counted(self, y: np.ndarray) -> np.ndarray:
        """Answers whose sums say something, (n, n_answers): numbers, and which of two classes."""
        if not isinstance(self.target_, ClassTarget):
            return self.target_.responses(y)
        counted = self.target_.classes_[1:] if self.target_.n_outputs == 2 else []
        return np.array([y == label for label in counted], dtype=np.float64).reshape(-1, len(y)).T

    def _check_columns(self, frame: pa.Table, others: Sequence[str] = ()) -> None:
        for name in (self.entity, self.time, *others):
            check_column(frame, name, "X")

    def _order(self, frame: pa.Table) -> np.ndarray:
        """Order by entity and time; events of one time stay as they are."""
        return np.lexsort((self._moments(frame), self._entity_codes(frame)))

    def _moments(self, frame: pa.Table) -> np.ndarray:
        return self.clock_.read(frame[self.time], self.time)

    def _entities(self, frame: pa.Table) -> pa.ChunkedArray:
        column = frame[self.entity]
        if column.null_count:
            row = column.is_null().to_pylist().index(True)
            raise ValueError(
                f"Column {self.entity!r} must name an entity in every row; it is missing in row {row}."
            )
        return column

    def _entity_codes(self, frame: pa.Table) -> np.ndarray:
        return Coded.of(self._entities(frame)).codes

    def _gaps(self, frame: pa.Table) -> np.ndarray:
        """Days since the event before, of sorted events: for the first of an entity, since its last one taken in."""
        moments = self._moments(frame)
        heads = np.flatnonzero(np.diff(self._entity_codes(frame), prepend=-1))
        gaps = np.diff(self.clock_.span(moments), prepend=np.nan)
        gaps[heads] = self.kept_.read(_keys(frame[self.entity], heads)).since(
            self.clock_, moments[heads]
        )
        return gaps

    def _known(self, frame: pa.Table, gaps: np.ndarray, recurrences: dict[str, np.ndarray]) -> pa.Table:
        """What is known of events before their answers."""
        known = frame.drop_columns([name for name in self.outcome_fields if name in frame.schema.names])
        added = {f"{self.time}.gap": gaps, **recurrences}
        self._check_free(known, {EARLIER, *self.answer_names_, *added})
        columns = {name: pa.array(numbers) for name, numbers in added.items()}
        fields = [*known.schema, *(pa.field(name, column.type) for name, column in columns.items())]
        return pa.Table.from_arrays([*known.columns, *columns.values()], schema=pa.schema(fields))

    def _check_free(self, frame: pa.Table, names: set[str]) -> None:
        taken = names.intersection(frame.schema.names)
        if taken:
            raise ValueError(
                f"X has a column {min(taken)!r}, a name that is needed for the earlier events; rename it."
            )

    def _with_earlier(self, frame: pa.Table, y: np.ndarray) -> pa.Table:
        """What is known before the answer, and, as a list of one event, what later rows of the entity know."""
        gaps, answers = self._gaps(frame), self._counted(y)
        known = self._known(frame, gaps, self.recurrences_.before(frame, self._moments(frame), answers))
        fields = frame.drop_columns([self.entity, self.time]).append_column("gap", pa.array(gaps))
        fields = fields.select([f.name for f in fields.schema if not pa.types.is_nested(f.type)])
        for name, answer in zip(self.answer_names_, y.reshape(len(y), -1).T):
            fields = fields.append_column(name, pa.array(answer))
        offsets = pa.array(np.arange(frame.num_rows + 1))
        earlier = pa.LargeListArray.from_arrays(offsets, as_structs(fields))
        return known.append_column(EARLIER, earlier)

    def _infer(self, frame: pa.Table) -> Schema:
        """The schema, with one table for a field of the present event and of the earlier ones."""
        names = {
            *frame.schema.names,
            *(f"{EARLIER}.{f.name}" for f in frame.schema.field(EARLIER).type.value_type),
        }
        role = "number" if self._numeric_target else "categorical"
        roles: dict[str | int, str] = {
            self.entity: "ignored",
            **{f"{EARLIER}.{a}": role for a in self.answer_names_},
        }
        for name, role in (self.roles or {}).items():
            roles |= {key: role for key in (name, f"{EARLIER}.{name}") if key in names} or {name: role}
        features = infer_schema(frame, roles)
        inside = {feature.name for feature in features.histories[EARLIER].categorical}
        shared = {name: _with_inside(table, inside) for name, table in (self.tables or {}).items()}
        named = {column for table in shared.values() for column in table.columns}
        own = {
            f.name: _with_inside(Table([f.name]), inside)
            for f in features.categorical
            if f.name not in named
        }
        if self.target_.has_many_classes and self._answers not in named:
            own.setdefault("answer", Table([self._answers], dim=D_CLASS, l2=L2_ANSWERS))
        return infer_schema(frame, roles, {**shared, **own})

    def _encoded(self, frame: pa.Table) -> list[Any]:
        *rows, earlier = super()._encoded(frame)
        heads = np.flatnonzero(np.diff(self._entity_codes(frame), prepend=-1))
        offsets = torch.from_numpy(np.append(heads, frame.num_rows))
        return [*rows, Prefixes(Ragged(offsets, earlier.codes, earlier.numbers))]

    # Training on whole sequences

    def _held_back(self, rows: Rows, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Whole entities are held back."""
        groups = self._entity_codes(rows.frame)
        split = GroupShuffleSplit(1, test_size=self._held_out_share(len(rows)), random_state=seed)
        return next(split.split(groups, groups=groups))

    def _learners(self, rows: Rows, judges: Rows | None, seed: int) -> np.ndarray | None:
        several = len(np.unique(self._entity_codes(rows.frame))) > 1
        return super()._learners(rows, judges, seed) if several else None

    def _batches(
        self, network: TabularNetwork, columns: list[Any], generator: torch.Generator
    ) -> Callable[..., Batches]:
        """Long sequences are cut: a part goes on from the state that the network gives at the start of the epoch."""
        *rows, sequences = columns
        parts = sequences.cut(LONGEST)
        carry = partial(network.carry, parts)
        n_rows, groups = self._batch_size(len(rows[0])), parts.events.rows
        return partial(Batches, [*rows, parts], n_rows, generator, groups=groups, start=carry)

    def _pieces(self, tensors: Sequence[Any]) -> Iterator[Sequence[Any]]:
        """Whole sequences."""
        ends = tensors[-1].events.offsets[1:].tolist()
        start, at_once = 0, self._at_once(PIECE)
        for i, end in enumerate(ends):
            if i + 1 == len(ends) or ends[i + 1] - start > at_once:
                rows = torch.arange(start, end, device=tensors[0].device)
                yield [part.index_select(0, rows) for part in tensors]
                start = end

    def _finish(self, rows: Rows) -> None:
        """Keep the state of every entity after its last event."""
        self.forget()
        self._keep(rows.frame, rows.y)

    # Answers from kept states

    @torch.no_grad()
    def _keep(self, frame: pa.Table, y: np.ndarray) -> None:
        """Let what is kept of the entities of sorted events take these in."""
        moments = self._moments(frame)
        sequences = self._from_states(self._encoded(frame)[-1], frame)
        heads, after = sequences.events.offsets.cpu().numpy(), []
        for (piece,) in self._pieces([sequences]):
            after.append(self.network_.advance(piece).numpy(force=True))
        counts = sequences.n_after.numpy(force=True)
        entities = _keys(frame[self.entity], heads[:-1])
        self.kept_.write(entities, Past(np.concatenate(after), counts, moments[heads[1:] - 1]))
        self.recurrences_.before(frame, moments, self._counted(y), keep=True)

    def _from_states(self, sequences: Prefixes, frame: pa.Table) -> Prefixes:
        device = next(self.network_.parameters()).device
        heads = sequences.events.offsets[:-1].numpy(force=True)
        past = self.kept_.read(_keys(frame[self.entity], heads))
        return Prefixes(
            sequences.events, torch.from_numpy(past.states), torch.from_numpy(past.counts)
        ).to(device)

    def _check_times(self, frame: pa.Table, past: Past, moments: np.ndarray) -> None:
        late = np.flatnonzero((past.counts > 0) & (moments < past.moments))
        if len(late):
            row = int(late[0])
            time, entity = (frame[name][row].as_py() for name in (self.time, self.entity))
            raise ValueError(
                f"Column {self.time!r} holds {time} in row {row}, but a later event of {entity!r} was taken in before; "
                "pass events in the order of their times."
            )

    def _after_earlier(self, X: Any, y: Any) -> tuple[pa.Table, np.ndarray, np.ndarray]:
        """Sorted events with their answers, going on from the kept states; the answers; the order that sorted them."""
        check_is_fitted(self)
        answers = check_rows(X, y, None, self._numeric_target, self).y
        frame = align_columns(self, X)
        self._check_columns(frame, self.outcome_fields)
        self._check_times(
            frame, self.kept_.read(self._entities(frame).to_pylist()), self._moments(frame)
        )
        order = self._order(frame)
        frame = frame.take(pa.array(order))
        return self._with_earlier(frame, answers[order]), answers[order], order

    def update(self, X, y):
        """Take in new events and their answers, so that later predictions know them.

        Parameters
        ----------
        X : frame of shape (n_events, n_columns)
            Not earlier than the last event of their entity that was taken in, by `fit` or here.
        y : array-like of shape (n_events,) or (n_events, n_targets)

        Returns
        -------
        self
        """
        frame, answers, _ = self._after_earlier(X, y)
        with threads(self.n_jobs):
            self._keep(frame, answers)
        return self

    def forget(self):
        """Forget the events of all entities, those of training too; what training learned stays.

        Returns
        -------
        self
        """
        self.recurrences_.forget()
        self.kept_ = EntityStates(self.network_.d_state)
        return self

    def _in_pieces(self, X: Any, part: Callable[[Answer], Tensor]) -> Tensor:
        """Each event from its entity's kept state; the events of X know nothing of one another."""
        check_is_fitted(self)
        frame = align_columns(self, X)
        self._check_columns(frame)
        past, moments = self.kept_.read(self._entities(frame).to_pylist()), self._moments(frame)
        self._check_times(frame, past, moments)
        known = self._known(
            frame, past.since(self.clock_, moments), self.recurrences_.known(frame, moments)
        )
        *rows, _ = super()._encoded(known.append_column(EARLIER, pa.nulls(frame.num_rows)))
        kept = Kept(torch.from_numpy(past.states), torch.from_numpy(past.counts))
        return self._answered([*rows, kept], part, partial(in_pieces, size=self._at_once(PIECE)))

    @torch.no_grad()
    def _answered(
        self,
        tensors: list[Any],
        part: Callable[[Answer], Tensor],
        pieces: Callable[..., Iterator[Sequence[Any]]],
    ) -> Tensor:
        device = next(self.network_.parameters()).device
        on_device = [tensor.to(device) for tensor in tensors]
        with threads(self.n_jobs):
            return torch.cat([part(self._answer(*piece, precise=False)) for piece in pieces(on_device)])

    def _replayed(self, X: Any, y: Any) -> Any:
        """Predictions for all events, each from those before it, in the order of X."""
        frame, _, order = self._after_earlier(X, y)
        *rows, sequences = self._encoded(frame)
        tensors = [*rows, self._from_states(sequences, frame)]
        outputs = self._answered(
            tensors, lambda answer: self.target_.average(answer.outputs), self._pieces
        )
        return self.target_.predict(outputs[torch.from_numpy(np.argsort(order)).to(outputs.device)])


def _keys(entities: pa.ChunkedArray, rows: np.ndarray) -> list[Any]:
    return entities.take(pa.array(rows)).to_pylist()


def _with_inside(table: Table, inside: set[str]) -> Table:
    """The table, read by the earlier events' fields of the same name too."""
    earlier = [f"{EARLIER}.{column}" for column in table.columns]
    return replace(
        table, columns=[*table.columns, *(c for c in earlier if c in inside and c not in table.columns)]
    )


_EVENT_PARAMETERS = """
    Parameters
    ----------
    entity, time : str
        Columns of X: whose event it is, and when it was (timestamps, dates or numbers). Events of one time follow one
        another as they stand in X.
    outcome_fields : sequence of str, default=()
        Columns of X that are known only after the event: later events of the entity see them, the event itself does
        not. `predict` does not need them. Columns of lists are read of the present event alone.
    recurrences : bool, default=True
        Whether what the entity's earlier events of the same category say is an input too, for each categorical column:
        their number, the time since the last and, unless y has three classes or more, the mean and the last of their
        answers.
    **shared
        Every other parameter of `{base}`. ``history`` reads the earlier events, ``pooling`` and ``max_events`` have no
        part in it; early stopping holds back whole entities, which teach in the end for an eighth as many passes
        more; ``batch_size`` counts events.
"""


class EventClassifier(_EventEstimator, EmbeddingClassifier):  # noqa: D101 (composed below)
    __doc__ = f"""Classifier of events from the events of the same entity before them, with their answers.

    X is the log, y has one answer an event: was the question answered correctly, what comes next. What is known of an
    event beforehand (its own columns) is joined with what a recurrent net has read of the entity's earlier events,
    their outcomes among them; one pass over a sequence trains all its steps (deep knowledge tracing, Piech et al.
    2015). The state after the last event of each entity is kept: `predict` goes on from there, and `update` takes new
    events in. Where y has more than a thousand classes (the next item), a step compares the answers with some of them,
    drawn by their share, and each has a vector in ``spaces_["answer"]``, by which earlier answers are read too.
{_EVENT_PARAMETERS.format(base="EmbeddingClassifier")}
    Examples
    --------
    >>> import pandas as pd
    >>> log = pd.DataFrame({{"who": ["ann", "bob"] * 30, "at": range(60), "what": ["add", "add", "sub", "sub"] * 15}})
    >>> model = EventClassifier(entity="who", time="at", max_epochs=2, random_state=0).fit(log, [True, False] * 30)
    >>> new = pd.DataFrame({{"who": ["ann"], "at": [70], "what": ["add"]}})
    >>> model.update(new, [True]).predict_proba(new).shape
    (1, 2)
    """

    @extends(EmbeddingClassifier)
    def __init__(
        self,
        *,
        entity: str,
        time: str,
        outcome_fields: Sequence[str] = (),
        recurrences: bool = True,
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        self.entity = entity
        self.time = time
        self.outcome_fields = outcome_fields
        self.recurrences = recurrences

    def replay_proba(self, X, y):
        """Probabilities for every event of a log, each from those before it alone; no state is kept.

        Parameters
        ----------
        X : frame of shape (n_events, n_columns)
            Events as `update` takes them, in any order.
        y : array-like of shape (n_events,)
            Their answers, which later events of their entity know.

        Returns
        -------
        ndarray of shape (n_events, n_classes)
            What `predict_proba` and `update` would have given, event by event.
        """
        return self._replayed(X, y)


class EventRegressor(_EventEstimator, EmbeddingRegressor):  # noqa: D101 (composed below)
    __doc__ = f"""Regressor of events from the events of the same entity before them, with their answers.

    As `EventClassifier`, for numbers.
{_EVENT_PARAMETERS.format(base="EmbeddingRegressor")}"""

    @extends(EmbeddingRegressor)
    def __init__(
        self,
        *,
        entity: str,
        time: str,
        outcome_fields: Sequence[str] = (),
        recurrences: bool = True,
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        self.entity = entity
        self.time = time
        self.outcome_fields = outcome_fields
        self.recurrences = recurrences

    def replay(self, X, y):
        """Predictions for every event of a log, each from those before it alone; no state is kept.

        Parameters
        ----------
        X : frame of shape (n_events, n_columns)
            Events as `update` takes them, in any order.
        y : array-like of shape (n_events,) or (n_events, n_targets)
            Their answers, which later events of their entity know.

        Returns
        -------
        ndarray of shape (n_events,) or (n_events, n_targets)
            What `predict` and `update` would have given, event by event.
        """
        return self._replayed(X, y)

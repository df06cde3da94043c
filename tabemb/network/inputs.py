"""The inputs of a network as named tensors: rows, their histories, and batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Protocol, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from tabemb.network.randomness import generator
from tabemb.network.ranges import cuts_before, offsets_of, ranges
from tabemb.network.reductions import highest_by_row


class Rowwise(Protocol):
    """Anything that represents n rows and can be indexed, split and moved like a tensor of n rows.

    Histories, the inputs of rows, and batches implement it, so that no other code depends on how rows
    are stored.
    """

    @property
    def device(self) -> torch.device:
        """The device of its tensors."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def take(self, rows: Tensor) -> Self:
        """Return the rows at these positions, int64 (m,), in this order."""

    def split(self, sizes: Sequence[int]) -> Sequence[Self]:
        """Return consecutive parts with these numbers of rows."""

    def to(self, device: torch.device) -> Self:
        """Return the same rows on a device."""


class History(Rowwise, Protocol):
    """The events of n rows, in one of three forms: `Ragged`, `Prefixes` or `Kept`."""

    def double(self) -> Self:
        """Return the same rows with numbers in double precision."""


@dataclass(frozen=True)
class Ragged:
    """The histories of n rows: the concatenated steps of all rows, and the events of all steps.

    Each event is a step, unless ``step_offsets`` groups the events into steps.

    Shape
    -----
    offsets      : int64 (n + 1,); row i has the steps from ``offsets[i]`` up to ``offsets[i + 1]``
    codes        : int32 (n_events, n_categorical)
    numbers      : float32 (n_events, n_numbers), NaN where missing
    step_offsets : int64 (n_steps + 1,), as ``offsets``, or None

    Examples
    --------
    >>> events = Ragged(torch.tensor([0, 2, 2, 3]), torch.tensor([[5], [6], [7]]), torch.zeros(3, 0))
    >>> reversed_rows = events.take(torch.tensor([2, 1, 0]))
    >>> reversed_rows.lengths.tolist(), reversed_rows.codes[:, 0].tolist()
    ([1, 0, 2], [7, 5, 6])
    """

    offsets: Tensor
    codes: Tensor
    numbers: Tensor
    step_offsets: Tensor | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.offsets) - 1

    @property
    def device(self) -> torch.device:
        """The device of the events."""
        return self.codes.device

    @cached_property
    def lengths(self) -> Tensor:
        """Number of steps of each row, int64 (n,)."""
        return self.offsets.diff()

    @cached_property
    def rows(self) -> Tensor:
        """The row of each step, int64 (n_steps,)."""
        return torch.repeat_interleave(self.lengths)

    @cached_property
    def positions(self) -> Tensor:
        """The position of each step in its row's history, int64 (n_steps,)."""
        return torch.arange(len(self.rows), device=self.device) - self.offsets[:-1][self.rows]

    @cached_property
    def in_steps(self) -> Ragged | None:
        """The same events grouped by step instead of by row; None if each event is a step."""
        if self.step_offsets is None:
            return None
        return Ragged(self.step_offsets, self.codes, self.numbers)

    @property
    def event_offsets(self) -> Tensor:
        """Row i has the events from ``event_offsets[i]`` on, int64 (n + 1,)."""
        return self.offsets if self.step_offsets is None else self.step_offsets[self.offsets]

    def take(self, rows: Tensor) -> Ragged:
        return self._sliced(self.offsets[:-1][rows], self.lengths[rows])

    def newest(self, n: int) -> Ragged:
        """Return the last ``n`` steps of each history."""
        lengths = self.lengths.clamp(max=n)
        return self._sliced(self.offsets[1:] - lengths, lengths)

    def random_slices(self) -> Ragged:
        """Return a random slice of each history: at least a third of its steps, and at least one."""
        shortest = torch.ceil(self.lengths / 3)
        lengths = shortest + torch.floor(self._draw() * (self.lengths - shortest + 1))
        before = torch.floor(self._draw() * (self.lengths - lengths + 1))
        return self._sliced(self.offsets[:-1] + before.long(), lengths.long())

    def events_of(self, rows: Tensor) -> Tensor:
        """Return the positions of the events of these rows, concatenated."""
        return ranges(self.offsets[:-1][rows], self.lengths[rows])

    def _draw(self) -> Tensor:
        """Draw a uniform number from 0 to 1 for each row."""
        return torch.rand(len(self), device=self.device, generator=generator(self.device))

    def _sliced(self, starts: Tensor, lengths: Tensor) -> Ragged:
        """Return one row for each start, with ``lengths`` steps from there."""
        events = steps = ranges(starts, lengths)
        step_offsets = None
        if self.step_offsets is not None:
            sizes = self.step_offsets.diff()[steps]
            events, step_offsets = ranges(self.step_offsets[:-1][steps], sizes), offsets_of(sizes)
        codes, numbers = (part.index_select(0, events) for part in (self.codes, self.numbers))
        return Ragged(offsets_of(lengths), codes, numbers, step_offsets)

    def split(self, sizes: Sequence[int]) -> list[Ragged]:
        stops = torch.tensor([0, *sizes]).cumsum(0).tolist()
        return [self.between(start, stop) for start, stop in pairwise(stops)]

    def between(self, start: int, stop: int) -> Ragged:
        """Return the rows from ``start`` up to ``stop``, without copying their events."""
        first, last = int(self.offsets[start]), int(self.offsets[stop])
        offsets, step_offsets = self.offsets[start : stop + 1] - first, self.step_offsets
        if step_offsets is not None:
            step_offsets = step_offsets[first : last + 1]
            first, last = int(step_offsets[0]), int(step_offsets[-1])
            step_offsets = step_offsets - first
        return Ragged(offsets, self.codes[first:last], self.numbers[first:last], step_offsets)

    def to(self, device: torch.device) -> Ragged:
        offsets, codes, numbers = (part.to(device) for part in (self.offsets, self.codes, self.numbers))
        step_offsets = None if self.step_offsets is None else self.step_offsets.to(device)
        return Ragged(offsets, codes, numbers, step_offsets)

    def double(self) -> Ragged:
        """Return the same events with numbers in double precision."""
        return replace(self, numbers=self.numbers.double())

    def padded(self, values: Tensor) -> Tensor:
        """Pad values of the steps, (n_steps, d), with zeros to (n, longest, d)."""
        longest = max(int(self.lengths.max()), 1) if len(self) else 1
        wide = values.new_zeros(len(self) * longest, values.shape[1])
        places = self.rows * longest + self.positions
        return wide.index_copy(0, places, values).view(len(self), longest, values.shape[1])

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of values (n_steps, ...) by row: (n, ...)."""
        return values.new_zeros(len(self), *values.shape[1:]).index_add(0, self.rows, values)

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean of values (n_steps, d) by row, zeros for a row without steps: (n, d)."""
        return self.sum(values) / self.lengths.clamp(min=1).unsqueeze(1)

    def max(self, values: Tensor) -> Tensor:
        """Return the maximum of values (n_steps, d) by row, zeros for a row without steps: (n, d)."""
        return highest_by_row(values, self.rows, len(self))

    def last(self, values: Tensor) -> Tensor:
        """Return the last of values (n_steps, d) by row, zeros for a row without steps: (n, d)."""
        if not len(values):
            return values.new_zeros(len(self), values.shape[1])
        last = values.index_select(0, (self.offsets[1:] - 1).clamp(min=0))
        return last * (self.lengths > 0).unsqueeze(1)


class Prefixes:
    """Rows that are events themselves: the history of a row is the events before it in its sequence.

    Rows that are taken or split off must form whole sequences.

    Parameters
    ----------
    events : Ragged of n_sequences rows
        The rows in their order, each as later rows of its sequence see it.
    states : Tensor of shape (n_sequences, d_state), optional
        The state before the first event of each sequence; None stands for zeros.
    counts : Tensor of shape (n_sequences,), optional
        Number of events that each state has read; None stands for zeros.
    ties : Tensor of shape (n_rows,), optional
        Number of rows just before each row that it does not see because they have the same time; None
        stands for zeros.
    """

    def __init__(
        self,
        events: Ragged,
        states: Tensor | None = None,
        counts: Tensor | None = None,
        ties: Tensor | None = None,
    ) -> None:
        self.events, self.states, self.ties = events, states, ties
        self.counts = torch.zeros_like(events.lengths) if counts is None else counts

    def __len__(self) -> int:
        """Return the number of rows, which are events."""
        return len(self.events.codes)

    @property
    def device(self) -> torch.device:
        """The device of the events."""
        return self.events.device

    @property
    def n_after(self) -> Tensor:
        """Number of events that the state after each sequence has read, (n_sequences,)."""
        return self.counts + self.events.lengths

    @property
    def lengths(self) -> Tensor:
        """Number of rows of each sequence, (n_sequences,)."""
        return self.events.lengths

    def take(self, rows: Tensor) -> Prefixes:
        return self.sequences(self.events.rows[rows].unique_consecutive())

    def sequences(self, sequences: Tensor) -> Prefixes:
        """Return some sequences by their positions, int64 (m,)."""
        states = None if self.states is None else self.states[sequences]
        ties = None if self.ties is None else self.ties[self.events.events_of(sequences)]
        return Prefixes(self.events.take(sequences), states, self.counts[sequences], ties)

    def split(self, sizes: Sequence[int]) -> list[Prefixes]:
        stops = torch.tensor([0, *sizes], device=self.device).cumsum(0)
        first = torch.searchsorted(self.events.offsets.contiguous(), stops).tolist()
        return [self._between(start, stop) for start, stop in pairwise(first)]

    def _between(self, start: int, stop: int) -> Prefixes:
        states = None if self.states is None else self.states[start:stop]
        rows = slice(int(self.events.offsets[start]), int(self.events.offsets[stop]))
        ties = None if self.ties is None else self.ties[rows]
        return Prefixes(self.events.between(start, stop), states, self.counts[start:stop], ties)

    @property
    def seen(self) -> Tensor:
        """For each row, the first row at the same time; the row sees the events before it, (n_rows,)."""
        rows = torch.arange(len(self), device=self.device)
        return rows if self.ties is None else rows - self.ties

    @property
    def in_steps(self) -> Ragged:
        """The sequences, with simultaneous rows as one step."""
        n_rows = len(self)
        starts = torch.arange(n_rows, device=self.device)
        if self.ties is not None:
            starts = torch.nonzero(self.ties == 0).flatten()
        offsets = torch.searchsorted(starts, self.events.offsets.contiguous())
        step_offsets = torch.cat([starts, starts.new_tensor([n_rows])])
        return Ragged(offsets, self.events.codes, self.events.numbers, step_offsets)

    def cut(self, longest: int) -> Prefixes:
        """Return the same rows in sequences of at most ``longest`` events, or more at one time.

        A longer sequence continues in the next one, which starts from zeros until a state is set.
        """
        if self.ties is None:
            n_parts = -(-self.events.lengths // longest)
            nth = torch.arange(int(n_parts.sum()), device=self.device)
            nth = nth - (n_parts.cumsum(0) - n_parts).repeat_interleave(n_parts)
            starts = self.events.offsets[:-1].repeat_interleave(n_parts) + nth * longest
            return self._cut_at(starts, nth * longest)
        first_rows = torch.nonzero(self.ties == 0).flatten().tolist()  # first row of each time
        cuts = [
            (start, start - offset)
            for offset, stop in pairwise(self.events.offsets.tolist())
            for start in cuts_before(first_rows, offset, stop, longest)
        ]
        return self._cut_at(*torch.tensor(cuts, device=self.device).reshape(-1, 2).T)

    def _cut_at(self, starts: Tensor, counts: Tensor) -> Prefixes:
        offsets = torch.cat([starts, self.events.offsets[-1:]])
        return Prefixes(Ragged(offsets, self.events.codes, self.events.numbers), None, counts, self.ties)

    def narrow(self, start: int, d_state: int) -> Prefixes:
        """Return the same rows with ``d_state`` columns of the states, starting at ``start``."""
        states = None if self.states is None else self.states.narrow(1, start, d_state)
        return Prefixes(self.events, states, self.counts, self.ties)

    def to(self, device: torch.device) -> Prefixes:
        states = None if self.states is None else self.states.to(device)
        ties = None if self.ties is None else self.ties.to(device)
        return Prefixes(self.events.to(device), states, self.counts.to(device), ties)

    def double(self) -> Prefixes:
        """Return the same events with numbers in double precision."""
        return Prefixes(self.events.double(), self.states, self.counts, self.ties)


@dataclass(frozen=True)
class Kept:
    """Rows that each continue from a kept state, without their events.

    Shape
    -----
    states : float32 (n, d_state)
    counts : int64 (n,), number of events that each state has read
    """

    states: Tensor
    counts: Tensor

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.counts)

    @property
    def device(self) -> torch.device:
        """The device of the states."""
        return self.states.device

    def take(self, rows: Tensor) -> Kept:
        return Kept(self.states[rows], self.counts[rows])

    def split(self, sizes: Sequence[int]) -> list[Kept]:
        pairs = zip(self.states.split(list(sizes)), self.counts.split(list(sizes)))
        return [Kept(states, counts) for states, counts in pairs]

    def narrow(self, start: int, d_state: int) -> Kept:
        """Return the same rows with ``d_state`` columns of the states, from column ``start`` on."""
        return Kept(self.states.narrow(1, start, d_state), self.counts)

    def to(self, device: torch.device) -> Kept:
        return Kept(self.states.to(device), self.counts.to(device))

    def double(self) -> Kept:
        """Return the same rows with states in double precision."""
        return Kept(self.states.double(), self.counts)


@dataclass(frozen=True)
class RowInputs:
    """The inputs of n rows to a network.

    Shape
    -----
    codes     : int32 (n, n_categorical)
    numbers   : float32 (n, n_numbers), NaN where missing
    effects   : float32 (n, n_terms, d_term)
    histories : one `History` of n rows for each column of lists or of text
    vectors   : one float32 (n, width) for each column of vectors, NaN in rows without one
    """

    codes: Tensor
    numbers: Tensor
    effects: Tensor
    histories: tuple[History, ...] = ()
    vectors: tuple[Tensor, ...] = ()

    @classmethod
    def of(
        cls,
        codes: Tensor,
        numbers: Tensor,
        histories: Iterable[History] = (),
        vectors: Iterable[Tensor] = (),
    ) -> RowInputs:
        """Return inputs without effects."""
        effects = numbers.new_zeros(len(codes), 0, 1)
        return cls(codes, numbers, effects, tuple(histories), tuple(vectors))

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.codes)

    @property
    def device(self) -> torch.device:
        """The device of the tensors."""
        return self.codes.device

    @property
    def lengths(self) -> Tensor | None:
        """Number of steps of each row in all ragged histories, (n,); None without such a history."""
        ragged = [history.lengths for history in self.histories if isinstance(history, Ragged)]
        return torch.stack(ragged).sum(0) if ragged else None

    @property
    def n_events(self) -> int:
        """Number of events in all histories, not counting events that only kept states have read."""
        events = [h.events if isinstance(h, Prefixes) else h for h in self.histories]
        return sum(len(part.codes) for part in events if isinstance(part, Ragged))

    def with_effects(self, effects: Tensor) -> RowInputs:
        """Return the same rows with these effects, (n, n_terms, d_term)."""
        return replace(self, effects=effects.to(self.device))

    def with_scores(self, scores: Tensor) -> RowInputs:
        """Return the same rows with scores (n, width) as further effects, one term per score."""
        terms = F.pad(scores.to(self.effects).unsqueeze(2), (0, self.effects.shape[2] - 1))
        return replace(self, effects=torch.cat([self.effects, terms], dim=1))

    def with_history(self, history: History) -> RowInputs:
        """Return the same rows with their last history replaced by this one."""
        return replace(self, histories=(*self.histories[:-1], history))

    @property
    def _tensors(self) -> tuple[Tensor, ...]:
        return self.codes, self.numbers, self.effects, *self.vectors

    def _each(
        self, tensor: Callable[[Tensor], Tensor], history: Callable[[History], History]
    ) -> RowInputs:
        codes, numbers, effects, *vectors = map(tensor, self._tensors)
        return RowInputs(codes, numbers, effects, tuple(map(history, self.histories)), tuple(vectors))

    def take(self, rows: Tensor) -> RowInputs:
        return self._each(lambda t: t.index_select(0, rows), lambda h: h.take(rows))

    def split(self, sizes: Sequence[int]) -> list[RowInputs]:
        by_part = zip(*(t.split(list(sizes)) for t in self._tensors))
        histories = [history.split(sizes) for history in self.histories]
        return [
            RowInputs(codes, numbers, effects, tuple(parts[i] for parts in histories), tuple(vectors))
            for i, (codes, numbers, effects, *vectors) in enumerate(by_part)
        ]

    def to(self, device: torch.device) -> RowInputs:
        return self._each(lambda t: t.to(device), lambda h: h.to(device))

    def double(self) -> RowInputs:
        """Return the same rows in double precision, except for their codes."""
        return replace(self._each(Tensor.double, lambda h: h.double()), codes=self.codes)


@dataclass(frozen=True)
class Batch:
    """Rows with their targets and weights.

    Shape
    -----
    inputs : `RowInputs` of n rows
    y      : (n, ...), encoded targets
    weight : float32 (n,)
    """

    inputs: RowInputs
    y: Tensor
    weight: Tensor

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.weight)

    @property
    def device(self) -> torch.device:
        """The device of the tensors."""
        return self.weight.device

    @property
    def n_events(self) -> int:
        """Number of events in all histories of the rows."""
        return self.inputs.n_events

    def with_inputs(self, inputs: RowInputs) -> Batch:
        """Return the same targets and weights with other inputs."""
        return replace(self, inputs=inputs)

    def take(self, rows: Tensor) -> Batch:
        return Batch(
            self.inputs.take(rows), self.y.index_select(0, rows), self.weight.index_select(0, rows)
        )

    def split(self, sizes: Sequence[int]) -> list[Batch]:
        parts = zip(self.inputs.split(sizes), self.y.split(list(sizes)), self.weight.split(list(sizes)))
        return [Batch(*part) for part in parts]

    def to(self, device: torch.device) -> Batch:
        return Batch(self.inputs.to(device), self.y.to(device), self.weight.to(device))

"""Histories in a network: the events of each row, of any number, become one vector."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tabemb.network.dropout import CellDropout
from tabemb.network.numbers import NumberEncoding
from tabemb.network.tables import Columns, Tables

EVENT_SCALE = 10.0
"""Tables start from vectors of a tenth, which would hardly move a recurrent net; events are read at this scale."""
N_CARRIED = 512
"""Sequences whose states are carried on at a time."""


@dataclass(frozen=True)
class Ragged:
    """Events of n rows, laid end to end; can be taken, split and moved as a tensor of n rows.

    Shape
    -----
    offsets : int64 (n + 1,); row i has the events from ``offsets[i]`` up to ``offsets[i + 1]``
    codes   : int32 (n_events, n_categorical)
    numbers : float32 (n_events, n_numbers), NaN where missing

    Examples
    --------
    >>> events = Ragged(torch.tensor([0, 2, 2, 3]), torch.tensor([[5], [6], [7]]), torch.zeros(3, 0))
    >>> taken = events[torch.tensor([2, 1, 0])]
    >>> taken.lengths.tolist(), taken.codes[:, 0].tolist()
    ([1, 0, 2], [7, 5, 6])
    """

    offsets: Tensor
    codes: Tensor
    numbers: Tensor

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.offsets) - 1

    @cached_property
    def lengths(self) -> Tensor:
        """Number of events of each row, int64 (n,)."""
        return self.offsets.diff()

    @cached_property
    def rows(self) -> Tensor:
        """The row of each event, int64 (n_events,)."""
        return torch.repeat_interleave(self.lengths)

    @cached_property
    def positions(self) -> Tensor:
        """The place of each event in its row's history, int64 (n_events,)."""
        return torch.arange(len(self.codes), device=self.codes.device) - self.offsets[:-1][self.rows]

    def __getitem__(self, rows: Tensor) -> Ragged:
        return self._taken(self.offsets[:-1][rows], self.lengths[rows])

    def stretches(self) -> Ragged:
        """A random stretch of each row's events, a third of them or more, one at least."""
        shortest = torch.ceil(self.lengths / 3)
        lengths = shortest + torch.floor(torch.rand_like(shortest) * (self.lengths - shortest + 1))
        before = torch.floor(torch.rand_like(shortest) * (self.lengths - lengths + 1))
        return self._taken(self.offsets[:-1] + before.long(), lengths.long())

    def _taken(self, starts: Tensor, lengths: Tensor) -> Ragged:
        """Rows of so many events from these places on."""
        offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        shift = torch.repeat_interleave(starts - offsets[:-1], lengths)
        events = torch.arange(len(shift), device=shift.device) + shift
        return Ragged(offsets, self.codes.index_select(0, events), self.numbers.index_select(0, events))

    def index_select(self, dim: int, rows: Tensor) -> Ragged:
        """The given rows, in the given order; ``dim`` is 0."""
        return self[rows]

    def split(self, size: int) -> list[Ragged]:
        """Consecutive rows, ``size`` at a time."""
        return [
            self._between(start, min(start + size, len(self))) for start in range(0, len(self), size)
        ]

    def _between(self, start: int, stop: int) -> Ragged:
        events = slice(int(self.offsets[start]), int(self.offsets[stop]))
        offsets = self.offsets[start : stop + 1] - self.offsets[start]
        return Ragged(offsets, self.codes[events], self.numbers[events])

    def to(self, device: torch.device) -> Ragged:
        return Ragged(self.offsets.to(device), self.codes.to(device), self.numbers.to(device))

    def double(self) -> Ragged:
        """With the numbers as doubles."""
        return replace(self, numbers=self.numbers.double())

    def padded(self, values: Tensor) -> Tensor:
        """Values of the events (n_events, d) as (n, longest, d), zeros behind a shorter history."""
        longest = max(int(self.lengths.max()), 1) if len(self) else 1
        wide = values.new_zeros(len(self), longest, values.shape[1])
        return wide.index_put((self.rows, self.positions), values)

    def sum(self, values: Tensor) -> Tensor:
        """Sum of the values (n_events, ...) of each row's events, (n, ...)."""
        return values.new_zeros(len(self), *values.shape[1:]).index_add(0, self.rows, values)

    def mean(self, values: Tensor) -> Tensor:
        """Mean of the values (n_events, d) of each row's events, zeros without one: (n, d)."""
        return self.sum(values) / self.lengths.clamp(min=1).unsqueeze(1)

    def max(self, values: Tensor) -> Tensor:
        """Largest of the values (n_events, d) of each row's events, zeros without one: (n, d)."""
        rows = self.rows.unsqueeze(1).expand_as(values)
        return values.new_zeros(len(self), values.shape[1]).scatter_reduce(
            0, rows, values, "amax", include_self=False
        )


class HistoryEncoder(nn.Module):
    """From events (n_events, d_in) and the histories that they stand in to one vector a row, (n, dim)."""

    dim: int
    d_state: int

    def __init__(self, d_in: int, d_history: int, pooling: str) -> None:
        super().__init__()

    def advance(self, events: Tensor, history: Ragged, state: Tensor) -> tuple[Tensor, Tensor]:
        """What is known before each event, (n_events, dim), from a state (n, d_state) on; and the state after all."""
        raise NotImplementedError

    def read(self, state: Tensor) -> Tensor:
        """What is known in a state, (n, dim)."""
        return state[:, : self.dim]


class BagOfEvents(HistoryEncoder):
    """A layer for each event, then mean, maximum, sum and last over the events, whatever their order.

    Right for a bag of categories too. Sums enter by their logarithm: a long history is no outlier.

    Shape
    -----
    output : (n, 4 d_history); zeros for an empty history
    """

    def __init__(self, d_in: int, d_history: int, pooling: str) -> None:
        super().__init__(d_in, d_history, pooling)
        self.layer = nn.Linear(d_in, d_history)
        self.dim, self.d_state = 4 * d_history, 3 * d_history + 1

    def advance(self, events: Tensor, history: Ragged, state: Tensor) -> tuple[Tensor, Tensor]:
        """The state is the sum, the maximum, the last, and the number of events."""
        hidden = history.padded(self.layer(events).relu())  # (n, longest, d_history)
        total, highest, last = (part.unsqueeze(1) for part in state[:, :-1].chunk(3, dim=1))
        totals = torch.cat(
            [total, total + hidden.cumsum(1)], dim=1
        )  # before each event, and after the last
        heights = torch.cat([highest, torch.maximum(highest, hidden.cummax(1).values)], dim=1)
        lasts = torch.cat([last, hidden], dim=1)
        counts = state[:, -1:] + torch.arange(totals.shape[1], device=events.device)  # (n, longest + 1)
        states = torch.cat(
            [totals, heights, lasts, counts.unsqueeze(2)], dim=2
        )  # (n, longest + 1, d_state)
        after = states[torch.arange(len(history), device=events.device), history.lengths]
        return self.read(states[history.rows, history.positions]), after

    def read(self, state: Tensor) -> Tensor:
        """Mean, maximum, logarithm of the sum, and last."""
        total, highest, last = state[:, :-1].chunk(3, dim=1)
        return torch.cat([total / state[:, -1:].clamp(min=1), highest, total.log1p(), last], dim=1)

    def forward(self, events: Tensor, history: Ragged) -> Tensor:
        hidden = self.layer(events).relu()  # (n_events, d_history)
        parts = [
            history.mean(hidden),
            history.max(hidden),
            history.sum(hidden).log1p(),
            _last(hidden, history),
        ]
        return torch.cat(parts, dim=1)  # (n, 4 d_history)


def _last(values: Tensor, history: Ragged) -> Tensor:
    """The value of each row's last event, zeros without one: (n, d)."""
    if not len(values):
        return values.new_zeros(len(history), values.shape[1])
    last = values[(history.offsets[1:] - 1).clamp(min=0)]
    return last * (history.lengths > 0).unsqueeze(1)


class Recurrent(HistoryEncoder):
    """A recurrent net over the events in their order; histories are padded behind their end, which no answer sees.

    ``pooling`` is the name of one of :data:`POOLINGS`.

    Shape
    -----
    output : (n, dim); zeros for an empty history
    """

    cell: type[nn.GRU] | type[nn.LSTM]
    n_parts = 1
    """Vectors that make the state of a cell."""

    def __init__(self, d_in: int, d_history: int, pooling: str) -> None:
        super().__init__(d_in, d_history, pooling)
        self.net = self.cell(d_in, d_history, batch_first=True)
        self.pool = POOLINGS[pooling](d_history)
        self.dim, self.d_state = d_history * self.pool.n_parts, d_history * self.n_parts

    def forward(self, events: Tensor, history: Ragged) -> Tensor:
        with torch.autocast(events.device.type, enabled=False):
            states, _ = self.net(history.padded(events))  # (n, longest, d_history)
        return self.pool(states[history.rows, history.positions], history)


class GRU(Recurrent):
    """Gated recurrent units (Cho et al. 2014)."""

    cell = nn.GRU

    def advance(self, events: Tensor, history: Ragged, state: Tensor) -> tuple[Tensor, Tensor]:
        """The state is that of the cell; pooling has no part in it."""
        with torch.autocast(events.device.type, enabled=False):
            states, _ = self.net(history.padded(events), state.unsqueeze(0))  # (n, longest, d_history)
        states = torch.cat([state.unsqueeze(1), states], dim=1)  # before each event, and after the last
        after = states[torch.arange(len(history), device=events.device), history.lengths]
        return states[history.rows, history.positions], after


class LSTM(Recurrent):
    """Long short-term memory (Hochreiter & Schmidhuber 1997)."""

    cell = nn.LSTM
    n_parts = 2

    def advance(self, events: Tensor, history: Ragged, state: Tensor) -> tuple[Tensor, Tensor]:
        """The state is output and memory of the cell; the memory after a history that is padded is computed apart."""
        cell = tuple(part.unsqueeze(0).contiguous() for part in state.chunk(2, dim=1))
        with torch.autocast(events.device.type, enabled=False):
            states, _ = self.net(history.padded(events), cell)
            states = torch.cat([cell[0][0].unsqueeze(1), states], dim=1)
            before = states[history.rows, history.positions]
            return before, state if self.training else self._after(events, history, state, cell)

    def _after(self, events: Tensor, history: Ragged, state: Tensor, cell: tuple[Tensor, ...]) -> Tensor:
        some = history.lengths > 0
        packed = nn.utils.rnn.pack_padded_sequence(
            history.padded(events)[some],
            history.lengths[some].cpu(),
            batch_first=True,
            enforce_sorted=False,
        )
        _, last = self.net(packed, tuple(part[:, some] for part in cell))
        after = state.clone()
        after[some] = torch.cat([part[0] for part in last], dim=1)
        return after


class LastState(nn.Module):
    """The state after the last event."""

    n_parts = 1
    """Vectors that are laid side by side."""

    def __init__(self, dim: int) -> None:
        super().__init__()

    def forward(self, states: Tensor, history: Ragged) -> Tensor:
        return _last(states, history)


class MeanState(LastState):
    """The mean of all states."""

    def forward(self, states: Tensor, history: Ragged) -> Tensor:
        return history.mean(states)


class Attention(LastState):
    """The mean of all states, weighted by a learned score."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.score = nn.Linear(dim, 1)

    def forward(self, states: Tensor, history: Ragged) -> Tensor:
        score = 10 * torch.tanh(self.score(states) / 10)  # bounded: no need of each row's own maximum
        weight = score.exp()
        return history.sum(weight * states) / history.sum(weight).clamp(min=1e-30)


class AllStates(LastState):
    """The last state, the mean and the maximum of all, side by side: what comes at the end, often, or once."""

    n_parts = 3

    def forward(self, states: Tensor, history: Ragged) -> Tensor:
        return torch.cat([_last(states, history), history.mean(states), history.max(states)], dim=1)


HISTORY_ENCODERS: dict[str, type[HistoryEncoder]] = {"gru": GRU, "lstm": LSTM, "mean": BagOfEvents}
"""Encoders of histories by name; a new one is a class above and a line here."""
POOLINGS: dict[str, type[LastState]] = {
    "all": AllStates,
    "last": LastState,
    "mean": MeanState,
    "attention": Attention,
}
"""How a recurrent net's states become one vector."""


class HistoryNetwork(nn.Module):
    """Embeds the categories of events, encodes their numbers, and makes one vector of all events of a row.

    The tables are those of the whole network, so that a column and a field of events can share one.

    Shape
    -----
    output : (n, dim), the encoder's vector and the logarithm of the number of events; the tables' penalty (n,)
    """

    def __init__(
        self, dropout: CellDropout, columns: Columns, numbers: NumberEncoding, encoder: HistoryEncoder
    ) -> None:
        super().__init__()
        self.dropout, self.columns = dropout, columns
        self.numbers: NumberEncoding = numbers
        self.encoder: HistoryEncoder = encoder
        self.dim = encoder.dim + 1

    def forward(self, history: Ragged, tables: Tables) -> tuple[Tensor, Tensor]:
        events, penalty = self.embed(history, tables)
        vector = self.encoder(events, history)
        return torch.cat([vector, _log_count(history.lengths, vector)], dim=1), history.sum(penalty)

    def embed(self, history: Ragged, tables: Tables) -> tuple[Tensor, Tensor]:
        """Vectors of the events, (n_events, d_in), and the tables' penalty by event."""
        none = history.numbers.new_zeros(len(history.codes), 0, 1)
        codes, numbers, _ = self.dropout(history.codes, history.numbers, none)
        vectors, penalty = tables(codes, self.columns)  # (n_events, d_tables)
        return torch.cat([EVENT_SCALE * vectors, self.numbers(numbers)], dim=1), penalty


class Prefixes:
    """Rows that are events themselves: the history of each is the events of its sequence before it.

    Can be taken by rows as a tensor, where the rows taken are whole sequences.

    Parameters
    ----------
    events : Ragged of n_sequences rows
        The rows in their order, each as the later rows of its sequence know it.
    states : Tensor of shape (n_sequences, d_state), optional
        What was known before the first event of each sequence, and
    counts : Tensor of shape (n_sequences,), optional
        of how many events; nothing when None.
    """

    def __init__(
        self, events: Ragged, states: Tensor | None = None, counts: Tensor | None = None
    ) -> None:
        self.events, self.states = events, states
        self.counts = torch.zeros_like(events.lengths) if counts is None else counts

    @property
    def n_after(self) -> Tensor:
        """Number of events of each sequence, those before its first one here among them."""
        return self.counts + self.events.lengths

    def index_select(self, dim: int, rows: Tensor) -> Prefixes:
        """The sequences of these rows; ``dim`` is 0."""
        sequences = self.events.rows[rows].unique_consecutive()
        states = None if self.states is None else self.states[sequences]
        return Prefixes(self.events[sequences], states, self.counts[sequences])

    def __getitem__(self, rows: Tensor) -> Prefixes:
        return self.index_select(0, rows)

    @property
    def codes(self) -> Tensor:
        """Codes of the events, one row each."""
        return self.events.codes

    @property
    def device(self) -> torch.device:
        return self.events.codes.device

    def cut(self, longest: int) -> Prefixes:
        """The same rows in sequences of so many at most: a longer one goes on in the next, as yet from zeros."""
        n_parts = -(-self.events.lengths // longest)
        nth = torch.arange(int(n_parts.sum()), device=self.device)
        nth = nth - (n_parts.cumsum(0) - n_parts).repeat_interleave(n_parts)
        starts = self.events.offsets[:-1].repeat_interleave(n_parts) + nth * longest
        offsets = torch.cat([starts, self.events.offsets[-1:]])
        return Prefixes(Ragged(offsets, self.events.codes, self.events.numbers), None, nth * longest)

    def narrow(self, start: int, d_state: int) -> Prefixes:
        """With some columns of the states."""
        states = None if self.states is None else self.states.narrow(1, start, d_state)
        return Prefixes(self.events, states, self.counts)

    def to(self, device: torch.device) -> Prefixes:
        states = None if self.states is None else self.states.to(device)
        return Prefixes(self.events.to(device), states, self.counts.to(device))


class Kept(NamedTuple):
    """Rows of which each goes on from a state: states (n, d_state), and the numbers of events that they know, (n,)."""

    states: Tensor
    counts: Tensor

    def to(self, device: torch.device) -> Kept:
        return Kept(self.states.to(device), self.counts.to(device))

    def narrow(self, start: int, d_state: int) -> Kept:
        """With some columns of the states."""
        return Kept(self.states.narrow(1, start, d_state), self.counts)

    def split(self, size: int) -> list[Kept]:
        """Consecutive rows, ``size`` at a time."""
        return [Kept(*parts) for parts in zip(self.states.split(size), self.counts.split(size))]


class SequenceNetwork(HistoryNetwork):
    """A history network that answers for every event of a sequence in one pass: what is known before it.

    Shape
    -----
    output : (n_rows, dim), the tables' penalty (n_rows,)
    """

    def forward(self, history: Prefixes | Kept, tables: Tables) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        if isinstance(history, Kept):
            known = self.encoder.read(history.states)
            return torch.cat([known, _log_count(history.counts, known)], dim=1), known.new_zeros(
                len(known)
            )
        before, _, penalty = self.advance(history, tables)
        return before, penalty

    @torch.no_grad()
    def carry(self, parts: Prefixes, tables: Tables) -> None:
        """Let every part of a sequence that was cut start from the state after the part before it."""
        parts.states = torch.zeros(len(parts.events), self.encoder.d_state, device=parts.device)
        goes_on = torch.cat([parts.counts[1:] > 0, parts.counts.new_zeros(1, dtype=torch.bool)])
        was_training = self.training
        self.eval()
        for count in parts.counts[goes_on].unique():
            for some in torch.nonzero(goes_on & (parts.counts == count)).flatten().split(N_CARRIED):
                now = Prefixes(parts.events[some], parts.states[some], parts.counts[some])
                parts.states[some + 1] = self.advance(now, tables)[1]
        self.train(was_training)

    def advance(self, history: Prefixes, tables: Tables) -> tuple[Tensor, Tensor, Tensor]:
        """Vectors before each event, the encoder's state after all of a sequence, the tables' penalty by event."""
        vectors, penalty = self.embed(history.events, tables)
        states = history.states
        if states is None:
            states = vectors.new_zeros(len(history.events), self.encoder.d_state)
        before, after = self.encoder.advance(vectors, history.events, states)
        n_before = history.counts[history.events.rows] + history.events.positions
        return torch.cat([before, _log_count(n_before, before)], dim=1), after, penalty


def _log_count(counts: Tensor, like: Tensor) -> Tensor:
    return counts.to(like.dtype).log1p().unsqueeze(1)

"""History encoders: turn the events of each row, however many, into one vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tabemb.network.dropout import N_KEPT, CellDropout, EventDropout
from tabemb.network.inputs import Kept, Prefixes, Ragged
from tabemb.network.numbers import NumberEncoding, squash
from tabemb.network.recurrence import gru_states
from tabemb.network.tables import Columns, Tables

EVENT_SCALE = 10.0
"""Factor on the vectors of events: start values of 0.1 would hardly affect a recurrent network."""
N_CARRIED = 512
"""Number of sequences whose states are computed at a time."""


class HistoryEncoder(nn.Module):
    """Base of the history encoders, from event vectors (n_events, d_in) to row vectors (n, dim).

    Parameters
    ----------
    d_in : int
    d_history : int
    pooling : str
        A name of :data:`POOLINGS`.
    """

    dim: int
    d_state: int
    n_kept = N_KEPT
    """Least number of events of a row that `EventDropout` keeps."""

    def __init__(self, d_in: int, d_history: int, pooling: str) -> None:
        super().__init__()

    def forward(self, events: Tensor, history: Ragged) -> Tensor:
        raise NotImplementedError

    def of_whole(self, events: Tensor, history: Ragged, lengths: Tensor) -> Tensor:
        """Return the vectors of rows with ``lengths`` events, (n,), of which some may be dropped."""
        vector: Tensor = self(events, history)
        return vector

    def advance(self, events: Tensor, history: Ragged, state: Tensor) -> tuple[Tensor, Tensor]:
        """Continue from a state (n, d_state).

        Returns
        -------
        Tensor of shape (n_events, dim)
            The vector before each event.
        Tensor of shape (n, d_state)
            The state after all events of a row.
        """
        raise NotImplementedError

    def read(self, state: Tensor) -> Tensor:
        """Return the vector of a state (n, d_state), (n, dim)."""
        return state[:, : self.dim]


class BagOfEvents(HistoryEncoder):
    """One layer on each event, then mean, maximum, sum and last over the events of a row.

    The first three do not depend on the order, so this also suits bags of categories. Sums are replaced
    by their logarithm, so that long histories are not outliers.

    Shape
    -----
    output : (n, 4 d_history); zeros for an empty history
    """

    def __init__(self, d_in: int, d_history: int, pooling: str) -> None:
        super().__init__(d_in, d_history, pooling)
        self.layer = nn.Linear(d_in, d_history)
        self.dim, self.d_state = 4 * d_history, 3 * d_history + 1

    def advance(self, events: Tensor, history: Ragged, state: Tensor) -> tuple[Tensor, Tensor]:
        """Continue from a state: sum, maximum and last of hidden values, and the number of events."""
        hidden = history.padded(self.layer(events).relu())  # (n, longest, d_history)
        total, highest, last = (part.unsqueeze(1) for part in state[:, :-1].chunk(3, dim=1))
        # one entry more than events: before each event, and after the last one
        totals = torch.cat([total, total + hidden.cumsum(1)], dim=1)
        heights = torch.cat([highest, torch.maximum(highest, hidden.cummax(1).values)], dim=1)
        lasts = torch.cat([last, hidden], dim=1)
        counts = state[:, -1:] + torch.arange(totals.shape[1], device=events.device)  # (n, longest + 1)
        states = torch.cat(
            [totals, heights, lasts, counts.unsqueeze(2)], dim=2
        )  # (n, longest + 1, d_state)
        after = states[torch.arange(len(history), device=events.device), history.lengths]
        return self.read(states[history.rows, history.positions]), after

    def read(self, state: Tensor) -> Tensor:
        """Return mean, maximum, logarithm of the sum, and last, (n, dim)."""
        total, highest, last = state[:, :-1].chunk(3, dim=1)
        mean = total / state[:, -1:].clamp(min=1)
        return torch.cat([mean, highest, total.log1p(), last], dim=1)

    def forward(self, events: Tensor, history: Ragged) -> Tensor:
        return self.of_whole(events, history, history.lengths)

    def of_whole(self, events: Tensor, history: Ragged, lengths: Tensor) -> Tensor:
        hidden = self.layer(events).relu()  # (n_events, d_history)
        log_sum = _whole_sum(hidden, history, lengths).log1p()
        parts = [history.mean(hidden), history.max(hidden), log_sum, history.last(hidden)]
        return torch.cat(parts, dim=1)  # (n, 4 d_history)


class BagOfWords(BagOfEvents):
    """A bag of events that does not depend on their order: mean, maximum and sum.

    Words are rare, so a network memorises even short texts. Training therefore drops words of all texts
    (Iyyer et al. 2015).

    Shape
    -----
    output : (n, 3 d_history); zeros for an empty history
    """

    n_kept = 0

    def __init__(self, d_in: int, d_history: int, pooling: str) -> None:
        super().__init__(d_in, d_history, pooling)
        self.dim = 3 * d_history

    def of_whole(self, events: Tensor, history: Ragged, lengths: Tensor) -> Tensor:
        return super().of_whole(events, history, lengths)[:, : self.dim]


class Recurrent(HistoryEncoder):
    """A recurrent network over the events in their order; padding never changes a vector.

    Shape
    -----
    output : (n, dim); zeros for an empty history
    """

    cell: type[nn.GRU] | type[nn.LSTM]
    n_parts = 1
    """Number of vectors in the state of a cell."""

    def __init__(self, d_in: int, d_history: int, pooling: str) -> None:
        super().__init__(d_in, d_history, pooling)
        self.net = self.cell(d_in, d_history, batch_first=True)
        self.pool = POOLINGS[pooling](d_history)
        self.dim, self.d_state = d_history * self.pool.n_parts, d_history * self.n_parts

    def forward(self, events: Tensor, history: Ragged) -> Tensor:
        with torch.autocast(events.device.type, enabled=False):
            states = self._states(history.padded(events).transpose(0, 1))
        pooled: Tensor = self.pool(_unpadded(states, history), history)
        return pooled

    def _states(self, inputs: Tensor) -> Tensor:
        """Return the states (longest, n, d_history) after each step of inputs (longest, n, d_in)."""
        states: Tensor = _in_one_block(self.net)(inputs.transpose(0, 1))[0]
        return states.transpose(0, 1)


class GRU(Recurrent):
    """Gated recurrent units (Cho et al. 2014)."""

    cell = nn.GRU
    net: nn.GRU

    def advance(self, events: Tensor, history: Ragged, state: Tensor) -> tuple[Tensor, Tensor]:
        """Continue from the state of the cell; pooling is not used."""
        with torch.autocast(events.device.type, enabled=False):
            states = self._states(history.padded(events).transpose(0, 1), state)
        states = torch.cat([state.unsqueeze(0), states])  # before each event, and after the last one
        after = states[history.lengths, torch.arange(len(history), device=events.device)]
        return _unpadded(states, history), after

    def _states(self, inputs: Tensor, start: Tensor | None = None) -> Tensor:
        if start is None:
            start = inputs.new_zeros(inputs.shape[1], self.d_state)
        if self.training and inputs.device.type == "cpu":
            return gru_states(self.net, inputs, start)
        states: Tensor = _in_one_block(self.net)(
            inputs.transpose(0, 1), start.unsqueeze(0).contiguous()
        )[0]
        return states.transpose(0, 1)


class LSTM(Recurrent):
    """Long short-term memory (Hochreiter & Schmidhuber 1997)."""

    cell = nn.LSTM
    n_parts = 2

    def advance(self, events: Tensor, history: Ragged, state: Tensor) -> tuple[Tensor, Tensor]:
        """Continue from a state: output and memory of the cell, concatenated."""
        cell = tuple(part.unsqueeze(0).contiguous() for part in state.chunk(2, dim=1))
        with torch.autocast(events.device.type, enabled=False):
            states, _ = _in_one_block(self.net)(history.padded(events), cell)
            states = torch.cat([cell[0][0].unsqueeze(1), states], dim=1)
            before = states[history.rows, history.positions]
            return before, state if self.training else self._after(events, history, state, cell)

    def _after(self, events: Tensor, history: Ragged, state: Tensor, cell: tuple[Tensor, ...]) -> Tensor:
        # torch returns the memory of the last step only, which is padding in shorter rows unless packed
        has_events = history.lengths > 0
        packed = nn.utils.rnn.pack_padded_sequence(
            history.padded(events)[has_events],
            history.lengths[has_events].cpu(),
            batch_first=True,
            enforce_sorted=False,
        )
        _, last = self.net(packed, tuple(part[:, has_events] for part in cell))
        after = state.clone()
        after[has_events] = torch.cat([part[0] for part in last], dim=1)
        return after


def _unpadded(states: Tensor, history: Ragged) -> Tensor:
    """Remove the padding from states (longest, n, d): return those of the steps, (n_steps, d)."""
    return states.flatten(0, 1).index_select(0, history.positions * len(history) + history.rows)


def _in_one_block(net: nn.GRU | nn.LSTM) -> nn.GRU | nn.LSTM:
    """Return the net with its weights in one block of memory for cuDNN, also after averaging."""
    weights = list(net.parameters())
    if weights[0].is_cuda and len({weight.untyped_storage().data_ptr() for weight in weights}) > 1:
        net.flatten_parameters()
    return net


class LastState(nn.Module):
    """Pool the states of a row: take the state after its last event."""

    n_parts = 1
    """Number of vectors that are concatenated."""

    def __init__(self, dim: int) -> None:
        super().__init__()

    def forward(self, states: Tensor, history: Ragged) -> Tensor:
        return history.last(states)


class MeanState(LastState):
    """Pool the states of a row: take their mean."""

    def forward(self, states: Tensor, history: Ragged) -> Tensor:
        return history.mean(states)


class Attention(LastState):
    """Pool the states of a row: take their mean, weighted by a learned score."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.score = nn.Linear(dim, 1)

    def forward(self, states: Tensor, history: Ragged) -> Tensor:
        # bounded scores cannot overflow, so no row needs its own maximum subtracted
        score = 10 * torch.tanh(self.score(states) / 10)
        weight = score.exp()
        return history.sum(weight * states) / history.sum(weight).clamp(min=1e-30)


class AllStates(LastState):
    """Pool the states of a row: concatenate last, mean and maximum."""

    n_parts = 3

    def forward(self, states: Tensor, history: Ragged) -> Tensor:
        return torch.cat([history.last(states), history.mean(states), history.max(states)], dim=1)


HISTORY_ENCODERS: dict[str, type[HistoryEncoder]] = {"gru": GRU, "lstm": LSTM, "mean": BagOfEvents}
"""History encoders by name; to add one, write a class above and a line here."""
POOLINGS: dict[str, type[LastState]] = {
    "all": AllStates,
    "last": LastState,
    "mean": MeanState,
    "attention": Attention,
}
"""Poolings of a recurrent network's states by name."""


class StepPool(nn.Module):
    """Pool the vectors of the events of each step, whatever their order (Zaheer et al. 2017).

    A mean would hide one event among twenty. Sums are clipped smoothly, so that steps with very many
    events are not outliers.

    Shape
    -----
    input  : (n_events, d_in), the events by step, and the sizes of the steps if some are dropped
    output : (n_steps, dim): the clipped sum of a layer, and the logarithm of the number of events
    """

    def __init__(self, d_in: int, d_step: int) -> None:
        super().__init__()
        self.layer = nn.Linear(d_in, d_step)
        self.dim = d_step + 1

    def forward(self, events: Tensor, in_steps: Ragged, lengths: Tensor | None = None) -> Tensor:
        hidden = self.layer(events).relu().to(events.dtype)  # sums of many bfloat16 numbers are coarse
        sums = 10 * squash(_whole_sum(hidden, in_steps, lengths) / 10)  # below 30
        lengths = in_steps.lengths if lengths is None else lengths
        return torch.cat([sums, _log_count(lengths, hidden)], dim=1)


class ByCategory(nn.Module):
    """Pool the events of each category of one field, and sum the results over categories.

    The most frequent category dominates a mean over all events. Here each category of a row counts once,
    with the mean of a layer over its events, the mean times the logarithm of their number, and the last
    event. Sums are clipped smoothly.

    Parameters
    ----------
    field : int
        Position of the field among the categorical fields.
    d_in : int
    d_out : int

    Shape
    -----
    input  : (n_events, d_in), the events by row, and how many events a row has if some are dropped
    output : (n, dim), where dim is 3 d_out
    """

    def __init__(self, field: int, d_in: int, d_out: int) -> None:
        super().__init__()
        self.field, self.layer, self.dim = field, nn.Linear(d_in, d_out), 3 * d_out

    def forward(self, vectors: Tensor, events: Ragged, lengths: Tensor | None = None) -> Tensor:
        hidden = self.layer(vectors).relu().to(vectors.dtype)  # (n_events, d_out)
        rows, group_of, counts = self._groups(events)
        places = torch.arange(len(hidden), device=hidden.device)
        last = torch.zeros_like(rows).scatter_reduce(0, group_of, places, "amax", include_self=False)
        n_whole = counts if lengths is None else counts * (lengths / events.lengths)[rows]
        counts = counts.to(hidden.dtype).unsqueeze(1)
        means = hidden.new_zeros(len(rows), hidden.shape[1]).index_add(0, group_of, hidden) / counts
        parts = torch.cat([means, means * _log_count(n_whole, hidden), hidden[last]], dim=1)
        sums = hidden.new_zeros(len(events), self.dim).index_add(0, rows, parts)
        return 10 * squash(sums / 10)  # below 30

    def _groups(self, events: Ragged) -> tuple[Tensor, Tensor, Tensor]:
        """Group events by row and category; return each group's row, each event's group, and sizes."""
        codes = events.codes[:, self.field].long()
        n_codes = int(codes.max()) + 1 if len(codes) else 1
        keys, group_of, counts = torch.unique(
            events.rows * n_codes + codes, return_inverse=True, return_counts=True
        )
        return keys // n_codes, group_of, counts


class HistoryNetwork(nn.Module):
    """Embed the categories and numbers of events, and encode all events of a row as one vector.

    The tables belong to the whole network, so that a column and a field of events can share one. If
    events come in steps, the encoder reads one vector per step. If the meaning of an event depends on
    its category, `ByCategory` reads the events in addition to the encoder, and training drops some
    events: repeated measurements can spare a value, but a pattern of categories cannot spare an event.

    Shape
    -----
    output : (n, dim), the encoder's vector, the logarithm of the number of steps, and the output of
    `ByCategory`; the tables' penalty (n,)
    """

    def __init__(
        self,
        dropout: CellDropout,
        columns: Columns,
        numbers: NumberEncoding,
        encoder: HistoryEncoder,
        pool: StepPool | None = None,
        by_category: ByCategory | None = None,
    ) -> None:
        super().__init__()
        self.dropout, self.columns = dropout, columns
        self.event_dropout = EventDropout(encoder.n_kept)
        self.numbers: NumberEncoding = numbers
        self.encoder: HistoryEncoder = encoder
        self.pool, self.by_category = pool, by_category
        self.dim = encoder.dim + 1 + (0 if by_category is None else by_category.dim)

    def forward(self, history: Ragged, tables: Tables) -> tuple[Tensor, Tensor]:
        kept = history if self.by_category is None else self.event_dropout(history)
        vectors, penalty = self.embed(kept, tables)
        events, lengths = _events_by_row(kept), _events_by_row(history).lengths
        parts = [self.read(vectors, kept, history), _log_count(history.lengths, vectors)]
        if self.by_category is not None:
            parts.append(self.by_category(vectors, events, lengths))
        return torch.cat(parts, dim=1), _whole_sum(penalty, events, lengths)

    def encode(self, history: Ragged, tables: Tables) -> Tensor:
        """Return the encoder's vector, (n, encoder.dim)."""
        return self.read(self.embed(history, tables)[0], history, history)

    def read(self, vectors: Tensor, history: Ragged, whole: Ragged) -> Tensor:
        """Return the encoder's vector (n, encoder.dim) for these vectors of events.

        ``whole`` is the history before events are dropped.
        """
        if self.pool is not None:
            assert history.in_steps is not None
            assert whole.in_steps is not None
            vectors = self.pool(vectors, history.in_steps, whole.in_steps.lengths)
        return self.encoder.of_whole(vectors, history, whole.lengths)

    def embed(self, history: Ragged, tables: Tables) -> tuple[Tensor, Tensor]:
        """Return the vectors of the events, (n_events, d_in), and the tables' penalty by event."""
        no_effects = history.numbers.new_zeros(len(history.codes), 0, 1)
        codes, numbers, _ = self.dropout(history.codes, history.numbers, no_effects)
        vectors, penalty = tables(codes, self.columns)  # (n_events, d_tables)
        return torch.cat([EVENT_SCALE * vectors, self.numbers(numbers)], dim=1), penalty


class SequenceNetwork(HistoryNetwork):
    """A history network that encodes, for each event of a sequence, the events before it.

    Shape
    -----
    output : (n_rows, dim), the tables' penalty (n_rows,)
    """

    def forward(self, history: Prefixes | Kept, tables: Tables) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        if isinstance(history, Kept):
            known = self.encoder.read(history.states)
            log_count = _log_count(history.counts, known)
            return torch.cat([known, log_count], dim=1), known.new_zeros(len(known))
        before, _, penalty = self.advance(history, tables)
        return before, penalty

    @torch.no_grad()
    def carry(self, parts: Prefixes, tables: Tables) -> None:
        """Start every part of a cut sequence from the state after the previous part."""
        parts.states = torch.zeros(len(parts.events), self.encoder.d_state, device=parts.device)
        no_next = parts.counts.new_zeros(1, dtype=torch.bool)
        goes_on = torch.cat([parts.counts[1:] > 0, no_next])
        was_training = self.training
        self.eval()
        for count in parts.counts[goes_on].unique():  # all first parts, then all second parts, ...
            same = torch.nonzero(goes_on & (parts.counts == count)).flatten()
            for chunk in same.split(N_CARRIED):
                parts.states[chunk + 1] = self.advance(parts.sequences(chunk), tables)[1]
        self.train(was_training)

    def advance(self, history: Prefixes, tables: Tables) -> tuple[Tensor, Tensor, Tensor]:
        """Read whole sequences.

        Returns
        -------
        Tensor of shape (n_rows, dim)
            The vector before each event.
        Tensor of shape (n_sequences, d_state)
            The encoder's state after each sequence.
        Tensor of shape (n_rows,)
            The tables' penalty by event.
        """
        vectors, penalty = self.embed(history.events, tables)
        states = history.states
        if states is None:
            states = vectors.new_zeros(len(history.events), self.encoder.d_state)
        n_before = history.counts[history.events.rows] + history.events.positions
        if self.pool is not None:
            steps = history.in_steps
            assert steps.in_steps is not None
            pooled = self.pool(vectors, steps.in_steps)
            before, after = self.encoder.advance(pooled, steps, states)
            before, n_before = before[steps.in_steps.rows], n_before[history.seen]
        else:
            before, after = self.encoder.advance(vectors, history.events, states)
            if history.ties is not None:
                before, n_before = before[history.seen], n_before[history.seen]
        return torch.cat([before, _log_count(n_before, before)], dim=1), after, penalty


def _events_by_row(history: Ragged) -> Ragged:
    """Return the same events by row, without steps."""
    if history.step_offsets is None:
        return history
    return Ragged(history.event_offsets, history.codes, history.numbers)


def _whole_sum(values: Tensor, history: Ragged, lengths: Tensor | None) -> Tensor:
    """Return the sum of values (n_events, ...) by row, scaled up to ``lengths`` events, (n,)."""
    total = history.sum(values)
    if lengths is None or lengths is history.lengths:
        return total
    factor = lengths / history.lengths.clamp(min=1)
    return total * factor.view(-1, *[1] * (total.ndim - 1))


def _log_count(counts: Tensor, like: Tensor) -> Tensor:
    return counts.to(like.dtype).log1p().unsqueeze(1)

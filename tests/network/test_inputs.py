"""Rows, histories and batches are indexed, split and moved like tensors."""

from itertools import chain, pairwise

import pytest
import torch

from tabemb.network.inputs import Batch, Kept, Prefixes, Ragged, RowInputs

LENGTHS = [2, 0, 3, 1, 2]


def ragged(lengths=LENGTHS):
    """Return numbered events: event i has the code 10 + i and the number i / 2."""
    events = torch.arange(sum(lengths))
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    return Ragged(offsets, 10 + events[:, None].int(), events[:, None] / 2)


def kept(n=5):
    return Kept(torch.arange(2.0 * n).reshape(n, 2), torch.arange(n))


def row_inputs(*histories, n=5):
    codes = torch.arange(2 * n).reshape(n, 2).int()
    inputs = RowInputs.of(codes, torch.arange(1.0 * n)[:, None], histories)
    return inputs.with_effects(torch.arange(6.0 * n).reshape(n, 3, 2))


def batch():
    return Batch(row_inputs(ragged(), kept()), torch.arange(5) * 7, torch.arange(5) / 10)


def in_steps():
    """Return steps of 1, 2, 0, 3, 1, 1, 0 and 2 events."""
    events = ragged([1, 2, 0, 3, 1, 1, 0, 2])
    return Ragged(torch.tensor([0, *LENGTHS]).cumsum(0), events.codes, events.numbers, events.offsets)


KINDS = {
    "Ragged": ragged,
    "Ragged in steps": in_steps,
    "Kept": kept,
    "RowInputs": lambda: row_inputs(ragged(), kept()),
    "RowInputs without histories": row_inputs,
    "Batch": batch,
}


def rows_of(values):
    """Return each row as plain Python values."""
    if isinstance(values, torch.Tensor):
        return values.tolist()
    if isinstance(values, Ragged) and values.in_steps:
        steps = rows_of(values.in_steps)
        return [steps[start:stop] for start, stop in pairwise(values.offsets.tolist())]
    if isinstance(values, Ragged):
        bounds = values.offsets.tolist()
        events = list(zip(values.codes.tolist(), values.numbers.tolist()))
        return [events[start:stop] for start, stop in pairwise(bounds)]
    if isinstance(values, RowInputs):
        parts = (values.codes, values.numbers, values.effects, *values.histories)
    else:
        parts = vars(values).values()  # the fields of Kept and Batch
    return list(zip(*map(rows_of, parts)))


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("rows", [[3, 0, 0, 2, 1], [4], []], ids=str)
def test_rows_are_taken_in_the_given_order(make, rows):
    values = make()
    taken = values.take(torch.tensor(rows, dtype=torch.int64))
    assert rows_of(taken) == [rows_of(values)[row] for row in rows]
    assert len(taken) == len(rows)


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("sizes", [[2, 2, 1], [5], [1, 0, 4]], ids=str)
def test_parts_are_consecutive_and_have_the_given_sizes(make, sizes):
    values = make()
    parts = values.split(sizes)
    assert [len(part) for part in parts] == sizes
    assert [row for part in parts for row in rows_of(part)] == rows_of(values)


@pytest.mark.parametrize(
    "make",
    [*KINDS.values(), lambda: Prefixes(ragged(), kept().states, ties=torch.arange(8))],
    ids=[*KINDS, "Prefixes"],
)
def test_all_tensors_move_together(make):
    values = make()
    assert values.device == torch.device("cpu")
    moved = values.to(torch.device("meta"))
    assert moved.device == torch.device("meta")
    assert len(moved) == len(values)
    assert {tensor.device.type for tensor in tensors_in(moved)} == {"meta"}


def tensors_in(values):
    if values is None or isinstance(values, torch.Tensor):
        return [] if values is None else [values]
    parts = values if isinstance(values, tuple) else vars(values).values()
    return [tensor for part in parts for tensor in tensors_in(part)]


def test_lengths_rows_and_positions_of_events():
    history = ragged()
    assert history.lengths.tolist() == LENGTHS
    assert history.rows.tolist() == [0, 0, 2, 2, 2, 3, 4, 4]
    assert history.positions.tolist() == [0, 1, 0, 1, 2, 0, 0, 1]
    assert row_inputs().lengths is None
    assert row_inputs(history, history).lengths.tolist() == [4, 0, 6, 2, 4]


def test_lengths_rows_and_positions_of_steps():
    history = in_steps()
    assert history.lengths.tolist() == LENGTHS
    assert history.rows.tolist() == [0, 0, 2, 2, 2, 3, 4, 4]
    assert history.positions.tolist() == [0, 1, 0, 1, 2, 0, 0, 1]
    assert history.event_offsets.tolist() == [0, 3, 3, 7, 8, 10]
    assert rows_of(history.newest(1))[2] == [[([16], [3.0])]]
    some = history.random_slices()
    assert all(step in whole for row, whole in zip(rows_of(some), rows_of(history)) for step in row)


def test_rows_of_one_time_are_a_step_of_their_sequence():
    prefixes = Prefixes(ragged(), ties=torch.tensor([0, 1, 0, 1, 2, 0, 0, 0]))
    steps = prefixes.in_steps
    assert steps.offsets.tolist() == [0, 1, 1, 2, 3, 5]
    assert steps.step_offsets.tolist() == [0, 2, 5, 6, 7, 8]
    assert Prefixes(ragged()).in_steps.step_offsets.tolist() == list(range(9))


def test_events_are_reduced_by_row():
    history = ragged()
    values = history.numbers.double()  # 0, .5 | | 1, 1.5, 2 | 2.5 | 3, 3.5
    assert history.sum(values)[:, 0].tolist() == [0.5, 0, 4.5, 2.5, 6.5]
    assert history.mean(values)[:, 0].tolist() == [0.25, 0, 1.5, 2.5, 3.25]
    assert history.max(-values)[:, 0].tolist() == [0, 0, -1, -2.5, -3]
    assert history.last(values)[:, 0].tolist() == [0.5, 0, 2, 2.5, 3.5]
    padded = [[0, 0.5, 0], [0, 0, 0], [1, 1.5, 2], [2.5, 0, 0], [3, 3.5, 0]]
    assert history.padded(values)[:, :, 0].tolist() == padded


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_double_precision_changes_floats_and_no_value(make):
    values = make()
    if isinstance(values, Batch):
        values = values.inputs
    doubled = values.double()
    assert rows_of(doubled) == rows_of(values)
    before, after = ([t.dtype for t in tensors_in(v)] for v in (values, doubled))
    assert after == [torch.float64 if dtype.is_floating_point else dtype for dtype in before]


def test_other_inputs_effects_and_histories_leave_the_rest_as_it_is():
    first, inputs = batch(), row_inputs(kept())
    other = first.with_inputs(inputs)
    assert other.inputs is inputs
    assert other.y is first.y
    assert other.weight is first.weight
    assert RowInputs.of(inputs.codes, inputs.numbers).effects.shape == (5, 0, 1)
    changed = row_inputs(ragged(), ragged()).with_history(kept())
    assert rows_of(changed) == rows_of(row_inputs(ragged(), kept()))


def prefixes():
    """Return sequences of two, three, one and two events, each with its own initial state."""
    return Prefixes(ragged([2, 3, 1, 2]), torch.arange(8.0).reshape(4, 2), torch.tensor([5, 0, 9, 1]))


def sequences_of(rows):
    """Return the events, the state and its count of each sequence as plain Python values."""
    states = [None] * len(rows.lengths) if rows.states is None else rows.states.tolist()
    return list(zip(rows_of(rows.events), states, rows.counts.tolist()))


def test_rows_of_sequences_are_their_events():
    rows = prefixes()
    assert len(rows) == 8
    assert rows.lengths.tolist() == [2, 3, 1, 2]
    assert rows.n_after.tolist() == [7, 3, 10, 3]
    assert Prefixes(ragged([2, 1])).counts.tolist() == [0, 0]


def test_whole_sequences_are_taken_with_their_states():
    rows = prefixes()
    taken = rows.take(torch.tensor([6, 7, 2, 3, 4]))  # the events of the last sequence and the second
    assert sequences_of(taken) == [sequences_of(rows)[i] for i in (3, 1)]
    without = Prefixes(rows.events).take(torch.tensor([5, 0, 1]))
    assert sequences_of(without) == [(rows_of(rows.events)[i], None, 0) for i in (2, 0)]


def test_whole_sequences_are_split_off():
    rows = prefixes()
    parts = rows.split([5, 1, 2])
    assert [len(part) for part in parts] == [5, 1, 2]
    assert [part.lengths.tolist() for part in parts] == [[2, 3], [1], [2]]
    assert [sequence for part in parts for sequence in sequences_of(part)] == sequences_of(rows)


def test_rows_and_their_sequences_are_split_at_one_place():
    rows = row_inputs(prefixes(), n=8)
    first, second = rows.split([2, 6])
    assert first.codes.tolist() == rows.codes[:2].tolist()
    assert sequences_of(second.histories[0]) == sequences_of(prefixes())[1:]


def test_long_sequences_are_cut_into_parts_that_follow_one_another():
    rows = Prefixes(ragged([5, 2, 4]))
    parts = rows.cut(2)
    assert parts.lengths.tolist() == [2, 2, 1, 2, 2, 2]
    assert parts.counts.tolist() == [0, 2, 4, 0, 0, 2]
    assert parts.states is None
    assert list(chain(*rows_of(parts.events))) == list(chain(*rows_of(rows.events)))
    assert sequences_of(rows.cut(5)) == sequences_of(rows)


def test_ties_stay_with_their_rows():
    ties = torch.tensor([0, 1, 0, 0, 1, 0, 0, 1])
    rows = Prefixes(ragged([2, 3, 1, 2]), ties=ties)
    assert rows.seen.tolist() == [0, 0, 2, 3, 3, 5, 6, 6]
    taken = rows.take(torch.tensor([6, 7, 2, 3, 4]))
    assert taken.ties.tolist() == [0, 1, 0, 0, 1]
    assert taken.seen.tolist() == [0, 0, 2, 3, 3]
    first, second = rows.split([5, 3])
    assert (first.ties.tolist(), second.ties.tolist()) == ([0, 1, 0, 0, 1], [0, 0, 1])
    for other in (rows.double(), rows.narrow(0, 0), rows.to(torch.device("cpu"))):
        assert other.ties is ties


def test_a_long_sequence_is_not_cut_within_a_time():
    ties = torch.tensor([0, 1, 0, 1, 2, 3, 0, 0, 0, 0, 1, 0])
    rows = Prefixes(ragged([9, 3]), ties=ties)
    parts = rows.cut(3)
    assert parts.lengths.tolist() == [2, 4, 3, 3]
    assert parts.counts.tolist() == [0, 2, 6, 0]
    assert parts.ties is ties
    assert list(chain(*rows_of(parts.events))) == list(chain(*rows_of(rows.events)))
    untied = Prefixes(ragged([5, 2, 4]), ties=torch.zeros(11, dtype=torch.int64))
    assert sequences_of(untied.cut(2)) == sequences_of(Prefixes(ragged([5, 2, 4])).cut(2))


@pytest.mark.parametrize("make", [kept, prefixes])
def test_each_network_of_an_ensemble_reads_its_columns_of_the_states(make):
    rows = make()
    second = rows.narrow(1, 1)
    assert second.states.tolist() == [[state[1]] for state in rows.states.tolist()]
    assert second.counts.tolist() == rows.counts.tolist()
    assert Prefixes(ragged()).narrow(1, 1).states is None

import numpy as np
import pytest
import torch
from torch import nn

from tabemb.network.dropout import CellDropout
from tabemb.network.history import (
    HISTORY_ENCODERS,
    POOLINGS,
    BagOfEvents,
    HistoryNetwork,
    SequenceNetwork,
    StepPool,
)
from tabemb.network.inputs import Prefixes, Ragged
from tabemb.network.numbers import ScaledNumbers
from tabemb.network.tables import Tables, TableSpec

LENGTHS = [3, 0, 1, 7, 2]
KINDS = [("mean", "last"), *((kind, pooling) for kind in ("gru", "lstm") for pooling in POOLINGS)]


def ragged(lengths=LENGTHS, seed=0):
    generator = torch.Generator().manual_seed(seed)
    offsets = torch.tensor(np.concatenate([[0], np.cumsum(lengths)]))
    n = sum(lengths)
    return Ragged(
        offsets, torch.randint(0, 5, (n, 2), generator=generator), torch.randn(n, 1, generator=generator)
    )


def network(kind="gru", pooling="last"):
    torch.manual_seed(0)
    tables = Tables([TableSpec(5, 3, np.zeros(5), init=1.0)], table_of=[0])
    dropout = CellDropout([np.zeros(5)] * 2, [False, False], [0.0])
    encoder = HISTORY_ENCODERS[kind](2 * 3 + 2, 4, pooling)
    return HistoryNetwork(
        dropout, tables.read_by([0, 0]), ScaledNumbers([np.zeros(1)]), encoder
    ).eval(), tables.eval()


def test_rows_are_taken_and_split_as_those_of_a_tensor():
    history = ragged()
    taken = history.take(torch.tensor([3, 1, 0]))
    assert taken.lengths.tolist() == [7, 0, 3]
    assert torch.equal(taken.codes, torch.cat([history.codes[4:11], history.codes[:3]]))
    parts = history.split([2, 2, 1])
    assert [part.lengths.tolist() for part in parts] == [[3, 0], [1, 7], [2]]
    assert torch.equal(torch.cat([part.numbers for part in parts]), history.numbers)
    assert history.padded(history.numbers).shape == (5, 7, 1)
    assert history.padded(history.numbers)[0, 3:].abs().sum() == 0


def test_a_random_slice_is_consecutive_events_of_its_row():
    torch.manual_seed(0)
    history = Ragged(torch.tensor([0, 0, 1, 10]), torch.arange(10).unsqueeze(1), torch.zeros(10, 0))
    lengths, starts = set(), set()
    for _ in range(300):
        part = history.random_slices()
        assert part.lengths[:2].tolist() == [0, 1]
        assert part.codes[0].tolist() == [0]
        own = part.codes[1:, 0]
        assert torch.equal(own, torch.arange(int(own[0]), int(own[0]) + len(own)))
        assert own[-1] <= 9
        lengths.add(len(own))
        starts.add(int(own[0]))
    assert lengths == {3, 4, 5, 6, 7, 8, 9}
    assert starts == {1, 2, 3, 4, 5, 6, 7}


@pytest.mark.parametrize(("kind", "pooling"), KINDS)
def test_neither_padding_nor_other_rows_change_an_answer(kind, pooling):
    net, tables = network(kind, pooling)
    history = ragged()
    together, _ = net(history, tables)
    assert together.shape == (5, net.dim)
    for i in range(5):
        alone, _ = net(history.take(torch.tensor([i])), tables)
        torch.testing.assert_close(alone[0], together[i], rtol=1e-5, atol=1e-6)
    order = torch.tensor([4, 3, 0, 1, 2])
    torch.testing.assert_close(
        net(history.take(order), tables)[0], together[order], rtol=1e-5, atol=1e-6
    )
    assert not together[1].any()  # without events: zeros, and a count of zero


@pytest.mark.parametrize(("kind", "pooling"), KINDS)
def test_rows_without_any_event_have_answers_and_gradients(kind, pooling):
    net, tables = network(kind, pooling)
    empty = ragged([0, 0])
    vector, penalty = net.train()(empty, tables.train())
    assert vector.shape == (2, net.dim)
    assert not vector.any()
    (vector.sum() + penalty.sum()).backward()


def test_a_recurrent_net_is_what_torch_gives_on_each_row_alone():
    net, tables = network("gru")
    history = ragged()
    events, _ = net.embed(history, tables)
    _, last = net.encoder.net(events[4:11].unsqueeze(0))
    found, _ = net(history, tables)
    torch.testing.assert_close(found[3, :4], last[0, 0])
    assert found[3, 4].item() == pytest.approx(np.log(8))


def test_a_bag_is_mean_maximum_sum_and_last_of_its_events():
    bag = BagOfEvents(1, 1, "last")
    with torch.no_grad():
        bag.layer.weight.fill_(1.0)
        bag.layer.bias.fill_(0.0)
    history = Ragged(torch.tensor([0, 3, 3]), torch.zeros(3, 0), torch.zeros(3, 0))
    found = bag(torch.tensor([[1.0], [4.0], [-2.0]]), history)
    assert found[0].tolist() == pytest.approx([5 / 3, 4, np.log(6), 0])
    assert found[1].tolist() == [0, 0, 0, 0]


def test_all_states_are_the_last_their_mean_and_their_maximum():
    history = Ragged(torch.tensor([0, 3, 3]), torch.zeros(3, 0), torch.zeros(3, 0))
    found = POOLINGS["all"](1)(torch.tensor([[-1.0], [-4.0], [-2.0]]), history)
    assert found.tolist() == pytest.approx(torch.tensor([[-2.0, -7 / 3, -1.0], [0.0, 0.0, 0.0]]))


def test_events_are_read_at_a_scale_that_moves_a_recurrent_net():
    net, _ = network()
    tables = Tables([TableSpec(200, 3, np.zeros(200))], table_of=[0]).eval()
    events = Ragged(
        torch.tensor([0, 200]), torch.arange(200).unsqueeze(1).expand(-1, 2), torch.zeros(200, 1)
    )
    assert net.embed(events, tables)[0][:, :6].std().item() == pytest.approx(1, abs=0.1)


def steps_of(history, sizes, lengths):
    offsets, step_offsets = (torch.tensor([0, *counts]).cumsum(0) for counts in (lengths, sizes))
    return Ragged(offsets, history.codes, history.numbers, step_offsets)


def pooled(kind="gru"):
    net, tables = network(kind)
    pool = StepPool(2 * 3 + 2, 5)
    encoder = HISTORY_ENCODERS[kind](pool.dim, 4, "all")
    return HistoryNetwork(net.dropout, net.columns, net.numbers, encoder, pool).eval(), tables


def test_a_step_is_the_sum_of_a_layer_and_its_count():
    net, tables = pooled()
    history = steps_of(ragged([6]), [2, 0, 4], [2, 1])
    events, _ = net.embed(history, tables)
    hidden = net.pool.layer(events).relu()
    sums = torch.stack([hidden[:2].sum(0), torch.zeros(5), hidden[2:].sum(0)])
    found = net.pool(events, history.in_steps)
    torch.testing.assert_close(found[:, :5], sums / (1 + (sums / 30).square()).sqrt())
    assert found[:, 5].tolist() == pytest.approx(np.log([3, 1, 5]))
    states, _ = net.encoder.net(found[None, :2])
    vector, penalty = net(history, tables)
    torch.testing.assert_close(vector[0, :4], states[0, 1])
    assert vector[:, -1].tolist() == pytest.approx(np.log([3, 2]))
    assert penalty.shape == (2,)


@pytest.mark.parametrize("kind", list(HISTORY_ENCODERS))
def test_the_order_within_a_step_changes_nothing_and_that_of_steps_does(kind):
    net, tables = pooled(kind)
    history = steps_of(ragged([7]), [3, 4], [2])
    expected, _ = net(history, tables)

    def permuted(order):
        events = Ragged(torch.tensor([0, 7]), history.codes[order], history.numbers[order])
        return net(steps_of(events, [3, 4], [2]), tables)[0]

    torch.testing.assert_close(permuted([2, 0, 1, 5, 6, 4, 3]), expected)
    assert (permuted([3, 0, 1, 2, 4, 5, 6]) - expected).abs().max() > 1e-4


def test_the_prior_counts_every_event_of_a_step():
    net, tables = pooled()
    tables.groups[0].prior.fill_(1.0)
    tables.train()
    history = steps_of(ragged([6]), [2, 0, 4], [2, 1])
    _, by_event = net.embed(history, tables)
    found = net(history, tables)[1]
    torch.testing.assert_close(found, torch.stack([by_event[:2].sum(), by_event[2:].sum()]))


@pytest.mark.parametrize("kind", list(HISTORY_ENCODERS))
def test_events_of_one_time_are_one_step_of_a_sequence(kind):
    net, tables = pooled(kind)
    encoder = HISTORY_ENCODERS[kind](net.pool.dim, 4, "last")
    reader = SequenceNetwork(net.dropout, net.columns, net.numbers, encoder, net.pool).eval()
    alone = HistoryNetwork(net.dropout, net.columns, net.numbers, encoder, net.pool).eval()
    ties = torch.tensor([0, 1, 0, 0, 0, 1, 2, 0, 0])
    rows = Prefixes(ragged([3, 6]), ties=ties)
    found, _ = reader(rows, tables)
    codes, numbers = rows.events.codes, rows.events.numbers
    for row, (start, sizes) in enumerate(
        [(0, []), (0, []), (0, [2]), (3, []), (3, [1]), (3, [1]), (3, [1]), (3, [1, 3]), (3, [1, 3, 1])]
    ):
        seen = slice(start, start + sum(sizes))
        history = Ragged(torch.tensor([0, sum(sizes)]), codes[seen], numbers[seen])
        expected, _ = alone(steps_of(history, sizes, [len(sizes)]), tables)
        torch.testing.assert_close(found[row, :-1], expected[0, :-1])
        assert found[row, -1].item() == pytest.approx(np.log1p(sum(sizes)))
    parts = rows.cut(2)
    reader.carry(parts, tables)
    torch.testing.assert_close(reader(parts, tables)[0], found, rtol=1e-5, atol=1e-6)


def test_attention_weighs_events_by_their_score():
    pool = POOLINGS["attention"](1)
    with torch.no_grad():
        pool.score.weight.fill_(2.0)
        pool.score.bias.fill_(1.0)
    history = Ragged(torch.tensor([0, 2]), torch.zeros(2, 0), torch.zeros(2, 0))
    states = torch.tensor([[1.0], [3.0]])
    weight = torch.exp(10 * torch.tanh((2 * states + 1) / 10))
    assert pool(states, history).item() == pytest.approx(float((weight * states).sum() / weight.sum()))


def test_the_prior_counts_every_event_of_a_row():
    net, _ = network()
    tables = Tables([TableSpec(5, 3, np.ones(5), init=1.0)], table_of=[0])
    history = ragged()
    _, penalty = net(history, tables)
    expected = tables.vectors(0).square().sum(1)[history.codes].sum(1)
    torch.testing.assert_close(penalty.detach(), history.sum(expected))


@pytest.mark.parametrize("kind", list(HISTORY_ENCODERS))
def test_a_sequence_that_was_cut_goes_on_where_its_part_before_ended(kind):
    net, tables = network(kind)
    reader = SequenceNetwork(net.dropout, net.columns, net.numbers, net.encoder).eval()
    whole = Prefixes(ragged([3, 1, 7, 2]))
    expected, _ = reader(whole, tables)
    parts = whole.cut(3)
    assert parts.events.lengths.tolist() == [3, 1, 3, 3, 1, 2]
    assert parts.counts.tolist() == [0, 0, 0, 3, 6, 0]
    reader.carry(parts, tables)
    torch.testing.assert_close(reader(parts, tables)[0], expected, rtol=1e-5, atol=1e-6)
    some = parts.take(torch.tensor([7, 8, 9]))  # rows of the fourth part
    torch.testing.assert_close(reader(some, tables)[0], expected[7:10], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", list(HISTORY_ENCODERS))
def test_events_of_one_time_see_what_the_first_of_them_sees(kind):
    net, tables = network(kind)
    reader = SequenceNetwork(net.dropout, net.columns, net.numbers, net.encoder).eval()
    in_order = reader(Prefixes(ragged([3, 1, 7, 2])), tables)[0]
    ties = torch.tensor([0, 1, 2, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0])
    rows = Prefixes(ragged([3, 1, 7, 2]), ties=ties)
    expected = in_order[[0, 0, 0, 3, 4, 5, 5, 7, 7, 9, 10, 11, 12]]
    torch.testing.assert_close(reader(rows, tables)[0], expected, rtol=0, atol=0)
    parts = rows.cut(2)
    reader.carry(parts, tables)
    torch.testing.assert_close(reader(parts, tables)[0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", list(HISTORY_ENCODERS))
def test_what_is_known_before_an_event_is_what_the_events_before_it_say(kind):
    net, tables = network(kind)
    reader = SequenceNetwork(net.dropout, net.columns, net.numbers, net.encoder).eval()
    history = ragged([4, 2])
    before, after, _ = reader.advance(Prefixes(history), tables)
    for row, (sequence, n) in enumerate([(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1)]):
        first = 4 * sequence
        alone = Ragged(
            torch.tensor([0, n]), history.codes[first : first + n], history.numbers[first : first + n]
        )
        torch.testing.assert_close(before[row], net(alone, tables)[0][0])
    torch.testing.assert_close(reader.encoder.read(after), net(history, tables)[0][:, :-1])


def test_a_column_and_a_field_of_events_share_one_table():
    _, tables = network()
    fields = tables.read_by([0, 0])
    row, _ = tables(torch.tensor([[3]]))
    events, _ = tables(torch.tensor([[3, 1]]), fields)
    torch.testing.assert_close(events[0, :3], row[0])
    assert len(list(nn.ModuleList([tables, fields]).parameters())) == 1

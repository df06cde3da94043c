import numpy as np
import pytest
import torch

from tabemb.network.backbone import MLP
from tabemb.network.dropout import CellDropout, Dropout, hiding_rates
from tabemb.network.inputs import RowInputs
from tabemb.network.model import MemberHeads, TabularNetwork, in_double_precision
from tabemb.network.numbers import PiecewiseLinearNumbers, ScaledNumbers
from tabemb.network.tables import Tables, TableSpec


def network(n_members=3, rate=0.0, hidden=(8,)):
    tables = Tables([TableSpec(6, 2, np.ones(6))], table_of=[0, 0])
    numbers = PiecewiseLinearNumbers([np.array([0.0, 1.0, 2.0])], 4)
    backbone = MLP(tables.dim + numbers.dim + 4, hidden, 0.0, n_members)
    reads = np.array([[True, False, False], [False, True, True]])
    dropout = CellDropout([np.full(6, rate)] * 2, [True, False], [rate], reads)
    head = MemberHeads(n_members, backbone.dim, torch.tensor([0.5, -0.5]))
    return TabularNetwork(dropout, tables, numbers, backbone, head)


CODES = torch.tensor([[2, 3], [4, 5], [0, 1]])
NUMBERS = torch.tensor([[0.5], [1.5], [float("nan")]])
EFFECTS = torch.tensor([[[0.5, 1.0], [-2.0, 0.3]], [[0.1, 2.0], [9.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]])
ROWS = RowInputs(CODES, NUMBERS, EFFECTS)


def test_shapes_and_finite_answers():
    answer = network()(ROWS)
    assert answer.outputs.shape == (3, 3, 2)
    assert answer.hidden.shape == (3, 3, 8)
    assert answer.outputs.isfinite().all()
    assert (answer.penalty > 0).all()


def test_permuting_rows_permutes_answers():
    net, order = network().eval(), torch.tensor([2, 0, 1])
    torch.testing.assert_close(net(ROWS.take(order)).outputs, net(ROWS).outputs[order])


def test_one_member_is_a_plain_mlp_and_several_differ():
    assert network(n_members=1).backbone.member_scale is None
    first, second, _ = network()(ROWS).outputs.unbind(1)
    assert not torch.allclose(first, second)


def test_double_precision_answers_the_same_whatever_stands_beside_a_row():
    net = network(hidden=(64, 64)).eval()
    precise = in_double_precision(net)
    whole = precise(ROWS.double()).outputs
    torch.testing.assert_close(whole.float(), net(ROWS).outputs)
    for i in range(3):
        alone = precise(ROWS.take(torch.tensor([i])).double())
        torch.testing.assert_close(alone.outputs[0], whole[i], rtol=1e-12, atol=0)


def test_double_precision_follows_the_weights_and_leaves_them_as_they_are():
    net = network().eval()
    before = in_double_precision(net)(ROWS.double()).outputs
    assert in_double_precision(net) is in_double_precision(net)
    with torch.no_grad():
        net.head.bias += 1.0
    after = in_double_precision(net)(ROWS.double()).outputs
    torch.testing.assert_close(after, before + 1.0)
    assert {weight.dtype for weight in net.parameters()} == {torch.float32}


def test_heads_start_at_the_given_answer():
    heads = MemberHeads(2, 4, torch.tensor([1.0, 2.0]))
    assert heads(torch.zeros(1, 2, 4)).tolist() == [[[1.0, 2.0], [1.0, 2.0]]]


def test_cells_are_hidden_in_training_alone_at_their_rates():
    rates = [np.array([0, 0, 0.5, 0.1]), np.array([0, 0, 0.2])]
    dropout = CellDropout(rates, [True, False], [0.3])
    codes, effects = torch.tensor([[2, 2]]).repeat(20_000, 1), torch.zeros(20_000, 0, 1)
    hidden, numbers, _ = dropout(codes, torch.ones(20_000, 1), effects)
    shares = [
        (hidden[:, 0] == 0),
        (hidden[:, 0] == 1),
        (hidden[:, 1] == 0),
        (hidden[:, 1] == 1),
        numbers[:, 0].isnan(),
    ]
    assert [round(float(s.float().mean()), 1) for s in shares] == pytest.approx(
        [0.2, 0.2, 0.2, 0.0, 0.3], abs=0.11
    )
    assert shares[3].sum() == 0
    kept = dropout.eval()(codes, torch.ones(20_000, 1), effects)
    assert torch.equal(kept[0], codes)
    assert not kept[1].isnan().any()


def test_an_effect_is_hidden_with_any_cell_it_is_read_from():
    reads = np.array([[True, False, False], [False, True, True], [False, False, False]])
    dropout = CellDropout([np.array([0, 0, 0.5])] * 2, [False, False], [0.5], reads)
    codes, effects = torch.tensor([[2, 2]]).repeat(500, 1), torch.ones(500, 3, 2)
    hidden, numbers, left = dropout(codes, torch.ones(500, 1), effects)
    assert torch.equal(left[:, 0, 0] == 0, hidden[:, 0] == 0)
    assert torch.equal(left[:, 1, 1] == 0, (hidden[:, 1] == 0) | numbers[:, 0].isnan())
    assert (left[:, 2] == 1).all()


def test_dropout_keeps_its_share_and_the_mean():
    dropout, x = Dropout(0.25), torch.ones(400, 500)
    out = dropout(x)
    assert float((out == 0).float().mean()) == pytest.approx(0.25, abs=0.005)
    assert float(out.mean()) == pytest.approx(1, abs=0.01)
    assert out.unique().tolist() == pytest.approx([0, 4 / 3])
    assert torch.equal(dropout.eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)


def test_rare_categories_are_hidden_more():
    rates = hiding_rates(np.array([1, 10, 1e6]), 0.01)
    assert rates == pytest.approx([0.11, 0.02, 0.01], abs=1e-6)
    assert hiding_rates(np.array([1]), 0.4).max() == 0.5


def test_column_weights_are_what_the_first_layer_makes_of_each_column():
    """If two rows differ in one column, their inputs of the first nonlinearity differ by the weights
    times the vectors."""
    torch.manual_seed(0)
    tables = Tables([TableSpec(5, 2, np.zeros(5)), TableSpec(9, 4, np.zeros(9))], table_of=[1, 0, 1])
    backbone = MLP(tables.dim, (6,), 0.0, n_members=3)
    head = MemberHeads(3, backbone.dim, torch.zeros(1))
    network = TabularNetwork(CellDropout([], [], []), tables, ScaledNumbers([]), backbone, head)
    a, b = torch.tensor([[1, 2, 3]]), torch.tensor([[1, 4, 3]])
    read = [
        (tables(codes)[0].unsqueeze(1) * backbone.member_scale) @ backbone.layers[0].weight.T
        for codes in (a, b)
    ]
    weights = network.column_weights()
    assert [tuple(own.shape) for own in weights] == [(18, 4), (18, 2), (18, 4)]
    difference = tables.vectors(0)[2] - tables.vectors(0)[4]
    torch.testing.assert_close((read[0] - read[1]).flatten(), weights[1] @ difference)

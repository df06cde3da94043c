import numpy as np
import pytest
import torch

from tabemb.network.backbone import MLP
from tabemb.network.dropout import CellDropout, hiding_rates
from tabemb.network.model import MemberHeads, TabularNetwork, in_double_precision
from tabemb.network.numbers import PiecewiseLinearNumbers
from tabemb.network.tables import Tables, TableSpec


def network(n_members=3, rate=0.0, hidden=(8,)):
    tables = Tables([TableSpec(6, 2, np.ones(6))], table_of=[0, 0])
    numbers = PiecewiseLinearNumbers([np.array([0.0, 1.0, 2.0])], 4)
    backbone = MLP(tables.dim + numbers.dim, hidden, 0.0, n_members)
    dropout = CellDropout([np.full(6, rate)] * 2, [True, False], [rate])
    return TabularNetwork(dropout, tables, numbers, backbone, n_members, torch.tensor([0.5, -0.5]))


CODES = torch.tensor([[2, 3], [4, 5], [0, 1]])
NUMBERS = torch.tensor([[0.5], [1.5], [float("nan")]])


def test_shapes_and_finite_answers():
    answer = network()(CODES, NUMBERS)
    assert answer.outputs.shape == (3, 3, 2)
    assert answer.hidden.shape == (3, 3, 8)
    assert answer.outputs.isfinite().all()
    assert (answer.penalty > 0).all()


def test_permuting_rows_permutes_answers():
    net, order = network().eval(), torch.tensor([2, 0, 1])
    torch.testing.assert_close(net(CODES[order], NUMBERS[order]).outputs, net(CODES, NUMBERS).outputs[order])


def test_one_member_is_a_plain_mlp_and_several_differ():
    assert network(n_members=1).backbone.member_scale is None
    first, second, _ = network()(CODES, NUMBERS).outputs.unbind(1)
    assert not torch.allclose(first, second)


def test_double_precision_answers_the_same_whatever_stands_beside_a_row():
    net = network(hidden=(64, 64)).eval()
    precise = in_double_precision(net)
    whole = precise(CODES, NUMBERS.double()).outputs
    torch.testing.assert_close(whole.float(), net(CODES, NUMBERS).outputs)
    for i in range(3):
        torch.testing.assert_close(precise(CODES[[i]], NUMBERS[[i]].double()).outputs[0], whole[i], rtol=1e-12, atol=0)


def test_heads_start_at_the_given_answer():
    heads = MemberHeads(2, 4, torch.tensor([1.0, 2.0]))
    assert heads(torch.zeros(1, 2, 4)).tolist() == [[[1.0, 2.0], [1.0, 2.0]]]


def test_cells_are_hidden_in_training_alone_at_their_rates():
    rates = [np.array([0, 0, 0.5, 0.1]), np.array([0, 0, 0.2])]
    dropout = CellDropout(rates, [True, False], [0.3])
    codes = torch.tensor([[2, 2]]).repeat(20_000, 1)
    hidden, numbers = dropout(codes, torch.ones(20_000, 1))
    shares = [(hidden[:, 0] == 0), (hidden[:, 0] == 1), (hidden[:, 1] == 0), (hidden[:, 1] == 1), numbers[:, 0].isnan()]
    assert [round(float(s.float().mean()), 1) for s in shares] == pytest.approx([0.2, 0.2, 0.2, 0.0, 0.3], abs=0.11)
    assert shares[3].sum() == 0
    kept = dropout.eval()(codes, torch.ones(20_000, 1))
    assert torch.equal(kept[0], codes)
    assert not kept[1].isnan().any()


def test_rare_categories_are_hidden_more():
    rates = hiding_rates(np.array([1, 10, 1e6]), 0.01)
    assert rates == pytest.approx([0.11, 0.02, 0.01], abs=1e-6)
    assert hiding_rates(np.array([1]), 0.4).max() == 0.5

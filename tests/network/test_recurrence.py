"""Explicit gradients, compared with those of torch."""

import pytest
import torch
from torch import nn

from tabemb.network.recurrence import gru_states
from tabemb.network.reductions import highest_by_row


@pytest.mark.parametrize("shape", [(7, 3, 5), (1, 1, 2), (0, 2, 2)], ids=str)
def test_states_and_gradients_of_a_gru_are_those_of_torch(shape):
    torch.manual_seed(0)
    net = nn.GRU(shape[2], 4).double()
    inputs = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    start = torch.randn(shape[1], 4, dtype=torch.float64, requires_grad=True)
    factors = torch.randn(*shape[:2], 4, dtype=torch.float64)
    parts = [inputs, start, *net.parameters()]
    states = gru_states(net, inputs, start)
    gradients = torch.autograd.grad((factors * states).sum(), parts)
    if not shape[0]:
        assert not any(part.any() for part in gradients)
        return
    expected = net(inputs, start.unsqueeze(0))[0]
    torch.testing.assert_close(states, expected)
    torch.testing.assert_close(gradients, torch.autograd.grad((factors * expected).sum(), parts))


def test_the_gradient_of_a_maximum_is_that_of_torch_also_where_values_are_equal():
    rows = torch.tensor([0, 0, 0, 2, 2, 3])
    values = torch.tensor([[1.0, 5], [3, 5], [3, 2], [-1, -1], [-2, -1], [7, -3]]).double()
    values.requires_grad_()
    factors = torch.arange(1.0, 9).double().reshape(4, 2)
    highest = highest_by_row(values, rows, 4)
    assert highest.tolist() == [[3, 5], [0, 0], [-1, -1], [7, -3]]
    index = rows.unsqueeze(1).expand(-1, 2)
    expected = values.new_zeros(4, 2).scatter_reduce(0, index, values, "amax", include_self=False)
    gradients = [torch.autograd.grad((factors * v).sum(), values)[0] for v in (highest, expected)]
    torch.testing.assert_close(*gradients)

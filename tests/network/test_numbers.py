import numpy as np
import pytest
import torch

from tabemb.network.numbers import NUMBER_ENCODINGS, PiecewiseLinearNumbers, ScaledNumbers, squash

EDGES = [np.array([0.0, 1.0, 3.0]), np.array([-1.0, 1.0])]


def test_piecewise_linear_terms_are_the_shares_of_the_bins_below_the_value():
    encoding = PiecewiseLinearNumbers(EDGES, d_number=1)
    assert encoding.long.tolist() == [0]
    terms = encoding.embedded.expand(torch.tensor([[2.0], [-5.0]]))
    assert terms.tolist() == [[[1.0, 0.5]], [[0.0, 0.0]]]


def test_a_number_of_few_bins_gives_the_shares_themselves():
    encoding = PiecewiseLinearNumbers(EDGES, d_number=4)
    out = encoding(torch.tensor([[2.0, 0.0], [-5.0, 9.0], [1.0, float("nan")]]))
    assert out.tolist() == [[1, 0.5, 0.5, 0, 0], [0, 0, 1, 0, 0], [1, 0, 0, 0, 1]]


@pytest.mark.parametrize("name", NUMBER_ENCODINGS)
def test_no_value_however_extreme_gives_a_large_or_undefined_input(name):
    near_constant = [np.array([1.0, 1.0 + 1e-12]), np.zeros(1)]
    encoding = NUMBER_ENCODINGS[name](near_constant, 8)
    out = encoding(torch.tensor([[1e12, -1e12], [float("nan"), 0.0], [1.1, 3.0]]))
    assert out.shape == (3, encoding.dim)
    assert out.abs().max() < 20


@pytest.mark.parametrize("name", NUMBER_ENCODINGS)
def test_a_missing_number_is_no_zero(name):
    encoding = NUMBER_ENCODINGS[name](EDGES, 8)
    missing, zero = encoding(torch.tensor([[float("nan"), 0.0], [0.0, 0.0]]))
    assert not torch.allclose(missing, zero)


def test_scaled_numbers_are_clipped_smoothly():
    out = ScaledNumbers(EDGES)(torch.tensor([[0.1, 1e6]]))
    torch.testing.assert_close(out, torch.tensor([[0.1, 3.0, 0.0, 0.0]]), atol=1e-3, rtol=0)
    assert squash(torch.tensor(3.0)).item() == pytest.approx(3 / 2**0.5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_vectors_that_many_rows_look_up_are_those_of_few_rows(dtype):
    edges = [np.linspace(-2, 2, 30), np.array([-1.0, 0.0, 1.5]), np.array([0.0, 1.0, 1.0 + 1e-12, 2.0])]
    encoding = PiecewiseLinearNumbers(edges, d_number=1)
    encoding.embedded.weight.data = encoding.embedded.weight.data.to(dtype)
    encoding.embedded.bias.data = torch.randn(3, 1, 1, dtype=dtype)
    numbers = torch.linspace(-4, 4, 1200, dtype=dtype).unsqueeze(1).repeat(1, 3)
    numbers[::5, 1], numbers[:3] = torch.nan, torch.tensor([[0.0], [1.0], [-2.0]])
    many, parts = encoding(numbers), torch.cat([encoding(part) for part in numbers.split(400)])
    torch.testing.assert_close(many, parts, atol=2e-6, rtol=0)
    gradients = [
        torch.autograd.grad(out.square().sum(), [*encoding.parameters()]) for out in (many, parts)
    ]
    torch.testing.assert_close(*gradients, atol=2e-3, rtol=1e-4)

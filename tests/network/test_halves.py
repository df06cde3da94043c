"""Half precision: rounding is unbiased, and training does not lose small steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tabemb.network.halves import HALF, as_half, is_half, numpy_of_any, rounded, write_rows
from tabemb.network.tables import Tables, TableSpec
from tabemb.training.average import WeightAverage
from tabemb.training.optimizers import Loss, Optimizer
from tabemb.training.state import packed, unpacked


def test_numbers_are_rounded_to_a_neighbour_and_right_on_average():
    torch.manual_seed(0)
    values = torch.tensor([1 + 2**-9, -1 - 2**-9, 0.1, -3e-5, 0.0, 1.0])
    draws = torch.stack([rounded(values).float() for _ in range(4000)])
    assert (draws.unique(dim=0).std(0)[4:] == 0).all()  # representable numbers do not change
    unit = (values.abs() * 2**-7).clamp(min=1e-30)
    assert ((draws - values).abs() <= unit).all()
    assert ((draws.mean(0) - values).abs() < 0.05 * unit).all()
    assert draws[:, 0].unique().tolist() == [1.0, 1 + 2**-7]
    assert draws[:, 0].mean().item() == pytest.approx(1 + 2**-9, abs=3e-4)


def test_bits_travel_as_whole_numbers():
    half = torch.tensor([1.5, -0.25], dtype=HALF)
    array = numpy_of_any(half)
    assert array.dtype == np.int16
    assert torch.equal(as_half(torch.from_numpy(array)), half)
    arrays = {}
    state = packed({"a": half, "b": torch.ones(2)}, arrays)
    back = unpacked(state, arrays)
    assert torch.equal(back["a"], half)
    assert back["b"].dtype == torch.float32
    with pytest.raises(ValueError, match="half precision have the type int16"):
        as_half(torch.ones(2))


def tables(precision, n=50, dim=4):
    spec = TableSpec(n, dim, np.zeros(n), sparse=True, precision=precision)
    return Tables([spec], [0], torch.Generator().manual_seed(0))


def test_small_steps_are_not_lost():
    """There are 600 steps of 1e-4, far below the spacing of half-precision numbers near one."""
    torch.manual_seed(0)
    weight = torch.ones(100, 8, dtype=HALF)
    nearest, rows = weight.clone(), torch.arange(100)
    for _ in range(600):
        write_rows(weight, rows, weight[rows].float() + 1e-4)
        nearest[rows] = (nearest[rows].float() + 1e-4).to(HALF)
    assert weight.float().mean().item() == pytest.approx(1.06, abs=2e-3)
    assert (nearest == 1).all()


def train(precision, n_steps=400):
    """Fit each row of a table to a known vector, with noise in the targets."""
    torch.manual_seed(0)
    network = tables(precision)
    goal = torch.randn(50, 4)
    optimizer = Optimizer(network, 3e-2, 0.0)
    for _ in range(n_steps):
        codes = torch.randint(0, 50, (64, 1))
        vectors, _ = network(codes)
        errors = vectors - goal[codes[:, 0]] - 0.3 * torch.randn(64, 4)
        optimizer.step(Loss((errors**2).mean()))
    with optimizer.average.in_place():
        return float((network.vectors(0) - goal).square().mean().sqrt()), optimizer


def test_a_table_in_half_precision_trains_as_well():
    whole, _ = train("float32")
    half, optimizer = train("bfloat16")
    assert half < 1.1 * whole + 0.005
    (moments,) = optimizer.optimizers[1].moments.values()
    assert is_half(moments.mean)
    assert is_half(moments.square)
    assert all(map(is_half, optimizer.average.averages))


def test_a_step_is_that_of_adam():
    """The first step of Adam is the learning rate in the direction of the gradient."""
    network = tables("bfloat16")
    before = network.vectors(0).clone()
    optimizer = Optimizer(network, 0.5, 0.0)
    vectors, _ = network(torch.tensor([[3], [3], [7]]))
    assert vectors.dtype == torch.float32
    optimizer.step(Loss((vectors * torch.tensor([1.0, -2.0, 3.0, -4.0])).sum()))
    moved = network.vectors(0) - before
    assert torch.allclose(moved[[3, 7]], -0.5 * torch.tensor([1.0, -1.0, 1.0, -1.0]), atol=0.01)
    assert (moved[[0, 1, 2, 4]] == 0).all()


def test_counts_of_updates_are_exact():
    """In half precision, a count would stop at 256."""
    weight = nn.Parameter(torch.zeros(2, 1, dtype=HALF))
    average = WeightAverage([weight])
    weight.grad = torch.sparse_coo_tensor(
        [[1]], torch.ones(1, 1, dtype=HALF), (2, 1), check_invariants=True
    )
    for _ in range(300):
        average.update()
    assert average.state()["n_row_updates"][0][1].tolist() == [0.0, 300.0]


def test_tables_of_two_precisions_lie_in_two_weights():
    specs = [TableSpec(5, 2, np.zeros(5), precision=p) for p in ("float32", "bfloat16", "float32")]
    both = Tables(specs, [0, 1, 2])
    assert [group.weight.dtype for group in both.groups] == [torch.float32, HALF]
    assert both(torch.zeros(1, 3, dtype=torch.long))[0].dtype == torch.float32

"""Ready-made vectors in a network: directions stay, lengths are clipped, missing ones are zeros."""

import torch

from tabemb.network.inputs import RowInputs
from tabemb.network.randomness import Random, drawing_from
from tabemb.network.vectors import VectorInputs

VECTORS = torch.tensor([[0.3, -0.4], [300.0, -400.0], [torch.nan, torch.nan], [0.0, 0.0]])


def test_directions_stay_and_lengths_are_clipped():
    read = VectorInputs([2], [0.0])
    out = read([VECTORS])
    assert (read.dim, out.shape) == (3, (4, 3))
    lengths = VECTORS[:2].norm(dim=1) / 2**0.5
    expected = VECTORS[:2] / torch.sqrt(1 + (lengths / 3) ** 2).unsqueeze(1)
    torch.testing.assert_close(out[:2, :2], expected)
    assert abs(float(out[1, :2].norm() / 2**0.5) - 3) < 0.01
    assert out[2:].tolist() == [[0, 0, 1], [0, 0, 0]]


def test_several_columns_lie_side_by_side_and_one_without_any_vector_is_missing():
    read = VectorInputs([2, 0, 1], [0.0, 0.0, 0.0])
    out = read([VECTORS, VECTORS[:, :0], torch.ones(4, 1)])
    assert (read.dim, out.shape) == (6, (4, 6))
    assert out[:, 3].tolist() == [1, 1, 1, 1]


def test_training_hides_some_vectors():
    read, many = VectorInputs([2], [0.25]), VECTORS[:1].expand(4000, 2)
    with drawing_from(Random(0)):
        hidden = read([many])[:, 2]
    assert 0.22 < float(hidden.mean()) < 0.28
    assert not read.eval()([many])[:, 2].any()


def test_vectors_travel_with_their_rows():
    inputs = RowInputs.of(torch.zeros(4, 0, dtype=torch.int32), torch.zeros(4, 0), (), [VECTORS])
    assert inputs.take(torch.tensor([1, 0])).vectors[0].tolist() == VECTORS[[1, 0]].tolist()
    first, second = inputs.split([1, 3])
    assert first.vectors[0].tolist() == VECTORS[:1].tolist()
    assert len(second) == len(second.vectors[0]) == 3
    assert inputs.double().vectors[0].dtype == torch.float64
    assert inputs.double().codes.dtype == torch.int32
    assert inputs.to(torch.device("cpu")).vectors[0].shape == (4, 2)
    assert inputs.with_effects(torch.zeros(4, 1, 1)).vectors is inputs.vectors

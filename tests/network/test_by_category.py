"""Pooling of events by category: the closed form, and its effect on frequent and rare categories."""

import math

import pytest
import torch

from tabemb.network.history import ByCategory
from tabemb.network.inputs import Ragged

#            row 0: categories 2 3 2 2    row 1: none   row 2: 3
OFFSETS, CODES = torch.tensor([0, 4, 4, 5]), torch.tensor([[9, 2], [9, 3], [9, 2], [9, 2], [9, 3]])


def pooled(values, lengths=None):
    """Pool values with a layer that passes them on unchanged."""
    pool = ByCategory(1, d_in=1, d_out=1)
    torch.nn.init.ones_(pool.layer.weight)
    torch.nn.init.zeros_(pool.layer.bias)
    vectors = torch.tensor(values)[:, None]
    events = Ragged(OFFSETS, CODES, torch.zeros(5, 0))
    return pool(vectors, events, lengths).detach()


def test_each_category_gives_its_mean_its_count_and_its_last_event():
    """The values are small, so clipping does not change them."""
    result = pooled([0.01, 0.04, 0.03, 0.05, 0.07])
    means = (0.01 + 0.03 + 0.05) / 3, 0.04
    by_count = means[0] * math.log(4) + means[1] * math.log(2)
    expected = [[sum(means), by_count, 0.05 + 0.04], [0, 0, 0], [0.07, 0.07 * math.log(2), 0.07]]
    torch.testing.assert_close(result, torch.tensor(expected), rtol=1e-4, atol=1e-6)


def test_counts_are_those_of_all_events_where_some_are_dropped():
    result = pooled([0.01] * 5, lengths=torch.tensor([8, 3, 1]))
    assert result[0, 1] == pytest.approx(0.01 * (math.log(7) + math.log(3)), rel=1e-4)
    assert not result[1].any()


def test_sums_are_clipped_smoothly():
    assert pooled([1e6] * 5).max() < 30.1

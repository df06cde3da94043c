"""Which tables stay in main memory: the largest first, by their memory in training."""

import warnings

import numpy as np
import pytest
import torch

from tabemb.network import devices
from tabemb.network.tables import Tables, TableSpec

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("free", "stay"),
    # six times 1,680 bytes of weights are 80 % of 12,600; six times the small table's 80 bytes, of 600
    [(12_600, []), (12_599, [4]), (600, [4]), (599, [4, 2]), (0, [4, 2])],
)
def test_the_largest_tables_stay_where_training_would_take_more_than_is_free(free, stay, monkeypatch):
    monkeypatch.setattr(devices, "free_bytes", lambda _: float(free))
    tables = Tables([TableSpec(100, 4, np.zeros(100)), TableSpec(10, 2, np.zeros(10))], [0, 1])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        devices.place(tables, CPU)
    assert [group.weight.shape[1] for group in tables.groups if group.stays] == stay
    n_bytes = 6 * sum({4: 1600, 2: 80}[dim] for dim in stay)
    expected = f"Tables that take {n_bytes / 1e9:.3g} GB in training stay in main memory, as 'cpu' has"
    assert [str(it.message)[: len(expected)] for it in caught] == [expected] * bool(stay)


def test_a_table_that_stays_is_moved_by_nothing_and_one_that_fits_later_moves():
    tables = Tables([TableSpec(100, 4, np.zeros(100)), TableSpec(10, 2, np.zeros(10))], [0, 1])
    tables.groups[0].stays = True
    tables.to("meta")
    assert [group.weight.device.type for group in tables.groups] == ["cpu", "meta"]
    assert devices.device_of(tables) == torch.device("meta")
    devices.place(tables, torch.device("meta"))
    assert {group.weight.device.type for group in tables.groups} == {"meta"}


def test_vectors_of_a_table_that_stays_are_looked_up_there(monkeypatch):
    tables = Tables([TableSpec(5, 4, np.zeros(5)), TableSpec(9, 2, np.zeros(9), sparse=True)], [0, 1])
    codes = torch.tensor([[4, 8], [0, 3]])
    expected, _ = tables(codes)
    tables.groups[1].stays = True
    vectors, penalty = tables(codes)
    assert torch.equal(vectors, expected)
    vectors.sum().backward()
    assert tables.groups[1].weight.grad.is_sparse
    assert tables.groups[1].weight.grad.coalesce().indices().tolist() == [[3, 8]]
    assert penalty.shape == (2,)

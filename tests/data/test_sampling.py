"""Random rows: the choice depends only on the position, not on the number of rows or the parts."""

import numpy as np

from tabemb.data import sampling
from tabemb.data.sampling import largest, row_keys, sampled_rows, smallest


def test_keys_belong_to_positions():
    keys = row_keys(0, 200_000)
    np.testing.assert_array_equal(row_keys(70_000, 140_000), keys[70_000:140_000])
    assert len(row_keys(5, 5)) == 0
    assert abs(keys.mean() - 0.5) < 0.005
    assert abs(np.corrcoef(keys[:-1], keys[1:])[0, 1]) < 0.01


def test_extreme_rows_are_those_of_extreme_keys(monkeypatch):
    monkeypatch.setattr(sampling, "MOST_ROWS", 1000)
    keys = row_keys(0, 5500)
    order = np.argsort(keys)
    np.testing.assert_array_equal(smallest(5500, 700), np.sort(order[:700]))
    np.testing.assert_array_equal(largest(5500, 31), np.sort(order[-31:]))
    np.testing.assert_array_equal(smallest(50, 50), np.arange(50))


def test_few_rows_are_no_sample():
    assert sampled_rows(100, 100) is None
    assert len(sampled_rows(101, 100)) == 100

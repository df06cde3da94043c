import numpy as np
import pytest

from experiments.workers import SIZES, Step, estimate, planted, speed_of, step_of
from tabemb import EmbeddingClassifier

CLUSTER = {"n_rows": 3600 * 10**6, "n_machines": 4, "n_workers": 2, "batch_size": 8000}


def test_without_bytes_and_latency_workers_add_up():
    result = estimate(Step(1e-3, 0, 0), **CLUSTER, gigabits=1, microseconds=0)
    assert result.rows_per_second == pytest.approx(8000)
    assert result.hours == pytest.approx(125)


def test_what_is_sent_takes_its_time():
    alone = {**CLUSTER, "n_machines": 1, "n_workers": 1}
    assert estimate(Step(1e-3, 10**9, 10**6), **alone, gigabits=1, microseconds=9).sending == 0
    result = estimate(Step(1e-3, 8 * 10**6, 100), **CLUSTER, gigabits=8, microseconds=10)
    # 14 MB of dense gradients, .7 MB of rows, 21 hops
    assert result.sending == pytest.approx(14e-3 + 0.7e-3 + 0.21e-3)
    assert result.computing == pytest.approx(1.0)


def test_the_first_epoch_is_not_timed():
    assert speed_of([10.0, 12.0, 14.0], 1000) == pytest.approx(500)


def test_gradients_are_counted_by_table():
    X, y = planted(400, 40_000, seed=0)
    assert len(X.columns) == len(SIZES) + 6
    assert 0.2 < np.mean(y) < 0.8
    model = EmbeddingClassifier(max_epochs=1, hidden=(8,), n_members=2, n_jobs=1, random_state=0)
    step = step_of(model.fit(X, y), 1e-4)
    assert step.dense_bytes == 4 * sum(weight.numel() for weight in model.network_.parameters())
    assert step.sparse_bytes_of_row == 0  # no column has so many levels here

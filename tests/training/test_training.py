import math
import time

import joblib
import pytest
import torch
from torch import nn

from tabemb.training.batches import Batches, in_pieces
from tabemb.training.loop import Clock, train
from tabemb.training.optimizers import Optimizer, cosine
from tabemb.training.threads import n_threads, seeded, threads


class Line(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def forward(self, x):
        return self.layer(x)


def planted():
    x = torch.linspace(-1, 1, 64).unsqueeze(1)
    return x, 3 * x + 1


def fit(max_epochs=60, **kwargs):
    torch.manual_seed(0)
    network, data = Line(), planted()
    batches = Batches(data, 16, torch.Generator().manual_seed(0))
    loss = lambda x, y: (network(x) - y).square().mean()  # noqa: E731
    history = train(network, batches, loss, Optimizer(network, 0.1, 0.0), max_epochs=max_epochs, **kwargs)
    return network, history


def test_a_planted_line_is_found():
    network, history = fit()
    assert network.layer.weight.item() == pytest.approx(3, abs=0.02)
    assert network.layer.bias.item() == pytest.approx(1, abs=0.02)
    assert history["train_loss"][-1] < 1e-3 < history["train_loss"][0]
    assert len({len(curve) for curve in history.values()}) == 1


def test_the_best_epoch_is_restored_and_patience_ends_the_wait():
    losses = iter([5.0, 1.0, 2.0, 2.0, 2.0, 9.0])
    seen = []
    torch.manual_seed(0)
    network = Line()
    batches = Batches(planted(), 16, torch.Generator().manual_seed(0))

    def evaluate():
        seen.append(network.layer.weight.item())
        return next(losses)

    loss = lambda x, y: (network(x) - y).square().mean()  # noqa: E731
    optimizer = Optimizer(network, 0.1, 0.0)
    history = train(network, batches, loss, optimizer, max_epochs=50, evaluate=evaluate, patience=3)
    assert history["eval_loss"] == [5.0, 1.0, 2.0, 2.0, 2.0]
    assert network.layer.weight.item() == seen[1]


def test_the_time_budget_ends_within_an_epoch_and_the_rate_falls_with_it():
    start = time.perf_counter()
    _, history = fit(max_epochs=10**6, clock=Clock(0.3))
    assert time.perf_counter() - start < 2
    assert history["learning_rate"][-1] < 0.02


def test_a_last_step_has_a_learning_rate_near_zero():
    _, history = fit(max_epochs=20)
    assert history["learning_rate"] == sorted(history["learning_rate"], reverse=True)
    assert history["learning_rate"][-1] < 1e-3
    assert (cosine(0), cosine(1)) == (1, 0)


def test_weight_decay_spares_biases_and_tables():
    network = nn.ModuleDict({"linear": nn.Linear(2, 2), "table": nn.Embedding(3, 2)})
    groups = Optimizer(network, 0.1, 0.5).optimizers[0].param_groups
    assert [(group["weight_decay"], len(group["params"])) for group in groups] == [(0.0, 2), (0.5, 1)]


def test_batches_hold_every_row_once_and_are_of_one_size():
    batches = Batches([torch.arange(100)], 33, torch.Generator().manual_seed(0))
    sizes = [len(rows) for (rows,) in batches]
    assert sorted(sizes) == [25, 25, 25, 25]
    first, second = ([int(i) for (rows,) in batches for i in rows] for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(100))
    assert first != second
    assert [len(p) for (p,) in in_pieces([torch.arange(5)], 2)] == [2, 2, 1]


def test_the_users_random_state_and_threads_are_given_back():
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    before = torch.get_num_threads()
    with seeded(3, torch.device("cpu")), threads(1):
        torch.rand(5)
    assert torch.rand(1) == expected
    assert torch.get_num_threads() == before


def test_a_joblib_worker_takes_one_thread():
    inside = joblib.Parallel(n_jobs=2, backend="threading")(joblib.delayed(n_threads)(None) for _ in range(2))
    assert inside == [1, 1]
    assert n_threads(-1) == joblib.cpu_count()
    assert not math.isnan(Clock().seconds)

"""Surprise: the share of the explained part of the target that is not explained on new rows."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tabemb.fitting.growth import Growth
from tabemb.fitting.surprise import MEMORY, Surprise
from tabemb.network.inputs import Batch, RowInputs
from tabemb.targets import NumberTarget


class Always(torch.nn.Module):
    """A network whose output is its only number."""

    def forward(self, inputs):
        return SimpleNamespace(outputs=inputs.numbers.unsqueeze(1))


def measured(predictions, y, expected, n_validation=10**6):
    n = len(y)
    inputs = RowInputs.of(torch.zeros(n, 0), torch.tensor(predictions).float().unsqueeze(1))
    rows = Batch(inputs, torch.tensor(y).float().unsqueeze(1), torch.ones(n))
    target = NumberTarget().fit(np.array([-1.0, 1.0]), None)
    every = Batch(inputs, torch.tensor([-1.0, 1.0] * n).unsqueeze(1), torch.ones(2 * n))
    network = SimpleNamespace(networks=[Always()])
    fitted = SimpleNamespace(target=target, network=network, validation_pieces=lambda rows: [rows])
    surprise = Surprise()
    surprise.measure(fitted, rows, every, Growth(1, (), None, 0, expected, n_validation))
    return surprise


def test_rows_as_good_as_expected_are_no_surprise():
    error = np.sqrt(0.2) * np.ones(400)
    surprise = measured(error, np.zeros(400), expected=0.2)
    assert surprise.lost == pytest.approx(0, abs=1e-6)
    assert surprise.expected == pytest.approx(0.2)


@pytest.mark.parametrize(("loss", "lost"), [(0.6, 0.5), (1.0, 1.0), (9.0, 1.0), (0.1, 0.0)])
def test_the_share_lost_is_between_the_expected_loss_and_that_of_a_constant(loss, lost):
    surprise = measured(np.sqrt(loss) * np.ones(400), np.zeros(400), expected=0.2)
    assert surprise.lost == pytest.approx(lost, abs=1e-6)
    excess = np.clip((loss - 0.2) / 0.8, -1, 1)
    assert surprise.expected == pytest.approx(0.2 + (1 - MEMORY) * excess * 0.8)


def test_chance_is_no_surprise():
    rng = np.random.default_rng(0)
    draws = [measured(rng.normal(size=50), np.zeros(50), expected=1.0 - 1e-3) for _ in range(200)]
    small = [measured(0.5 * rng.normal(size=50), np.zeros(50), expected=0.25) for _ in range(200)]
    assert np.mean([s.lost > 0 for s in small]) < 0.05
    assert np.mean([s.lost > 0 for s in draws]) < 0.05


def test_an_expectation_from_few_rows_is_no_sure_one():
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(200, 550))
    lost = [
        [measured(d[50:], np.zeros(500), (0.9 * d[:50] ** 2).mean(), n).lost for d in draws]
        for n in (10**6, 50)
    ]
    assert np.mean(np.array(lost[0]) > 0) > 0.3 > 0.15 > np.mean(np.array(lost[1]) > 0)


def test_few_rows_are_not_measured():
    surprise = measured(np.full(9, 3.0), np.zeros(9), expected=0.2)
    assert (surprise.lost, surprise.expected) == (0.0, 0.2)

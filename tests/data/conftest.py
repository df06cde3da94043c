"""Effects fitted on small planted data."""

import numpy as np
import pytest

from tabemb.data.effects import Effects
from tabemb.data.out_of_fold import OutOfFold


@pytest.fixture
def fit_effects():
    """A function that fits effects and also returns their out-of-fold counterpart."""

    def fit(codes, responses, numbers=None, weights=None, n_pairs=4, are_shares=False):
        numbers = np.zeros((len(codes), 0)) if numbers is None else numbers
        weights = np.ones(len(codes)) if weights is None else weights
        rows = (codes, numbers, np.asarray(responses, float).reshape(len(codes), -1), weights)
        effects = Effects(n_pairs, are_shares).fit(*rows, np.random.default_rng(0))
        return effects, OutOfFold(effects, *rows)

    return fit


@pytest.fixture
def two():
    """Two categorical inputs of ten levels; the target depends on the first one and on the pair."""
    rng = np.random.default_rng(1)
    codes = rng.integers(2, 12, (4000, 2))
    pair = rng.normal(size=(12, 12))
    y = codes[:, 0] + 2 * pair[codes[:, 0], codes[:, 1]] + rng.normal(size=4000) * 0.1
    return codes, y

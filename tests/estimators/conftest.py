"""Settings that the tests of estimators share."""

from __future__ import annotations

import pytest


@pytest.fixture
def tiny(small) -> dict:
    """Settings of the smallest network, for tests in which its accuracy does not matter."""
    return {**small, "hidden": (8,), "n_members": 1, "max_epochs": 2, "trees": False}


@pytest.fixture
def brief(small) -> dict:
    """Settings of a network without trees that learns the effects of a few hundred rows."""
    return {**small, "max_epochs": 12, "batch_size": 32, "learning_rate": 0.02, "trees": False}

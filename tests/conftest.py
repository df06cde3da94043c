"""Setup that all tests share: one thread, a headless canvas, small settings, small frames."""

from __future__ import annotations

import os
import shutil

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch

matplotlib.use("Agg")
torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip slow tests unless they are requested."""
    if os.environ.get("TABEMB_SLOW") or os.environ.get("TABEMB_FUZZ"):
        return
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="it takes long: make slow"))


@pytest.fixture
def small() -> dict:
    """Settings of a network that trains in a fraction of a second."""
    return {
        "hidden": (32,),
        "n_members": 2,
        "max_epochs": 30,
        "batch_size": 64,
        "random_state": 0,
        "n_jobs": 1,
    }


@pytest.fixture
def shops() -> tuple[pd.DataFrame, pd.Series]:
    """1,200 rows whose target is a known effect of a shop and a slope on a number, nearly without
    noise."""
    rng = np.random.default_rng(0)
    effects = {"north": -2.0, "south": 0.0, "east": 1.0, "west": 3.0}
    shop = rng.choice(list(effects), 1200)
    size = rng.normal(size=1200)
    y = pd.Series(shop).map(effects) + 2 * size + rng.normal(scale=0.05, size=1200)
    return pd.DataFrame({"shop": shop, "size": size}), y


@pytest.fixture(scope="module")
def browser():
    """A real browser; tests that need one are skipped if there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    names = ("chromium", "google-chrome", "chromium-browser")
    found = [path for path in map(shutil.which, names) if path]
    if not found:
        pytest.skip(f"no browser: none of {', '.join(names)} is installed")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=found[0], args=["--no-sandbox"])
        yield running
        running.close()

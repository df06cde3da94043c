from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tabemb.compare import Dataset

N_ROWS, N_CITIES = 700, 25


def planted_frame(seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Return a frame with every kind of column, and a target from its categories and numbers."""
    rng = np.random.default_rng(seed)
    city, shop = rng.integers(0, N_CITIES, N_ROWS), rng.integers(0, 300, N_ROWS)
    size, flag = rng.normal(size=N_ROWS), rng.random(N_ROWS) < 0.5
    signal = 2 * rng.normal(size=N_CITIES)[city] + size + 1.5 * flag
    frame = pd.DataFrame(
        {
            "city": np.array([f"city {c}" for c in city], dtype=object),
            "shop": 2**40 + shop,
            "colour": pd.Categorical(rng.choice(["red", "green"], N_ROWS)),
            "size": size,
            "flag": flag,
            "opened": pd.Timestamp("2020-01-01")
            + pd.to_timedelta(rng.integers(0, 900, N_ROWS), unit="D"),
            "day": rng.integers(0, 50, N_ROWS),
        }
    )
    frame.loc[frame.index[::17], ["city", "colour", "size", "opened"]] = None
    # the last rows are test rows below; some of their categories are unseen
    frame.loc[frame.index[-20:], "city"] = "a new city"
    frame.loc[frame.index[-20:], "shop"] = 7
    return frame, signal + 0.1 * rng.normal(size=N_ROWS)


@pytest.fixture
def regression() -> Dataset:
    frame, signal = planted_frame()
    y = pd.Series(100 + 10 * signal)
    extras = {"groups": frame["day"] // 5, "time": frame["day"]}
    return Dataset("planted", frame, y, "regression", {"shop": "categorical"}, **extras)


@pytest.fixture
def binary() -> Dataset:
    frame, signal = planted_frame()
    y = pd.Series(np.where(signal > np.median(signal), "yes", "no"))
    return Dataset("planted_binary", frame, y, "binary", {"shop": "categorical"})


@pytest.fixture
def multiclass() -> Dataset:
    frame, signal = planted_frame()
    y = pd.Series(np.digitize(signal, np.quantile(signal, [1 / 3, 2 / 3])) + 10)
    return Dataset("planted_multiclass", frame, y, "multiclass", {"shop": "categorical"})

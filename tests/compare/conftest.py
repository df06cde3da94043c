from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from tabemb.compare import Dataset, figures, sections, themes

N_ROWS, N_CITIES = 700, 25
WIDTH = 8.0


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
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set up figures that are built but not written, which takes most of the seconds of a page.

    Tests of what a page says, or of where it is written, look at no figure."""
    plot_all = figures.plot_all

    def build(draw: Callable[[float], Figure], name: str, caption: str) -> str:
        assert isinstance(draw(WIDTH), Figure)
        return f"<figure><figcaption>{caption}</figcaption></figure>"

    def build_sheet(*arguments) -> Figure:
        assert isinstance(plot_all(*arguments), Figure)
        return Figure(figsize=(1, 1))

    for module in (themes, sections):
        monkeypatch.setattr(module, "page_figure", build)
    monkeypatch.setattr(figures, "plot_all", build_sheet)


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

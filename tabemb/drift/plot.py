"""The picture of a drift report."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tabemb.extras import need

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"": "0.75", "small": "tab:blue", "moderate": "tab:orange", "large": "tab:red"}
LONGEST = 0.6
"""Largest length of a bar; larger values are written next to it."""


def draw_drift(
    columns: pd.DataFrame, bounds: tuple[float, float], most: int, ax: Axes | None = None
) -> Axes:
    """Draw the population stability index of inputs, the largest drift at the top."""
    plt = need("matplotlib.pyplot", extra="maps")

    shown = columns.head(most)[::-1]
    if ax is None:
        _, ax = plt.subplots(figsize=(7, 1.4 + 0.27 * len(shown)), layout="constrained")
    places = np.arange(len(shown))
    bars = shown[["psi_low", "psi", "psi_high"]].fillna(0).clip(upper=LONGEST)
    low, psi, high = bars.to_numpy().T
    ax.barh(places, psi, xerr=[psi - low, high - psi], color=shown["drift"].map(COLOURS), ecolor="0.35")
    for place, right, text in zip(places, high, _texts(shown)):
        ax.annotate(text, (right, place), (4, 0), textcoords="offset points", va="center", fontsize=8)
    for bound, size in zip(bounds, ("moderate", "large")):
        ax.axvline(bound, color="0.6", linestyle=":", linewidth=0.9)
        ax.annotate(
            size,
            (bound, 1),
            (2, 2),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            fontsize=8,
            color="0.4",
        )
    ax.set_yticks(places, shortened(shown["column"]))
    of = f": {len(shown)} of {len(columns)} inputs" if len(shown) < len(columns) else ""
    ax.set(
        xlabel="population stability index, with a 95 % interval",
        xlim=(0, max(LONGEST / 2, 1.05 * high.max()) * 1.25),
    )
    ax.set_title(f"Drift{of}", pad=16)
    return ax


def _texts(lines: pd.DataFrame) -> list[str]:
    """Return the text next to each bar: the value if the bar is cut off, and other differences."""
    kinds = lines["kinds"].where(lines["kinds"] != "shift", "")
    values = [f"{psi:.2f}  " if psi > LONGEST else "" for psi in lines["psi"]]
    return [value + kind for value, kind in zip(values, kinds)]


def shortened(names: Iterable[Any]) -> list[str]:
    """Return names for an axis, shortened and without mathematical notation."""
    texts = [str(name).replace("$", r"\$") for name in names]
    return [text if len(text) <= 40 else text[:39] + "…" for text in texts]

"""Plots of a fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tabemb.drift.plot import shortened
from tabemb.extras import need
from tabemb.targets import Target
from tabemb.training.loop import LearningCurve

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_learning_curve(
    curve: LearningCurve, best_epoch: int, target: Target, ax: Axes | None = None
) -> Axes:
    """Draw losses by epoch, with a mark at the epoch whose weights were kept."""
    plt = need("matplotlib.pyplot", extra="maps")

    if ax is None:
        _, ax = plt.subplots(figsize=(6, 4), layout="constrained")
    epochs = np.asarray(curve["epoch"]) + 1
    ax.plot(epochs, curve["train_loss"], color="tab:blue", label="training rows")
    validated = np.isfinite(curve["eval_loss"])
    if validated.any():
        ax.plot(epochs, curve["eval_loss"], color="tab:orange", label="validation rows")
        if not validated[-1]:
            ax.axvspan(
                epochs[validated][-1] + 0.5,
                epochs[-1] + 0.5,
                color="0.93",
                label="validation rows train too",
            )
    ax.axvline(best_epoch + 1, color="0.6", linestyle=":", label=f"best: epoch {best_epoch + 1}")
    ax.set(xlabel="epoch", ylabel=target.loss_label, title="Learning curve")
    ax.xaxis.set_major_locator(need("matplotlib.ticker", extra="maps").MaxNLocator(integer=True))
    ax.legend(frameon=False)
    return ax


def draw_importances(importances: pd.DataFrame, label: str, most: int, ax: Axes | None = None) -> Axes:
    """Draw importances as bars, the largest at the top, with their deviations if they have any."""
    plt = need("matplotlib.pyplot", extra="maps")

    ranked = importances.sort_values("importance", ascending=False, kind="stable")
    shown = ranked.head(most)[::-1]
    if ax is None:
        _, ax = plt.subplots(figsize=(6, 1.2 + 0.27 * len(shown)), layout="constrained")
    places = np.arange(len(shown))
    ax.barh(places, shown["importance"], xerr=shown.get("deviation"), color="tab:blue", ecolor="0.35")
    ax.set_yticks(places, shortened(shown["column"]))
    ax.axvline(0, color="0.6", linewidth=0.8)
    of = f": {len(shown)} of {len(ranked)} columns" if len(shown) < len(ranked) else ""
    ax.set(xlabel=label, title=f"Importances{of}")
    return ax

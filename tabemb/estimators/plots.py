"""Pictures of a fit."""

from __future__ import annotations

from typing import Any

import numpy as np


def draw_history(history: dict[str, list[float]], best_epoch: int, ax: Any = None) -> Any:
    """Learning curves by epoch, with a mark at the epoch whose weights were kept."""
    import matplotlib.pyplot as plt

    if ax is None:
        _, ax = plt.subplots(figsize=(6, 4), layout="constrained")
    epochs = np.asarray(history["epoch"]) + 1
    ax.plot(epochs, history["train_loss"], color="tab:blue", label="training rows")
    judged = np.isfinite(history["eval_loss"])
    if judged.any():
        ax.plot(epochs, history["eval_loss"], color="tab:orange", label="rows held back")
        if not judged[-1]:
            ax.axvspan(epochs[judged][-1] + 0.5, epochs[-1] + 0.5, color="0.93", label="these teach too")
    ax.axvline(best_epoch + 1, color="0.6", linestyle=":", label=f"best: epoch {best_epoch + 1}")
    ax.set(xlabel="epoch", ylabel="loss", title="Learning curves")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend(frameon=False)
    return ax

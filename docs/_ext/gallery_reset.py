"""The state from which each example of the gallery starts."""

from __future__ import annotations

import warnings
from typing import Any


def reset(_gallery: dict[str, Any], _name: str) -> None:
    """Let each example start with one thread, a plain style, and warnings as errors."""
    import matplotlib.pyplot as plt
    import torch

    torch.set_num_threads(1)
    plt.rcdefaults()
    plt.rcParams.update({"figure.dpi": 110, "axes.spines.top": False, "axes.spines.right": False})
    warnings.simplefilter("error")

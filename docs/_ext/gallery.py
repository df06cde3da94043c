"""How the examples of the gallery run, and which of their figures are shown."""

from __future__ import annotations

import warnings
from typing import Any

_FILTERS = warnings.catch_warnings()
_SHOWN: set[int] = set()


def reset(_gallery: dict[str, Any], _name: str, when: str) -> None:
    """Make an example run on one thread, with warnings as errors; restore the filters after it."""
    import matplotlib.pyplot as plt
    import torch

    global _FILTERS
    if when == "after":
        _FILTERS.__exit__(None, None, None)
        return
    _SHOWN.clear()
    _FILTERS = warnings.catch_warnings()
    _FILTERS.__enter__()
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    plt.rcdefaults()
    plt.rcParams.update({"figure.dpi": 110, "axes.spines.top": False, "axes.spines.right": False})


def figures(_block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Save the figures that pyplot does not know, such as maps; return the RST that shows them."""
    from matplotlib.figure import Figure
    from sphinx_gallery.scrapers import figure_rst

    paths = []
    for value in list(block_vars["example_globals"].values()):
        if isinstance(value, Figure) and not hasattr(value, "number") and id(value) not in _SHOWN:
            _SHOWN.add(id(value))
            paths.append(next(block_vars["image_path_iterator"]))
            value.savefig(paths[-1], dpi=110)
    return str(figure_rst(paths, gallery_conf["src_dir"]))

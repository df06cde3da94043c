"""Packages that only some parts of the library need, and the extras that install them."""

from __future__ import annotations

import importlib
from types import ModuleType


def need(module: str, extra: str) -> ModuleType:
    """Import an optional module.

    Parameters
    ----------
    module : str
        Its import name.
    extra : str
        The extra of tabemb that installs it.

    Raises
    ------
    ImportError
        It is not installed; the message names the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ImportError(
            f"{module} is not installed; pip install 'tabemb[{extra}]' brings it."
        ) from None

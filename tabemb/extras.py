"""Packages that only some parts need: where one is missing, the error names the extra that brings it."""

from __future__ import annotations

import importlib
from types import ModuleType


def need(module: str, extra: str) -> ModuleType:
    """Import a module that an optional extra installs.

    Parameters
    ----------
    module : str
        The name to import.
    extra : str
        The extra of tabemb that brings it, as in ``pip install 'tabemb[extra]'``.

    Returns
    -------
    module

    Raises
    ------
    ImportError
        If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ImportError(
            f"{module} is not installed; pip install 'tabemb[{extra}]' brings it."
        ) from None

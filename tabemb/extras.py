"""Import of packages that only an extra of tabemb installs."""

from __future__ import annotations

import importlib
from types import ModuleType


def need(module: str, extra: str) -> ModuleType:
    """Import a module that belongs to an extra, such as ``need("duckdb", "duckdb")``.

    Parameters
    ----------
    module : str
        Full name of the module, as in an import statement.
    extra : str
        Name of the extra of tabemb that installs it.

    Raises
    ------
    ImportError
        If the module is not installed; the message names the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ImportError(
            f"{module} is not installed; pip install 'tabemb[{extra}]' brings it."
        ) from None

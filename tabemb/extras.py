"""Import of packages that only an extra of tabemb installs, also if no folder can be written."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any
from unittest.mock import patch

NO_FOLDER = "/proc/self"
"""A folder in which no file can be created; it exists on systems with ``/proc``."""


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
        return imported(module)
    except ImportError:
        raise ImportError(
            f"{module} is not installed; pip install 'tabemb[{extra}]' brings it."
        ) from None


def imported(module: str) -> ModuleType:
    """Import a module, also if no folder can be written, as in a read-only container.

    There, matplotlib fails because it finds no folder for its list of fonts, and numba because it finds
    none for compiled code. Both work without: each process lists fonts and compiles code again.
    """
    try:
        return importlib.import_module(module)
    except (OSError, RuntimeError):
        for name in [name for name in sys.modules if name.partition(".")[0] not in sys.modules]:
            del sys.modules[name]  # modules of a package that failed to import
        with _without_caches():
            return importlib.import_module(module)


@contextmanager
def _without_caches() -> Iterator[None]:
    with ExitStack() as stack:
        if os.path.isdir(NO_FOLDER):
            stack.enter_context(patch.dict(os.environ, MPLCONFIGDIR=NO_FOLDER))
            stack.enter_context(patch.object(os, "access", _access_with(os.path.realpath(NO_FOLDER))))
        if "numba" in sys.modules:
            no_cache = importlib.import_module("numba.core.caching").NullCache
            for user in ("numba.core.dispatcher", "numba.np.ufunc.ufuncbuilder"):
                stack.enter_context(patch(f"{user}.FunctionCache", lambda function: no_cache()))
        yield


def _access_with(folder: str) -> Any:
    """Return a version of os.access that reports this folder as writable."""
    access = os.access
    return lambda path, *args, **kwargs: str(path) == folder or access(path, *args, **kwargs)

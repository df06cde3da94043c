"""Storage of large arrays: in memory, or in memory-mapped files of a folder."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any, Protocol

import numpy as np


class Storage(Protocol):
    """Allocates large arrays."""

    def empty(self, name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Return an uninitialised array."""

    def release(self) -> None:
        """Free the memory of arrays that can be read from disk again."""


class Memory:
    """Arrays in memory."""

    def empty(self, name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Return a new array."""
        return np.empty(shape, dtype)

    def release(self) -> None:
        """Do nothing."""


class Folder:
    """Arrays in files in numpy's format, one file per array.

    Parameters
    ----------
    path : path-like
        An existing folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._arrays: list[np.memmap[Any, Any]] = []

    def empty(self, name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Return an array in a new file, ``{name}.npy``, which replaces an older one."""
        if 0 in shape:  # an empty file cannot be mapped
            return np.empty(shape, dtype)
        path = self.path / f"{name}.npy"
        return self._kept(np.lib.format.open_memmap(path, "w+", np.dtype(dtype), shape))

    def open(self, name: str) -> np.ndarray:
        """Return an array from its complete file, for reading."""
        return self._kept(np.lib.format.open_memmap(self.path / f"{name}.npy", "r+"))

    def _kept(self, array: np.memmap[Any, Any]) -> np.ndarray:
        self._arrays.append(array)
        return array

    def flush(self) -> None:
        """Write changes of the arrays to disk."""
        for array in self._arrays:
            array.flush()

    def release(self) -> None:
        """Drop this process's memory pages of all arrays; changes are kept."""
        for array in self._arrays:
            mapped = array._mmap  # type: ignore[attr-defined]
            if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
                mapped.madvise(mmap.MADV_DONTNEED)


IN_MEMORY = Memory()

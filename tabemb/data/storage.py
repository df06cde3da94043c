"""Where large arrays lie: in memory, or in files of a folder that the system maps into memory."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any, Protocol

import numpy as np


class Storage(Protocol):
    """Makes large arrays."""

    def empty(self, name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Return an array without values."""

    def release(self) -> None:
        """Give back what memory the arrays take and need not: they are read from disk again."""


class Memory:
    """Arrays in memory."""

    def empty(self, name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Return a new array."""
        return np.empty(shape, dtype)

    def release(self) -> None:
        """Do nothing."""


class Folder:
    """Arrays in files of numpy's format, one each.

    Parameters
    ----------
    path : path-like
        A folder that exists.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._arrays: list[np.memmap[Any, Any]] = []

    def empty(self, name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Return an array in a new file, ``{name}.npy``; an older one is replaced."""
        if 0 in shape:  # an empty file cannot be mapped
            return np.empty(shape, dtype)
        path = self.path / f"{name}.npy"
        return self._kept(np.lib.format.open_memmap(path, "w+", np.dtype(dtype), shape))

    def open(self, name: str) -> np.ndarray:
        """Return an array whose file is complete, to be read."""
        return self._kept(np.lib.format.open_memmap(self.path / f"{name}.npy", "r+"))

    def _kept(self, array: np.memmap[Any, Any]) -> np.ndarray:
        self._arrays.append(array)
        return array

    def flush(self) -> None:
        """Write what has been written to the arrays to disk."""
        for array in self._arrays:
            array.flush()

    def release(self) -> None:
        """Drop the pages that this process holds of all arrays; what was written stays."""
        for array in self._arrays:
            mapped = array._mmap  # type: ignore[attr-defined]
            if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
                mapped.madvise(mmap.MADV_DONTNEED)


IN_MEMORY = Memory()

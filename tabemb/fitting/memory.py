"""One error for all ways in which memory runs out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def memory_needed(n_rows: int, batch_size: Any, device: str) -> Iterator[None]:
    """Say what was fitted when memory runs out within the block, whoever notices it.

    Raises
    ------
    MemoryError
        In the place of that of numpy or Arrow, and of the RuntimeError of torch.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _is_of_memory(error):
            raise
        raise MemoryError(
            f"fit ran out of memory with {n_rows} rows, batch_size={batch_size!r} and "
            f"device={device!r}; take a smaller batch_size, a smaller network or fewer rows."
        ) from error


def _is_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    words = ("can't allocate memory", "not enough memory", "out of memory")  # torch on CPUs has no class
    return any(word in str(error) for word in words)

"""One error for all ways of running out of memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar, cast

import torch

MethodT = TypeVar("MethodT", bound=Callable[..., Any])


class OutOfMemoryError(MemoryError):
    """A MemoryError that says what was computed, and what to do."""


@contextmanager
def memory_needed(n_rows: int, batch_size: Any, device: str) -> Iterator[None]:
    """Describe the fit in the error if memory runs out within the block.

    Raises
    ------
    MemoryError
        It replaces the MemoryError of numpy or Arrow, or the RuntimeError of torch.
    """
    with _said(
        f"fit ran out of memory with {n_rows} rows, batch_size={batch_size!r} and "
        f"device={device!r}; take a smaller batch_size, a smaller network or fewer rows."
    ):
        yield


def memory_checked(method: MethodT) -> MethodT:
    """Name the number of rows in the error if memory runs out in a method of an estimator.

    Raises
    ------
    MemoryError
        As `memory_needed`.
    """

    @wraps(method)
    def checked(self: Any, *args: Any, **kwargs: Any) -> Any:
        X = args[0] if args else kwargs.get("X")
        rows = f"with {len(X)} rows" if isinstance(X, Sized) else "with all rows"
        name = method.__name__.removeprefix("_")
        with _said(f"{name} ran out of memory {rows}; pass fewer rows at a time."):
            return method(self, *args, **kwargs)

    return cast(MethodT, checked)


@contextmanager
def _said(sentence: str) -> Iterator[None]:
    try:
        yield
    except OutOfMemoryError:  # from a nested call
        raise
    except (MemoryError, RuntimeError) as error:
        if not _is_of_memory(error):
            raise
        raise OutOfMemoryError(sentence) from error


def _is_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    words = ("can't allocate memory", "not enough memory", "out of memory")  # torch on CPUs has no class
    return any(word in str(error) for word in words)

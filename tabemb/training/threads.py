"""How many threads torch may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from threading import Lock
from typing import Any

import torch
from joblib.parallel import get_active_backend

from tabemb.forks import is_forked, n_cores, one_thread_after_fork

_LOCK = Lock()
_ANOTHER_THREAD = ThreadPoolExecutor(1, "tabemb")


MOST_THREADS = 64
"""Threads that every machine can start; a machine with more cores may start one per core."""


def is_nested() -> bool:
    """Return whether this runs in a joblib worker, where an outer search already uses the cores."""
    backend, _ = get_active_backend()
    return bool(backend.nesting_level) or "LOKY_WORKER" in os.environ or _in_child_process()


def _in_child_process() -> bool:
    import multiprocessing

    return multiprocessing.parent_process() is not None


def n_threads(n_jobs: int | None) -> int:
    """Return the number of threads for ``n_jobs``; -1 takes every core, and after a fork there is one.

    None takes one thread inside a joblib worker, and else the free cores, but no more threads than torch
    has. The free cores are all cores minus the load of the last minute: two threads that wait for one
    core are many times slower than one.

    Examples
    --------
    >>> n_threads(2)
    2
    """
    if is_forked():
        return 1
    if n_jobs is not None and n_jobs > 0:
        return min(n_jobs, max(MOST_THREADS, os.cpu_count() or 1))
    if n_jobs is None:
        free = 1 if is_nested() else n_cores() - round(_load())
        return max(1, min(torch.get_num_threads(), free))
    return max(1, n_cores() + 1 + n_jobs)


def _load() -> float:
    """Return the load of the last minute in cores, 0 if the platform does not report it."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):  # Windows has no load average
        return 0.0


@contextmanager
def threads(n_jobs: int | None) -> Iterator[None]:
    """Let torch use ``n_threads(n_jobs)`` threads for what this thread computes within the block.

    A thread that starts at the very moment when the number is set may get this number too. After a fork,
    the other libraries that use OpenMP or BLAS are limited to one thread too.
    """
    with _guard():  # the number of a new thread is fixed when it is first read
        before = torch.get_num_threads()
    n = n_threads(n_jobs)
    with one_thread_after_fork():
        try:
            if n != before:
                _limit_this_thread(n, before)
            yield
        finally:
            if n != before:
                torch.set_num_threads(before)


def _limit_this_thread(n: int, before: int) -> None:
    """Set the number of threads of this thread, but not the default of new threads.

    torch.set_num_threads sets both, so another thread then resets the default.
    """
    with _guard():
        torch.set_num_threads(n)
        if not is_forked():
            with suppress(RuntimeError):  # no new work is taken when the interpreter shuts down
                _ANOTHER_THREAD.submit(torch.set_num_threads, before).result()


def _guard() -> AbstractContextManager[Any]:
    """Return the lock; none after a fork, where one thread is left and a lost one may hold the lock."""
    return nullcontext() if is_forked() else _LOCK

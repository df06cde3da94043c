"""How many threads torch may use, and a random state that is ours alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import joblib
import torch
from joblib.parallel import get_active_backend

MOST_THREADS = 64
"""As many threads as any machine can start; more are started where it has more cores."""


def is_nested() -> bool:
    """Whether this runs inside a joblib worker: an outer search already uses the cores."""
    backend, _ = get_active_backend()
    return bool(backend.nesting_level) or "LOKY_WORKER" in os.environ or _in_child_process()


def _in_child_process() -> bool:
    import multiprocessing

    return multiprocessing.parent_process() is not None


def n_threads(n_jobs: int | None) -> int:
    """Threads for ``n_jobs``: None takes one inside a joblib worker, else the free cores, -1 every core.

    Free are the cores without the load of the last minute: two threads that wait for one core are many
    times slower than one. Never more than torch was given.

    Examples
    --------
    >>> n_threads(2)
    2
    """
    if n_jobs is not None and n_jobs > 0:
        return min(n_jobs, max(MOST_THREADS, os.cpu_count() or 1))
    n_cores: int = joblib.cpu_count()
    if n_jobs is None:
        free = 1 if is_nested() else n_cores - round(_load())
        return max(1, min(torch.get_num_threads(), free))
    return max(1, n_cores + 1 + n_jobs)


def _load() -> float:
    """Return the load of the last minute in cores, 0 where the platform does not say."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):  # Windows has no load average
        return 0.0


@contextmanager
def threads(n_jobs: int | None) -> Iterator[None]:
    """Let torch use ``n_threads(n_jobs)`` threads within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads(n_jobs))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch within the block and give the user's random state back after it."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield

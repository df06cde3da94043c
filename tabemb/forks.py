"""Work in a process that was forked: on one thread, for other threads do not survive a fork."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import joblib
from threadpoolctl import threadpool_limits

_IMPORTED_IN = os.getpid()


def is_forked() -> bool:
    """Whether this process was forked from the one that imported tabemb.

    The threads of OpenMP do not survive a fork, and who hands them work waits for ever.
    """
    return os.getpid() != _IMPORTED_IN


def n_cores() -> int:
    """Return the cores that this process may use; after a fork one.

    Examples
    --------
    >>> n_cores() >= 1
    True
    """
    return 1 if is_forked() else int(joblib.cpu_count())


@contextmanager
def one_thread_after_fork() -> Iterator[None]:
    """Hold the libraries that use OpenMP or BLAS to one thread within the block, after a fork alone."""
    if not is_forked():
        yield
        return
    with threadpool_limits(1):
        yield

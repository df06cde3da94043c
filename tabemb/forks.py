"""Work in a forked process: on one thread, because other threads do not survive a fork."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import joblib
from threadpoolctl import threadpool_limits

_IMPORTED_IN = os.getpid()


def is_forked() -> bool:
    """Return whether this process was forked from the one that imported tabemb.

    The threads of OpenMP do not survive a fork, and a call that gives them work waits forever.
    """
    return os.getpid() != _IMPORTED_IN


def n_cores() -> int:
    """Return the number of cores that this process may use; it is one after a fork.

    Examples
    --------
    >>> n_cores() >= 1
    True
    """
    return 1 if is_forked() else int(joblib.cpu_count())


@contextmanager
def one_thread_after_fork() -> Iterator[None]:
    """Limit libraries that use OpenMP or BLAS to one thread within the block, only after a fork."""
    if not is_forked():
        yield
        return
    with threadpool_limits(1):
        yield

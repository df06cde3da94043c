"""The processes that an engine has started, as the workers of a fit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from tabemb.training.workers import Workers, working_together

PATIENCE = timedelta(hours=12)
"""How long a worker waits for another, such as the first one while it grows trees. If a worker is
killed, the engine ends those that wait for it."""


@contextmanager
def workers() -> Iterator[Workers]:
    """Let all processes that torchrun, Ray or Spark has started fit one model together.

    All of them run the same code with the same rows, and end with the same model. Each worker trains on
    its part of every batch of ``batch_size`` rows, and computes a share of the validation loss. Only the
    first worker fits vocabularies and trees, applies ``max_time``, and writes to ``checkpoint``. A
    process that no engine has started is the only worker, and fits as it does without this block.

    Yields
    ------
    Workers
        With ``rank``, the number of this worker from 0, and ``size``, the number of workers.

    Raises
    ------
    ValueError
        Workers cannot share a fit in this block. They can share fits of classifiers and regressors of
        rows and of events, if no table has ``max_norm`` or ``scale_grad_by_freq``.

    Examples
    --------
    A script, started by ``torchrun --nproc-per-node 2 train.py``:

    >>> import pandas as pd
    >>> import tabemb
    >>> X = pd.DataFrame({"city": ["Bonn", "Rome"] * 40, "size": range(80)})
    >>> with tabemb.distributed.workers() as group:
    ...     model = tabemb.EmbeddingClassifier(max_epochs=2).fit(X, X["city"] == "Rome")
    >>> if group.rank == 0:
    ...     print(model.predict(X.head(2)).shape)
    (2,)
    """
    is_started = dist.is_available() and dist.is_initialized()
    if not is_started and "RANK" not in os.environ:
        yield Workers()
        return
    if not is_started:
        _join()
    try:
        with working_together() as group:
            yield group
    finally:
        if not is_started:
            dist.destroy_process_group()


def _join() -> None:
    """Join the other processes, on the GPU of this process if it has one."""
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count())
        backend = "cpu:gloo,cuda:nccl"
    store, rank, size = next(rendezvous("env://", timeout=PATIENCE))
    # after a restart, torchrun reuses the store of the last attempt, with the addresses of its workers
    attempt = f"{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)} of {size}"
    store = dist.distributed_c10d.PrefixStore(attempt, store)
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)

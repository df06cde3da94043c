"""Engines that start the workers of a job: torchrun, Ray and Spark."""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import current_thread, main_thread
from typing import Any
from unittest.mock import patch
from uuid import uuid4

from tabemb.distributed.job import ERROR, JOB, MODEL, Job
from tabemb.extras import need
from tabemb.forks import n_cores

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT") if hasattr(signal, name)
)
WORKER = "tabemb.distributed.worker"
"""The module that torchrun runs as a worker."""
ROWS = "rows"
"""Name of the folder with the rows that an engine writes for its workers."""


def torchrun(job: Job, n_workers: int, max_restarts: int, folder: Path) -> None:
    """Run a job in processes on this machine; if a worker is killed, all workers are restarted."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    (folder / JOB).write_bytes(_pickled(job))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=n_workers,
        run_id=uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=max_restarts,
        monitor_interval=0.2,
    )
    command = elastic_launch(config, sys.executable)
    try:
        with _signals_as_before(), patch.dict(os.environ, _environment(n_workers)):
            command("-m", WORKER, str(folder))
    except SignalException as error:
        raise KeyboardInterrupt from error
    except ChildFailedError as error:
        rank, first = min(error.failures.items(), key=_order_of_failures)
        reason = first.signal_name() if first.exitcode < 0 else _last_line(first.message)
        raise RuntimeError(
            f"Worker {rank} of {n_workers} failed ({reason}), after {max_restarts} restarts; with "
            "checkpoint and random_state the same call goes on from the last checkpoint."
        ) from error


def ray(job: Job, n_workers: int, max_restarts: int, folder: Path) -> None:
    """Run a job on the connected Ray cluster, or on a new one on this machine."""
    need("ray.train.torch", "ray")
    from ray.data import Dataset
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    if isinstance(job.source, Dataset):
        job.source.write_parquet(str(folder / ROWS))
        job = replace(job, source=str(folder / ROWS))
    trainer = TorchTrainer(
        _of_ray,
        train_loop_config={"job": _pickled(job)},
        scaling_config=ScalingConfig(num_workers=n_workers, use_gpu=_wants_gpu(job)),
        run_config=RunConfig(
            name="fit",
            storage_path=str(folder.resolve()),
            failure_config=FailureConfig(max_failures=max_restarts),
        ),
    )
    checkpoint = trainer.fit().checkpoint
    if checkpoint is not None:
        with checkpoint.as_directory() as left:
            _copy(Path(left), folder)


def _of_ray(config: dict[str, Any]) -> None:
    from ray.train import Checkpoint, get_context, report

    with TemporaryDirectory() as folder:
        pickle.loads(config["job"]).run(Path(folder))
        is_first = get_context().get_world_rank() == 0
        report({}, checkpoint=Checkpoint.from_directory(folder) if is_first else None)


def spark(job: Job, n_workers: int, max_restarts: int, folder: Path) -> None:
    """Run a job as a stage of the active Spark session; each task is a worker."""
    need("pyspark.ml.torch.distributor", "spark")
    from pyspark.ml.torch.distributor import TorchDistributor
    from pyspark.sql import DataFrame

    if max_restarts:
        raise ValueError(
            f"max_restarts must be 0 with engine='spark'; got {max_restarts!r}. The setting "
            "spark.stage.maxConsecutiveAttempts says how often Spark starts workers again."
        )
    if isinstance(job.source, DataFrame):
        job.source.write.parquet(str(folder / ROWS))
        job = replace(job, source=str(folder / ROWS))
    distributor = TorchDistributor(num_processes=n_workers, local_mode=False, use_gpu=_wants_gpu(job))
    for name, content in distributor.run(_of_spark, _pickled(job)).items():
        (folder / name).write_bytes(content)


def _of_spark(job: bytes) -> dict[str, bytes]:
    with TemporaryDirectory() as folder:
        pickle.loads(job).run(Path(folder))
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


Engine = Callable[[Job, int, int, Path], None]
ENGINES: dict[str, Engine] = {"torchrun": torchrun, "ray": ray, "spark": spark}


def _pickled(job: Job) -> bytes:
    try:
        return pickle.dumps(job)
    except Exception as error:  # pickling an object may raise any type
        raise TypeError(
            f"source and the arguments of fit must be what other processes can be sent: {error}; pass "
            "the path of Parquet files."
        ) from error


def _wants_gpu(job: Job) -> bool:
    return str(job.model.device).startswith("cuda")


def _copy(left: Path, folder: Path) -> None:
    for name in (MODEL, ERROR):
        if (left / name).is_file():
            (folder / name).write_bytes((left / name).read_bytes())


def _environment(n_workers: int) -> dict[str, str]:
    """Return variables with which workers find the same modules and do not share cores."""
    n_threads = os.environ.get("OMP_NUM_THREADS", str(max(1, n_cores() // n_workers)))
    return {
        "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
        "OMP_NUM_THREADS": n_threads,
    }


@contextmanager
def _signals_as_before() -> Iterator[None]:
    """Restore the signal handlers that the launcher replaces."""
    if current_thread() is not main_thread():
        yield
        return
    before = {one: signal.getsignal(one) for one in SIGNALS}
    try:
        yield
    finally:
        for one, handler in before.items():
            if handler is not None:  # None: not set from Python
                signal.signal(one, handler)


def _order_of_failures(failure: tuple[int, Any]) -> tuple[bool, int]:
    """Return a sort key that puts the cause first: a killed worker, without which others fail too.

    SIGTERM does not count, because the launcher ends the other workers with it.
    """
    code = failure[1].exitcode
    return code >= 0 or code == -signal.SIGTERM, failure[1].timestamp


def _last_line(message: Any) -> str:
    """Return the last line of a worker's error message."""
    text = message.get("message", "") if isinstance(message, dict) else str(message)
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip().rstrip(".") if lines else "no reason given"

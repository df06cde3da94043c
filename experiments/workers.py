"""Measure how much faster several workers train, and estimate what a cluster would do.

`python -m experiments.workers` fits synthetic data with one and with two workers, on one thread each,
and prints rows per second and their ratio. From the seconds and bytes of a step, it then estimates an
epoch of a billion rows on eight machines. Other load on the machine lowers the ratio, so it is printed
too.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import hydra
import numpy as np
import pandas as pd
from omegaconf import DictConfig

from experiments.shared.settings import CONFIG_FOLDER, read_settings
from tabemb import EmbeddingClassifier, distributed
from tabemb.network.tables import TableGroup

SIZES = (5, 20, 100, 500, 2_000, 10_000)
"""Levels of the other columns."""
N_NUMBERS = 5
INDEX_BYTES, FLOAT_BYTES = 8, 4


@dataclass(frozen=True)
class Step:
    """What a training step costs, as measured with one worker."""

    seconds_of_row: float
    dense_bytes: int
    """Gradients that every worker sends, whatever the size of the batch."""
    sparse_bytes_of_row: int
    """Gradients of the sparse tables' rows that one row of the batch reads."""


@dataclass(frozen=True)
class Estimate:
    """What one step and one epoch would take on a cluster."""

    computing: float
    """Seconds of a step."""
    sending: float
    rows_per_second: float
    hours: float
    """Hours of an epoch."""


@hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name="workers")
def main(config: DictConfig) -> None:
    settings = read_settings(config)
    X, y = planted(settings["n_rows"], settings["n_levels"], settings["seed"])
    os.environ["OMP_NUM_THREADS"] = "1"  # of each worker
    speeds = {}
    print(f"load of the last minute: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for batch_size in settings["batch_sizes"]:
        for n_workers in settings["n_workers"]:
            model = fitted(X, y, batch_size, n_workers, settings)
            speeds[batch_size, n_workers] = speed_of(model.learning_curve_["seconds"], len(X))
            ratio = speeds[batch_size, n_workers] / speeds[batch_size, settings["n_workers"][0]]
            print(
                f"batches of {batch_size}, {n_workers} workers: "
                f"{speeds[batch_size, n_workers]:,.0f} rows/s, {ratio:.2f} x, "
                f"load {os.getloadavg()[0]:.1f}"
            )
    step = step_of(model, 1 / speeds[settings["batch_sizes"][-1], 1])
    cluster = settings["cluster"]
    print(
        f"a row {step.seconds_of_row * 1e6:.0f} us; gradients: {step.dense_bytes / 1e6:.2f} MB dense, ",
        end="",
    )
    print(f"{step.sparse_bytes_of_row} bytes a row of sparse tables")
    print(described(estimate(step, **cluster), cluster))


def planted(n_rows: int, n_levels: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Return rows with seven Zipf-distributed categorical columns and five numbers, and classes."""
    rng = np.random.default_rng(seed)
    X, log_odds = pd.DataFrame(), rng.normal(size=n_rows)
    for size in (*SIZES, n_levels):
        codes = (rng.zipf(1.1, n_rows) - 1) % size
        X[f"c{size}"] = np.char.add("v", codes.astype(str))
        log_odds += rng.normal(size=size)[codes]
    for i in range(N_NUMBERS):
        X[f"x{i}"] = rng.normal(size=n_rows)
        log_odds += X[f"x{i}"].to_numpy()
    return X, rng.random(n_rows) < 1 / (1 + np.exp(-log_odds))


def fitted(
    X: pd.DataFrame, y: np.ndarray, batch_size: int, n_workers: int, settings: dict[str, Any]
) -> EmbeddingClassifier:
    """Return a model that was trained by a number of workers."""
    model = EmbeddingClassifier(
        batch_size=batch_size,
        max_epochs=settings["n_epochs"],
        early_stopping=False,
        trees=False,
        n_jobs=1,
        random_state=settings["seed"],
    )
    fitted: EmbeddingClassifier = distributed.fit(model, X, y, n_workers=n_workers)
    return fitted


def speed_of(seconds: list[float], n_rows: int) -> float:
    """Return rows per second from the times at which epochs end; the first epoch is left out."""
    return n_rows * (len(seconds) - 1) / (seconds[-1] - seconds[0])


def step_of(model: EmbeddingClassifier, seconds_of_row: float) -> Step:
    """Return what a step of a fitted model costs."""
    groups = [part for part in model.network_.modules() if isinstance(part, TableGroup)]
    sparse = [group.weight for group in groups if group.is_sparse]
    n_weights = sum(weight.numel() for weight in model.network_.parameters())
    return Step(
        seconds_of_row,
        FLOAT_BYTES * (n_weights - sum(weight.numel() for weight in sparse)),
        sum(INDEX_BYTES + FLOAT_BYTES * weight.shape[1] for weight in sparse),
    )


def estimate(
    step: Step,
    n_rows: int,
    n_machines: int,
    n_workers: int,
    batch_size: int,
    gigabits: float,
    microseconds: float,
) -> Estimate:
    """Return what an epoch would take on machines in a ring, given the costs of one worker.

    Dense gradients are summed around the ring: every link carries them twice, minus one share of them.
    The rows of sparse tables go from every worker to all others. Nothing is sent during computation.

    Parameters
    ----------
    step : Step
    n_rows : int
        Rows of an epoch.
    n_machines, n_workers : int
        Number of machines, and of workers on each machine.
    batch_size : int
        Rows in a step of all workers together.
    gigabits : float
        What a machine can send per second.
    microseconds : float
        Latency from one worker to the next.
    """
    n = n_machines * n_workers
    computing = batch_size / n * step.seconds_of_row
    dense = 2 * (n - 1) / n * step.dense_bytes
    sparse = (n - 1) / n * batch_size * step.sparse_bytes_of_row
    n_hops = 3 * (n - 1) * (n > 1)  # two rounds for dense gradients, one for sparse ones
    sending = 8 * (dense + sparse) / (gigabits * 1e9) + n_hops * microseconds / 1e6
    rows_per_second = batch_size / (computing + sending)
    return Estimate(computing, sending, rows_per_second, n_rows / rows_per_second / 3600)


def described(result: Estimate, cluster: dict[str, Any]) -> str:
    """Describe an estimate in words."""
    return (
        f"on paper, {cluster['n_machines']} machines of {cluster['n_workers']} workers, batches of "
        f"{cluster['batch_size']}, {cluster['gigabits']} Gbit/s: {1e3 * result.computing:.0f} ms of "
        f"computing and {1e3 * result.sending:.0f} ms of sending a step, "
        f"{result.rows_per_second:,.0f} rows/s, {result.hours:.1f} hours "
        f"for an epoch of {cluster['n_rows']:,} rows"
    )


if __name__ == "__main__":
    main()

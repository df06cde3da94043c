"""Run a comparison: every model on every split with every seed, each finished cell kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joblib import cpu_count
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from tabemb.compare.cells import Task, attempt
from tabemb.compare.datasets import Dataset
from tabemb.compare.metrics import MAIN_METRIC
from tabemb.compare.models import ModelSpec, build_model, code_version, find_model
from tabemb.compare.splits import Protocol, Split, make_splits
from tabemb.compare.store import IDENTITY, cell_key, cell_path, newest, read_cells, write_cell


@dataclass(frozen=True)
class _Cell:
    """A model, a split and a seed, with the identity under which the result is kept."""

    spec: ModelSpec
    split: Split
    seed: int
    identity: Mapping[str, Any]

    @property
    def key(self) -> str:
        return cell_key(self.identity)

    @property
    def label(self) -> str:
        return (
            f"{self.identity['dataset']} · {self.spec.label} · fold {self.split.fold} · seed {self.seed}"
        )


def run(
    dataset: Dataset,
    models: Iterable[ModelSpec | str],
    protocol: Protocol,
    folder: str | Path,
    seeds: Sequence[int] = (0,),
    folds: Sequence[int] | None = None,
    n_jobs: int | None = None,
    isolate: bool = True,
    time_limit: float | None = None,
    retry_failed: bool = False,
    progress: bool = True,
) -> pd.DataFrame:
    """Fit and measure every model on every split with every seed; what the folder already holds is not fitted again.

    Parameters
    ----------
    dataset : Dataset
    models : iterable of ModelSpec or str
        A string is a model of the registry with its defaults. One that does not depend on the seed runs with the first.
    protocol : Protocol
    folder : str or Path
        Where each finished cell is kept as one parquet file.
    seeds : sequence of int
    folds : sequence of int, optional
        Only these folds of the protocol.
    n_jobs : int, optional
        Threads of every model; all cores by default.
    isolate : bool
        Measure each cell in a fresh process: its memory is its own, and a crash is one failed cell. Scripts then need
        the customary `if __name__ == "__main__":`. False measures here, for notebooks and small data.
    time_limit : float, optional
        Seconds for a cell; needs `isolate`.
    retry_failed : bool
        Run failed cells again.
    progress : bool
        Show a bar, and a line a finished cell.

    Returns
    -------
    DataFrame
        All cells that the folder holds for this data set and protocol, also those of earlier runs: one row a cell with
        `model`, `fold`, `seed`, `status`, `error`, the metrics, seconds, MiB, `losses` and `history`.

    Raises
    ------
    ValueError
        If a model, a parameter or a fold does not exist, or the protocol does not fit the data.
    """
    specs = [ModelSpec(model) if isinstance(model, str) else model for model in models]
    splits = _chosen(make_splits(dataset, protocol), folds)
    _check(specs, dataset, time_limit, isolate)
    folder, n_jobs = Path(folder), n_jobs or cpu_count()
    cells = list(_plan(dataset, specs, protocol, splits, seeds, n_jobs))
    waiting = [cell for cell in cells if _is_waiting(cell_path(folder, cell.key), retry_failed)]
    with _progress(len(cells), len(cells) - len(waiting), progress) as show:
        for cell in waiting:
            show(cell.label, None)
            result = attempt(_task(dataset, cell), isolate, time_limit)
            write_cell(folder, cell.key, _row(dataset, cell, result))
            show(cell.label, result | {"metric": MAIN_METRIC[dataset.task]})
    return select(read_cells(folder), dataset, protocol)


def select(cells: pd.DataFrame, dataset: Dataset, protocol: Protocol) -> pd.DataFrame:
    """Keep the cells of one data set in its present state under one protocol, of each model its latest code."""
    if cells.empty:
        return cells
    same = (
        (cells["fingerprint"] == dataset.fingerprint)
        & (cells["protocol"] == protocol.label)
        & (cells["dataset"] == dataset.name)
    )
    return newest(cells[same])


def _chosen(splits: list[Split], folds: Sequence[int] | None) -> list[Split]:
    known = {split.fold: split for split in splits}
    for fold in folds or ():
        if fold not in known:
            raise ValueError(f"folds: the protocol has folds {list(known)}, got {fold}")
    return [known[fold] for fold in folds] if folds else splits


def _check(specs: list[ModelSpec], dataset: Dataset, time_limit: float | None, isolate: bool) -> None:
    """Build every model once on a few rows, so that a misspelling is told before an hour of fits, not after."""
    if time_limit is not None and not isolate:
        raise ValueError(
            f"time_limit needs isolate=True: a fit cannot be stopped in this process, got {time_limit}"
        )
    for spec in specs:
        try:
            build_model(spec, dataset.task, dataset.X.head(100), dataset.roles)
        except ImportError:
            # an extra that is not installed: its cells will say so
            continue


def _plan(
    dataset: Dataset,
    specs: list[ModelSpec],
    protocol: Protocol,
    splits: list[Split],
    seeds: Sequence[int],
    n_jobs: int,
) -> Iterator[_Cell]:
    for split in splits:
        rows = hashlib.blake2b(
            np.r_[split.train, -1, split.test].astype(np.int64).tobytes(), digest_size=8
        ).hexdigest()
        for spec in specs:
            for seed in seeds if find_model(spec.name).seeded else seeds[:1]:
                values = (
                    dataset.name,
                    dataset.fingerprint,
                    spec.label,
                    code_version(spec.name),
                    protocol.label,
                    rows,
                    split.fold,
                    seed,
                )
                yield _Cell(spec, split, seed, dict(zip(IDENTITY, (*values, n_jobs))))


def _is_waiting(path: Path, retry_failed: bool) -> bool:
    if not path.exists():
        return True
    return retry_failed and pd.read_parquet(path, columns=["status"])["status"].iloc[0] == "failed"


def _task(dataset: Dataset, cell: _Cell) -> Task:
    y = dataset.y.to_numpy()
    return Task(
        spec=cell.spec,
        task=dataset.task,
        roles=dict(dataset.roles),
        X_train=dataset.X.iloc[cell.split.train],
        y_train=y[cell.split.train],
        X_test=dataset.X.iloc[cell.split.test],
        y_test=y[cell.split.test],
        classes=None if dataset.task == "regression" else np.unique(y),
        seed=cell.seed,
        n_jobs=cell.identity["n_jobs"],
    )


def _row(dataset: Dataset, cell: _Cell, result: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **cell.identity,
        "task": dataset.task,
        "metric": MAIN_METRIC[dataset.task],
        "target": dataset.target,
        "n_columns": dataset.X.shape[1],
        "n_train": len(cell.split.train),
        "n_test": len(cell.split.test),
        "finished": datetime.now(UTC).isoformat(),
        **result,
    }


@contextmanager
def _progress(total: int, done: int, show: bool) -> Iterator[Any]:
    """Give a function that tells of a cell: with None when it starts, with the result when it ends."""
    console = Console(stderr=True, quiet=not show, highlight=False)
    columns = (
        BarColumn(24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    if done:
        console.print(f"{done} of {total} cells are already there", markup=False)
    with Progress(*columns, console=console, transient=True) as bar:
        bar_task = bar.add_task("", total=total, completed=done)

        def tell(label: str, result: Mapping[str, Any] | None) -> None:
            if result is None:
                bar.update(bar_task, description=label)
                return
            console.print(f"{label}: {_outcome(result)}", markup=False, soft_wrap=True)
            bar.advance(bar_task)

        yield tell


def _outcome(result: Mapping[str, Any]) -> str:
    if result["status"] == "failed":
        return f"FAILED, {result['error']}"
    metric = result["metric"]
    return f"{metric} {result[metric]:.4f}, fit {result['fit_seconds']:.1f} s, predict {result['predict_seconds']:.2f} s"

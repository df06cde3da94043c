"""The grid of a comparison: every model on every split with every seed, each finished cell stored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joblib import cpu_count

from tabemb.compare.cells import Job, attempt
from tabemb.compare.columns import SplitColumns, error_by_rarity
from tabemb.compare.datasets import Dataset
from tabemb.compare.digits import significant
from tabemb.compare.metrics import MAIN_METRIC
from tabemb.compare.models import ModelSpec, build_model, code_version, find_model, package_version
from tabemb.compare.row_names import naming_lines
from tabemb.compare.runner import run_cells
from tabemb.compare.splits import Protocol, Split, make_splits
from tabemb.compare.store import cell_key, newest
from tabemb.extras import need


@dataclass(frozen=True)
class _Cell:
    """A model, a split and a seed, with the identity under which the result is stored."""

    spec: ModelSpec
    split: Split
    identity: Mapping[str, Any]


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
    importances: bool = True,
    progress: bool = True,
) -> pd.DataFrame:
    """Measure every model on every split with every seed; stored cells do not run again.

    Parameters
    ----------
    dataset : Dataset
    models : iterable of ModelSpec or str
        A string is a model of the registry with its defaults. A model that does not depend on the
        seed runs with the first one only.
    protocol : Protocol
    folder : str or Path
        Where each finished cell is stored as one parquet file.
    seeds : sequence of int
    folds : sequence of int, optional
        Only these folds of the protocol.
    n_jobs : int, optional
        Threads of every model; None and -1 are all cores.
    isolate : bool
        Measure each cell in a fresh process: its memory is measured separately, and a crash is one
        failed cell. Scripts then need the usual `if __name__ == "__main__":`. False measures in
        this process.
    time_limit : float, optional
        Seconds for a cell; needs `isolate`.
    retry_failed : bool
        Run failed cells again.
    importances : bool
        Measure which columns each model needs, for up to a minute after a fit; see
        `tabemb.compare.details.importances`.
    progress : bool
        Print a line for each finished cell, and show a bar on a terminal.

    Returns
    -------
    DataFrame
        All cells in the folder for this data set and protocol, including those of earlier runs. One
        row per cell with `model`, `fold`, `seed`, `status`, `error`, `version`, the metrics, seconds,
        MiB, `losses`, and as JSON `learning_curve`, `calibration`, `importances`, `columns` and
        `rarity`.

    Raises
    ------
    ValueError
        If a model, a parameter or a fold does not exist, or the protocol does not fit the data.
    ImportError
        If psutil is not installed.
    """
    specs = [ModelSpec(model) if isinstance(model, str) else model for model in models]
    _check_options(seeds, isolate, time_limit)
    with naming_lines(dataset.lines):
        splits = _chosen(make_splits(dataset, protocol), folds)
    check_models(specs, dataset)
    need("psutil", "compare")
    cells = {
        cell_key(cell.identity): cell
        for cell in _plan(dataset, specs, protocol, splits, seeds, _n_threads(n_jobs))
    }

    columns_of = cache(lambda fold: _columns_of(dataset, next(s for s in splits if s.fold == fold)))

    def measured(identity: Mapping[str, Any]) -> dict[str, Any]:
        cell = cells[cell_key(identity)]
        columns, rarest = columns_of(cell.split.fold)
        result = attempt(_job(dataset, cell, importances), isolate, time_limit)
        facts = {**_facts(dataset, cell.split), "version": package_version(cell.spec.name)}
        details = {"columns": columns, "rarity": _rarity(result, rarest)}
        return {**facts, "finished": datetime.now(UTC).isoformat(), **result, **details}

    stored = run_cells(
        folder,
        [cell.identity for cell in cells.values()],
        measured,
        _Outcomes(),
        key=cell_key,
        label=_label,
        retry_failed=retry_failed,
        show=progress,
    )
    return select(stored, dataset, protocol)


def select(cells: pd.DataFrame, dataset: Dataset, protocol: Protocol) -> pd.DataFrame:
    """Return the cells of a data set under one protocol, for its current data and the latest code.

    Parameters
    ----------
    cells : DataFrame
        Cells as returned by `read_cells`.
    dataset : Dataset
    protocol : Protocol

    Returns
    -------
    DataFrame
    """
    if cells.empty:
        return cells
    same = (
        (cells["fingerprint"] == dataset.fingerprint)
        & (cells["protocol"] == protocol.label)
        & (cells["dataset"] == dataset.name)
    )
    return newest(cells[same])


def check_models(specs: Sequence[ModelSpec], dataset: Dataset) -> None:
    """Build every model once on a few rows, so that a misspelling fails before hours of fits, not after.

    Raises
    ------
    ValueError
        If there is no model, or a model or one of its parameters does not exist.
    """
    if not specs:
        raise ValueError("models must name one model or more; got none.")
    for spec in specs:
        try:
            build_model(spec, dataset.task, dataset.X.head(100), dataset.roles)
        except ImportError:
            # an extra is not installed: its cells will fail with this message
            continue


def _n_threads(n_jobs: int | None) -> int:
    if n_jobs is None or n_jobs == -1:
        return int(cpu_count())
    if n_jobs < 1:
        raise ValueError(f"n_jobs must be 1 or more, or None or -1 for all cores; got {n_jobs}.")
    return n_jobs


def _check_options(seeds: Sequence[int], isolate: bool, time_limit: float | None) -> None:
    if isinstance(seeds, (int, str)) or not seeds or not all(isinstance(s, Integral) for s in seeds):
        raise ValueError(f"seeds must be a list of one integer or more; got {seeds!r}.")
    if time_limit is not None and not isolate:
        raise ValueError(
            "time_limit needs isolate=True, for a fit cannot be stopped in this process; "
            f"got {time_limit} seconds."
        )


def _chosen(splits: list[Split], folds: Sequence[int] | None) -> list[Split]:
    known = {split.fold: split for split in splits}
    for fold in folds or ():
        if fold not in known:
            raise ValueError(
                f"folds must be among {list(known)}, the folds of the protocol; got {fold}."
            )
    return [known[fold] for fold in folds] if folds else splits


def _plan(
    dataset: Dataset,
    specs: list[ModelSpec],
    protocol: Protocol,
    splits: list[Split],
    seeds: Sequence[int],
    n_jobs: int,
) -> Iterator[_Cell]:
    for split in splits:
        row_numbers = np.r_[split.train, -1, split.test].astype(np.int64)
        rows = hashlib.blake2b(row_numbers.tobytes(), digest_size=8).hexdigest()
        for spec in specs:
            for seed in seeds if find_model(spec.name).seeded else seeds[:1]:
                identity = {
                    "dataset": dataset.name,
                    "fingerprint": dataset.fingerprint,
                    "model": spec.label,
                    "code": code_version(spec.name),
                    "protocol": protocol.label,
                    "rows": rows,
                    "fold": split.fold,
                    "seed": seed,
                    "n_jobs": n_jobs,
                }
                yield _Cell(spec, split, identity)


def _job(dataset: Dataset, cell: _Cell, importances: bool) -> Job:
    y, classes = dataset.y.to_numpy(), None
    if dataset.task != "regression":  # all models get codes, so that labels may have any type
        labels, y = dataset.classes_and_codes
        classes = np.arange(len(labels))
    return Job(
        spec=cell.spec,
        task=dataset.task,
        roles=dict(dataset.roles),
        X_train=dataset.X.iloc[cell.split.train],
        y_train=y[cell.split.train],
        X_test=dataset.X.iloc[cell.split.test],
        y_test=y[cell.split.test],
        classes=classes,
        seed=cell.identity["seed"],
        n_jobs=cell.identity["n_jobs"],
        lines=dataset.lines,
        importances=importances,
    )


def _facts(dataset: Dataset, split: Split) -> dict[str, Any]:
    return {
        "task": dataset.task,
        "metric": MAIN_METRIC[dataset.task],
        "target": dataset.target,
        "n_columns": dataset.X.shape[1],
        "n_train": len(split.train),
        "n_test": len(split.test),
        "notes": "\n".join(dataset.notes),
    }


def _columns_of(dataset: Dataset, split: Split) -> tuple[str, np.ndarray | None]:
    """Return a description of a split's columns as JSON, and the rarity of each test row."""
    y = dataset.y.to_numpy() if dataset.task == "regression" else dataset.classes_and_codes[1]
    rows = dataset.X.iloc[split.train], dataset.X.iloc[split.test], y[split.train]
    columns = SplitColumns(*rows, dataset.task, dataset.roles, dataset.column_notes)
    facts: dict[str, Any] = {"columns": columns.described()}
    facts["left_out"] = [name for name in columns.frequencies if name not in columns.dividing]
    if dataset.task == "binary":
        facts["second_class"] = str(dataset.classes_and_codes[0][-1])
    return json.dumps(facts), columns.rarest()


def _rarity(result: Mapping[str, Any], rarest: np.ndarray | None) -> str:
    """Return the errors by the frequency of the rarest category as JSON; empty if there are none."""
    if rarest is None or "losses" not in result:
        return ""
    return json.dumps(error_by_rarity(result["losses"], rarest))


def _label(identity: Mapping[str, Any]) -> str:
    dataset, model, fold, seed = (identity[name] for name in ("dataset", "model", "fold", "seed"))
    return f"{dataset} · {model} · fold {fold} · seed {seed}"


@dataclass
class _Outcomes:
    """Describe how cells ended; a repeated failure of a model only refers to the first one."""

    failures: set[tuple[str, str]] = field(default_factory=set)

    def __call__(self, row: Mapping[str, Any]) -> str:
        failure = row["model"], row.get("error", "")
        if row["status"] != "failed":
            return _outcome(row)
        if failure in self.failures:
            return "FAILED for the same reason"
        self.failures.add(failure)
        return f"FAILED, {row['error']}"


def _outcome(row: Mapping[str, Any]) -> str:
    metric = row["metric"]
    seconds = f"fit {row['fit_seconds']:.1f} s, predict {row['predict_seconds']:.2f} s"
    return f"{metric} {significant(row[metric])}, {seconds}"

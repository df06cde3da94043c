"""Vectors of the categories, stored in files, as fitting them takes longer than any model on them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from experiments.shared.tables import Encoded, TableProblem
from tabemb import EmbeddingEncoder

PARTS = ("train", "in-sample", "test")
"""Out-of-fold and in-sample vectors of training rows, and vectors of test rows."""


def vectors(
    problem: TableProblem, settings: Mapping[str, Any], seed: int, in_sample: bool = False
) -> Encoded:
    """Return the vectors of each row's categories, by default out-of-fold for training rows."""
    folder = Path(settings["folder"]) / "vectors"
    paths = {part: folder / f"{problem.name}-{seed}-{part}.parquet" for part in PARTS}
    if not all(path.exists() for path in paths.values()):
        fitted = _fit_vectors(problem, settings, seed)
        folder.mkdir(parents=True, exist_ok=True)
        for part, path in paths.items():
            fitted[part].to_parquet(path)
    train = paths["in-sample" if in_sample else "train"]
    return Encoded(pd.read_parquet(train), pd.read_parquet(paths["test"]))


def effects(problem: TableProblem, scaled: bool, seed: int) -> Encoded:
    """Return shrunken target means of columns and pairs of columns, out-of-fold for training rows."""
    encoder = _encoder(problem, seed, kind="prediction").set_output(transform="default")
    steps = make_pipeline(encoder, StandardScaler()) if scaled else encoder
    return Encoded(steps.fit_transform(problem.X, problem.y), steps.transform(problem.X_test))


def _encoder(problem: TableProblem, seed: int, **params: Any) -> EmbeddingEncoder:
    return EmbeddingEncoder(
        columns=problem.columns.categorical,
        keep="none",
        target_type="continuous" if problem.is_regression else "classes",
        random_state=seed,
        **params,
    )


def _fit_vectors(
    problem: TableProblem, settings: Mapping[str, Any], seed: int
) -> dict[str, pd.DataFrame]:
    encoder = _encoder(problem, seed, n_jobs=settings["n_jobs"], **settings["encoder"])
    started = time.perf_counter()
    out_of_fold = encoder.fit_transform(problem.X, problem.y)
    seconds, shape = time.perf_counter() - started, out_of_fold.shape
    text = f"{problem.name}: vectors of {shape[0]:,} rows, {shape[1]} columns, in {seconds:.0f} s"
    Console(stderr=True, soft_wrap=True).print(text, highlight=False)
    frames = (out_of_fold, encoder.transform(problem.X), encoder.transform(problem.X_test))
    return dict(zip(PARTS, [frames[0], frames[1], frames[2].reset_index(drop=True)]))

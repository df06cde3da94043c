"""Do the vectors pay as inputs of other models? Seven data sets, six models, nine ways to tell categories.

`python -m experiments.features` sets out-of-fold vectors (`EmbeddingEncoder`) beside categories as the model takes them
itself, whole numbers, one-hot columns, scikit-learn's TargetEncoder, and vectors of the rows that taught them, which
shows the leak. Finished cells are kept under `outputs/features`; a second run goes on from there.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import hydra
import numpy as np
import pandas as pd
from lightgbm import LGBMClassifier, LGBMRegressor, early_stopping
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table as TextTable
from scipy.sparse import csr_matrix, hstack, issparse
from sklearn.base import TransformerMixin, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC, SVR

from experiments.rossmann import INPUTS, read_sales
from experiments.suite import read_options
from tabemb import EmbeddingEncoder
from tabemb.compare import Protocol, load_dataset, make_splits
from tabemb.compare.metrics import SMALLEST_PROBABILITY, score
from tabemb.compare.preparation import (
    Columns,
    as_numbers,
    as_text,
    codes,
    datetime_numbers,
    level_means,
    number_steps,
    one_hot,
    sort_columns,
)
from tabemb.compare.store import cell_path, read_cells, write_cell
from tabemb.compare.table import wide_console

CONFIG_FOLDER = Path(__file__).resolve().parents[1] / "conf"
N_NEIGHBOURS, N_SVM = 30_000, 5_000
"""Rows that nearest neighbours and the SVM learn from, where there are more: their time grows with them."""
PATIENCE = 100


@dataclass(frozen=True)
class Task:
    """Training and test rows of one data set."""

    name: str
    X: pd.DataFrame
    y: np.ndarray
    X_test: pd.DataFrame
    y_test: np.ndarray
    kind: str  # "regression" or "binary"
    columns: Columns
    metric: str  # "rmse", "log_loss" or "mape", the last of exp(y)

    @property
    def is_regression(self) -> bool:
        """Whether answers are numbers."""
        return self.kind == "regression"

    def error(self, predicted: np.ndarray, classes: np.ndarray | None) -> float:
        """Error on the test rows."""
        if self.metric == "mape":
            return float(np.mean(np.abs(np.exp(predicted - self.y_test) - 1)))
        if classes is not None:
            predicted = np.maximum(predicted, SMALLEST_PROBABILITY)
        return score(self.kind, self.y_test, predicted, classes)[self.metric]


class Told(NamedTuple):
    """What a model is told of the training rows and of the test rows; ``native`` columns hold categories as text."""

    train: Any
    test: Any
    native: list[str] = []  # noqa: RUF012 (never changed)


# Data


@lru_cache(maxsize=1)
def find_task(name: str, n_rows: int, n_test: int) -> Task:
    """Training and test rows of a data set: the first published fold, or as the paper of Rossmann has it."""
    rng = np.random.default_rng(0)
    if name.startswith("rossmann"):
        X, y, train, test = _rossmann(name, rng)
        kind, metric, roles = "regression", "mape", dict.fromkeys(INPUTS, "categorical")
    else:
        dataset = load_dataset(**read_options(name))
        X, y, kind, roles = dataset.X, dataset.y.to_numpy(), dataset.task, dict(dataset.roles)
        split = make_splits(dataset, Protocol("published"))[0]
        train, test, metric = split.train, split.test, "rmse" if kind == "regression" else "log_loss"
    train, test = _some(train, n_rows, rng), _some(test, n_test, rng)
    learned = X.iloc[train].reset_index(drop=True)
    return Task(
        name, learned, y[train], X.iloc[test], y[test], kind, sort_columns(learned, roles), metric
    )


def _rossmann(
    name: str, rng: np.random.Generator
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, np.ndarray]:
    sales = read_sales(Path(os.environ["TABEMB_DATA"]) / "rossmann.parquet")
    order = rng.permutation(len(sales)) if name == "rossmann shuffled" else np.arange(len(sales))
    cut = int(0.9 * len(sales))
    return sales[INPUTS], np.log(sales["sales"].to_numpy()), order[:cut], order[cut:]


def _some(rows: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    return rows if len(rows) <= most else rng.choice(rows, most, replace=False)


# Encodings: what models are told of the categories


def tell(task: Task, encoding: str, by_distance: bool, settings: Mapping[str, Any], seed: int) -> Told:
    """What a model is told; numbers, ranks and means are scaled for one that goes by distances."""
    numbers = _numbers(task, by_distance)
    if encoding in ("native", "native and vectors"):
        names = task.columns.categorical
        texts = Told(as_text(task.X[names]), as_text(task.X_test[names]))
        parts = [texts, numbers, *([vectors(task, settings, seed)] if encoding != "native" else [])]
        train, test = (pd.concat([_frame(p[side]) for p in parts], axis=1) for side in (0, 1))
        return Told(train, test, names)
    if encoding in ("vectors and effects", "ordinal, vectors and effects"):
        told = _both(vectors(task, settings, seed), _effects(task, by_distance, seed))
        if encoding.startswith("ordinal"):
            told = _both(_encoded(task, _ordinal(task, seed), scaled=False), told)
    elif encoding in VECTORS:
        told = vectors(task, settings, seed, in_sample=encoding == "in-sample vectors")
    else:
        told = _encoded(task, ENCODERS[encoding](task, seed), by_distance and encoding != "one-hot")
    return _both(told, numbers)


def _ordinal(task: Task, seed: int) -> TransformerMixin:
    return make_pipeline(codes(), FunctionTransformer(lambda found: np.nan_to_num(found, nan=-1.0)))


ENCODERS: dict[str, Callable[[Task, int], TransformerMixin]] = {
    "ordinal": _ordinal,
    "one-hot": lambda task, seed: one_hot(),
    "target means": lambda task, seed: level_means(task.kind, seed),
}
VECTORS = ("in-sample vectors", "vectors")
ENCODINGS = (
    "native",
    "ordinal",
    "one-hot",
    "target means",
    "in-sample vectors",
    "vectors",
    "vectors and effects",
    "native and vectors",
    "ordinal, vectors and effects",
)


def _encoded(task: Task, encoder: TransformerMixin, scaled: bool) -> Told:
    names = task.columns.categorical
    steps = make_pipeline(encoder, StandardScaler()) if scaled else encoder
    return Told(steps.fit_transform(task.X[names], task.y), steps.transform(task.X_test[names]))


def _numbers(task: Task, scaled: bool) -> Told:
    """Numbers and moments, complete."""
    kinds = task.columns

    def numbers(X: pd.DataFrame) -> pd.DataFrame:
        parts = [as_numbers(X[kinds.numbers])] if kinds.numbers else []
        parts += [datetime_numbers(X[kinds.datetimes])] if kinds.datetimes else []
        return pd.concat(parts, axis=1) if parts else pd.DataFrame(index=X.index)

    train, test = numbers(task.X), numbers(task.X_test)
    if not scaled or not train.shape[1]:
        medians = train.median()
        return Told(train.fillna(medians), test.fillna(medians))
    steps = number_steps().fit(train)
    return Told(steps.transform(train), steps.transform(test))


def _frame(part: Any) -> pd.DataFrame:
    return part.reset_index(drop=True)


def _both(first: Told, second: Told) -> Told:
    return Told(_beside(first.train, second.train), _beside(first.test, second.test))


def _beside(first: Any, second: Any) -> Any:
    if issparse(first):
        both: Any = [first, csr_matrix(np.asarray(second))]
        return hstack(both).tocsr().astype(np.float32)
    return np.hstack([np.asarray(first), np.asarray(second)]).astype(np.float32)


def vectors(task: Task, settings: Mapping[str, Any], seed: int, in_sample: bool = False) -> Told:
    """Vectors of the categories, kept in files: learning them takes longest."""
    folder = Path(settings["folder"]) / "vectors"
    paths = {
        part: folder / f"{task.name}-{seed}-{part}.parquet" for part in ("train", "in-sample", "test")
    }
    if not all(path.exists() for path in paths.values()):
        learned = _learn_vectors(task, settings, seed)
        folder.mkdir(parents=True, exist_ok=True)
        for part, path in paths.items():
            learned[part].to_parquet(path)
    train = paths["in-sample" if in_sample else "train"]
    return Told(pd.read_parquet(train), pd.read_parquet(paths["test"]))


def _effects(task: Task, scaled: bool, seed: int) -> Told:
    encoder = _encoder(task, seed, kind="prediction").set_output(transform="default")
    steps = make_pipeline(encoder, StandardScaler()) if scaled else encoder
    return Told(steps.fit_transform(task.X, task.y), steps.transform(task.X_test))


def _encoder(task: Task, seed: int, **other: Any) -> EmbeddingEncoder:
    return EmbeddingEncoder(
        columns=task.columns.categorical,
        keep="none",
        target_type="continuous" if task.is_regression else "classes",
        random_state=seed,
        **other,
    )


def _learn_vectors(task: Task, settings: Mapping[str, Any], seed: int) -> dict[str, pd.DataFrame]:
    encoder = _encoder(task, seed, n_jobs=settings["n_jobs"], **settings["encoder"])
    started = time.perf_counter()
    out_of_fold = encoder.fit_transform(task.X, task.y)
    seconds = time.perf_counter() - started
    _say(
        f"{task.name}: vectors of {len(task.X):,} rows, {out_of_fold.shape[1]} columns, in {seconds:.0f} s"
    )
    in_sample, test = encoder.transform(task.X), encoder.transform(task.X_test)
    return {"train": out_of_fold, "in-sample": in_sample, "test": test.reset_index(drop=True)}


# Models: each is fitted on what it is told and gives predictions of the test rows


def lightgbm(task: Task, told: Told, seed: int, n_jobs: int) -> Any:
    """LightGBM with early stopping on a tenth of the training rows."""
    train, test = told.train, told.test
    for name in told.native:
        levels = pd.Index(train[name].dropna().unique())
        train = train.assign(**{name: pd.Categorical(train[name], levels)})
        test = test.assign(**{name: pd.Categorical(test[name].where(test[name].isin(levels)), levels)})
    learn, judge = _held_back(task, seed)
    make = LGBMRegressor if task.is_regression else LGBMClassifier
    model = make(n_estimators=2000, learning_rate=0.05, n_jobs=n_jobs, random_state=seed, verbose=-1)
    stop: dict[str, Any] = {"callbacks": [early_stopping(PATIENCE, verbose=False)]}
    stop |= {"eval_X": (_rows(train, judge),), "eval_y": (task.y[judge],)}
    model.fit(_rows(train, learn), task.y[learn], **stop)
    return _predicted(model, test)


def catboost(task: Task, told: Told, seed: int, n_jobs: int) -> Any:
    """CatBoost with early stopping on a tenth of the training rows."""
    from catboost import CatBoostClassifier, CatBoostRegressor

    train, test = told.train, told.test
    if told.native:
        texts = dict.fromkeys(told.native, "(missing)")
        train, test = train.fillna(texts), test.fillna(texts)
    learn, judge = _held_back(task, seed)
    make = CatBoostRegressor if task.is_regression else CatBoostClassifier
    fixed = {"verbose": 0, "allow_writing_files": False, "early_stopping_rounds": PATIENCE}
    model = make(
        iterations=2000, thread_count=n_jobs, random_seed=seed, cat_features=told.native or None, **fixed
    )
    model.fit(_rows(train, learn), task.y[learn], eval_set=(_rows(train, judge), task.y[judge]))
    return _predicted(model, test)


def _held_back(task: Task, seed: int) -> list[np.ndarray]:
    stratify = None if task.is_regression else task.y
    return train_test_split(np.arange(len(task.y)), test_size=0.1, random_state=seed, stratify=stratify)


def random_forest(task: Task, told: Told, seed: int, n_jobs: int) -> Any:
    """200 trees that try a third of the columns at each split."""
    make = RandomForestRegressor if task.is_regression else RandomForestClassifier
    model = make(
        n_estimators=200, max_features=1 / 3, min_samples_leaf=5, n_jobs=n_jobs, random_state=seed
    )
    return _predicted(model.fit(told.train, task.y), told.test)


def nearest_neighbours(task: Task, told: Told, seed: int, n_jobs: int) -> Any:
    """The mean answer of the 20 nearest rows; votes are calibrated."""
    if task.is_regression:
        return _on_some(
            task, told, N_NEIGHBOURS, KNeighborsRegressor(20, algorithm="brute", n_jobs=n_jobs)
        )
    return _on_some(
        task, told, N_NEIGHBOURS, _calibrated(KNeighborsClassifier(50, algorithm="brute", n_jobs=n_jobs))
    )


def linear(task: Task, told: Told, seed: int, n_jobs: int) -> Any:
    """Ridge or logistic regression."""
    model = Ridge() if task.is_regression else LogisticRegression(max_iter=1000)
    return _predicted(model.fit(told.train, task.y), told.test)


def svm(task: Task, told: Told, seed: int, n_jobs: int) -> Any:
    """A support vector machine with a Gaussian kernel."""
    scaled = TransformedTargetRegressor(SVR(), transformer=StandardScaler())
    return _on_some(
        task, told, N_SVM, scaled if task.is_regression else _calibrated(SVC(random_state=seed))
    )


def _calibrated(classifier: Any) -> Any:
    return CalibratedClassifierCV(classifier, method="sigmoid", cv=3, ensemble=False)


def _on_some(task: Task, told: Told, most: int, model: Any) -> Any:
    rows = _some(np.arange(len(task.y)), most, np.random.default_rng(0))
    return _predicted(model.fit(told.train[rows], task.y[rows]), told.test)


def _predicted(model: Any, test: Any) -> tuple[np.ndarray, np.ndarray | None]:
    return (
        (model.predict_proba(test), model.classes_)
        if is_classifier(model)
        else (model.predict(test), None)
    )


def _rows(told: Any, rows: np.ndarray) -> Any:
    return told.iloc[rows] if isinstance(told, pd.DataFrame) else told[rows]


class Model(NamedTuple):
    """How a model is fitted, the encodings that suit it, and whether it goes by distances."""

    fit: Callable[[Task, Told, int, int], Any]
    encodings: tuple[str, ...]
    by_distance: bool


_KNOWS_CATEGORIES = tuple(name for name in ENCODINGS if "ordinal" not in name)
_READS_NUMBERS = tuple(name for name in ENCODINGS if "native" not in name)
_GOES_BY_DISTANCE = tuple(
    name for name in _READS_NUMBERS if not name.startswith("ordinal,")
)  # ranks would blur it
MODELS = {
    "lightgbm": Model(lightgbm, _KNOWS_CATEGORIES, by_distance=False),
    "catboost": Model(
        catboost, tuple(name for name in _KNOWS_CATEGORIES if name != "one-hot"), by_distance=False
    ),
    "random forest": Model(random_forest, _READS_NUMBERS, by_distance=False),
    "nearest neighbours": Model(nearest_neighbours, _GOES_BY_DISTANCE, by_distance=True),
    "linear": Model(linear, _GOES_BY_DISTANCE, by_distance=True),
    "svm": Model(svm, _GOES_BY_DISTANCE, by_distance=True),
}


# The experiment


@hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name="features")
def main(config: DictConfig) -> None:
    settings: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    for name, known in (("models", MODELS), ("encodings", ENCODINGS)):
        if unknown := [value for value in settings[name] if value not in known]:
            sys.exit(f"error: {name} must be among {', '.join(known)}; got {unknown[0]!r}")
    if not os.environ.get("TABEMB_DATA"):
        sys.exit("error: TABEMB_DATA must name the folder that holds the tables, one parquet file each")
    show(compare(settings))


def compare(settings: Mapping[str, Any]) -> pd.DataFrame:
    """Run every cell that is not there yet.

    Returns
    -------
    DataFrame
        One row a cell: data, model, encoding, seed, error, metric, seconds of the model alone, n_rows.
    """
    cells = Path(settings["folder"]) / "cells"
    for data in settings["data"]:
        for model in settings["models"]:
            for encoding in (e for e in settings["encodings"] if e in MODELS[model].encodings):
                for seed in settings["seeds"]:
                    _cell(
                        cells,
                        {"data": data, "model": model, "encoding": encoding, "seed": seed},
                        settings,
                    )
    return read_cells(cells)


def _cell(cells: Path, identity: dict[str, Any], settings: Mapping[str, Any]) -> None:
    key = "-".join(map(str, identity.values())).replace(" ", "_")
    if cell_path(cells, key).exists():
        return
    task, model = (
        find_task(identity["data"], settings["n_rows"], settings["n_test"]),
        MODELS[identity["model"]],
    )
    told = tell(task, identity["encoding"], model.by_distance, settings, identity["seed"])
    started = time.perf_counter()
    error = task.error(*model.fit(task, told, identity["seed"], settings["n_jobs"]))
    seconds = time.perf_counter() - started
    write_cell(
        cells,
        key,
        {**identity, "error": error, "metric": task.metric, "seconds": seconds, "n_rows": len(task.y)},
    )
    _say(f"{', '.join(map(str, identity.values()))}: {task.metric} {error:.4f} in {seconds:.0f} s")


def _say(text: str) -> None:
    Console(stderr=True, soft_wrap=True).print(text, highlight=False)


def show(cells: pd.DataFrame) -> None:
    """Print the errors of each model, and by how much vectors lower the best error without them."""
    for model in (model for model in MODELS if (cells["model"] == model).any()):
        own = cells[cells["model"] == model]
        errors = own.pivot_table(
            index=["data", "metric"], columns="encoding", values="error", sort=False
        )
        encodings = [e for e in MODELS[model].encodings if e in errors]
        text = TextTable("data", "error", title=f"{model}: mean error over seeds", title_justify="left")
        for encoding in [*encodings, "gain"]:
            text.add_column(encoding.replace(" ", "\n"), justify="right", no_wrap=True)
        for data, metric in errors.index:
            row = errors.loc[(data, metric)]
            best = row[encodings].min()
            entries = [
                f"[bold]{row[e]:.4f}[/]" if row[e] == best else f"{row[e]:.4f}" for e in encodings
            ]
            text.add_row(data, metric, *entries, f"{gain(row):+.1%}")
        wide_console().print(text)
    wide_console().print(
        "gain: by how much out-of-fold vectors, alone or beside the categories, lower the best error without."
    )


def gain(errors: pd.Series) -> float:
    """Share by which vectors lower the smallest error of the other encodings; in-sample vectors are none of either."""
    with_vectors = [e for e in errors.index if "vectors" in e and e != "in-sample vectors"]
    others = [e for e in errors.index if e not in (*with_vectors, "in-sample vectors")]
    return float(1 - errors[with_vectors].min() / errors[others].min())


if __name__ == "__main__":
    main()

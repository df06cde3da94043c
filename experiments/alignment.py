"""Ways to bring together the vectors of several nets, each trained without a fold, for the next model.

`python -m experiments.alignment` compares, for training and new rows: vectors as each net has them, turned on to one
another, turned on to a net of all rows, which new rows then get, and the latter for training rows too (the leak). What
wins is what `EmbeddingEncoder` does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from omegaconf import DictConfig, OmegaConf
from rich.table import Table as TextTable
from sklearn.base import clone
from sklearn.model_selection import KFold

from experiments.features import MODELS, Task, Told, find_task
from tabemb import EmbeddingClassifier, EmbeddingRegressor, Table
from tabemb.compare.table import wide_console
from tabemb.data.frames import to_arrow
from tabemb.estimators.crossfit import Learned, aligned, learned_by
from tabemb.estimators.encoder import START, VECTORS

CONFIG_FOLDER = Path(__file__).resolve().parents[1] / "conf"


@hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name="alignment")
def main(config: DictConfig) -> None:
    settings: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    if not os.environ.get("TABEMB_DATA"):
        sys.exit("error: TABEMB_DATA must name the folder that holds the tables, one parquet file each")
    show(compare(settings))


def compare(settings: Mapping[str, Any]) -> pd.DataFrame:
    """One row a data set, seed, way and model, with its error on the test rows."""
    rows = []
    for data in settings["data"]:
        task = find_task(data, settings["n_rows"], settings["n_test"])
        for seed in settings["seeds"]:
            for way, told in ways(task, settings, seed).items():
                for model in settings["models"]:
                    error = task.error(*MODELS[model].fit(task, told, seed, settings["n_jobs"]))
                    rows.append({"data": data, "seed": seed, "way": way, "model": model, "error": error})
    return pd.DataFrame(rows)


def ways(task: Task, settings: Mapping[str, Any], seed: int) -> dict[str, Told]:
    """What models are told under each way of bringing the nets' vectors together; the categories alone."""
    folds = list(KFold(settings["n_folds"], shuffle=True, random_state=seed).split(task.X))
    net = _net(task, settings["dim"], seed)
    rows = [*(learn for learn, _ in folds), np.arange(len(task.y))]
    nets = Parallel(settings["n_jobs"])(
        delayed(_fit)(net, task.X.iloc[own], task.y[own]) for own in rows
    )
    encoder = nets[-1].encoder_  # of all rows
    learned = [learned_by(own, encoder.vocabularies_) for own in nets]
    tables = encoder.schema.table_names
    of_folds = {name: [own[name] for own in learned[:-1]] for name in tables}
    whole = {name: learned[-1][name].vectors for name in tables}
    plain = {name: [own.vectors for own in nets] for name, nets in of_folds.items()}
    turned = {name: aligned(own) for name, own in of_folds.items()}
    towards = {name: aligned([*own, _heavy(learned[-1][name])])[:-1] for name, own in of_folds.items()}
    same = {name: [vectors] * len(folds) for name, vectors in whole.items()}
    told = {
        "as they are": (plain, _means(plain)),
        "turned, mean for new rows": (turned, _means(turned)),
        "turned, refitted for new rows": (towards, whole),
        "refitted for all (the leak)": (same, whole),
    }
    codes = [encoder.transform(to_arrow(X)).codes for X in (task.X, task.X_test)]
    return {way: _told(tables, codes, folds, *vectors) for way, vectors in told.items()}


def _net(task: Task, dim: int, seed: int) -> Any:
    names = task.columns.categorical
    make = EmbeddingRegressor if task.is_regression else EmbeddingClassifier
    tables = {name: Table([name], dim=dim, init=START) for name in names}
    roles: dict[str | int, str] = dict.fromkeys(names, "categorical")
    return make(preset="fast", **VECTORS, tables=tables, roles=roles, random_state=seed, n_jobs=1)


def _fit(net: Any, X: pd.DataFrame, y: np.ndarray) -> Any:
    return clone(net).fit(X, y)


def _heavy(net: Learned) -> Learned:
    """A net that counts so much more than others that they are turned on to it."""
    return Learned(net.vectors, net.counts * 1e6)


def _means(vectors: Mapping[str, list[np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.mean(own, axis=0) for name, own in vectors.items()}


def _told(
    tables: list[str], codes: list[np.ndarray], folds: list, train: Mapping, test: Mapping
) -> Told:
    """Vectors of training rows, each by the net without its fold, and of test rows; in one unit."""
    first = np.empty((len(codes[0]), sum(test[name].shape[1] for name in tables)), np.float32)
    for k, (_, held) in enumerate(folds):
        first[held] = np.hstack([train[name][k][own] for name, own in zip(tables, codes[0][held].T)])
    second = np.hstack([test[name][own] for name, own in zip(tables, codes[1].T)])
    unit = (second.var(axis=0).sum() / len(tables)) ** 0.5
    return Told(first / unit, second / unit)


def show(cells: pd.DataFrame) -> None:
    """Print the errors: a column a way."""
    errors = cells.pivot_table(index=["data", "model"], columns="way", values="error", sort=False)
    text = TextTable(
        "data", "model", title="Error on the test rows, of categories alone", title_justify="left"
    )
    for way in errors:
        text.add_column(str(way).replace(", ", ",\n"), justify="right")
    for key in errors.index:
        row = errors.loc[key]
        text.add_row(*key, *(f"[bold]{e:.4f}[/]" if e == row.min() else f"{e:.4f}" for e in row))
    wide_console().print(text)


if __name__ == "__main__":
    main()

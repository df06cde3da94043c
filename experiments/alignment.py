"""Compare ways to align the vectors of networks that were each trained without a fold.

`python -m experiments.alignment` compares, for training and new rows: vectors as each network has them,
vectors rotated onto one another, vectors rotated onto a network of all rows, which new rows then get,
and vectors of that network for training rows too (the leak). The best of them is what `EmbeddingEncoder`
does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import hydra
import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from omegaconf import DictConfig
from rich.table import Table as TextTable
from sklearn.base import clone
from sklearn.model_selection import KFold

from experiments.shared.models import MODELS
from experiments.shared.settings import CONFIG_FOLDER, data_folder, read_settings
from experiments.shared.tables import Encoded, TableProblem, find_problem
from tabemb import EmbeddingClassifier, EmbeddingRegressor, Table
from tabemb.compare.table import wide_console
from tabemb.data.frames import to_arrow
from tabemb.estimators.alignment import TableVectors, aligned, vectors_of
from tabemb.estimators.cross_fitting import START
from tabemb.estimators.encoder import VECTORS

Fold = tuple[np.ndarray, np.ndarray]


@hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name="alignment")
def main(config: DictConfig) -> None:
    settings = read_settings(config)
    data_folder()
    show(compare(settings))


def compare(settings: Mapping[str, Any]) -> pd.DataFrame:
    """Return one row for each data set, seed, way and model, with its error on the test rows."""
    rows = []
    for data in settings["data"]:
        problem = find_problem(data, settings["n_rows"], settings["n_test"])
        for seed in settings["seeds"]:
            for way, encoded in encode(problem, settings, seed).items():
                for name in settings["models"]:
                    predicted = MODELS[name].predict(problem, encoded, seed, settings["n_jobs"])
                    identity = {"data": data, "seed": seed, "way": way, "model": name}
                    rows.append({**identity, "error": problem.error(*predicted)})
    return pd.DataFrame(rows)


def encode(problem: TableProblem, settings: Mapping[str, Any], seed: int) -> dict[str, Encoded]:
    """Return the vectors of all rows by way of alignment; numbers are left out.

    Parameters
    ----------
    problem : TableProblem
    settings : mapping
        ``n_folds``, ``dim`` and ``n_jobs``.
    seed : int
    """
    folds = list(KFold(settings["n_folds"], shuffle=True, random_state=seed).split(problem.X))
    net = _net(problem, settings["dim"], seed)
    parts = [*(train for train, _ in folds), np.arange(len(problem.y))]
    jobs = (delayed(_fit)(net, problem.X.iloc[rows], problem.y[rows]) for rows in parts)
    *of_folds, of_all = Parallel(settings["n_jobs"])(jobs)
    encoder = of_all.encoder_
    tables = encoder.schema.table_names
    fold_vectors = [vectors_of(fitted, encoder.vocabularies_) for fitted in of_folds]
    by_table = {name: [vectors[name] for vectors in fold_vectors] for name in tables}
    ways = _ways(by_table, vectors_of(of_all, encoder.vocabularies_))
    codes = [encoder.transform(to_arrow(X)).codes for X in (problem.X, problem.X_test)]
    return {way: _looked_up(tables, codes, folds, *vectors) for way, vectors in ways.items()}


def _net(problem: TableProblem, dim: int, seed: int) -> Any:
    names = problem.columns.categorical
    make: Any = EmbeddingRegressor if problem.is_regression else EmbeddingClassifier
    tables = {name: Table([name], dim=dim, init=START) for name in names}
    roles: dict[str | int, str] = dict.fromkeys(names, "categorical")
    return make(preset="fast", **VECTORS, tables=tables, roles=roles, random_state=seed, n_jobs=1)


def _fit(net: Any, X: pd.DataFrame, y: np.ndarray) -> Any:
    return clone(net).fit(X, y)


def _ways(
    of_folds: Mapping[str, list[TableVectors]], of_all: Mapping[str, TableVectors]
) -> dict[str, tuple[dict[str, list[np.ndarray]], dict[str, np.ndarray]]]:
    """Return vectors for training rows, one a fold, and vectors for new rows, by way and table."""
    whole = {name: net.vectors for name, net in of_all.items()}
    plain = {name: [net.vectors for net in nets] for name, nets in of_folds.items()}
    rotated = {name: aligned(nets) for name, nets in of_folds.items()}
    onto_whole = {name: aligned([*nets, _heavy(of_all[name])])[:-1] for name, nets in of_folds.items()}
    same = {name: [whole[name]] * len(nets) for name, nets in of_folds.items()}
    return {
        "as each network has them": (plain, _means(plain)),
        "rotated, mean for new rows": (rotated, _means(rotated)),
        "rotated, refitted for new rows": (onto_whole, whole),
        "refitted for all rows (the leak)": (same, whole),
    }


def _heavy(net: TableVectors) -> TableVectors:
    """Return a network that counts so much more than others that they are rotated onto it."""
    return TableVectors(net.vectors, net.counts * 1e6)


def _means(vectors: Mapping[str, list[np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.mean(of_folds, axis=0) for name, of_folds in vectors.items()}


def _looked_up(
    tables: Sequence[str],
    codes: Sequence[np.ndarray],
    folds: Sequence[Fold],
    train: Mapping[str, Sequence[np.ndarray]],
    test: Mapping[str, np.ndarray],
) -> Encoded:
    """Return vectors of training rows and of test rows in one unit.

    A training row gets the vectors of the network that was trained without its fold.
    """
    of_train = np.empty((len(codes[0]), sum(test[name].shape[1] for name in tables)), np.float32)
    for k, (_, held_out) in enumerate(folds):
        by_column = zip(tables, codes[0][held_out].T)
        of_train[held_out] = np.hstack([train[name][k][column] for name, column in by_column])
    of_test = np.hstack([test[name][column] for name, column in zip(tables, codes[1].T)])
    unit = (of_test.var(axis=0).sum() / len(tables)) ** 0.5
    return Encoded(of_train / unit, of_test / unit)


def show(cells: pd.DataFrame) -> None:
    """Print the errors with a column for each way."""
    errors = cells.pivot_table(index=["data", "model"], columns="way", values="error", sort=False)
    title = "Error on the test rows, of categories alone"
    text = TextTable("data", "model", title=title, title_justify="left")
    for way in errors:
        text.add_column(str(way).replace(", ", ",\n"), justify="right")
    for key in errors.index:
        row = errors.loc[key]
        text.add_row(*key, *(f"[bold]{e:.4f}[/]" if e == row.min() else f"{e:.4f}" for e in row))
    wide_console().print(text)


if __name__ == "__main__":
    main()

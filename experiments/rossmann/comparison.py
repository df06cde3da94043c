"""The table of Guo & Berkhahn 2016 (arXiv 1604.06737), on their protocol, ours beside theirs.

`python -m experiments.rossmann` predicts the daily sales of 1,115 stores from store, day of week, promotion, year,
month, day and state: shuffled, and in time. Nearest neighbours, a random forest, boosted trees and a net, each without
the net's embeddings and with them. Finished cells are kept under `outputs/rossmann`; a second run goes on from there.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from lightgbm import LGBMRegressor
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table as TextTable
from sklearn.ensemble import RandomForestRegressor
from sklearn.neighbors import KNeighborsRegressor

import tabemb
from tabemb import EmbeddingRegressor, Table
from tabemb.compare.store import cell_path, read_cells, write_cell

CONFIG_FOLDER = Path(__file__).resolve().parents[1] / "conf"
INPUTS = ["store", "day of week", "promo", "year", "month", "day", "state"]
MODELS = ["nearest neighbours", "random forest", "boosted trees", "neural net"]
PAPER = {
    # MAPE without embeddings, with embeddings
    "shuffled": dict(zip(MODELS, [(0.315, 0.099), (0.167, 0.089), (0.122, 0.071), (0.070, 0.070)])),
    "time": dict(zip(MODELS, [(0.290, 0.116), (0.158, 0.108), (0.152, 0.115), (0.101, 0.093)])),
}


@hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name="rossmann")
def main(config: DictConfig) -> None:
    settings: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    folder = os.environ.get("TABEMB_DATA")
    path = Path(folder or ".") / "rossmann.parquet"
    if not folder or not path.exists():
        sys.exit(
            "error: TABEMB_DATA must name a folder that holds rossmann.parquet (Kaggle: Rossmann Store Sales)"
        )
    unknown = [split for split in settings["splits"] if split not in PAPER]
    if unknown:
        sys.exit(f"error: splits must be among {', '.join(PAPER)}; got {unknown[0]!r}")
    table = rossmann(read_sales(path), settings)
    show(table)


def rossmann(sales: pd.DataFrame, settings: Mapping[str, Any]) -> pd.DataFrame:
    """Run every cell that is not there yet.

    Parameters
    ----------
    sales : DataFrame
        The seven inputs and ``sales``, oldest first.
    settings : mapping
        `conf/rossmann.yaml`.

    Returns
    -------
    DataFrame
        One row a cell: split, model, embeddings, mape, seconds, and the paper's mape.
    """
    cells = Path(settings["folder"]) / "cells"
    todo = [(split, model, embeddings) for split in settings["splits"] for embeddings, model in _order()]
    for done, (split, model, embeddings) in enumerate(todo):
        key = f"{split}-{model}-{'with' if embeddings else 'without'}".replace(" ", "_")
        if cell_path(cells, key).exists():
            continue
        Console(stderr=True).print(
            f"[{done + 1}/{len(todo)}] {split}: {model}, {_with(embeddings)} ...", end=" "
        )
        started = time.perf_counter()
        task = _task(sales, split, settings)
        mape = task.mape(CELLS[model](task, embeddings))
        seconds = time.perf_counter() - started
        Console(stderr=True).print(f"MAPE {mape:.4f} in {seconds:.0f} s", highlight=False)
        cell = {
            "split": split,
            "model": model,
            "embeddings": embeddings,
            "mape": mape,
            "seconds": seconds,
        }
        write_cell(cells, key, {**cell, "paper": PAPER[split][model][embeddings]})
    return read_cells(cells)


def _order() -> list[tuple[bool, str]]:
    """The net with embeddings first: the other cells read its vectors."""
    return [
        (True, "neural net"),
        *((e, m) for m in MODELS for e in (False, True) if (e, m) != (True, "neural net")),
    ]


def _with(embeddings: bool) -> str:
    return "with embeddings" if embeddings else "without embeddings"


def read_sales(path: Path) -> pd.DataFrame:
    """The seven inputs of the paper and the sales of open days, oldest first."""
    d = pd.read_parquet(path, columns=["Store", "DayOfWeek", "Promo", "Date", "State", "Sales"])
    at = d["Date"].dt
    columns = [d["Store"], d["DayOfWeek"], d["Promo"], at.year, at.month, at.day, d["State"]]
    return pd.DataFrame({**dict(zip(INPUTS, columns)), "sales": d["Sales"].astype(float)})


_tasks: dict[str, Task] = {}


def _task(sales: pd.DataFrame, split: str, settings: Mapping[str, Any]) -> Task:
    """The task of a split, kept while its cells run: they share the net's vectors."""
    if split not in _tasks:
        _tasks.clear()
        _tasks[split] = Task.draw(sales, split, settings)
    return _tasks[split]


@dataclass
class Task:
    """Training rows, test rows and settings of one split."""

    train: pd.DataFrame
    test: pd.DataFrame
    split: str
    settings: Mapping[str, Any]

    @classmethod
    def draw(cls, sales: pd.DataFrame, split: str, settings: Mapping[str, Any]) -> Task:
        """The first 90 % for training, of which rows are drawn with replacement; the last 10 % for the test."""
        rng = np.random.default_rng(settings["seed"])
        order = rng.permutation(len(sales)) if split == "shuffled" else np.arange(len(sales))
        cut = int(0.9 * len(sales))
        drawn = order[rng.integers(0, cut, settings["n_rows"])]
        return cls(sales.iloc[drawn], sales.iloc[order[cut:]], split, settings)

    @property
    def recipe(self) -> Mapping[str, Any]:
        """What the net's settings are on this split."""
        return self.settings["recipes"][self.split]

    @property
    def log_sales(self) -> np.ndarray:
        """Target of every model but the net, which takes the logarithm itself."""
        return np.log(self.train["sales"].to_numpy())

    def mape(self, predicted: np.ndarray) -> float:
        """Mean absolute percentage error of predicted sales of the test rows."""
        return float(np.mean(np.abs(predicted / self.test["sales"].to_numpy() - 1)))

    @property
    def net_path(self) -> Path:
        """Where the first net is kept, so that a later run finds its vectors."""
        return Path(self.settings["folder"]) / f"net_{self.split}.tabemb"

    @cached_property
    def net(self) -> EmbeddingRegressor:
        """The first net."""
        return tabemb.load(self.net_path)

    def inputs(self, embeddings: bool) -> tuple[np.ndarray, np.ndarray]:
        """Training and test inputs: the net's vectors, or whole numbers as the paper's models without them get."""
        if embeddings:
            crosses = self.recipe["crosses"] if self.recipe["crosses_as_inputs"] else {}
            return input_vectors(self.net, self.train, crosses), input_vectors(
                self.net, self.test, crosses
            )
        return integer_codes(self.train), integer_codes(self.test)


def integer_codes(rows: pd.DataFrame) -> np.ndarray:
    """The seven inputs as whole numbers; states in the order of the alphabet."""
    states = sorted(rows["state"].unique())
    return (
        rows[INPUTS]
        .assign(state=rows["state"].map({s: i for i, s in enumerate(states)}))
        .to_numpy(np.float32)
    )


def crossed(rows: pd.DataFrame, crosses: Mapping[str, list[str]]) -> pd.DataFrame:
    """The inputs, and a column for each pair, triple ... of them whose combinations get a table of their own."""
    frame = rows[INPUTS].copy()
    for name, columns in crosses.items():
        first, *others = columns
        frame[name] = rows[first].astype(str).str.cat(rows[others].astype(str), sep="|")
    return frame


def fit_net(rows: pd.DataFrame, task: Task, seed: int) -> EmbeddingRegressor:
    """The embedding net of the task's recipe."""
    recipe, dims = task.recipe, task.settings["dims"]
    names = [*INPUTS, *recipe["crosses"]]
    tables = {name: Table([name], dim=dims.get(name, 1), l2=recipe["l2"][name]) for name in names}
    return _net(task, names, tables, seed).fit(crossed(rows, recipe["crosses"]), rows["sales"])


def fit_one_hot_net(rows: pd.DataFrame, task: Task, seed: int) -> EmbeddingRegressor:
    """The same net on one-hot inputs: frozen tables whose vectors are unit vectors, no crosses, no offsets."""
    levels = {name: sorted(rows[name].unique()) for name in INPUTS}
    unit = {name: pd.DataFrame(np.eye(len(values)), index=values) for name, values in levels.items()}
    tables = {name: Table([name], pretrained=unit[name], frozen=True, l2=0) for name in INPUTS}
    return _net(task, INPUTS, tables, seed, offsets=False).fit(rows[INPUTS], rows["sales"])


def _net(
    task: Task, names: list[str], tables: Mapping[str, Table], seed: int, **other: Any
) -> EmbeddingRegressor:
    roles: dict[str | int, str] = dict.fromkeys(names, "categorical")
    params = {**task.settings["net"], "max_epochs": task.recipe["max_epochs"], **other}
    return EmbeddingRegressor(roles=roles, tables=tables, n_jobs=1, random_state=seed, **params)


def _fit_and_predict(fit: Callable, task: Task, seed: int, path: Path | None) -> np.ndarray:
    """Log predictions of one net, which is kept where a path is given."""
    net = fit(task.train, task, seed)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        tabemb.save(net, path)
    X = crossed(task.test, task.recipe["crosses"]) if fit is fit_net else task.test[INPUTS]
    return np.log(net.predict(X))


def neural_net(task: Task, embeddings: bool) -> np.ndarray:
    """Several nets side by side, a thread each; their log predictions are averaged."""
    fit, seeds = (fit_net if embeddings else fit_one_hot_net), range(task.settings["n_nets"])
    paths = [task.net_path if embeddings and seed == 0 else None for seed in seeds]
    bare = Task(
        task.train, task.test, task.split, task.settings
    )  # without a loaded net, to be sent to a worker
    jobs = [delayed(_fit_and_predict)(fit, bare, seed, path) for seed, path in zip(seeds, paths)]
    return np.exp(np.mean(Parallel(n_jobs=task.settings["n_jobs"])(jobs), axis=0))


def input_vectors(
    net: EmbeddingRegressor, rows: pd.DataFrame, crosses: Mapping[str, list[str]]
) -> np.ndarray:
    """The net's vectors of the inputs side by side in the metric of its first layer, each with the offset behind it.

    Two stores are as far apart as they are for the first hidden layer W: each vector is turned into W's principal
    directions and scaled by their singular values, which leaves all distances |W(a - b)| as they are. A category that
    the net has not seen gets zeros, the mean.
    """
    frame, spaces, blocks, offsets = (
        crossed(rows, crosses),
        net.spaces_,
        first_layer_blocks(net),
        offsets_of(net),
    )
    parts = []
    for name in frame.columns:
        _, scale, directions = np.linalg.svd(blocks[name], full_matrices=False)
        turned = (spaces[name].vectors - spaces[name].vectors.mean(0)) @ directions.T * scale
        vectors = np.column_stack([turned, offsets[name]])
        vectors = np.vstack(
            [vectors, np.zeros(vectors.shape[1])]
        )  # the last one, -1, is for unknown categories
        parts.append(vectors[spaces[name].categories.get_indexer(pd.Index(frame[name]))])
    return np.concatenate(parts, axis=1).astype(np.float32)


def offsets_of(net: EmbeddingRegressor) -> dict[str, np.ndarray]:
    """What each category of a table adds to the output by itself, (n_categories,)."""
    tables, offsets = enumerate(net.encoder_.schema.tables), net.network_.networks[0].offsets
    assert offsets is not None
    return {name: offsets.vectors(t).numpy()[-len(net.spaces_[name]) :, 0] for t, name in tables}


def first_layer_blocks(net: EmbeddingRegressor) -> dict[str, np.ndarray]:
    """The weights (n_hidden, dim) that the first hidden layer puts on each column's vector."""
    weights = net.network_.networks[0].column_weights()
    assert weights is not None
    names = [feature.name for feature in net.encoder_.schema.categorical]
    return {name: own.numpy() for name, own in zip(names, weights)}


def nearest_neighbours(task: Task, embeddings: bool) -> np.ndarray:
    """Ten neighbours by Euclidean distance, weighted by its inverse."""
    train, test = task.inputs(embeddings)
    model = KNeighborsRegressor(
        10, weights="distance", algorithm="brute", n_jobs=task.settings["n_jobs"]
    )
    return np.exp(model.fit(train, task.log_sales).predict(test))


def random_forest(task: Task, embeddings: bool) -> np.ndarray:
    """Fully grown trees."""
    train, test = task.inputs(embeddings)
    share = 0.33 if embeddings else 1.0  # many coordinates of one input say nearly the same
    settings = task.settings
    model = RandomForestRegressor(
        settings["n_trees"], max_features=share, n_jobs=settings["n_jobs"], random_state=settings["seed"]
    )
    return np.exp(model.fit(train, task.log_sales).predict(test))


def boosted_trees(task: Task, embeddings: bool) -> np.ndarray:
    """LightGBM; the paper has XGBoost."""
    train, test = task.inputs(embeddings)
    settings = task.settings
    model = LGBMRegressor(
        n_estimators=settings["n_rounds"],
        learning_rate=0.1,
        num_leaves=127,
        colsample_bytree=0.5 if embeddings else 0.9,
        subsample=0.9,
        subsample_freq=1,
        n_jobs=settings["n_jobs"],
        random_state=settings["seed"],
        verbose=-1,
    )
    names = [f"x{i}" for i in range(train.shape[1])]
    model.fit(pd.DataFrame(train, columns=names), task.log_sales)
    return np.exp(np.asarray(model.predict(pd.DataFrame(test, columns=names))))


CELLS: dict[str, Callable[[Task, bool], np.ndarray]] = {
    "nearest neighbours": nearest_neighbours,
    "random forest": random_forest,
    "boosted trees": boosted_trees,
    "neural net": neural_net,
}


def show(cells: pd.DataFrame) -> None:
    """Print the table: ours beside the paper's, without and with embeddings."""
    title = "MAPE without and with embeddings, ours | Guo & Berkhahn 2016 (bold: at or below the paper)"
    table = TextTable(title=title, title_justify="left")
    table.add_column("")
    splits = [split for split in PAPER if (cells["split"] == split).any()]
    for split in splits:
        for embeddings in (False, True):
            table.add_column(
                f"{split}\n{'with' if embeddings else 'without'}", justify="right", no_wrap=True
            )
    for model in MODELS:
        found = [
            _entry(cells, split, model, embeddings) for split in splits for embeddings in (False, True)
        ]
        table.add_row(model, *found)
    Console().print(table)
    Console().print(f"{cells['seconds'].sum() / 60:.0f} minutes in all", highlight=False)


def _entry(cells: pd.DataFrame, split: str, model: str, embeddings: bool) -> str:
    row = cells.query("split == @split and model == @model and embeddings == @embeddings")
    if row.empty:
        return "-"
    ours, paper = row["mape"].iloc[0], row["paper"].iloc[0]
    text = f"{ours:.4f} | {paper:.3f}".replace("0.", ".")
    return f"[bold]{text}[/bold]" if ours <= paper else text


if __name__ == "__main__":
    from experiments import (
        rossmann as importable,
    )  # workers import what they run; __main__ they could not

    importable.main()

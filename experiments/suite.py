"""The default against boosted trees and the best nets on ten tables with categories.

`python -m experiments.suite` fits ours on the published splits (minutes), sets it beside what other libraries scored
there, prints error, seconds and ratios, and writes them to `experiments/results/suite.csv`. Finished cells are kept
under `outputs/suite`; a second run goes on from there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pandas as pd
from omegaconf import DictConfig, OmegaConf
from rich.table import Table as TextTable
from scipy.stats import gmean

from tabemb.compare import ModelSpec, Protocol, load_dataset, read_cells, run, select
from tabemb.compare.table import wide_console

CONFIG_FOLDER = Path(__file__).resolve().parents[1] / "conf"
RESULTS = Path(__file__).resolve().parent / "results"
FOLD = ["dataset", "fold"]


@hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name="suite")
def main(config: DictConfig) -> None:
    settings: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    ours = ModelSpec(
        "embedding", {} if settings["preset"] == "default" else {"preset": settings["preset"]}
    )
    cells = measure([ours, *map(ModelSpec, settings["rerun"])], settings)
    table = beside_peers(cells, ours.label, pd.read_csv(RESULTS / "peers.csv"))
    show(table)
    name = "suite" if settings["preset"] == "default" else f"suite_{settings['preset']}"
    table.to_csv(RESULTS / f"{name}.csv", index=False, float_format="%.5g")


def measure(specs: Sequence[ModelSpec], settings: Mapping[str, Any]) -> pd.DataFrame:
    """Fit every model on every data set, and give one row a cell: dataset, model, fold, seed, error and seconds."""
    if not os.environ.get("TABEMB_DATA"):
        sys.exit("error: TABEMB_DATA must name the folder that holds the tables, one parquet file each")
    protocol, parts = Protocol("published"), []
    for name in settings["datasets"]:
        dataset = load_dataset(**read_options(name))
        options = {key: settings[key] for key in ("seeds", "folds", "n_jobs")}
        run(dataset, specs, protocol, settings["folder"], **options)
        parts.append(select(read_cells(settings["folder"]), dataset, protocol))
    cells = pd.concat(parts, ignore_index=True)
    wanted = cells["model"].isin([spec.label for spec in specs]) & cells["seed"].isin(settings["seeds"])
    cells = cells[wanted & (cells["fold"].isin(settings["folds"]) if settings["folds"] else True)]
    for cell in cells[cells["status"] != "ok"].itertuples():
        sys.exit(f"error: {cell.model} failed on {cell.dataset}: {cell.error}")
    main_error = cells["rmse"].fillna(cells["log_loss"]) if "log_loss" in cells else cells["rmse"]
    kept = cells[
        ["dataset", "fold", "seed", "model", "fit_seconds", "fit_cpu_seconds", "predict_seconds"]
    ]
    return kept.assign(error=main_error)


def read_options(name: str) -> dict[str, Any]:
    """Read what `conf/dataset` says of a data set."""
    path = CONFIG_FOLDER / "dataset" / f"{name}.yaml"
    if not path.exists():
        sys.exit(
            f"error: there is no data set {name!r}; there are {', '.join(p.stem for p in path.parent.glob('*'))}"
        )
    return OmegaConf.to_container(OmegaConf.load(path))  # type: ignore[return-value]


def beside_peers(cells: pd.DataFrame, ours: str, stored: pd.DataFrame) -> pd.DataFrame:
    """Set every peer beside ours: the peers fitted now, and of the others what is stored.

    Parameters
    ----------
    cells : DataFrame
        As `measure` gives it.
    ours : str
        The label of our model.
    stored : DataFrame
        dataset, fold, model, error, fit_seconds, fit_cpu_seconds, predict_seconds.

    Returns
    -------
    DataFrame
        A row for each peer on each data set and fold, the means over seeds: error and seconds of both, and ours in
        units of the peer's.
    """
    means = cells.drop(columns="seed").groupby([*FOLD, "model"], as_index=False).mean()
    peers = pd.concat([means[means["model"] != ours], stored]).drop_duplicates([*FOLD, "model"])
    table = (
        means[means["model"] == ours]
        .drop(columns="model")
        .merge(peers, on=FOLD, suffixes=("", "_of_peer"))
    )
    for column in ("error", "fit_seconds", "fit_cpu_seconds"):
        table[f"{column}_ratio"] = table[column] / table[f"{column}_of_peer"]
    return table.rename(columns={"model": "peer"})


def geometric_means(table: pd.DataFrame) -> pd.DataFrame:
    """Geometric mean of each ratio by peer, and of the error against the best peer of each data set."""
    ratios = [str(column) for column in table if str(column).endswith("_ratio")]
    best = table.sort_values("error_of_peer").drop_duplicates(FOLD).assign(peer="best of them")
    both = pd.concat([table, best])
    groups = both.groupby("peer", sort=False)
    return groups[ratios].agg(gmean).assign(n_tables=groups.size())


def show(table: pd.DataFrame) -> None:
    """Print the errors, then the seconds of a fit, then what both come to."""
    console = wide_console()
    errors, seconds = (
        ("error", "Error on the test rows (RMSE or log loss)", 4),
        ("fit_seconds", "Seconds of a fit", 1),
    )
    for column, title, n_digits in (errors, seconds):
        wide = table.pivot_table(index=FOLD, columns="peer", values=f"{column}_of_peer", sort=False)
        wide.insert(0, "ours", table.groupby(FOLD, sort=False)[column].first())
        text = TextTable(title=title)
        text.add_column("table, fold", no_wrap=True)
        for name in wide:
            text.add_column(str(name).replace("_", " "), justify="right")
        for (dataset, fold), row in zip(wide.index, wide.to_numpy()):
            text.add_row(
                f"{dataset}, {fold}", *(_figure(value, np.nanmin(row), n_digits) for value in row)
            )
        console.print(text)
    text = TextTable("ours / peer", title="Geometric means")
    means = geometric_means(table)
    for name in means:
        text.add_column(str(name).removesuffix("_ratio").replace("_", " "), justify="right")
    for peer, *ratios, n_tables in means.itertuples():
        text.add_row(str(peer), *(f"{ratio:.3f}" for ratio in ratios), str(n_tables))
    console.print(text)


def _figure(value: float, smallest: float, n_digits: int) -> str:
    if np.isnan(value):
        return ""
    text = f"{value:.{n_digits}f}"
    return f"[bold]{text}[/]" if value == smallest else text


if __name__ == "__main__":
    main()

"""Compare the default with boosted trees and the best networks on ten tables with categories.

`python -m experiments.suite` fits our default on the published splits (minutes), compares it with the
stored results of other libraries, prints error, seconds and ratios, and writes them to
`experiments/results/suite.csv`. Finished cells are kept under `outputs/suite`; a second run continues
from there.
"""

from __future__ import annotations

import hydra
import numpy as np
import pandas as pd
from omegaconf import DictConfig
from rich.table import Table as TextTable
from scipy.stats import gmean

from experiments.shared.published import measure
from experiments.shared.settings import CONFIG_FOLDER, RESULTS, read_settings
from tabemb.compare import ModelSpec
from tabemb.compare.table import wide_console
from tabemb.files.csv_cells import write_csv

FOLD = ["dataset", "fold"]
TITLES = {
    # column: title and digits
    "error": ("Error on the test rows (RMSE or log loss)", 4),
    "fit_seconds": ("Seconds of a fit", 1),
}


@hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name="suite")
def main(config: DictConfig) -> None:
    settings = read_settings(config)
    defaults = {"preset": "default", "backbone": "mlp"}
    chosen = {key: settings[key] for key in defaults if settings[key] != defaults[key]}
    ours = ModelSpec("embedding", chosen)
    cells = measure([ours, *map(ModelSpec, settings["rerun"])], settings)
    table = beside_peers(cells, ours.label, pd.read_csv(RESULTS / "peers.csv"))
    show(table)
    name = "_".join(["suite", *chosen.values()])
    write_csv(table, RESULTS / f"{name}.csv", float_format="%.5g")


def beside_peers(cells: pd.DataFrame, ours: str, stored: pd.DataFrame) -> pd.DataFrame:
    """Compare our model with every peer, both those fitted now and those with stored results.

    Parameters
    ----------
    cells : DataFrame
        As returned by `measure`.
    ours : str
        The label of our model.
    stored : DataFrame
        dataset, fold, model, error, fit_seconds, fit_cpu_seconds, predict_seconds.

    Returns
    -------
    DataFrame
        One row per peer, data set and fold, with means over seeds: error and seconds of both, and the
        ratios of our values to the peer's.
    """
    means = cells.drop(columns="seed").groupby([*FOLD, "model"], as_index=False).mean()
    peers = pd.concat([means[means["model"] != ours], stored]).drop_duplicates([*FOLD, "model"])
    our_means = means[means["model"] == ours].drop(columns="model")
    table = our_means.merge(peers, on=FOLD, suffixes=("", "_of_peer"))
    for column in ("error", "fit_seconds", "fit_cpu_seconds"):
        table[f"{column}_ratio"] = table[column] / table[f"{column}_of_peer"]
    return table.rename(columns={"model": "peer"})


def geometric_means(table: pd.DataFrame) -> pd.DataFrame:
    """Return the geometric mean of each ratio by peer, and for the best peer of each data set."""
    ratios = [str(column) for column in table if str(column).endswith("_ratio")]
    best = table.sort_values("error_of_peer").drop_duplicates(FOLD).assign(peer="best of them")
    groups = pd.concat([table, best]).groupby("peer", sort=False)
    return groups[ratios].agg(gmean).assign(n_tables=groups.size())


def show(table: pd.DataFrame) -> None:
    """Print the errors, the seconds of a fit, and the geometric means of the ratios."""
    console = wide_console()
    for column in TITLES:
        console.print(_wide_table(table, column))
    console.print(_ratio_table(table))


def _wide_table(table: pd.DataFrame, column: str) -> TextTable:
    """Build a table with one row per data set and fold, and one column per peer."""
    title, n_digits = TITLES[column]
    wide = table.pivot_table(index=FOLD, columns="peer", values=f"{column}_of_peer", sort=False)
    wide.insert(0, "ours", table.groupby(FOLD, sort=False)[column].first())
    text = TextTable(title=title)
    text.add_column("table, fold", no_wrap=True)
    for name in wide:
        text.add_column(str(name).replace("_", " "), justify="right")
    for (dataset, fold), row in zip(wide.index, wide.to_numpy()):
        smallest = np.nanmin(row)
        text.add_row(f"{dataset}, {fold}", *(_figure(value, smallest, n_digits) for value in row))
    return text


def _ratio_table(table: pd.DataFrame) -> TextTable:
    text, means = TextTable("ours / peer", title="Geometric means"), geometric_means(table)
    for name in means:
        text.add_column(str(name).removesuffix("_ratio").replace("_", " "), justify="right")
    for peer, *ratios, n_tables in means.itertuples():
        text.add_row(str(peer), *(f"{ratio:.3f}" for ratio in ratios), str(n_tables))
    return text


def _figure(value: float, smallest: float, n_digits: int) -> str:
    if np.isnan(value):
        return ""
    text = f"{value:.{n_digits}f}"
    return f"[bold]{text}[/]" if value == smallest else text


if __name__ == "__main__":
    main()

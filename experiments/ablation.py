"""Measure what each part of the default is worth: compare the default with one part changed.

`python -m experiments.ablation` fits the default and every variant of `conf/ablation.yaml` on several
tables with several seeds, and prints the ratio of each variant's error and seconds to the default's,
paired by table and seed.
"""

from __future__ import annotations

from collections.abc import Mapping

import hydra
import numpy as np
import pandas as pd
from omegaconf import DictConfig
from rich.table import Table as TextTable

from experiments.shared.published import measure
from experiments.shared.settings import CONFIG_FOLDER, RESULTS, read_settings
from tabemb.compare import ModelSpec
from tabemb.compare.table import wide_console
from tabemb.files.csv_cells import write_csv

CELL = ["dataset", "fold", "seed"]


@hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name="ablation")
def main(config: DictConfig) -> None:
    settings, default = read_settings(config), ModelSpec("embedding")
    variants = {name: ModelSpec("embedding", params) for name, params in settings["variants"].items()}
    cells = measure([default, *variants.values()], settings)
    table = against_default(cells, default.label, {spec.label: name for name, spec in variants.items()})
    show(table)
    write_csv(table, RESULTS / "ablation.csv", float_format="%.4g")


def against_default(cells: pd.DataFrame, default: str, names: Mapping[str, str]) -> pd.DataFrame:
    """Return the ratios of each variant to the default.

    Parameters
    ----------
    cells : DataFrame
        dataset, fold, seed, model, error, fit_seconds.
    default : str
        Label of the default.
    names : mapping
        Name of each variant by its label.

    Returns
    -------
    DataFrame
        One row per variant: geometric mean of the error ratio with its 95 % interval (from the mean
        logarithm over tables and seeds), geometric mean of the ratio of seconds, and the error ratio on
        each table.
    """
    base = cells[cells["model"] == default].set_index(CELL)[["error", "fit_seconds"]]
    variants = cells[cells["model"] != default].groupby("model", sort=False)
    rows = [{"variant": names[str(label)], **_ratios(variant, base)} for label, variant in variants]
    return pd.DataFrame(rows).sort_values("error", ascending=False, ignore_index=True)


def _ratios(variant: pd.DataFrame, base: pd.DataFrame) -> dict[str, float]:
    logs = (variant.set_index(CELL)[["error", "fit_seconds"]] / base).dropna().map(np.log)
    mean, width = logs["error"].mean(), 1.96 * logs["error"].std() / len(logs) ** 0.5
    ratios = np.exp([mean, mean - width, mean + width, logs["fit_seconds"].mean()])
    by_table = np.exp(logs["error"].groupby("dataset", sort=False).mean())
    return {**dict(zip(("error", "low", "high", "seconds"), ratios)), **by_table}


def show(table: pd.DataFrame) -> None:
    """Print the ratios; the default is better where they are above one."""
    title = "Ratios of error and seconds to the default's (an error above one: the part is worth having)"
    text = TextTable(title=title)
    text.add_column("variant", no_wrap=True)
    for name in ("error", "95 % interval", "seconds", *table.columns[5:]):
        text.add_column(name.replace("_", " "), justify="right")
    for variant, error, low, high, seconds, *by_table in table.itertuples(index=False):
        ratios = (f"{ratio:.3f}" for ratio in by_table)
        text.add_row(str(variant), f"{error:.3f}", f"{low:.2f}-{high:.2f}", f"{seconds:.2f}", *ratios)
    wide_console().print(text)


if __name__ == "__main__":
    main()

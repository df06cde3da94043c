"""Measure `check`: how often random splits raise an alarm, and which planted changes do.

`python -m experiments.drift` fits models for one epoch, as only the effects and the profiles of the
training rows matter here. It compares other rows with them, unchanged and with one column changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import hydra
import numpy as np
import pandas as pd
from omegaconf import DictConfig
from rich.table import Table as TextTable

from experiments.shared.published import load_named
from experiments.shared.settings import CONFIG_FOLDER, RESULTS, data_folder, read_settings
from tabemb import EmbeddingClassifier, EmbeddingRegressor
from tabemb.compare.table import wide_console
from tabemb.files.csv_cells import write_csv

NOTHING = "nothing"


class Later(NamedTuple):
    """Later rows with their targets, and the column that was changed."""

    X: pd.DataFrame
    y: np.ndarray
    column: str | None = None


@hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name="drift")
def main(config: DictConfig) -> None:
    settings = read_settings(config)
    data_folder()
    lines = [line for name in settings["datasets"] for line in draws_of(name, settings)]
    table = pd.DataFrame(lines).groupby(["dataset", "change"], sort=False).mean().reset_index()
    show(table)
    write_csv(table, RESULTS / "drift.csv", float_format="%.4g")


def draws_of(name: str, settings: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield for each random split and change whether it was found, and only in the right column."""
    dataset = load_named(name)
    is_number = dataset.task == "regression"
    y = dataset.y.to_numpy(float) if is_number else dataset.y.to_numpy()
    make: Any = EmbeddingRegressor if is_number else EmbeddingClassifier
    n_later = min(settings["n_later"], len(y) // 3)
    for draw in range(settings["n_draws"]):
        rng = np.random.default_rng(draw)
        order = rng.permutation(len(y))
        later, train = order[:n_later], order[n_later:][: settings["n_rows"]]
        model = make(
            roles=dataset.roles,
            hidden=(8,),
            n_members=1,
            max_epochs=1,
            n_jobs=settings["n_jobs"],
            random_state=draw,
        )
        model.fit(dataset.X.iloc[train], y[train])
        known = np.isin(y[later], y[train]) if not is_number else np.ones(n_later, dtype=bool)
        rows = Later(dataset.X.iloc[later[known]], y[later[known]])
        for change, planted in CHANGES.items():
            changed = planted(rows, model, rng)
            if changed is not None:
                yield {"dataset": name, "change": change, **found(model, changed)}


def found(model: Any, later: Later) -> dict[str, float]:
    """Return whether `check` reports drift, without and with targets, and whether in a wrong column."""
    inputs, both = model.check(later.X), model.check(later.X, later.y)
    names = inputs.columns.loc[inputs.columns["drift"] != "", "column"]
    parts = pd.Series([name.partition(".")[0] for name in names], dtype=object)
    return {
        "alarm, X": float(inputs.has_drift),
        "alarm, X and y": float(both.has_drift),
        "in another column": float((parts != later.column).any()),
    }


def unchanged(rows: Later, model: Any, rng: np.random.Generator) -> Later:
    return rows


def new_category(rows: Later, model: Any, rng: np.random.Generator) -> Later:
    """Put a new category into a tenth of the rows."""
    column = widest(model)
    values = rows.X[column].astype(object).mask(rng.random(len(rows.X)) < 0.1, "a new one")
    return Later(rows.X.assign(**{column: values}), rows.y, column)


def other_frequencies(rows: Later, model: Any, rng: np.random.Generator) -> Later:
    """Drop half of the rows of every second category."""
    column = widest(model)
    codes = pd.factorize(rows.X[column])[0]
    kept = (codes % 2 == 0) | (rng.random(len(codes)) < 0.5)
    return Later(rows.X[kept], rows.y[kept], column)


def moved_number(rows: Later, model: Any, rng: np.random.Generator) -> Later | None:
    """Move a number by a third of its interquartile range."""
    column = a_number(model)
    if column is None:
        return None
    values = rows.X[column].astype(float)
    step = (values.quantile(0.75) - values.quantile(0.25)) / 3
    return Later(rows.X.assign(**{column: values + step}), rows.y, column)


def more_missing(rows: Later, model: Any, rng: np.random.Generator) -> Later:
    """Remove the value in a twentieth of the rows."""
    column = widest(model)
    values = rows.X[column].astype(object).mask(rng.random(len(rows.X)) < 0.05, None)
    return Later(rows.X.assign(**{column: values}), rows.y, column)


def widest(model: Any) -> str:
    """Return the categorical column with the most levels."""
    schema = model.encoder_.schema
    plain = [feature for feature in schema.categorical if feature.part is None]
    sizes = [len(model.encoder_.vocabularies_[name]) for name in schema.tables_of(plain)]
    return str(plain[int(np.argmax(sizes))].column)


def a_number(model: Any) -> str | None:
    plain = [feature.column for feature in model.encoder_.schema.numbers if feature.part is None]
    return plain[0] if plain else None


CHANGES: dict[str, Callable[[Later, Any, np.random.Generator], Later | None]] = {
    NOTHING: unchanged,
    "a new category in a tenth": new_category,
    "half of every second category": other_frequencies,
    "a number by a third of its range": moved_number,
    "a twentieth missing": more_missing,
}


def show(table: pd.DataFrame) -> None:
    text = TextTable(*table.columns, title="Share of draws")
    for row in table.itertuples(index=False):
        text.add_row(*(f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in row))
    wide_console().print(text)


if __name__ == "__main__":
    main()

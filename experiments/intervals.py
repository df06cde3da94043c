"""Measure the coverage of prediction intervals and sets where a level is unseen, rare or frequent.

`python -m experiments.intervals` fits the default on several data sets and splits, and counts how many
test targets are in their interval or set. Rows are grouped by the training count of their level, in the
column with the most levels. `predict_interval` and `predict_set` are compared with a single conformal
quantile of all validation errors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

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
from tabemb.fitting.calibration import conformal_quantile
from tabemb.fitting.sets import scores_of
from tabemb.labels import codes_of

BUCKETS = {"unseen": 0, "1-2": 2, "3-9": 9, "10-99": 99, "100+": np.inf}
"""Largest count of each bucket."""


@hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name="intervals")
def main(config: DictConfig) -> None:
    settings = read_settings(config)
    data_folder()
    names, seeds = settings["datasets"], settings["seeds"]
    rows = pd.concat([rows_of(name, seed, settings) for name in names for seed in seeds])
    table = by_bucket(rows)
    show(table, settings["coverage"])
    write_csv(table, RESULTS / "intervals.csv", float_format="%.4g")


def rows_of(name: str, seed: int, settings: Mapping[str, Any]) -> pd.DataFrame:
    """Fit on a random split; return for each test row whether its target is covered, and the width.

    Parameters
    ----------
    name : str
        A data set of ``conf/dataset``.
    seed : int
        Seed of the rows, the split and the network.
    settings : mapping
        ``n_rows``, ``n_test``, ``coverage`` and ``n_jobs``.

    Returns
    -------
    DataFrame
        dataset, column, method, bucket, is_held, width (for a set, the number of its classes).
    """
    dataset = load_named(name)
    order = np.random.default_rng(seed).permutation(len(dataset.y))
    n_test = min(settings["n_test"], len(order) // 5)
    train, test = order[n_test:][: settings["n_rows"]], order[:n_test]
    X, X_test = dataset.X.iloc[train], dataset.X.iloc[test]
    is_number = dataset.task == "regression"
    y = dataset.y.to_numpy(float) if is_number else dataset.y.to_numpy()
    make: Any = EmbeddingRegressor if is_number else EmbeddingClassifier
    model = make(roles=dataset.roles, n_jobs=settings["n_jobs"], random_state=seed)
    model.fit(X, y[train])
    column = column_of_most_levels(model)
    counts = X_test[column].astype(str).map(X[column].astype(str).value_counts()).fillna(0)
    methods = intervals_of if is_number else sets_of
    parts = [
        pd.DataFrame(
            {
                "method": method,
                "bucket": np.array(list(BUCKETS))[np.searchsorted(list(BUCKETS.values()), counts)],
                "is_held": is_held,
                "width": width,
            }
        )
        for method, is_held, width in methods(model, X_test, y[test], settings["coverage"])
    ]
    return pd.concat(parts).assign(dataset=name, column=column)


def intervals_of(
    model: EmbeddingRegressor, X: pd.DataFrame, y: np.ndarray, coverage: float
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield by method whether the interval of each row contains its target, and the width."""
    bounds = {
        "by count": model.predict_interval(X, coverage),
        "one quantile": one_quantile(model, X, coverage),
    }
    for method, (low, high) in ((method, bounds.T) for method, bounds in bounds.items()):
        yield method, (low <= y) & (y <= high), high - low


def sets_of(
    model: EmbeddingClassifier, X: pd.DataFrame, y: np.ndarray, coverage: float
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield by method whether the set of each row contains its class, and its number of classes."""
    sets = {
        "by count": model.predict_set(X, coverage).to_numpy(),
        "one quantile": sets_by_one_quantile(model, X, coverage),
    }
    codes = codes_of(model.classes_, y)
    for method, members in sets.items():
        yield method, members[np.arange(len(y)), codes], members.sum(axis=1)


def column_of_most_levels(model: EmbeddingRegressor | EmbeddingClassifier) -> str:
    """Return the categorical column with the most levels."""
    schema = model.encoder_.schema
    sizes = [len(model.encoder_.vocabularies_[table]) for table in schema.tables_of(schema.categorical)]
    return schema.categorical[int(np.argmax(sizes))].column


def one_quantile(model: EmbeddingRegressor, X: pd.DataFrame, coverage: float) -> np.ndarray:
    """Return intervals of equal width: the conformal quantile of the errors of all validation rows."""
    intervals, predicted = model.intervals_, model.predict(X)
    assert intervals is not None
    half = conformal_quantile(intervals.errors[:, 0], intervals.weights, coverage)
    return np.column_stack([predicted - half, predicted + half])


def sets_by_one_quantile(model: EmbeddingClassifier, X: pd.DataFrame, coverage: float) -> np.ndarray:
    """Return sets with one threshold: the conformal quantile of the scores of all validation rows."""
    sets, probability = model.sets_, model.predict_proba(X)
    assert sets is not None
    is_real = sets.copies == np.arange(len(sets.copies))
    threshold = conformal_quantile(sets.scores[is_real, 0], sets.weights[is_real], coverage)
    is_top = probability == probability.max(axis=1, keepdims=True)
    members: np.ndarray = is_top | (scores_of(probability) <= threshold)
    return members


def by_bucket(rows: pd.DataFrame) -> pd.DataFrame:
    """Return coverage, its binomial standard error and mean width, by data set, method and bucket."""
    everything = rows.assign(bucket="all")
    order = pd.CategoricalDtype(["all", *BUCKETS], ordered=True)
    both = pd.concat([everything, rows]).astype({"bucket": order})
    groups = both.groupby(["dataset", "column", "method", "bucket"], observed=True)
    table = groups.agg(n=("is_held", "size"), coverage=("is_held", "mean"), width=("width", "mean"))
    share = table["coverage"]
    table.insert(2, "standard_error", np.sqrt(share * (1 - share) / table["n"]))
    return table.reset_index()


def show(table: pd.DataFrame, coverage: float) -> None:
    """Print coverage and width by data set and bucket, both methods side by side."""
    text = TextTable(
        title=f"Share of test targets in intervals or sets for {coverage:.0%}, and mean width"
    )
    methods = list(table["method"].unique())
    for name in ("data set", "column", "count", "rows"):
        text.add_column(name, no_wrap=True)
    for method in methods:
        text.add_column(f"{method}: coverage", justify="right")
        text.add_column("width", justify="right")
    for key, rows in table.groupby(["dataset", "column", "bucket"], observed=True, sort=True):
        by_method = rows.set_index("method")
        cells = []
        for method in methods:
            row = by_method.loc[method]
            cells += [f"{row['coverage']:.3f} ± {row['standard_error']:.3f}", f"{row['width']:.3f}"]
        text.add_row(*map(str, key), str(by_method["n"].iloc[0]), *cells)
    wide_console().print(text)


if __name__ == "__main__":
    main()

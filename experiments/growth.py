"""Measure growing: compare nightly updates of a model with new models fitted to all rows so far.

`python -m experiments.growth` fits a model to the first half of the rows, and updates it with the
second half in twenty nights: by time if the data set has a time, else in random order. Test rows are
those of the next night, or the last tenth (``test_share=0.1``), or a fifth of shuffled rows. A
consumer, which is a linear model on the vectors of the first day, gets the vectors of later nights
without a new fit.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import hydra
import numpy as np
import pandas as pd
from omegaconf import DictConfig
from rich.table import Table as TextTable
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from experiments.shared.published import error_on, load_named
from experiments.shared.settings import CONFIG_FOLDER, RESULTS, data_folder, read_settings
from tabemb import EmbeddingClassifier, EmbeddingRegressor, EmbeddingSpace
from tabemb.compare import Dataset
from tabemb.compare.table import wide_console
from tabemb.files.csv_cells import write_csv

TEST_SHARE = 0.2
"""Share of shuffled rows that are test rows."""


class Stream(NamedTuple):
    """Rows in their order, the end of each night, and the test rows after each night."""

    X: pd.DataFrame
    y: np.ndarray
    ends: np.ndarray
    tests: list[slice]


@hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name="growth")
def main(config: DictConfig) -> None:
    settings = read_settings(config)
    data_folder()
    table = pd.DataFrame(line for name in settings["datasets"] for line in nights_of(name, settings))
    show(table)
    write_csv(table, RESULTS / "growth.csv", float_format="%.4g")


def nights_of(name: str, settings: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a line of results for each night after which a new model is fitted.

    Parameters
    ----------
    name : str
        A data set of ``conf/dataset``.
    settings : mapping
        ``n_rows``, ``n_nights``, ``refits``, ``seed`` and ``n_jobs``.
    """
    dataset = load_named(name)
    stream = stream_of(dataset, settings)
    first, seconds = fitted(dataset, settings, stream, 0, stream.ends[0])
    model, spaces = first, dict(first.spaces_)
    consumer = consumer_of(dataset, spaces, stream.X[: stream.ends[0]], stream.y[: stream.ends[0]])
    day_0, cosines, costs = spaces, [], []
    for night, (start, end) in enumerate(pairwise(stream.ends), start=1):
        model, seconds = fitted(dataset, settings, stream, start, end, model)
        costs.append(seconds)
        now = dict(model.spaces_)
        cosines.append(cosine_of(spaces, now))
        spaces = now
        if night not in settings["refits"]:
            continue
        test = stream.tests[night]
        refit, seconds = fitted(dataset, settings, stream, 0, end)
        errors = [error_of(dataset, each, stream, test) for each in (first, model, refit)]
        fed = [consumer_error(dataset, consumer, s, stream, test) for s in (day_0, now)]
        yield {
            "dataset": name,
            "night": night,
            "error_of_day_0": errors[0],
            "error": errors[1],
            "error_of_refit": errors[2],
            "ratio": errors[1] / errors[2],
            "cosine": float(np.mean(cosines)),
            "consumer_day_0": fed[0],
            "consumer": fed[1],
            "seconds": float(np.mean(costs)),
            "seconds_of_refit": seconds,
        }


def stream_of(dataset: Dataset, settings: Mapping[str, Any]) -> Stream:
    """Return the rows ordered by time, or shuffled if there is no time."""
    n_rows, generator = settings["n_rows"], np.random.default_rng(settings["seed"])
    in_time, share = dataset.time is not None, settings.get("test_share", 0.0)
    if dataset.time is not None:
        newest = np.argsort(dataset.time.to_numpy(), kind="stable")
        newest = newest[-settings.get("span", 1) * n_rows :]
        order = newest[np.sort(generator.permutation(len(newest))[:n_rows])]
    else:
        order, share = generator.permutation(len(dataset.y))[:n_rows], TEST_SHARE
    X, y, n = dataset.X.iloc[order].reset_index(drop=True), dataset.y.to_numpy()[order], len(order)
    n_parts, n_train = settings["n_nights"] + 1, round((1 - share) * n)
    if share:
        ends = np.linspace((n if in_time else n_train) / 2, n_train, n_parts).round().astype(int)
        return Stream(X, y, ends, [slice(n_train, n)] * n_parts)
    ends = np.linspace(n / 2, n, n_parts + 1).round().astype(int)
    return Stream(X, y, ends[:-1], [slice(*pair) for pair in pairwise(ends)])


def fitted(
    dataset: Dataset,
    settings: Mapping[str, Any],
    stream: Stream,
    start: int,
    end: int,
    earlier: Any = None,
) -> tuple[Any, float]:
    """Fit a model to some rows, or update an earlier one; return it and its seconds."""
    make: Any = EmbeddingRegressor if dataset.task == "regression" else EmbeddingClassifier
    model = make(roles=dataset.roles, n_jobs=settings["n_jobs"], random_state=settings["seed"])
    begin = time.process_time()
    model.fit(stream.X[start:end], stream.y[start:end], start=earlier)
    return model, time.process_time() - begin


def error_of(dataset: Dataset, model: Any, stream: Stream, test: slice) -> float:
    """Return the RMSE or log loss of a model on test rows."""
    return error_on(dataset, model, stream.X[test], stream.y[test])


def cosine_of(before: Mapping[str, EmbeddingSpace], now: Mapping[str, EmbeddingSpace]) -> float:
    """Return the mean cosine, over rows and tables, of kept vectors with those of the day before."""
    tables = [space.compare(before[name]).query("change == 'kept'") for name, space in now.items()]
    have_one = [t.dropna(subset="cosine") for t in tables]
    return float(np.mean([np.average(t["cosine"], weights=t["count_then"]) for t in have_one if len(t)]))


def vectors_of(spaces: Mapping[str, EmbeddingSpace], X: pd.DataFrame) -> np.ndarray:
    """Return the vectors of the rows' categories side by side, zeros for unknown ones."""
    parts = []
    for name, space in spaces.items():
        if name in X:
            places = space.categories.get_indexer(pd.Index(X[name]))
            parts.append(np.where(places[:, None] >= 0, space.vectors[places], 0.0))
    return np.hstack(parts)


def consumer_of(
    dataset: Dataset, spaces: Mapping[str, EmbeddingSpace], X: pd.DataFrame, y: np.ndarray
) -> Any:
    """Return a linear model on the vectors of the rows' categories."""
    linear = Ridge() if dataset.task == "regression" else LogisticRegression(max_iter=1000)
    return make_pipeline(StandardScaler(), linear).fit(vectors_of(spaces, X), y)


def consumer_error(
    dataset: Dataset,
    consumer: Any,
    spaces: Mapping[str, EmbeddingSpace],
    stream: Stream,
    test: slice,
) -> float:
    """Return the error of a consumer that gets the vectors of these spaces."""
    return error_on(dataset, consumer, vectors_of(spaces, stream.X[test]), stream.y[test])


def show(table: pd.DataFrame) -> None:
    """Print a line for each data set and night."""
    text = TextTable(title="Nightly updates against new models of all rows")
    for name in table:
        text.add_column(str(name).replace("_", " "), justify="left" if name == "dataset" else "right")
    for row in table.itertuples(index=False):
        text.add_row(*(f"{v:.4f}" if isinstance(v, float) else str(v) for v in row))
    wide_console().print(text)


if __name__ == "__main__":
    main()

"""Predict the next item of a user or a session with candidates of `EventClassifier`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tabemb import EventClassifier
from tabemb.unsupervised.ranking import METRICS, Ranks, mean_interval

RECURRENT: dict[str, Any] = {
    "ties": "order",  # the rows are in the order of the events
    "encounters": False,
    "n_jobs": 1,
}


def recurrent(entity: str, time: str, **settings: Any) -> EventClassifier:
    """Return a recurrent network that reads only the earlier items, not their times."""
    roles: dict[str | int, str] = {time: "ignored", f"{time}.gap": "ignored"}
    return EventClassifier(entity=entity, time=time, roles=roles, **RECURRENT | settings)


def ranks_of(table: pd.DataFrame, truth: pd.Series, k: int) -> Ranks:
    """Return the rankings of users who each have a single item to be found.

    Parameters
    ----------
    table : pandas.DataFrame
        Recommendations: the user, the rank from 1 and the item in the first three columns.
    truth : pandas.Series
        The item of each user, indexed by user.
    k : int
    """
    rows = pd.Index(truth.index).get_indexer(table.iloc[:, 0])
    hits = np.zeros((len(truth), k), dtype=bool)
    ranks, items = (table.iloc[:, column].to_numpy() for column in (1, 2))
    hits[rows, ranks - 1] = items == truth.to_numpy()[rows]
    return Ranks(hits, np.ones(len(truth), np.int64))


def intervals(ranks: Ranks, metrics: tuple[str, ...]) -> dict[str, tuple[float, float, float]]:
    """Return the mean of each metric over users, with its confidence interval."""
    return {name: mean_interval(METRICS[name](ranks)) for name in metrics}

"""Problems with one target per row: the outcome of a sequence, a loan, a customer or a patient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.events.problem import EventProblem
from tabemb import AggregateJoiner, HistoryJoiner

PATTERN = "110101011"
DECISIONS = [f"A_{end}" for end in ("APPROVED", "DECLINED", "CANCELLED", "REGISTERED", "ACTIVATED")]
DECISIONS += [f"O_{end}" for end in ("ACCEPTED", "DECLINED", "CANCELLED")]


def pattern(folder: Path | None, options: Mapping[str, Any]) -> EventProblem:
    """Return sequences of 19 to 200 bits; the target is whether :data:`PATTERN` occurs in them.

    The pattern is written into every second sequence; the last quarter is the test set.
    """
    rng, n = np.random.default_rng(0), options["n_sequences"]
    bits = [_random_bits(rng, with_pattern=i % 2 == 1) for i in range(n)]
    y = np.array([PATTERN in "".join(row) for row in bits])
    log = pd.DataFrame(
        {"row": np.repeat(np.arange(n), [len(row) for row in bits]), "bit": np.concatenate(bits)}
    )
    log["place"] = log.groupby("row").cumcount()
    rows = pd.DataFrame({"row": np.arange(n)})
    aggregates = AggregateJoiner(log, entity="row", time="place").fit_transform(rows).drop(columns="row")
    return EventProblem(pd.DataFrame({"bits": bits}), aggregates, y, np.arange(n) >= 0.75 * n)


def _random_bits(rng: np.random.Generator, with_pattern: bool) -> list[str]:
    text = "".join(rng.choice(["0", "1"], rng.integers(19, 201)))
    if with_pattern:
        start = rng.integers(0, len(text) - len(PATTERN))
        text = text[:start] + PATTERN + text[start + len(PATTERN) :]
    return list(text)


def applications(folder: Path, options: Mapping[str, Any]) -> EventProblem:
    """Return loan applications with their first ``n`` days or events; the target is the outcome.

    Events that reveal the decision are left out, as are applications decided before the cutoff. The
    split is by time of registration; the last fifth is the test set.
    """
    cases = pd.read_parquet(folder / "bpic2012_cases.parquet").dropna(subset="outcome")
    events = pd.read_parquet(folder / "bpic2012_events.parquet").sort_values("time", kind="stable")
    decides = events["activity"].isin(DECISIONS)
    decided_at = cases["application"].map(events[decides].groupby("application")["time"].min())
    log, join = events[~decides], {"entity": "application", "time": "time"}
    if options["unit"] == "days":
        rows = cases.assign(cutoff=cases["registered"] + pd.Timedelta(options["n"], "D"))
        now, join["cutoff"] = rows["cutoff"], "cutoff"
    else:
        log, rows = _first_events(log, cases, options["n"])
        now = rows["application"].map(log.groupby("application")["time"].max())
    rows = rows[~(decided_at.reindex(rows.index) <= now)].sort_values("registered", kind="stable")
    is_test = np.arange(len(rows)) >= int(0.8 * len(rows))
    names = ["application", "registered", "outcome", *(["cutoff"] if "cutoff" in rows else [])]
    y = np.unique(rows["outcome"], return_inverse=True)[1]
    return _joined(log, rows, join, y, is_test, names, top_k=24)


def _first_events(log: pd.DataFrame, cases: pd.DataFrame, n: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the first ``n`` events of every application, and the cases that have so many events."""
    log = log[log.groupby("application").cumcount() < n]
    has_enough = log.groupby("application").size() == n
    # a case without events is missing here, not False
    return log, cases[cases["application"].map(has_enough) == True]  # noqa: E712


def buys_again(folder: Path, options: Mapping[str, Any]) -> EventProblem:
    """Return customers at three cutoffs; the target is whether they buy in the 30 days after it.

    The last cutoff is the test set.
    """
    lines = pd.read_parquet(folder / "online_retail.parquet").dropna(subset="CustomerID")
    lines["paid"] = lines["Quantity"] * lines["UnitPrice"]
    bought = lines[lines["Quantity"] > 0]
    cutoffs = pd.to_datetime(["2011-05-01", "2011-08-01", "2011-11-01"])
    table = pd.concat([_customers(bought, cutoff) for cutoff in cutoffs], ignore_index=True)
    log = lines[["CustomerID", "InvoiceDate", "StockCode", "Quantity", "UnitPrice", "paid", "Country"]]
    join = {"entity": "CustomerID", "time": "InvoiceDate", "cutoff": "cutoff"}
    is_test = (table["cutoff"] == table["cutoff"].max()).to_numpy()
    names, windows = ["CustomerID", "cutoff", "again"], ["30d", "90d", None]
    return _joined(log, table, join, table["again"].to_numpy(), is_test, names, windows=windows)


def _customers(bought: pd.DataFrame, cutoff: pd.Timestamp) -> pd.DataFrame:
    """Return all customers before the cutoff, and whether they buy in the 30 days after it."""
    customers = bought.loc[bought["InvoiceDate"] < cutoff, "CustomerID"].unique()
    soon = bought["InvoiceDate"].between(cutoff, cutoff + pd.Timedelta(30, "D"), inclusive="left")
    again = np.isin(customers, bought.loc[soon, "CustomerID"])
    return pd.DataFrame({"CustomerID": customers, "cutoff": cutoff, "again": again})


def icu(folder: Path, options: Mapping[str, Any]) -> EventProblem:
    """Return stays in intensive care with all measurements; the target is death in hospital.

    The log has the long format: ``Parameter`` names what ``Value`` measures. The measurements of one
    minute are one step. One of the five published folds is the test set.
    """
    log, stays = (pd.read_parquet(folder / f"icu_{name}.parquet") for name in ("events", "stays"))
    is_test = (stays["fold"] == options["fold"] - 1).to_numpy()
    join = {"entity": "stay", "time": "minute"}
    names, by = ["stay", "death", "fold"], {"Parameter": ["Value"]}
    y = stays["death"].to_numpy()
    problem = _joined(log, stays, join, y, is_test, names, None, "merge", by=by)
    return replace(problem, net_params={"max_events": None})


def _joined(
    log: pd.DataFrame,
    rows: pd.DataFrame,
    join: Mapping[str, Any],
    y: np.ndarray,
    is_test: np.ndarray,
    not_inputs: list[str],
    max_events: int | None = 200,
    simultaneous: str = "keep",
    **aggregation: Any,
) -> EventProblem:
    """Return the rows with histories and with aggregates, from joiners fitted on the training rows."""
    history = HistoryJoiner(log, **join, max_events=max_events, simultaneous=simultaneous)
    aggregates = AggregateJoiner(log, **join, **aggregation).fit(rows[~is_test])
    return EventProblem(
        history.fit(rows[~is_test]).transform(rows).drop(columns=not_inputs),
        aggregates.transform(rows).drop(columns=not_inputs),
        y,
        is_test,
    )

"""Behaviour as input: a recurrent net over events, boosted trees on aggregates of them, and both together.

`python -m experiments.events` compares them on one split a task, with several seeds. Finished cells are kept under
`outputs/events`; a second run goes on from there.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pandas as pd
from lightgbm import LGBMClassifier, early_stopping
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table as TextTable
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, QuantileTransformer, TargetEncoder
from sklearn.svm import SVC

from tabemb import AggregateJoiner, EmbeddingClassifier, EventClassifier, HistoryJoiner, SequenceEncoder
from tabemb.compare.store import cell_path, read_cells, write_cell
from tabemb.compare.table import wide_console

CONFIG_FOLDER = Path(__file__).resolve().parents[1] / "conf"
DECIDED = [f"A_{what}" for what in ("APPROVED", "DECLINED", "CANCELLED", "REGISTERED", "ACTIVATED")]
DECIDED += [f"O_{what}" for what in ("ACCEPTED", "DECLINED", "CANCELLED")]
N_SHOWN = 20
"""Items that are shown: the answer is among them or it is not."""
N_SVM = 5000
"""Rows that an SVM is fitted on, where there are more: its time grows with their square."""


@dataclass
class Task:
    """Rows with their histories, the same with aggregates instead, answers, which rows are tested, by what metrics."""

    histories: pd.DataFrame
    aggregates: pd.DataFrame
    y: np.ndarray
    tested: np.ndarray
    groups: np.ndarray | None = None
    events: pd.DataFrame | None = None  # the log itself, where each event has an answer
    settings: dict[str, Any] = field(default_factory=dict)  # of the nets
    metrics: tuple[str, ...] = ("auc", "log_loss")
    counted: np.ndarray | None = None  # which of the rows tested count
    found: dict[tuple[str, int], tuple[np.ndarray, np.ndarray]] = field(
        default_factory=dict
    )  # by model and seed

    def split(self, frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Training rows, and those tested."""
        return frame[~self.tested], frame[self.tested]

    @property
    def learned(self) -> np.ndarray:
        """Answers of the training rows."""
        return self.y[~self.tested]


# Tasks


def pattern(_: Path | None, which: Mapping[str, Any]) -> Task:
    """Whether a sequence of 19 to 200 bits holds 110101011; half of the sequences get it written into them."""
    rng, n = np.random.default_rng(0), which["n_sequences"]
    wanted, bits = "110101011", []
    for i in range(n):
        text = "".join(rng.choice(["0", "1"], rng.integers(19, 201)))
        if i % 2:
            at = rng.integers(0, len(text) - len(wanted))
            text = text[:at] + wanted + text[at + len(wanted) :]
        bits.append(list(text))
    y = np.array([wanted in "".join(row) for row in bits])
    log = pd.DataFrame(
        {"row": np.repeat(np.arange(n), [len(b) for b in bits]), "bit": np.concatenate(bits)}
    )
    log["place"] = log.groupby("row").cumcount()
    rows = pd.DataFrame({"row": np.arange(n)})
    aggregates = AggregateJoiner(log, entity="row", time="place").fit_transform(rows).drop(columns="row")
    return Task(pd.DataFrame({"bits": bits}), aggregates, y, np.arange(n) >= 0.75 * n)


def applications(data: Path, which: Mapping[str, Any]) -> Task:
    """Outcome of a loan application from its first events or days; split in time, the last fifth is tested."""
    cases = pd.read_parquet(data / "bpic2012_cases.parquet").dropna(subset="outcome")
    events = pd.read_parquet(data / "bpic2012_events.parquet").sort_values("time", kind="stable")
    decided = cases["application"].map(
        events[events["activity"].isin(DECIDED)].groupby("application")["time"].min()
    )
    log, rows = events[~events["activity"].isin(DECIDED)], cases
    join: dict[str, Any] = {"entity": "application", "time": "time"}
    if which["unit"] == "days":
        rows = rows.assign(cutoff=rows["registered"] + pd.Timedelta(which["n"], "D"))
        now, join["cutoff"] = rows["cutoff"], "cutoff"
    else:
        log = log[log.groupby("application").cumcount() < which["n"]]
        enough = log.groupby("application").size() == which["n"]
        rows = rows[rows["application"].map(enough) == True]  # noqa: E712 (missing where there was no event)
        now = rows["application"].map(log.groupby("application")["time"].max())
    rows = rows[~(decided.reindex(rows.index) <= now)].sort_values("registered", kind="stable")
    tested = np.arange(len(rows)) >= int(0.8 * len(rows))
    names = ["application", "registered", "outcome", *(["cutoff"] if "cutoff" in rows else [])]
    y = np.unique(rows["outcome"], return_inverse=True)[1]
    return _joined(log, rows, join, y, tested, names, top_k=24)


def buys_again(data: Path, which: Mapping[str, Any]) -> Task:
    """Whether a customer buys within 30 days of a cutoff; three cutoffs, the last is tested."""
    lines = pd.read_parquet(data / "online_retail.parquet").dropna(subset="CustomerID")
    lines["paid"] = lines["Quantity"] * lines["UnitPrice"]
    bought = lines[lines["Quantity"] > 0]
    rows = []
    for cutoff in pd.to_datetime(["2011-05-01", "2011-08-01", "2011-11-01"]):
        before = bought.loc[bought["InvoiceDate"] < cutoff, "CustomerID"].unique()
        soon = bought["InvoiceDate"].between(cutoff, cutoff + pd.Timedelta(30, "D"), inclusive="left")
        again = np.isin(before, bought.loc[soon, "CustomerID"])
        rows.append(pd.DataFrame({"CustomerID": before, "cutoff": cutoff, "again": again}))
    table = pd.concat(rows, ignore_index=True)
    log = lines[["CustomerID", "InvoiceDate", "StockCode", "Quantity", "UnitPrice", "paid", "Country"]]
    join = {"entity": "CustomerID", "time": "InvoiceDate", "cutoff": "cutoff"}
    tested = (table["cutoff"] == table["cutoff"].max()).to_numpy()
    names = ["CustomerID", "cutoff", "again"]
    return _joined(
        log, table, join, table["again"].to_numpy(), tested, names, windows=["30d", "90d", None]
    )


def _joined(
    log: pd.DataFrame,
    rows: pd.DataFrame,
    join: dict[str, Any],
    y: np.ndarray,
    tested: np.ndarray,
    names: list[str],
    **aggregated: Any,
) -> Task:
    """Both joiners, fitted on the training rows."""
    history = HistoryJoiner(log, **join, max_events=200).fit(rows[~tested])
    aggregates = AggregateJoiner(log, **join, **aggregated).fit(rows[~tested])
    return Task(
        history.transform(rows).drop(columns=names),
        aggregates.transform(rows).drop(columns=names),
        y,
        tested,
    )


def next_answer(data: Path, which: Mapping[str, Any]) -> Task:
    """Whether a student's next answer is right; students of one fold are tested."""
    questions = read_questions(data / "assist2009_answers.parquet")
    y, tested = questions["correct"].to_numpy(), (questions["fold"] == which["fold"]).to_numpy()
    known = questions[["student", "step", "problem", "skill", "skills"]]
    log = questions[["student", "step", "correct"]].assign(
        own_skill=questions["student"] + "|" + questions["skill"]
    )
    rows = known.assign(own_skill=log["own_skill"])
    fields: dict[str, Any] = {"time": "step", "cutoff": "step", "fields": ["correct"]}
    past = AggregateJoiner(
        log, entity="student", windows=[5, 20, None], name="student", **fields
    ).fit_transform(rows)
    past = AggregateJoiner(log, entity="own_skill", name="skill_past", **fields).fit_transform(past)
    codes = ["problem", "skill", "skills"]
    encoder = TargetEncoder(target_type="binary", cv=KFold(5))  # neighbours are of one student
    means = np.empty((len(rows), len(codes)))
    means[~tested] = encoder.fit_transform(rows.loc[~tested, codes], y[~tested])
    means[tested] = encoder.transform(rows.loc[tested, codes])
    numbers = past.drop(columns=["student", "own_skill", *codes]).assign(**dict(zip(codes, means.T)))
    settings = {"entity": "student", "time": "step", "roles": {"step": "ignored"}, "hidden": (128, 128)}
    groups = questions["student"].to_numpy()
    return Task(known, numbers, y, tested, groups, known, settings)


def read_questions(path: Path) -> pd.DataFrame:
    """One row a question: its rows, one a skill, hold the same answer, which would leak from one to the next."""
    answers = pd.read_parquet(path).sort_values(["student", "step"], kind="stable")
    new = (answers["student"] != answers["student"].shift()) | (
        answers["problem"] != answers["problem"].shift()
    )
    by_question = answers.groupby(new.cumsum().to_numpy(), sort=False)
    skills = by_question["skill"].agg(lambda s: "|".join(sorted(set(s))))
    return by_question.first().assign(skills=skills).reset_index(drop=True)


def next_activity(data: Path, which: Mapping[str, Any]) -> Task:
    """What happens next to a loan application; split in time by registration, the last fifth is tested."""
    cases = pd.read_parquet(data / "bpic2012_cases.parquet").sort_values("registered", kind="stable")
    events = pd.read_parquet(data / "bpic2012_events.parquet").sort_values(
        ["application", "time"], kind="stable"
    )
    events = events[events["application"].isin(cases["application"])].reset_index(drop=True)
    late = cases["application"].iloc[int(0.8 * len(cases)) :]
    tested, by_case = (
        events["application"].isin(late).to_numpy(),
        events.groupby("application", sort=False),
    )
    events["nth"] = by_case.cumcount()
    log = events[["application", "nth", "activity"]].assign(
        gap=by_case["time"].diff().dt.total_seconds()
    )
    rows = log[["application", "nth"]].merge(
        cases[["application", "amount_requested"]], on="application", how="left"
    )
    joiner = AggregateJoiner(
        log, entity="application", time="nth", cutoff="nth", windows=[3, None], top_k=24
    )
    past = joiner.fit_transform(rows).drop(columns="application")
    for back in (3, 2, 1):
        past[f"activity_{back}"] = by_case["activity"].shift(back).astype("category")
    known = events[["application", "time", "transition", "resource"]].assign(
        amount=rows["amount_requested"]
    )
    outcome_fields = ["transition", "resource"]
    settings = {
        **_UNKNOWN_TIME,
        "entity": "application",
        "time": "time",
        "outcome_fields": outcome_fields,
    }
    y, later = events["activity"].to_numpy(str), (events["nth"] > 0).to_numpy()[tested]
    groups = events["application"].to_numpy()
    return Task(known, past, y, tested, groups, known, settings, ("accuracy", "log_loss"), later)


def next_item(data: Path, which: Mapping[str, Any]) -> Task:
    """What is clicked next in a session; split in time."""
    clicks = pd.read_parquet(data / "yoochoose_clicks.parquet").sort_values(
        ["session", "time"], kind="stable"
    )
    tested, y = (clicks["split"] == "test").to_numpy(), clicks["item"].to_numpy().astype(str)
    known = clicks[["session", "time"]].reset_index(drop=True)
    past = pd.DataFrame({"item_1": pd.Series(y).groupby(known["session"]).shift()})
    settings = {**_UNKNOWN_TIME, "entity": "session", "time": "time"}
    later = past["item_1"].notna().to_numpy()[tested]
    return Task(
        known,
        past,
        y,
        tested,
        known["session"].to_numpy(),
        known,
        settings,
        ("recall_20", "mrr_20"),
        later,
    )


_UNKNOWN_TIME: dict[str, Any] = {"roles": {"time": "ignored", "time.gap": "ignored"}}
"""When the next event comes is as unknown as what it is."""


TASKS: dict[str, Callable[[Any, Mapping[str, Any]], Task]] = {
    "pattern": pattern,
    "applications": applications,
    "buys again": buys_again,
    "next answer": next_answer,
    "next activity": next_activity,
    "next item": next_item,
}


@lru_cache(maxsize=1)  # the models of a task follow one another
def find_task(name: str, data: Path | None, fold: int, n_sequences: int) -> Task:
    """The task of a name such as "applications after 7 days"."""
    found = re.fullmatch(r"(.*) after (\d+) (days|events)", name)
    kind = found[1] if found else name
    if kind not in TASKS:
        sys.exit(f"error: tasks must be among {', '.join(TASKS)}; got {name!r}")
    if data is None and kind != "pattern":
        sys.exit("error: TABEMB_DATA must name the folder of the data")
    which = (
        {"n": int(found[2]), "unit": found[3]} if found else {"fold": fold, "n_sequences": n_sequences}
    )
    return TASKS[kind](data, which)


# Models: from a task and a seed to the probabilities of the rows tested, and the classes


def trees(task: Task, seed: int, extra: pd.DataFrame | None = None) -> tuple[np.ndarray, np.ndarray]:
    """LightGBM, as many trees as a tenth of the training rows likes best."""
    frame = task.aggregates if extra is None else pd.concat([task.aggregates, extra], axis=1)
    learn, test = task.split(frame)
    common = np.unique(task.learned, return_counts=True)[1].min() > 1
    rows, judges = train_test_split(
        np.arange(len(learn)),
        test_size=0.1,
        random_state=seed,
        stratify=task.learned if common else None,
    )
    model = LGBMClassifier(
        n_estimators=2000, learning_rate=0.03, num_leaves=31, min_child_samples=20, subsample=0.8, subsample_freq=1,
        colsample_bytree=0.8, n_jobs=1, verbose=-1, random_state=seed,
    )  # fmt: skip
    model.fit(
        learn.iloc[rows],
        task.learned[rows],
        eval_X=learn.iloc[judges],
        eval_y=task.learned[judges],
        callbacks=[early_stopping(50, verbose=False)],
    )
    return np.asarray(model.predict_proba(test)), model.classes_


def _numbers(frame: pd.DataFrame) -> Any:
    categories = make_column_selector(dtype_include=["category", "object", "string"])
    numbers = make_column_selector(dtype_include="number")
    spread = QuantileTransformer(
        output_distribution="normal", n_quantiles=min(200, len(frame) // 2), subsample=None
    )
    return make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="constant", fill_value=-1), spread), numbers),
        (OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=20), categories),
    )


def random_forest(task: Task, seed: int) -> tuple[np.ndarray, np.ndarray]:
    learn, test = task.split(task.aggregates)
    forest = RandomForestClassifier(300, min_samples_leaf=5, n_jobs=1, random_state=seed)
    model = make_pipeline(_numbers(learn), forest).fit(learn, task.learned)
    return np.asarray(model.predict_proba(test)), model.classes_


def svm(task: Task, seed: int) -> tuple[np.ndarray, np.ndarray]:
    learn, test = task.split(task.aggregates)
    some = np.random.default_rng(seed).permutation(len(learn))[:N_SVM]
    model = make_pipeline(_numbers(learn), SVC(random_state=seed))
    calibrated = CalibratedClassifierCV(model, cv=3, ensemble=False).fit(
        learn.iloc[some], task.learned[some]
    )
    return calibrated.predict_proba(test), calibrated.classes_


def chain(task: Task, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Markov chain: how often each answer followed the last one, and, with the weight of one row, how often it came."""
    learn, test = task.split(task.aggregates)
    classes, codes = np.unique(task.learned, return_inverse=True)
    before, now = (
        pd.Index(classes).get_indexer(frame.iloc[:, -1].astype(object)) for frame in (learn, test)
    )
    followed = np.zeros(
        (len(classes) + 1, len(classes))
    )  # the last row: of those that follow nothing known
    np.add.at(followed, (before, codes), 1)
    followed[-1] = 0
    counts = followed[now] + np.bincount(codes) / len(codes)
    return counts / counts.sum(axis=1, keepdims=True), classes


def pretrained(task: Task, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """LightGBM on vectors of the histories that were learned without answers, and on what is no history."""
    encoder = SequenceEncoder(n_jobs=1, random_state=seed).fit(task.histories[~task.tested])
    vectors = pd.DataFrame(encoder.transform(task.histories), index=task.aggregates.index).add_prefix(
        "vector_"
    )
    plain = [name for name in task.aggregates if name in task.histories]
    return trees(replace(task, aggregates=pd.concat([task.aggregates[plain], vectors], axis=1)), seed)


def blend(task: Task, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The mean of what the recurrent net and the trees on aggregates say."""
    (read, classes), (counted, _) = (
        task.found.get((model, seed)) or MODELS[model](task, seed)
        for model in ("gru", "trees on aggregates")
    )
    return (read + counted) / 2, classes


def net(
    task: Task, seed: int, history: str = "gru", both: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    settings = {"history": history, "n_jobs": 1, "random_state": seed, **task.settings}
    if task.events is not None:
        learn, test = task.split(
            pd.concat([task.events, task.aggregates.add_prefix("past_")], axis=1)
            if both
            else task.events
        )
        model = EventClassifier(**settings).fit(learn, task.learned)
        return model.replay_proba(test, task.y[task.tested]), model.classes_
    frame = pd.concat([task.histories, task.aggregates[_new(task)]], axis=1) if both else task.histories
    learn, test = task.split(frame)
    model = EmbeddingClassifier(**settings).fit(learn, task.learned)
    return np.asarray(model.predict_proba(test)), model.classes_


def _new(task: Task) -> list[str]:
    """Aggregates that stand beside the history: the other columns are in both."""
    return [str(name) for name in task.aggregates if name not in task.histories]


def trees_on_both(task: Task, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The net's log probabilities as columns more: out-of-fold for the training rows, which taught it."""
    test, classes = net(task, seed)
    columns = [f"gru_{label}" for label in classes[1:]]
    extra = pd.DataFrame(np.nan, index=task.aggregates.index, columns=columns)
    extra[task.tested] = np.log(np.maximum(test[:, 1:], 1e-9))
    learn = np.flatnonzero(~task.tested)
    groups = None if task.groups is None else task.groups[learn]
    folds = (
        StratifiedKFold(3, shuffle=True, random_state=seed) if groups is None else GroupKFold(3)
    ).split(learn, task.y[learn], groups)
    for _, held_out in folds:
        inner = np.zeros(len(task.y), dtype=bool)
        inner[learn[held_out]] = True
        found, _ = net(_within(task, inner), seed)
        extra.iloc[learn[held_out]] = np.log(np.maximum(found[:, 1:], 1e-9))
    return trees(task, seed, extra)


def _within(task: Task, inner: np.ndarray) -> Task:
    """The training rows alone, with some of them tested."""
    kept = ~task.tested
    events = None if task.events is None else task.events[kept]
    groups = None if task.groups is None else task.groups[kept]
    return Task(
        task.histories[kept],
        task.aggregates[kept],
        task.y[kept],
        inner[kept],
        groups,
        events,
        task.settings,
    )


MODELS: dict[str, Callable[[Task, int], tuple[np.ndarray, np.ndarray]]] = {
    "trees on aggregates": trees,
    "random forest on aggregates": random_forest,
    "svm on aggregates": svm,
    "gru": net,
    "lstm": lambda task, seed: net(task, seed, "lstm"),
    "bag of events": lambda task, seed: net(task, seed, "mean"),
    "gru and aggregates": lambda task, seed: net(task, seed, both=True),
    "trees on aggregates and gru": trees_on_both,
    "mean of trees and gru": blend,
    "trees on pretrained vectors": pretrained,
    "markov chain": chain,
}
SUITED = {
    "next answer": [
        model for model in MODELS if model not in ("trees on pretrained vectors", "markov chain")
    ],
    "next activity": [
        "trees on aggregates",
        "gru",
        "lstm",
        "bag of events",
        "mean of trees and gru",
        "markov chain",
    ],
    "next item": ["gru", "lstm", "bag of events", "markov chain"],
}
"""Models of the tasks that not all of them suit."""


@hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name="events")
def main(config: DictConfig) -> None:
    settings: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    unknown = [model for model in settings["models"] if model not in MODELS]
    if unknown:
        sys.exit(f"error: models must be among {', '.join(MODELS)}; got {unknown[0]!r}")
    folder = os.environ.get("TABEMB_DATA")
    show(compare(settings, Path(folder) if folder else None))


def compare(settings: Mapping[str, Any], data: Path | None) -> pd.DataFrame:
    """Run every cell that is not there yet.

    Returns
    -------
    DataFrame
        One row a cell: task, model, fold, seed, the task's metrics (AUC is macro, one against the rest), seconds.
    """
    cells = Path(settings["folder"]) / "cells"
    for task in settings["tasks"]:
        by_fold = task == "next answer"
        for fold in settings["folds"] if by_fold else [0]:
            for model in (model for model in settings["models"] if model in _suited(task)):
                for seed in settings["seeds"][: 1 if by_fold else None]:
                    _cell(
                        cells, data, {"task": task, "model": model, "fold": fold, "seed": seed}, settings
                    )
    return read_cells(cells)


def _cell(cells: Path, data: Path | None, identity: dict[str, Any], settings: Mapping[str, Any]) -> None:
    key = "-".join(map(str, identity.values())).replace(" ", "_")
    if cell_path(cells, key).exists():
        return
    task = find_task(identity["task"], data, identity["fold"], settings["n_sequences"])
    task = replace(task, settings={**task.settings, **settings["net"]})
    started = time.perf_counter()
    proba, classes = MODELS[identity["model"]](task, identity["seed"])
    task.found[identity["model"], identity["seed"]] = proba, classes
    seconds = time.perf_counter() - started
    counted = slice(None) if task.counted is None else task.counted
    y, proba = task.y[task.tested][counted], proba[counted]
    scores = {metric: METRICS[metric].score(y, proba, classes) for metric in task.metrics}
    write_cell(cells, key, {**identity, **scores, "seconds": seconds, "n_rows": len(task.y)})
    text = ", ".join(str(value) for value in identity.values())
    said = ", ".join(f"{METRICS[metric].title} {score:.4f}" for metric, score in scores.items())
    Console(stderr=True, soft_wrap=True).print(f"{text}: {said} in {seconds:.0f} s", highlight=False)


def _suited(task: str) -> list[str]:
    return SUITED.get(task, [model for model in MODELS if model != "markov chain"])


# What is measured


@dataclass(frozen=True)
class Metric:
    """A metric of answers y, probabilities (n, n_classes) and the classes."""

    title: str
    score: Callable[[np.ndarray, np.ndarray, np.ndarray], float]
    sign: int = 1  # whether more is better


def _auc(y: np.ndarray, proba: np.ndarray, classes: np.ndarray) -> float:
    if len(classes) == 2:
        return float(roc_auc_score(y, proba[:, 1]))
    return float(roc_auc_score(y, proba, multi_class="ovr", average="macro", labels=classes))


def _log_loss(y: np.ndarray, proba: np.ndarray, classes: np.ndarray) -> float:
    chance = np.where(classes == y[:, None], proba, 0).sum(axis=1)
    return float(
        -np.log(np.maximum(chance, 1e-6)).mean()
    )  # a class that training never saw has no chance


def ranks(y: np.ndarray, proba: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Place of the answer among all classes, from 1 on; infinite for a class that training never saw."""
    places = pd.Index(classes).get_indexer(y)
    chance = np.where(places >= 0, proba[np.arange(len(y)), places], np.inf)
    return np.where(places >= 0, (proba > chance[:, None]).sum(axis=1) + 1, np.inf)


def _reciprocal(y: np.ndarray, proba: np.ndarray, classes: np.ndarray) -> float:
    found = ranks(y, proba, classes)
    return float(np.where(found <= N_SHOWN, 1 / found, 0).mean())


METRICS = {
    "auc": Metric("AUC", _auc),
    "log_loss": Metric("log loss", _log_loss, -1),
    "accuracy": Metric("accuracy", lambda *given: float((ranks(*given) == 1).mean())),
    "recall_20": Metric("recall@20", lambda *given: float((ranks(*given) <= N_SHOWN).mean())),
    "mrr_20": Metric("MRR@20", _reciprocal),
}


def show(cells: pd.DataFrame) -> None:
    """Print the means of each task and model, metric by metric; the best of a task is bold."""
    for metric in (metric for metric in METRICS if metric in cells):
        table = TextTable(
            title=f"{METRICS[metric].title}: mean over seeds or folds", title_justify="left"
        )
        table.add_column("task", no_wrap=True)
        measured = cells.dropna(subset=metric)
        models = [model for model in MODELS if (measured["model"] == model).any()]
        for model in models:
            table.add_column(model.replace(" ", "\n"), justify="right", no_wrap=True)
        means = measured.pivot_table(index="task", columns="model", values=metric, sort=False)
        for task, row in means.iterrows():
            best = row.max() if METRICS[metric].sign > 0 else row.min()
            entries = [f"{row[m]:.4f}" if m in row and row[m] == row[m] else "-" for m in models]
            table.add_row(
                str(task), *(f"[bold]{e}[/bold]" if e == f"{best:.4f}" else e for e in entries)
            )
        wide_console().print(table)
    wide_console().print(f"{cells['seconds'].sum() / 60:.0f} minutes in all", highlight=False)


if __name__ == "__main__":
    main()

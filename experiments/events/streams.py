"""Problems with one target per event: students' answers, activities of loan applications, clicks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import KFold
from sklearn.preprocessing import TargetEncoder

from experiments.events.problem import EventProblem
from tabemb import AggregateJoiner

# the time of the next event is as unknown as the event itself
_UNKNOWN_TIME: dict[str, Any] = {"roles": {"time": "ignored", "time.gap": "ignored"}}


def next_answer(folder: Path, options: Mapping[str, Any]) -> EventProblem:
    """Return students' questions in order; the target is whether the answer is right.

    The students of one published fold are the test set.
    """
    questions = read_questions(folder / "assist2009_answers.parquet")
    y, is_test = questions["correct"].to_numpy(), (questions["fold"] == options["fold"]).to_numpy()
    inputs = questions[["student", "step", "problem", "skill", "skills"]]
    numbers = _past_answers(questions, inputs)
    codes = ["problem", "skill", "skills"]
    means = _target_means(inputs[codes], y, is_test)
    numbers = numbers.drop(columns=codes).assign(**dict(zip(codes, means.T)))
    net_params = {
        "entity": "student",
        "time": "step",
        "roles": {"step": "ignored"},
        "hidden": (128, 128),
    }
    return EventProblem(
        inputs, numbers, y, is_test, questions["student"].to_numpy(), inputs, net_params=net_params
    )


def _past_answers(questions: pd.DataFrame, inputs: pd.DataFrame) -> pd.DataFrame:
    """Return the inputs with aggregates of earlier answers by student, and by student and skill."""
    log = questions[["student", "step", "correct"]].assign(
        student_skill=questions["student"] + "|" + questions["skill"]
    )
    rows = inputs.assign(student_skill=log["student_skill"])
    shared: dict[str, Any] = {"time": "step", "cutoff": "step", "fields": ["correct"]}
    windows: list[Any] = [5, 20, None]
    of_all = AggregateJoiner(log, entity="student", windows=windows, name="student", **shared)
    of_skill = AggregateJoiner(log, entity="student_skill", name="skill_past", **shared)
    past: pd.DataFrame = of_skill.fit_transform(of_all.fit_transform(rows))
    return past.drop(columns=["student", "student_skill"])


def _target_means(codes: pd.DataFrame, y: np.ndarray, is_test: np.ndarray) -> np.ndarray:
    """Return the mean target of each category, out-of-fold for training rows, (n_rows, n_columns)."""
    encoder = TargetEncoder(target_type="binary", cv=KFold(5))  # neighbouring rows belong to one student
    means = np.empty(codes.shape)
    means[~is_test] = encoder.fit_transform(codes[~is_test], y[~is_test])
    means[is_test] = encoder.transform(codes[is_test])
    return means


def read_questions(path: Path) -> pd.DataFrame:
    """Read one row per question.

    The file has one row per skill of a question, all with the same answer, which would leak from one
    row to the next.
    """
    answers = pd.read_parquet(path).sort_values(["student", "step"], kind="stable")
    is_new = (answers["student"] != answers["student"].shift()) | (
        answers["problem"] != answers["problem"].shift()
    )
    by_question = answers.groupby(is_new.cumsum().to_numpy(), sort=False)
    skills = by_question["skill"].agg(lambda s: "|".join(sorted(set(s))))
    return by_question.first().assign(skills=skills).reset_index(drop=True)


def next_activity(folder: Path, options: Mapping[str, Any]) -> EventProblem:
    """Return the events of loan applications; the target is the activity of each.

    The split is by time of registration; the last fifth of the applications is the test set.
    """
    cases = pd.read_parquet(folder / "bpic2012_cases.parquet").sort_values("registered", kind="stable")
    events = pd.read_parquet(folder / "bpic2012_events.parquet").sort_values(
        ["application", "time"], kind="stable"
    )
    events = events[events["application"].isin(cases["application"])].reset_index(drop=True)
    events["nth"] = events.groupby("application", sort=False).cumcount()
    events = events.merge(cases[["application", "amount_requested"]], on="application", how="left")
    late = cases["application"].iloc[int(0.8 * len(cases)) :]
    is_test = events["application"].isin(late).to_numpy()
    columns = ["application", "time", "transition", "resource"]
    inputs = events[columns].assign(amount=events["amount_requested"])
    net_params = {
        **_UNKNOWN_TIME,
        "entity": "application",
        "time": "time",
        "ties": "order",  # the rows are in the order of the events, which the baselines use too
        "outcome_fields": ["transition", "resource"],
    }
    return EventProblem(
        inputs,
        _past_activities(events),
        events["activity"].to_numpy(str),
        is_test,
        events["application"].to_numpy(),
        inputs,
        net_params,
        metrics=("accuracy", "log_loss"),
        is_scored=(events["nth"] > 0).to_numpy()[is_test],
    )


def _past_activities(events: pd.DataFrame) -> pd.DataFrame:
    """Return aggregates of the earlier events, and the last three activities, the newest one last."""
    by_case = events.groupby("application", sort=False)
    log = events[["application", "nth", "activity"]].assign(
        gap=by_case["time"].diff().dt.total_seconds()
    )
    joiner = AggregateJoiner(
        log, entity="application", time="nth", cutoff="nth", windows=[3, None], top_k=24, by=None
    )
    past: pd.DataFrame = joiner.fit_transform(events[["application", "nth", "amount_requested"]])
    past = past.drop(columns="application")
    for back in (3, 2, 1):
        past[f"activity_{back}"] = by_case["activity"].shift(back).astype("category")
    return past


def next_item(folder: Path, options: Mapping[str, Any]) -> EventProblem:
    """Return clicks of sessions in a shop; the target is the item. The published split is by time."""
    clicks = pd.read_parquet(folder / "yoochoose_clicks.parquet").sort_values(
        ["session", "time"], kind="stable"
    )
    is_test, y = (clicks["split"] == "test").to_numpy(), clicks["item"].to_numpy().astype(str)
    inputs = clicks[["session", "time"]].reset_index(drop=True)
    past = pd.DataFrame({"item_1": pd.Series(y).groupby(inputs["session"]).shift()})
    return EventProblem(
        inputs,
        past,
        y,
        is_test,
        inputs["session"].to_numpy(),
        inputs,
        net_params={**_UNKNOWN_TIME, "entity": "session", "time": "time", "ties": "order"},
        metrics=("recall_20", "mrr_20"),
        is_scored=past["item_1"].notna().to_numpy()[is_test],
    )

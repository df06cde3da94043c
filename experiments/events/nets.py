"""The networks on events, alone and together with aggregates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold, StratifiedKFold

from experiments.events.problem import EventProblem, Probabilities
from tabemb import EmbeddingClassifier, EventClassifier, SequenceEncoder


def network(
    problem: EventProblem, seed: int, history: str = "gru", with_aggregates: bool = False
) -> Probabilities:
    """Return the predictions of a network on the events.

    Parameters
    ----------
    problem : EventProblem
    seed : int
    history : str
        The network that reads the events: "gru", "lstm" or "mean" (a bag of events).
    with_aggregates : bool
        Whether the network also gets the aggregates.
    """
    params: dict[str, Any] = {
        "history": history,
        "n_jobs": 1,
        "random_state": seed,
        **problem.net_params,
    }
    if problem.log is not None:
        return _network_of_log(problem, problem.log, params, with_aggregates)
    frame = problem.histories
    if with_aggregates:
        frame = pd.concat([frame, problem.aggregates[_beside_history(problem)]], axis=1)
    train, test = problem.split(frame)
    model = EmbeddingClassifier(**params).fit(train, problem.y_train)
    return np.asarray(model.predict_proba(test)), model.classes_


def _network_of_log(
    problem: EventProblem, log: pd.DataFrame, params: dict[str, Any], with_aggregates: bool
) -> Probabilities:
    if with_aggregates:
        log = pd.concat([log, problem.aggregates.add_prefix("past_")], axis=1)
    train, test = problem.split(log)
    model = EventClassifier(**params).fit(train, problem.y_train)
    return model.replay_proba(test, problem.y_test), model.classes_


def _beside_history(problem: EventProblem) -> list[str]:
    """Return the columns that only the frame of aggregates has."""
    return [str(name) for name in problem.aggregates if name not in problem.histories]


def network_features(problem: EventProblem, seed: int) -> pd.DataFrame:
    """Return the network's log probabilities of all rows, as columns for another model.

    Training rows get out-of-fold values, from a network that was not trained on the row.
    """
    test, classes = network(problem, seed)
    columns = [f"gru_{label}" for label in classes[1:]]
    features = pd.DataFrame(np.nan, index=problem.aggregates.index, columns=columns)
    features[problem.is_test] = _log_probabilities(test)
    train = np.flatnonzero(~problem.is_test)
    for _, held_out in _folds(problem, train, seed):
        is_test = np.zeros(len(problem.y), dtype=bool)
        is_test[train[held_out]] = True
        out_of_fold, _ = network(problem.training_only(is_test), seed)
        features.iloc[train[held_out]] = _log_probabilities(out_of_fold)
    return features


def _log_probabilities(proba: np.ndarray) -> np.ndarray:
    """Return the log probabilities of all classes except the first, which follows from the others."""
    logs: np.ndarray = np.log(np.maximum(proba[:, 1:], 1e-9))
    return logs


def _folds(problem: EventProblem, train: np.ndarray, seed: int) -> Any:
    if problem.groups is None:
        folds: Any = StratifiedKFold(3, shuffle=True, random_state=seed)
        return folds.split(train, problem.y[train])
    return GroupKFold(3).split(train, problem.y[train], problem.groups[train])


def pretrained_vectors(problem: EventProblem, seed: int) -> pd.DataFrame:
    """Return vectors of the histories, trained without targets, and the other columns."""
    encoder = SequenceEncoder(n_jobs=1, random_state=seed).fit(problem.histories[~problem.is_test])
    vectors = encoder.transform(problem.histories)
    frame = pd.DataFrame(vectors, index=problem.aggregates.index).add_prefix("vector_")
    plain = [name for name in problem.aggregates if name in problem.histories]
    return pd.concat([problem.aggregates[plain], frame], axis=1)

"""The models by name: each takes a problem and a seed and returns probabilities of the test rows."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from experiments.events.baselines import markov_chain, random_forest, svm, trees, trees_on
from experiments.events.nets import network, network_features, pretrained_vectors
from experiments.events.problem import EventProblem, Probabilities


def trees_on_both(problem: EventProblem, seed: int) -> Probabilities:
    """Return LightGBM's predictions from the aggregates and the network's log probabilities."""
    frame = pd.concat([problem.aggregates, network_features(problem, seed)], axis=1)
    return trees_on(problem, frame, seed)


def trees_on_vectors(problem: EventProblem, seed: int) -> Probabilities:
    """Return LightGBM's predictions from vectors of the histories that were trained without targets."""
    return trees_on(problem, pretrained_vectors(problem, seed), seed)


def mean_of_both(problem: EventProblem, seed: int) -> Probabilities:
    """Return the mean of the recurrent network's and the boosted trees' probabilities."""
    (of_net, classes), (of_trees, _) = (
        problem.predictions.get((name, seed)) or MODELS[name](problem, seed)
        for name in ("gru", "trees on aggregates")
    )
    return (of_net + of_trees) / 2, classes


MODELS: dict[str, Callable[[EventProblem, int], Probabilities]] = {
    "trees on aggregates": trees,
    "random forest on aggregates": random_forest,
    "svm on aggregates": svm,
    "gru": network,
    "lstm": lambda problem, seed: network(problem, seed, "lstm"),
    "bag of events": lambda problem, seed: network(problem, seed, "mean"),
    "gru and aggregates": lambda problem, seed: network(problem, seed, with_aggregates=True),
    "trees on aggregates and gru": trees_on_both,
    "mean of trees and gru": mean_of_both,
    "trees on pretrained vectors": trees_on_vectors,
    "markov chain": markov_chain,
}
_FOR_OUTCOMES = [name for name in MODELS if name != "markov chain"]
_FOR_SOME = {
    # problems with one target per event, or with too many events for ten networks
    "next answer": [name for name in _FOR_OUTCOMES if name != "trees on pretrained vectors"],
    "next activity": [
        "trees on aggregates",
        "gru",
        "lstm",
        "bag of events",
        "mean of trees and gru",
        "markov chain",
    ],
    "icu": ["trees on aggregates", "gru", "gru and aggregates", "mean of trees and gru"],
    "next item": ["gru", "lstm", "bag of events", "markov chain"],
}


def suitable_models(problem_name: str) -> list[str]:
    """Return the models that suit a problem."""
    return _FOR_SOME.get(problem_name, _FOR_OUTCOMES)

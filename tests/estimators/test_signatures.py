"""Signatures and docstrings of the public estimators: one name, one default, one description."""

import inspect
import re

import pytest

import tabemb
from tabemb import (
    EmbeddingClassifier,
    EmbeddingRegressor,
    EventClassifier,
    HistoryJoiner,
    ItemEmbedder,
    SequenceEncoder,
)

ESTIMATORS = [c for c in map(vars(tabemb).get, tabemb.__all__) if hasattr(c, "get_params")]
APART = {
    ("EventClassifier", "patience"): "few sequences validate, whose loss varies by chance",
    ("EventRegressor", "patience"): "few sequences validate, whose loss varies by chance",
    ("SequenceEncoder", "pooling"): "the mean of the states compares rows better than their last one",
    ("SequenceEncoder", "max_epochs"): "no validation loss could stop the training",
    ("SequenceEncoder", "batch_size"): "the rows of a batch are compared with one another",
    ("PairEmbedder", "n_negatives"): "how many pay depends on the loss",
    ("PairEmbedder", "dim"): "both sides have vectors of one width",
    ("PairEmbedder", "loss"): "that of positive pairs is none of a regressor's",
    ("PairEmbedder", "history"): "the lists of a side are mostly bags",
    ("PairEmbedder", "hidden"): "without layers a score is that of matrix factorisation",
    ("PairEmbedder", "dropout"): "of vectors, and none for numbers",
    ("PairEmbedder", "temperature"): "a dot product has the unit of its vectors",
    ("PairEmbedder", "l2"): "nothing but the vectors explains the pairs",
    ("PairEmbedder", "max_epochs"): "an epoch of large batches has few steps",
    ("PairEmbedder", "learning_rate"): "an epoch of large batches has few steps",
    ("PairEmbedder", "validation_fraction"): "a held-out pair is a small part of a row",
    ("PairEmbedder", "patience"): "the loss of held-out pairs falls slowly",
    ("HistoryJoiner", "max_events"): "the estimator that reads the history cuts it",
    ("AggregateJoiner", "max_events"): "aggregates of all events cost little",
    ("ItemEmbedder", "entity"): "its input may be lists, which have none",
    ("ItemEmbedder", "time"): "its input may be lists, which are in order",
    ("ItemEmbedder", "window"): "word2vec's window counts items, that of a joiner is a span of time",
    ("ItemEmbedder", "dim"): "the width of word2vec does not follow from the number of items",
    ("ItemEmbedder", "max_epochs"): "no validation loss could stop the training",
    ("ItemEmbedder", "learning_rate"): "it is that of word2vec's plain gradient descent",
}
"""Defaults that differ from those of the same parameter in other estimators, with the reason."""


def defaults_of(cls):
    parameters = inspect.signature(cls).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters}


def described(cls):
    """Return the name and the type of each parameter in the docstring."""
    section = inspect.getdoc(cls).split("\nParameters\n----------\n")[1]
    section = re.split(r"\n\w+\n-+\n", section)[0]
    lines = [line for line in section.splitlines() if line and not line.startswith(" ")]
    return [tuple(line.split(" : ", maxsplit=1)) for line in lines]


def test_parameters_of_one_name_have_one_default():
    known = {}
    for cls in ESTIMATORS:
        for name, default in defaults_of(cls).items():
            if (cls.__name__, name) not in APART:
                assert known.setdefault(name, default) == default, f"{cls.__name__}: {name}"


def test_the_exceptions_are_exceptions():
    elsewhere: dict = {}
    for source in (
        ItemEmbedder,
        HistoryJoiner,
        EventClassifier,
        SequenceEncoder,
        EmbeddingRegressor,
        EmbeddingClassifier,
    ):
        elsewhere |= defaults_of(source)
    by_name = {cls.__name__: defaults_of(cls) for cls in ESTIMATORS}
    assert all(by_name[cls][name] != elsewhere[name] for cls, name in APART)


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_the_docstring_describes_each_parameter_once_in_the_order_of_the_signature(cls):
    assert [name for name, _ in described(cls)] == list(defaults_of(cls))


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_the_docstring_tells_the_default_of_the_signature(cls):
    defaults = defaults_of(cls)
    for name, kind in described(cls):
        default = defaults[name]
        if name == "loss":  # its choices fill the line; the default follows in the text
            assert re.search(rf"loss : .*\n +.*{default!r:} by default".replace("'", '"'), cls.__doc__)
        elif default is inspect.Parameter.empty:
            assert "default" not in kind
            assert "optional" not in kind
        elif default is None:
            assert kind.endswith((", optional", "default=None"))
        else:
            assert kind.endswith(f"default={default!r}".replace("'", '"')), name


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_parameters_are_keywords_but_for_a_log(cls):
    kinds = {name: p.kind for name, p in inspect.signature(cls).parameters.items() if name != "log"}
    assert set(kinds.values()) == {inspect.Parameter.KEYWORD_ONLY}

"""New categories that a graph knows: those with a description, and those that are named for it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from tabemb.data.vocabulary import N_SPECIAL, Vocabulary
from tabemb.estimators.by_code import Placer, values_of_new
from tabemb.estimators.encoder import EmbeddingEncoder
from tabemb.fitting.placing import likeness_of
from tabemb.likeness.descriptions import Descriptions
from tabemb.likeness.nearest import Likeness
from tabemb.saving.onnx.raw import KINDS, markers

DTYPES: dict[str, Any] = {"text": object, "integer": np.int64, "number": np.float64}
"""Types of the keys of new categories, by the kind of input; others cannot be named."""


class Newcomers(NamedTuple):
    """The new categories of one column, which have codes after those of the vocabulary.

    Parameters
    ----------
    keys : ndarray of text, int64 or float64, shape (n,)
    codes : ndarray of int64, shape (n,)
        That of a known category for another form of it.
    n_known : int
        Number of codes of the vocabulary.
    values : ndarray of shape (n_new, d)
        What the model has for each that is no other form: an expected effect or new columns.
    """

    keys: np.ndarray
    codes: np.ndarray
    n_known: int
    values: np.ndarray


class Compared(NamedTuple):
    """A column whose new categories the model compares with known ones.

    Parameters
    ----------
    order : int
        Position among the expected effects of the model, or the placings of the encoder.
    place : int
        Position among the categorical columns.
    name : str
    alike : Likeness
    vocabulary : Vocabulary
    """

    order: int
    place: int
    name: str
    alike: Likeness
    vocabulary: Vocabulary

    @property
    def kind(self) -> str:
        """Kind of the input."""
        return KINDS.get(self.vocabulary.kind, self.vocabulary.kind)

    @property
    def is_open(self) -> bool:
        """Whether the model compares categories that the graph knows only if they are named."""
        return not isinstance(self.alike, Descriptions) or self.kind not in DTYPES

    def labels(self, named: Sequence[Any]) -> list[Any]:
        """Return the new categories: those that are named, and those with a description.

        Raises
        ------
        ValueError
            A category is of another kind than those of the column, or stands for a missing value.
        """
        known = set(self.vocabulary.labels().tolist())
        missing = markers(self.kind, self.vocabulary)[0]
        for label in named:
            if _as_kind(self.kind, label) is None or label == missing:
                raise ValueError(
                    f"new_categories must hold {self.vocabulary.kind} values for column {self.name!r}, "
                    f"as its categories are, and not {missing!r}, which is missing; got {label!r:.60}."
                )
        described = self.alike.labels.tolist() if isinstance(self.alike, Descriptions) else []
        labels = [_as_kind(self.kind, label) for label in (*named, *described)]
        gone = {None, missing, *known}
        return [label for label in dict.fromkeys(labels) if label not in gone]

    def newcomers(self, labels: list[Any], codes: np.ndarray, values: np.ndarray) -> Newcomers:
        """Return new categories with their codes."""
        keys = np.array(labels, DTYPES[self.kind])
        return Newcomers(keys, codes, len(self.vocabulary), values)


def _as_kind(kind: str, label: Any) -> Any:
    """Return a label as a value of a kind of input; None where it is none."""
    if kind == "text":
        return label if isinstance(label, str) else None
    if kind not in DTYPES or not isinstance(label, Real) or label != label:
        return None
    if kind == "number":
        return float(label)
    return math.floor(label) if math.floor(label) == label else None


def compared_columns(model: Any) -> list[Compared]:
    """Return the columns whose new categories a model compares with known ones."""
    encoder = model.encoder_
    if isinstance(model, EmbeddingEncoder):
        places = [placing.input for placing in getattr(model, "placings_", [])]
    else:
        expected = [] if model.effects_ is None else model.effects_.expected_
        places = [model.effects_.terms_[one.term][0] for one in expected]
    compared = []
    for order, place in enumerate(places):
        table = encoder.schema.table_names[place]
        vocabulary = encoder.vocabularies_[table]
        alike = likeness_of(table, encoder.schema.tables[table], vocabulary)
        if alike is not None:
            name = encoder.schema.categorical[place].name
            compared.append(Compared(order, place, name, alike, vocabulary))
    return compared


def newcomers_of(model: Any, named: Mapping[str, Sequence[Any]]) -> dict[int, Newcomers]:
    """Return the new categories of each categorical column that a graph knows, by its position.

    Parameters
    ----------
    model : fitted estimator
    named : mapping of column -> sequence
        Categories that are named for the graph.

    Raises
    ------
    ValueError
        A column whose new categories the model does not compare with known ones.
    """
    compared = compared_columns(model)
    names = [one.name for one in compared]
    for name in named:
        if name not in names:
            listed = ", ".join(map(repr, names)) or "none"
            raise ValueError(
                "new_categories must name columns whose new categories the model compares with known "
                f"ones, which are {listed}; got {name!r}."
            )
    newcomers = {}
    for one in compared:
        labels = one.labels(list(named.get(one.name, [])))
        if not labels:
            continue
        is_encoder = isinstance(model, EmbeddingEncoder)
        newcomers[one.place] = (_new_columns if is_encoder else _expected)(model, one, labels)
    return newcomers


def _expected(model: Any, compared: Compared, labels: list[Any]) -> Newcomers:
    """Return labels with the features of their expected effects, as `NewCategories` reads them."""
    expected, alike, n_known = (
        model.effects_.expected_[compared.order],
        compared.alike,
        len(compared.vocabulary),
    )
    same = alike.same(labels)
    is_new = alike.has(labels) & (same < 0)
    new = [label for label, flag in zip(labels, is_new) if flag]
    kept = [label for label, flag in zip(labels, is_new | (same >= 0)) if flag]
    codes = np.where(same >= 0, same + N_SPECIAL, n_known + np.cumsum(is_new) - 1)
    values = np.zeros((0, model.effects_.expected_shape[1]), np.float32)
    if new:
        values = expected.of_new(alike, new).astype(np.float32)
    features = expected.features(values, np.ones(len(new), bool))
    return compared.newcomers(kept, codes[is_new | (same >= 0)], features)


def _new_columns(model: EmbeddingEncoder, compared: Compared, labels: list[Any]) -> Newcomers:
    """Return labels with the new columns of `EmbeddingEncoder.transform`."""
    placing = Placer(model.encoder_, model.placings_).placings[compared.order]
    known = model.by_code_[placing.input]
    values = values_of_new(known, compared.alike, labels, placing.share)
    codes = len(compared.vocabulary) + np.arange(len(labels))
    return compared.newcomers(labels, codes, values)

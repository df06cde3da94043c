"""The effects of a fitted model as a frame: one row for each level, with labels and the unit of y."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from tabemb.data.effects import Effects
from tabemb.data.encoding import Encoder
from tabemb.data.scales import Scale
from tabemb.data.schema import Feature
from tabemb.hints import similar
from tabemb.labels import as_objects
from tabemb.targets import (
    MOST_RESPONSES,
    ClassTarget,
    MultilabelTarget,
    MultioutputClassTarget,
    NumberTarget,
    RelativeTarget,
    Target,
)

KEYS = ("term", "level", "level_2", "level_3", "level_4")
N_KEYS = 3
"""How many of these columns are always there; the others are added for terms of three or four inputs."""
NUMBERS = ("count", "mean", "effect", "error", "strength")
"""Columns of numbers; the columns that name the response are between ``KEYS`` and these."""
RARE = "(rare)"
"""Label of the categories that are read as unknown because their count is below ``min_count``."""
DIGITS = 6
"""Decimals of the bounds of bins, in units of the interquartile range: scaled numbers are float32."""


@dataclass(frozen=True)
class Answers:
    """The responses of a target, with labels and unit as the user knows them.

    Parameters
    ----------
    labels : DataFrame of n_responses rows
        Columns ``target`` and ``class``, if there are several.
    center, scale : ndarray of shape (n_responses,)
        Convert a response to the unit: response * scale + center.
    unit : {"y", "log(y)", "share"}
    """

    labels: pd.DataFrame
    center: np.ndarray
    scale: np.ndarray
    unit: str

    @classmethod
    def of(cls, target: Target) -> Answers:
        """Describe the responses of a fitted target."""
        labels = _labels_of(target)
        if isinstance(target, NumberTarget):
            unit = "log(y)" if isinstance(target, RelativeTarget) else "y"
            return cls(labels, target.center, target.scale, unit)
        return cls(labels, np.zeros(len(labels)), np.ones(len(labels)), "share")


def _labels_of(target: Target) -> pd.DataFrame:
    if isinstance(target, ClassTarget):
        return pd.DataFrame({"class": as_objects(_classes_of(target))})
    if isinstance(target, MultioutputClassTarget):
        by_target = [_classes_of(part) for part in target.targets]
        pairs = [(t, label) for t, labels in enumerate(by_target) for label in labels]
        labels = as_objects(label for _, label in pairs)
        return pd.DataFrame({"target": [t for t, _ in pairs], "class": labels})
    is_single = isinstance(target, NumberTarget) and target.one_dimensional
    if is_single:
        return pd.DataFrame(index=[0])
    assert isinstance(target, NumberTarget | MultilabelTarget)
    return pd.DataFrame({"target": range(target.n_outputs)})


def _classes_of(target: ClassTarget) -> list[Any]:
    """Return the classes whose indicators are responses, as `ClassTarget.responses` orders them."""
    classes: list[Any] = target.classes_.tolist()
    if target.has_many_classes:
        frequent = np.argsort(-target.bias.numpy(), kind="stable")[:MOST_RESPONSES]
        return [classes[c] for c in frequent]
    return classes[1:] if len(classes) == 2 else classes


def effects_frame(
    encoder: Encoder, effects: Effects, target: Target, term: str | None = None
) -> pd.DataFrame:
    """Return the levels of the terms, as `RowEstimator.effects_frame` describes."""
    names, answers = [*term_names(encoder, effects), *word_terms(encoder, effects)], Answers.of(target)
    if term is not None and term not in names:
        near = similar(term, names)
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise ValueError(f"term must be one of the {len(names)} that have effects; got {term!r}.{hint}")
    chosen = [t for t, name in enumerate(names) if term in (None, name)]
    parts = [
        _levels_frame(t, names[t], effects, _labels_of_term(encoder, effects, t), answers)
        for t in chosen
    ]
    frame = _one_frame(parts) if parts else _frame_of([], answers.labels, {})
    frame.attrs["unit"] = answers.unit
    return frame


def term_names(encoder: Encoder, effects: Effects) -> list[str]:
    """Return the name of each term: the names of its inputs, joined by stars."""
    schema = encoder.schema
    features = [feature.name for feature in (*schema.categorical, *schema.numbers)]
    return ["*".join(features[i] for i in effects.inputs_of(term)) for term in effects.terms_]


def word_terms(encoder: Encoder, effects: Effects) -> list[str]:
    """Return the name of each term of words: "column", or "column*column" for neighbouring words."""
    texts = encoder.schema.texts
    return ["*".join([texts[words.text]] * words.length) for words in effects.words_]


def _labels_of_term(encoder: Encoder, effects: Effects, t: int) -> list[np.ndarray]:
    """Return the labels of the levels of each input of a term."""
    if t < len(effects.terms_):
        return [_labels_of_input(encoder, effects, i) for i in effects.terms_[t]]
    words = effects.words_[t - len(effects.terms_)]
    column = encoder.schema.texts[words.text]
    (table,) = encoder.schema.tables_of([Feature(column, column)])
    return [_labels_of_table(encoder, table)] * words.length


def _labels_of_input(encoder: Encoder, effects: Effects, i: int) -> np.ndarray:
    """Return the label of each level of an input: categories by code, or intervals by bin."""
    tables = encoder.schema.table_names
    if i < len(tables):
        return _labels_of_table(encoder, tables[i])
    number, levels = i - len(tables), effects.levels_
    bounds = [*levels.bounds, *levels.wide_bounds][number]
    scale = encoder.scales_[number % len(levels.bounds)]
    return as_objects([None, *_intervals(scale, bounds)])


def _labels_of_table(encoder: Encoder, table: str) -> np.ndarray:
    return as_objects([RARE, None, *encoder.vocabularies_[table].row_labels()])


def _intervals(scale: Scale, bounds: np.ndarray) -> list[pd.Interval]:
    """Return the bins of a number in its unit; the first and the last have no bound outwards."""
    with np.errstate(all="ignore"):  # very large numbers overflow
        inner = bounds[:-1].astype(float) * scale.unit + scale.center
        rounded = np.round(inner, DIGITS - int(np.ceil(np.log10(scale.unit))))
    if np.isfinite(rounded).all() and len(np.unique(rounded)) == len(inner):
        inner = rounded + 0.0  # turns -0.0 into 0.0
    return [pd.Interval(*ends) for ends in pairwise([-np.inf, *inner.tolist(), np.inf])]


def _levels_frame(
    t: int, name: str, effects: Effects, labels: list[np.ndarray], answers: Answers
) -> pd.DataFrame:
    """Return one row for each level of a term and each response that has effects."""
    part, responses = effects.levels_of(t), effects.responses_
    n_levels, n_responses = part.effects.shape
    rows, shown = np.repeat(np.arange(n_levels), n_responses), np.tile(responses, n_levels)
    first, *more = (names[levels[rows]] for names, levels in zip(labels, part.levels.T))
    scale, unit = answers.scale[responses], effects.unit_ * np.ones(n_responses)
    center = effects.mean_ * scale + answers.center[responses]
    means = part.means * unit * scale + center
    if answers.unit == "share":  # rounding errors may leave the bounds
        means = np.clip(means, 0, 1)
    numbers = {
        "count": part.counts[rows],
        "mean": means.ravel(),
        "effect": (part.effects * unit * scale).ravel(),
        "error": (part.errors * unit * scale).ravel(),
        "strength": np.full(len(rows), part.strength),
    }
    keys = [np.full(len(rows), name, object), first, *more]
    return _frame_of(keys, answers.labels.iloc[shown], numbers)


def _one_frame(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """Return the rows of all terms, with the columns of the widest; levels not in use are None."""
    widest = max(parts, key=lambda part: part.shape[1])
    filled = [part.reindex(columns=widest.columns) for part in parts]
    frame = pd.concat(filled, ignore_index=True)
    for name in set(KEYS) & set(frame):
        frame[name] = frame[name].where(frame[name].notna(), None)
    return frame


def _frame_of(
    keys: Sequence[np.ndarray], answer: pd.DataFrame, numbers: Mapping[str, np.ndarray]
) -> pd.DataFrame:
    n_rows = len(keys[0]) if keys else 0
    answer = answer.iloc[:n_rows]
    n_keys = max(len(keys), N_KEYS)
    empty = [np.full(n_rows, None, object)] * (n_keys - len(keys))
    columns: dict[str, pd.Series] = {
        name: pd.Series(column, dtype=object) for name, column in zip(KEYS[:n_keys], (*keys, *empty))
    }
    columns |= {str(name): answer[name].reset_index(drop=True) for name in answer}
    columns |= {name: pd.Series(numbers.get(name, np.zeros(0))) for name in NUMBERS}
    return pd.DataFrame(columns)

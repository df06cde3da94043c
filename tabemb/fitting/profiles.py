"""The values of each input of encoded rows: profiles of training rows, and the drift of later ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tabemb.data.clustering import Clustering
from tabemb.data.effects import Effects
from tabemb.data.encoding import Encoder, Inputs
from tabemb.data.schema import BINS
from tabemb.drift.profiles import Profile
from tabemb.drift.shifts import Shift, shift_of
from tabemb.drift.vectors import VectorProfile
from tabemb.fitting.checks import Rows
from tabemb.network.inputs import Ragged, RowInputs
from tabemb.targets import Target


class InputValues(NamedTuple):
    """The values of one input: codes of a category or of a field of events, or numbers.

    ``weights`` (n,) sum to the number of independent rows; ``n_codes`` is None for numbers. Categories
    with fewer rows than ``min_count`` are unknown.
    """

    name: str
    values: np.ndarray
    weights: np.ndarray
    n_codes: int | None
    min_count: float = 1.0


def profiles_of(encoder: Encoder, inputs: RowInputs, weights: np.ndarray) -> dict[str, Profile]:
    """Return the profile of each input of training rows, which have these weights (n_rows,)."""
    return {one.name: _profile(one) for one in values_of(encoder, inputs, weights)}


def grown_profiles(
    profiles: dict[str, Profile], encoder: Encoder, inputs: RowInputs, weights: np.ndarray
) -> dict[str, Profile]:
    """Return the profiles with later rows added, which the encoder already counts."""
    return {
        one.name: profiles[one.name].grown(one.values, one.weights, one.n_codes)
        for one in values_of(encoder, inputs, weights)
    }


def vector_profiles_of(
    encoder: Encoder, inputs: RowInputs, weights: np.ndarray, groups: np.ndarray | None
) -> dict[str, VectorProfile]:
    """Return the profile of each column of vectors that has enough vectors."""
    columns = zip(encoder.schema.vectors, inputs.vectors)
    profiles = {name: VectorProfile.of(v.numpy(force=True), weights, groups) for name, v in columns}
    return {name: profile for name, profile in profiles.items() if profile is not None}


def shifts_of(
    profiles: dict[str, Profile],
    encoder: Encoder,
    inputs: RowInputs,
    weights: np.ndarray,
    of_vectors: dict[str, VectorProfile],
) -> dict[str, Shift]:
    """Return how each input of later rows differs from its profile."""
    shifts = {
        one.name: shift_of(profiles[one.name], one.values, one.weights)
        for one in values_of(encoder, inputs, weights)
    }
    for name, vectors in zip(encoder.schema.vectors, inputs.vectors):
        if name in of_vectors:
            shifts |= of_vectors[name].shifts(name, vectors.numpy(force=True), weights)
    return shifts


def clustering_of(
    effects: Effects | None,
    inputs: RowInputs,
    target: Target,
    rows: Rows,
    groups: np.ndarray | None,
) -> Clustering | None:
    """Return how similar the training targets of a group are; None if rows are independent."""
    if effects is None or groups is None or not len(effects.responses_):
        return None
    codes, numbers = (part.numpy(force=True) for part in (inputs.codes, inputs.numbers))
    return Clustering.of(effects, codes, numbers, effects.center(target.responses(rows.y)), groups)


def row_weights(weights: np.ndarray | None, groups: np.ndarray | None, n_rows: int) -> np.ndarray:
    """Return weights that count each independent row as one, and rows of weight zero as zero.

    The rows of a group, such as the events of an entity, count as one row together.
    """
    counted = np.ones(n_rows) if weights is None else (np.asarray(weights) > 0).astype(float)
    if groups is None:
        return counted
    sizes = np.bincount(groups, counted)
    return np.asarray(counted / np.maximum(sizes[groups], 1))


def values_of(encoder: Encoder, inputs: RowInputs, weights: np.ndarray) -> Iterator[InputValues]:
    """Yield the values of each input of rows, and of the events of their histories.

    All events of a row together count as much as the row. Rows that are events themselves have no
    history of their own.
    """
    codes, numbers = (part.numpy(force=True) for part in (inputs.codes, inputs.numbers))
    yield from _of_part(encoder, encoder.inputs_[0], codes, numbers, weights)
    parts = zip(encoder.schema.histories, encoder.inputs_[1:], inputs.histories)
    for name, part, history in parts:
        if not isinstance(history, Ragged):
            continue
        counts = history.event_offsets.diff().numpy(force=True)
        yield InputValues(f"number of {name}", counts.astype(float), weights, None)
        of_events = np.repeat(weights / np.maximum(counts, 1), counts)
        codes, numbers = (each.numpy(force=True) for each in (history.codes, history.numbers))
        yield from _of_part(encoder, part, codes, numbers, of_events)


def _of_part(
    encoder: Encoder, part: Inputs, codes: np.ndarray, numbers: np.ndarray, weights: np.ndarray
) -> Iterator[InputValues]:
    names = encoder.schema.tables_of(part.schema.categorical)
    for column, feature, name in zip(codes.T, part.schema.categorical, names):
        if feature.part == BINS:  # the number itself is an input too
            continue
        of_table = encoder.schema.tables[name].min_count
        min_count = encoder.min_count if of_table is None else of_table
        n_codes = len(encoder.vocabularies_[name])
        yield InputValues(feature.name, column, weights, n_codes, min_count)
    for column, feature in zip(numbers.T, part.schema.numbers):
        yield InputValues(feature.name, column, weights, None)


def _profile(one: InputValues) -> Profile:
    if one.n_codes is None:
        return Profile.of_numbers(one.values, one.weights)
    return Profile.of_codes(one.values, one.n_codes, one.weights, one.min_count)

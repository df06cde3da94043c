"""Responses: the outputs of a network when each category in turn is put into reference rows.

The vectors of a table can be rotated, and biases and effects can replace a part of them, so they differ
from seed to seed. The *outputs* for a category do not: they combine its effects, biases, vectors and
interactions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from tabemb.data.vocabulary import N_SPECIAL, Vocabulary
from tabemb.fitting.dependence import Dependents
from tabemb.fitting.fitted import Fitted
from tabemb.fitting.networks import TYPICAL_STRENGTH, raw_spaces, space_of
from tabemb.fitting.placing import with_descriptions
from tabemb.network.inputs import Ragged, RowInputs
from tabemb.network.model import Output
from tabemb.spaces.collection import Spaces
from tabemb.spaces.space import EmbeddingSpace
from tabemb.targets import ClassTarget
from tabemb.training.threads import threads

N_REFERENCE = 64
"""Reference rows of a fit."""
FEWEST_REFERENCE = 8
"""Reference rows of a column with very many categories; 32 rows agree nearly as well as 64."""
MOST_ROWS = 200_000
"""Rows to predict for a column; with more categories there are fewer reference rows."""
AT_ONCE = 2**16
"""Rows that are predicted at a time."""
NEWEST = 20
"""Events of a reference history: older events hardly change the outputs, but cost as much."""
N_SAMPLE = 1000
"""Most frequent categories, which measure the variance between members along the axes."""
MOST_AXES = 32
SAME = 2.0
"""Number of categories that are assumed unchanged when the scale of an axis is measured again."""
FAR = 3.0
"""Distance from which a category counts less in this scale, in units of the median distance."""
N_SLOPES = 5
"""Rounds of reweighting, after which a slope hardly changes."""
SMALLEST_AXIS = 1e-4
"""Share of the variance below which an axis is left out."""
MEMBER_SHARE = 0.25
"""Variance of the members' mean, in units of the variance between members: they share most weights, so
eight of them are worth about four networks."""
NOTHING = Dependents({}, {})
"""Dependents of a column that no other column depends on."""


@dataclass(frozen=True)
class Axes:
    """Axes that turn responses into vectors, and make vectors of later model versions comparable.

    Attributes
    ----------
    n_rows : int
        Number of reference rows.
    weights : ndarray of shape (n_categories,)
        Weights of the mean that is subtracted; they sum to one. Later categories have weight zero.
    axes : ndarray of shape (n_answers, d)
        Each is divided by the square root of the standard deviation along it.
    vectors : ndarray of shape (n_categories, d), optional
        Vectors of the first fit along these axes; None: the axes stay unchanged.
    """

    n_rows: int
    weights: np.ndarray
    axes: np.ndarray
    vectors: np.ndarray | None = None

    def following(self, means: np.ndarray) -> np.ndarray:
        """Return the axes for responses of a later version of the model, (n_answers, d).

        Each axis is multiplied by the slope of a regression along it, of the first vectors on the
        present ones, over the categories of the first fit. Outputs grow as a model becomes more certain,
        and the noise along an axis changes. `SAME` categories that are assumed unchanged pull the slope
        to one. Categories that have moved far count less (Huber 1964), so that they do not move all
        others.

        Parameters
        ----------
        means : ndarray of shape (n_categories, n_answers)
            Present responses.
        """
        if self.vectors is None:
            return self.axes
        now = means[: len(self.vectors)] @ self.axes
        stayed = SAME * np.square(self.weights).sum() * (self.weights @ np.square(self.vectors))
        slopes = np.ones(now.shape[1])
        for _ in range(N_SLOPES):
            distance = np.abs(self.vectors - slopes * now)
            near = FAR * np.median(distance, axis=0) / np.maximum(distance, 1e-300)
            weights = self.weights[:, None] * np.minimum(near, 1)
            products, squares = (weights * now * self.vectors).sum(0), (weights * now**2).sum(0)
            slopes = (products + stayed) / np.maximum(squares + stayed, 1e-300)
        return np.asarray(self.axes * slopes)

    def weights_of(self, n_categories: int) -> np.ndarray:
        """Return the weights, padded with zeros for later categories."""
        return np.pad(self.weights, (0, n_categories - len(self.weights)))


@dataclass(frozen=True)
class Responses:
    """The responses of one table's categories.

    Attributes
    ----------
    vectors : ndarray of shape (n_categories, d), float32
        The axes are ordered by falling variance.
    reliability : ndarray of shape (n_categories,)
        Share of the squared length of each vector that is not noise, from 0 to 1.
    axes : Axes
    """

    vectors: np.ndarray
    reliability: np.ndarray
    axes: Axes


@dataclass(frozen=True)
class Reference:
    """Rows that categories are put into.

    Attributes
    ----------
    rows : RowInputs
        Some training rows, without effects.
    dependents : list of Dependents
        What depends on each categorical column of the rows; empty: nothing.
    axes : mapping of table -> Axes, optional
        Axes of an earlier version of the model, which this version uses; None: each version finds new
        ones.
    """

    rows: RowInputs
    dependents: list[Dependents]
    axes: Mapping[str, Axes] | None = None


@dataclass(frozen=True)
class Place:
    """Where a category is put: a column of the rows, or a field of the last event of a history."""

    history: int | None
    column: int
    dependents: Dependents = NOTHING


def reference_rows(inputs: RowInputs) -> Tensor:
    """Return the positions of the reference rows: the same ones for each seed."""
    generator = np.random.default_rng(0)
    rows = generator.choice(len(inputs), min(N_REFERENCE, len(inputs)), replace=False)
    return torch.from_numpy(np.sort(rows))


def with_newest(inputs: RowInputs) -> RowInputs:
    """Return rows whose histories are cut to their newest events."""
    histories = (h.newest(NEWEST) if isinstance(h, Ragged) else h for h in inputs.histories)
    return replace(inputs, histories=tuple(histories))


def spaces_of(
    fitted: Fitted,
    reference: Reference | None,
    n_jobs: int | None,
    ancestry: tuple[str, ...] = (),
) -> Spaces:
    """Return the responses of every table by category, together with the rows of the tables.

    A table's rows replace its responses if only the kept states of sequences have read the table, or if
    there are no reference rows. ``ancestry`` are the versions of the model.
    """
    with threads(n_jobs):
        raw = raw_spaces(fitted.encoder, fitted.network)

    def compute(table: str) -> EmbeddingSpace:
        with threads(n_jobs):
            responses = None if reference is None else responses_of(fitted, reference, table)
        if responses is None:
            return raw[table]
        vocabulary = fitted.encoder.vocabularies_[table]
        space = space_of(table, vocabulary, responses.vectors, responses.reliability, ancestry)
        return with_descriptions(space, fitted.encoder.schema.tables[table])

    return Spaces(raw, compute)


def axes_of(fitted: Fitted, reference: Reference) -> dict[str, Axes]:
    """Return the axes of each table that has responses, with the vectors along them."""
    tables = {name: responses_of(fitted, reference, name) for name in fitted.encoder.vocabularies_}
    return {
        name: replace(responses.axes, vectors=responses.vectors)
        for name, responses in tables.items()
        if responses is not None
    }


def responses_of(fitted: Fitted, reference: Reference, table: str) -> Responses | None:
    """Return the responses of the categories of a table.

    Each category is put into each reference row, in every column that reads the table, and the columns
    that depend on it change too. Its response is the output averaged over members, minus the mean over
    categories. The leading axes of the responses are kept. Each is scaled to the square root of its
    standard deviation, so that interactions count in addition to the main effect.

    Parameters
    ----------
    fitted : Fitted
    reference : Reference
    table : str

    Returns
    -------
    Responses or None
        None for a table that only the kept states of sequences have read.
    """
    vocabulary = fitted.encoder.vocabularies_[table]
    places = _places(fitted, table, reference.dependents)
    counts = np.maximum(vocabulary.counts[vocabulary.kept], 0)
    n_rows = int(np.clip(MOST_ROWS // len(vocabulary), FEWEST_REFERENCE, len(reference.rows)))
    weights = counts / counts.sum() if counts.sum() else np.full(len(counts), 1 / max(len(counts), 1))
    axes = None if reference.axes is None else reference.axes.get(table)
    if axes is not None:
        n_rows, weights = axes.n_rows, axes.weights_of(len(counts))
    parts = [
        part
        for place in places
        if (part := _measured(fitted, reference.rows, place, vocabulary, n_rows, weights))
    ]
    if not parts:
        return None
    means = np.concatenate([part.means for part in parts], axis=1)
    sample = np.concatenate([part.sample for part in parts], axis=2)
    spread = np.mean([part.spread for part in parts], axis=0)
    if axes is None:
        axes = _axes_of_means(means, counts, n_rows, weights)
    return _reduced(means, sample, spread, counts, _strength(fitted, places), axes)


def answers_of(
    fitted: Fitted, reference: Reference, table: str, codes: np.ndarray, part: Callable[[Output], Tensor]
) -> np.ndarray:
    """Return the outputs for codes of a table that columns of the rows read, (n_codes, n_answers).

    Parameters
    ----------
    fitted : Fitted
    reference : Reference
        Each code is put into its rows, in every column that reads the table.
    table : str
    codes : ndarray of shape (n_codes,)
    part : callable
        Takes the `Output` of some rows and returns what is compared, (n, n_members, n_outputs).
    """
    of_places = [
        np.concatenate([o.mean(1) for o in _outputs(fitted, reference.rows, place, codes, part)])
        for place in _places(fitted, table, reference.dependents)
    ]
    return np.concatenate(of_places, axis=1)


def _places(fitted: Fitted, table: str, dependents: list[Dependents]) -> list[Place]:
    """Return the columns of rows that read the table; without any, the fields of events that do."""
    encoder = fitted.encoder
    places = [
        Place(None if i == 0 else i - 1, column)
        for i, inputs in enumerate(encoder.inputs_)
        for column, name in enumerate(encoder.schema.tables_of(inputs.schema.categorical))
        if name == table
    ]
    in_rows = [place for place in places if place.history is None]
    if dependents:
        in_rows = [replace(place, dependents=dependents[place.column]) for place in in_rows]
    return in_rows or places


def _strength(fitted: Fitted, places: list[Place]) -> float:
    """Return the strength of shrinkage of the columns' effects: their noise in units of the signal."""
    columns = [place.column for place in places if place.history is None]
    if fitted.effects is None or not columns:
        return TYPICAL_STRENGTH
    return float(np.mean(fitted.effects.input_strength_[columns]))


@dataclass(frozen=True)
class _Measured:
    """The outputs for the categories of one place, centred over the categories.

    means  : (n_categories, n_rows x n_outputs), over members
    spread : (n_categories,), the variance between members, summed over rows and outputs
    sample : (n_sampled, n_members, n_rows x n_outputs), of some categories
    """

    means: np.ndarray
    spread: np.ndarray
    sample: np.ndarray


def _measured(
    fitted: Fitted,
    reference: RowInputs,
    place: Place,
    vocabulary: Vocabulary,
    n_rows: int,
    weights: np.ndarray,
) -> _Measured | None:
    rows = _usable(reference, place)
    if rows is None or not len(vocabulary.categories):
        return None
    rows = rows.take(torch.arange(min(n_rows, len(rows))))
    counts = np.maximum(vocabulary.counts[vocabulary.kept], 0)
    frequent = np.sort(np.argsort(-counts, kind="stable")[:N_SAMPLE])
    part = _part(fitted)
    sample = np.concatenate(list(_outputs(fitted, rows, place, frequent + N_SPECIAL, part)))
    center = np.average(sample, axis=0, weights=weights[frequent] + 1e-12)
    others = np.setdiff1d(np.arange(len(counts)), frequent)
    blocks = chain([sample], _outputs(fitted, rows, place, others + N_SPECIAL, part))
    means, spread = zip(*((b.mean(1), _variance(b - center).sum(1)) for b in blocks))
    back = np.argsort(np.concatenate([frequent, others]))
    joined = np.concatenate(means)[back]
    return _Measured(joined - weights @ joined, np.concatenate(spread)[back], sample - center)


def _variance(outputs: np.ndarray) -> np.ndarray:
    """Return the variance between members, (n, n_members, d) -> (n, d); zero for one member."""
    if outputs.shape[1] == 1:
        return np.zeros((len(outputs), outputs.shape[2]), outputs.dtype)
    variance: np.ndarray = outputs.var(axis=1, ddof=1)
    return variance


def _usable(reference: RowInputs, place: Place) -> RowInputs | None:
    """Return the reference rows in which the place exists; None if there are none."""
    if place.history is None:
        return reference
    history = reference.histories[place.history]
    if not isinstance(history, Ragged):
        return None
    has_events = torch.nonzero(history.event_offsets.diff()).flatten()
    return reference.take(has_events) if len(has_events) else None


def _outputs(
    fitted: Fitted, rows: RowInputs, place: Place, codes: np.ndarray, part: Callable[[Output], Tensor]
) -> Iterator[np.ndarray]:
    """Yield the outputs of codes in the reference rows, (n, n_members, n_rows x n_outputs)."""
    step = max(1, AT_ONCE // len(rows))
    for start in range(0, len(codes), step):
        put = torch.from_numpy(codes[start : start + step])
        outputs = fitted.outputs_of(_put(rows, place, put), part).float().numpy(force=True)
        by_row = outputs.reshape(len(put), len(rows), *outputs.shape[1:])
        yield by_row.transpose(0, 2, 1, 3).reshape(len(put), outputs.shape[1], -1)


def _put(rows: RowInputs, place: Place, codes: Tensor) -> RowInputs:
    """Return all rows for each code, with the code in its place."""
    positions = torch.arange(len(rows)).repeat(len(codes))
    inputs, code = rows.take(positions), codes.repeat_interleave(len(rows)).int()
    if place.history is None:  # `take` has copied codes and numbers
        place.dependents.follow(inputs, inputs.codes[:, place.column], code)
        inputs.codes[:, place.column] = code
        return inputs
    history = inputs.histories[place.history]
    assert isinstance(history, Ragged)
    history.codes[history.event_offsets[1:] - 1, place.column] = code
    return inputs


def _part(fitted: Fitted) -> Callable[[Output], Tensor]:
    """Return the part of the output that is compared: the last hidden layer for very many classes."""
    if fitted.target.has_many_classes:
        return lambda output: output.hidden
    if isinstance(fitted.target, ClassTarget):  # only differences between the classes count
        return lambda output: output.outputs - output.outputs.mean(-1, keepdim=True)
    return lambda output: output.outputs


def _axes_of_means(means: np.ndarray, counts: np.ndarray, n_rows: int, weights: np.ndarray) -> Axes:
    """Return the leading axes of centred responses, scaled so that interactions count."""
    shares = (counts / max(counts.sum(), 1e-300)).astype(np.float32)
    variances, axes = leading_axes(means, shares)
    return Axes(n_rows, weights, axes / np.sqrt(np.sqrt(variances)))


def _reduced(
    means: np.ndarray,
    sample: np.ndarray,
    spread: np.ndarray,
    counts: np.ndarray,
    strength: float,
    axes: Axes,
) -> Responses:
    """Return centred responses along the axes, with their reliability."""
    if not axes.axes.shape[1]:
        return Responses(np.zeros((len(means), 1), np.float32), np.zeros(len(means)), axes)
    along = axes.following(means)
    vectors = means @ along
    noise = _noise(vectors, _variance(sample @ along), spread, counts, strength).sum(1)
    lengths = np.square(vectors).sum(1)
    reliability = lengths / np.maximum(lengths + noise, 1e-300)
    return Responses(vectors.astype(np.float32), reliability, axes)


def leading_axes(means: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest variances of centred responses, (d,), and their axes, (n_answers, d)."""
    variances, axes = np.linalg.eigh((means * weights[:, None]).T @ means)
    order = np.argsort(-variances)[:MOST_AXES]
    order = order[variances[order] > SMALLEST_AXIS * max(variances.sum(), 1e-300)]
    return variances[order], axes[:, order] * _signs(axes[:, order])


def _signs(axes: np.ndarray) -> np.ndarray:
    """Return signs for the axes, so that larger values along an axis mean larger outputs."""
    return np.where(axes.sum(0) < 0, -1.0, 1.0).astype(axes.dtype)


def _noise(
    vectors: np.ndarray, sampled: np.ndarray, spread: np.ndarray, counts: np.ndarray, strength: float
) -> np.ndarray:
    """Return the variance of the noise along each axis, (n_categories, d).

    It is the variance of a random effect with this many rows, plus that of the members' mean.
    """
    share = (counts / (counts + strength))[:, None]  # of the variance that rows explain
    weights = (counts / max(counts.sum(), 1e-300))[:, None]
    signal = (weights * np.square(vectors)).sum(0) / max(float((weights * share).sum()), 1e-9)
    by_axis = sampled.mean(0)
    relative = spread / max(float(spread.mean()), 1e-300)
    return np.asarray((1 - share) * signal + MEMBER_SHARE * relative[:, None] * by_axis)

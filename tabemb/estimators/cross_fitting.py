"""Vectors and effects of categories by fold, each fitted on the rows outside the fold."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from joblib import Parallel, cpu_count, delayed, effective_n_jobs
from sklearn.base import clone
from sklearn.model_selection import RepeatedKFold, RepeatedStratifiedKFold, check_cv
from sklearn.utils.metadata_routing import get_routing_for_object
from torch import Tensor

from tabemb.data.notes import note_doubts
from tabemb.data.pairs import PairCodes, choose_pairs, tried_rows
from tabemb.data.schema import Table, roles_of
from tabemb.data.shrinkage import shrunken_means
from tabemb.data.vocabulary import N_SPECIAL, UNKNOWN, Vocabulary
from tabemb.estimators.agreement import by_agreement
from tabemb.estimators.by_code import Placer, fill_absent, values_of_new
from tabemb.estimators.rows import EmbeddingClassifier, EmbeddingRegressor
from tabemb.fitting.checks import Rows
from tabemb.fitting.dependence import Dependents
from tabemb.fitting.fitted import Fitted
from tabemb.fitting.placing import likeness_of
from tabemb.fitting.responses import FEWEST_REFERENCE, Reference, answers_of
from tabemb.labels import distinct, names_of, readable
from tabemb.names import safe_names
from tabemb.network.model import Output
from tabemb.progress import quiet
from tabemb.targets import Target, class_target
from tabemb.training.threads import MOST_THREADS, threads

MOST_REFERENCE = 32
"""Largest number of reference rows, in which the networks answer for each category."""
MOST_ANSWERS = 16
"""Most answers of a network for each of its training rows: they cost as much as a few epochs."""
MOST_WIDTH = 1024
"""Most answers for a category; the time to find their axes grows with the cube of their number."""
START_SECONDS = 15
"""A shorter time limit is spent in one process: new processes need some seconds to start."""
LEAST_TIME = 1e-3
"""Seconds for the last folds when the time is used up: enough for one step of training."""
LEAST_UNIT = 1e-9
"""A smaller standard deviation is a rounding error."""


class Fold(NamedTuple):
    """Positions of the rows outside a fold, and of those in it."""

    train: np.ndarray
    held_out: np.ndarray


def make_folds(
    cv: Any,
    n_repeats: int,
    y: np.ndarray,
    is_continuous: bool,
    seed: int,
    groups: np.ndarray | None = None,
) -> list[Fold]:
    """Return the folds that ``cv`` describes.

    Raises
    ------
    ValueError
        A row is never held out, y has a single class outside a fold, or ``cv`` and ``groups`` do not fit
        together.
    """
    single_class_target = not is_continuous and y.ndim == 1
    readable_y = y if is_continuous else readable(y)
    if isinstance(cv, int | np.integer):
        stratify = single_class_target and np.bincount(distinct(y)[1]).min() >= cv
        repeated = RepeatedStratifiedKFold if stratify else RepeatedKFold
        cv = repeated(n_splits=int(cv), n_repeats=n_repeats, random_state=seed)
    splitter = check_cv(cv)
    _check_groups(splitter, groups)
    folds = [Fold(*split) for split in splitter.split(np.zeros((len(y), 1)), readable_y, groups)]
    times = times_held_out(folds, len(y))
    if not times.all():
        raise ValueError(f"cv must hold out each row at least once; row {int(times.argmin())} never is.")
    for k, fold in enumerate(folds):
        classes = distinct(y[fold.train])[0].tolist() if single_class_target else []
        if len(classes) == 1:
            raise ValueError(
                f"y holds only one class, {classes[0]!r}, outside fold {k} of cv; take fewer folds."
            )
    return folds


def reads_groups(cv: Any) -> bool:
    """Return whether a splitter of scikit-learn needs groups."""
    return bool(get_routing_for_object(cv).consumes("split", ["groups"]))


def _check_groups(splitter: Any, groups: np.ndarray | None) -> None:
    if not hasattr(splitter, "get_metadata_routing"):
        return  # whether a splitter of the user needs groups is not known
    if reads_groups(splitter) and groups is None:
        raise ValueError(
            f"cv={splitter!r:.60} needs groups; pass groups=... to fit and fit_transform, through a "
            "pipeline with sklearn.set_config(enable_metadata_routing=True)."
        )
    if groups is not None and not reads_groups(splitter):
        raise ValueError(
            f"groups goes with a cv that reads it, such as GroupKFold(); got cv={splitter!r:.60}."
        )


def times_held_out(folds: Sequence[Fold], n_rows: int) -> np.ndarray:
    """Return how often each row is held out, (n_rows,)."""
    return np.bincount(np.concatenate([fold.held_out for fold in folds]), minlength=n_rows)


@dataclass(frozen=True)
class FoldVectors:
    """Vectors by table, on common axes and in one unit.

    Parameters
    ----------
    by_fold : list of dict of table name -> ndarray of shape (n_codes, n_axes)
        Fitted on the rows outside each fold; empty without networks.
    mean : dict of table name -> ndarray of shape (n_codes, n_axes)
        The mean over the folds.
    agreement : dict of table name -> ndarray of shape (n_axes,)
        How far the networks of different folds agree along each axis.
    reliability : dict of table name -> ndarray of shape (n_codes,)
        Share of the squared length of each mean that is not noise.
    """

    by_fold: list[dict[str, np.ndarray]]
    mean: dict[str, np.ndarray] = field(default_factory=dict)
    agreement: dict[str, np.ndarray] = field(default_factory=dict)
    reliability: dict[str, np.ndarray] = field(default_factory=dict)


class Question(NamedTuple):
    """What the networks of all folds must answer: each category in the same reference rows.

    Parameters
    ----------
    frame : pyarrow.Table
        The reference rows.
    vocabularies : dict of table name -> Vocabulary
    target : Target
        Fitted on all rows.
    shares : mapping of table name -> float
        Total weight of the known categories that a new one resembles, for tables that compare them.
    """

    frame: pa.Table
    vocabularies: Mapping[str, Vocabulary]
    target: Target
    shares: Mapping[str, float]


class Answers(NamedTuple):
    """Answers of a network by code, (n_codes, n_answers), and counts in its rows, (n_codes,)."""

    answers: np.ndarray
    counts: np.ndarray


def fit_vectors(
    estimator: EmbeddingClassifier | EmbeddingRegressor,
    rows: Rows,
    folds: Sequence[Fold],
    placer: Placer,
    codes: np.ndarray,
    n_jobs: int | None,
) -> FoldVectors:
    """Fit one network on the rows outside each fold, and compute its answers for each category.

    All networks answer in the same rows, and their answers are put on common axes.

    Parameters
    ----------
    estimator : EmbeddingClassifier or EmbeddingRegressor
        Cloned for each fold. Its ``max_time`` limits all folds together.
    rows : Rows
    folds : sequence of Fold
    placer : Placer
        The vocabularies of its encoder give the codes of the vectors. For a category that a network has
        not seen, it mixes the answers for similar categories.
    codes : ndarray of shape (n_rows, n_columns)
    n_jobs : int, optional
        Number of folds fitted at the same time.
    """
    encoder = placer.encoder
    vocabularies = encoder.vocabularies_
    note_doubts(rows.frame, estimator.roles, estimator.tables, stacklevel=5)
    # each fold has the roles that are inferred from all rows, and gives no further note
    roles = dict(roles_of(rows.frame, estimator.roles)) | dict(estimator.roles or {})
    tables = None if estimator.tables is None else _with_hashed_rows(estimator.tables, vocabularies)
    estimator.set_params(roles=roles, tables=tables)
    question = _question(estimator, rows, placer)
    n_jobs = min(effective_n_jobs(n_jobs), len(folds), max(MOST_THREADS, cpu_count()))
    if estimator.max_time is not None and estimator.max_time < START_SECONDS:
        n_jobs = 1
    n_rounds = [-(-n_left // n_jobs) for n_left in range(len(folds), 0, -1)]
    end = None if estimator.max_time is None else time.time() + estimator.max_time
    fitted = Parallel(n_jobs, prefer="processes" if _has_temporary_folder() else "threads")(
        delayed(_fit_fold)(estimator, rows.take(np.asarray(fold.train)), question, end, n)
        for fold, n in zip(folds, n_rounds)
    )
    n_held_out = sum(len(fold.held_out) for fold in folds)
    n_jackknife = sum(len(fold.train) for fold in folds) / max(n_held_out, 1)
    agreed = {}
    for name in vocabularies:
        networks = [by_table[name] for by_table in fitted]
        counts = np.mean([network.counts for network in networks], axis=0)
        agreed[name] = by_agreement([network.answers for network in networks], counts, n_jackknife)
    means = {name: np.mean(table.by_network, axis=0) for name, table in agreed.items()}
    unit = _unit([means[name] for name in encoder.schema.table_names], codes, rows.weights)
    return FoldVectors(
        [
            {name: table.by_network[k] / unit for name, table in agreed.items()}
            for k in range(len(folds))
        ],
        {name: mean / unit for name, mean in means.items()},
        {name: table.agreement for name, table in agreed.items()},
        {name: table.reliability for name, table in agreed.items()},
    )


def _with_hashed_rows(
    tables: Mapping[str, Table], vocabularies: Mapping[str, Vocabulary]
) -> dict[str, Table]:
    """Return tables with as many hashed rows in every fold as the vocabularies of all rows have."""
    n_hashed = {name: vocabulary.n_hashed for name, vocabulary in vocabularies.items()}
    return {
        name: replace(table, n_hashed=n_hashed[name]) if n_hashed.get(name) else table
        for name, table in tables.items()
    }


def _question(estimator: Any, rows: Rows, placer: Placer) -> Question:
    """Return reference rows, and the target fitted on all rows.

    There are fewer reference rows if there are more categories, or more answers in each row.
    """
    encoder = placer.encoder
    used, vocabularies = rows.with_weight(), encoder.vocabularies_
    target: Target = estimator._new_target(used.y).fit(used.y, used.weights)
    n_outputs = target.as_outputs_of(target, torch.zeros(1, target.n_outputs)).shape[1]
    n_places = max(Counter(encoder.schema.table_names).values())
    n_codes = sum(len(vocabulary) for vocabulary in vocabularies.values())
    n_rows = int(np.clip(MOST_ANSWERS * len(used) // n_codes, FEWEST_REFERENCE, MOST_REFERENCE))
    n_rows = max(1, min(n_rows, MOST_WIDTH // (n_outputs * n_places), len(used)))
    chosen = np.random.default_rng(0).choice(len(used), n_rows, replace=False)
    placings = {name: placer.of_table(name) for name in vocabularies}
    shares = {name: placing.share for name, placing in placings.items() if placing is not None}
    return Question(used.take(np.sort(chosen)).frame, vocabularies, target, shares)


def _has_temporary_folder() -> bool:
    """Return whether there is a folder through which joblib can pass arrays to processes."""
    try:
        return bool(tempfile.gettempdir())
    except FileNotFoundError:
        return False


def _fit_fold(
    estimator: Any, rows: Rows, question: Question, end: float | None, n_rounds: int
) -> dict[str, Answers]:
    """Fit one fold; the remaining rounds share the time until ``end`` equally."""
    estimator = clone(estimator)
    if end is not None:
        estimator.set_params(max_time=max(end - time.time(), LEAST_TIME) / n_rounds)
    with quiet():
        estimator.fit(rows.frame, rows.y, sample_weight=rows.weights)
    with threads(estimator.n_jobs):
        # only numbers follow a category: the next model has the vectors of other categories too
        dependents = [Dependents({}, d.numbers) for d in estimator.reference_.dependents]
        return _answers(estimator._fitted, dependents, question)


def _answers(fitted: Fitted, dependents: list[Dependents], question: Question) -> dict[str, Answers]:
    """Return the answers for the codes of each vocabulary.

    A category that the network has not seen gets the answer for new ones, and the count zero.
    """

    def compared(output: Output) -> Tensor:
        return fitted.target.as_outputs_of(question.target, output.outputs)

    rows = fitted.source.encode_new(fitted.encoder, question.frame)
    reference = Reference(rows, dependents)
    by_table = {}
    for name, vocabulary in question.vocabularies.items():
        known = fitted.encoder.vocabularies_[name]
        codes = known.codes_of(vocabulary)
        answers = answers_of(fitted, reference, name, np.arange(len(known)), compared)
        counts = np.where(codes == UNKNOWN, 0.0, known.counts[codes])
        of_codes = answers[codes]
        new = np.flatnonzero(codes[N_SPECIAL:] == UNKNOWN)
        alike = likeness_of(name, fitted.encoder.schema.tables[name], known)
        if name in question.shares and len(new) and alike is not None:
            labels = vocabulary.labels()[new].tolist()
            placed = values_of_new(answers, alike, labels, question.shares[name])
            of_codes[new + N_SPECIAL] = placed
        by_table[name] = Answers(of_codes / np.sqrt(answers.shape[1]), counts)
    return by_table


def _unit(vectors: Sequence[np.ndarray], codes: np.ndarray, weights: np.ndarray | None) -> float:
    """Return the unit in which vectors vary by one over the rows, on average over the columns.

    All columns have one unit: columns that matter more to the target keep longer vectors, and so matter
    more to distances between rows.
    """
    variances = [_variance(table[column], weights) for table, column in zip(vectors, codes.T)]
    unit = float(np.mean(variances)) ** 0.5
    return unit if unit > LEAST_UNIT else 1.0  # below it, all rows have the same codes


def _variance(values: np.ndarray, weights: np.ndarray | None) -> float:
    """Return the mean squared distance of rows, (n_rows, n_axes), from their mean."""
    distances = np.square(values - np.average(values, axis=0, weights=weights))
    return float(np.average(distances, axis=0, weights=weights).sum())


@dataclass(frozen=True)
class FoldEffects:
    """Effects of the codes of columns and pairs.

    Parameters
    ----------
    by_fold : list of list of ndarray of shape (n_codes, n_responses)
        For each fold and each column or pair, from the rows outside the fold.
    names : list of str
        Endings of the names of effect columns, one for each response.
    pair_codes : PairCodes
    """

    by_fold: list[list[np.ndarray]]
    names: list[str]
    pair_codes: PairCodes


def no_effects(sizes: Sequence[int], n_folds: int) -> FoldEffects:
    """Return effects without responses, for columns with ``sizes`` codes."""
    empty = [np.zeros((size, 0)) for size in sizes]
    return FoldEffects([empty] * n_folds, [], PairCodes([], []))


def fit_effects(
    rows: Rows,
    is_continuous: bool,
    folds: Sequence[Fold],
    codes: np.ndarray,
    sizes: Sequence[int],
    n_pairs: int,
    generator: np.random.Generator,
    placer: Placer,
) -> FoldEffects:
    """Choose the pairs of columns, and fit effects on the rows outside each fold.

    Parameters
    ----------
    rows : Rows
    is_continuous : bool
    folds : sequence of Fold
    codes : ndarray of shape (n_rows, n_columns)
    sizes : sequence of int
        Number of codes of each column.
    n_pairs : int
        Largest number of pairs.
    generator : Generator
        Draws the rows by which the pairs are chosen, if there are very many.
    placer : Placer
        Gives effects to categories without rows outside a fold.
    """
    responses, names = _responses(rows, is_continuous)
    weights = rows.all_weights
    tried = tried_rows(len(codes), generator)
    centered = responses[tried] - np.average(responses, axis=0, weights=weights)
    pairs = choose_pairs([*codes[tried].T], centered, weights[tried], n_pairs)
    pair_codes = PairCodes.from_codes(codes, pairs)
    codes, sizes = np.hstack([codes, pair_codes(codes)]), [*sizes, *pair_codes.sizes]
    by_fold = [
        [
            shrunken_means(column[fold.train], responses[fold.train], weights[fold.train], size)
            for column, size in zip(codes.T, sizes)
        ]
        for fold in folds
    ]
    for fold, effects in zip(folds, by_fold):
        for placing in placer.placings:
            column, of_column = codes[fold.train, placing.input], effects[placing.input]
            counts = np.bincount(column, weights[fold.train], len(of_column))
            fill_absent(of_column, counts, placer, placing)
    return FoldEffects(by_fold, names, pair_codes)


def values_by_fold(
    vectors: FoldVectors, effects: FoldEffects, table_names: Sequence[str], min_agreement: float
) -> list[list[np.ndarray]]:
    """Return by fold the new values of each code of each column and pair, (n_codes, width).

    Parameters
    ----------
    vectors : FoldVectors
    effects : FoldEffects
    table_names : sequence of str
        The table that each column reads.
    min_agreement : float
        Axes on which the networks agree less are left out, except the first axis of a table.
    """
    axes = {
        name: (agreement >= min_agreement) | (np.arange(len(agreement)) == 0)
        for name, agreement in vectors.agreement.items()
    }
    by_fold = []
    for fold_vectors, fold_effects in zip(vectors.by_fold, effects.by_fold):
        values = [[effect] for effect in fold_effects]
        for parts, name in zip(values, table_names):
            parts += [fold_vectors[name][:, axes[name]]] if fold_vectors else []
        by_fold.append([np.hstack(parts).astype(np.float32) for parts in values])
    return by_fold


def new_names(
    columns: Sequence[str],
    pair_codes: PairCodes,
    effect_names: Sequence[str],
    by_code: Sequence[np.ndarray],
) -> list[str]:
    """Return the names of the new columns: effects, then axes, of each column and pair."""
    pairs = [f"{columns[a]}*{columns[b]}" for a, b in pair_codes.pairs]
    return safe_names(
        f"{name}_{end}"
        for name, values in zip([*columns, *pairs], by_code)
        for end in [*effect_names, *range(values.shape[1] - len(effect_names))]
    )


def answers_of_rows(rows: Rows, is_continuous: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return numbers or indicators of classes, (n_rows, n_responses), and the weights of the rows."""
    return _responses(rows, is_continuous)[0], rows.all_weights


def _responses(rows: Rows, is_continuous: bool) -> tuple[np.ndarray, list[str]]:
    """Return numbers or indicators of classes, (n_rows, n_responses), and names for them."""
    if is_continuous:
        responses, labels = rows.y.reshape(len(rows), -1), None
    else:
        target = class_target(rows.y).fit(rows.y, rows.weights)
        responses, labels = target.responses(rows.y), target.classes_
    n_responses = responses.shape[1]
    if n_responses == 1:
        return responses, ["effect"]
    if rows.y.ndim > 1 or labels is None or len(labels) != n_responses:
        labels = range(n_responses)
    return responses, [f"effect_{name}" for name in names_of(labels)]

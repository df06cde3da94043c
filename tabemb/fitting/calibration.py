"""Calibration rows: validation rows that calibrate intervals and sets by the counts of their levels.

Few validation rows have an unseen level. Some rows are therefore copied with a rare level hidden; the
copy keeps the count of this level. The copies show how much worse a prediction is without the level,
and the counts show how much harder rows with rare levels are to predict.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from tabemb.data.sampling import sampled_rows
from tabemb.data.vocabulary import N_SPECIAL, UNKNOWN
from tabemb.fitting.fitted import Fitted, FittedParts
from tabemb.fitting.holdout import Holdout
from tabemb.fitting.settings import real
from tabemb.fitting.training_rows import TrainingRows
from tabemb.network.inputs import Batch, Prefixes
from tabemb.network.model import TabularNetwork

STEPS = (2, 9, 99)
"""Largest count in each bucket of levels: 1-2, 3-9, 10-99. The last bucket is 100 and more."""
N_FEATURES = len(STEPS) + 2
"""Features that describe one count."""
RARE = 9
"""Levels up to this count are hidden in a copy of each of their rows."""
MOST_COUNT = 1000
"""Larger counts are treated like this one."""
N_COLUMNS = 10
"""Number of columns whose counts are read: the columns with the most levels."""
N_HIDDEN = 100
"""Rows with an unseen level that each column needs; copies with a hidden level make up the rest."""
MOST_ROWS = 20_000
"""Largest number of validation rows that calibrate; of more rows, evenly spaced ones are taken."""
MOST_LOOKED_AT = 1000
"""Rows of a level that are searched for levels of other columns that occur only with it."""


@dataclass
class Calibration:
    """The rows that calibrate intervals or sets, and the outputs of each network for them.

    They are the validation rows, and copies of some of them with the level of one column hidden.

    Parameters
    ----------
    pieces : list of Batch
    part : callable
        Takes the outputs of the members, (n, n_members, n_outputs), and returns the part to keep.
    kept : ndarray of int
        Positions of the rows that are used, among the rows of all pieces.
    y : ndarray of shape (n_rows,) or (n_rows, n_targets)
    weights : ndarray of shape (n_rows,)
    counts : ndarray of shape (n_rows, n_categorical)
        Count of each row's levels in the rows that train; copies keep the count of their hidden level.
    is_unseen : bool ndarray of shape (n_rows, n_categorical)
        Whether the networks read a level as unseen in training.
    columns : tuple of int
        Positions of the columns whose counts are read, among the categorical columns.
    copies : ndarray of shape (n_rows,)
        Position of the row that each row copies, or its own position if it is no copy.
    share : float
        Share of all training rows that trained before the validation rows were predicted. Counts of a
        new row are multiplied by it, to compare a level with levels that were as frequent at that time.
    outputs : list of Tensor
        One for each network.
    """

    pieces: list[Batch]
    part: Callable[[Tensor], Tensor]
    kept: np.ndarray
    y: np.ndarray
    weights: np.ndarray
    counts: np.ndarray
    is_unseen: np.ndarray
    columns: tuple[int, ...]
    copies: np.ndarray
    share: float
    outputs: list[Tensor] = field(default_factory=list)

    @torch.no_grad()
    def outputs_of(self, network: TabularNetwork) -> Tensor:
        """Return the part to keep of one network's outputs for all rows."""
        network.eval()
        outputs = torch.cat([self.part(network(piece.inputs).outputs) for piece in self.pieces])
        return outputs[torch.from_numpy(self.kept).to(outputs.device)].float()

    @property
    def is_real(self) -> np.ndarray:
        """Whether each row is a validation row and not a copy."""
        return np.asarray(self.copies == np.arange(len(self.copies)))

    @property
    def features(self) -> np.ndarray:
        """`count_features` of the rows."""
        return count_features(self.counts[:, self.columns], self.is_unseen[:, self.columns])


def calibration_of(
    fitted: Fitted,
    training: TrainingRows,
    validation: Batch,
    holdout: Holdout,
    part: Callable[[Tensor], Tensor],
    most_rows: int = MOST_ROWS,
) -> Calibration:
    """Return the rows that calibrate, before any network has trained.

    Parameters
    ----------
    fitted : Fitted
        Its effects are those of the rows that train first.
    training : TrainingRows
        All rows of the hold-out.
    validation : Batch
        The validation rows with their effects.
    holdout : Holdout
    part : callable
        See `Calibration`.
    most_rows : int
        Largest number of validation rows that calibrate; of more rows, evenly spaced ones are taken.
    """
    rest = holdout.rows.take(holdout.rest) if holdout.validation is None else holdout.validation
    kept = np.unique(np.linspace(0, len(rest) - 1, min(len(rest), most_rows)).round().astype(int))
    codes = validation.inputs.codes.numpy(force=True)[kept]
    by_code = _counts_that_train(fitted, training.batch, holdout)
    columns = _columns_of_most_levels(by_code)
    weights = validation.weight.numpy(force=True)[kept].astype(float)
    weights /= weights.mean()
    pieces, rows = fitted.validation_pieces(validation), np.arange(len(kept))
    parts = [(rows, weights, codes)]
    if not any(isinstance(history, Prefixes) for history in validation.inputs.histories):
        seen = _codes_that_train(training.batch, holdout)
        copies_by_column = (_hidden(codes, weights, by_code, column, seen) for column in columns)
        parts += [part for part in copies_by_column if len(part[0])]
        for copied, _, new_codes in parts[1:]:
            places = kept[copied]
            batch = validation.take(torch.from_numpy(places).to(validation.device))
            scores = None
            if training.trees is not None and holdout.validation is None:
                numbers = batch.inputs.numbers.numpy(force=True)
                scores = training.trees.of_rows(holdout.rest[places], new_codes, numbers)
            hidden, none = torch.from_numpy(new_codes).to(batch.device), batch.inputs.effects[:, :0]
            inputs = replace(batch.inputs, codes=hidden, effects=none)  # effects are added below
            pieces += fitted.validation_pieces(batch.with_inputs(fitted.with_effects(inputs, scores)))
    copies, all_weights, all_codes = (np.concatenate(arrays) for arrays in zip(*parts))
    return Calibration(
        pieces=pieces,
        part=part,
        kept=np.concatenate([kept, len(rest) + np.arange(len(copies) - len(kept))]),
        y=rest.y[kept][copies],
        weights=all_weights,
        counts=counts_of(codes, by_code)[copies],
        is_unseen=counts_of(all_codes, by_code) == 0,
        columns=columns,
        copies=copies,
        share=_share_that_trains(holdout),
    )


def _codes_that_train(batch: Batch, holdout: Holdout) -> np.ndarray:
    """Return the codes of the rows that train first, or of a sample if there are very many."""
    codes = batch.inputs.codes.numpy(force=True)
    train = np.arange(len(codes)) if holdout.train is None else holdout.train
    chosen = sampled_rows(len(train))
    return codes[train if chosen is None else train[chosen]]


def _columns_of_most_levels(by_code: Sequence[np.ndarray]) -> tuple[int, ...]:
    sizes = np.array([len(counts) for counts in by_code], int)
    return tuple(np.argsort(-sizes, kind="stable")[:N_COLUMNS].tolist())


def _counts_that_train(fitted: Fitted, training: Batch, holdout: Holdout) -> list[np.ndarray]:
    """Return the counts of each categorical column's codes in the rows that train first."""
    rest = holdout.rest
    weights = holdout.rows.all_weights
    codes = training.inputs.codes.numpy(force=True)[rest]
    tables = fitted.encoder.schema.tables_of(fitted.encoder.inputs_[0].schema.categorical)
    by_table = dict(zip(tables, level_counts(fitted)))
    for i, table in enumerate(tables):
        removed = np.bincount(codes[:, i], weights[rest], len(by_table[table]))
        by_table[table] = np.maximum(by_table[table] - removed, 0)
        by_table[table][UNKNOWN] = 0
    return [by_table[table] for table in tables]


def _share_that_trains(holdout: Holdout) -> float:
    """Return the rows that train first as a share of all rows, by weight."""
    if holdout.train is None:
        return 1.0
    weights = holdout.rows.weights
    if weights is None:
        return len(holdout.train) / len(holdout.rows)
    return float(weights[holdout.train].sum() / weights.sum())


def _hidden(
    codes: np.ndarray,
    weights: np.ndarray,
    by_code: Sequence[np.ndarray],
    column: int,
    seen: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the rows with the rarest levels of a column as if no row with these levels had trained.

    Parameters
    ----------
    codes : ndarray of shape (n_rows, n_categorical)
        Of the validation rows.
    weights : ndarray of shape (n_rows,)
    by_code : sequence of ndarray
        Count by code of each column.
    column : int
    seen : ndarray of shape (n_training_rows, n_categorical)
        Codes of the rows that train.

    Returns
    -------
    rows : ndarray of int
    weights : ndarray
        They sum to at most ``N_HIDDEN`` minus the rows that already have an unseen level.
    codes : ndarray of shape (len(rows), n_categorical)
    """
    counts = by_code[column][codes[:, column]]
    lacking = max(N_HIDDEN - float(weights[counts == 0].sum()), 0.0)
    rows = np.flatnonzero((counts > 0) & (codes[:, column] >= N_SPECIAL))
    n_rarest = max(N_HIDDEN, int((counts[rows] <= RARE).sum())) if lacking else 0
    rows = rows[np.argsort(counts[rows], kind="stable")[:n_rarest]]
    share = min(1.0, lacking / weights[rows].sum()) if len(rows) else 0.0
    return rows, share * weights[rows], _without_level(codes[rows], column, seen)


def _without_level(codes: np.ndarray, column: int, seen: np.ndarray) -> np.ndarray:
    """Return codes with the level of a column unknown, and also all levels that occur only with it."""
    order = np.argsort(seen[:, column], kind="stable")
    ordered = seen[order, column]
    starts = np.searchsorted(ordered, codes[:, column])
    stops = np.searchsorted(ordered, codes[:, column], side="right")
    totals = [
        np.bincount(levels, minlength=int(codes[:, i].max(initial=0)) + 1)
        for i, levels in enumerate(seen.T)
    ]
    hidden = codes.copy()
    for row, start, stop in zip(hidden, starts, stops):
        beside = seen[order[start : min(stop, start + MOST_LOOKED_AT)]]
        together = (beside == row).sum(axis=0)
        row[together >= [total[code] for total, code in zip(totals, row)]] = UNKNOWN
        row[column] = UNKNOWN
    return hidden


def level_counts(parts: FittedParts) -> list[np.ndarray]:
    """Return the counts of each categorical column's codes; the count of unknown levels is 0."""
    vocabularies = parts.encoder.vocabularies_of(parts.encoder.inputs_[0])
    return [_without_unknown(vocabulary.counts) for vocabulary in vocabularies]


def _without_unknown(counts: np.ndarray) -> np.ndarray:
    counts = counts.astype(float)
    counts[UNKNOWN] = 0
    return counts


def counts_of(codes: np.ndarray, counts: Sequence[np.ndarray]) -> np.ndarray:
    """Return the count of each code, float64 of the shape of ``codes``, (n_rows, n_categorical)."""
    result = np.empty(codes.shape)
    for i, by_code in enumerate(counts):
        result[:, i] = by_code[codes[:, i]]
    return result


def count_features(counts: np.ndarray, is_unseen: np.ndarray) -> np.ndarray:
    """Return features of the counts of each row's levels, (n_rows, n_features).

    For each column, they are whether the level is unseen, and the steps and the slope of its count.

    Parameters
    ----------
    counts : ndarray of shape (n_rows, n_columns)
    is_unseen : bool ndarray of shape (n_rows, n_columns)
    """
    steps = [counts <= count for count in STEPS]
    slope = np.log1p(np.minimum(counts, MOST_COUNT))
    return np.column_stack([is_unseen, *steps, slope])


def conformal_quantile(scores: np.ndarray, weights: np.ndarray, coverage: float) -> float:
    """Return the smallest score that a new score does not exceed with a probability of ``coverage``.

    With n equal weights this is score number ceil((n + 1) coverage) in ascending order, as a new row
    falls into each of the n + 1 gaps with the same probability. The new row gets the mean weight.

    Raises
    ------
    ValueError
        Even the largest score is too small.

    Examples
    --------
    >>> conformal_quantile(np.arange(1.0, 20.0), np.ones(19), 0.9)
    18.0
    """
    order = np.argsort(scores, kind="stable")
    reached = np.cumsum(weights[order])
    total = reached[-1] * (1 + 1 / len(scores))
    position = int(np.searchsorted(reached, (coverage - 1e-12) * total))
    if position == len(scores):
        n = len(scores)
        raise ValueError(
            f"coverage={coverage!r} needs more validation rows than the {n} that fit had, which reach "
            f"{n / (n + 1):.4f} at most; pass a larger validation_fraction to the estimator, or a "
            "smaller coverage."
        )
    return float(scores[order[position]])


def check_coverage(coverage: float) -> None:
    """Raise ValueError unless the coverage is a number above 0 and below 1."""
    if not real(0, 1, open_low=True).holds(coverage) or coverage == 1:
        raise ValueError(f"coverage must be above 0 and below 1; got {coverage!r}.")

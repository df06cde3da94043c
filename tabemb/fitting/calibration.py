"""The rows that calibrate what is said of a prediction: validation rows, by the counts of their levels.

Unseen levels are few among validation rows, so rare levels are hidden in copies of rows, which keep
their count: the copies show how much worse a row is predicted without its level, the counts how much
harder rows of rare levels are.
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
"""Largest counts of the buckets of levels: 1-2, 3-9, 10-99; the last is 100 and more."""
N_FEATURES = len(STEPS) + 2
"""Numbers that stand for a count."""
RARE = 9
"""Largest count of a level that is hidden in copies of all rows that have it."""
MOST_COUNT = 1000
"""Count from which nothing changes any more."""
N_COLUMNS = 10
"""Columns whose counts are read: those of most levels."""
N_HIDDEN = 100
"""Rows with an unseen level that a column needs; hidden levels stand for those that lack."""
MOST_ROWS = 20_000
"""Validation rows that calibrate; of more, evenly spaced ones do."""
MOST_LOOKED_AT = 1000
"""Rows of a level that are searched for levels of other columns that occur with it alone."""


@dataclass
class Calibration:
    """The rows that calibrate intervals or sets, and the outputs of each network for them.

    They are the validation rows, and copies of some whose level of one column is hidden.

    Parameters
    ----------
    pieces : list of Batch
    part : callable
        Takes the outputs of the members, (n, n_members, n_outputs), and returns those that are kept.
    kept : ndarray of int
        Positions of the rows that count, among those of all pieces.
    y : ndarray of shape (n_rows,) or (n_rows, n_targets)
    weights : ndarray of shape (n_rows,)
    counts : ndarray of shape (n_rows, n_categorical)
        Count of each row's levels in the rows that train; copies keep that of their hidden level.
    is_unseen : bool ndarray of shape (n_rows, n_categorical)
        Whether the networks see a level as one that no row had.
    columns : tuple of int
        Positions, among the categorical columns, of those whose counts are read.
    copies : ndarray of shape (n_rows,)
        For each row the row that it is a copy of, or itself.
    share : float
        Share of the training rows that the validation rows were predicted from. Counts of a new row are
        multiplied by it, so that a level is compared with levels that were as frequent then.
    outputs : list of Tensor
        Of each network.
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
        """Return what is kept of the outputs of one network for all rows."""
        network.eval()
        outputs = torch.cat([self.part(network(piece.inputs).outputs) for piece in self.pieces])
        return outputs[torch.from_numpy(self.kept).to(outputs.device)].float()

    @property
    def is_real(self) -> np.ndarray:
        """Whether each row is a validation row, and no copy of one."""
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
        With effects of the rows that train first.
    training : TrainingRows
        All rows of the hold-out.
    validation : Batch
        The validation rows with their effects.
    holdout : Holdout
    part : callable
        See `Calibration`.
    most_rows : int
        Validation rows that calibrate; of more, evenly spaced ones do.
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
            inputs = replace(batch.inputs, codes=hidden, effects=none)  # those of these codes follow
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
    """Return the codes of the rows that train first, or of a sample of very many."""
    codes = batch.inputs.codes.numpy(force=True)
    train = np.arange(len(codes)) if holdout.train is None else holdout.train
    chosen = sampled_rows(len(train))
    return codes[train if chosen is None else train[chosen]]


def _columns_of_most_levels(by_code: Sequence[np.ndarray]) -> tuple[int, ...]:
    sizes = np.array([len(counts) for counts in by_code], int)
    return tuple(np.argsort(-sizes, kind="stable")[:N_COLUMNS].tolist())


def _counts_that_train(fitted: Fitted, training: Batch, holdout: Holdout) -> list[np.ndarray]:
    """Return the count by code of each categorical column in the rows that train first."""
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
    """Return the share of the weights of the rows that train first."""
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
        Together they stand for the unseen levels that ``N_HIDDEN`` rows would have, but these have not.
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
    """Return codes with that of a column unknown, and those of levels that occur with it alone."""
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
    """Return the count by code of each categorical column of rows; that of unknown levels is 0."""
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
    """Return what stands for the counts of each row's levels, (n_rows, n_features).

    For each column whether the level is unseen, with steps and slope of its count.

    Parameters
    ----------
    counts : ndarray of shape (n_rows, n_columns)
    is_unseen : bool ndarray of shape (n_rows, n_columns)
    """
    steps = [counts <= count for count in STEPS]
    slope = np.log1p(np.minimum(counts, MOST_COUNT))
    return np.column_stack([is_unseen, *steps, slope])


def conformal_quantile(scores: np.ndarray, weights: np.ndarray, coverage: float) -> float:
    """Return the smallest score that a new one stays below or at with a probability of ``coverage``.

    With n equal weights this is score number ceil((n + 1) coverage) in ascending order: a new row is
    as likely to fall into each of the n + 1 gaps. It weighs as much as the mean row.

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

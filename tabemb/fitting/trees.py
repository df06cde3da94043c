"""Boosted trees that are fitted before a network, which reads their predictions as further inputs.

Within seconds, trees find steps in numbers and interactions of columns, for which a network needs many
epochs. Training rows get the scores of trees that did not see them (stacking: Wolpert 1992).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from scipy.special import expit
from sklearn.model_selection import KFold
from tqdm import tqdm

from tabemb.data.sampling import slices
from tabemb.data.storage import Storage
from tabemb.data.vocabulary import MISSING, UNKNOWN
from tabemb.fitting.tree_texts import check_trees, without_sizes
from tabemb.progress import progress
from tabemb.training.loop import Budget

if TYPE_CHECKING:
    import lightgbm as lgb
    from lightgbm.callback import CallbackEnv

AT_ONCE = 2**18
"""Rows that are scored at a time."""
MIN_ROWS = 1000
"""Rows from which trees are fitted: on fewer, a network trains in seconds, and trees add little."""
N_FOLDS = 5
MOST_ROUNDS = 1000
PATIENCE = 20
"""Rounds without a smaller out-of-fold loss after which no more trees are grown."""
DECISIVE = 0.05
"""Share of the gain of all splits from which an input is decisive: scores are hidden if it is."""
FEWEST_HIDDEN, MOST_HIDDEN, N_HIDDEN = 0.01, 0.02, 100
"""Bounds of the share of cells hidden from growing trees, and the number of cells between the bounds."""
MIN_GAIN = 1e-4
"""Share of a response's variance that the trees must explain out of fold to be used."""
SHARE_READ, FEWEST_READ = 0.6, 6
"""Share of the columns that a tree reads, and the fewest: a tree of one column has no interactions."""
SETTINGS: dict[str, Any] = {
    "learning_rate": 0.1,
    "num_leaves": 31,
    "min_data_in_leaf": 20,
    "bagging_fraction": 0.75,
    "bagging_freq": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbose": -1,
}


@dataclass(frozen=True)
class Trees:
    """Boosted trees, one ensemble for each response that they explain; their scores are an input.

    Parameters
    ----------
    texts : tuple of str
        LightGBM's text of each ensemble.
    centers, units : ndarray of shape (n_ensembles,)
        Mean and standard deviation of the out-of-fold scores.
    decisive : bool ndarray of shape (n_inputs,)
        Whether the network hides the scores too where it hides the input.
    n_codes : int ndarray of shape (n_categorical,)
        Codes of each categorical input from this one on are new to the trees.
    has_missing : bool ndarray of shape (n_categorical,)
        Whether training rows had missing values; if not, missing values are read as unknown.
    responses : ndarray of int, shape (n_ensembles,)
        The response that each ensemble predicts.
    """

    texts: tuple[str, ...]
    centers: np.ndarray
    units: np.ndarray
    decisive: np.ndarray
    n_codes: np.ndarray
    has_missing: np.ndarray
    responses: np.ndarray

    def __post_init__(self) -> None:
        for text in self.texts:
            check_trees(text, len(self.decisive))
        n_ensembles = {len(self.texts), len(self.centers), len(self.units), len(self.responses)}
        if len(n_ensembles) > 1:
            raise ValueError("the trees have another number of ensembles than of scales.")
        if len(self.n_codes) != len(self.has_missing) or len(self.n_codes) > len(self.decisive):
            raise ValueError("the trees have another number of inputs than of what they know of them.")

    @cached_property
    def _boosters(self) -> list[lgb.Booster]:
        return [_lightgbm().Booster(model_str=text) for text in self.texts]

    @property
    def width(self) -> int:
        """Number of scores."""
        return len(self.texts)

    def __call__(self, codes: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Return the scores of rows, float32 (n_rows, width), in standard deviations.

        A category that no training row had is read as the unknown one.
        """
        return self.scaled(_scores(self._boosters, _matrix(self.known(codes), numbers)))

    def known(self, codes: np.ndarray) -> np.ndarray:
        """Return codes (n_rows, n_categorical), with UNKNOWN for codes that no training row had."""
        is_new = (codes >= self.n_codes) | ((codes == MISSING) & ~self.has_missing)
        return np.where(is_new, UNKNOWN, codes)

    def on_new_rows(self, codes: np.ndarray, numbers: np.ndarray) -> OutOfFoldTrees:
        """Return the scores of training rows that these trees did not see."""
        scores, none = self(codes, numbers), np.zeros((len(codes), 0))
        return OutOfFoldTrees(self, [self._boosters], np.zeros(len(codes), np.int8), scores, none)

    def scaled(self, scores: np.ndarray) -> np.ndarray:
        """Return raw scores (n_rows, width) as the network reads them."""
        scaled: np.ndarray = ((scores - self.centers) / self.units).astype(np.float32)
        return scaled


@dataclass(frozen=True)
class OutOfFoldTrees:
    """The scores of training rows, each from trees that did not see the row.

    Parameters
    ----------
    trees : Trees
        Trees of all rows, which define the unit of the scores.
    boosters : list of list of Booster
        The ensembles of each fold.
    folds : ndarray of shape (n_rows,)
        The fold of each training row.
    scores : ndarray of shape (n_rows, width), float32
    predictions : ndarray of shape (n_rows, n_responses)
        Out-of-fold predictions of the responses; the mean of a response that trees do not explain.
    """

    trees: Trees
    boosters: list[list[lgb.Booster]]
    folds: np.ndarray
    scores: np.ndarray
    predictions: np.ndarray

    def followed_by(self, scores: np.ndarray) -> OutOfFoldTrees:
        """Return these scores followed by those of other rows, whose folds are not known."""
        folds = np.append(self.folds, np.full(len(scores), -1, np.int8))
        return replace(self, folds=folds, scores=np.concatenate([self.scores, scores]))

    def spread(
        self, positions: np.ndarray, codes: np.ndarray, numbers: np.ndarray, storage: Storage
    ) -> OutOfFoldTrees:
        """Return the scores of all rows; the trees were fitted on the rows at ``positions``."""
        scores = storage.empty("scores", (len(codes), self.trees.width), np.float32)
        for start, stop in slices(len(codes), AT_ONCE):
            part = slice(start, stop)
            scores[part] = self.trees(codes[part], numbers[part])
            storage.release()
        scores[positions] = self.scores
        folds = np.full(len(codes), -1, np.int8)
        folds[positions] = self.folds
        return replace(self, folds=folds, scores=scores)

    def of_rows(self, rows: np.ndarray, codes: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Return the scores that these training rows would have with other codes and numbers.

        Parameters
        ----------
        rows : ndarray of int, shape (n,)
            Positions of the training rows.
        codes, numbers : ndarray of shape (n, ...)
            Codes and numbers to use instead.
        """
        matrix, folds = _matrix(codes, numbers), self.folds[rows]
        scores = np.empty((len(rows), self.trees.width), np.float32)
        for fold, boosters in enumerate(self.boosters):
            held = folds == fold
            raw = _scores(boosters, matrix[held])
            scores[held] = self.trees.scaled(raw)
        others = folds < 0  # which no tree has seen
        if others.any():
            scores[others] = self.trees(codes[others], numbers[others])
        return scores


def fit_trees(
    codes: np.ndarray,
    numbers: np.ndarray,
    responses: np.ndarray,
    weights: np.ndarray,
    *,
    are_shares: bool,
    seed: int,
    budget: Budget,
    show: bool | None = False,
    always: np.ndarray | None = None,
) -> OutOfFoldTrees | None:
    """Fit trees to each response; return None if they explain no response.

    Parameters
    ----------
    codes : ndarray of shape (n_rows, n_categorical), whole numbers
    numbers : ndarray of shape (n_rows, n_numbers), NaN where missing
    responses : ndarray of shape (n_rows, n_responses)
        As in `Effects.fit`.
    weights : ndarray of shape (n_rows,)
    are_shares : bool
        Whether the responses are indicators, whose scores are log odds.
    seed : int
    budget : Budget
        Stops the trees when it is spent.
    show : bool or None, default=False
        As in `progress`.
    always : ndarray of int, optional
        Responses that are predicted even if trees do not explain them; None: those that they explain.
    """
    matrix = _matrix(*_with_hidden_cells(codes, numbers, np.random.default_rng(seed)))
    splits = list(KFold(N_FOLDS, shuffle=True, random_state=seed).split(matrix))
    settings: dict[str, Any] = SETTINGS | {
        "objective": "binary" if are_shares else "regression",
        "feature_fraction": min(1, max(SHARE_READ, FEWEST_READ / matrix.shape[1])),
        "seed": seed,
        "num_threads": torch.get_num_threads(),
    }
    predictions = np.tile(np.average(responses, axis=0, weights=weights), (len(responses), 1))
    fitted: dict[int, _Grown] = {}
    tried = range(responses.shape[1]) if always is None else always.tolist()
    with progress(MOST_ROUNDS * len(tried), "trees", show) as bar:
        for r in tried:
            response = responses[:, r]
            data = _lightgbm().Dataset(
                matrix,
                response,
                weight=weights,
                categorical_feature=list(range(codes.shape[1])),
                params=settings,
                free_raw_data=False,
            )
            boosters, n_rounds = _grow(settings, data, splits, budget, bar)
            scores = _held_scores(boosters, codes, numbers, splits)
            predicted = expit(scores) if are_shares else scores
            if always is not None or share_explained(response, predicted, weights) > MIN_GAIN:
                whole = _lightgbm().train(settings, data, n_rounds)
                fitted[r] = _Grown(boosters, scores, whole)
                predictions[:, r] = predicted
    return _side_by_side(fitted, splits, codes, predictions) if fitted else None


class _Grown(NamedTuple):
    """Trees of one response: trees by fold with their out-of-fold scores, and trees of all rows."""

    boosters: list[lgb.Booster]
    scores: np.ndarray
    whole: lgb.Booster

    @property
    def text(self) -> str:
        """LightGBM's text of the trees of all rows."""
        return without_sizes(self.whole.model_to_string())

    @property
    def shares(self) -> np.ndarray:
        """Share of each input in the gain of all splits."""
        gains = self.whole.feature_importance("gain")
        return np.asarray(gains / max(gains.sum(), 1e-300))


def share_explained(response: np.ndarray, predictions: np.ndarray, weights: np.ndarray) -> float:
    """Return the share of the variance of a response that predictions explain."""
    rest = np.average(np.square(response - predictions), weights=weights)
    spread = np.square(response - np.average(response, weights=weights))
    variance = np.average(spread, weights=weights)
    return float(1 - rest / variance) if variance else 0.0


def _grow(
    settings: dict[str, Any],
    data: lgb.Dataset,
    splits: list[tuple[np.ndarray, np.ndarray]],
    budget: Budget,
    bar: tqdm[Any],
) -> tuple[list[lgb.Booster], int]:
    """Return the trees of each fold, and the number of rounds that is best out of fold."""
    lightgbm = _lightgbm()
    callbacks = [lightgbm.early_stopping(PATIENCE, verbose=False), _end_of(budget, bar)]
    grown = lightgbm.cv(
        settings, data, MOST_ROUNDS, folds=splits, callbacks=callbacks, return_cvbooster=True
    )["cvbooster"]
    bar.update(-bar.n % MOST_ROUNDS)  # the rounds that were not needed
    return grown.boosters, max(grown.best_iteration, 1)


def _with_hidden_cells(
    codes: np.ndarray, numbers: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs with some cells unknown or missing, so that trees see such cells while they grow.

    Otherwise trees would treat a new category like the categories that no split names.
    """
    codes, numbers, n_rows = codes.copy(), numbers.copy(), len(codes)
    n_hidden = round(n_rows * min(max(N_HIDDEN / n_rows, FEWEST_HIDDEN), MOST_HIDDEN))
    for columns, hidden in ((codes, UNKNOWN), (numbers, np.nan)):
        for column in columns.T:
            column[rng.choice(n_rows, n_hidden, replace=False)] = hidden
    return codes, numbers


def _held_scores(
    boosters: list[lgb.Booster],
    codes: np.ndarray,
    numbers: np.ndarray,
    splits: list[tuple[np.ndarray, np.ndarray]],
) -> np.ndarray:
    """Return the score of each row from the trees that did not see it, (n_rows,)."""
    scores = np.empty(len(codes))
    for booster, (train, held) in zip(boosters, splits):
        known = _as_seen(codes[held], codes[train])
        scores[held] = _scores([booster], _matrix(known, numbers[held]))[:, 0]
    return scores


def _as_seen(codes: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return codes (n_rows, n_categorical); codes that no row of ``seen`` has are unknown."""
    known = [np.isin(column, seen_column) for column, seen_column in zip(codes.T, seen.T)]
    return np.where(np.stack(known, axis=1), codes, UNKNOWN) if known else codes


def _end_of(budget: Budget, bar: tqdm[Any]) -> Callable[[CallbackEnv], None]:
    """Return a callback that moves the bar, and stops the trees when the budget is spent."""

    def callback(env: CallbackEnv) -> None:
        bar.update()
        if budget.over:
            raise _lightgbm().callback.EarlyStopException(env.iteration, env.evaluation_result_list)

    callback.order = 40  # type: ignore[attr-defined]  # after early stopping
    return callback


def _side_by_side(
    by_response: dict[int, _Grown],
    splits: list[tuple[np.ndarray, np.ndarray]],
    codes: np.ndarray,
    predictions: np.ndarray,
) -> OutOfFoldTrees:
    fitted = list(by_response.values())
    scores = np.stack([grown.scores for grown in fitted], axis=1)
    trees = Trees(
        texts=tuple(grown.text for grown in fitted),
        centers=scores.mean(0),
        units=np.maximum(scores.std(0), 1e-6),
        decisive=np.any([grown.shares >= DECISIVE for grown in fitted], axis=0),
        n_codes=codes.max(0, initial=0) + 1,
        has_missing=(codes == MISSING).any(0),
        responses=np.array(list(by_response)),
    )
    folds = np.empty(len(scores), np.int8)
    for fold, (_, held) in enumerate(splits):
        folds[held] = fold
    by_fold = [list(boosters) for boosters in zip(*(grown.boosters for grown in fitted))]
    return OutOfFoldTrees(trees, by_fold, folds, trees.scaled(scores), predictions)


def _matrix(codes: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    return np.concatenate([codes, numbers], axis=1, dtype=np.float64)


def _scores(boosters: list[lgb.Booster], matrix: np.ndarray) -> np.ndarray:
    n_threads = torch.get_num_threads()
    each = [b.predict(matrix, raw_score=True, num_threads=n_threads) for b in boosters]
    return np.stack([np.asarray(scores) for scores in each], axis=1)


def _lightgbm() -> Any:
    import lightgbm  # slow to import

    return lightgbm

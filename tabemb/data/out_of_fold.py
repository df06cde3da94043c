"""Out-of-fold effects: effects of training rows that are computed without the row's target."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tabemb.data.effects import Effects
from tabemb.data.expected import ExpectedEffects
from tabemb.data.sampling import MOST_ROWS, slices
from tabemb.data.storage import IN_MEMORY, Storage
from tabemb.data.words import Text
from tabemb.progress import progress

N_FOLDS = 10


class OutOfFold:
    """Compute the effects of training rows from the rows outside of their fold.

    Every call draws new folds, so the effects vary between epochs by as much as they are uncertain.

    Parameters
    ----------
    effects : Effects
        Fitted; its sums are changed by `use_rows`.
    codes, numbers, responses, weights : ndarray
        All rows that may be used for training, as in :meth:`Effects.fit`.
    rows : ndarray of int, optional
        Positions of the rows that ``effects`` was fitted on, if not on all (the other rows then had
        weight zero).
    texts : sequence of Text
        As in :meth:`Effects.fit`.
    storage : Storage, optional
        Where the levels and responses of all rows are kept; in memory by default.
    show : bool or None, default=False
        As in `progress`.
    """

    def __init__(
        self,
        effects: Effects,
        codes: np.ndarray,
        numbers: np.ndarray,
        responses: np.ndarray,
        weights: np.ndarray,
        rows: np.ndarray | None = None,
        texts: Sequence[Text] = (),
        storage: Storage = IN_MEMORY,
        show: bool | None = False,
    ) -> None:
        self.effects, self.all_weights, self.rows = effects, weights, rows
        self.storage, n_rows = storage, len(codes)
        dtype = np.int32 if len(effects.keys_) < 2**31 - 1 else np.int64
        self.positions = storage.empty("levels", (len(effects.terms_), n_rows), dtype)
        self.centered = storage.empty("responses", (n_rows, len(effects.responses_)), np.float64)
        with progress(n_rows, "rows", show) as bar:
            for start, stop in slices(n_rows, MOST_ROWS):
                part = slice(start, stop)
                self.positions[:, part] = effects.positions(codes[part], numbers[part])
                self.centered[part] = effects.center(responses[part])
                storage.release()
                bar.update(stop - start)
        self.held = [words.held(texts[words.text]) for words in effects.words_]
        self.weights = weights_of(rows, weights)

    def use_rows(self, rows: np.ndarray | None) -> None:
        """Compute the effects from these rows (None: all rows); terms, strengths and units stay."""
        if rows is self.rows:  # unchanged, and the sums are slow
            return
        self.rows, self.weights = rows, weights_of(rows, self.all_weights)
        self.effects.refit_sums(self.positions, self.centered, self.weights, self.storage)
        for words, held in zip(self.effects.words_, self.held):
            words.refit_sums(held, self.centered, self.weights)

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Return the out-of-fold effects and counts of these rows.

        Rows are assigned to folds in turn, so they must be in random order. A fold has about a tenth of
        all rows; a batch of at most that many rows is one fold.

        Parameters
        ----------
        rows : ndarray of int
            Positions of the rows.

        Returns
        -------
        ndarray of shape (len(rows), n_terms, n_responses + 1), float32
        """
        n_folds = max(1, round(N_FOLDS * len(rows) / len(self.weights)))
        folds = np.arange(len(rows)) % n_folds
        features = np.empty((len(rows), *self.effects.shape), np.float32)
        for t in range(len(self.positions)):
            features[:, t] = self._term_features(t, rows, folds)[:, 0]
        for t, (words, held) in enumerate(zip(self.effects.words_, self.held), len(self.positions)):
            features[:, t] = words.out_of_fold(
                held, rows, folds, self.centered, self.weights, self.effects.link
            )
        first = len(self.positions) + len(self.held)
        for t, expected in enumerate(self.effects.expected_, first):
            features[:, t] = self._expected_features(expected, rows, folds)
        return features

    def _term_features(self, t: int, rows: np.ndarray, folds: np.ndarray) -> np.ndarray:
        """Return the features of one term, from each level's sums without the row's fold."""
        positions, weights, effects = self.positions[t, rows], self.weights[rows], self.effects
        # sums by level and fold, then looked up for every row
        cells = (positions - effects.ends_[t]) * (int(folds.max()) + 1) + folds
        weighted = self.centered[rows] * weights[:, None]
        *fold_sums, fold_counts = [
            np.bincount(cells, column)[cells] for column in (*weighted.T, weights)
        ]
        counts = np.maximum(effects.counts_[positions] - fold_counts, 0.0)  # rounding can give < 0
        sums = effects.sums_[positions] - np.stack(fold_sums, axis=1)
        return effects.features_of(sums[None], counts[None], slice(t, t + 1))

    def _expected_features(
        self, expected: ExpectedEffects, rows: np.ndarray, folds: np.ndarray
    ) -> np.ndarray:
        """Return the expected effects of rows, from the sums of other levels without the row's fold."""
        effects, t = self.effects, expected.term
        span, n_folds = effects.span(t), int(folds.max()) + 1
        n_levels = span.stop - span.start
        levels, weights = self.positions[t, rows] - effects.ends_[t], self.weights[rows]
        cells = folds * n_levels + levels
        weighted = self.centered[rows] * weights[:, None]
        *sums, counts = [
            all_rows - np.bincount(cells, column, n_folds * n_levels).reshape(n_folds, n_levels)
            for all_rows, column in zip(
                [*effects.sums_[span].T, effects.counts_[span]], [*weighted.T, weights]
            )
        ]
        return expected.out_of_fold(levels, folds, np.stack(sums, axis=2), counts)


def weights_of(rows: np.ndarray | None, weights: np.ndarray) -> np.ndarray:
    """Return the weights with zeros for all but these rows; unchanged if ``rows`` is None."""
    if rows is None:
        return weights
    selected = np.zeros_like(weights)
    selected[rows] = weights[rows]
    return selected

"""Out-of-fold effects for the training rows."""

from __future__ import annotations

import numpy as np

from tabemb.data.effects import Effects

N_FOLDS = 10


class OutOfFold:
    """Effects for the rows that taught them, each from rows that are not looked at together with it.

    Parameters
    ----------
    effects : Effects
    codes, numbers, responses, weights : ndarray
        The training rows.
    rows : ndarray of int, optional
        Positions of those that ``effects`` was fitted on, if not on all: the others had a weight of zero there.
    """

    def __init__(
        self,
        effects: Effects,
        codes: np.ndarray,
        numbers: np.ndarray,
        responses: np.ndarray,
        weights: np.ndarray,
        rows: np.ndarray | None = None,
    ) -> None:
        self.effects, self.all_weights, self.rows = effects, weights, rows
        self.places = effects.places(codes, numbers)
        self.centered = effects.center(responses)
        self.weights = weights_of(rows, weights)

    def use_rows(self, rows: np.ndarray | None) -> None:
        """Let these rows make the effects, of the same terms; None: all rows."""
        if rows is self.rows:  # sums over all terms are not for nothing
            return
        self.rows, self.weights = rows, weights_of(rows, self.all_weights)
        self.effects.refit_sums(self.places, self.centered, self.weights)

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Effects and counts of some rows in random order, each from all rows but those of its fold.

        The rows are cut into folds of about a tenth of all rows; a tenth at a time is one fold.

        Returns
        -------
        ndarray of shape (len(rows), n_terms, n_responses + 1), float32
        """
        n_folds = max(1, round(N_FOLDS * len(rows) / len(self.weights)))
        folds = np.arange(len(rows)) % n_folds
        drawn = np.empty((len(rows), *self.effects.shape), np.float32)
        for t in range(len(self.places)):
            drawn[:, t] = self._of_term(t, rows, folds)[:, 0]
        return drawn

    def _of_term(self, t: int, rows: np.ndarray, folds: np.ndarray) -> np.ndarray:
        places, weights, effects = self.places[t, rows], self.weights[rows], self.effects
        cells = (places - effects.ends_[t]) * (int(folds.max()) + 1) + folds
        own = [
            np.bincount(cells, column)[cells]
            for column in (*(self.centered[rows] * weights[:, None]).T, weights)
        ]
        counts = np.maximum(effects.counts_[places] - own[-1], 0.0)
        sums = effects.sums_[places] - np.stack(own[:-1], axis=1)
        return effects.describe(sums[None], counts[None], slice(t, t + 1))


def weights_of(rows: np.ndarray | None, weights: np.ndarray) -> np.ndarray:
    """The weights of these rows, and zero for all others; None: all weights as they are."""
    if rows is None:
        return weights
    kept = np.zeros_like(weights)
    kept[rows] = weights[rows]
    return kept

"""Common axes for the answers of several networks, each trained without some of the rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.isotonic import IsotonicRegression

from tabemb.fitting.responses import leading_axes


@dataclass(frozen=True)
class Agreed:
    """The answers of each network along common axes.

    Attributes
    ----------
    by_network : list of ndarray of shape (n_codes, d)
        One array for each network, with axes by falling variance.
    agreement : ndarray of shape (d,)
        Share of the variance along each axis that the networks have in common, from 0 to 1: the
        reliability of one network (intraclass correlation, Shrout & Fleiss 1979).
    reliability : ndarray of shape (n_codes,)
        Share of the squared length of each code's mean that is not noise, from 0 to 1.
    """

    by_network: list[np.ndarray]
    agreement: np.ndarray
    reliability: np.ndarray


def by_agreement(answers: Sequence[np.ndarray], counts: np.ndarray, n_jackknife: float) -> Agreed:
    """Return answers along the principal axes of their mean, and how far the networks agree.

    All networks answer for the same rows and in one unit, so no rotation is needed.

    Parameters
    ----------
    answers : sequence of ndarray of shape (n_codes, n_answers)
        One array for each network.
    counts : ndarray of shape (n_codes,)
        Weight of each code.
    n_jackknife : float
        Training rows of a network for each row that it was trained without. The variance between the
        networks, times this number, is the variance of their mean (grouped jackknife, Tukey 1958).
    """
    counts = counts + 1e-9  # the sum is above zero even if no network has seen a code
    weights = counts / counts.sum()
    centered = [network - weights @ network for network in answers]
    _, axes = leading_axes(np.mean(centered, axis=0), weights)
    if not axes.shape[1]:
        axes = np.eye(centered[0].shape[1], 1)
    along = np.stack([network @ axes for network in centered])
    total = weights @ np.square(along).mean(axis=0)
    between = weights @ along.var(axis=0, ddof=min(1, len(along) - 1))
    noise = n_jackknife * along.var(axis=0).sum(axis=1)
    agreement = np.where(total > 0, 1 - between / np.maximum(total, 1e-300), 0.0)
    reliability = _reliability(np.square(along.mean(axis=0)).sum(axis=1), noise, counts)
    return Agreed(list(along), np.maximum(agreement, 0.0), reliability)


def _reliability(lengths: np.ndarray, noise: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the share of each squared length that is not noise, (n_codes,).

    A few networks measure the noise of a single code badly, so it is smoothed over codes by count.
    """
    by_count = IsotonicRegression(increasing=False, out_of_bounds="clip")
    smooth = by_count.fit_transform(counts, noise)
    share = 1 - smooth / np.maximum(lengths, 1e-300)
    return np.where(lengths > 0, np.maximum(share, 0.0), 0.0)

"""The targets of later rows compared with the effects of training, as frames for the user."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from tabemb.data.clustering import Clustering
from tabemb.data.effects import Effects
from tabemb.data.encoding import Encoder
from tabemb.data.moved import Moved, moved_levels
from tabemb.data.term_levels import TermLevels
from tabemb.drift.shifts import holm
from tabemb.estimators.effect_levels import KEYS, Answers, effects_frame, term_names
from tabemb.targets import Target

NOW = ("count_now", "mean_now", "p_value")
"""Columns that are added to those of `effects_frame`."""
DIGITS = 12
"""Decimals of means: without rounding, a share of zero would show the rounding error of a difference."""


class Compared(NamedTuple):
    """The comparison of later targets with those of training, over all rows and by level of each term.

    ``p_values`` are those of ``overall``, then those of each term, corrected for multiple tests.
    """

    overall: Moved
    terms: list[Moved]
    p_values: list[np.ndarray]


def compare_answers(
    effects: Effects,
    n_training: int,
    codes: np.ndarray,
    numbers: np.ndarray,
    responses: np.ndarray,
    clustering: Clustering | None = None,
    groups: np.ndarray | None = None,
) -> Compared:
    """Compare later targets with those of training.

    Parameters
    ----------
    effects : Effects
    n_training : int
        Number of training rows.
    codes, numbers : ndarray
        The later rows, as `Effects.fit` reads them.
    responses : ndarray of shape (n_rows, n_responses)
    clustering : Clustering, optional
        How similar the targets of an entity are, if rows are events.
    groups : ndarray of shape (n_rows,), optional
        The entity of each later row.
    """
    centered = effects.center(responses)
    shares = effects.mean_ if effects.are_shares else None
    everyone = np.zeros(len(codes), np.int64)
    # all rows together are the last term
    levels = [effects.levels_of(t) for t in range(len(effects.terms_))]
    levels.append(_all_rows(effects, n_training))
    ids = [*effects.levels_at(codes, numbers), everyone]
    parts = []
    for t, (of_term, places) in enumerate(zip(levels, ids)):
        worth = None
        if clustering is not None and groups is not None:
            worth = clustering.share(t, places, groups, len(of_term.counts))
            of_term = clustering.worth(t, of_term)
        parts.append(moved_levels(of_term, places, centered, shares, worth))
    *terms, overall = parts
    parts = [overall, *terms]
    corrected = holm(np.concatenate([part.p_values.ravel() for part in parts]))
    ends = np.cumsum([part.p_values.size for part in parts])[:-1]
    return Compared(overall, terms, np.split(corrected, ends))


def _all_rows(effects: Effects, n_rows: int) -> TermLevels:
    """Return all training rows as one level, with the standard error of its mean."""
    none = np.zeros((1, len(effects.responses_)))
    variance = effects.mean_ * (1 - effects.mean_) if effects.are_shares else np.ones(none.shape[1])
    errors = np.sqrt(variance / n_rows)[None]
    return TermLevels(np.zeros((1, 1), np.int64), np.array([float(n_rows)]), none, none, errors, 0.0)


def moved_frames(
    encoder: Encoder, effects: Effects, target: Target, compared: Compared, alarm: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the mean targets before and now, and the levels whose effects have moved.

    These are the levels with a corrected p-value below ``alarm``, smallest p-value first.
    """
    answers, responses = Answers.of(target), effects.responses_
    scale = answers.scale[responses] * effects.unit_
    center = effects.mean_ * answers.scale[responses] + answers.center[responses]
    means = answers.labels.iloc[responses].reset_index(drop=True)
    means["mean"], means["mean_now"] = center, compared.overall.means[0] * scale + center
    means["p_value"] = compared.p_values[0]
    means["moved"] = means["p_value"] < alarm
    names = term_names(encoder, effects)
    lines = []
    for name, moved, p_values in zip(names, compared.terms, compared.p_values[1:]):
        has_moved = p_values < alarm  # False for levels that were not tested
        if has_moved.any():
            frame = effects_frame(encoder, effects, target, name).drop(columns=["error", "strength"])
            frame["mean"] = frame["mean"].round(DIGITS)
            frame["count_now"] = np.repeat(moved.counts.astype(np.int64), len(responses))
            frame["mean_now"] = (moved.means * scale + center).ravel().round(DIGITS)
            frame["p_value"] = p_values
            lines.append(frame[has_moved])
    if not lines:
        return means, pd.DataFrame(columns=[*KEYS, "count", "mean", "effect", *NOW])
    together = pd.concat(lines, ignore_index=True)
    return means, together.sort_values("p_value", kind="stable", ignore_index=True)

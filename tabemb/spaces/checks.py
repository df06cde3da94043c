"""Drift of the categories of later rows, compared with the counts of a space."""

from __future__ import annotations

from typing import Any

import numpy as np

from tabemb.drift.profiles import MISSING, N_SPECIAL, UNSEEN, Profile
from tabemb.drift.report import ALARM, DriftReport, drift_lines
from tabemb.drift.shifts import shift_of
from tabemb.spaces.vectors import CategoryVectors, as_index


def check(space: CategoryVectors, categories: Any) -> DriftReport:
    """Return the report, as `EmbeddingSpace.check` describes it."""
    if space.counts is None:
        raise ValueError("check needs the counts of the categories, which this space does not have.")
    values = as_index(categories, unique=False)
    if not len(values):
        raise ValueError("check needs rows to compare; categories has none.")
    known = space.named_categories.get_indexer(values)
    codes = np.where(known < 0, UNSEEN, known + N_SPECIAL)
    codes[values.isna()] = MISSING
    profile = Profile.of_counts(space.counts)
    shift = shift_of(profile, codes, np.ones(len(codes)))
    # a space does not know how many rows had no category
    del shift.p_values["missing"]
    n_before = int(profile.counts.sum())
    name = space.name or "categories"
    return DriftReport(len(codes), n_before, drift_lines({name: shift}, ALARM))

"""One line of the table of results."""

from __future__ import annotations

from typing import NamedTuple


class Score(NamedTuple):
    """A measured value, beside what was to be reached.

    Parameters
    ----------
    task, model, metric : str
    value : float
    reach : str
        A published figure or the aim, in words; empty where there is none.
    seconds : float
        For fitting and measuring the model.
    """

    task: str
    model: str
    metric: str
    value: float
    reach: str
    seconds: float

"""One line of the table of results."""

from __future__ import annotations

from typing import NamedTuple


class Score(NamedTuple):
    """A measured value, and the value to reach.

    Parameters
    ----------
    task, model, metric : str
    value : float
    reach : str
        A published result or the aim, in words; empty if there is none.
    seconds : float
        Seconds for fitting and measuring the model.
    """

    task: str
    model: str
    metric: str
    value: float
    reach: str
    seconds: float

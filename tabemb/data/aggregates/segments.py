"""Events in groups that lie end to end, and reductions over each group."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tabemb.data.logs import Slices


class Segments:
    """Groups of events of the log, laid end to end: those of a row, or those of a row and a level.

    Parameters
    ----------
    positions : ndarray of int64, shape (n_events,)
        Place of each event in the sorted log; the events of a group stand side by side in time order.
    counts : ndarray of int64, shape (n_groups,)
        Number of events of each group.
    """

    def __init__(self, positions: np.ndarray, counts: np.ndarray) -> None:
        self.positions, self.counts = positions, counts
        self.filled = np.flatnonzero(counts)  # groups that have events
        self.heads = (np.cumsum(counts) - counts)[self.filled]
        self.tails = self.heads + counts[self.filled] - 1

    @classmethod
    def of_rows(cls, slices: Slices) -> Segments:
        """Return one group for each row."""
        return cls(slices.positions, slices.counts)

    @cached_property
    def groups(self) -> np.ndarray:
        """The group of every event."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def where(self, chosen: np.ndarray) -> Segments:
        """Return the same groups with the chosen events alone, a mask of (n_events,)."""
        if chosen.all():
            return self
        counts = np.bincount(self.groups[chosen], minlength=len(self.counts))
        return Segments(self.positions[chosen], counts)

    def split(self, codes: np.ndarray, n_codes: int) -> Segments:
        """Split each group by the code of its events: group g and code c give ``c * n_groups + g``.

        Parameters
        ----------
        codes : ndarray of shape (n_events,)
            An event with a code from ``n_codes`` on is left out.
        n_codes : int
        """
        kept = np.flatnonzero(codes < n_codes)
        # the events stand in the order of their groups; a stable sort of small integers, which numpy
        # does in linear time, leaves them so within each code
        small = codes[kept].astype(np.min_scalar_type(n_codes))
        order = kept[np.argsort(small, kind="stable")]
        cells = codes[kept] * len(self.counts) + self.groups[kept]
        return Segments(self.positions[order], np.bincount(cells, minlength=n_codes * len(self.counts)))

    def take(self, values: np.ndarray) -> np.ndarray:
        """Return values of the log's events for the events of the groups, laid end to end."""
        taken: np.ndarray = values[self.positions]
        return taken

    def reduce(self, how: np.ufunc, values: np.ndarray, empty: float) -> np.ndarray:
        """Reduce values of events, laid end to end, to float64 (n_groups,); ``empty`` without events."""
        reduced = np.full(len(self.counts), empty)
        if len(self.filled):
            reduced[self.filled] = how.reduceat(values, self.heads)
        return reduced

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Return the sum over the events of each group."""
        return self.reduce(np.add, values, 0.0)

    def first(self, values: np.ndarray) -> np.ndarray:
        """Return the value of each group's first event, of values laid end to end; NaN without one."""
        return self._at(values, self.heads)

    def last(self, values: np.ndarray) -> np.ndarray:
        """Return the value of each group's last event, of values laid end to end; NaN without one."""
        return self._at(values, self.tails)

    def _at(self, values: np.ndarray, places: np.ndarray) -> np.ndarray:
        taken = np.full(len(self.counts), np.nan)
        taken[self.filled] = values[places]
        return taken

    def since_first(self, values: np.ndarray) -> np.ndarray:
        """Return values, laid end to end, less that of the first event of their group."""
        since: np.ndarray = values - np.repeat(values[self.heads], self.counts[self.filled])
        return since

    def deviations(self, values: np.ndarray) -> Deviations:
        """Return the deviations of values, laid end to end, from the mean of their group."""
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = self.sum(values) / self.counts
        deviations = values - np.repeat(mean, self.counts)
        return Deviations(mean, self.sum(deviations**2), deviations)

    def summary(self, values: np.ndarray, around: Deviations | None = None) -> dict[str, np.ndarray]:
        """Return mean, standard deviation, smallest and largest value of each group; NaN without any.

        Parameters
        ----------
        values : ndarray of shape (n_events,)
            Laid end to end.
        around : Deviations, optional
            Those of the values, where they are known.
        """
        around = around or self.deviations(values)
        with np.errstate(invalid="ignore", divide="ignore"):
            std = np.sqrt(around.squares / self.counts)
        low, high = (self.reduce(how, values, np.nan) for how in (np.minimum, np.maximum))
        return {"mean": around.mean, "std": std, "min": low, "max": high}


@dataclass
class Deviations:
    """Mean and sum of squared deviations of each group, (n_groups,), and ``each`` deviation."""

    mean: np.ndarray
    squares: np.ndarray
    each: np.ndarray

"""Calendar parts of times in a graph, by whole numbers."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tabemb.data.times import SECONDS_PER_DAY
from tabemb.saving.onnx.forest import steps
from tabemb.saving.onnx.graph import Graph

HOUR = 3600 * 10**6
DAY = SECONDS_PER_DAY * 10**6
DAYS_OF_ERA = 146_097
"""Days of 400 years, after which the calendar repeats itself."""
FIRST_DAY = 719_468 + 1000 * DAYS_OF_ERA
"""Days from a first of March of a year that is a multiple of 400 to 1970; no time is before it."""
DAYS = -365 * 120, 365 * 150
"""Days since 1970 between which changes of clocks are known."""


def calendar_part(graph: Graph, times: str, part: str, zone: str | None) -> str:
    """Return a calendar part of times, int64.

    Parameters
    ----------
    graph : Graph
    times : str
        Microseconds since 1970, in UTC if there is a zone.
    part : str
        A key of `tabemb.data.times.CALENDAR`.
    zone : str, optional
        Its clocks say what time it is.
    """
    local = times if zone is None else graph.add("Add", times, _offset(graph, times, zone))
    return Calendar(graph, local).part(part)


def _offset(graph: Graph, times: str, zone: str) -> str:
    """Return the offset of a zone from UTC in microseconds."""
    moments, offsets = clock_changes(zone)
    values = graph.reshape(graph.cast(times, np.float64), [-1, 1])
    before = 1e6 * moments - 1  # a change holds from its moment on
    result = steps(graph, values, [(0, before, offsets)])
    offset = graph.add("Mul", graph.cast(result, np.int64), graph.constant(10**6, np.int64))
    return graph.add("Reshape", offset, graph.add("Shape", times))


def clock_changes(zone: str) -> tuple[np.ndarray, np.ndarray]:
    """Return when the clocks of a zone change, in seconds since 1970, and its offsets around that.

    There is one offset more, in seconds; the first one holds before all changes.
    """
    seconds = SECONDS_PER_DAY * np.arange(*DAYS)
    offsets = _offsets_at(seconds, zone)
    changed = np.flatnonzero(np.diff(offsets))
    low, high = seconds[changed], seconds[changed + 1]
    while (high - low > 1).any():  # halve the days until a second is left
        middle = (low + high) // 2
        is_old = _offsets_at(middle, zone) == offsets[changed]
        low, high = np.where(is_old, middle, low), np.where(is_old, high, middle)
    return high, np.append(offsets[:1], offsets[changed + 1])


def _offsets_at(seconds: np.ndarray, zone: str) -> np.ndarray:
    """Return offsets as Arrow has them, which the calendar parts of training rows are from."""
    local = pc.local_timestamp(pa.array(seconds, pa.timestamp("s", zone)))
    offsets: np.ndarray = local.cast(pa.int64()).to_numpy() - seconds
    return offsets


class Calendar:
    """The calendar parts of local times, by the days of civil calendars (Hinnant 2013)."""

    def __init__(self, graph: Graph, local: str) -> None:
        self.graph = graph
        ticks = self._rest(local, DAY)  # of the day, also before 1970
        self.hour = self._over(ticks, HOUR)
        self.days = self._plus(self._over(graph.add("Sub", local, ticks), DAY), FIRST_DAY)

    def part(self, name: str) -> str:
        """Return one part."""
        if name == "hour":
            return self.hour
        if name == "weekday":  # Monday is 0; 1970 started on a Thursday
            return self._rest(self._plus(self.days, (3 - FIRST_DAY) % 7), 7)
        day_of_era = self._rest(self.days, DAYS_OF_ERA)
        year = self._sum(
            day_of_era,
            (-1, self._over(day_of_era, 1460)),
            (1, self._over(day_of_era, 36_524)),
            (-1, self._over(day_of_era, DAYS_OF_ERA - 1)),
        )
        year = self._over(year, 365)
        leap_days = ((-1, self._over(year, 4)), (1, self._over(year, 100)))
        day_of_year = self._sum(day_of_era, (-365, year), *leap_days)
        month = self._over(self._plus(self._times(day_of_year, 5), 2), 153)  # March is 0
        if name == "day":
            before = self._over(self._plus(self._times(month, 153), 2), 5)
            return self._plus(self._sum(day_of_year, (-1, before)), 1)
        return self._plus(self._rest(self._plus(month, 2), 12), 1)

    def _whole(self, number: int) -> str:
        return self.graph.constant(number, np.int64)

    def _over(self, value: str, number: int) -> str:
        return self.graph.add("Div", value, self._whole(number))

    def _rest(self, value: str, number: int) -> str:
        return self.graph.add("Mod", value, self._whole(number))

    def _plus(self, value: str, number: int) -> str:
        return self.graph.add("Add", value, self._whole(number))

    def _times(self, value: str, number: int) -> str:
        return self.graph.add("Mul", value, self._whole(number))

    def _sum(self, value: str, *others: tuple[int, str]) -> str:
        for factor, other in others:
            value = self.graph.add("Add", value, self._times(other, factor))
        return value

"""Steps in a graph: the events of each row that are of one time, pooled in no order."""

from __future__ import annotations

import numpy as np

from tabemb.network.history import StepPool
from tabemb.saving.onnx.graph import Graph
from tabemb.saving.onnx.network import linear
from tabemb.saving.onnx.padded import Padded, log1p


class Steps:
    """The steps of rows side by side, (n, longest), and which step each event is of.

    Parameters
    ----------
    graph : Graph
    events : Padded
        All events, step by step.
    numbers : str
        The step of each event, counted from 0 in its row, int64 (n, longest of the events).
    n_steps : str
        Steps of each row, also those without events, int64 (n,).
    most : int, optional
        The newest steps stay.

    Attributes
    ----------
    events : Padded
        Those of the steps that stay.
    padded : Padded
        The steps in the place of events.
    """

    def __init__(
        self, graph: Graph, events: Padded, numbers: str, n_steps: str, most: int | None = None
    ) -> None:
        self.graph = graph
        zero, one = (graph.constant(number, np.int64) for number in (0, 1))
        if most is not None:
            before = graph.add("Max", graph.add("Sub", n_steps, graph.constant(most, np.int64)), zero)
            numbers = graph.add("Sub", numbers, graph.unsqueeze(before, 1))
            n_steps = graph.add("Sub", n_steps, before)
        longest = graph.add("Max", graph.add("ReduceMax", n_steps, keepdims=1), one)
        self.padded = Padded(graph, n_steps, longest)
        self.numbers = numbers
        self.events = events.only(graph.add("GreaterOrEqual", numbers, zero))
        last = graph.add("Sub", longest, one)
        self.places = graph.add("Min", graph.add("Max", numbers, zero), last)
        self.n_rows = graph.add("Shape", numbers, start=0, end=1)
        self.longest = longest

    def pool(self, pool: StepPool, vectors: str) -> str:
        """Return one vector for each step, (n, longest, dim), from those of the events."""
        graph = self.graph
        hidden = graph.add("Relu", linear(graph, pool.layer, vectors))
        tenth, ten = (graph.constant(number, np.float32) for number in (0.1, 10))
        sums = graph.add("Mul", self._summed(self.events.zeroed(hidden)), tenth)
        counts = log1p(graph, self._summed(self.events.mask))
        return graph.concat([graph.add("Mul", graph.squash(sums), ten), counts], 2)

    def _summed(self, values: str) -> str:
        """Return the sums of values by step, zero where there is no event: (n, longest, d)."""
        graph = self.graph
        width = graph.add("Shape", values, start=2)
        shape = graph.concat([self.n_rows, self.longest, width], 0)
        start = graph.add("Expand", graph.constant(0, np.float32), shape)
        places = graph.add("Expand", graph.unsqueeze(self.places, 2), graph.add("Shape", values))
        return graph.add("ScatterElements", start, places, values, axis=1, reduction="add")

    def _highest(self, days: str) -> str:
        """Return the largest value of each step, float64 (n, longest), NaN without any."""
        graph, lowest = self.graph, self.graph.constant(-np.inf, np.float64)
        is_there = graph.add("And", self.events.is_event, graph.add("Not", graph.add("IsNaN", days)))
        shape = graph.concat([self.n_rows, self.longest], 0)
        start = graph.add("Expand", lowest, shape)
        values = graph.where(is_there, days, lowest)
        highest = graph.add("ScatterElements", start, self.places, values, axis=1, reduction="max")
        nan = graph.constant(np.nan, np.float64)
        return graph.where(graph.add("IsInf", highest), nan, highest)

    def since_previous(self, days: str) -> str:
        """Return each event's difference to the step with events before its own, NaN without one."""
        graph, zero = self.graph, self.graph.constant(0, np.int64)
        before = graph.add("Sub", self.events.firsts(self.numbers), graph.constant(1, np.int64))
        place = graph.add("Max", before, zero)
        step = graph.add("GatherElements", self.numbers, place, axis=1)
        has = graph.add("And", graph.add("GreaterOrEqual", before, zero), self._is_kept(step))
        value = graph.add("GatherElements", self._highest(days), graph.add("Max", step, zero), axis=1)
        gaps = graph.add("Sub", days, value)
        return graph.where(has, gaps, graph.constant(np.nan, np.float64))

    def _is_kept(self, step: str) -> str:
        return self.graph.add("GreaterOrEqual", step, self.graph.constant(0, np.int64))

    def until_last(self, days: str) -> str:
        """Return the difference of the last step with events of the row to each event."""
        step = self.graph.add("GatherElements", self.places, self.events.final, axis=1)
        last = self.graph.add("GatherElements", self._highest(days), step, axis=1)
        return self.graph.add("Sub", last, days)

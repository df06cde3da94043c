"""Padded events in a graph: the newest of each row, and sums, means and the last of their values."""

from __future__ import annotations

from copy import copy

import numpy as np

from tabemb.saving.onnx.graph import Graph

LOWEST = np.finfo(np.float32).min


class Padded:
    """The events of rows side by side, (n, longest), the newest ones where there are too many.

    Attributes
    ----------
    lengths : str
        Events of each row, int64 (n,).
    mask : str
        Whether there is an event, float32 (n, longest, 1).
    """

    def __init__(self, graph: Graph, lengths: str, longest: str, places: str | None = None) -> None:
        self.graph, self.lengths, self.longest, self.places = graph, lengths, longest, places
        zero, one = (graph.constant(number, np.int64) for number in (0, 1))
        self.positions = self._range(longest)
        self._mark(graph.add("Less", self.positions, graph.unsqueeze(lengths, 1)))
        final = graph.add("Max", graph.add("Sub", lengths, one), zero)
        self.final = graph.unsqueeze(final, 1)  # (n, 1)
        self.is_filled = graph.unsqueeze(graph.add("Greater", lengths, zero), 1)  # (n, 1)
        self.has_events = graph.cast(self.is_filled, np.float32)

    @classmethod
    def of(cls, graph: Graph, lengths: str, field: str, most: int | None = None) -> Padded:
        """Return the newest events of rows, ``most`` of each, from their number and a field."""
        longest = graph.add("Shape", field, start=1, end=2)
        zero, one = (graph.constant(number, np.int64) for number in (0, 1))
        lengths = graph.add("Max", graph.add("Min", lengths, longest), zero)
        if most is None:
            return cls(graph, lengths, longest)
        at_most = graph.constant([most], np.int64)
        before = graph.add("Max", graph.add("Sub", lengths, at_most), zero)
        kept = graph.add("Min", longest, at_most)
        positions = graph.add("Range", zero, graph.reshape(kept, []), one)
        places = graph.add("Add", graph.unsqueeze(before, 1), positions)
        places = graph.add("Min", places, graph.add("Sub", longest, one))
        return cls(graph, graph.add("Min", lengths, at_most), kept, places)

    def only(self, chosen: str) -> Padded:
        """Return the same rows with some of the events, bool (n, longest)."""
        fewer = copy(self)
        fewer._mark(self.graph.add("And", self.is_event, chosen))
        return fewer

    def _mark(self, is_event: str) -> None:
        self.is_event = is_event
        self.mask = self.graph.unsqueeze(self.graph.cast(is_event, np.float32), 2)

    def firsts(self, values: str) -> str:
        """Return the position of the first event of each run of equal values, (n, longest)."""
        graph, one = self.graph, self.graph.constant(1, np.int64)
        is_first = graph.add("Equal", self.positions, graph.constant(0, np.int64))
        is_other = graph.add("Not", graph.add("Equal", values, self.previous(values)))
        heads = graph.cast(graph.add("Or", is_first, is_other), np.int64)
        runs = graph.add("Sub", graph.add("CumSum", heads, one), one)
        places = graph.add("Mul", heads, self.positions)
        none = graph.add("Mul", runs, graph.constant(0, np.int64))
        firsts = graph.add("ScatterElements", none, runs, places, axis=1, reduction="max")
        return graph.add("GatherElements", firsts, runs, axis=1)

    def _range(self, end: str) -> str:
        zero, one = (self.graph.constant(number, np.int64) for number in (0, 1))
        return self.graph.add("Range", zero, self.graph.reshape(end, []), one)

    def newest(self, field: str) -> str:
        """Return the newest events of a field, (n, longest)."""
        if self.places is None:
            return field
        return self.graph.add("GatherElements", field, self.places, axis=1)

    def previous(self, values: str) -> str:
        """Return the value of the event before each event, (n, longest); of the first one its own."""
        one = self.graph.constant(1, np.int64)
        before = self.graph.add("Sub", self.positions, one)
        before = self.graph.add("Max", before, self.graph.constant(0, np.int64))
        return self.graph.add("Gather", values, before, axis=1)

    def since_previous(self, days: str) -> str:
        """Return each event's difference to the one before, NaN of the first event."""
        graph = self.graph
        is_first = graph.add("Equal", self.positions, graph.constant(0, np.int64))
        gaps = graph.add("Sub", days, self.previous(days))
        return graph.where(is_first, graph.constant(np.nan, np.float64), gaps)

    def until_last(self, days: str) -> str:
        """Return the difference of the last event of the row to each event."""
        last = self.graph.add("GatherElements", days, self.final, axis=1)
        return self.graph.add("Sub", last, days)

    def zeroed(self, values: str) -> str:
        """Return values (n, longest, d) with zeros where there is no event."""
        return self.graph.add("Mul", values, self.mask)

    def sum(self, values: str) -> str:
        """Return the sum of values (n, longest, d) over the events, (n, d)."""
        axis = self.graph.constant([1], np.int64)
        return self.graph.add("ReduceSum", self.zeroed(values), axis, keepdims=0)

    def mean(self, values: str) -> str:
        """Return the mean of values over the events, zeros without any."""
        count = self.graph.add("Max", self.counts(), self.graph.constant(1, np.float32))
        return self.graph.add("Div", self.sum(values), count)

    def max(self, values: str) -> str:
        """Return the maximum of values over the events, zeros without any."""
        graph = self.graph
        present = graph.add("Greater", self.mask, graph.constant(0, np.float32))
        values = graph.where(present, values, graph.constant(LOWEST))
        highest = graph.add("ReduceMax", values, graph.constant([1], np.int64), keepdims=0)
        return graph.add("Mul", highest, self.has_events)

    def last(self, values: str) -> str:
        """Return the values of the last event, zeros without any."""
        graph = self.graph
        result = graph.add("GatherND", values, self.final, batch_dims=1)
        return graph.add("Mul", result, self.has_events)

    def counts(self) -> str:
        """Return the number of events, float32 (n, 1)."""
        return self.graph.unsqueeze(self.graph.cast(self.lengths, np.float32), 1)

    def log_counts(self) -> str:
        """Return the logarithm of the number of events and one, (n, 1)."""
        return log1p(self.graph, self.counts())


def log1p(graph: Graph, values: str) -> str:
    """Return the logarithm of values and one."""
    return graph.add("Log", graph.add("Add", values, graph.constant(1, np.float32)))

"""Padded events in a graph: the newest of each row, and sums, means and the last of their values."""

from __future__ import annotations

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

    def __init__(self, graph: Graph, lengths: str, field: str, most: int | None) -> None:
        self.graph = graph
        longest = graph.add("Shape", field, start=1, end=2)
        zero, one = (graph.constant(number, np.int64) for number in (0, 1))
        self.lengths = graph.add("Max", graph.add("Min", lengths, longest), zero)
        self.places = None
        if most is not None:
            at_most = graph.constant([most], np.int64)
            before = graph.add("Max", graph.add("Sub", self.lengths, at_most), zero)
            self.lengths = graph.add("Min", self.lengths, at_most)
            kept = graph.add("Min", longest, at_most)
            last = graph.add("Sub", longest, one)
            self.places = graph.add("Add", graph.unsqueeze(before, 1), self._range(kept))
            self.places = graph.add("Min", self.places, last)
            longest = kept
        self.positions = self._range(longest)
        self.is_event = graph.add("Less", self.positions, graph.unsqueeze(self.lengths, 1))
        self.mask = graph.unsqueeze(graph.cast(self.is_event, np.float32), 2)
        final = graph.add("Max", graph.add("Sub", self.lengths, one), zero)
        self.final = graph.unsqueeze(final, 1)  # (n, 1)
        self.is_filled = graph.unsqueeze(graph.add("Greater", self.lengths, zero), 1)  # (n, 1)
        self.has_events = graph.cast(self.is_filled, np.float32)

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

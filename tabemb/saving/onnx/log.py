"""The log of an entity in a graph: what an event estimator knows of an event from those before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from tabemb.data.times import SECONDS_PER_DAY, TICKS_PER_SECOND, TimeAxis
from tabemb.fitting.event_source import EARLIER, EventSource
from tabemb.fitting.target_values import label_column
from tabemb.saving.onnx.graph import Graph
from tabemb.saving.onnx.padded import Padded
from tabemb.saving.onnx.raw import NO_INTEGER, RawInput, raw_values
from tabemb.saving.onnx.steps import Steps
from tabemb.targets import ClassTarget, MultilabelTarget, MultioutputClassTarget, Target
from tabemb.targets.numbers import LIMIT, NumberTarget, RelativeTarget

GAP = f"{EARLIER}.gap"
LENGTH = f"{EARLIER}.length"


def log_inputs(source: EventSource, rows: Sequence[RawInput]) -> list[RawInput]:
    """Return the inputs of an event and of the events before it, from those of the encoder.

    Numbers that follow from the earlier events are left out: the graph computes them.
    """
    computed = {GAP, *_counted_names(source)}
    is_time = source.time_axis.unit is not None
    kind, missing = ("time", NO_INTEGER) if is_time else ("number", None)
    given = {raw.name: raw for raw in rows if raw.name not in computed}
    time = RawInput(source.time, kind, missing)
    earlier = RawInput(f"{EARLIER}.{source.time}", kind, missing, history=EARLIER)
    return list({time.name: time, **given, earlier.name: earlier}.values())


def _counted_names(source: EventSource) -> list[str]:
    n_counted = len(source.encounters.mean)
    ends = [""] if n_counted == 1 else [f"_{i}" for i in range(n_counted)]
    names = [f"{source.time}.gap", f"{source.time}.age"]
    for field in source.encounters.fields:
        names += [f"{field}.count", f"{field}.since"]
        names += [f"{field}.{part}{end}" for part in ("mean", "last") for end in ends]
    return names


class Log:
    """The events before each row, padded, and the numbers that follow from them.

    Parameters
    ----------
    graph : Graph
    source : EventSource
    target : Target
    raw : mapping of str -> str
        The inputs of the graph.
    kinds : mapping of str -> str
        Their kinds.
    """

    def __init__(
        self,
        graph: Graph,
        source: EventSource,
        target: Target,
        raw: Mapping[str, str],
        kinds: Mapping[str, str],
    ) -> None:
        self.graph, self.source, self.target, self.raw, self.kinds = graph, source, target, raw, kinds
        self.times = raw[f"{EARLIER}.{source.time}"]
        self.padded = Padded.of(graph, raw[LENGTH], self.times)
        self.now = graph.unsqueeze(raw[source.time], 1)  # (n, 1)

    def values(self) -> dict[str, str]:
        """Return the values of rows and of earlier events that are computed, by column or field."""
        zero = self._number(0.0)
        gap = self._squeezed(self._since(self.padded.final, self.padded.is_filled))
        numbers = {
            GAP: self._gaps(),
            f"{self.source.time}.gap": gap,
            f"{self.source.time}.age": self.graph.add("Mul", self._known(gap), zero),
        }
        answers = _counted(self)
        for field in self.source.encounters.fields:
            numbers |= self._encounters(field, answers)
        return numbers

    def _number(self, value: float) -> str:
        return self.graph.constant(value, np.float64)

    def _squeezed(self, column: str) -> str:
        return self.graph.reshape(column, [-1])

    def _known(self, number: str) -> str:
        is_nan = self.graph.add("IsNaN", number)
        return self.graph.where(is_nan, self._number(0.0), number)

    def _days(self, later: str, earlier: str) -> str:
        """Return differences of moments, in days if they are times, rounded as `TimeAxis.span`."""
        return days_between(self.graph, self.source.time_axis, later, earlier)

    def _since(self, places: str, has: str) -> str:
        """Return the time since the event at a place (n, 1), NaN where there is none."""
        last = self.graph.add("GatherElements", self.times, places, axis=1)
        return self.graph.where(has, self._days(self.now, last), self._number(np.nan))

    def _gaps(self) -> str:
        """Return the time of each event since the one before, of a run of ties that of its first."""
        origin = self.graph.constant(0, np.float64 if self.source.time_axis.unit is None else np.int64)
        gaps = self.padded.since_previous(self._days(self.times, origin))
        if not self.source.hide_ties:
            return gaps
        return self.graph.add("GatherElements", gaps, self.padded.firsts(self.times), axis=1)

    def steps(self) -> Steps | None:
        """Return the events of one time as steps, where they are one."""
        if not self.source.merge_ties:
            return None
        graph, one = self.graph, self.graph.constant(1, np.int64)
        heads = graph.add("Equal", self.padded.firsts(self.times), self.padded.positions)
        numbers = graph.add("CumSum", graph.cast(heads, np.int64), one)
        last = graph.add("GatherElements", numbers, self.padded.final, axis=1)
        n_steps = graph.add("Mul", last, graph.cast(self.padded.is_filled, np.int64))
        numbers = graph.add("Sub", numbers, one)
        return Steps(graph, self.padded, numbers, graph.reshape(n_steps, [-1]))

    def _encounters(self, field: str, answers: Sequence[str]) -> dict[str, str]:
        """Return the numbers of `tabemb.data.encounters.Encounters` for one field."""
        graph, axis = self.graph, self.graph.constant([1], np.int64)
        same = self._same(field)
        flags = graph.cast(same, np.float64)
        count = graph.add("ReduceSum", flags, axis, keepdims=1)  # (n, 1)
        nothing = graph.constant(-1, np.int64)
        last = graph.add(
            "ReduceMax", graph.where(same, self.padded.positions, nothing), axis, keepdims=1
        )
        has = graph.add("GreaterOrEqual", last, graph.constant(0, np.int64))
        last = graph.add("Max", last, graph.constant(0, np.int64))
        numbers = {f"{field}.count": count, f"{field}.since": self._since(last, has)}
        for i, (answer, mean) in enumerate(zip(answers, self.source.encounters.mean.tolist())):
            end = "" if len(answers) == 1 else f"_{i}"
            known = graph.where(same, answer, self._number(0.0))
            total = graph.add("Add", graph.add("ReduceSum", known, axis, keepdims=1), self._number(mean))
            more = graph.add("Add", count, self._number(1.0))
            latest = graph.add("GatherElements", answer, last, axis=1)
            numbers[f"{field}.mean{end}"] = graph.add("Div", total, more)
            numbers[f"{field}.last{end}"] = graph.where(has, latest, self._number(np.nan))
        return {name: self._squeezed(column) for name, column in numbers.items()}

    def _same(self, field: str) -> str:
        """Return whether each earlier event has the category of the row, bool (n, longest)."""
        graph = self.graph
        now, before = graph.unsqueeze(self.raw[field], 1), self.raw[f"{EARLIER}.{field}"]
        same = graph.add("Equal", before, now)
        if self.kinds[field] == "number":
            both = graph.add("And", graph.add("IsNaN", before), graph.add("IsNaN", now))
            same = graph.add("Or", same, both)
        return graph.add("And", same, self.padded.is_event)


def days_between(graph: Graph, axis: TimeAxis, later: str, earlier: str) -> str:
    """Return differences of moments, float64, in days if they are times."""
    span = graph.add("Sub", later, earlier)
    if axis.unit is None:
        return span
    ticks = TICKS_PER_SECOND[axis.unit]
    if ticks > TICKS_PER_SECOND["us"]:
        factor = graph.constant(ticks // TICKS_PER_SECOND["us"], np.int64)
        span = graph.add("Mul", span, factor)
    elif ticks < TICKS_PER_SECOND["us"]:
        factor = graph.constant(TICKS_PER_SECOND["us"] // ticks, np.int64)
        span = graph.add("Div", span, factor)
    unit = graph.constant(SECONDS_PER_DAY * ticks, np.float64)
    return graph.add("Div", graph.cast(span, np.float64), unit)


def _counted(log: Log) -> list[str]:
    """Return the targets of earlier events whose sums mean something, float64 (n, longest) each."""
    target, names = log.target, [f"{EARLIER}.{name}" for name in log.source.target_names]
    if isinstance(target, ClassTarget):
        second = target.classes_[1:2] if target.n_outputs == 2 else target.classes_[:0]
        return [_is_class(log, names[0], target.classes_, label) for label in range(1, 1 + len(second))]
    if isinstance(target, NumberTarget):
        return [_standardised(log, target, name, i) for i, name in enumerate(names)]
    if isinstance(target, MultilabelTarget):
        return [log.graph.cast(log.raw[name], np.float64) for name in names]
    assert isinstance(target, MultioutputClassTarget)
    columns = []
    for name, part in zip(names, target.targets):
        first = 1 if part.n_outputs == 2 else 0
        columns += [_is_class(log, name, part.classes_, i) for i in range(first, part.n_outputs)]
    return columns


def _is_class(log: Log, name: str, classes: np.ndarray, place: int) -> str:
    """Return whether an earlier target is one class, as 0.0 or 1.0."""
    labels = label_column(classes[place : place + 1], classes, name)
    raw = RawInput(name, log.kinds[name])
    key = raw_values(raw, pa.chunked_array([labels.array]), labels.field(name))
    if raw.kind == "number":
        return log.graph.cast(log.graph.add("Equal", log.raw[name], log.graph.constant(key)), np.float64)
    return log.graph.cast(log.graph.look_up(log.raw[name], key, np.array([1]), 0), np.float64)


def _standardised(log: Log, target: NumberTarget, name: str, column: int) -> str:
    """Return earlier targets as `NumberTarget.encode` gives them."""
    graph, value = log.graph, log.raw[name]
    if isinstance(target, RelativeTarget):
        value = graph.add("Log", value)
    centered = graph.add("Sub", value, graph.constant(target.center[column], np.float64))
    scaled = graph.add("Div", centered, graph.constant(target.scale[column], np.float64))
    clipped = graph.clip(scaled, -LIMIT, LIMIT, np.float64)
    return graph.cast(graph.cast(clipped, np.float32), np.float64)

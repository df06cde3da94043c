"""From the outputs of networks to probabilities, labels or numbers, in a graph."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tabemb.saving.onnx.graph import Graph
from tabemb.targets import ClassTarget, MultilabelTarget, MultioutputClassTarget, Target
from tabemb.targets.numbers import CountTarget, NumberTarget, RelativeTarget

LARGEST = np.finfo(float).max


def add_predictions(graph: Graph, target: Target, outputs: str, invalid: str | None) -> dict[str, str]:
    """Add the outputs of the graph, and return what each of them is by its name.

    Parameters
    ----------
    graph : Graph
    target : Target
    outputs : str
        Those of all members, (n, n_members, n_outputs).
    invalid : str, optional
        Whether there is no prediction for a row, bool (n, 1): NaN then.
    """
    outputs = graph.cast(outputs, np.float64)
    if invalid is not None:
        nan = graph.constant(np.nan, np.float64)
        outputs = graph.where(graph.unsqueeze(invalid, 2), nan, outputs)
    if isinstance(target, NumberTarget):
        values = _numbers(graph, target, outputs)
        dims: list[str | int] = ["rows"] if target.one_dimensional else ["rows", target.n_outputs]
        return {graph.output(values, "prediction", np.float64, dims): "prediction"}
    if isinstance(target, MultilabelTarget):
        return _multilabel(graph, target, outputs)
    if isinstance(target, ClassTarget):
        return _classes(graph, target, outputs, "")
    assert isinstance(target, MultioutputClassTarget)
    parts = graph.split(outputs, [part.n_outputs for part in target.targets], axis=2)
    named: dict[str, str] = {}
    for i, (part, of_part) in enumerate(zip(target.targets, parts)):
        named |= _classes(graph, part, of_part, f"_{i}")
    return named


def _numbers(graph: Graph, target: NumberTarget, outputs: str) -> str:
    if isinstance(target, CountTarget):
        # the mean of exponentials, without their overflow
        logarithm = graph.add("ReduceLogSumExp", outputs, graph.constant([1], np.int64), keepdims=0)
        n_members = graph.add("Shape", outputs, start=1, end=2)
        count = graph.add("Log", graph.cast(n_members, np.float64))
        relative = _exp(graph, graph.add("Sub", logarithm, count))
        values = graph.add("Mul", relative, graph.constant(target.scale, np.float64))
        values = graph.add("Min", values, graph.constant(LARGEST, np.float64))
    else:
        mean = graph.add("ReduceMean", outputs, graph.constant([1], np.int64), keepdims=0)
        values = graph.add("Mul", mean, graph.constant(target.scale, np.float64))
        values = graph.add("Add", values, graph.constant(target.center, np.float64))
        if isinstance(target, RelativeTarget):
            values = _exp(graph, values)
    return graph.reshape(values, [-1]) if target.one_dimensional else values


def _exp(graph: Graph, logarithms: str) -> str:
    most = graph.constant(math.log(LARGEST), np.float64)
    return graph.add("Exp", graph.add("Min", logarithms, most))


def _classes(graph: Graph, target: ClassTarget, outputs: str, ending: str) -> dict[str, str]:
    axis = graph.constant([1], np.int64)
    if target.has_many_classes:
        mean = graph.add("ReduceMean", outputs, axis, keepdims=0)
        probabilities = graph.add("Softmax", mean, axis=1)
    else:
        by_member = graph.add("Softmax", outputs, axis=2)
        probabilities = graph.add("ReduceMean", by_member, axis, keepdims=0)
    labels = _as_labels(target.classes_)
    dims: list[str | int] = ["rows", target.n_outputs]
    name = graph.output(probabilities, f"probabilities{ending}", np.float64, dims)
    if labels is None:
        return {name: "probabilities"}
    place = graph.add("ArgMax", probabilities, axis=1, keepdims=0)
    values = graph.constant(labels) if labels.dtype != object else graph.constant(labels, object)
    result = graph.add("Gather", values, place, axis=0)
    dtype: Any = str if labels.dtype == object else labels.dtype
    return {name: "probabilities", graph.output(result, f"label{ending}", dtype, ["rows"]): "label"}


def _as_labels(classes: np.ndarray) -> np.ndarray | None:
    """Return classes as text, whole numbers, floats or booleans; None where they are none of these."""
    labels = classes.tolist()
    if all(isinstance(label, str) for label in labels):
        return np.array(labels, object)
    for kind, dtype in ((bool, np.bool_), (int, np.int64), (float, np.float64)):
        if all(type(label) is kind for label in labels):
            return np.array(labels, dtype)
    return None


def _multilabel(graph: Graph, target: MultilabelTarget, outputs: str) -> dict[str, str]:
    by_member = graph.add("Sigmoid", outputs)
    axis = graph.constant([1], np.int64)
    probabilities = graph.add("ReduceMean", by_member, axis, keepdims=0)
    dims: list[str | int] = ["rows", target.n_outputs]
    name = graph.output(probabilities, "probabilities", np.float64, dims)
    is_one = graph.add("GreaterOrEqual", probabilities, graph.constant(0.5, np.float64))
    label = graph.output(graph.cast(is_one, np.int64), "label", np.int64, dims)
    return {name: "probabilities", label: "label"}

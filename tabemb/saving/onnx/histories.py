"""Histories in a graph: padded events of each row, and one vector for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from tabemb.data.encoding import Encoder, Inputs
from tabemb.network.history import (
    EVENT_SCALE,
    AllStates,
    Attention,
    BagOfEvents,
    BagOfWords,
    ByCategory,
    HistoryEncoder,
    HistoryNetwork,
    LastState,
    MeanState,
    Recurrent,
    SequenceNetwork,
)
from tabemb.network.tables import Tables
from tabemb.saving.onnx.columns import Columns, Encoding
from tabemb.saving.onnx.graph import Graph
from tabemb.saving.onnx.log import Log
from tabemb.saving.onnx.network import linear, number_vectors, numpy_of, table_vectors
from tabemb.saving.onnx.padded import Padded, log1p
from tabemb.saving.onnx.raw import LENGTH, N_STEPS, STEP
from tabemb.saving.onnx.steps import Steps


class EncodedEvents(NamedTuple):
    """The padded events of a history, their codes and numbers, and their steps if they come in steps."""

    padded: Padded
    columns: Columns
    steps: Steps | None = None

    @classmethod
    def of(
        cls,
        graph: Graph,
        encoder: Encoder,
        inputs: Inputs,
        name: str,
        raw: Mapping[str, str],
        log: Log | None = None,
    ) -> EncodedEvents:
        """Encode the fields of a history.

        Parameters
        ----------
        graph : Graph
        encoder : Encoder
        inputs : Inputs
            Of the history.
        name : str
            Its name.
        raw : mapping of field -> str
            Values (n, length).
        log : Log, optional
            What has the events already, where they are those of a log, which are all read.
        """
        fields = {f.column for f in (*inputs.schema.categorical, *inputs.schema.numbers)}
        values = {field: raw[field] for field in sorted(fields)}
        length, step, n_steps = (f"{name}.{part}" for part in (LENGTH, STEP, N_STEPS))
        most, steps = encoder.max_events, None
        if log is not None:
            padded, steps = log.padded, log.steps()
        elif inputs.schema.in_steps:
            every = Padded.of(graph, raw[length], raw[step])
            steps = Steps(graph, every, raw[step], raw[n_steps], most)
            padded = steps.events
        else:
            padded = Padded.of(graph, raw[length], next(iter(values.values())), most)
        values = {field: padded.newest(value) for field, value in values.items()}
        by_time = steps if inputs.schema.in_steps and steps is not None else padded
        clocks = {"gap": by_time.since_previous, "ago": by_time.until_last}
        vocabularies = encoder.vocabularies_of(inputs)
        return cls(padded, Encoding(graph, inputs, vocabularies, values, clocks).encode(), steps)

    def any_infinite(self, graph: Graph) -> str | None:
        """Return whether a number of an event of a row is infinite, int32 (n, 1)."""
        if self.columns.is_infinite is None:
            return None
        number = self.padded.zeroed(graph.cast(self.columns.is_infinite, np.float32))
        axes = graph.constant([1, 2], np.int64)
        highest = graph.add("ReduceMax", number, axes, keepdims=0)
        return graph.unsqueeze(graph.cast(highest, np.int32), 1)


def history_vector(graph: Graph, network: HistoryNetwork, tables: Tables, events: EncodedEvents) -> str:
    """Return the vector of the events of each row, (n, dim), as `HistoryNetwork` computes it."""
    padded, steps = events.padded, events.steps
    vectors = event_vectors(graph, network, tables, events)
    if network.pool is None or steps is None:
        encoded, n_steps = _encoded(graph, network.encoder, padded, vectors), padded
    else:
        pooled = steps.pool(network.pool, vectors)
        encoded, n_steps = _encoded(graph, network.encoder, steps.padded, pooled), steps.padded
    if isinstance(network, SequenceNetwork):  # counts the events of a log, not its steps
        n_steps = padded
    parts = [encoded, n_steps.log_counts()]
    if network.by_category is not None:
        assert events.columns.codes is not None
        parts.append(_by_category(graph, network.by_category, padded, vectors, events.columns.codes))
    return graph.concat(parts, 1)


def event_vectors(graph: Graph, network: HistoryNetwork, tables: Tables, events: EncodedEvents) -> str:
    """Return the vectors of events, (n, longest, d)."""
    codes, numbers = events.columns.codes, events.columns.numbers
    parts = []
    if codes is not None:
        flat = graph.reshape(codes, [-1, len(network.columns.firsts)])
        parts.append(table_vectors(graph, tables, flat, network.columns, EVENT_SCALE))
    if numbers is not None:
        n_numbers = graph.add("Shape", numbers, start=2)
        shape = graph.concat([graph.constant([-1], np.int64), n_numbers], 0)
        parts.append(number_vectors(graph, network.numbers, graph.add("Reshape", numbers, shape)))
    lengths = graph.add("Shape", events.padded.mask, start=0, end=2)
    shape = graph.concat([lengths, graph.constant([-1], np.int64)], 0)
    return graph.add("Reshape", graph.concat(parts, 1), shape)


def _encoded(graph: Graph, encoder: HistoryEncoder, padded: Padded, vectors: str) -> str:
    if isinstance(encoder, BagOfEvents):
        hidden = graph.add("Relu", linear(graph, encoder.layer, vectors))
        log_sum = log1p(graph, padded.sum(hidden))
        parts = [padded.mean(hidden), padded.max(hidden), log_sum]
        if not isinstance(encoder, BagOfWords):
            parts.append(padded.last(hidden))
        return graph.concat(parts, 1)
    assert isinstance(encoder, Recurrent)
    states = _states(graph, encoder, padded, vectors)
    return _pooled(graph, encoder.pool, padded, states)


def _states(graph: Graph, encoder: Recurrent, padded: Padded, vectors: str) -> str:
    """Return the states after each event, (n, longest, d_history)."""
    net = encoder.net
    is_gru = isinstance(net, nn.GRU)
    # the order of the gates in ONNX, by that in torch
    order = [1, 0, 2] if is_gru else [0, 3, 1, 2]

    def gates(values: np.ndarray) -> np.ndarray:
        return np.concatenate([np.split(values, len(order))[i] for i in order])

    weights = [gates(numpy_of(w))[None] for w in (net.weight_ih_l0, net.weight_hh_l0)]
    bias = np.concatenate([gates(numpy_of(b)) for b in (net.bias_ih_l0, net.bias_hh_l0)])[None]
    one = graph.constant(1, np.int64)
    lengths = graph.cast(graph.add("Max", padded.lengths, one), np.int32)
    by_event = graph.add("Transpose", padded.zeroed(vectors), perm=[1, 0, 2])
    more: dict[str, Any] = {"linear_before_reset": 1} if is_gru else {}
    states = graph.add(
        "GRU" if is_gru else "LSTM",
        by_event,
        *(graph.constant(part) for part in (*weights, bias)),
        lengths,
        hidden_size=net.hidden_size,
        **more,
    )  # (longest, 1, n, d_history)
    states = graph.add("Squeeze", states, graph.constant([1], np.int64))
    return graph.add("Transpose", states, perm=[1, 0, 2])


def _pooled(graph: Graph, pool: LastState, padded: Padded, states: str) -> str:
    if isinstance(pool, AllStates):
        return graph.concat([padded.last(states), padded.mean(states), padded.max(states)], 1)
    if isinstance(pool, MeanState):
        return padded.mean(states)
    if isinstance(pool, Attention):
        tenth = graph.constant(0.1, np.float32)
        score = graph.add("Tanh", graph.add("Mul", linear(graph, pool.score, states), tenth))
        weight = graph.add("Exp", graph.add("Mul", score, graph.constant(10, np.float32)))
        total = graph.add("Max", padded.sum(weight), graph.constant(1e-30, np.float32))
        return graph.add("Div", padded.sum(graph.add("Mul", weight, states)), total)
    return padded.last(states)


def _by_category(graph: Graph, by_category: ByCategory, padded: Padded, vectors: str, codes: str) -> str:
    """Return what the categories of one field give, by comparing each event with each other one."""
    field = graph.add("Gather", codes, graph.constant(by_category.field, np.int64), axis=2)
    both = graph.add("Equal", graph.unsqueeze(field, 2), graph.unsqueeze(field, 1))
    other = graph.add("Transpose", padded.mask, perm=[0, 2, 1])
    same = graph.add("Mul", graph.cast(both, np.float32), other)  # (n, longest, longest)
    axis, ahead = graph.constant([2], np.int64), graph.constant(1, np.int64)
    count = graph.add("ReduceSum", same, axis, keepdims=1)
    count = graph.add("Max", count, graph.constant(1, np.float32))
    n_later = graph.add("ReduceSum", graph.add("Trilu", same, ahead, upper=1), axis, keepdims=1)
    is_last = graph.add("Equal", n_later, graph.constant(0, np.float32))
    hidden = graph.add("Relu", linear(graph, by_category.layer, vectors))
    means = graph.add("Div", graph.add("MatMul", same, padded.zeroed(hidden)), count)
    parts = [means, graph.add("Mul", means, log1p(graph, count)), hidden]
    of_last = graph.add("Mul", graph.concat(parts, 2), graph.cast(is_last, np.float32))
    tenth, ten = (graph.constant(number, np.float32) for number in (0.1, 10))
    sums = graph.add("Mul", padded.sum(of_last), tenth)
    return graph.add("Mul", graph.squash(sums), ten)

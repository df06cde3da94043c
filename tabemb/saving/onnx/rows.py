"""Rows in a graph: from the inputs to the outputs of all networks, as `Fitted` computes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tabemb.data.encoding import Encoder
from tabemb.fitting.event_source import EARLIER, EventSource
from tabemb.fitting.fitted import Fitted
from tabemb.fitting.sources import RowSource
from tabemb.saving.onnx.columns import Columns, Encoding, read_vectors
from tabemb.saving.onnx.effects import effect_features
from tabemb.saving.onnx.graph import Graph
from tabemb.saving.onnx.histories import EncodedEvents, history_vector
from tabemb.saving.onnx.log import Log, log_inputs
from tabemb.saving.onnx.network import NetworkInputs, network_outputs
from tabemb.saving.onnx.newcomers import Newcomers
from tabemb.saving.onnx.raw import RawInput, raw_inputs
from tabemb.saving.onnx.trees import scores
from tabemb.saving.onnx.words import word_features


def model_inputs(source: RowSource, encoder: Encoder) -> list[RawInput]:
    """Return the inputs of the graph of a model of rows or of events."""
    raw = raw_inputs(encoder)
    return log_inputs(source, raw) if isinstance(source, EventSource) else raw


def row_outputs(
    graph: Graph, fitted: Fitted, newcomers: Mapping[int, Newcomers]
) -> tuple[str, str | None]:
    """Return the outputs of all members of all networks, and whether a row holds an infinite number."""
    encoder, (rows, *_) = fitted.encoder, fitted.encoder.inputs_
    given = model_inputs(fitted.source, encoder)
    raw = {one.name: one.name for one in given}
    logs: dict[str, Log] = {}
    if isinstance(fitted.source, EventSource):
        log = Log(graph, fitted.source, fitted.target, raw, {one.name: one.kind for one in given})
        raw |= log.values()
        logs[EARLIER] = log
    vocabularies = encoder.vocabularies_of(rows)
    columns = Encoding(graph, rows, vocabularies, raw, newcomers=newcomers).encode()
    histories = [
        EncodedEvents.of(graph, encoder, inputs, name, raw, logs.get(name))
        for name, inputs in zip(encoder.schema.histories, encoder.inputs_[1:])
    ]
    vectors = [
        read_vectors(graph, raw[name], scale)
        for name, scale in zip(encoder.schema.vectors, encoder.vectors_)
    ]
    by_name = dict(zip(encoder.schema.histories, histories))
    texts = [by_name[name] for name in encoder.schema.texts]
    effects = _effects(graph, fitted, columns, newcomers, texts)
    outputs = []
    for network in fitted.network.networks:
        of_histories = [
            history_vector(graph, part, network.tables, events)
            for part, events in zip(network.histories, histories)
        ]
        inputs = NetworkInputs(columns.codes, columns.numbers, effects, vectors, of_histories)
        outputs.append(network_outputs(graph, network, inputs))
    infinite = [columns.any_infinite(graph), *(events.any_infinite(graph) for events in histories)]
    return graph.concat(outputs, 1), _any(graph, infinite)


def _effects(
    graph: Graph,
    fitted: Fitted,
    columns: Columns,
    newcomers: Mapping[int, Newcomers],
    texts: Sequence[EncodedEvents],
) -> str | None:
    """Return effects and scores of trees, (n, n_terms, n_features); None where there are none."""
    encoder, effects, parts = fitted.encoder, fitted.effects, []
    sizes = [len(v) for v in encoder.vocabularies_of(encoder.inputs_[0])]
    if effects is not None and effects.shape[0]:
        words = [word_features(graph, w, effects.link, texts[w.text]) for w in effects.words_]
        parts.append(effect_features(graph, effects, sizes, columns, newcomers, words))
    if fitted.trees is not None:
        of_trees = graph.unsqueeze(scores(graph, fitted.trees, sizes, columns), 2)
        width = 1 if effects is None else effects.shape[1]
        pads = graph.constant([0, 0, 0, 0, 0, width - 1], np.int64)
        parts.append(graph.add("Pad", of_trees, pads))
    return graph.concat(parts, 1) if parts else None


def _any(graph: Graph, flags: Iterable[str | None]) -> str | None:
    """Return whether one of several flags, int32 (n, 1), is set; None without any."""
    given = [flag for flag in flags if flag is not None]
    return graph.cast(graph.add("Max", *given), np.bool_) if given else None

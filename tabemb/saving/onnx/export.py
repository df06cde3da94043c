"""Write a fitted estimator as an ONNX file, and the columns of a frame as its inputs."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from tabemb.estimators.rows import EmbeddingClassifier, EmbeddingRegressor
from tabemb.files.whole import replacing
from tabemb.fitting.checks import align_columns
from tabemb.fitting.fitted import Fitted
from tabemb.saving.onnx.columns import Columns, Encoding, read_vectors
from tabemb.saving.onnx.effects import effect_features
from tabemb.saving.onnx.graph import Graph
from tabemb.saving.onnx.histories import EncodedEvents, history_vector
from tabemb.saving.onnx.network import NetworkInputs, network_outputs
from tabemb.saving.onnx.raw import DTYPES, frame_inputs, raw_inputs
from tabemb.saving.onnx.targets import add_predictions
from tabemb.saving.onnx.trees import scores

ESTIMATORS = (EmbeddingClassifier, EmbeddingRegressor)


def to_onnx(model: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted estimator as an ONNX file, which answers without tabemb, torch or Python.

    The graph takes the values of columns as they are: text, whole numbers, numbers (NaN is missing),
    times as microseconds since 1970. It holds vocabularies, effects, trees and networks.

    Parameters
    ----------
    model : fitted EmbeddingClassifier or EmbeddingRegressor
    path : str or path-like
        The file to write.
    """
    _check_model(model)
    fitted = model._fitted
    raw = raw_inputs(fitted.encoder)
    _warn_of_expected(fitted)
    graph = Graph(one.name for one in raw)
    for one in raw:
        graph.input(one.name, DTYPES[one.kind], one.dims)
    outputs, invalid = _row_outputs(graph, fitted)
    named = add_predictions(graph, fitted.target, outputs, invalid)
    described = {"inputs": [one.described() for one in raw], "outputs": named}
    written = graph.model(f"{type(model).__name__} of tabemb", {"tabemb": json.dumps(described)})
    with replacing(path) as file:
        file.write(written.SerializeToString())


def onnx_inputs(model: Any, X: Any) -> dict[str, np.ndarray]:
    """Return rows as the inputs of the file that `to_onnx` writes.

    Parameters
    ----------
    model : fitted estimator
    X : frame or array-like of shape (n_rows, n_columns)

    Returns
    -------
    dict of input -> ndarray
    """
    _check_model(model)
    return frame_inputs(model.encoder_, align_columns(model, X))


def _check_model(model: Any) -> None:
    if type(model) not in ESTIMATORS:
        names = " or ".join(one.__name__ for one in ESTIMATORS)
        raise TypeError(f"model must be a fitted {names}; got {type(model).__name__}.")
    check_is_fitted(model)


def _warn_of_expected(fitted: Fitted) -> None:
    effects = fitted.effects
    if effects is None or not effects.expected_:
        return
    places = [effects.terms_[expected.term][0] for expected in effects.expected_]
    names = [fitted.encoder.schema.categorical[place].name for place in places]
    warnings.warn(
        f"The graph reads new categories of {', '.join(map(repr, names))} as unknown ones; predict "
        "compares their text with that of known ones, for which ONNX has no operator.",
        UserWarning,
        stacklevel=3,
    )


def _row_outputs(graph: Graph, fitted: Fitted) -> tuple[str, str | None]:
    """Return the outputs of all members of all networks, and whether a row holds an infinite number."""
    encoder, (rows, *_) = fitted.encoder, fitted.encoder.inputs_
    raw = {one.name: one.name for one in raw_inputs(encoder)}
    columns = Encoding(graph, rows, encoder.vocabularies_of(rows), raw).encode()
    histories = [
        EncodedEvents.of(graph, encoder, inputs, name, raw)
        for name, inputs in zip(encoder.schema.histories, encoder.inputs_[1:])
    ]
    vectors = [
        read_vectors(graph, raw[name], scale)
        for name, scale in zip(encoder.schema.vectors, encoder.vectors_)
    ]
    effects = _effects(graph, fitted, columns)
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


def _effects(graph: Graph, fitted: Fitted, columns: Columns) -> str | None:
    """Return effects and scores of trees, (n, n_terms, n_features); None where there are none."""
    encoder, effects, parts = fitted.encoder, fitted.effects, []
    if effects is not None and effects.shape[0]:
        sizes = [len(v) for v in encoder.vocabularies_of(encoder.inputs_[0])]
        parts.append(effect_features(graph, effects, sizes, columns))
    if fitted.trees is not None:
        of_trees = graph.unsqueeze(scores(graph, fitted.trees, columns), 2)
        width = 1 if effects is None else effects.shape[1]
        pads = graph.constant([0, 0, 0, 0, 0, width - 1], np.int64)
        parts.append(graph.add("Pad", of_trees, pads))
    return graph.concat(parts, 1) if parts else None


def _any(graph: Graph, flags: Iterable[str | None]) -> str | None:
    """Return whether one of several flags, int32 (n, 1), is set; None without any."""
    given = [flag for flag in flags if flag is not None]
    return graph.cast(graph.add("Max", *given), np.bool_) if given else None

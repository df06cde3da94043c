"""Write a fitted estimator as an ONNX file, and the columns of a frame as its inputs."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from tabemb.estimators.encoder import EmbeddingEncoder
from tabemb.estimators.rows import EmbeddingClassifier, EmbeddingRegressor
from tabemb.files.whole import replacing
from tabemb.fitting.checks import align_columns
from tabemb.fitting.fitted import Fitted
from tabemb.saving.onnx.columns import Columns, Encoding, read_vectors
from tabemb.saving.onnx.effects import effect_features
from tabemb.saving.onnx.encoder import encoder_features
from tabemb.saving.onnx.graph import Graph
from tabemb.saving.onnx.histories import EncodedEvents, history_vector
from tabemb.saving.onnx.network import NetworkInputs, network_outputs
from tabemb.saving.onnx.raw import DTYPES, frame_inputs, raw_inputs
from tabemb.saving.onnx.targets import add_predictions
from tabemb.saving.onnx.trees import scores

ESTIMATORS = (EmbeddingClassifier, EmbeddingRegressor, EmbeddingEncoder)
MOST_BYTES = 2**31 - 1
"""Largest file of ONNX."""


def to_onnx(model: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted estimator as an ONNX file, which answers without tabemb, torch or Python.

    The graph takes the values of columns as they are, one input for each: text, whole numbers, numbers,
    times, histories that are padded. It holds vocabularies, effects, trees and networks, and gives what
    `predict_proba` and `predict`, or `transform`, give, up to rounding. docs/serving.md describes inputs
    and outputs, and so do the metadata of the file under "tabemb", as JSON. Needs ``tabemb[onnx]``.

    Parameters
    ----------
    model : fitted EmbeddingClassifier, EmbeddingRegressor or EmbeddingEncoder
    path : str or path-like
        The file to write; nothing else is written.

    Raises
    ------
    TypeError
        Another kind of model.
    ValueError
        The model reads something that ONNX has no operator for, such as text by its words; or the file
        would be larger than 2 GiB, ONNX's limit.
    sklearn.exceptions.NotFittedError

    Warns
    -----
    UserWarning
        The model compares new categories with known ones by their text, and the graph reads them as
        unknown.

    Examples
    --------
    >>> import onnxruntime, pandas as pd, tempfile
    >>> X = pd.DataFrame({"city": ["Bonn", "Rome"] * 40})
    >>> model = EmbeddingRegressor(max_epochs=20, random_state=0).fit(X, [10.0, 20.0] * 40)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     to_onnx(model, f"{folder}/m.onnx")
    ...     session = onnxruntime.InferenceSession(f"{folder}/m.onnx")
    >>> session.run(["prediction"], {"city": ["Bonn", "Rome", "<missing>"]})[0].round().tolist()[:2]
    [10.0, 20.0]
    """
    _check_model(model)
    raw = raw_inputs(model.encoder_)
    _warn_of_new(model)
    graph = Graph(one.name for one in raw)
    for one in raw:
        graph.input(one.name, DTYPES[one.kind], one.dims)
    described: dict[str, Any] = {"inputs": [one.described() for one in raw]}
    if isinstance(model, EmbeddingEncoder):
        names = model.get_feature_names_out().tolist()[len(model.kept_columns_) :]
        features = encoder_features(graph, model)
        name = graph.output(features, "features", np.float32, ["rows", len(names)])
        described |= {"outputs": {name: "features"}, "features": names}
    else:
        outputs, invalid = _row_outputs(graph, model._fitted)
        described["outputs"] = add_predictions(graph, model.target_, outputs, invalid)
    written = graph.model(f"{type(model).__name__} of tabemb", {"tabemb": json.dumps(described)})
    if written.ByteSize() > MOST_BYTES:
        raise ValueError(
            f"The graph has {written.ByteSize():,} bytes, and an ONNX file at most {MOST_BYTES:,}; fit "
            "with a larger min_count or a smaller dim."
        )
    with replacing(path) as file:
        file.write(written.SerializeToString())


def onnx_inputs(model: Any, X: Any) -> dict[str, np.ndarray]:
    """Return rows as the inputs of the file that `to_onnx` writes, say to compare both.

    Parameters
    ----------
    model : fitted estimator
        As in `to_onnx`.
    X : frame or array-like of shape (n_rows, n_columns)

    Returns
    -------
    dict of input -> ndarray
        Missing values are what the metadata of the file say; histories are padded at their end.
    """
    _check_model(model)
    return frame_inputs(model.encoder_, align_columns(model, X))


def _check_model(model: Any) -> None:
    if type(model) not in ESTIMATORS:
        names = " or ".join(one.__name__ for one in ESTIMATORS)
        raise TypeError(f"model must be a fitted {names}; got {type(model).__name__}.")
    check_is_fitted(model)


def _warn_of_new(model: Any) -> None:
    """Warn where new categories are not read as `predict` or `transform` reads them."""
    if isinstance(model, EmbeddingEncoder):
        places = [placing.input for placing in getattr(model, "placings_", [])]
    else:
        effects = model.effects_
        expected = [] if effects is None else effects.expected_
        places = [effects.terms_[one.term][0] for one in expected]
    names = [model.encoder_.schema.categorical[place].name for place in places]
    if names:
        warnings.warn(
            f"The graph reads new categories of {', '.join(map(repr, names))} as unknown ones; the "
            "model compares them with known ones, for which ONNX has no operator.",
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
    sizes = [len(v) for v in encoder.vocabularies_of(encoder.inputs_[0])]
    if effects is not None and effects.shape[0]:
        parts.append(effect_features(graph, effects, sizes, columns))
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

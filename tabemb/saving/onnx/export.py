"""Write a fitted estimator as an ONNX file, and the columns of a frame as its inputs."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from tabemb.estimators.encoder import EmbeddingEncoder
from tabemb.estimators.events import EventClassifier, EventRegressor
from tabemb.estimators.rows import EmbeddingClassifier, EmbeddingRegressor
from tabemb.files.whole import replacing
from tabemb.fitting.checks import align_columns
from tabemb.fitting.event_source import EARLIER
from tabemb.saving.onnx.earlier import earlier_inputs
from tabemb.saving.onnx.encoder import encoder_features
from tabemb.saving.onnx.graph import Graph
from tabemb.saving.onnx.newcomers import compared_columns, newcomers_of
from tabemb.saving.onnx.raw import DTYPES, RawInput, frame_inputs, raw_inputs
from tabemb.saving.onnx.rows import model_inputs, row_outputs
from tabemb.saving.onnx.targets import add_predictions

EVENTS = (EventClassifier, EventRegressor)
ESTIMATORS = (EmbeddingClassifier, EmbeddingRegressor, *EVENTS, EmbeddingEncoder)
MOST_BYTES = 2**31 - 1
"""Largest file of ONNX."""


def to_onnx(
    model: Any,
    path: str | os.PathLike[str],
    new_categories: Mapping[str, Sequence[Any]] | None = None,
) -> None:
    """Write a fitted estimator as an ONNX file, which answers without tabemb, torch or Python.

    The graph takes the values of columns as they are, one input for each: text, whole numbers, numbers,
    times, histories that are padded. It holds vocabularies, effects, trees and networks, and gives what
    `predict_proba` and `predict`, or `transform`, give, up to rounding. docs/serving.md describes inputs
    and outputs, and so do the metadata of the file under "tabemb", as JSON. Needs ``tabemb[onnx]``.

    Parameters
    ----------
    model : fitted estimator
        EmbeddingClassifier, EmbeddingRegressor, EventClassifier, EventRegressor or EmbeddingEncoder.
    path : str or path-like
        The file to write; nothing else is written.
    new_categories : mapping of column -> sequence, optional
        Categories that training did not have, such as those of a catalogue, which the graph is to read
        as the model does, by the known ones that they resemble; others are unknown ones. Categories with
        a description (``Table(describe=frame)``) need not be named.

    Raises
    ------
    TypeError
        Another kind of model.
    ValueError
        Categories are neither text nor numbers nor times, a table has hashed rows, two inputs would have
        one name, or the file would be larger than 2 GiB, ONNX's limit; or ``new_categories`` breaks its
        rule.
    sklearn.exceptions.NotFittedError

    Warns
    -----
    UserWarning
        The model compares new categories with known ones by their text, and the graph reads those that
        are not named as unknown.

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
    raw = _raw_inputs(model)
    named = {name: list(labels) for name, labels in (new_categories or {}).items()}
    newcomers = newcomers_of(model, named)
    _warn_of_new(model, named)
    graph = Graph(one.name for one in raw)
    for one in raw:
        graph.input(one.name, DTYPES[one.kind], one.dims)
    described: dict[str, Any] = {"inputs": [one.described() for one in raw]}
    if isinstance(model, EmbeddingEncoder):
        names = model.get_feature_names_out().tolist()[len(model.kept_columns_) :]
        features = encoder_features(graph, model, newcomers)
        name = graph.output(features, "features", np.float32, ["rows", len(names)])
        described |= {"outputs": {name: "features"}, "features": names}
    else:
        outputs, invalid = row_outputs(graph, model._fitted, newcomers)
        described["outputs"] = add_predictions(graph, model.target_, outputs, invalid)
    written = graph.model(f"{type(model).__name__} of tabemb", {"tabemb": json.dumps(described)})
    if written.ByteSize() > MOST_BYTES:
        raise ValueError(
            f"The graph has {written.ByteSize():,} bytes, and an ONNX file at most {MOST_BYTES:,}; fit "
            "with a larger min_count or a smaller dim."
        )
    with replacing(path) as file:
        file.write(written.SerializeToString())


def onnx_inputs(
    model: Any, X: Any, earlier_X: Any = None, earlier_y: Any = None
) -> dict[str, np.ndarray]:
    """Return rows as the inputs of the file that `to_onnx` writes, say to compare both.

    Parameters
    ----------
    model : fitted estimator
        As in `to_onnx`.
    X : frame or array-like of shape (n_rows, n_columns)
    earlier_X : frame of shape (n_events, n_columns), optional
        Of an event estimator: the events before those of X, such as those of ``fit``.
    earlier_y : array-like of shape (n_events,) or (n_events, n_targets), optional
        Their targets.

    Returns
    -------
    dict of input -> ndarray
        Missing values are what the metadata of the file say; histories are padded at their end.
    """
    _check_model(model)
    frame, raw = align_columns(model, X), _raw_inputs(model)
    if not isinstance(model, EVENTS):
        if earlier_X is not None or earlier_y is not None:
            raise ValueError("earlier_X and earlier_y must be None for a model that reads no log.")
        model.encoder_.check_columns(frame)
        return frame_inputs(raw, model.encoder_, frame)
    if (earlier_X is None) != (earlier_y is None):
        raise ValueError("earlier_X and earlier_y must be passed together; one of them is None.")
    of_row = [one for one in raw if one.history != EARLIER]
    of_log = [one for one in raw if one.history == EARLIER]
    model.source_.check_columns(frame, [one.name for one in of_row if one.history is None])
    earlier = None if earlier_X is None else model._check_events(earlier_X, earlier_y)
    inputs = frame_inputs(of_row, model.encoder_, frame)
    return inputs | earlier_inputs(of_log, model.source_, model.target_, frame, earlier)


def _raw_inputs(model: Any) -> list[RawInput]:
    if isinstance(model, EmbeddingEncoder):
        return raw_inputs(model.encoder_)
    return model_inputs(model.source_, model.encoder_)


def _check_model(model: Any) -> None:
    if type(model) not in ESTIMATORS:
        names = " or ".join(one.__name__ for one in ESTIMATORS)
        raise TypeError(f"model must be a fitted {names}; got {type(model).__name__}.")
    check_is_fitted(model)
    hashed = [name for name, v in model.encoder_.vocabularies_.items() if v.n_hashed]
    if hashed:
        raise ValueError(
            f"model must have no table with hashed rows, as ONNX has no operator for the hash; table "
            f"{hashed[0]!r} has some, so fit it with rest='unknown'."
        )


def _warn_of_new(model: Any, named: Mapping[str, Sequence[Any]]) -> None:
    """Warn where new categories are not read as `predict` or `transform` reads them."""
    names = [one.name for one in compared_columns(model) if one.is_open and one.name not in named]
    if names:
        warnings.warn(
            f"The graph reads new categories of {', '.join(map(repr, names))} as unknown ones; the "
            "model compares them with known ones, for which ONNX has no operator. Name those that may "
            "come in new_categories.",
            UserWarning,
            stacklevel=3,
        )

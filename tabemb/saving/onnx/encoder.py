"""An `EmbeddingEncoder` in a graph: the new values of each category and of each pair."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tabemb.estimators.encoder import EmbeddingEncoder
from tabemb.saving.onnx.columns import Encoding
from tabemb.saving.onnx.effects import Term, features_of
from tabemb.saving.onnx.graph import Graph
from tabemb.saving.onnx.newcomers import Newcomers


def encoder_features(graph: Graph, model: EmbeddingEncoder, newcomers: Mapping[int, Newcomers]) -> str:
    """Return the new columns of rows, float32 (n, n_features), as `transform` gives them."""
    encoder, (rows, *_) = model.encoder_, model.encoder_.inputs_
    vocabularies, n_columns = encoder.vocabularies_of(rows), len(model.columns_)
    raw = {name: name for name in model.columns_}
    columns = Encoding(graph, rows, vocabularies, raw, newcomers=newcomers).encode()
    assert columns.codes is not None
    codes = columns.codes
    parts = []
    for i, values in enumerate(model.by_code_[:n_columns]):
        if i in columns.extended:
            code, values = columns.extended[i], np.concatenate([values, newcomers[i].values])
        else:
            code = graph.add("Gather", codes, graph.constant(i, np.int64), axis=1)
        parts.append(graph.add("Gather", graph.constant(values, np.float32), code, axis=0))
    pairs = model.pair_codes_
    if pairs.pairs:
        terms = [
            Term(pair, keys, values)
            for pair, keys, values in zip(pairs.pairs, pairs.keys, model.by_code_[n_columns:])
        ]
        n_levels = np.array([len(vocabulary) for vocabulary in vocabularies], np.int64)
        parts.append(graph.add("Flatten", features_of(graph, terms, codes, n_levels), axis=1))
    return graph.concat(parts, 1)

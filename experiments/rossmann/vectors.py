"""The network's vectors as inputs of the paper's other models."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from experiments.shared.sales import INPUTS
from tabemb import EmbeddingRegressor


def crossed(rows: pd.DataFrame, crosses: Mapping[str, list[str]]) -> pd.DataFrame:
    """Return the inputs, and one column for each cross of them that gets a table.

    Parameters
    ----------
    rows : DataFrame
    crosses : mapping
        The columns whose values are joined, by the name of the new column.
    """
    frame = rows[INPUTS].copy()
    for name, (first, *rest) in crosses.items():
        frame[name] = rows[first].astype(str).str.cat(rows[rest].astype(str), sep="|")
    return frame


def input_vectors(net: EmbeddingRegressor, frame: pd.DataFrame) -> np.ndarray:
    """Return the concatenated vectors of a frame's columns, each followed by the category's bias.

    Distances are those that the first hidden layer W sees: each vector is rotated into the principal
    directions of W and scaled by their singular values, so that the distance of a and b becomes that
    of W a and W b. A category that the network has not seen gets zeros, which are the mean.

    Parameters
    ----------
    net : EmbeddingRegressor
    frame : DataFrame
        As returned by :func:`crossed`.

    Returns
    -------
    ndarray of float32, shape (n_rows, total width)
    """
    spaces, weights, biases = net.spaces_.raw, first_layer_weights(net), category_biases(net)
    parts = []
    for name in frame.columns:
        space = spaces[name]
        _, scale, directions = np.linalg.svd(weights[name], full_matrices=False)
        rotated = (space.vectors - space.vectors.mean(0)) @ directions.T * scale
        vectors = np.column_stack([rotated, biases[name]])
        # the last row, which the code -1 selects, is for unknown categories
        vectors = np.vstack([vectors, np.zeros(vectors.shape[1])])
        parts.append(vectors[space.categories.get_indexer(pd.Index(frame[name]))])
    return np.concatenate(parts, axis=1).astype(np.float32)


def category_biases(net: EmbeddingRegressor) -> dict[str, np.ndarray]:
    """Return the bias that each category of a table adds to the output, (n_categories,)."""
    tables, biases = enumerate(net.encoder_.schema.tables), net.network_.networks[0].biases
    assert biases is not None
    return {name: biases.vectors(t).numpy()[-len(net.spaces_[name]) :, 0] for t, name in tables}


def first_layer_weights(net: EmbeddingRegressor) -> dict[str, np.ndarray]:
    """Return the weights of the first hidden layer on each column's vector, (n_hidden, dim)."""
    weights = net.network_.networks[0].column_weights()
    assert weights is not None
    names = [feature.name for feature in net.encoder_.schema.categorical]
    return {name: block.numpy() for name, block in zip(names, weights)}

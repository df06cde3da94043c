"""Vectors of one table from several networks, each trained without some rows, on common axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.linalg import orthogonal_procrustes
from torch import Tensor

from tabemb.data.schema import Schema
from tabemb.data.vocabulary import UNKNOWN, Vocabulary
from tabemb.estimators.base import RowEstimator
from tabemb.network.model import TabularNetwork

N_ROUNDS = 3
"""Rounds of rotating the vectors of each network towards the mean of all."""


class TableVectors(NamedTuple):
    """Vectors of a table, (n_codes, d), and how often the network saw each code, (n_codes,)."""

    vectors: np.ndarray
    counts: np.ndarray


def vectors_of(
    estimator: RowEstimator, vocabularies: Mapping[str, Vocabulary]
) -> dict[str, TableVectors]:
    """Return the vectors of a fitted estimator in the codes of these vocabularies.

    A category that the estimator has not seen gets the vector of unknown ones, and the count zero.
    """
    fitted, by_table = estimator.encoder_.vocabularies_, {}
    for name, vocabulary in vocabularies.items():
        codes = fitted[name].codes_of(vocabulary)
        networks = estimator.network_.networks
        parts = [_as_read(network, name, estimator.encoder_.schema) for network in networks]
        counts = np.where(codes == UNKNOWN, 0.0, fitted[name].counts[codes])
        by_table[name] = TableVectors(torch.cat(parts, 1).numpy(force=True)[codes], counts)
    return by_table


def _as_read(network: TabularNetwork, name: str, schema: Schema) -> Tensor:
    """Return the vectors of a table, (n_codes, d), at the distances that the next layer sees.

    A network may make a vector longer and its weights smaller without changing the output: only their
    product means something.
    """
    vectors = network.tables.vectors(list(schema.tables).index(name))
    weights = network.column_weights()
    if weights is None:
        return vectors
    of_table = torch.cat([block for block, table in zip(weights, schema.table_names) if table == name])
    _, lengths, directions = torch.linalg.svd(of_table, full_matrices=False)
    as_read: Tensor = vectors @ directions.T * lengths
    return as_read


def aligned(networks: Sequence[TableVectors]) -> list[np.ndarray]:
    """Rotate each network's vectors of a table to lie as near as they can to the mean of all.

    Rotations alone (generalised Procrustes, Gower 1975) keep lengths and angles. A code counts by the
    root of how often both networks saw it.
    """
    mean = networks[0]
    for _ in range(N_ROUNDS):
        rotated = [TableVectors(net.vectors @ _rotation(net, mean), net.counts) for net in networks]
        mean = _mean(rotated)
    return [network.vectors for network in rotated]


def by_agreement(
    vectors: Sequence[np.ndarray], counts: np.ndarray
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the vectors along the principal axes of their mean, and the agreement on each axis.

    Parameters
    ----------
    vectors : sequence of ndarray of shape (n_codes, d)
        Of each network, on common axes.
    counts : ndarray of shape (n_codes,)
        Weight of each code.

    Returns
    -------
    vectors : list of ndarray of shape (n_codes, d)
        The direction of most variance first.
    agreement : ndarray of shape (d,)
        Share of the variance along each axis that the networks have in common, from 0 to 1: the
        reliability of one network (intraclass correlation, Shrout & Fleiss 1979).
    """
    counts, mean = counts + 1e-9, np.mean(vectors, axis=0)  # no network may have seen any code
    center = np.average(mean, axis=0, weights=counts)
    _, _, axes = np.linalg.svd((mean - center) * np.sqrt(counts)[:, None], full_matrices=False)
    along = np.stack(vectors) @ axes.T - center @ axes.T
    total = np.average(np.square(along).mean(axis=0), axis=0, weights=counts)
    between = np.average(along.var(axis=0, ddof=min(1, len(vectors) - 1)), axis=0, weights=counts)
    return list(along), np.maximum(1 - between / np.maximum(total, 1e-30), 0.0)


def _mean(networks: Sequence[TableVectors]) -> TableVectors:
    """Return the mean over the networks that saw a code."""
    counts = np.sum([net.counts for net in networks], axis=0)
    total = np.sum([net.vectors * net.counts[:, None] for net in networks], axis=0)
    return TableVectors(total / np.maximum(counts, 1e-30)[:, None], counts / len(networks))


def _rotation(network: TableVectors, mean: TableVectors) -> np.ndarray:
    weights = np.sqrt(np.minimum(network.counts, mean.counts))[:, None]
    rotation, _ = orthogonal_procrustes(network.vectors * weights, mean.vectors * weights)
    return np.asarray(rotation, dtype=np.float32)

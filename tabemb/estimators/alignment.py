"""Vectors of one table from several nets, each trained without some rows, brought into one system of coordinates."""

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
"""Rounds of turning each fold's vectors towards the mean of all."""


class Learned(NamedTuple):
    """Vectors (n_codes, d) that a net learned, and how often it saw each code, (n_codes,)."""

    vectors: np.ndarray
    counts: np.ndarray


def learned_by(net: RowEstimator, vocabularies: Mapping[str, Vocabulary]) -> dict[str, Learned]:
    """What a fitted net learned of each table, in the codes of these vocabularies; one it lacks is as unknown."""
    own, learned = net.encoder_.vocabularies_, {}
    for name, vocabulary in vocabularies.items():
        codes = own[name].codes_of(vocabulary)
        parts = [_as_read(network, name, net.encoder_.schema) for network in net.network_.networks]
        counts = np.where(codes == UNKNOWN, 0.0, own[name].counts[codes])
        learned[name] = Learned(torch.cat(parts, 1).numpy(force=True)[codes], counts)
    return learned


def _as_read(network: TabularNetwork, name: str, schema: Schema) -> Tensor:
    """The vectors of a table, (n_codes, d), as far apart as they are for the layer that reads them.

    A net may make a vector longer and its weights smaller, and say the same: only their product means something.
    """
    vectors, weights = network.tables.vectors(list(schema.tables).index(name)), network.column_weights()
    if weights is None:
        return vectors
    own = torch.cat([block for block, table in zip(weights, schema.table_names) if table == name])
    _, lengths, directions = torch.linalg.svd(own, full_matrices=False)
    return vectors @ directions.T * lengths


def aligned(nets: Sequence[Learned]) -> list[np.ndarray]:
    """The nets' vectors of one table, turned so that they lie as near as can be to the mean of all.

    Rotations alone (generalised Procrustes, Gower 1975), by the codes that the nets saw, each by the root of its count:
    what a code says in a net stays as long as it was.
    """
    to = nets[0]
    for _ in range(N_ROUNDS):
        turned = [Learned(own.vectors @ _rotation(own, to), own.counts) for own in nets]
        to = _mean(turned)
    return [own.vectors for own in turned]


def by_agreement(
    vectors: Sequence[np.ndarray], counts: np.ndarray
) -> tuple[list[np.ndarray], np.ndarray]:
    """The nets' vectors along the principal axes of their mean, and how far the nets agree on each.

    Parameters
    ----------
    vectors : sequence of ndarray of shape (n_codes, d)
        Of each net, in one system of coordinates.
    counts : ndarray of shape (n_codes,)
        What each code counts for.

    Returns
    -------
    vectors : list of ndarray of shape (n_codes, d)
        The direction of most variance first.
    agreement : ndarray of shape (d,)
        Of each direction: share of the variance that the nets have in common, from 0 to 1, which is the reliability of
        one net (intraclass correlation, Shrout & Fleiss 1979).
    """
    counts, mean = counts + 1e-9, np.mean(vectors, axis=0)  # all codes may be unknown to all nets
    center = np.average(mean, axis=0, weights=counts)
    _, _, axes = np.linalg.svd((mean - center) * np.sqrt(counts)[:, None], full_matrices=False)
    along = np.stack(vectors) @ axes.T - center @ axes.T
    own = np.average(np.square(along).mean(axis=0), axis=0, weights=counts)
    apart = np.average(along.var(axis=0, ddof=min(1, len(vectors) - 1)), axis=0, weights=counts)
    return list(along), np.maximum(1 - apart / np.maximum(own, 1e-30), 0.0)


def _mean(nets: Sequence[Learned]) -> Learned:
    """Mean over the nets that saw a code."""
    counts = np.sum([own.counts for own in nets], axis=0)
    total = np.sum([own.vectors * own.counts[:, None] for own in nets], axis=0)
    return Learned(total / np.maximum(counts, 1e-30)[:, None], counts / len(nets))


def _rotation(own: Learned, to: Learned) -> np.ndarray:
    weights = np.sqrt(np.minimum(own.counts, to.counts))[:, None]
    return orthogonal_procrustes(own.vectors * weights, to.vectors * weights)[0].astype(np.float32)

"""Cold start: where a category that training did not have stands among those that it had.

Its description, by default its own text, says which known categories it resembles. A row with a new
category is predicted as if it had each of them, and the outputs are averaged by how much they are alike:
a smoother over categories (Nadaraya 1964). How well that works is measured before it is used: each
known category is predicted from the effects of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from tabemb.data.effects import Effects, TermLevels
from tabemb.data.encoding import Encoder
from tabemb.data.schema import Table
from tabemb.data.vocabulary import N_SPECIAL, UNKNOWN, Vocabulary
from tabemb.fitting.fitted import Fitted
from tabemb.fitting.pretrained import given_vectors
from tabemb.labels import as_objects
from tabemb.network.inputs import RowInputs
from tabemb.spelling import MOST_TRIED, N_NEIGHBOURS, Descriptions, Spellings, weights_of

Likeness = Spellings | Descriptions
MIN_LEVELS = 20
MIN_GAIN = 0.05
"""Share of the variance between categories that their texts must explain, out of sample."""
MOST_KNOWN = 50_000
"""Most categories that a new one is compared with: beyond, it is unknown."""


@dataclass(frozen=True)
class Placing:
    """How new categories of one input are placed among the known ones.

    Parameters
    ----------
    input : int
        Position among the categorical inputs of rows.
    share : float
        Weight of the known categories together; the rest is that of an unknown one.
    gain : float
        Share of the variance of the effects that is explained out of sample.
    """

    input: int
    share: float
    gain: float


def placings_of(encoder: Encoder, effects: Effects | None, seed: int) -> list[Placing]:
    """Return how to place new categories of each input, where their descriptions say enough.

    Effects are those of all training rows. An input without effects needs no placing.
    """
    if effects is None:
        return []
    names = encoder.schema.table_names
    placings = []
    for t, term in enumerate(effects.terms_):
        if len(term) > 1 or term[0] >= len(names):
            continue
        vocabulary = encoder.vocabularies_[names[term[0]]]
        alike = likeness_of(encoder.schema.tables[names[term[0]]], vocabulary)
        if alike is not None:
            labels = as_objects(vocabulary.labels())
            rng = np.random.default_rng(seed)
            placing = _placing(term[0], alike, labels, effects.levels_of(t), rng)
            placings += [placing] if placing.gain >= MIN_GAIN else []
    return placings


def likeness_of(table: Table, vocabulary: Vocabulary) -> Likeness | None:
    """Return what new categories of a table are compared by; None where they are unknown ones."""
    if table.describe is None or not MIN_LEVELS <= len(vocabulary.categories) <= MOST_KNOWN:
        return None
    labels = vocabulary.labels().tolist()
    if not isinstance(table.describe, str):
        return Descriptions(labels, described(table.describe))
    return Spellings(labels) if vocabulary.kind == "text" else None


def described(describe: Any) -> pd.DataFrame:
    """Return descriptions as a frame of numbers: columns of categories become indicators."""
    frame = given_vectors("described", describe)
    return pd.get_dummies(frame, dtype=float).fillna(0.0)


def _placing(
    place: int, alike: Likeness, labels: np.ndarray, levels: TermLevels, rng: np.random.Generator
) -> Placing:
    """Return the placing of an input: each category is predicted from the effects of the others.

    The share is the slope of the means on these predictions. Categories count by how well their means
    are known.
    """
    known = np.flatnonzero(levels.levels[:, 0] >= N_SPECIAL)
    at = levels.levels[known, 0] - N_SPECIAL
    effects = np.zeros((len(labels), levels.effects.shape[1]))
    effects[at] = levels.effects[known]
    tried = rng.permutation(len(known))[:MOST_TRIED]
    tried = tried[alike.has(labels[at[tried]].tolist())]
    if not len(tried):
        return Placing(place, 0.0, 0.0)
    counts, means = levels.counts[known[tried]], levels.means[known[tried]]
    trust = (counts / (counts + levels.strength))[:, None]
    near, products = alike.nearest(labels[at[tried]].tolist(), N_NEIGHBOURS, but=at[tried])
    predicted = np.einsum("nk,nkr->nr", weights_of(products), effects[near])
    square = float((trust * predicted**2).sum())
    slope = float((trust * predicted * means).sum()) / square if square else 0.0
    share = float(np.clip(slope, 0, 1))
    rest, total = (float((trust * r**2).sum()) for r in (means - share * predicted, means))
    return Placing(place, share, 1 - rest / total if total else 0.0)


class Placer:
    """Places the new categories of rows among the known ones.

    Parameters
    ----------
    fitted : Fitted
    placings : list of Placing
    """

    def __init__(self, fitted: Fitted, placings: Sequence[Placing]) -> None:
        self.fitted, self.placings = fitted, placings
        schema = fitted.encoder.schema
        self._columns = [schema.categorical[placing.input].column for placing in placings]
        self._likeness: dict[int, Likeness | None] = {}

    def _alike(self, place: int) -> Likeness | None:
        """Return what the new categories of an input are compared by; made when one is there."""
        if place not in self._likeness:
            encoder = self.fitted.encoder
            name = encoder.schema.table_names[place]
            self._likeness[place] = likeness_of(encoder.schema.tables[name], encoder.vocabularies_[name])
        return self._likeness[place]

    def outputs_of(
        self,
        inputs: RowInputs,
        frame: pa.Table,
        outputs: Tensor,
        predict: Callable[[RowInputs], Tensor],
    ) -> Tensor:
        """Return the outputs of rows, those with new categories averaged over the known ones.

        Parameters
        ----------
        inputs : RowInputs of n rows
        frame : pyarrow.Table of n rows
            What was encoded.
        outputs : Tensor of shape (n, ...)
            The part of the network's output where new categories are unknown.
        predict : callable
            Returns the outputs of rows.
        """
        if not self.placings:
            return outputs
        codes = inputs.codes.numpy(force=True)
        is_new = codes[:, [placing.input for placing in self.placings]] == UNKNOWN
        rows = np.flatnonzero(is_new.any(axis=1))
        if not len(rows):
            return outputs
        by_rank, weights = self._neighbours(codes[rows], is_new[rows], frame.take(pa.array(rows)))
        chosen = inputs.take(torch.from_numpy(rows).to(inputs.device))
        total = outputs[rows] * _as_factor(1 - weights.sum(axis=1), outputs)
        for of_rank, weight in zip(by_rank, weights.T):
            alike_rows = replace(chosen, codes=torch.from_numpy(of_rank).to(inputs.device))
            total += predict(alike_rows) * _as_factor(weight, outputs)
        placed = outputs.clone()
        placed[rows] = total
        return placed

    def _neighbours(
        self, codes: np.ndarray, is_new: np.ndarray, frame: pa.Table
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return codes with known categories, (k, n, n_categorical), and their weights, (n, k).

        Where two categories of a row are new, each has half a say.
        """
        by_rank = np.repeat(codes[None], N_NEIGHBOURS, axis=0)
        weights, times = np.zeros((len(codes), N_NEIGHBOURS)), np.zeros(len(codes))
        for placing, column, new in zip(self.placings, self._columns, is_new.T):
            rows = np.flatnonzero(new)
            alike = self._alike(placing.input) if len(rows) else None
            if alike is None:
                continue
            rows, near, of_rows = _near(frame[column], rows, alike, placing)
            by_rank[: near.shape[1], rows, placing.input] = near.T + N_SPECIAL
            weights[rows, : near.shape[1]] += of_rows
            times[rows] += 1
        return by_rank, weights / np.maximum(times, 1)[:, None]


def _as_factor(weights: np.ndarray, outputs: Tensor) -> Tensor:
    """Return weights (n,) as a tensor that multiplies outputs (n, ...)."""
    factor = torch.from_numpy(weights).to(outputs)
    return factor.view(-1, *(1,) * (outputs.dim() - 1))


def _near(
    column: pa.ChunkedArray, rows: np.ndarray, alike: Likeness, placing: Placing
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the rows whose category can be placed, the known ones near it, and their weights."""
    distinct = column.take(pa.array(rows)).unify_dictionaries().combine_chunks()
    encoded = pc.dictionary_encode(distinct)
    labels = encoded.dictionary.to_pylist()
    has = np.flatnonzero(alike.has(labels))
    if not len(has):
        nothing = np.zeros((0, 1))
        return rows[:0], nothing.astype(np.int64), nothing
    near, products = alike.nearest([labels[i] for i in has], N_NEIGHBOURS)
    weights = placing.share * weights_of(products)
    places = np.full(len(labels), -1)
    places[has] = np.arange(len(has))
    place = places[encoded.indices.to_numpy()]
    kept = place >= 0
    return rows[kept], near[place[kept]], weights[place[kept]]

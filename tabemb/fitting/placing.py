"""Cold start: where a category that training did not have stands among those that it had.

Its description, by default its own text, says which known categories it resembles. A row with a new
category is predicted as if it had each of them, and the outputs are averaged by how much they are alike.
How well that works is measured before it is used (`tabemb.data.similar`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from tabemb.data.effects import Effects
from tabemb.data.encoding import Encoder
from tabemb.data.schema import Table
from tabemb.data.values import hashable_values
from tabemb.data.vocabulary import N_SPECIAL, UNKNOWN, Vocabulary
from tabemb.likeness.descriptions import Descriptions, described
from tabemb.likeness.nearest import N_NEIGHBOURS, Likeness
from tabemb.likeness.spelling import Spellings
from tabemb.network.inputs import RowInputs
from tabemb.spaces.space import EmbeddingSpace

MIN_LEVELS = 20
AT_ONCE = 1024
"""Rows with new categories that are predicted at a time, each as several known ones; of fewer, as many
that their copies are no more, so that they are predicted as precisely as they are alone."""
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


def placings_of(effects: Effects | None) -> list[Placing]:
    """Return how to place new categories of each input, where their descriptions say enough."""
    if effects is None:
        return []
    similar = effects.similar_
    return [Placing(effects.terms_[one.term][0], one.share, one.gain) for one in similar]


def likeness_by_input(encoder: Encoder) -> dict[int, Likeness]:
    """Return what the categories of each categorical input of rows are compared by, where they are."""
    names = encoder.schema.table_names
    by_table = {
        name: likeness_of(name, encoder.schema.tables[name], encoder.vocabularies_[name])
        for name in dict.fromkeys(names)
    }
    alike = {i: by_table[name] for i, name in enumerate(names)}
    return {i: one for i, one in alike.items() if one is not None}


def likeness_of(name: str, table: Table, vocabulary: Vocabulary) -> Likeness | None:
    """Return what new categories of a table are compared by; None where they are unknown ones.

    Raises
    ------
    TypeError, ValueError
        The descriptions break a rule, or describe none of the categories.
    """
    labels = vocabulary.labels().tolist()
    alike: Likeness | None = None
    can_compare = MIN_LEVELS <= len(labels) <= MOST_KNOWN
    if table.describe is None:
        return None
    if not isinstance(table.describe, str):
        alike = Descriptions(labels, described(name, table.describe))
        _check_match(name, alike, labels)
    elif vocabulary.kind == "text" and can_compare:
        alike = Spellings(labels)
    return alike if can_compare else None


def _check_match(name: str, alike: Descriptions, labels: list[object]) -> None:
    if labels and not alike.known.any():
        raise ValueError(
            f"Table {name!r}: describe has none of the {len(labels)} categories of its columns, such as "
            f"{labels[0]!r}; its index holds values such as {alike.labels[0]!r}. Index it by category."
        )


def with_descriptions(space: EmbeddingSpace, table: Table) -> EmbeddingSpace:
    """Return the space with the descriptions of its table, where that has some beside texts."""
    if not isinstance(table.describe, str | None):
        labels, vectors = described(space.name, table.describe)
        space.descriptions = EmbeddingSpace(vectors, labels)
    return space


def check_describable(encoder: Encoder, has_sequences: bool, has_effects: bool) -> None:
    """Raise where descriptions were passed for a table that cannot use them."""
    of_rows = set() if has_sequences else set(encoder.schema.table_names)
    for name, table in encoder.schema.tables.items():
        if table.describe is None or isinstance(table.describe, str):
            continue
        if name not in of_rows:
            raise ValueError(
                f"Table {name!r}: describe is for columns of plain rows, and "
                f"{table.columns[0]!r} holds events or belongs to events; leave describe out."
            )
        if not has_effects:
            raise ValueError(
                f"Table {name!r}: describe needs effects=True, as effects decide whether descriptions "
                "are used; got effects=False."
            )


class Placer:
    """Places the new categories of rows among the known ones.

    Parameters
    ----------
    encoder : Encoder
    placings : list of Placing
    """

    def __init__(self, encoder: Encoder, placings: Sequence[Placing]) -> None:
        self.encoder, self.placings = encoder, placings
        self._likeness: dict[str, Likeness | None] = {}

    def alike(self, place: int) -> Likeness | None:
        """Return what the new categories of an input are compared by; made when one is there."""
        name = self.encoder.schema.table_names[place]
        if name not in self._likeness:
            table, vocabulary = self.encoder.schema.tables[name], self.encoder.vocabularies_[name]
            self._likeness[name] = likeness_of(name, table, vocabulary)
        return self._likeness[name]

    def near(
        self, placing: Placing, frame: pa.Table, rows: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the rows whose category can be placed, the codes near it, and their weights.

        Parameters
        ----------
        placing : Placing
        frame : pyarrow.Table
        rows : ndarray of int
            Those whose category is new.

        Returns
        -------
        rows : ndarray of shape (n,)
        codes : ndarray of shape (n, k)
        weights : ndarray of shape (n, k)
        """
        if not len(rows):
            return rows, np.zeros((0, 1), np.int64), np.zeros((0, 1))
        name = self.encoder.schema.categorical[placing.input].column
        values = frame[name].take(pa.array(rows)).unify_dictionaries().combine_chunks()
        encoded = pc.dictionary_encode(values)
        labels = hashable_values(encoded.dictionary, frame.schema.field(name))
        has, near, weights = self._near(placing, labels)
        places = np.full(len(labels), -1)
        places[has] = np.arange(len(has))
        place = places[encoded.indices.to_numpy()]
        kept = place >= 0
        return rows[kept], near[place[kept]], weights[place[kept]]

    def near_labels(
        self, table: str, labels: Sequence[Any]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the positions of the new labels that can be placed, the codes near them, and weights.

        Of several inputs that read the table, that counts whose effects are explained best.
        """
        names = self.encoder.schema.table_names
        of_table = [placing for placing in self.placings if names[placing.input] == table]
        if not of_table or not len(labels):
            return np.zeros(0, np.int64), np.zeros((0, 1), np.int64), np.zeros((0, 1))
        return self._near(max(of_table, key=lambda placing: placing.gain), labels)

    def _near(
        self, placing: Placing, labels: Sequence[Any]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        alike = self.alike(placing.input)
        if alike is None:
            return np.zeros(0, np.int64), np.zeros((0, 1), np.int64), np.zeros((0, 1))
        has = np.flatnonzero(alike.has(labels))
        near, weights = alike.nearest([labels[i] for i in has.tolist()])
        return has, near + N_SPECIAL, placing.share * weights

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
        near, weights = self._neighbours(codes[rows], is_new[rows], frame.take(pa.array(rows)))
        placed = outputs.clone()
        placed[rows] *= _as_factor(1 - weights.sum(axis=1), outputs)
        # few rows stay few, and precise
        step = AT_ONCE if len(rows) > AT_ONCE else max(AT_ONCE // N_NEIGHBOURS, 1)
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            self._add(placed, inputs, rows[part], near[part], weights[part], predict)
        return placed

    def _add(
        self,
        placed: Tensor,
        inputs: RowInputs,
        rows: np.ndarray,
        near: np.ndarray,
        weights: np.ndarray,
        predict: Callable[[RowInputs], Tensor],
    ) -> None:
        """Add the weighted outputs for the known categories near those of some rows, in place."""
        row, rank = np.nonzero(weights)
        if not len(row):
            return
        at = torch.from_numpy(rows[row]).to(placed.device)
        chosen = inputs.take(at.to(inputs.device))
        codes = inputs.codes.numpy(force=True)[rows[row]]
        for i, placing in enumerate(self.placings):
            known = near[row, rank, i]
            codes[:, placing.input] = np.where(known, known, codes[:, placing.input])
        alike = replace(chosen, codes=torch.from_numpy(codes).to(inputs.device))
        placed.index_add_(0, at, predict(alike) * _as_factor(weights[row, rank], placed))

    def _neighbours(
        self, codes: np.ndarray, is_new: np.ndarray, frame: pa.Table
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the codes of known categories, (n, k, n_placings), and their weights, (n, k).

        A code of zero leaves the category as it is. Where two categories of a row are new, each has half
        a say.
        """
        shape = len(codes), N_NEIGHBOURS
        near = np.zeros((*shape, len(self.placings)), codes.dtype)
        weights, times = np.zeros(shape), np.zeros(len(codes))
        for i, (placing, new) in enumerate(zip(self.placings, is_new.T)):
            rows, of_rows, of_weights = self.near(placing, frame, np.flatnonzero(new))
            near[rows, : of_rows.shape[1], i] = of_rows
            weights[rows, : of_rows.shape[1]] += of_weights
            times[rows] += 1
        return near, weights / np.maximum(times, 1)[:, None]


def _as_factor(weights: np.ndarray, outputs: Tensor) -> Tensor:
    """Return weights (n,) as a tensor that multiplies outputs (n, ...)."""
    factor = torch.from_numpy(weights).to(outputs)
    return factor.view(-1, *(1,) * (outputs.dim() - 1))

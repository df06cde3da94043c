"""Cold start: the effects to expect of a category that training did not have.

A description, by default the text of the category, shows which known categories it resembles. Their
effects predict the effect of the new category (`tabemb.data.expected`). The network reads such expected
effects for known categories too. Training hides the categories of some cells, so that the network finds
out how reliable an expected effect is alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from tabemb.data.effects import Effects
from tabemb.data.encoding import Encoder
from tabemb.data.schema import Schema, Table
from tabemb.data.values import hashable_values
from tabemb.data.vocabulary import N_SPECIAL, UNKNOWN, Vocabulary
from tabemb.likeness.descriptions import Descriptions, described
from tabemb.likeness.nearest import Likeness
from tabemb.likeness.spelling import Spellings
from tabemb.network.inputs import RowInputs
from tabemb.spaces.space import EmbeddingSpace

MIN_LEVELS = 20
MOST_KNOWN = 50_000
"""Largest number of categories to compare a new one with; with more, it is read as unknown."""


def likeness_by_input(encoder: Encoder) -> dict[int, Likeness]:
    """Return the likeness of each categorical input of rows whose new categories are compared."""
    names = encoder.schema.table_names
    by_table = {
        name: likeness_of(name, encoder.schema.tables[name], encoder.vocabularies_[name])
        for name in dict.fromkeys(names)
    }
    alike = {i: by_table[name] for i, name in enumerate(names)}
    return {i: one for i, one in alike.items() if one is not None}


def likeness_of(name: str, table: Table, vocabulary: Vocabulary) -> Likeness | None:
    """Return the likeness by which new categories of a table are compared; None: they stay unknown.

    Raises
    ------
    TypeError, ValueError
        The descriptions break a rule, or describe none of the categories.
    """
    labels = vocabulary.labels().tolist()
    alike: Likeness | None = None
    can_compare = MIN_LEVELS <= len(labels) <= MOST_KNOWN
    if table.describe is None or table.rest == "hash":
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
    """Return the space with the descriptions of its table, if it has any besides its texts."""
    if not isinstance(table.describe, str | None):
        labels, vectors = described(space.name, table.describe)
        space.descriptions = EmbeddingSpace(vectors, labels)
    return space


def check_describable(schema: Schema, has_rows: bool = False, has_effects: bool = True) -> None:
    """Raise where descriptions were passed for a table that cannot use them.

    Parameters
    ----------
    schema : Schema
    has_rows : bool
        Whether the model predicts plain rows, whose columns can have descriptions.
    has_effects : bool
    """
    of_rows = set(schema.table_names) if has_rows else set()
    for name, table in schema.tables.items():
        if table.describe is None or isinstance(table.describe, str):
            continue
        if name not in of_rows:
            raise ValueError(
                f"Table {name!r}: describe is for columns of the plain rows of a classifier, a "
                f"regressor or EmbeddingEncoder, and {table.columns[0]!r} is none; leave describe out."
            )
        if not has_effects:
            raise ValueError(
                f"Table {name!r}: describe needs effects=True, as effects decide whether descriptions "
                "are used; got effects=False."
            )


class NewCategories:
    """Reads the new categories of rows by their likeness to known ones.

    Parameters
    ----------
    encoder : Encoder
    effects : Effects, optional
    """

    def __init__(self, encoder: Encoder, effects: Effects | None) -> None:
        self.encoder, self.effects = encoder, effects
        self._likeness: dict[str, Likeness | None] = {}

    def read(self, inputs: RowInputs, frame: pa.Table) -> RowInputs:
        """Return rows with the expected effects of their new categories, if there are any.

        Another form of a known category, such as its text in lower case, is read as the known category.

        Parameters
        ----------
        inputs : RowInputs of n rows
            Without effects.
        frame : pyarrow.Table of n rows
            The rows that were encoded.
        """
        if self.effects is None or not self.effects.expected_:
            return inputs
        codes = inputs.codes.numpy(force=True).copy()
        new = np.full((len(codes), *self.effects.expected_shape), np.nan, np.float32)
        for i, expected in enumerate(self.effects.expected_):
            place = self.effects.terms_[expected.term][0]
            rows = np.flatnonzero(codes[:, place] == UNKNOWN)
            alike = self._alike(place) if len(rows) else None
            if alike is None:
                continue
            labels, cells = labels_in(frame, self.encoder.schema.categorical[place].column, rows)
            same = alike.same(labels)
            codes[rows, place] = np.where(same < 0, UNKNOWN, same + N_SPECIAL)[cells]
            has = np.flatnonzero(alike.has(labels) & (same < 0))
            of_labels = np.full((len(labels), new.shape[2]), np.nan)
            of_labels[has] = expected.of_new(alike, [labels[j] for j in has.tolist()])
            new[rows, i] = of_labels[cells]
        inputs = replace(inputs, codes=torch.from_numpy(codes).to(inputs.device))
        return inputs if np.isnan(new).all() else inputs.with_effects(torch.from_numpy(new))

    def _alike(self, place: int) -> Likeness | None:
        """Return the likeness of the categories of an input, computed when it is first needed."""
        name = self.encoder.schema.table_names[place]
        if name not in self._likeness:
            table, vocabulary = self.encoder.schema.tables[name], self.encoder.vocabularies_[name]
            self._likeness[name] = likeness_of(name, table, vocabulary)
        return self._likeness[name]


def labels_in(frame: pa.Table, column: str, rows: np.ndarray) -> tuple[list[Any], np.ndarray]:
    """Return the distinct values of a column in some rows, and the index of each row's value."""
    values = frame[column].take(pa.array(rows)).unify_dictionaries().combine_chunks()
    encoded = pc.dictionary_encode(values)
    labels = hashable_values(encoded.dictionary, frame.schema.field(column))
    return labels, encoded.indices.to_numpy()

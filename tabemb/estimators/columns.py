"""A line for each column of a fitted estimator: role, table, levels, missing values, width, effect."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from tabemb.data.effects import Effects
from tabemb.data.encoding import Encoder, Inputs
from tabemb.data.schema import WITHIN, Feature
from tabemb.data.vocabulary import MISSING
from tabemb.estimators.importances import explained_shares
from tabemb.estimators.summary import COLUMNS
from tabemb.network.inputs import History, Prefixes, Ragged, RowInputs
from tabemb.spaces.space import EmbeddingSpace

Line = dict[str, Any]


def reliability_of(space: EmbeddingSpace) -> float | None:
    """Return the mean reliability of a space's categories over the rows; None if it has none."""
    if space.reliability is None:
        return None
    counts = np.ones(len(space)) if space.counts is None else space.counts
    return float(np.average(space.reliability, weights=counts)) if np.any(counts) else 0.0


def scaled_within(encoder: Encoder) -> list[str]:
    """Return the numbers of events that are scaled within a category, such as "value within what"."""
    numbers = chain.from_iterable(part.schema.numbers for part in encoder.inputs_)
    return [feature.name for feature in numbers if feature.part == WITHIN]


def missing_shares(encoder: Encoder, inputs: RowInputs) -> dict[str, float]:
    """Return the share of training rows, or of events, that lack a value, by column or field.

    A row without events lacks its history, and a row without words lacks its text.
    """
    shares: dict[str, float] = {}
    for part, codes, numbers in _parts(encoder, inputs):
        for j, feature in enumerate(part.schema.categorical):
            shares.setdefault(feature.column, _share(codes[:, j] == MISSING))
        for j, feature in enumerate(part.schema.numbers):
            shares.setdefault(feature.column, _share(numbers[:, j].isnan()))
    lacks = map(_has_no_events, inputs.histories)
    shares |= dict(zip(encoder.schema.histories, map(_share, lacks)))
    is_missing = (vectors.isnan().all(1) for vectors in inputs.vectors)
    return shares | dict(zip(encoder.schema.vectors, map(_share, is_missing)))


def _parts(encoder: Encoder, inputs: RowInputs) -> Iterator[tuple[Inputs, Tensor, Tensor]]:
    yield encoder.inputs_[0], inputs.codes, inputs.numbers
    for part, history in zip(encoder.inputs_[1:], inputs.histories):
        events = history.events if isinstance(history, Prefixes) else history
        assert isinstance(events, Ragged)
        yield part, events.codes, events.numbers


def _share(cells: Tensor) -> float:
    return int(cells.sum()) / len(cells) if len(cells) else 0.0


def _has_no_events(history: History) -> Tensor:
    if isinstance(history, Prefixes):  # the first event of a sequence, and others at its time
        return history.events.positions[history.seen] == 0
    assert isinstance(history, Ragged)
    return history.lengths == 0


class ColumnLines:
    """The lines of the columns of X and of the fields of their events.

    Parameters
    ----------
    encoder : Encoder
    missing : mapping of column -> share, optional
        From `missing_shares`; None for files of tabemb 0.2, whose vocabularies give most of the shares.
    effects : Effects, optional
    spaces : mapping of table name -> EmbeddingSpace
        The spaces that are known.
    """

    def __init__(
        self,
        encoder: Encoder,
        missing: Mapping[str, float] | None,
        effects: Effects | None,
        spaces: Mapping[str, EmbeddingSpace],
    ) -> None:
        self.encoder, self.missing, self.spaces = encoder, missing, spaces
        self.explained = explained_shares(encoder, effects) or {}

    def frame(
        self,
        table_width: Callable[[str, str], int],
        number_width: Callable[[int, int], int] = lambda part, i: 0,
        history_width: Callable[[int], int] = lambda i: 0,
    ) -> pd.DataFrame:
        """Return the lines in the order of X.

        Parameters
        ----------
        table_width : callable
            Takes the names of a table and of a column that reads it; returns the width of a vector.
        number_width : callable
            Takes 0 for rows or 1, ... for a history, and the position of a number; returns its width.
        history_width : callable
            Takes the position of a history; returns its width.
        """
        self.table_width, self.number_width = table_width, number_width
        lines: list[Line] = []
        histories = list(self.encoder.schema.histories)
        for name, role in self.encoder.schema.roles.items():
            if role not in ("history", "text"):
                lines.append(self._line(0, name, role))
                continue
            i = histories.index(name)
            fields = self.encoder.schema.histories[name].roles
            bag = self._line(i + 1, name, role) if name in fields else {"column": name, "role": role}
            lines.append(bag | {"missing": self._missing(name), "width": history_width(i)})
            lines += [self._line(i + 1, f, r) for f, r in fields.items() if f != name]
        return _typed(lines)

    def _line(self, part: int, name: str, role: str) -> Line:
        """Return the line of a column of rows (part 0) or of a field of events."""
        line: Line = {"column": name, "role": role}
        if role == "ignored":
            return line
        schema = self.encoder.inputs_[part].schema
        categorical = [feature for feature in schema.categorical if feature.column == name]
        tables = self.encoder.schema.tables_of(categorical)
        widths = [self.table_width(t, f.name) for t, f in zip(tables, categorical)]
        numbers = [i for i, feature in enumerate(schema.numbers) if feature.column == name]
        widths += [self.number_width(part, i) for i in numbers]
        if role == "vector":
            widths += [self.encoder.vectors_[self.encoder.schema.vectors.index(name)].width]
        line |= {"missing": self._missing(name), "width": sum(widths)}
        if role != "datetime" and categorical:
            line |= self._levels(categorical[0], tables[0])
        return line | ({"explained": self.explained.get(name)} if part == 0 else {})

    def _levels(self, feature: Feature, table: str) -> Line:
        line: Line = {"levels": len(self.encoder.vocabularies_[table].categories)}
        if table != feature.column:
            line["table"] = table
        if table in self.spaces:
            space = self.spaces[table]
            line |= {"reliability": reliability_of(space), "overlap": space.overlap}
        return line

    def _missing(self, name: str) -> float | None:
        if self.missing is not None:
            return self.missing.get(name)
        tables = self.encoder.schema.tables
        alone = [t for t, table in tables.items() if table.columns == [name]]
        if alone and self.encoder.schema.roles.get(name) != "history":
            counts = self.encoder.vocabularies_[alone[0]].counts
            return float(counts[MISSING] / counts.sum()) if counts.any() else None
        scales = [
            scale
            for part in self.encoder.inputs_
            for feature, scale in zip(part.schema.numbers, part.scales)
            if feature.column == name
        ]
        return 0.0 if scales and not scales[0].has_missing else None


def _typed(lines: list[Line]) -> pd.DataFrame:
    """Return lines as a frame; unknown values are missing, and a width of zero is unknown."""
    frame = pd.DataFrame(lines, columns=list(COLUMNS)).astype(
        dict.fromkeys(("column", "role", "table"), object)
    )
    frame["width"] = frame["width"].mask(frame["width"] == 0)
    dtypes: dict[str, Any] = dict.fromkeys(("levels", "width"), "Int64")
    return frame.astype(
        dtypes | dict.fromkeys(("missing", "explained", "reliability", "overlap"), float)
    )

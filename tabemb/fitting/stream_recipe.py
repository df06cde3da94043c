"""The stages of a fit on rows that are read in parts and stored encoded on disk."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from tabemb.data.counted import Counted, with_counts
from tabemb.data.encoding import Encoder, counted_of
from tabemb.data.histories import Events
from tabemb.data.out_of_fold import OutOfFold
from tabemb.data.sampling import MOST_ROWS, smallest
from tabemb.data.schema import Schema
from tabemb.data.storage import Folder
from tabemb.data.streams import OpenStream
from tabemb.fitting.checks import Rows
from tabemb.fitting.encoded_rows import EncodedRows, encoded_rows
from tabemb.fitting.fitted import Fitted
from tabemb.fitting.holdout import Holdout, n_of_many, validates_by_itself
from tabemb.fitting.recipe import Recipe
from tabemb.fitting.replay import KeptRows
from tabemb.fitting.samples import RowSample
from tabemb.fitting.settings import RowSettings
from tabemb.fitting.sources import RowSource
from tabemb.fitting.training_rows import RowsOnDisk, TrainingRows
from tabemb.fitting.trees import OutOfFoldTrees
from tabemb.network.inputs import Batch, RowInputs
from tabemb.progress import progress
from tabemb.targets import Target
from tabemb.targets.classes import validation_codes


@dataclass(frozen=True)
class StreamRows(Rows):
    """Rows of a stream in their order; y, weights and a sample of X, ``frame``, are in memory.

    Parameters
    ----------
    stream : OpenStream
    columns : list of str
        Columns of X.
    missing : set of str
        Columns with missing values.
    labels : ndarray, optional
        The classes, in the order of their codes, if y contains codes.
    """

    stream: OpenStream
    columns: list[str]
    missing: frozenset[str]
    labels: np.ndarray | None = None

    def with_weight(self) -> Rows:
        """Return the rows; rows without weight are left out when they are read."""
        if self.weights is not None and not self.weights.all():
            raise ValueError(
                "class_weight must be above zero for each class of a long stream; leave the rows of the "
                "other classes out of the source."
            )
        return self


@dataclass(frozen=True)
class RowsInFiles(Rows):
    """Encoded rows in the order of their random keys; ``frame`` contains none of their columns.

    Parameters
    ----------
    encoder : Encoder
    encoded : EncodedRows
    """

    encoder: Encoder
    encoded: EncodedRows

    def take(self, rows: np.ndarray) -> Rows:
        """Return the targets and weights of some rows."""
        weights = None if self.weights is None else np.asarray(self.weights[rows])
        return Rows(pa.table({}), np.asarray(self.y[rows]), weights)

    @property
    def all_weights(self) -> np.ndarray:
        """The weight of each row; ones take no memory."""
        return np.broadcast_to(1.0, len(self)) if self.weights is None else self.weights

    @property
    def in_source_order(self) -> np.ndarray:
        """Positions of the first rows, a random sample, in the order of the source."""
        return np.argsort(self.encoded.origins, kind="stable")


class Responses:
    """The targets of rows in files as effects read them, computed on access."""

    def __init__(self, target: Target, y: np.ndarray) -> None:
        self.target, self.y = target, y

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.y)

    def __getitem__(self, rows: Any) -> Any:
        """Return the responses of some rows, (n, n_responses)."""
        return self.target.responses(np.asarray(self.y[rows]))


class Scratch(Folder):
    """Arrays that one fit needs, released together with those of its rows."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.others: list[Folder] = []

    def release(self) -> None:
        """Release the memory pages of all arrays."""
        super().release()
        for other in self.others:
            other.release()


@dataclass(frozen=True)
class StreamRecipe(Recipe):
    """The stages of a fit on a stream.

    Scales, bins, trees and terms are fitted on a sample; categories are counted and effects are summed
    over all rows. A fit on as many rows in memory does the same. Arrays with an entry for every row are
    in files.
    """

    labels: np.ndarray | None = None
    """The classes, if the target of the rows is codes of classes."""

    def prepare(self, rows: Rows) -> Rows:
        """Fit the target and the encoder, and encode the rows into files."""
        assert isinstance(rows, StreamRows)
        self.target.fit(rows.y, rows.weights)
        encoder = self._encoder_of(rows)
        encoded, folder = encoded_rows(rows.stream, encoder, rows.y, rows.weights, self.settings.show)
        assert isinstance(self.storage, Scratch)
        self.storage.others.append(folder)
        return RowsInFiles(pa.table({}), encoded.y, encoded.weights, encoder, encoded)

    def _encoder_of(self, rows: StreamRows) -> Encoder:
        stream, settings = rows.stream, self.settings
        schema = self.source.schema(rows.frame, settings.roles, settings.tables, self.target)
        for name, role in schema.roles.items():
            if role in ("history", "text"):
                raise ValueError(
                    f"Column {name!r} has the role {role!r}, which fit reads from rows in memory alone; "
                    "pass a frame, or give the column the role 'ignored'."
                )
        encoder = Encoder(schema, settings.n_bins, settings.min_count)
        chosen = smallest(len(rows), rows.frame.num_rows)
        encoder.measure(rows.frame, None if rows.weights is None else rows.weights[chosen])
        return encoder.count(_counted(stream, schema, rows.weights, settings.show), rows.missing)

    def hold_out(self, rows: Rows, validation: Rows | None) -> Holdout:
        """Let the last rows in the files validate: they are a random sample."""
        assert isinstance(rows, RowsInFiles)
        if validation is not None:
            return Holdout(rows, self._coded(validation))
        if self.settings.early_stopping is True:
            raise ValueError(
                "early_stopping=True leaves validation rows out of the vocabularies, which a stream "
                "cannot; pass eval_X and eval_y, or early_stopping='auto'."
            )
        if not validates_by_itself(self.settings, len(rows)):
            return Holdout(rows)
        if len(rows) > MOST_ROWS:
            n_validation = n_of_many(len(rows), self.settings.validation_fraction)
            return Holdout(rows, train=np.arange(len(rows) - n_validation))
        order = rows.in_source_order
        held = super().hold_out(rows.take(order), None)
        return Holdout(rows, train=None if held.train is None else np.sort(order[held.train]))

    def _coded(self, validation: Rows) -> Rows:
        """Return validation rows with the codes of their classes, as the training rows have them."""
        if self.labels is None:
            return validation
        return replace(validation, y=validation_codes(self.labels, validation.y))

    def fit_encoder(self, rows: Rows) -> Encoder:
        """Return the encoder, which is fitted."""
        assert isinstance(rows, RowsInFiles)
        return rows.encoder

    def encode(self, encoder: Encoder, rows: Rows) -> Batch:
        """Return the rows in the files as tensors; encode rows in memory as `Recipe.encode` does."""
        if not isinstance(rows, RowsInFiles):
            return super().encode(encoder, rows)
        encoded = rows.encoded
        tensors = map(torch.from_numpy, encoded.vectors)
        inputs = RowInputs.of(
            torch.from_numpy(encoded.codes), torch.from_numpy(encoded.numbers), (), tensors
        )
        weight = torch.ones(1).expand(len(rows))
        if rows.weights is not None:
            mean = float(rows.weights.mean())
            weight = self._by_part("weight", rows.weights, lambda w: torch.as_tensor(w / mean).float())
        return Batch(inputs, self._by_part("y", rows.y, self.target.encode), weight)

    def _by_part(self, name: str, values: np.ndarray, function: Any) -> Tensor:
        """Apply a function to the values of rows in parts; return the results in a file."""
        result: np.ndarray | None = None
        for start in range(0, len(values), MOST_ROWS):
            part = function(np.asarray(values[start : start + MOST_ROWS])).numpy()
            if result is None:
                result = self.storage.empty(f"batch_{name}", (len(values), *part.shape[1:]), part.dtype)
            result[start : start + len(part)] = part
            self.storage.release()
        return torch.from_numpy(result)

    def sample(self, batch: Batch, holdout: Holdout) -> RowSample:
        """Return the first rows in the files, in the order of the source."""
        assert isinstance(holdout.rows, RowsInFiles)
        return RowSample.of(batch, holdout, holdout.rows.in_source_order)

    def responses(self, rows: Rows) -> np.ndarray:
        """Return the targets of rows as effects read them; targets in files are computed on access."""
        if isinstance(rows, RowsInFiles):
            return Responses(self.target, rows.y)  # type: ignore[return-value]
        return super().responses(rows)

    def kept_rows(self, sample: RowSample) -> KeptRows | None:
        """Return a sample of the rows, with labels instead of codes of classes."""
        kept = super().kept_rows(sample)
        if kept is None or self.labels is None:
            return kept
        return replace(kept, y=self.labels[kept.y])

    def finish(self, fitted: Fitted, prepared: Rows) -> None:
        """Set the labels of the target, which was fitted on codes."""
        super().finish(fitted, prepared)
        if self.labels is not None:
            self.target.classes_ = self.labels

    def training_rows(
        self,
        batch: Batch,
        holdout: Holdout,
        out_of_fold: OutOfFold | None,
        trees: OutOfFoldTrees | None,
    ) -> TrainingRows:
        """Return the rows in the files as a source of batches."""
        return RowsOnDisk(
            batch,
            out_of_fold,
            trees,
            storage=self.storage,
            target_device=self.settings.torch_device,
        )


def recipe_of(
    rows: StreamRows,
    settings: RowSettings,
    source: RowSource,
    target: Target,
    stratify: bool,
    seed: int,
) -> StreamRecipe:
    """Return the recipe for the rows of a stream, with its arrays in the folder of the fit."""
    files = Scratch(rows.stream.scratch)
    return StreamRecipe(settings, source, target, stratify, seed, storage=files, labels=rows.labels)


def _counted(
    stream: OpenStream, schema: Schema, weights: np.ndarray | None, show: bool | None
) -> dict[str, Counted]:
    """Return the distinct values of each categorical feature of all rows, with their counts."""
    plain = [feature for feature in schema.categorical if feature.part is None]
    columns: dict[str, Counted] = {}
    with progress(len(plain), "columns", show) as bar:
        for feature in plain:
            columns[feature.name] = stream.counted(feature.column, weights)
            bar.update()
    calendar = [feature for feature in schema.categorical if feature.part is not None]
    if not calendar:
        return columns
    parts_only = replace(schema, categorical=calendar)
    sums: dict[str, pa.Table] = {}
    fields: dict[str, pa.Field] = {}
    start = 0
    for part in stream.parts(list({feature.column for feature in calendar})):
        of_part = None if weights is None else weights[start : start + part.num_rows]
        for name, counted in counted_of([(parts_only, Events.single(part))], [of_part]).items():
            n = np.ones(part.num_rows) if of_part is None else of_part
            sums[name] = with_counts(sums.get(name), counted.values, n)
            fields[name] = counted.field
        start += part.num_rows
    return columns | {
        name: Counted(table["value"], fields[name], table["n"].to_numpy())
        for name, table in sums.items()
    }

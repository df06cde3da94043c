"""Sources of rows: they turn the rows that a user passes into what a network reads, in batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from tabemb.data.encoding import EncodedHistory, Encoder
from tabemb.data.schema import Schema, Table, infer_schema
from tabemb.fitting.checks import Rows
from tabemb.fitting.training_rows import TrainingRows
from tabemb.network.inputs import Batch, Ragged, RowInputs
from tabemb.network.model import Network, TabularNetwork
from tabemb.targets import Target
from tabemb.training.batches import Batches, equal_sizes


class RowSource:
    """A source of independent rows: each is encoded as it is, and batches are random rows.

    Attributes
    ----------
    smallest_batch, largest_batch : int
        Bounds of ``batch_size="auto"``.
    very_large_batch : int
        The upper bound from a million rows on.
    refit_divisor : int
        In the end all rows train for the best number of epochs divided by this.
    n_precise : int
        Up to this many rows are predicted in double precision, so that a row's prediction does not
        depend on the other rows: matrix products round differently with other rows.
    target_field : str or None
        The field of earlier events that contains their targets.
    has_sequences : bool
        Whether the last history is the earlier events of the row's own sequence.
    earlier : str or None
        The column of this history, if rows are events themselves.
    clocks : sequence of str
        Numbers of these events that mean the same in every category.
    merge_ties : bool
        Whether the events of a sequence at one time are one step.
    """

    smallest_batch, largest_batch, very_large_batch = 16, 256, 1024
    refit_divisor = 2
    n_precise = 1024
    target_field: str | None = None
    has_sequences = False
    earlier: str | None = None
    clocks: Sequence[str] = ()
    merge_ties = False

    @property
    def keys(self) -> tuple[str, ...]:
        """Columns of the entity and the time of a row."""
        return ()

    def prepare(self, rows: Rows, target: Target) -> Rows:
        """Return the training rows as a network reads them."""
        return rows

    def prepare_validation(self, rows: Rows, target: Target) -> Rows:
        """Return other rows with targets as a network reads them."""
        return rows

    def schema(
        self,
        frame: pa.Table,
        roles: Mapping[str | int, str] | None,
        tables: Mapping[str, Table] | None,
        target: Target,
    ) -> Schema:
        """Return the roles of the columns and the tables that they read."""
        return infer_schema(frame, roles, tables)

    def groups(self, frame: pa.Table) -> np.ndarray | None:
        """Return the group of each row, (n_rows,), where groups must be held out as a whole."""
        return None

    def encode(self, encoder: Encoder, frame: pa.Table) -> RowInputs:
        """Return prepared rows as a network reads them, without effects."""
        return encoded(encoder, frame)

    def encode_new(self, encoder: Encoder, frame: pa.Table) -> RowInputs:
        """Return rows to predict as a network reads them, without effects."""
        return self.encode(encoder, frame)

    def reference(self, inputs: RowInputs, frame: pa.Table, rows: Tensor) -> RowInputs:
        """Return some encoded training rows as rows to predict; ``frame`` is what was encoded."""
        return inputs.take(rows.to(inputs.device))

    def batches(
        self,
        network: TabularNetwork,
        training_rows: TrainingRows,
        batch_size: int,
        generator: torch.Generator,
        rows: Tensor | None = None,
    ) -> Batches[Batch]:
        """Return the batches of a training.

        Parameters
        ----------
        network : TabularNetwork
        training_rows : TrainingRows
        batch_size : int
        generator : torch.Generator
        rows : Tensor of shape (n,), optional
            Positions of the rows to train on; all when None.
        """
        return training_rows.batches(batch_size, generator, rows)

    def piece_sizes(self, inputs: RowInputs, largest: int) -> list[int]:
        """Return the sizes of consecutive pieces of rows that are predicted at a time."""
        at_once = 128 if inputs.histories else 1024  # histories are padded to the longest one
        return equal_sizes(len(inputs), min(at_once, largest))

    def finish(self, encoder: Encoder, network: Network, rows: Rows, target: Target) -> None:
        """Do what remains after training, with the prepared training rows."""


def encoded(encoder: Encoder, frame: pa.Table) -> RowInputs:
    """Return rows as tensors, without effects."""
    codes, numbers, histories, vectors = encoder.transform(frame)
    return RowInputs.of(
        torch.from_numpy(codes),
        torch.from_numpy(numbers),
        map(_ragged, histories),
        map(torch.from_numpy, vectors),
    )


def _ragged(history: EncodedHistory) -> Ragged:
    offsets, codes, numbers = map(torch.from_numpy, history[:3])
    steps = None if history.step_offsets is None else torch.from_numpy(history.step_offsets)
    return Ragged(offsets, codes, numbers, steps)

"""Training rows, in memory or on disk, with out-of-fold effects, and validation rows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from tabemb.data.out_of_fold import OutOfFold
from tabemb.data.sampling import MOST_ROWS, slices
from tabemb.data.storage import IN_MEMORY, Storage
from tabemb.data.vocabulary import UNKNOWN
from tabemb.fitting.trees import OutOfFoldTrees
from tabemb.network.inputs import Batch, History, Prefixes, Ragged, RowInputs
from tabemb.training.batches import Batches, BlockedBatches

CPU = torch.device("cpu")


@dataclass(frozen=True)
class TrainingRows:
    """Training rows as a source of batches; effects are computed when rows are taken."""

    batch: Batch
    """All rows, without effects."""
    out_of_fold: OutOfFold | None
    """Gives the effects of training rows; None where the network has none."""
    trees: OutOfFoldTrees | None = None
    """Gives the scores of trees for training rows; None where there are none."""
    storage: Storage = IN_MEMORY
    """Where the arrays of all rows are stored."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.batch)

    @property
    def device(self) -> torch.device:
        """The device of the rows."""
        return self.batch.device

    def take(self, rows: Tensor) -> Batch:
        """Return the given rows with their out-of-fold effects and scores of trees."""
        batch, positions = self.batch.take(rows), rows.numpy(force=True)
        inputs = batch.inputs
        if self.out_of_fold is not None:
            inputs = inputs.with_effects(torch.from_numpy(self.out_of_fold(positions)))
        if self.trees is not None:
            inputs = inputs.with_scores(torch.from_numpy(self.trees.scores[positions]))
        return batch.with_inputs(inputs)

    def batches(
        self, batch_size: int, generator: torch.Generator, rows: Tensor | None
    ) -> Batches[Batch]:
        """Return random batches; a batch has histories of similar lengths."""
        return Batches(self, batch_size, generator, rows, lengths=self.batch.inputs.lengths)

    def with_history(self, history: History) -> TrainingRows:
        """Return the same rows with this history instead of their last one."""
        inputs = self.batch.inputs.with_history(history)
        return replace(self, batch=self.batch.with_inputs(inputs))

    def use_effects_of(self, rows: np.ndarray | None) -> None:
        """From now on, compute effects from these rows alone; None: from all rows."""
        if self.out_of_fold is not None:
            self.out_of_fold.use_rows(rows)

    def validation_rows(self, train: np.ndarray) -> Batch:
        """Return all rows but ``train``, as they would look if only ``train`` had been seen.

        Categories that no training row has are read as unknown.
        """
        is_trained = np.zeros(len(self), bool)
        is_trained[train] = True
        rest = np.flatnonzero(~is_trained)
        validation = self.take(torch.from_numpy(rest).to(self.device))
        _hide_unseen(validation.inputs, self.batch.inputs, is_trained, self.storage)
        return validation


@dataclass(frozen=True)
class RowsOnDisk(TrainingRows):
    """Training rows whose arrays are files; `take` copies rows to the device."""

    target_device: torch.device = CPU

    @property
    def device(self) -> torch.device:
        """The device to which `take` copies rows."""
        return self.target_device

    def take(self, rows: Tensor) -> Batch:
        """Return the given rows, as `TrainingRows.take` does; release the pages of the files."""
        taken = super().take(rows.cpu()).to(self.target_device)
        self.storage.release()
        return taken

    def batches(
        self, batch_size: int, generator: torch.Generator, rows: Tensor | None
    ) -> Batches[Batch]:
        """Return batches of neighbouring rows, whose order on disk is random."""
        return BlockedBatches(self, batch_size, generator, rows)


def _hide_unseen(
    inputs: RowInputs, all_inputs: RowInputs, is_trained: np.ndarray, storage: Storage
) -> None:
    """Overwrite codes that no trained row has with the unknown code, in rows that `take` has copied."""
    _hide_codes(inputs.codes, all_inputs.codes, is_trained, storage)
    rows = torch.from_numpy(np.flatnonzero(is_trained)) if inputs.histories else None
    for history, of_all in zip(inputs.histories, all_inputs.histories):
        assert rows is not None
        seen = _event_codes(of_all.take(rows.to(of_all.device)))
        _hide_codes(_event_codes(history), seen, np.ones(len(seen), bool), storage)


def _event_codes(history: History) -> Tensor:
    events = history.events if isinstance(history, Prefixes) else history
    assert isinstance(events, Ragged)  # kept states have no events, and are only for predictions
    return events.codes


def _hide_codes(codes: Tensor, all_codes: Tensor, is_trained: np.ndarray, storage: Storage) -> None:
    n_codes = max(int(codes.max()), 0) + 1 if codes.numel() else 0
    seen = torch.zeros(codes.shape[1], n_codes, dtype=torch.bool, device=all_codes.device)
    for start, stop in slices(len(all_codes), MOST_ROWS):
        trained = torch.from_numpy(is_trained[start:stop]).to(all_codes.device)
        for of_column, column in zip(seen, all_codes[start:stop].T):
            read = column[trained].long()
            of_column[read[read < n_codes]] = True
        storage.release()
    for of_column, column in zip(seen.to(codes.device), codes.T):
        column[~of_column[column.long()]] = UNKNOWN

"""Training rows in memory, with effects that are out-of-fold, and the rows that validate them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from tabemb.data.out_of_fold import OutOfFold
from tabemb.data.vocabulary import UNKNOWN
from tabemb.fitting.trees import OutOfFoldTrees
from tabemb.network.inputs import Batch, History, Prefixes, Ragged, RowInputs


@dataclass(frozen=True)
class TrainingRows:
    """Training rows as a source of batches; effects are computed when rows are taken."""

    batch: Batch
    """All rows, without effects."""
    out_of_fold: OutOfFold | None
    """Gives the effects of training rows; None where the network has none."""
    trees: OutOfFoldTrees | None = None
    """Gives the scores of trees for training rows; None where there are none."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.batch)

    @property
    def device(self) -> torch.device:
        """Where the rows lie."""
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

    def with_history(self, history: History) -> TrainingRows:
        """Return the same rows with this history in the place of their last one."""
        inputs = self.batch.inputs.with_history(history)
        return replace(self, batch=self.batch.with_inputs(inputs))

    def use_effects_of(self, rows: np.ndarray | None) -> None:
        """Compute effects from these rows alone from now on; None: from all rows."""
        if self.out_of_fold is not None:
            self.out_of_fold.use_rows(rows)

    def validation_rows(self, train: np.ndarray) -> Batch:
        """Return all rows but ``train``, as they would look if only ``train`` had been seen.

        Categories that no training row has are read as unknown.
        """
        rest = np.setdiff1d(np.arange(len(self)), train)
        validation = self.take(torch.from_numpy(rest).to(self.device))
        seen = self.batch.inputs.take(torch.from_numpy(train).to(self.device))
        _hide_unseen(validation.inputs, seen)
        return validation


def _hide_unseen(inputs: RowInputs, seen: RowInputs) -> None:
    """Write the unknown code over codes that ``seen`` does not have; `take` has copied them before."""
    _hide_codes(inputs.codes, seen.codes)
    for history, seen_history in zip(inputs.histories, seen.histories):
        _hide_codes(_event_codes(history), _event_codes(seen_history))


def _event_codes(history: History) -> Tensor:
    events = history.events if isinstance(history, Prefixes) else history
    assert isinstance(events, Ragged)  # kept states have no events, and are there for predictions alone
    return events.codes


def _hide_codes(codes: Tensor, seen: Tensor) -> None:
    for column, seen_column in zip(codes.T, seen.T):
        column[~torch.isin(column, seen_column)] = UNKNOWN

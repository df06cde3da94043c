"""Replay: a sample of the rows that a model was fitted to, which later trainings read with new rows.

A network that trains on new rows alone forgets the old ones. A uniform sample of all rows so far, each
with the weight of the rows that it stands for, lets a night minimise the loss over all rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from tabemb.fitting.checks import Rows
from tabemb.fitting.trees import OutOfFoldTrees, Trees
from tabemb.network.inputs import Batch, History, Ragged, RowInputs
from tabemb.targets import Target

MOST_KEPT = 20_000
"""Largest number of rows that a model keeps."""
MOST_CELLS = 2**23
"""Largest number of values in these rows, 32 MiB: fewer rows are kept if they are wide."""


@dataclass(frozen=True)
class KeptRows:
    """A uniform sample of the rows that a model was fitted to, encoded, with their targets.

    Parameters
    ----------
    inputs : RowInputs of n rows
        Without effects.
    y : ndarray of shape (n,) or (n, n_targets)
        Targets as the user gave them.
    weights : ndarray of shape (n,)
    scores : ndarray of shape (n, width), float32
        Scores from trees that did not see the row.
    priorities : ndarray of shape (n,)
        Random numbers; all rows that are not kept had larger ones.
    total : float
        Sum of the weights of all rows so far, kept or not.
    """

    inputs: RowInputs
    y: np.ndarray
    weights: np.ndarray
    scores: np.ndarray
    priorities: np.ndarray
    total: float

    @classmethod
    def of(
        cls, rows: Rows, inputs: RowInputs, trees: OutOfFoldTrees | None, n_before: int = 0
    ) -> KeptRows:
        """Return all of these training rows; ``n_before`` other rows came before them."""
        n = len(rows)
        scores = np.zeros((n, 0), np.float32) if trees is None else trees.scores[:n]
        weights, priorities = rows.all_weights, priorities_of(n_before, n)
        inputs = replace(inputs, effects=inputs.numbers.new_zeros(n, 0, 1)).to(torch.device("cpu"))
        return cls(inputs, rows.y, weights, scores, priorities, float(weights.sum()))

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.y)

    @property
    def n_stood_for(self) -> float:
        """How many rows each kept row stands for."""
        return self.total / float(self.weights.sum())

    def standing_for(self, n_rows: int) -> KeptRows:
        """Return these rows as a random sample of ``n_rows`` rows."""
        share = len(self) / n_rows
        return replace(self, priorities=self.priorities * share, total=self.total / share)

    def check(self, sizes: Sequence[int], trees: Trees | None) -> None:
        """Raise ValueError unless codes are below these sizes, and the trees have as many scores."""
        n_scores = 0 if trees is None else trees.width
        parts = self.inputs, self.weights, self.scores, self.priorities
        if {len(part) for part in parts} != {len(self)}:
            raise ValueError("the parts of its kept rows differ in length.")
        codes = self.inputs.codes.numpy(force=True)
        if codes.shape[1] != len(sizes) or ((codes < 0) | (codes >= np.array(sizes))).any():
            raise ValueError("its kept rows have codes that are none of its categories.")
        if self.scores.shape[1] != n_scores or not 0 < self.weights.sum() <= self.total * (1 + 1e-9):
            raise ValueError("its kept rows have other scores or weights than those of the fit.")

    def take(self, rows: np.ndarray) -> KeptRows:
        """Return some of the rows."""
        inputs = self.inputs.take(torch.from_numpy(rows))
        y, weights, scores = self.y[rows], self.weights[rows], self.scores[rows]
        return KeptRows(inputs, y, weights, scores, self.priorities[rows], self.total)

    @property
    def _n_cells(self) -> int:
        inputs = self.inputs
        tensors = [inputs.codes, inputs.numbers, *inputs.vectors]
        for history in inputs.histories:
            assert isinstance(history, Ragged)
            tensors += [history.codes, history.numbers]
        return sum(tensor.numel() for tensor in tensors)

    def followed_by(self, later: KeptRows) -> KeptRows:
        """Return these rows and later ones."""
        return KeptRows(
            joined(self.inputs, later.inputs),
            np.concatenate([self.y, later.y]),
            np.concatenate([self.weights, later.weights]),
            np.concatenate([self.scores, later.scores]),
            np.concatenate([self.priorities, later.priorities]),
            self.total + later.total,
        )

    def sample(self) -> KeptRows:
        """Return the rows with the smallest priorities, as many as a model keeps, in their order."""
        n_most = min(MOST_KEPT, max(1, int(MOST_CELLS * len(self) / max(self._n_cells, 1))))
        if len(self) <= n_most:
            return self
        return self.take(np.sort(np.argpartition(self.priorities, n_most)[:n_most]))


@dataclass(frozen=True)
class Replayed:
    """The new rows of a night and the kept earlier rows, as one set of training rows.

    Parameters
    ----------
    batch : Batch
        New rows first. Its weights count each kept row as all the rows that it stands for.
    responses : ndarray of shape (n_rows, n_responses)
    weights : ndarray of shape (n_rows,)
        Weights with which the sums of effects count the rows.
    """

    batch: Batch
    responses: np.ndarray
    weights: np.ndarray

    @property
    def codes(self) -> np.ndarray:
        """Codes of the rows, (n_rows, n_categorical)."""
        return np.asarray(self.batch.inputs.codes.numpy(force=True))

    @property
    def numbers(self) -> np.ndarray:
        """Numbers of the rows, (n_rows, n_numbers), NaN where missing."""
        return np.asarray(self.batch.inputs.numbers.numpy(force=True))

    @classmethod
    def of(cls, batch: Batch, rows: Rows, kept: KeptRows | None, target: Target) -> Replayed:
        """Join encoded new rows with kept ones, if there are some."""
        weights = rows.all_weights
        if kept is None:
            return cls(batch, target.responses(rows.y), weights)
        stands_for = np.concatenate([weights, kept.weights * kept.n_stood_for])
        inputs = joined(batch.inputs, kept.inputs.to(batch.device))
        y = torch.cat([batch.y, target.encode(kept.y).to(batch.device)])
        weight = torch.as_tensor(stands_for / stands_for.mean(), dtype=torch.float32)
        responses = np.concatenate([target.responses(rows.y), target.responses(kept.y)])
        return cls(
            Batch(inputs, y, weight.to(batch.device)), responses, np.append(weights, kept.weights)
        )


def priorities_of(n_before: int, n_rows: int) -> np.ndarray:
    """Return random numbers for the rows that follow ``n_before`` rows, the same ones each time."""
    return np.random.default_rng([n_before, n_rows]).random(n_rows)


def joined(first: RowInputs, second: RowInputs) -> RowInputs:
    """Concatenate two sets of rows with the same inputs."""
    return RowInputs(
        torch.cat([first.codes, second.codes]),
        torch.cat([first.numbers, second.numbers]),
        torch.cat([first.effects, second.effects]),
        tuple(map(_joined_history, first.histories, second.histories)),
        tuple(torch.cat(both) for both in zip(first.vectors, second.vectors)),
    )


def _joined_history(first: History, second: History) -> Ragged:
    assert isinstance(first, Ragged)
    assert isinstance(second, Ragged)
    steps = None
    if first.step_offsets is not None and second.step_offsets is not None:
        steps = _joined_offsets(first.step_offsets, second.step_offsets)
    return Ragged(
        _joined_offsets(first.offsets, second.offsets),
        torch.cat([first.codes, second.codes]),
        torch.cat([first.numbers, second.numbers]),
        steps,
    )


def _joined_offsets(first: Tensor, second: Tensor) -> Tensor:
    return torch.cat([first, second[1:] + first[-1]])

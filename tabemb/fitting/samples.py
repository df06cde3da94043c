"""A sample of the training rows, for the stages where a million rows are as good as all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from tabemb.fitting.holdout import Holdout
from tabemb.fitting.trees import OutOfFoldTrees
from tabemb.network.inputs import Batch


@dataclass(frozen=True)
class RowSample:
    """A sample of the training rows in their original order; all rows if they are few.

    Parameters
    ----------
    batch : Batch
        Without effects.
    holdout : Holdout
        The same rows, and which of them train first.
    positions : ndarray of int, optional
        Positions of the sample among all rows; None if it contains all rows.
    trees : OutOfFoldTrees, optional
        Trees with the scores of these rows only.
    n_rows : int
        Number of all rows.
    """

    batch: Batch
    holdout: Holdout
    positions: np.ndarray | None
    n_rows: int
    trees: OutOfFoldTrees | None = None

    @classmethod
    def of(cls, batch: Batch, holdout: Holdout, positions: np.ndarray | None) -> RowSample:
        """Take the rows at these positions; None takes all."""
        if positions is None:
            return cls(batch, holdout, None, len(batch))
        rows = torch.from_numpy(positions).to(batch.device)
        return cls(batch.take(rows), holdout.sample(positions), positions, len(batch))

"""Surprise: the share of what a model explained that it does not explain on new rows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tabemb.fitting.fitted import Fitted
from tabemb.fitting.growth import Growth
from tabemb.network.inputs import Batch
from tabemb.targets import Target

FEWEST = 16
"""New rows from which a surprise is measured."""
SURE = 2.0
"""Standard errors by which the loss must exceed the expected one."""
MEMORY = 0.7
"""Weight of the last expected loss in the next one: a loss that no training reduces is soon expected."""


@dataclass
class Surprise:
    """How new the rows of a night are for the previous network with the updated effects.

    Attributes
    ----------
    lost : float
        Share of what the model explained that it does not explain on the new rows, from 0 to 1.
    expected : float
        Expected loss on the rows of the next night.
    """

    lost: float = 0.0
    expected: float = math.inf

    def measure(self, fitted: Fitted, rows: Batch, every: Batch, growth: Growth) -> None:
        """Compare the loss on new rows with the expected loss, and with that of a constant output.

        Parameters
        ----------
        fitted : Fitted
            With the previous weights.
        rows : Batch
            The new rows, with out-of-fold effects.
        every : Batch
            All rows that train, without effects.
        growth : Growth
            Has the expected loss.
        """
        self.expected = expected = growth.loss
        if len(rows) < FEWEST:
            return
        target, network = fitted.target, fitted.network.networks[0].eval()
        with torch.no_grad():
            pieces = fitted.validation_pieces(rows)
            outputs = torch.cat([target.average(network(p.inputs).outputs) for p in pieces]).float()
        losses = _losses(target, outputs, rows)
        of_constant = _losses(target, target.bias.to(outputs).expand(len(every), 1, -1), every)
        explained = max(float(of_constant.mean()) - expected, 1e-12)
        error = losses.std(ddof=1) * math.sqrt(1 / len(rows) + 1 / growth.n_validation)
        low = losses.mean() - SURE * error
        self.lost = float(np.clip((low - expected) / explained, 0, 1))
        excess = float(np.clip((losses.mean() - expected) / explained, -1, 1))
        self.expected += (1 - MEMORY) * excess * explained


def _losses(target: Target, outputs: Tensor, rows: Batch) -> np.ndarray:
    """Return the weighted loss of each row; weights have a mean of one."""
    losses = target.loss(outputs, rows.y)[:, 0] * (rows.weight / rows.weight.mean())
    return losses.double().numpy(force=True)

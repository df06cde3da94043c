"""Random draws from a given distribution, at a cost that hardly depends on the number of outcomes."""

from __future__ import annotations

import torch
from torch import Tensor


class Draws:
    """Draw from n outcomes with replacement.

    A draw is a binary search in cumulative shares, which are computed once, so drawing from millions of
    outcomes costs about as much as from hundreds.

    Parameters
    ----------
    weights : Tensor of shape (n,)
        Not negative; the probability of an outcome is its share of their sum.

    Attributes
    ----------
    share : Tensor of shape (n,), float64

    Examples
    --------
    >>> Draws(torch.tensor([0.0, 3.0, 0.0])).draw(2, torch.Generator().manual_seed(0)).tolist()
    [1, 1]
    """

    def __init__(self, weights: Tensor) -> None:
        weights = weights.double()
        self.share = weights / weights.sum()
        self._ends = self.share.cumsum(0)

    def draw(self, m: int, generator: torch.Generator | None) -> Tensor:
        """Return m outcomes, int64 (m,), on the generator's device (the CPU without a generator)."""
        device = torch.device("cpu") if generator is None else generator.device
        self._ends = self._ends.to(device)
        draws = torch.rand(m, generator=generator, dtype=torch.float64, device=device)
        return torch.searchsorted(self._ends, draws).clamp(max=len(self._ends) - 1)

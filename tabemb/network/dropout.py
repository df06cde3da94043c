"""Cells hidden at random in training, so that unknown categories and missing values have trained answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

UNKNOWN, MISSING = 0, 1
N_HIDDEN = 100
"""Fewest cells of a column that a pass hides on average: an answer learned from fewer is left to chance."""


class CellDropout(nn.Module):
    """In training, reads a small share of categories as unknown or missing, and of numbers as missing.

    Shape
    -----
    codes   : int64 (n, n_categorical) -> the same
    numbers : float32 (n, n_numbers) -> the same

    Parameters
    ----------
    rates : sequence of ndarray, one a categorical column
        Share of cells to hide, by code.
    hides_as_missing : sequence of bool, one a categorical column
        Whether half of the hidden cells are read as missing rather than unknown (no missing value was seen).
    number_rates : sequence of float, one a number
    """

    starts: Tensor
    rates: Tensor
    missing_share: Tensor
    number_rates: Tensor

    def __init__(
        self, rates: Sequence[np.ndarray], hides_as_missing: Sequence[bool], number_rates: Sequence[float]
    ) -> None:
        super().__init__()
        starts = np.cumsum([0, *(len(r) for r in rates)])[:-1].astype(np.int64) if rates else np.zeros(0, np.int64)
        self.register_buffer("starts", torch.as_tensor(starts))
        flat = np.concatenate([*rates, np.zeros(0)])
        self.register_buffer("rates", torch.as_tensor(flat, dtype=torch.float32))
        share = [0.5 if as_missing else 0.0 for as_missing in hides_as_missing]
        self.register_buffer("missing_share", torch.tensor(share, dtype=torch.float32))
        self.register_buffer("number_rates", torch.tensor(list(number_rates), dtype=torch.float32))

    def forward(self, codes: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        if not self.training:
            return codes, numbers
        return self._hide_categories(codes), self._hide_numbers(numbers)

    def _hide_categories(self, codes: Tensor) -> Tensor:
        if codes.shape[1] == 0:
            return codes
        rate = self.rates[codes + self.starts]  # (n, n_categorical)
        draw = torch.rand_like(rate)
        codes = torch.where(draw < rate, UNKNOWN, codes)
        return torch.where(draw < rate * self.missing_share, MISSING, codes)

    def _hide_numbers(self, numbers: Tensor) -> Tensor:
        return torch.where(torch.rand_like(numbers) < self.number_rates, torch.nan, numbers)


def base_rate(rate: float, n_rows: int) -> float:
    """Share of a column's cells to hide: ``rate``, or what hides a hundred of few rows, but not more than a tenth."""
    return max(rate, min(0.1, N_HIDDEN / n_rows)) if rate else 0.0


def hiding_rates(counts: np.ndarray, rate: float) -> np.ndarray:
    """Share of a category's cells to hide: ``rate`` for a frequent one, more for a rare one, at most a half.

    A category seen once is hidden eleven times as often: what unknown categories get is learned from the rare ones,
    which they resemble most.
    """
    return np.minimum(0.5, rate * (1 + 10 / np.maximum(counts, 1)))

"""What training leaves out at random: cells, so that unknown ones have trained answers, and hidden units."""

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

    The effects that a hidden cell has a part in are hidden with it: they read zero, as those of a level never seen.

    Shape
    -----
    codes   : int32 or int64 (n, n_categorical) -> the same
    numbers : float32 (n, n_numbers) -> the same
    effects : float32 (n, n_terms, d_term) -> the same

    Parameters
    ----------
    rates : sequence of ndarray, one a categorical column
        Share of cells to hide, by code.
    hides_as_missing : sequence of bool, one a categorical column
        Whether half of the hidden cells are read as missing rather than unknown (no missing value was seen).
    number_rates : sequence of float, one a number
    reads : bool ndarray of shape (n_terms, n_categorical + n_numbers), optional
        Which cells each effect is read from.
    """

    starts: Tensor
    rates: Tensor
    missing_share: Tensor
    number_rates: Tensor
    reads: Tensor

    def __init__(
        self,
        rates: Sequence[np.ndarray],
        hides_as_missing: Sequence[bool],
        number_rates: Sequence[float],
        reads: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        starts = (
            np.cumsum([0, *(len(r) for r in rates)])[:-1].astype(np.int64)
            if rates
            else np.zeros(0, np.int64)
        )
        self.register_buffer("starts", torch.as_tensor(starts))
        flat = np.concatenate([*rates, np.zeros(0)])
        self.register_buffer("rates", torch.as_tensor(flat, dtype=torch.float32))
        share = [0.5 if as_missing else 0.0 for as_missing in hides_as_missing]
        self.register_buffer("missing_share", torch.tensor(share, dtype=torch.float32))
        self.register_buffer("number_rates", torch.tensor(list(number_rates), dtype=torch.float32))
        reads = np.zeros((0, len(rates) + len(number_rates))) if reads is None else reads
        self.register_buffer("reads", torch.as_tensor(reads, dtype=torch.float32))

    def forward(self, codes: Tensor, numbers: Tensor, effects: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if not self.training:
            return codes, numbers, effects
        rates = self.rates[codes + self.starts]  # (n, n_categorical)
        draw = torch.rand_like(rates)
        hidden_numbers = torch.rand_like(numbers) < self.number_rates
        hidden = torch.cat([draw < rates, hidden_numbers], dim=1).float() @ self.reads.T  # (n, n_terms)
        codes = torch.where(draw < rates, UNKNOWN, codes)
        codes = torch.where(draw < rates * self.missing_share, MISSING, codes)
        return (
            codes,
            numbers.masked_fill(hidden_numbers, torch.nan),
            effects * (hidden == 0).unsqueeze(-1),
        )


def base_rate(rate: float, n_rows: int) -> float:
    """Share of a column's cells to hide: ``rate``, or what hides a hundred of few rows, at most a twentieth."""
    return max(rate, min(0.05, N_HIDDEN / n_rows)) if rate else 0.0


def hiding_rates(counts: np.ndarray, rate: float) -> np.ndarray:
    """Share of a category's cells to hide: ``rate`` for a frequent one, more for a rare one, at most a half.

    A category seen once is hidden eleven times as often: what unknown categories get is learned from the rare ones,
    which they resemble most.
    """
    return np.minimum(0.5, rate * (1 + 10 / np.maximum(counts, 1)))


class Dropout(nn.Module):
    """torch's Dropout, with a mask from random bytes: several times as fast on a CPU, where it was a third of a step.

    ``rate`` is rounded to a multiple of 1/256.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.n_dropped = round(256 * rate)  # byte values that drop a unit

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.n_dropped:
            return x
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64, device=x.device).random_(
            -(2**63), None
        )
        kept = words.view(torch.uint8)[: x.numel()].view(x.shape) >= self.n_dropped
        return x * (kept.to(x.dtype) * (256 / max(256 - self.n_dropped, 1)))

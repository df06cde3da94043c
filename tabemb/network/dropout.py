"""Dropout of events, of hidden units, and of cells, which trains the vectors of unknown and missing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from tabemb.network.inputs import Ragged
from tabemb.network.randomness import generator

UNKNOWN, MISSING = 0, 1
"""Codes as in data/vocabulary.py; not imported, since networks are built from plain numbers."""
N_HIDDEN = 100
"""Least average number of cells that an epoch hides in a column: fewer cells train a vector badly."""
NOT_DESCRIBED = 0.25
"""Share of the cells hidden as unknown whose description is hidden too."""
SHARE_KEPT = 0.7
"""Share of the events of a long history that a training step reads."""
N_KEPT = 50
"""Least average number of events that it reads: shorter histories repeat nothing."""


class CellDropout(nn.Module):
    """In training, read a small share of categories as unknown or missing, and of numbers as missing.

    An effect that is computed from a hidden cell is zero, like the effect of an unseen level. The effect
    that is expected of a hidden category by its description stays, unless the cell is read as missing,
    or belongs to the share `NOT_DESCRIBED` of the cells that are read as unknown.

    Shape
    -----
    codes   : int32 or int64 (n, n_categorical) -> the same
    numbers : float32 (n, n_numbers) -> the same
    effects : float32 (n, n_terms, d_term) -> the same

    Parameters
    ----------
    rates : sequence of ndarray, one per categorical column
        Share of cells to hide, by code.
    hides_as_missing : sequence of bool, one per categorical column
        Whether half of the hidden cells are read as missing rather than unknown; this is for columns
        without missing values in the training rows.
    number_rates : sequence of float, one per number
        Share of cells to hide.
    reads : bool ndarray of shape (n_terms, n_categorical + n_numbers), optional
        Whether each effect is computed from each cell.
    expects : bool ndarray of the same shape, optional
        Whether each effect is the expected effect of the category of each cell.
    """

    starts: Tensor
    rates: Tensor
    missing_share: Tensor
    number_rates: Tensor
    reads: Tensor
    expects: Tensor

    def __init__(
        self,
        rates: Sequence[np.ndarray],
        hides_as_missing: Sequence[bool],
        number_rates: Sequence[float],
        reads: np.ndarray | None = None,
        expects: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        ends = np.cumsum([0, *(len(r) for r in rates)])  # the rates of all columns are concatenated
        self.register_buffer("starts", torch.as_tensor(ends[:-1].astype(np.int64)))
        flat = np.concatenate([*rates, np.zeros(0)])
        self.register_buffer("rates", torch.as_tensor(flat, dtype=torch.float32))
        share = [0.5 if as_missing else 0.0 for as_missing in hides_as_missing]
        self.register_buffer("missing_share", torch.tensor(share, dtype=torch.float32))
        self.register_buffer("number_rates", torch.tensor(list(number_rates), dtype=torch.float32))
        reads = np.zeros((0, len(rates) + len(number_rates))) if reads is None else reads
        self.register_buffer("reads", torch.as_tensor(reads, dtype=torch.float32))
        expects = np.zeros_like(reads) if expects is None else expects
        self.register_buffer("expects", torch.as_tensor(expects, dtype=torch.float32), persistent=False)
        self.has_expected = bool(expects.any())

    def forward(self, codes: Tensor, numbers: Tensor, effects: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if not self.training:
            return codes, numbers, effects
        rates = self.rates[codes + self.starts]  # (n, n_categorical)
        draw = _draw(rates)
        hidden_numbers = _draw(numbers) < self.number_rates
        hidden_cells = torch.cat([draw < rates, hidden_numbers], dim=1).float()
        hidden = hidden_cells @ self.reads.T  # number of hidden cells of each effect, (n, n_terms)
        if self.has_expected:
            share = self.missing_share + (1 - self.missing_share) * NOT_DESCRIBED
            nameless = (draw < rates * share).float()
            hidden = hidden + nameless @ self.expects[:, : nameless.shape[1]].T
        codes = torch.where(draw < rates, UNKNOWN, codes)
        codes = torch.where(draw < rates * self.missing_share, MISSING, codes)
        numbers = numbers.masked_fill(hidden_numbers, torch.nan)
        return codes, numbers, effects * (hidden == 0).unsqueeze(-1)


def _draw(like: Tensor) -> Tensor:
    """Draw uniform numbers from 0 to 1, with the shape and the precision of a tensor."""
    draws = torch.empty_like(like)
    return draws.uniform_(generator=generator(like.device))


def base_rate(rate: float, n_rows: int) -> float:
    """Return the share of a column's cells to hide: ``rate``, or more if that hides few cells.

    In that case it hides ``N_HIDDEN`` cells of ``n_rows``, but at most 5 %.
    """
    return max(rate, min(0.05, N_HIDDEN / n_rows)) if rate else 0.0


def hiding_rates(counts: np.ndarray, rate: float) -> np.ndarray:
    """Return the share of each category's cells to hide: ``rate`` if it is frequent, more if it is rare.

    A category of one row is hidden eleven times as often, but at most in half of its cells. Unknown
    categories are most similar to rare ones, so rare ones should train the vector of unknown.

    Parameters
    ----------
    counts : ndarray of shape (n_categories,)
    rate : float
    """
    rates: np.ndarray = np.minimum(0.5, rate * (1 + 10 / np.maximum(counts, 1)))
    return rates


class EventDropout(nn.Module):
    """In training, drop some events of long histories; every step drops different events.

    Long histories are repetitive, so a network that reads all events soon memorises the training rows. A
    row keeps about 70 % of its events, and at least about ``n_kept``. If events come in steps, all steps
    stay, with fewer events.

    Parameters
    ----------
    n_kept : int
        0: rows with few events lose some events too.
    """

    def __init__(self, n_kept: int = N_KEPT) -> None:
        super().__init__()
        self.n_kept = n_kept

    def forward(self, history: Ragged) -> Ragged:
        n_events = history.event_offsets.diff()
        shares = (self.n_kept / n_events.clamp(min=1)).clamp(SHARE_KEPT, 1)  # (n,)
        if not self.training or bool((shares == 1).all()):
            return history
        shares = shares.repeat_interleave(n_events)  # (n_events,)
        kept = _draw(shares) < shares
        n_before = torch.cat([kept.new_zeros(1, dtype=torch.long), kept.cumsum(0)])
        offsets, step_offsets = n_before[history.event_offsets], None
        if history.step_offsets is not None:
            offsets, step_offsets = history.offsets, n_before[history.step_offsets]
        return Ragged(offsets, history.codes[kept], history.numbers[kept], step_offsets)


class Dropout(nn.Module):
    """Dropout with a mask of random bytes, several times as fast as torch.nn.Dropout on a CPU.

    Parameters
    ----------
    rate : float
        Share of units to drop, rounded to a multiple of 1/256.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.n_dropped = round(256 * rate)  # number of byte values that drop a unit

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.n_dropped:
            return x
        n_words = -(-x.numel() // 8)
        words = torch.empty(n_words, dtype=torch.int64, device=x.device)
        words.random_(-(2**63), None, generator=generator(x.device))
        kept = words.view(torch.uint8)[: x.numel()].view(x.shape) >= self.n_dropped
        return x * (kept.to(x.dtype) * (256 / max(256 - self.n_dropped, 1)))

"""Numbers in half precision (bfloat16): stochastic rounding, and conversion to numpy.

Small training steps would vanish if sums were rounded to the nearest number of eight bits. Sums are
therefore rounded up or down at random, with probabilities by distance, which is right on average (Gupta
et al. 2015).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tabemb.network.randomness import generator

HALF = torch.bfloat16
_LOST_BITS = 16


def is_half(tensor: Tensor) -> bool:
    """Return whether numbers are in half precision."""
    return tensor.dtype is HALF


def rounded(values: Tensor) -> Tensor:
    """Round float32 numbers to half precision, up or down at random.

    Examples
    --------
    >>> values = torch.full((10_000,), 1 + 2**-9)  # a quarter of the way from 1 to the next number
    >>> abs(rounded(values).float().mean().item() - 1 - 2**-9) < 2e-4
    True
    """
    bits = values.contiguous().view(torch.int32)
    noise = torch.empty_like(bits)
    noise.random_(0, 2**_LOST_BITS, generator=generator(values.device))
    kept: Tensor = (bits + noise) & -(2**_LOST_BITS)
    return kept.view(torch.float32).to(HALF)


def read_rows(source: Tensor, rows: Tensor) -> Tensor:
    """Return a copy of some rows of a tensor of either precision, in float32."""
    return source.index_select(0, rows).float()


def write_rows(target: Tensor, rows: Tensor, values: Tensor) -> None:
    """Write float32 rows into a tensor of either precision, in place."""
    target.index_copy_(0, rows, rounded(values) if is_half(target) else values)


def numpy_of_any(tensor: Tensor) -> np.ndarray:
    """Return a tensor as numpy; numpy has no bfloat16, so its bits become whole numbers."""
    whole = tensor.detach().cpu()
    array: np.ndarray = (whole.view(torch.int16) if is_half(whole) else whole).numpy()
    return array


def as_half(bits: Tensor) -> Tensor:
    """Return the half-precision numbers with these bits from `numpy_of_any`."""
    if bits.dtype != torch.int16:
        raise ValueError("numbers in half precision have the type int16 in files.")
    return bits.view(HALF)

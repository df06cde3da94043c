"""Ready-made vectors as inputs of a network."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tabemb.network.randomness import generator

LONGEST = 3.0
"""Largest length of a vector after clipping, in units of the root of its width."""


class VectorInputs(nn.Module):
    """Pass scaled vectors on; a missing vector becomes zeros and a flag.

    Lengths are clipped smoothly, as in `squash`, and directions stay. In training some vectors are
    hidden in columns without missing vectors.

    Parameters
    ----------
    widths : sequence of int
        Width of each column; 0 for a column without any vector, whose vectors are all missing.
    rates : sequence of float
        Share of each column's vectors to hide.

    Shape
    -----
    vectors : one (n, width) for each column, NaN in rows without one
    output  : (n, dim), where dim is the sum of width + 1
    """

    def __init__(self, widths: Sequence[int], rates: Sequence[float]) -> None:
        super().__init__()
        self.rates = list(rates)
        self.dim = sum(width + 1 for width in widths)

    def forward(self, vectors: Sequence[Tensor]) -> Tensor:
        return torch.cat([self._read(v, rate) for v, rate in zip(vectors, self.rates)], dim=1)

    def _read(self, vectors: Tensor, rate: float) -> Tensor:
        is_missing = vectors.isnan().all(1, keepdim=True)  # (n, 1)
        if self.training and rate:
            draw = vectors.new_empty(len(vectors), 1)
            is_missing = is_missing | (draw.uniform_(generator=generator(draw.device)) < rate)
        present = vectors.masked_fill(is_missing, 0.0)
        length = present.norm(dim=1, keepdim=True) / math.sqrt(max(vectors.shape[1], 1))
        clipped = present / torch.sqrt(1 + (length / LONGEST) ** 2)
        return torch.cat([clipped, is_missing.to(clipped.dtype)], dim=1)

"""Encodings of numbers: from one scaled value to what a network can bend."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn


def squash(x: Tensor) -> Tensor:
    """Smooth clip to (-3, 3): near zero the identity, so that heavy tails cannot drown the rest (RealMLP, 2024)."""
    return x / torch.sqrt(1 + (x / 3) ** 2)


class NumberEncoding(nn.Module):
    """From scaled numbers (n, n_numbers), NaN where missing, to (n, dim); built from each number's bin edges."""

    dim: int

    def __init__(self, edges: Sequence[np.ndarray], d_number: int) -> None:
        super().__init__()


class ScaledNumbers(NumberEncoding):
    """The scaled value itself, smoothly clipped, and whether it is missing.

    Shape
    -----
    input  : (n, n_numbers), NaN where missing
    output : (n, 2 n_numbers)
    """

    def __init__(self, edges: Sequence[np.ndarray], d_number: int = 0) -> None:
        super().__init__(edges, d_number)
        self.dim = 2 * len(edges)

    def forward(self, numbers: Tensor) -> Tensor:
        missing = numbers.isnan()
        return torch.cat([squash(numbers.masked_fill(missing, 0.0)), missing.float()], dim=1)


class _EmbeddedNumbers(NumberEncoding):
    """A learned vector of each number: its own linear map of a fixed expansion, the value, and a missing flag."""

    def __init__(self, edges: Sequence[np.ndarray], n_terms: int, d_number: int) -> None:
        super().__init__(edges, d_number)
        n_numbers = len(edges)
        self.dim = n_numbers * d_number
        bound = 1 / math.sqrt(n_terms + 2)
        self.weight = nn.Parameter(torch.empty(n_numbers, n_terms + 2, d_number).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(n_numbers, 1, d_number))

    def expand(self, numbers: Tensor) -> Tensor:
        """(n, n_numbers) -> (n, n_numbers, n_terms)."""
        raise NotImplementedError

    def forward(self, numbers: Tensor) -> Tensor:
        missing = numbers.isnan().unsqueeze(-1)  # (n, n_numbers, 1)
        present = numbers.nan_to_num(0.0)
        terms = torch.cat([self.expand(present), squash(present).unsqueeze(-1)], dim=-1).masked_fill(
            missing, 0.0
        )
        terms = torch.cat([terms, missing.float()], dim=-1).transpose(
            0, 1
        )  # (n_numbers, n, n_terms + 2)
        return torch.baddbmm(self.bias, terms, self.weight).transpose(0, 1).flatten(1)


class _EmbeddedBins(_EmbeddedNumbers):
    """Learned vectors of numbers from how far the value has come through each of their bins, 0 to 1."""

    low: Tensor
    inverse_width: Tensor

    def __init__(self, edges: Sequence[np.ndarray], d_number: int) -> None:
        n_bins = max([len(e) - 1 for e in edges] + [1])
        super().__init__(edges, n_bins, d_number)
        low, inverse_width = torch.zeros(len(edges), n_bins), torch.zeros(len(edges), n_bins)
        for i, e in enumerate(edges):
            low[i, : len(e) - 1], inverse_width[i, : len(e) - 1] = _bins(e)
        self.register_buffer("low", low)
        self.register_buffer("inverse_width", inverse_width)

    def expand(self, numbers: Tensor) -> Tensor:
        return ((numbers.unsqueeze(-1) - self.low) * self.inverse_width).clamp(0.0, 1.0)


def _bins(edges: np.ndarray) -> tuple[Tensor, Tensor]:
    """Lower edge of each bin and one over its width."""
    inverse_width = 1 / np.maximum(np.diff(edges), 1e-30)
    return torch.as_tensor(edges[:-1], dtype=torch.float32), torch.as_tensor(
        inverse_width, dtype=torch.float32
    )


class PiecewiseLinearNumbers(NumberEncoding):
    """Piecewise-linear encoding (Gorishniy et al. 2022): how far the value has come through each bin, 0 to 1.

    Every bin is clipped to [0, 1], so that no value, however far outside the training range or however narrow the
    bin, gives an input larger than one. A number of more bins than ``d_number`` has a learned vector of them; one of
    fewer gives its bins themselves and whether it is missing: a count of three values needs no sixteen inputs.

    Shape
    -----
    input  : (n, n_numbers), NaN where missing
    output : (n, dim)
    """

    long: Tensor
    short: Tensor
    short_of_bin: Tensor
    low: Tensor
    inverse_width: Tensor

    def __init__(self, edges: Sequence[np.ndarray], d_number: int) -> None:
        super().__init__(edges, d_number)
        is_long = np.array([len(e) - 1 > d_number for e in edges])
        self.register_buffer("long", torch.from_numpy(np.flatnonzero(is_long)))
        self.register_buffer("short", torch.from_numpy(np.flatnonzero(~is_long)))
        self.embedded = _EmbeddedBins([edges[i] for i in self.long], d_number)
        bins = [_bins(edges[i]) for i in self.short]
        self.register_buffer("low", torch.cat([torch.zeros(0), *(low for low, _ in bins)]))
        self.register_buffer(
            "inverse_width", torch.cat([torch.zeros(0), *(inverse for _, inverse in bins)])
        )
        of_bin = [torch.full((len(low),), int(i)) for i, (low, _) in zip(self.short, bins)]
        self.register_buffer("short_of_bin", torch.cat([torch.zeros(0, dtype=torch.long), *of_bin]))
        self.dim = self.embedded.dim + len(self.low) + len(self.short)

    def forward(self, numbers: Tensor) -> Tensor:
        vectors = self.embedded(numbers.index_select(1, self.long))  # (n, n_long x d_number)
        present = numbers.index_select(1, self.short_of_bin)  # (n, n_bins of the short)
        passed = ((present - self.low) * self.inverse_width).clamp(0.0, 1.0).nan_to_num(0.0)
        return torch.cat(
            [vectors, passed, numbers.index_select(1, self.short).isnan().to(vectors.dtype)], dim=1
        )


class PeriodicNumbers(_EmbeddedNumbers):
    """Learned cosines of the value (Gorishniy et al. 2022; with a phase, as in RealMLP).

    Shape
    -----
    input  : (n, n_numbers), NaN where missing
    output : (n, n_numbers x d_number)
    """

    def __init__(
        self, edges: Sequence[np.ndarray], d_number: int, n_cosines: int = 16, sigma: float = 0.1
    ) -> None:
        super().__init__(edges, n_cosines, d_number)
        self.frequency = nn.Parameter(torch.randn(len(edges), n_cosines) * sigma)
        self.phase = nn.Parameter((torch.rand(len(edges), n_cosines) * 2 - 1) * math.pi)

    def expand(self, numbers: Tensor) -> Tensor:
        return torch.cos(2 * math.pi * squash(numbers).unsqueeze(-1) * self.frequency + self.phase)


NUMBER_ENCODINGS: dict[str, type[NumberEncoding]] = {
    "piecewise": PiecewiseLinearNumbers,
    "periodic": PeriodicNumbers,
    "scale": ScaledNumbers,
}
"""Each is built from the bin edges of every number and the width of a number's vector."""

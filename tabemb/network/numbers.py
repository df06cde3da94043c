"""Encodings of numbers: turn a scaled value into several inputs, so that a network can fit curves."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn


def squash(x: Tensor) -> Tensor:
    """Clip smoothly to (-3, 3), as RealMLP does; near zero this is the identity."""
    return x / torch.sqrt(1 + (x / 3) ** 2)


class NumberEncoding(nn.Module):
    """The base of all encodings, from scaled numbers (n, n_numbers) with NaN to inputs (n, dim).

    Parameters
    ----------
    edges : sequence of ndarray, one per number
        Ascending edges of the number's bins.
    d_number : int
        Width of a number's vector, in encodings that have vectors.

    Attributes
    ----------
    dim : int
        Width of the output.
    """

    dim: int

    def __init__(self, edges: Sequence[np.ndarray], d_number: int) -> None:
        super().__init__()


class ScaledNumbers(NumberEncoding):
    """The scaled value, smoothly clipped, and whether it is missing.

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


class EmbeddedNumbers(NumberEncoding):
    """A learned vector for each number: a linear map of its terms, its value and a missing flag.

    Every number has such a map; subclasses define the terms, which are functions of the value.
    """

    def __init__(self, edges: Sequence[np.ndarray], n_terms: int, d_number: int) -> None:
        super().__init__(edges, d_number)
        n_numbers = len(edges)
        self.dim = n_numbers * d_number
        bound = 1 / math.sqrt(n_terms + 2)
        self.weight = nn.Parameter(torch.empty(n_numbers, n_terms + 2, d_number).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(n_numbers, 1, d_number))

    def expand(self, numbers: Tensor) -> Tensor:
        """Return the terms of numbers without NaN: (n, n_numbers) -> (n, n_numbers, n_terms)."""
        raise NotImplementedError

    def forward(self, numbers: Tensor) -> Tensor:
        missing = numbers.isnan().unsqueeze(-1)  # (n, n_numbers, 1)
        present = numbers.nan_to_num(0.0)
        terms = torch.cat([self.expand(present), squash(present).unsqueeze(-1)], dim=-1)
        terms = terms.masked_fill(missing, 0.0)  # (n, n_numbers, n_terms + 1)
        terms = torch.cat([terms, missing.float()], dim=-1)  # (n, n_numbers, n_terms + 2)
        vectors = torch.baddbmm(self.bias, terms.transpose(0, 1), self.weight)
        return vectors.transpose(0, 1).flatten(1)  # (n, n_numbers x d_number)


MANY_ROWS = 1024
"""Number of rows (mostly events) above which the vectors of bins are looked up."""


class EmbeddedBins(EmbeddedNumbers):
    """Learned vectors whose terms are the covered shares of the number's bins.

    All bins below the value's bin are covered completely, so a vector is a sum over these bins, which a
    table contains, plus a share of one bin. Many rows look up both instead of computing all shares.
    """

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

    def forward(self, numbers: Tensor) -> Tensor:
        if len(numbers) <= MANY_ROWS or not len(self.low):
            return super().forward(numbers)
        return self.looked_up(numbers)

    def looked_up(self, numbers: Tensor) -> Tensor:
        """Return the vectors of `forward` by look-up, (n, n_numbers x d_number)."""
        n_numbers, n_bins = self.low.shape
        missing, present = numbers.isnan(), numbers.nan_to_num(0.0)
        low = self.low.masked_fill(self.inverse_width == 0, torch.inf)  # for numbers with fewer bins
        low = low.to(present.dtype)
        places = torch.searchsorted(low, present.T.contiguous()).T - 1
        places = (places.clamp(min=0) + n_bins * torch.arange(n_numbers, device=low.device)).flatten()
        values = present.flatten() - self.low.flatten()[places]
        shares = (values * self.inverse_width.flatten()[places]).clamp(0.0, 1.0)
        of_bin, of_value, of_missing = self.weight.split([n_bins, 1, 1], dim=1)
        below = of_bin.cumsum(1) - of_bin
        rows = torch.cat([below, of_bin], dim=2).flatten(0, 1).index_select(0, places)
        sums, bins = rows.chunk(2, dim=1)  # (n x n_numbers, d_number) each
        vectors = torch.addcmul(sums, shares.unsqueeze(1), bins).view(len(numbers), n_numbers, -1)
        vectors = torch.addcmul(vectors, squash(present).unsqueeze(2), of_value.squeeze(1))
        vectors = torch.where(missing.unsqueeze(2), of_missing.squeeze(1), vectors)
        return (vectors + self.bias.squeeze(1)).flatten(1)


def _bins(edges: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return the lower edge of each bin and the inverse of its width."""
    low = torch.as_tensor(edges[:-1], dtype=torch.float32)
    inverse_width = 1 / np.maximum(np.diff(edges), 1e-30)
    return low, torch.as_tensor(inverse_width, dtype=torch.float32)


class PiecewiseLinearNumbers(NumberEncoding):
    """Piecewise-linear encoding (Gorishniy et al. 2022): the share of each bin below the value.

    The shares are clipped to [0, 1], so inputs never exceed one, not even for narrow bins or values far
    outside the training range. If a number has more bins than ``d_number``, its shares are mapped to a
    learned vector. Otherwise, the shares and a missing flag are the inputs: a count with three values
    does not need sixteen inputs.

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
        self.embedded = EmbeddedBins([edges[i] for i in self.long], d_number)
        # The bins of all short numbers are concatenated; short_of_bin is the number of each bin.
        bins = [_bins(edges[i]) for i in self.short]
        self.register_buffer("low", torch.cat([torch.zeros(0), *(low for low, _ in bins)]))
        self.register_buffer("inverse_width", torch.cat([torch.zeros(0), *(width for _, width in bins)]))
        of_bin = [torch.full((len(low),), int(i)) for i, (low, _) in zip(self.short, bins)]
        self.register_buffer("short_of_bin", torch.cat([torch.zeros(0, dtype=torch.long), *of_bin]))
        self.dim = self.embedded.dim + len(self.low) + len(self.short)

    def forward(self, numbers: Tensor) -> Tensor:
        vectors = self.embedded(numbers.index_select(1, self.long))  # (n, n_long x d_number)
        by_bin = numbers.index_select(1, self.short_of_bin)  # (n, n_bins of the short numbers)
        shares = ((by_bin - self.low) * self.inverse_width).clamp(0.0, 1.0).nan_to_num(0.0)
        missing = numbers.index_select(1, self.short).isnan().to(vectors.dtype)  # (n, n_short)
        return torch.cat([vectors, shares, missing], dim=1)


class PeriodicNumbers(EmbeddedNumbers):
    """Learned vectors whose terms are cosines of the value, as in RealMLP (after Gorishniy et al. 2022).

    Parameters
    ----------
    edges, d_number
        As in `NumberEncoding`.
    n_cosines : int, default=16
    sigma : float, default=0.1
        Standard deviation of the frequencies at the start.

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
"""Encodings by name; to add one, write a class above and a line here."""

"""Backbones: map the inputs of a row to one hidden vector for each member of the ensemble."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from tabemb.network.dropout import Dropout

D_FACTOR = 16
"""Number of factors of each input in a factorisation machine."""


class Backbone(nn.Module):
    """The base of all backbones: maps concatenated inputs (n, d_in) to (n, n_members, dim).

    Parameters
    ----------
    d_in : int
    hidden : sequence of int
        Widths of the hidden layers.
    dropout : float
        Share of hidden units to drop in training.
    n_members : int
        Number of networks in the ensemble.

    Attributes
    ----------
    dim : int
        Width of a hidden vector.
    """

    dim: int

    def __init__(self, d_in: int, hidden: Sequence[int], dropout: float, n_members: int) -> None:
        super().__init__()

    def first_weights(self) -> Tensor | None:
        """Return the weights of the members' first layers, (n_members x d_out, d_in), or None."""
        return None


class MLP(Backbone):
    """Fully connected layers shared by all members, on inputs that each member scales differently.

    These scales are the only parameters that a member does not share in the hidden layers ("TabM-mini",
    Gorishniy et al. 2025). They start as random signs, so that members differ from the start. With one
    member this is a plain MLP.

    Shape
    -----
    input  : (n, d_in)
    output : (n, n_members, d_out)

    Examples
    --------
    >>> MLP(d_in=5, hidden=(8, 4), dropout=0.0, n_members=3)(torch.zeros(2, 5)).shape
    torch.Size([2, 3, 4])
    """

    def __init__(self, d_in: int, hidden: Sequence[int], dropout: float, n_members: int) -> None:
        super().__init__(d_in, hidden, dropout, n_members)
        self.member_scale = nn.Parameter(_signs(n_members, d_in)) if n_members > 1 else None
        widths = [d_in, *hidden]
        layers: list[nn.Module] = []
        for d_from, d_to in pairwise(widths):
            layers += [nn.Linear(d_from, d_to), nn.ReLU(inplace=True), Dropout(dropout)]
        self.layers = nn.Sequential(*layers)
        self.dim = widths[-1]

    def first_weights(self) -> Tensor | None:
        weight = next(self.layers.parameters()).detach()
        if self.member_scale is None:
            return weight
        return (weight * self.member_scale.detach().unsqueeze(1)).flatten(0, 1)

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_autocast_enabled(x.device.type):  # while x is small, before it is copied by member
            x = x.to(torch.get_autocast_dtype(x.device.type))
        x = x.unsqueeze(1)  # (n, 1, d_in)
        if self.member_scale is not None:
            x = x * self.member_scale.to(x.dtype)  # (n, n_members, d_in)
        hidden: Tensor = self.layers(x)  # (n, n_members, dim)
        return hidden


class WideDeep(MLP):
    """An MLP whose inputs are also passed to the head, which maps them to the output directly.

    These are the deep and the wide part of Wide & Deep (Cheng et al. 2016). The first-order terms of
    numbers and effects are here; those of the categories are the network's ``biases``.

    Shape
    -----
    input  : (n, d_in)
    output : (n, n_members, d_out + d_in)
    """

    def __init__(self, d_in: int, hidden: Sequence[int], dropout: float, n_members: int) -> None:
        super().__init__(d_in, hidden, dropout, n_members)
        self.n_members = n_members
        self.dim += d_in

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([super().forward(x), self.beside(x)], dim=2)

    def beside(self, x: Tensor) -> Tensor:
        """Repeat an input of the head, (n, d), for each member: (n, n_members, d)."""
        return x.unsqueeze(1).expand(-1, self.n_members, -1)


class DeepFM(WideDeep):
    """Wide & Deep with the terms of a factorisation machine, as in DeepFM (Guo et al. 2017).

    Each input has a vector of ``D_FACTOR`` factors, and the weight of the product of two inputs is the
    dot product of their factors (Rendle 2010). The head weights the terms of each factor instead of
    summing them, as in a neural factorisation machine (He & Chua 2017).

    Shape
    -----
    input  : (n, d_in)
    output : (n, n_members, d_out + d_in + D_FACTOR)
    """

    def __init__(self, d_in: int, hidden: Sequence[int], dropout: float, n_members: int) -> None:
        super().__init__(d_in, hidden, dropout, n_members)
        self.factors = nn.Parameter(torch.randn(d_in, D_FACTOR) / math.sqrt(D_FACTOR))
        self.dim += D_FACTOR

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([super().forward(x), self.beside(self.products(x))], dim=2)

    def products(self, x: Tensor) -> Tensor:
        """Return the products of all pairs of inputs, weighted by each factor, (n, D_FACTOR)."""
        with torch.autocast(x.device.type, enabled=False):  # a difference of nearly equal numbers
            of_sum = (x @ self.factors).square()
            sum_of = x.square() @ self.factors.square()
            return (of_sum - sum_of) / 2


def _signs(n_members: int, d_in: int) -> Tensor:
    """Draw +1 or -1, (n_members, d_in)."""
    return torch.randint(0, 2, (n_members, d_in)).float() * 2 - 1


BACKBONES: dict[str, type[Backbone]] = {"mlp": MLP, "wide_deep": WideDeep, "deepfm": DeepFM}
"""Backbones by name; to add one, write a class above and a line here."""

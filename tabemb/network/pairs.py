"""Two towers: map the inputs of users and of items to vectors whose dot product is a score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tabemb.network.backbone import Backbone
from tabemb.network.dropout import CellDropout, Dropout
from tabemb.network.history import HistoryNetwork
from tabemb.network.inputs import Ragged, RowInputs
from tabemb.network.numbers import NumberEncoding
from tabemb.network.tables import Tables
from tabemb.network.vectors import VectorInputs


@dataclass(frozen=True)
class PairBatch:
    """Pairs of users and items, as their positions among the inputs of each side.

    Shape
    -----
    user, item : int64 (n,)
    y          : float32 (n, 1), encoded numbers; (n, 0) if all pairs are positive
    weight     : float32 (n,)
    """

    user: Tensor
    item: Tensor
    y: Tensor
    weight: Tensor

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.user)

    @property
    def device(self) -> torch.device:
        """The device of the pairs."""
        return self.user.device

    @property
    def _parts(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.user, self.item, self.y, self.weight

    def take(self, rows: Tensor) -> Self:
        """Return the pairs at these positions, int64 (m,), in this order."""
        return type(self)(*(part[rows] for part in self._parts))

    def split(self, sizes: Sequence[int]) -> Sequence[Self]:
        """Return consecutive parts with these numbers of pairs."""
        parts = zip(*(part.split(list(sizes)) for part in self._parts))
        return [type(self)(*part) for part in parts]

    def to(self, device: torch.device) -> Self:
        """Return the same pairs on a device."""
        return type(self)(*(part.to(device) for part in self._parts))


class Side(NamedTuple):
    """The output of a tower.

    Shape
    -----
    vectors : (n, dim)
    offsets : (n,)
    penalty : (n,), the tables' prior, zero outside training
    """

    vectors: Tensor
    offsets: Tensor
    penalty: Tensor

    def take(self, rows: Tensor) -> Side:
        """Return the given rows."""
        return Side(self.vectors[rows], self.offsets[rows], self.penalty[rows])


class Tower(nn.Module):
    """One side of a pair: the vector of a user or an item.

    Without a backbone, the vector is the sum of the vectors of all columns, which have the same width,
    and of linear maps of numbers, histories and ready-made vectors. With a backbone, it is a linear map
    of the backbone's hidden layer.

    Parameters
    ----------
    dim : int
        Width of the vector.
    dropout : CellDropout
    tables : Tables
    numbers : NumberEncoding
    histories : sequence of HistoryNetwork
    backbone : Backbone, optional
    biases : Tables, optional
        Tables of width 1, with the number that each category adds to the offset.
    is_normalized : bool, default=False
        Whether vectors have length one.
    base : Tensor of shape (n_codes,), optional
        Start of the offset of each code of the first column, which is also the mean of its prior.
    dropout_rate : float, default=0.0
        Share of the coordinates of a vector to drop in training.
    given : VectorInputs, optional
        Reads ``inputs.vectors``.
    """

    base: Tensor | None
    histories: Sequence[HistoryNetwork]

    def __init__(
        self,
        dim: int,
        dropout: CellDropout,
        tables: Tables,
        numbers: NumberEncoding,
        histories: Sequence[HistoryNetwork] = (),
        backbone: Backbone | None = None,
        biases: Tables | None = None,
        is_normalized: bool = False,
        base: Tensor | None = None,
        dropout_rate: float = 0.0,
        given: VectorInputs | None = None,
    ) -> None:
        super().__init__()
        self.given = given
        self.dim, self.is_normalized = dim, is_normalized
        self.dropout, self.tables = dropout, tables
        self.numbers: NumberEncoding = numbers
        self.histories = nn.ModuleList(histories)  # type: ignore[assignment]
        self.biases, self.backbone = biases, backbone
        self.vector_dropout = Dropout(dropout_rate)
        self.register_buffer("base", base)
        d_rest = numbers.dim + sum(history.dim for history in histories) + (given.dim if given else 0)
        if backbone is not None:
            d_rest = backbone.dim
        self.map = nn.Linear(d_rest, dim, bias=False) if d_rest else None

    def forward(self, inputs: RowInputs) -> Side:
        codes, numbers, _ = self.dropout(inputs.codes, inputs.numbers, inputs.effects)
        vectors, penalty = self.tables(codes)  # (n, d_tables)
        parts = [self.numbers(numbers)]
        if self.given is not None:
            parts.append(self.given(inputs.vectors))
        for network, history in zip(self.histories, inputs.histories):
            assert isinstance(history, Ragged)
            vector, history_penalty = network(history, self.tables)
            parts.append(vector)
            penalty = penalty + history_penalty
        joined = self._joined(vectors, parts)
        offsets = vectors.new_zeros(len(vectors))
        if self.biases is not None:
            biases, bias_penalty = self.biases(codes)
            offsets, penalty = biases.sum(1), penalty + bias_penalty
        if self.base is not None:
            offsets = offsets + self.base[codes[:, 0]]
        vectors = F.normalize(joined, dim=1) if self.is_normalized else joined
        return Side(self.vector_dropout(vectors), offsets, penalty)

    def _joined(self, vectors: Tensor, parts: list[Tensor]) -> Tensor:
        if self.backbone is not None:
            assert self.map is not None
            hidden: Tensor = self.map(self.backbone(torch.cat([vectors, *parts], dim=1))[:, 0])
            return hidden
        total = vectors.view(len(vectors), -1, self.dim).sum(1)
        return total if self.map is None else total + self.map(torch.cat(parts, dim=1))


class PairNetwork(nn.Module):
    """Two towers, or one for both sides.

    Parameters
    ----------
    users, items : nn.Module
        Towers, or other modules from `RowInputs` to a `Side`.
    scale : float, default=1.0
        Factor on the dot product.
    """

    def __init__(self, users: nn.Module, items: nn.Module, scale: float = 1.0) -> None:
        super().__init__()
        self.users, self.items, self.scale = users, items, scale

    def scores(self, users: Side, items: Side) -> Tensor:
        """Return the scores of pairs, (n,)."""
        dots = (users.vectors * items.vectors).sum(1)
        return self.scale * dots + users.offsets + items.offsets

    def table(self, users: Side, items: Side) -> Tensor:
        """Return the scores of all pairs of a user and an item, (n_users, n_items)."""
        dots = users.vectors @ items.vectors.T
        return self.scale * dots + users.offsets.unsqueeze(1) + items.offsets

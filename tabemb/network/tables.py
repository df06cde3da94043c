"""Embedding tables: a vector for each category. Tables of equal width are packed into one look-up."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tabemb.network.halves import HALF, is_half

SPARSE_ROWS = 30_000
"""With more rows than this, it is faster to update only the rows that a batch reads."""


def _auto(n: int) -> int:
    # round() in the logarithm gives the nearest power of two
    return int(2 ** np.clip(round(math.log2(1.6 * max(n, 1) ** 0.56)), 1, 4))


DIM_RULES: dict[str, Callable[[int], int]] = {
    "auto": _auto,  # fastai's rule, in powers of two from 2 to 16, so that tables pack well
    "fastai": lambda n: min(600, round(1.6 * n**0.56)),
    "fourth_root": lambda n: max(1, round(n**0.25)),
    "half": lambda n: min(50, (n + 1) // 2),  # Guo & Berkhahn's bound of n - 1, halved and capped
}
"""Rules for the width of a vector, given the number of categories."""


def table_dim(rule: int | str, n_categories: int) -> int:
    """Return the width of the vectors of a table.

    Parameters
    ----------
    rule : int or str
        The width, or the name of a rule in `DIM_RULES`.
    n_categories : int

    Raises
    ------
    ValueError
        ``rule`` is neither a whole number of at least 1 nor the name of a rule.
    """
    if isinstance(rule, str) and rule in DIM_RULES:
        return DIM_RULES[rule](n_categories)
    if isinstance(rule, (int, np.integer)) and not isinstance(rule, bool) and rule >= 1:
        return int(rule)
    raise ValueError(f"dim must be a whole number >= 1 or one of {', '.join(DIM_RULES)}; got {rule!r}.")


@dataclass
class TableSpec:
    """The specification of one table in plain numbers.

    Parameters
    ----------
    n_rows, dim : int
        Shape of the table.
    prior : ndarray of shape (n_rows,)
        Strength of the prior that shrinks each row to zero.
    init, max_norm, norm_type, scale_grad_by_freq, sparse, frozen, precision
        As in `tabemb.Table`.
    vectors : ndarray of shape (n_rows, dim), optional
        Pretrained vectors, NaN in rows without one.
    n_special : int, default=0
        Number of first rows that do not stand for a category (unknown, missing); they start at zero.
    """

    n_rows: int
    dim: int
    prior: np.ndarray
    init: float | str = 0.1
    max_norm: float | None = None
    norm_type: float = 2.0
    scale_grad_by_freq: bool = False
    sparse: bool | None = None
    vectors: np.ndarray | None = None
    frozen: bool = False
    n_special: int = 0
    precision: str = "float32"

    @property
    def is_sparse(self) -> bool:
        """Whether only the rows that a batch reads are updated."""
        is_half = self.precision != "float32"  # bfloat16 weights are rounded row by row
        return is_half or self.n_rows > SPARSE_ROWS if self.sparse is None else self.sparse

    @property
    def packs_with(self) -> tuple[Any, ...]:
        """The settings that tables must share to be packed into one weight."""
        norm = (self.max_norm, self.norm_type)
        return (self.dim, *norm, self.scale_grad_by_freq, self.is_sparse, self.precision)

    def start(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return start vectors (n_rows, dim), and whether each is pretrained, bool (n_rows,)."""
        if self.init == "uniform":
            draws = torch.rand(self.n_rows, self.dim, generator=generator)
            weight = (2 * draws - 1) / math.sqrt(self.dim)
        else:
            weight = torch.randn(self.n_rows, self.dim, generator=generator) * float(self.init)
        weight[: self.n_special] = 0  # the mean of the prior, so an untrained row depends on no seed
        given = torch.zeros(self.n_rows, dtype=torch.bool)
        if self.vectors is not None:
            vectors = torch.as_tensor(self.vectors, dtype=torch.float32)
            given = ~vectors.isnan().any(dim=1)
            weight[given] = vectors[given]
        return weight, given


class Anchor(NamedTuple):
    """Vectors that the rows of a weight are pulled to, (n_rows, dim), and the strengths, (n_rows,)."""

    vectors: Tensor
    strength: Tensor


class TableGroup(nn.Module):
    """Tables of equal width, concatenated in one weight.

    Shape
    -----
    input  : int64 (n, n_columns), rows of the weight for the columns that read the group's tables
    output : (n, n_columns, dim)
    """

    prior: Tensor
    fixed: Tensor | None
    anchor: Anchor | None = None
    """Where training pulls the vectors to; None: the prior pulls them to zero."""
    stays = False
    """Whether the weight stays where it is when the network is moved; set by `devices.place`."""

    def __init__(self, specs: Sequence[TableSpec], generator: torch.Generator) -> None:
        super().__init__()
        first = specs[0]
        self.max_norm, self.norm_type = first.max_norm, first.norm_type
        self.scale_grad_by_freq, self.is_sparse = first.scale_grad_by_freq, first.is_sparse
        weights, given = zip(*(spec.start(generator) for spec in specs))
        dtype = torch.float32 if first.precision == "float32" else HALF
        self.weight = nn.Parameter(torch.cat(weights).to(dtype))
        fixed = torch.cat([rows & spec.frozen for rows, spec in zip(given, specs)])
        self.register_buffer("fixed", fixed if fixed.any() else None)
        prior = torch.cat([torch.as_tensor(spec.prior, dtype=torch.float32) for spec in specs])
        self.register_buffer("prior", prior)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        return self if self.stays else super()._apply(fn, recurse)  # type: ignore[no-untyped-call]

    def forward(self, codes: Tensor) -> Tensor:
        vectors = F.embedding(
            codes,
            self.weight,
            max_norm=self.max_norm,
            norm_type=self.norm_type,
            scale_grad_by_freq=self.scale_grad_by_freq,
            sparse=self.is_sparse,
        )
        vectors = vectors.float() if is_half(vectors) else vectors
        if self.fixed is None:  # the usual case, without the cost of the line below
            return vectors
        return torch.where(self.fixed[codes].unsqueeze(-1), vectors.detach(), vectors)

    def penalty(self, codes: Tensor, vectors: Tensor) -> Tensor:
        """Return the sum over each row's vectors of squared length times prior: (n,).

        A category's prior is divided by its count, so every vector counts once in an epoch. With an
        anchor, it is the squared distance from the anchor's vectors times the anchor's strength.
        """
        if self.anchor is not None:
            moved = (vectors - self.anchor.vectors[codes]).square().sum(-1)
            return (moved * self.anchor.strength[codes]).sum(1)
        return (vectors.square().sum(-1) * self.prior[codes]).sum(1)


class Columns(nn.Module):
    """Where the columns of a row or the fields of an event are looked up in the groups of `Tables`.

    Parameters
    ----------
    places : sequence of (group, first row, dim), one per column
        The group, the row of the group's weight where the column's table starts, and the table's width.
    """

    firsts: Tensor

    def __init__(self, places: Sequence[tuple[int, int, int]]) -> None:
        super().__init__()
        self.dim = sum(dim for _, _, dim in places)
        self.groups = sorted({group for group, _, _ in places})
        self.register_buffer("firsts", torch.tensor([first for _, first, _ in places], dtype=torch.long))
        for g in self.groups:
            columns = [c for c, (group, _, _) in enumerate(places) if group == g]
            self.register_buffer(f"of_{g}", torch.tensor(columns, dtype=torch.long))

    def of(self, group: int) -> Tensor:
        """Return the positions of the columns that read this group, int64."""
        positions: Tensor = getattr(self, f"of_{group}")
        return positions


class Tables(nn.Module):
    """All embedding tables of a network.

    Parameters
    ----------
    specs : sequence of TableSpec
    table_of : sequence of int
        The table that each column reads.
    generator : torch.Generator, optional
        Draws the start vectors; seed 0 when None.

    Shape
    -----
    input  : int32 or int64 (n, n_columns), codes
    output : (n, sum of the columns' dims), the vectors of the columns, group by group;
             (n,), the penalty of the prior by row, zero outside training

    Examples
    --------
    >>> tables = Tables([TableSpec(5, 2, np.zeros(5)), TableSpec(9, 4, np.zeros(9))], table_of=[0, 1, 1])
    >>> tables(torch.zeros(3, 3, dtype=torch.long))[0].shape
    torch.Size([3, 10])
    """

    groups: Sequence[TableGroup]

    def __init__(
        self,
        specs: Sequence[TableSpec],
        table_of: Sequence[int],
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        generator = generator or torch.Generator().manual_seed(0)
        # tables with equal settings are in one weight, so that one look-up reads all of them
        packed: dict[tuple[Any, ...], list[int]] = {}
        for t, spec in enumerate(specs):
            packed.setdefault(spec.packs_with, []).append(t)
        groups = [TableGroup([specs[t] for t in tables], generator) for tables in packed.values()]
        self.groups = nn.ModuleList(groups)  # type: ignore[assignment]
        self.place = self._places(specs, list(packed.values()))
        self.columns = self.read_by(table_of)
        self.dim = self.columns.dim

    @staticmethod
    def _places(specs: Sequence[TableSpec], packed: list[list[int]]) -> dict[int, tuple[int, int, int]]:
        """Return the group, first row and number of rows of each table."""
        places = {}
        for g, tables in enumerate(packed):
            row = 0
            for t in tables:
                places[t] = (g, row, specs[t].n_rows)
                row += specs[t].n_rows
        return places

    def read_by(self, table_of: Sequence[int]) -> Columns:
        """Return columns that read these tables, one table per column."""
        places = []
        for table in table_of:
            group, first, _ = self.place[table]
            places.append((group, first, self.groups[group].weight.shape[1]))
        return Columns(places)

    def forward(self, codes: Tensor, columns: Columns | None = None) -> tuple[Tensor, Tensor]:
        """Look up the codes of the columns of ``table_of``, or of other columns from `read_by`."""
        columns = columns or self.columns
        rows = codes + columns.firsts
        parts, penalty = [], torch.zeros(len(codes), device=codes.device)
        for g in columns.groups:
            group = self.groups[g]
            # (n, n_columns of the group), on the device of the group's weight
            group_rows = rows.index_select(1, columns.of(g)).to(group.weight.device)
            vectors = group(group_rows)  # (n, n_columns of the group, dim)
            if self.training:
                penalty = penalty + group.penalty(group_rows, vectors).to(codes.device)
            parts.append(vectors.flatten(1).to(codes.device))
        if not parts:
            return torch.zeros(len(codes), 0, device=codes.device), penalty
        return torch.cat(parts, dim=1), penalty

    def read(self, table: int, codes: Tensor) -> Tensor:
        """Return the vectors of codes (m,) of one table, (m, dim), with gradients."""
        group, start, _ = self.place[table]
        vectors: Tensor = self.groups[group](start + codes.to(self.groups[group].weight.device))
        return vectors.to(codes.device)

    def priors(self, table: int) -> Tensor:
        """Return the strength of the prior of each row of one table, (n_rows,)."""
        group, start, n_rows = self.place[table]
        return self.groups[group].prior[start : start + n_rows]

    def anchor(self, strengths: Sequence[Tensor]) -> None:
        """From now on pull the vectors to their present values, with strengths (n_rows,) per table."""
        for g, group in enumerate(self.groups):
            of_group = [strengths[t] for t, (of, _, _) in self.place.items() if of == g]
            group.anchor = Anchor(group.weight.detach().clone(), torch.cat(of_group).to(group.prior))

    def release(self) -> None:
        """Remove the anchors."""
        for group in self.groups:
            group.anchor = None

    def rows(self, table: int) -> Tensor:
        """Return the rows of one table in their precision, (n_rows, dim), as a writable view."""
        group, start, n_rows = self.place[table]
        return self.groups[group].weight.detach()[start : start + n_rows]

    def vectors(self, table: int) -> Tensor:
        """Return all vectors of one table, float32 (n_rows, dim), without gradients."""
        return self.rows(table).float()

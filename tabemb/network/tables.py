"""Embedding tables: one vector for each category, packed so that many small tables cost one look-up."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

SPARSE_ROWS = 30_000
"""Above this many rows, updating only the rows that a batch reads is faster than updating the whole table."""


def _auto(n: int) -> int:
    return int(2 ** np.clip(round(math.log2(1.6 * max(n, 1) ** 0.56)), 1, 4))


DIM_RULES: dict[str, Callable[[int], int]] = {
    "auto": _auto,  # fastai's growth, in powers of two from 2 to 16, so that few widths are left to pack
    "fastai": lambda n: min(600, round(1.6 * n**0.56)),
    "fourth_root": lambda n: max(1, round(n**0.25)),
    "half": lambda n: min(50, (n + 1) // 2),  # Guo & Berkhahn's bound of n - 1, halved and capped
}
"""Width of a vector from the number of categories."""


def table_dim(rule: int | str, n_categories: int) -> int:
    """Width of the vectors of a table.

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
    """One table in plain numbers; `tabemb.Table` describes the options.

    ``prior`` is the strength of the pull to zero of each row, shape (n_rows,); ``vectors`` (n_rows, dim) are given
    start vectors, with NaN in the rows that have none. The first ``n_special`` rows stand for no category and start
    from zero.
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

    @property
    def is_sparse(self) -> bool:
        """Whether only the rows that a batch reads are updated."""
        return self.n_rows > SPARSE_ROWS if self.sparse is None else self.sparse

    @property
    def packs_with(self) -> tuple:
        """Tables that agree in this can lie in one weight."""
        return (self.dim, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.is_sparse)

    def start(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Start vectors (n_rows, dim) and which rows are given, bool (n_rows,)."""
        if self.init == "uniform":
            weight = (2 * torch.rand(self.n_rows, self.dim, generator=generator) - 1) / math.sqrt(
                self.dim
            )
        else:
            weight = torch.randn(self.n_rows, self.dim, generator=generator) * float(self.init)
        weight[: self.n_special] = 0  # the prior's mean, whatever the seed
        given = torch.zeros(self.n_rows, dtype=torch.bool)
        if self.vectors is not None:
            vectors = torch.as_tensor(self.vectors, dtype=torch.float32)
            given = ~vectors.isnan().any(dim=1)
            weight[given] = vectors[given]
        return weight, given


class TableGroup(nn.Module):
    """Tables of one width in one weight: the rows of table t start at ``offsets[t]``.

    Shape
    -----
    input  : int64 (n, n_columns), the codes of the columns that read the group's tables
    output : (n, n_columns, dim)
    """

    prior: Tensor
    fixed: Tensor | None

    def __init__(self, specs: Sequence[TableSpec], generator: torch.Generator) -> None:
        super().__init__()
        first = specs[0]
        self.max_norm, self.norm_type = first.max_norm, first.norm_type
        self.scale_grad_by_freq, self.is_sparse = first.scale_grad_by_freq, first.is_sparse
        weights, given = zip(*(spec.start(generator) for spec in specs))
        self.weight = nn.Parameter(torch.cat(weights))
        fixed = torch.cat([rows & spec.frozen for rows, spec in zip(given, specs)])
        self.register_buffer("fixed", fixed if fixed.any() else None)
        prior = torch.cat([torch.as_tensor(spec.prior, dtype=torch.float32) for spec in specs])
        self.register_buffer("prior", prior)

    def forward(self, codes: Tensor) -> Tensor:
        vectors = F.embedding(
            codes,
            self.weight,
            max_norm=self.max_norm,
            norm_type=self.norm_type,
            scale_grad_by_freq=self.scale_grad_by_freq,
            sparse=self.is_sparse,
        )
        if self.fixed is None:
            return vectors
        return torch.where(self.fixed[codes].unsqueeze(-1), vectors.detach(), vectors)

    def penalty(self, codes: Tensor, vectors: Tensor) -> Tensor:
        """Prior x squared length, by row (n,); its mean over rows is in expectation the prior over the whole table."""
        return (vectors.square().sum(-1) * self.prior[codes]).sum(1)


class Columns(nn.Module):
    """Which rows of which groups the columns of a row, or the fields of an event, read.

    Parameters
    ----------
    places : sequence of (group, first row, dim), one a column
    """

    firsts: Tensor

    def __init__(self, places: Sequence[tuple[int, int, int]]) -> None:
        super().__init__()
        self.dim = sum(dim for _, _, dim in places)
        self.groups = sorted({group for group, _, _ in places})
        self.register_buffer("firsts", torch.tensor([first for _, first, _ in places], dtype=torch.long))
        for g in self.groups:
            own = [c for c, (group, _, _) in enumerate(places) if group == g]
            self.register_buffer(f"of_{g}", torch.tensor(own, dtype=torch.long))

    def of(self, group: int) -> Tensor:
        """The columns that read this group."""
        return getattr(self, f"of_{group}")


class Tables(nn.Module):
    """All embedding tables of a network; column c reads table ``table_of[c]``.

    Shape
    -----
    input  : int32 or int64 (n, n_columns)
    output : (n, sum of the columns' dims), and the prior's penalty by row, (n,), zero outside training

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
        members: dict[tuple, list[int]] = {}
        for t, spec in enumerate(specs):
            members.setdefault(spec.packs_with, []).append(t)
        groups = [TableGroup([specs[t] for t in ts], generator) for ts in members.values()]
        self.groups = nn.ModuleList(groups)  # type: ignore[assignment]
        self.place = self._places(specs, list(members.values()))
        self.columns = self.read_by(table_of)
        self.dim = self.columns.dim

    @staticmethod
    def _places(specs: Sequence[TableSpec], members: list[list[int]]) -> dict[int, tuple[int, int, int]]:
        """Group, first row and number of rows of each table."""
        places = {}
        for g, tables in enumerate(members):
            row = 0
            for t in tables:
                places[t] = (g, row, specs[t].n_rows)
                row += specs[t].n_rows
        return places

    def read_by(self, table_of: Sequence[int]) -> Columns:
        """Columns that read these tables."""
        return Columns(
            [(*self.place[t][:2], self.groups[self.place[t][0]].weight.shape[1]) for t in table_of]
        )

    def forward(self, codes: Tensor, columns: Columns | None = None) -> tuple[Tensor, Tensor]:
        """Look up the codes of the columns of ``table_of``, or of other ones."""
        columns = columns or self.columns
        rows = codes + columns.firsts
        parts, penalty = [], torch.zeros(len(codes), device=codes.device)
        for g in columns.groups:
            own = rows.index_select(1, columns.of(g))  # (n, n_columns of the group)
            vectors = self.groups[g](own)  # (n, n_columns of the group, dim)
            if self.training:
                penalty = penalty + self.groups[g].penalty(own, vectors)
            parts.append(vectors.flatten(1))
        return (
            torch.cat(parts, dim=1) if parts else codes.new_zeros(len(codes), 0, dtype=torch.float32)
        ), penalty

    def read(self, table: int, codes: Tensor) -> Tensor:
        """Vectors of some codes (m,) of one table, (m, dim)."""
        group, start, _ = self.place[table]
        return self.groups[group](start + codes)

    def vectors(self, table: int) -> Tensor:
        """The vectors of one table, (n_rows, dim)."""
        group, start, n_rows = self.place[table]
        return self.groups[group].weight.detach()[start : start + n_rows]

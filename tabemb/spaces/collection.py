"""The spaces of a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tabemb.spaces.space import EmbeddingSpace


class Spaces(Mapping[str, EmbeddingSpace]):
    """The spaces of a model by table; each one is computed on first access and then cached.

    Parameters
    ----------
    raw : mapping of table name -> EmbeddingSpace
    compute : callable
        Returns the space of a table.

    Attributes
    ----------
    raw : dict of table name -> EmbeddingSpace
        The rows of the embedding tables themselves, which change with the seed of the fit.
    """

    def __init__(
        self, raw: Mapping[str, EmbeddingSpace], compute: Callable[[str], EmbeddingSpace]
    ) -> None:
        self.raw = dict(raw)
        self._compute = compute
        self._computed: dict[str, EmbeddingSpace] = {}

    @property
    def computed(self) -> dict[str, EmbeddingSpace]:
        """The spaces that have been computed."""
        return dict(self._computed)

    def __getitem__(self, table: str) -> EmbeddingSpace:
        if table not in self.raw:
            raise KeyError(f"{table!r} is not a table of the model; it has {', '.join(self.raw)}.")
        if table not in self._computed:
            self._computed[table] = self._compute(table)
        return self._computed[table]

    def __iter__(self) -> Iterator[str]:
        return iter(self.raw)

    def __len__(self) -> int:
        return len(self.raw)

    def __repr__(self) -> str:
        return f"Spaces({', '.join(map(repr, self.raw))})"

    def __reduce__(self) -> Any:
        return _restored, (dict(self), self.raw)  # a pickle lacks the model, so compute all


def _restored(spaces: dict[str, EmbeddingSpace], raw: dict[str, EmbeddingSpace]) -> Spaces:
    return Spaces(raw, spaces.__getitem__)

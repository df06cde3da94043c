"""The spaces of a model."""

from __future__ import annotations

from collections.abc import Mapping

from tabemb.spaces.space import EmbeddingSpace


class Spaces(dict[str, EmbeddingSpace]):
    """The spaces of a model by table.

    Attributes
    ----------
    raw : dict of table name -> EmbeddingSpace
        The rows of the embedding tables themselves, which change with the seed of the fit.
    """

    def __init__(self, spaces: Mapping[str, EmbeddingSpace], raw: Mapping[str, EmbeddingSpace]) -> None:
        super().__init__(spaces)
        self.raw = dict(raw)

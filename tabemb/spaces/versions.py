"""Versions of a space: the vectors of a model after its first fit and after each time it has grown."""

from __future__ import annotations

from typing import Self

import numpy as np
import pandas as pd

from tabemb.spaces.vectors import CategoryVectors

FAR = 3.0
"""Multiple of the expected and of the median movement from which a category has moved."""


class VersionedVectors(CategoryVectors):
    """Category vectors that record the earlier versions of their model.

    `EmbeddingSpace` is the public class.
    """

    @property
    def version(self) -> int:
        """How often the model has grown since its first fit: 0 for a new one."""
        return max(len(self.ancestry) - 1, 0)

    def compare(self, older: Self) -> pd.DataFrame:
        """Compare the vectors with those of an earlier version of the same model.

        A vector moves when its category gets new rows. The expected distance follows from the counts:
        with ``n`` old and ``m`` new rows, it is the standard error of the older vector times the square
        root of ``m / (n + m)``. A category without new rows counts as if it had one.

        Parameters
        ----------
        older : EmbeddingSpace
            The space of the model before `partial_fit`, or of the model that ``fit(start=model)``
            started from, or of any earlier version.

        Returns
        -------
        pandas.DataFrame
            One row for each category, in the order of the space; those that only ``older`` has come
            last. ``category``; ``change``: "kept", "new" or "gone"; ``cosine`` of the two vectors,
            missing if one of them is zero; ``movement``: the distance divided by the expected one;
            ``count_then`` and ``count``; ``has_moved``: whether the movement is at least three times
            the expected one and three times the median. New and gone categories have no ``cosine`` and
            no ``movement``.

        Raises
        ------
        ValueError
            ``older`` is not an earlier version of this space, or one of the two has no counts or no
            reliability.

        Examples
        --------
        >>> import pandas as pd
        >>> from tabemb import EmbeddingRegressor
        >>> X = pd.DataFrame({"city": ["Bonn", "Rome"] * 100})
        >>> model = EmbeddingRegressor(max_epochs=2, random_state=0).fit(X, [10.0, 20.0] * 100)
        >>> older = model.spaces_["city"]
        >>> new = pd.DataFrame({"city": ["Oslo", "Rome"] * 50})
        >>> space = model.partial_fit(new, [30.0, 20.0] * 50).spaces_["city"]
        >>> space.version, space.compare(older)[["category", "change", "count_then", "count"]]
        (1,   category change  count_then  count
        0     Bonn   kept       100.0  100.0
        1     Rome   kept       100.0  150.0
        2     Oslo    new         NaN   50.0)
        """
        _check_related(self, older)
        categories = self.categories.append(older.categories.difference(self.categories, sort=False))
        now, then = (s.categories.get_indexer(categories) for s in (self, older))
        is_kept = (now >= 0) & (then >= 0)
        table = pd.DataFrame({"category": categories})
        table["change"] = np.where(is_kept, "kept", np.where(now >= 0, "new", "gone"))
        cosine, movement = np.full((2, len(table)), np.nan)
        cosine[is_kept], movement[is_kept] = _moved(self, older, now[is_kept], then[is_kept])
        counts = [_counts(s, places) for s, places in ((older, then), (self, now))]
        typical = float(np.nanmedian(movement)) if np.isfinite(movement).any() else 1.0
        return table.assign(
            cosine=cosine,
            movement=movement,
            count_then=counts[0],
            count=counts[1],
            has_moved=movement >= FAR * max(typical, 1.0),
        )


def _check_related(space: CategoryVectors, older: CategoryVectors) -> None:
    n = len(older.ancestry)
    if not n or space.ancestry[:n] != older.ancestry or space.name != older.name:
        raise ValueError(
            f"older must be an earlier version of the space {space.name!r}, of the same model before "
            "it grew; the one that was passed is none."
        )
    for one in (space, older):
        for name in ("counts", "reliability"):
            if getattr(one, name) is None:
                raise ValueError(f"Both spaces need {name} to be compared, and one of them has none.")


def _counts(space: CategoryVectors, places: np.ndarray) -> np.ndarray:
    """Return the counts at these places, NaN where there is none."""
    assert space.counts is not None
    return np.where(places >= 0, np.append(space.counts, 0)[places], np.nan)


def _moved(
    space: CategoryVectors, older: CategoryVectors, now: np.ndarray, then: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the cosine of each category's two vectors, and their distance over the expected one."""
    assert space.counts is not None
    assert older.counts is not None
    assert older.reliability is not None
    cosine = (space.unit_vectors[now] * older.unit_vectors[then]).sum(axis=1)
    has_direction = space.vectors[now].any(axis=1) & older.vectors[then].any(axis=1)
    distance = np.linalg.norm(space.vectors[now] - older.vectors[then], axis=1)
    reliability, count = older.reliability[then], older.counts[then]
    n_new = np.maximum(space.counts[now] - count, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        noise = np.square(older.vectors[then]).sum(axis=1) * (1 - reliability) / reliability
        movement = distance / np.sqrt(noise * n_new / (count + n_new))
    return np.where(has_direction, cosine, np.nan), np.where(np.isfinite(movement), movement, np.nan)

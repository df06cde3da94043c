"""Methods that use fitted vectors of items: vectors of lists, recommendations, hit rates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from tabemb.data.vocabulary import MISSING, N_SPECIAL, Vocabulary
from tabemb.fitting.settings import FLAG, whole
from tabemb.spaces.space import EmbeddingSpace
from tabemb.unsupervised.item_lists import ItemLists, last_items, means_of
from tabemb.unsupervised.item_quality import HIT_RATE, Pairs, adjacent_pairs, best, joined, quality
from tabemb.unsupervised.item_sources import Names, Source, StreamSource, open_source


class ItemAnswers(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Methods of a fitted `ItemEmbedder`."""

    mode: str
    item: str | None
    entity: str | None
    time: str | None
    goal: str | None
    space_: EmbeddingSpace
    context_space_: EmbeddingSpace | None
    vocabulary_: Vocabulary
    log_odds_: np.ndarray

    def transform(self, X: Any) -> Any:
        """Return the mean of the vectors of each list's items.

        Parameters
        ----------
        X : as for `fit`

        Returns
        -------
        ndarray of shape (n_lists, dim), float32; for a log a DataFrame indexed by entity
            Items without a vector are left out; a list without any other item has a vector of zeros.
        """
        check_is_fitted(self)
        means = []
        for lists, entities in self._lists(X):
            known = lists.where(lists.codes >= N_SPECIAL)
            means.append(pd.DataFrame(means_of(self._by_code, known), index=entities))
        together = pd.concat(means)
        if self.entity is None:
            return together.to_numpy(np.float32)
        return together.astype(np.float32).set_axis(self.get_feature_names_out(), axis=1)

    def recommend(self, X: Any, k: int = 10, exclude_seen: bool = True) -> pd.DataFrame:
        """Return the items that the vectors predict to occur most often with those of each list.

        For a sequence, these are the items next to its last item; for a set, the items that occur with
        all of its items, by the mean of their vectors. A list without a known item gets the most
        frequent items.

        Parameters
        ----------
        X : as for `fit`
        k : int, default=10
            Number of items for each list; fewer if the list contains nearly all items.
        exclude_seen : bool, default=True
            Whether to leave out the items of the list.

        Returns
        -------
        DataFrame
            Columns `list` (its row in X or its entity), `rank` (from 1), `item` and `score`, which
            increases with the predicted frequency of the item in this context.

        Raises
        ------
        ValueError
            The model uses hierarchical softmax, which has no context vectors of items.
        """
        check_is_fitted(self)
        whole(1).check("k", k)
        FLAG.check("exclude_seen", exclude_seen)
        if self.context_space_ is None:
            raise ValueError(
                "n_negatives must be at least 1 to recommend; it was 0, hierarchical softmax, which has "
                "no vectors of items as context."
            )
        tables, n_before = [], 0
        for lists, entities in self._lists(X):
            known = lists.where(lists.codes >= N_SPECIAL)
            queries = means_of(self._by_code, known if self._is_set else last_items(known))
            table = best(
                queries, self.context_space_, self.log_odds_, known if exclude_seen else None, k
            )
            rows = table["list"].to_numpy()
            table["list"] = rows + n_before if entities is None else entities[rows]
            tables.append(table)
            n_before += len(lists)
        return pd.concat(tables, ignore_index=True)

    def evaluate(self, X: Any, k: int = 10) -> pd.DataFrame:
        """Return how often the vectors find the item next to another one, in lists not used by ``fit``.

        Each item of a sequence is a query for the next item; each item of a set is a query for a random
        other item. All items with a vector are ranked, except the query.

        Parameters
        ----------
        X : as for `fit`
            Lists that ``fit`` has not read.
        k : int, default=10
            Length of the list of nearest items.

        Returns
        -------
        DataFrame
            A row for each way to rank: "similar", by the cosine of the vectors; "context", by the
            product of the query's vector and the context vectors, which is large for an item that is
            more frequent in this context than elsewhere; "predicted", by the predicted frequency in this
            context, as `recommend` ranks; "popularity", by counts. Columns: hit_rate, the share of pairs
            whose second item is among the first k; low and high, its 95 % interval, clustered by list;
            mrr, the mean of 1 / rank; n_pairs; and n_unseen, pairs that contain an item without a
            vector, which count as not found.
        """
        check_is_fitted(self)
        whole(1).check("k", k)
        rng = np.random.default_rng(0)
        pairs = [adjacent_pairs(lists, rng if self._is_set else None) for lists, _ in self._lists(X)]
        return self.quality_of(joined(pairs), int(k))

    def quality_of(self, pairs: Pairs, k: int) -> pd.DataFrame:
        """Return the table that `evaluate` describes, for pairs of codes of the vocabulary.

        Parameters
        ----------
        pairs : Pairs
        k : int
            As in `evaluate`.
        """
        return quality(self.space_, self.context_space_, self.log_odds_, pairs, k)

    def score(self, X: Any, y: Any = None) -> float:
        """Return the hit rate at 10 of the best way to rank, on lists that ``fit`` has not read.

        Parameters
        ----------
        X : as for `fit`
        y : None
            Not used.
        """
        return float(self.evaluate(X).drop(index="popularity")[HIT_RATE].max())

    @property
    def _names(self) -> Names:
        return Names(self.item, self.entity, self.time, self.goal)

    @property
    def _is_set(self) -> bool:
        return self.mode == "set"

    @property
    def _n_features_out(self) -> int:
        return int(self.space_.vectors.shape[1])

    @property
    def _by_code(self) -> np.ndarray:
        """The vectors by code of the vocabulary, (n_codes, dim); zeros for codes that are no item."""
        none = np.zeros((N_SPECIAL, self._n_features_out), np.float32)
        return np.concatenate([none, self.space_.vectors])

    def _source(self, X: Any, names: Names) -> Source | StreamSource:
        return open_source(X, names, ordered=not self._is_set)

    def _lists(self, X: Any) -> Iterator[tuple[ItemLists, pd.Index | None]]:
        """Yield the codes of lists, 0 for items without a vector, and the entities of a log."""
        for raw in self._source(X, self._names._replace(goal=None)).pieces():
            codes = self.vocabulary_.codes(*raw.items)
            lists = ItemLists(codes, raw.offsets).where(codes != MISSING)
            yield lists.as_sets() if self._is_set else lists, raw.entities

    def check_parts(self) -> None:
        """Check that the parts of a loaded model fit together."""
        labels, n_items = self.vocabulary_.labels(), len(self.vocabulary_.categories)
        spaces = [self.space_] + ([self.context_space_] if self.context_space_ is not None else [])
        for space in spaces:
            if not isinstance(space, EmbeddingSpace) or not space.categories.equals(labels):
                raise ValueError("its vectors are of other items than its vocabulary.")
        sizes = (len(self.vocabulary_.counts) - N_SPECIAL, len(self.log_odds_))
        if set(sizes) != {n_items} or not np.isfinite(self.log_odds_).all():
            raise ValueError("its vocabulary has another number of counts than of items.")
        if len({space.vectors.shape for space in spaces}) > 1:
            raise ValueError("its two spaces have vectors of different widths.")

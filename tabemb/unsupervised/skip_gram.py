"""Trainers of item vectors: gensim, and a kernel for goals and groups, which gensim does not support.

Both keep two vectors of each item, as word2vec does (Mikolov et al. 2013, arXiv:1310.4546): one of the
item itself, and one of the item as the context of others.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np

from tabemb.extras import need
from tabemb.unsupervised.item_lists import LONGEST, ItemLists

LAST_RATE = 1e-4
"""Final learning rate, if the initial one is larger: gensim's."""
DOMAIN = 2**31 - 1
"""Largest number in gensim's table of negatives."""


@dataclass(frozen=True, kw_only=True)
class SkipGramSettings:
    """The settings of a training; `ItemEmbedder` describes each."""

    dim: int
    skip_gram: bool
    window: int
    shrink_windows: bool
    n_negatives: int
    negative_exponent: float
    subsample: float


@dataclass(frozen=True)
class Start:
    """Initial vectors of the first items; the vectors of further items start at random.

    Parameters
    ----------
    vectors, contexts : ndarray of float32, shape (n_first, dim)
        Vectors and context vectors of the first items.
    """

    vectors: np.ndarray
    contexts: np.ndarray


class Trainer(Protocol):
    """Interface of what trains vectors."""

    @property
    def vectors(self) -> np.ndarray:
        """The vectors of the items, float32 (n_items, dim), which may be written to."""
        ...

    @property
    def contexts(self) -> np.ndarray | None:
        """The vectors of the items as contexts; None for hierarchical softmax, which has none."""
        ...

    @property
    def moved(self) -> np.ndarray:
        """Whether training has changed the vector of each item, bool (n_items,)."""
        ...

    def step(self, lists: ItemLists, rate: float) -> float:
        """Train on some lists with a learning rate; return the sum of the loss before each update."""
        ...

    def twin(self, seed: int) -> Self:
        """Return a trainer of the same vectors for another thread, with other random numbers."""
        ...


def first_vectors(n_items: int, dim: int, seed: int) -> np.ndarray:
    """Return random vectors to start from, as gensim draws them: float32 (n_items, dim)."""
    vectors = np.random.default_rng(seed).random((n_items, dim), dtype=np.float32)
    return (vectors * 2 - 1) / np.float32(dim)


def negatives_table(counts: np.ndarray, exponent: float) -> np.ndarray:
    """Return the table from which negatives are drawn: uint32 (n_items,), rising to `DOMAIN`."""
    weights = np.cumsum(counts**exponent)
    table: np.ndarray = np.round(weights / weights[-1] * DOMAIN)
    return table.astype(np.uint32)


def kept_share(counts: np.ndarray, subsample: float) -> np.ndarray:
    """Return the share of each item that subsampling keeps, (n_items,).

    An item is subsampled if its share of all counts is above ``subsample``; the formula is word2vec's.
    """
    if not subsample:
        return np.ones(len(counts))
    ratio = subsample * counts.sum() / counts
    share: np.ndarray = np.minimum((np.sqrt(1 / ratio) + 1) * ratio, 1.0)
    return share


def _differ(vectors: np.ndarray, seed: int) -> np.ndarray:
    """Return which vectors differ from the random initial vectors of a seed, bool (n_items,)."""
    differ: np.ndarray = (vectors != first_vectors(len(vectors), vectors.shape[1], seed)).any(axis=1)
    return differ


class GensimTrainer:
    """Word2Vec of gensim, whose compiled code trains on one batch of lists at a time.

    Parameters
    ----------
    settings : SkipGramSettings
    counts : ndarray of shape (n_items,)
        How often each item occurs, the most frequent first.
    seed : int
    start : Start, optional
    """

    def __init__(
        self, settings: SkipGramSettings, counts: np.ndarray, seed: int, start: Start | None = None
    ) -> None:
        word2vec = need("gensim.models.word2vec", "items")
        self.model: Any = word2vec.Word2Vec(
            vector_size=settings.dim,
            window=settings.window,
            min_count=1,
            sample=settings.subsample,
            sg=int(settings.skip_gram),
            hs=int(settings.n_negatives == 0),
            negative=settings.n_negatives,
            ns_exponent=settings.negative_exponent,
            shrink_windows=settings.shrink_windows,
            seed=seed,
            workers=1,
            compute_loss=True,
        )
        self._train = word2vec.train_batch_sg if settings.skip_gram else word2vec.train_batch_cbow
        self._fill(settings, counts, seed, start)

    def _fill(
        self, settings: SkipGramSettings, counts: np.ndarray, seed: int, start: Start | None
    ) -> None:
        """Set the vocabulary and the vectors; the words of gensim are the ranks of the items."""
        model, words = self.model, self.model.wv
        words.index_to_key = list(range(len(counts)))
        words.key_to_index = dict(zip(words.index_to_key, words.index_to_key))
        share = kept_share(counts, settings.subsample)
        words.expandos["count"] = counts.astype(np.int64)
        words.expandos["sample_int"] = (share * (2**32 - 1)).astype(np.uint32)
        words.vectors = first_vectors(len(counts), settings.dim, seed)
        self._seed = seed
        contexts = np.zeros_like(words.vectors)
        if start is not None:
            words.vectors[: len(start.vectors)] = start.vectors
            contexts[: len(start.contexts)] = start.contexts
        if settings.n_negatives:
            model.syn1neg = contexts
            model.cum_table = negatives_table(counts, settings.negative_exponent)
        else:
            model.syn1 = contexts  # of the inner nodes of the tree
            model.create_binary_tree()
        self._memory = self._new_memory()

    @property
    def vectors(self) -> np.ndarray:
        """The vectors of the items, (n_items, dim)."""
        vectors: np.ndarray = self.model.wv.vectors
        return vectors

    @property
    def contexts(self) -> np.ndarray | None:
        """The vectors of the items as contexts, (n_items, dim)."""
        return self.model.syn1neg if self.model.negative else None

    @property
    def moved(self) -> np.ndarray:
        return _differ(self.vectors, self._seed)

    def step(self, lists: ItemLists, rate: float) -> float:
        self.model.running_training_loss = 0.0
        self._train(self.model, lists.to_lists(), rate, *self._memory, True)
        return float(self.model.running_training_loss)

    def twin(self, seed: int) -> Self:
        twin = copy(self)
        twin.model = copy(self.model)  # shares the arrays, not random numbers and memory
        twin.model.random = np.random.RandomState(seed)
        twin._memory = self._new_memory()
        return twin

    def _new_memory(self) -> tuple[Any, ...]:
        """Return arrays for one thread to compute in: one for skip-gram, two for CBOW."""
        memory = self.model._get_thread_working_mem()
        return tuple(memory[:1] if self.model.sg else memory)


class GroupTrainer:
    """Skip-gram with a goal for each list and negatives from the item's group (Grbovic & Cheng 2018).

    Parameters
    ----------
    settings : SkipGramSettings
    counts : ndarray of shape (n_items,)
    seed : int
    groups : ndarray of int64, shape (n_items,), optional
        The group of each item, from 0; -1 for none.
    start : Start, optional
    """

    def __init__(
        self,
        settings: SkipGramSettings,
        counts: np.ndarray,
        seed: int,
        groups: np.ndarray | None = None,
        start: Start | None = None,
    ) -> None:
        need("numba", "items")
        from tabemb.unsupervised.kernel import compiled

        self.kernel = compiled()
        self.settings = settings
        self._seed = seed
        self.vectors = first_vectors(len(counts), settings.dim, seed)
        self.contexts: np.ndarray | None = np.zeros_like(self.vectors)
        if start is not None:
            self.vectors[: len(start.vectors)] = start.vectors
            self.contexts[: len(start.contexts)] = start.contexts
        self._table = negatives_table(counts, settings.negative_exponent)
        self._share = kept_share(counts, settings.subsample)
        self._groups = np.full(len(counts), -1) if groups is None else groups.astype(np.int64)
        self._members = np.argsort(self._groups, kind="stable")
        n_groups = int(self._groups.max(initial=-1)) + 1
        self._first = np.searchsorted(self._groups[self._members], np.arange(n_groups + 1))
        self._random = np.random.default_rng(seed)

    @property
    def moved(self) -> np.ndarray:
        return _differ(self.vectors, self._seed)

    def step(self, lists: ItemLists, rate: float) -> float:
        goals = np.full(len(lists), -1, np.int32) if lists.goals is None else lists.goals
        kept = self._random.random(len(lists.codes)) < self._share[lists.codes]
        lists = lists.where(kept)
        loss: float = self.kernel(
            lists.codes,
            lists.offsets,
            goals,
            self.vectors,
            self.contexts,
            (self._table, self.settings.n_negatives),
            (self._groups, self._members, self._first),
            min(self.settings.window, LONGEST),
            self.settings.shrink_windows,
            np.float32(rate),
            int(self._random.integers(2**48)),
        )
        return loss

    def twin(self, seed: int) -> Self:
        twin = copy(self)
        twin._random = np.random.default_rng(seed)
        return twin

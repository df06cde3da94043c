"""Baselines, which every model should beat: popularity, random items, neighbours, EASE, ALS and BPR."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import threadpool_limits

from tabemb.data.frames import to_arrow
from tabemb.extras import need
from tabemb.fitting.memory import memory_needed
from tabemb.fitting.recommending import MOST_SCORES
from tabemb.fitting.settings import N_JOBS, Rule, real, store, whole
from tabemb.fitting.weights import check_weights
from tabemb.progress import progress
from tabemb.training.threads import n_threads
from tabemb.unsupervised.extension import extended, with_pairs
from tabemb.unsupervised.factors import FactorRecommender
from tabemb.unsupervised.interactions import Interactions, PairColumns, known_positions
from tabemb.unsupervised.recommender import Recommender


class Popularity(Recommender):
    """Recommends the most frequent items to everyone.

    Parameters
    ----------
    user, item : str, optional
        Names of the two columns of a pair; needed if a frame has more than two.

    Attributes
    ----------
    popularity_ : ndarray of shape (n_items,)
        Number of users of each item, or the sum of the weights of its pairs.

    Examples
    --------
    >>> import pandas as pd
    >>> pairs = pd.DataFrame({"reader": ["a", "b", "b"], "book": ["Emma", "Emma", "Ulysses"]})
    >>> Popularity().fit(pairs).recommend(["a", "c"], k=1)
      reader  rank     book  score
    0      a     1  Ulysses    1.0
    1      c     1     Emma    2.0
    """

    popularity_: np.ndarray

    def __init__(self, *, user: str | None = None, item: str | None = None) -> None:
        store(self, locals())

    def _fit_pairs(self, pairs: Interactions) -> None:
        self.popularity_ = np.asarray(pairs.matrix().sum(axis=0), dtype=np.float64)

    def _scores(self, users: np.ndarray) -> np.ndarray:
        return np.tile(self.popularity_, (len(users), 1))


class RandomItems(Recommender):
    """Recommends random items, which shows the metrics of pure guessing.

    Parameters
    ----------
    user, item : str, optional
        Names of the two columns of a pair; needed if a frame has more than two.
    random_state : int, RandomState or None, default=None
        With an int, a user gets the same items in every call, whatever other users are passed.

    Examples
    --------
    >>> import pandas as pd
    >>> pairs = pd.DataFrame({"reader": ["a", "b", "b"], "book": ["Emma", "Emma", "Ulysses"]})
    >>> len(RandomItems(random_state=0).fit(pairs).recommend(["a", "c"]))
    3
    """

    seed_: int

    def __init__(
        self,
        *,
        user: str | None = None,
        item: str | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        store(self, locals())

    def _fit_pairs(self, pairs: Interactions) -> None:
        self.seed_ = int(check_random_state(self.random_state).randint(2**31 - 1))

    def _scores(self, users: np.ndarray) -> np.ndarray:
        generators = (np.random.default_rng([self.seed_, int(user) + 1]) for user in users)
        drawn = [generator.random(len(self.items_)) for generator in generators]
        return np.array(drawn).reshape(len(users), len(self.items_))


class _FromHistory(Recommender):
    """Base class of recommenders whose scores are a user's row times a matrix of items x items."""

    history_: tuple[np.ndarray, np.ndarray, np.ndarray]

    def _keep(self, matrix: sp.csr_array) -> None:
        self.history_ = (
            np.append(matrix.indptr, matrix.nnz).astype(np.int64),  # an empty row for unknown users
            matrix.indices.astype(np.int64),
            matrix.data.astype(np.float32),
        )

    def extend(self, X: Any, sample_weight: Any = None) -> Self:
        """Return a model that includes further users, with their items; no weight changes.

        Parameters
        ----------
        X : frame of pairs
            The items of new users, or more items of known ones. Items that ``fit`` did not have are
            left out, because no item is similar to them.
        sample_weight : array-like of shape (n_rows,), optional
            As in ``fit``.

        Returns
        -------
        estimator
            A new model; this one does not change.
        """
        check_is_fitted(self)
        frame = to_arrow(X, self)
        PairColumns.of(frame, self.users_.column, self.items_.column)
        ids = (frame[self.users_.column], frame.schema.field(self.users_.column))
        users = extended(self.users_, [ids])
        user, item = known_positions(users, frame), self.items_.positions(frame)
        weights = check_weights(sample_weight, frame.num_rows)
        kept = np.flatnonzero((item >= 0) & (True if weights is None else weights > 0))
        old = self._matrix()[: len(self.users_)].tocoo()
        rows = Interactions(
            users,
            self.items_,
            np.concatenate([old.row, user[kept]]),
            np.concatenate([old.col, item[kept]]),
            np.concatenate([old.data, np.ones(len(kept)) if weights is None else weights[kept]]),
        )
        matrix = rows.matrix()
        if weights is None:
            matrix.data = np.minimum(matrix.data, max(1.0, old.data.max(initial=1.0)))
        after = copy(self)
        after._remember(replace(rows, users=with_pairs(users, user[kept])))
        after._keep(matrix)
        return after

    def _matrix(self) -> sp.csr_array:
        """Return the matrix of users x items, with an empty last row for unknown users."""
        indptr, indices, data = self.history_
        return sp.csr_array((data, indices, indptr), shape=(len(self.users_) + 1, len(self.items_)))

    def _rows(self, users: np.ndarray) -> sp.csr_array:
        """Return the rows of some users; the row of an unknown user is empty."""
        return self._matrix()[np.where(users >= 0, users, len(self.users_))]


class ItemKNN(_FromHistory):
    """Recommends the items nearest to those that the user has, by cosine (Sarwar et al. 2001).

    The similarity of two items is the number of users that have both, divided by ``shrinkage`` plus the
    square root of the product of their numbers of users. Items with few users therefore have low
    similarities. The score of an item is the sum of its similarities to the items of the user.

    Parameters
    ----------
    n_neighbors : int, default=100
        Number of most similar items to keep for each item.
    shrinkage : float, default=10
        Added to the denominator, in users.
    user, item : str, optional
        Names of the two columns of a pair; needed if a frame has more than two.

    Examples
    --------
    >>> import pandas as pd
    >>> pairs = pd.DataFrame({"reader": list("aabbc"), "book": ["Emma", "Persuasion"] * 2 + ["Emma"]})
    >>> ItemKNN().fit(pairs).recommend(["c"])[["rank", "book"]]
       rank        book
    0     1  Persuasion
    """

    rules: ClassVar[Mapping[str, Rule]] = {
        **Recommender.rules,
        "n_neighbors": whole(1),
        "shrinkage": real(0),
    }

    neighbors_: tuple[np.ndarray, np.ndarray, np.ndarray]

    def __init__(
        self,
        *,
        n_neighbors: int = 100,
        shrinkage: float = 10.0,
        user: str | None = None,
        item: str | None = None,
    ) -> None:
        store(self, locals())

    def _fit_pairs(self, pairs: Interactions) -> None:
        matrix = pairs.matrix()
        self._keep(matrix)
        n_items = len(pairs.items)
        transposed = sp.csr_array(matrix.T)
        length = np.sqrt(np.asarray(transposed.multiply(transposed).sum(axis=1)).ravel())
        size = max(1, MOST_SCORES // n_items)
        blocks = []
        with progress(n_items, unit=" items") as bar:
            for start in range(0, n_items, size):
                common = sp.csr_array(transposed[start : start + size] @ matrix)
                blocks.append(self._nearest(common, start, length))
                bar.update(common.shape[0])
        nearest = sp.csr_array(sp.vstack(blocks))
        self.neighbors_ = (
            nearest.indptr.astype(np.int64),
            nearest.indices.astype(np.int64),
            nearest.data.astype(np.float32),
        )

    def _nearest(self, common: sp.csr_array, start: int, length: np.ndarray) -> sp.csr_array:
        """Return the similarities of some items to their nearest items only."""
        rows = np.repeat(np.arange(common.shape[0]), np.diff(common.indptr))
        columns = common.indices
        similarity = common.data / (length[rows + start] * length[columns] + self.shrinkage)
        similarity[columns == rows + start] = 0.0  # an item is no neighbour of itself
        order = np.lexsort((columns, -similarity, rows))
        rank = np.arange(len(order)) - common.indptr[rows[order]]
        kept = order[(rank < self.n_neighbors) & (similarity[order] > 0)]
        return sp.csr_array((similarity[kept], (rows[kept], columns[kept])), shape=common.shape)

    def _scores(self, users: np.ndarray) -> np.ndarray:
        indptr, indices, data = self.neighbors_
        n_items = len(self.items_)
        nearest = sp.csr_array((data, indices, indptr), shape=(n_items, n_items))
        return np.asarray((self._rows(users) @ nearest.T).toarray())


class EASE(_FromHistory):
    """Linear item-to-item model in closed form (Steck 2019, https://arxiv.org/abs/1905.03375).

    Each item is predicted from the other items of the user by ridge regression, all items at once: with
    the matrix X of users x items and P the inverse of ``X'X + l2``, the weights are ``-P / diag(P)``
    with a diagonal of zeros. It has one parameter, trains in seconds up to about 20,000 items, and is
    hard to beat.

    Parameters
    ----------
    l2 : float, default=250
        Strength of the ridge penalty; more users need a larger one.
    user, item : str, optional
        Names of the two columns of a pair; needed if a frame has more than two.

    Attributes
    ----------
    weights_ : ndarray of shape (n_items, n_items), float32
        What an item of the user (row) adds to the score of another item (column).

    Examples
    --------
    >>> import pandas as pd
    >>> pairs = pd.DataFrame({"reader": list("aabbc"), "book": ["Emma", "Persuasion"] * 2 + ["Emma"]})
    >>> EASE(l2=1).fit(pairs).recommend(["c"])
      reader  rank        book  score
    0      c     1  Persuasion    0.5
    """

    rules: ClassVar[Mapping[str, Rule]] = {**Recommender.rules, "l2": real(0, open_low=True)}

    weights_: np.ndarray

    def __init__(self, *, l2: float = 250.0, user: str | None = None, item: str | None = None) -> None:
        store(self, locals())

    def _fit_pairs(self, pairs: Interactions) -> None:
        matrix = pairs.matrix()
        self._keep(matrix)
        with memory_needed(len(pairs), f"all {len(pairs.items)} items", "cpu"):
            gram = np.asarray((matrix.T @ matrix).toarray())
            gram[np.diag_indices_from(gram)] += self.l2
            inverse = np.linalg.inv(gram)
            weights = inverse / -np.diag(inverse)
            weights[np.diag_indices_from(weights)] = 0.0
            self.weights_ = weights.astype(np.float32)

    def _scores(self, users: np.ndarray) -> np.ndarray:
        return np.asarray(self._rows(users) @ self.weights_)


class _Factors(FactorRecommender):
    """Base class of recommenders from the package implicit: a vector for each user and item."""

    dim: int
    n_jobs: int | None
    random_state: int | np.random.RandomState | None

    def _fit_model(self, model: Any, matrix: sp.csr_array) -> None:
        with threadpool_limits(1, "blas"):  # implicit has threads of its own
            model.fit(sp.csr_matrix(matrix, dtype=np.float32), show_progress=False)
        users, items = np.asarray(model.user_factors), np.asarray(model.item_factors)
        self.user_vectors_, self.item_vectors_ = users[:, : self.dim], items[:, : self.dim]
        self.user_offsets_ = np.zeros(len(users), np.float32)
        # BPR appends the offset of an item to its vector
        self.item_offsets_ = items[:, self.dim :].sum(1)
        self.unknown_user_ = self.unknown_item_ = np.zeros(self.dim + 1, np.float32)
        self.scale_ = 1.0

    def _shared_arguments(self) -> dict[str, Any]:
        """Return the arguments that all models of implicit have."""
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        return {"random_state": seed, "num_threads": n_threads(self.n_jobs)}


_FACTOR_RULES: Mapping[str, Rule] = {
    **Recommender.rules,
    "dim": whole(1),
    "max_epochs": whole(1),
    "n_jobs": N_JOBS,
}


class ALS(_Factors):
    """Factors of users and items by alternating least squares (Hu, Koren & Volinsky 2008).

    All cells of users x items count; pairs have the weight ``alpha``. Needs implicit:
    ``pip install 'tabemb[recommend]'``.

    Parameters
    ----------
    dim : int, default=64
        Width of the vectors.
    l2 : float, default=0.01
        Strength of the penalty on the vectors.
    alpha : float, default=1
        Confidence of a pair, relative to a cell without a pair; multiplied by the pair's weight.
    max_epochs : int, default=15
        Number of alternations.
    user, item : str, optional
        Names of the two columns of a pair; needed if a frame has more than two.
    n_jobs : int, optional
        Threads. None: the free cores, or one inside a joblib worker. -1: every core.
    random_state : int, RandomState or None, default=None
        With an int, two fits on one thread give the same vectors.

    Attributes
    ----------
    user_vectors_, item_vectors_ : ndarray of shape (n, dim), float32
    """

    rules: ClassVar[Mapping[str, Rule]] = {
        **_FACTOR_RULES,
        "l2": real(0),
        "alpha": real(0, open_low=True),
    }

    def __init__(
        self,
        *,
        dim: int = 64,
        l2: float = 0.01,
        alpha: float = 1.0,
        max_epochs: int = 15,
        user: str | None = None,
        item: str | None = None,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        store(self, locals())

    def _fit_pairs(self, pairs: Interactions) -> None:
        als = need("implicit.als", "recommend")
        model = als.AlternatingLeastSquares(
            factors=self.dim,
            regularization=self.l2,
            alpha=self.alpha,
            iterations=self.max_epochs,
            use_gpu=False,
            **self._shared_arguments(),
        )
        self._fit_model(model, pairs.matrix())


class BPR(_Factors):
    """Factors of users and items by Bayesian personalised ranking (Rendle et al. 2009).

    A pair should have a higher score than the same user with a random item. Needs implicit:
    ``pip install 'tabemb[recommend]'``.

    Parameters
    ----------
    dim : int, default=64
        Width of the vectors, without the offset of an item.
    l2 : float, default=0.01
        Strength of the penalty on the vectors.
    learning_rate : float, default=0.01
    max_epochs : int, default=100
        Number of epochs.
    user, item : str, optional
        Names of the two columns of a pair; needed if a frame has more than two.
    n_jobs : int, optional
        Threads. None: the free cores, or one inside a joblib worker. -1: every core.
    random_state : int, RandomState or None, default=None
        With an int, two fits on one thread give the same vectors.

    Attributes
    ----------
    user_vectors_, item_vectors_ : ndarray of shape (n, dim), float32
    item_offsets_ : ndarray of shape (n_items,), float32
    """

    rules: ClassVar[Mapping[str, Rule]] = {
        **_FACTOR_RULES,
        "l2": real(0),
        "learning_rate": real(0, open_low=True),
    }

    def __init__(
        self,
        *,
        dim: int = 64,
        l2: float = 0.01,
        learning_rate: float = 0.01,
        max_epochs: int = 100,
        user: str | None = None,
        item: str | None = None,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        store(self, locals())

    def _fit_pairs(self, pairs: Interactions) -> None:
        if pairs.weight is not None:
            raise ValueError(
                "sample_weight must be None for BPR, which draws every pair as often as any other; "
                "leave out the pairs that should not count."
            )
        bpr = need("implicit.bpr", "recommend")
        model = bpr.BayesianPersonalizedRanking(
            factors=self.dim,
            regularization=self.l2,
            learning_rate=self.learning_rate,
            iterations=self.max_epochs,
            use_gpu=False,
            **self._shared_arguments(),
        )
        self._fit_model(model, pairs.matrix())

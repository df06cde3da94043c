"""PairEmbedder: vectors of users and items whose dot product is the score of a pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any, ClassVar, Never, Self

import numpy as np
import pyarrow as pa
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from tabemb.data.encoding import Encoder
from tabemb.data.frames import to_arrow
from tabemb.data.schema import Table
from tabemb.fitting.checks import check_target
from tabemb.fitting.memory import memory_needed
from tabemb.fitting.reading import reads_streams
from tabemb.fitting.settings import (
    FLAG,
    MAPPING,
    N_JOBS,
    SECONDS,
    VERBOSE,
    WIDTHS,
    Rule,
    check_parameters,
    one_of,
    real,
    store,
    whole,
)
from tabemb.fitting.weights import check_weights
from tabemb.hints import refuse_unknown
from tabemb.network.history import HISTORY_ENCODERS, POOLINGS
from tabemb.network.numbers import NUMBER_ENCODINGS
from tabemb.network.pairs import PairNetwork
from tabemb.network.randomness import Random, drawing_from
from tabemb.targets import NumberTarget
from tabemb.training.loop import Budget, LearningCurve, Trained
from tabemb.training.threads import threads
from tabemb.training.watch import Callback, watched
from tabemb.training.workers import check_alone
from tabemb.unsupervised.extension import Vectors, extended_model
from tabemb.unsupervised.factors import FactorRecommender
from tabemb.unsupervised.interactions import (
    Entities,
    Interactions,
    Lists,
    PairColumns,
    known_positions,
)
from tabemb.unsupervised.negatives import NEGATIVES
from tabemb.unsupervised.objective import LOSSES
from tabemb.unsupervised.pair_training import (
    PairParts,
    build,
    fit_parts,
    outputs_of,
    settings_of,
    train_pairs,
)
from tabemb.unsupervised.recommender import COLUMN_NAME, Recommender
from tabemb.unsupervised.sides import SideRows, pair_sides


class PairEmbedder(FactorRecommender):
    """Vectors of users and items whose dot product is the score of a pair.

    Any two columns whose values belong together make pairs: readers and books, books and links, queries
    and answers. "User" and "item" are the names of the two sides.

    * With positive pairs only, ``fit(X)`` learns to rank: each pair is compared with items that its user
      does not have.
    * With a number for each pair, ``fit(X, y)`` learns to predict it: biased matrix factorisation
      (Koren, Bell & Volinsky 2009), where the prior of a vector is divided by its number of pairs
      (Salakhutdinov & Mnih 2008).

    Each side may have more columns, including histories (``fit(X, users=..., items=...)``). The vectors
    of the columns are summed (Kula 2015), or combined by hidden layers (``hidden``): two towers.

    Parameters
    ----------
    user : str, optional
        Name of the column of users; needed if a frame has more than two columns.
    item : str, optional
        Name of the column of items.
    shared : bool, default=False
        Whether both sides have the same ids, such as the nodes of a graph, with one vector for each.
    dim : int, default=64
        Width of the vectors.
    normalized : bool, default=False
        Whether vectors have length one, so that the dot product is a cosine.
    biases : bool, default=True
        Whether a score is the dot product plus an offset of the user and one of the item.
    loss : {"auto", "softmax", "bpr", "logistic", "squared"}
        "auto" by default: the cross-entropy of the item of a positive pair among all items ("softmax"),
        and the squared error of numbers. Other losses of positive pairs: the cross-entropy of being
        above each negative ("bpr") or of being a pair ("logistic"), and the squared error from 1 and -1.
    negatives : {"uniform", "popularity", "in_batch", "group"}, default="uniform"
        Source of negatives: all items with equal probability, or in proportion to their counts to the
        power of ``exponent``, the other items of the batch, or items of the same ``group``. "softmax"
        corrects for how often an item is drawn.
    n_negatives : int or "auto", default="auto"
        Number of negatives that a batch shares, or that each pair has with "group". At least as many as
        there are items means all of them. "auto": all up to 10,000, else 1,024. The number matters more
        than the network (Petrov & Macdonald 2023).
    exponent : float, default=0.75
        Power of the counts for "popularity"; negative values draw rare items more often.
    group : str, optional
        Column of ``items`` for ``negatives="group"``.
    negative_weight : float, default=1.0
        Weight of all negatives of a pair together, for "logistic" and "squared".
    temperature : float or "auto", default="auto"
        Divides the dot product. "auto": 0.1 if vectors have length one and the loss is not squared,
        else 1.
    roles : dict of column -> str, optional
        Overrides the role that a column of either side gets by its type, as in `EmbeddingClassifier`.
    tables : dict of name -> Table, optional
        Embedding tables that several columns of a side share, or that have settings of their own.
    min_count : float, default=1
        Users, items and categories with fewer pairs have no vector.
    unknown_rate : float, default=0.01
        Share of cells that training hides, so that unknown users and items have trained vectors.
    numbers : {"piecewise", "periodic", "scale"}, default="piecewise"
        Encoding of numbers in the columns of a side.
    n_bins : int, default=48
        Maximum number of bins of a number.
    history : {"mean", "gru", "lstm"}, default="mean"
        Encoder of columns of lists.
    d_history : int, default=64
        Width of the encoder of lists.
    pooling : {"mean", "last", "all", "attention"}, default="all"
        How the states of a recurrent network become one vector.
    max_events : int, optional, default=500
        Maximum number of events of a list, or words of a text, to read: the last ones. None: all.
    hidden : sequence of int, default=()
        Widths of the hidden layers of each tower. Empty: the vectors of columns are summed.
    dropout : float or "auto", default="auto"
        Share of the numbers of a user's vector, and of hidden units, that training drops. "auto": 0.5
        for a softmax without ``normalized``, else 0.
    l2 : float or "auto", default="auto"
        Strength of the prior that pulls a vector to zero. It is divided by the number of pairs of the
        vector, and is in units of the noise if pairs have numbers. "auto": 3 for positive pairs, 20 for
        numbers.
    max_epochs : int, default=100
    batch_size : int or "auto", default="auto"
        Pairs per step; "auto" takes 64 to 8,192, depending on the number of pairs. All pairs of a user
        are in one step if they share their negatives.
    learning_rate : float or "auto", default="auto"
        Learning rate of Adam. "auto": 0.003 for more than 10,000 pairs with numbers, else 0.01.
    early_stopping : bool or "auto", default="auto"
        Whether held-out pairs choose the best epoch; all pairs then train for that many further epochs.
        "auto": with 1,000 pairs or more.
    validation_fraction : float, default=0.1
        Share of the pairs to hold out.
    patience : int, default=10
        Epochs without a better loss of held-out pairs after which training stops.
    max_time : float, optional
        Time limit of ``fit`` in seconds.
    device : str, default="auto"
        A torch device; "auto" takes CUDA where there is one.
    n_jobs : int, optional
        Threads. None: the free cores, or one inside a joblib worker. -1: every core.
    verbose : bool, optional
        Whether to show a progress bar. None: on a terminal or in a notebook, after three seconds.
    random_state : int, RandomState or None, default=None
        With an int, two fits on one thread give the same vectors bit for bit.

    Attributes
    ----------
    user_vectors_, item_vectors_ : ndarray of shape (n, dim), float32
        In the order of ``users_`` and ``items_``.
    user_offsets_, item_offsets_ : ndarray of shape (n,), float32
    spaces_ : dict of column -> EmbeddingSpace
        The vectors of users and of items.
    learning_curve_ : dict of list
        One entry per epoch: epoch, seconds, train_loss, eval_loss.
    best_epoch_ : int
    network_ : torch.nn.Module

    Examples
    --------
    >>> import pandas as pd
    >>> pairs = pd.DataFrame({"reader": list("aabbcc"), "book": ["x", "y", "x", "y", "z", "w"]})
    >>> model = PairEmbedder(dim=8, max_epochs=5, random_state=0).fit(pairs)
    >>> model.recommend(["a"], k=2)["book"].tolist()
    ['w', 'z']
    >>> model.spaces_["book"]
    EmbeddingSpace('book', 4 categories, 8 dimensions, reliability not known)
    """

    rules: ClassVar[Mapping[str, Rule]] = {
        **Recommender.rules,
        "shared": FLAG,
        "dim": whole(1),
        "normalized": FLAG,
        "biases": FLAG,
        "loss": one_of(("auto", *LOSSES)),
        "negatives": one_of(NEGATIVES),
        "n_negatives": whole(1).or_("auto"),
        "exponent": real(-10, 10),
        "group": COLUMN_NAME,
        "negative_weight": real(0, open_low=True),
        "temperature": real(0, open_low=True).or_("auto"),
        "roles": MAPPING,
        "tables": MAPPING,
        "min_count": real(0),
        "unknown_rate": real(0, 0.5),
        "numbers": one_of(NUMBER_ENCODINGS),
        "n_bins": whole(2),
        "history": one_of(HISTORY_ENCODERS),
        "d_history": whole(1),
        "pooling": one_of(POOLINGS),
        "max_events": whole(1).or_(None),
        "hidden": Rule(
            lambda v: v == () or WIDTHS.holds(v), lambda: "() or a sequence of whole numbers >= 1"
        ),
        "dropout": real(0, 1).or_("auto"),
        "l2": real(0).or_("auto"),
        "max_epochs": whole(1),
        "batch_size": whole(1).or_("auto"),
        "learning_rate": real(0, open_low=True).or_("auto"),
        "early_stopping": FLAG.or_("auto"),
        "validation_fraction": real(0, 1, open_low=True),
        "patience": whole(1),
        "max_time": SECONDS,
        "n_jobs": N_JOBS,
        "verbose": VERBOSE,
    }

    shared: bool
    dim: int
    normalized: bool
    loss: str
    negatives: str
    n_negatives: int | str
    group: str | None
    max_time: float | None
    batch_size: int | str
    device: str
    n_jobs: int | None
    random_state: int | np.random.RandomState | None

    user_encoder_: Encoder
    item_encoder_: Encoder
    target_: NumberTarget | None
    network_: PairNetwork
    learning_curve_: LearningCurve
    best_epoch_: int

    def __init__(
        self,
        *,
        user: str | None = None,
        item: str | None = None,
        shared: bool = False,
        dim: int = 64,
        normalized: bool = False,
        biases: bool = True,
        loss: str = "auto",
        negatives: str = "uniform",
        n_negatives: int | str = "auto",
        exponent: float = 0.75,
        group: str | None = None,
        negative_weight: float = 1.0,
        temperature: float | str = "auto",
        roles: Mapping[str | int, str] | None = None,
        tables: Mapping[str, Table] | None = None,
        min_count: float = 1,
        unknown_rate: float = 0.01,
        numbers: str = "piecewise",
        n_bins: int = 48,
        history: str = "mean",
        d_history: int = 64,
        pooling: str = "all",
        max_events: int | None = 500,
        hidden: Sequence[int] = (),
        dropout: float | str = "auto",
        l2: float | str = "auto",
        max_epochs: int = 100,
        batch_size: int | str = "auto",
        learning_rate: float | str = "auto",
        early_stopping: bool | str = "auto",
        validation_fraction: float = 0.1,
        patience: int = 10,
        max_time: float | None = None,
        device: str = "auto",
        n_jobs: int | None = None,
        verbose: bool | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        store(self, locals())

    @property
    def _columns_read(self) -> list[str] | None:
        """The columns of a stream that are read into memory; None: all."""
        return None if self.user is None or self.item is None else [self.user, self.item]

    @reads_streams
    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        users: Any = None,
        items: Any = None,
        eval_X: Any = None,
        eval_y: Any = None,
        callbacks: Sequence[Callback] | None = None,
        **unknown: Never,
    ) -> Self:
        """Fit the vectors on pairs.

        A refused or interrupted call leaves the estimator as it was.

        Parameters
        ----------
        X : frame or array-like of shape (n_rows, n_columns), or a stream
            A pair in each row; only its two columns are read. The two columns of a stream, as
            `EmbeddingClassifier.fit` accepts it, are read into memory.
        y : array-like of shape (n_rows,), optional
            A number for each pair, such as a rating. None: all pairs are positive ones.
        sample_weight : array-like of shape (n_rows,), optional
            A pair of weight two counts as two pairs; pairs of weight zero are left out.
        users, items : frame, optional
            Describe all users or all items: a row for each, with the column of ids and any others. Some
            may have no pair.
        eval_X, eval_y : like X and y, optional
            Validation pairs that choose the best epoch, instead of a part of X. Pairs with an unknown
            user or item are left out.
        callbacks : list of `tabemb.callbacks.Callback`, optional
            Called after each epoch; any of them may end the fit.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            A parameter, column or number breaks its rule; the message names it.
        """
        refuse_unknown(self, "fit", unknown)
        budget = Budget(self.max_time)
        check_parameters(self, self.rules)
        check_alone(self)
        self._check_negatives()
        frame = to_arrow(X, self)
        names = PairColumns.of(frame, self.user, self.item)
        sides = pair_sides(frame, names, users, items, self.shared)
        pairs, numbers = self._pairs(frame, y, sample_weight, sides)
        validation = self._validation(eval_X, eval_y, sides, numbers is not None)
        target = None if numbers is None else NumberTarget().fit(numbers, pairs.weight)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        memory = memory_needed(len(pairs), self.batch_size, self.device)
        watching = watched(callbacks, self)
        with memory, drawing_from(Random(seed)), threads(self.n_jobs), watching as watch:
            settings = settings_of(self, len(pairs), target is not None)
            parts = fit_parts(*sides, self.shared, settings)
            encoders = parts.user_encoder, parts.item_encoder
            network = build(*encoders, settings, len(pairs), target is not None)
            trained = train_pairs(
                network, parts, pairs, numbers, validation, target, settings, seed, budget
            )
            after = copy(self)
            after._remember(pairs)
            after._keep(network, parts, target, trained)
        self.__dict__ = after.__dict__  # in one assignment, safe if interrupted
        watch.fit_ended(self)
        return self

    def extend(self, X: Any = None, y: Any = None, users: Any = None, items: Any = None) -> Self:
        """Return a model that also has vectors for new users and items; all other vectors stay the same.

        A new vector starts from the columns of its row in ``users`` or ``items``, or else from the
        vector of unknown ones. Its pairs then train an addition to this start with the loss of ``fit``,
        while everything else is fixed (fold-in).

        Parameters
        ----------
        X : frame of pairs, optional
            The pairs of new users and new items. Pairs of a known user and a known item train nothing,
            but are no longer recommended.
        y : array-like of shape (n_rows,), optional
            The numbers of the pairs, if ``fit`` had numbers.
        users, items : frame, optional
            Describe new users or items with the columns that ``fit`` had; known ones are ignored.

        Returns
        -------
        PairEmbedder
            A new model; this one does not change.
        """
        check_is_fitted(self)
        pairs, *frames = (
            None if frame is None else to_arrow(frame, self) for frame in (X, users, items)
        )
        if (y is not None) != (self.target_ is not None and X is not None):
            raise ValueError(
                "y must be passed with X where fit had numbers, and must be None otherwise."
            )
        with threads(self.n_jobs):
            after: Self = extended_model(self, pairs, frames[0], frames[1], y)
        return after

    def _check_negatives(self) -> None:
        """Check the parameters that depend on each other."""
        if (self.negatives == "group") != (self.group is not None):
            raise ValueError(
                "group must name a column of items with negatives='group', and be None otherwise; got "
                f"group={self.group!r} with negatives={self.negatives!r}."
            )
        if self.negatives == "in_batch" and self.n_negatives != "auto":
            raise ValueError(
                "n_negatives must be 'auto' with negatives='in_batch', where a batch has as many as "
                f"pairs; got {self.n_negatives!r}."
            )

    def _pairs(
        self, frame: pa.Table, y: Any, sample_weight: Any, sides: tuple[SideRows, SideRows]
    ) -> tuple[Interactions, np.ndarray | None]:
        """Return the pairs as positions, without those of weight zero, and their numbers."""
        weights = check_weights(sample_weight, frame.num_rows)
        numbers = None if y is None else self._numbers(y, frame.num_rows)
        users, items = (side.entities for side in sides)
        user, item = known_positions(users, frame), known_positions(items, frame)
        kept = np.ones(len(user), dtype=bool) if weights is None else weights > 0
        weights = None if weights is None else weights[kept]
        pairs = Interactions(users, items, user[kept], item[kept], weights)
        return pairs, None if numbers is None else numbers[kept]

    def _numbers(self, y: Any, n_rows: int) -> np.ndarray:
        numbers = check_target(y, "y", numeric=True)
        if numbers.shape != (n_rows,):
            raise ValueError(f"y must have the shape ({n_rows},), one a pair; got {numbers.shape}.")
        if self.loss not in ("auto", "squared"):
            raise ValueError(
                f"loss must be 'auto' or 'squared' for pairs with numbers (y); got {self.loss!r}."
            )
        return numbers

    def _validation(
        self, X: Any, y: Any, sides: tuple[SideRows, SideRows], has_numbers: bool
    ) -> tuple[Interactions, np.ndarray | None] | None:
        """Return the validation pairs whose sides are both known, if any were passed."""
        if X is None and y is None:
            return None
        if X is None or (y is None) == has_numbers:
            raise ValueError(
                "eval_X must come with eval_y where y was passed, and without it otherwise."
            )
        frame, (users, items) = to_arrow(X, self), (side.entities for side in sides)
        user, item = users.positions(frame), items.positions(frame)
        numbers = None if y is None else self._numbers(y, frame.num_rows)
        kept = (user >= 0) & (item >= 0)
        if not kept.any():
            raise ValueError("eval_X must hold a pair of a user and an item of X; none is there.")
        pairs = Interactions(users, items, user[kept], item[kept], None)
        return pairs, None if numbers is None else numbers[kept]

    def _keep(
        self, network: PairNetwork, parts: PairParts, target: NumberTarget | None, trained: Trained
    ) -> None:
        """Set what was trained as attributes."""
        self.network_, self.target_, self.scale_ = network, target, network.scale
        self.user_encoder_, self.item_encoder_ = parts.user_encoder, parts.item_encoder
        self.learning_curve_, self.best_epoch_ = trained
        self.user_vectors_, self.user_offsets_, self.unknown_user_ = outputs_of(
            network.users, parts.user_encoder, parts.users.frame
        )
        self.item_vectors_, self.item_offsets_, self.unknown_item_ = outputs_of(
            network.items, parts.item_encoder, parts.items.frame
        )

    def _take(self, sides: Sequence[Entities], users: Vectors, items: Vectors) -> None:
        """Set the vectors of more users and items, which have no pairs yet."""
        self.users_, self.items_ = sides
        self.user_vectors_, self.user_offsets_ = users.vectors, users.offsets
        self.item_vectors_, self.item_offsets_ = items.vectors, items.offsets
        ends = self.seen_.offsets
        offsets = np.append(ends, np.full(len(self.users_) - len(self.seen_), ends[-1]))
        self.seen_ = Lists(offsets, self.seen_.values)

    def _in_unit(self, scores: np.ndarray) -> np.ndarray:
        if self.target_ is None:
            return scores
        return np.asarray(scores * self.target_.scale + self.target_.center)

    def _new_network(self) -> PairNetwork:
        """Return an untrained network of the shape of ``network_``, to load weights into."""
        has_numbers = self.target_ is not None
        settings = settings_of(self, 1, has_numbers)
        return build(self.user_encoder_, self.item_encoder_, settings, 1, has_numbers)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "best_epoch_")

"""ItemEmbedder: vectors of items from the lists that contain them, by word2vec and item2vec."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any, ClassVar, Never, Self

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from tabemb.data.vocabulary import N_SPECIAL
from tabemb.fitting.settings import (
    FLAG,
    MAPPING,
    N_JOBS,
    VERBOSE,
    Rule,
    check_parameters,
    one_of,
    real,
    show_progress,
    whole,
)
from tabemb.hints import NamesMisspelt, refuse_unknown
from tabemb.spaces.space import EmbeddingSpace
from tabemb.training.threads import n_threads
from tabemb.training.workers import check_alone
from tabemb.unsupervised.corpus import Corpus, extended, groups_by_rank, ranks_of, read_corpus
from tabemb.unsupervised.item_answers import ItemAnswers
from tabemb.unsupervised.item_lists import LONGEST, with_items_from
from tabemb.unsupervised.item_sources import ITEM
from tabemb.unsupervised.item_training import Schedule, train_items
from tabemb.unsupervised.skip_gram import (
    GensimTrainer,
    GroupTrainer,
    SkipGramSettings,
    Start,
    Trainer,
    kept_share,
)

NAME = Rule(lambda v: v is None or isinstance(v, str), lambda: "the name of a column, or None")
WINDOW = 5
"""Default window of sequences."""
SUBSAMPLE = 0.001
"""Default share of all counts above which items are subsampled, for 10,000 items or more: word2vec's."""
FREQUENT = 10
"""Multiple of the mean share above which items are subsampled, if there are fewer items."""


class ItemEmbedder(NamesMisspelt, ItemAnswers):
    """Transformer that learns a vector for each item from the lists that contain it, without a target.

    Items that occur with the same other items get similar vectors: words of sentences, products of
    baskets, songs of playlists, pages of sessions, nodes of random walks. Training is skip-gram or CBOW
    with negative sampling or hierarchical softmax (word2vec: Mikolov et al. 2013,
    https://arxiv.org/abs/1310.4546; item2vec: Barkan & Koenigstein 2016,
    https://arxiv.org/abs/1603.04259). It uses gensim: ``pip install 'tabemb[items]'``.

    Parameters
    ----------
    mode : {"sequence", "set"}, default="sequence"
        Whether the order of a list matters. In a sequence, the context of an item is the items near it.
        In a set, the context is all other items, an item counts once, and neither the order of the lists
        nor the order of their items changes the vectors.
    item : str, optional
        The column of items: a column of lists, a field of its events ("history.page"), or a column of a
        log. None: the only column of lists.
    entity : str, optional
        The column of a log that groups its rows into lists, such as a session. None: X contains lists.
    time : str, optional
        The column of a log that orders each list. None: the rows are already in order.
    goal : str, optional
        The column with the goal of each list, such as the booking at the end of a session. The goal is
        an item in the context of every position, however far away (Grbovic & Cheng 2018). In a log, its
        value is the same in all rows of an entity, or missing.
    groups : dict of item -> group, optional
        The group of each item, such as the market of a flat. Each pair then has the same number of
        additional negatives from the group of its item, so that vectors distinguish items within a group
        (Grbovic & Cheng 2018). An item without a group has no additional negatives.
    min_count : float, default=1
        Items that occur less often get no vector, and are left out of the lists.
    dim : int, default=100
        Width of a vector.
    skip_gram : bool, default=True
        Whether each item predicts each item of its context (skip-gram). False: the mean of the context
        predicts the item (CBOW), which is about three times as fast and needs more data.
    window : int or {"auto"} or None, default="auto"
        Number of context items on either side. None: the whole list. "auto": 5 for sequences, the whole
        list for sets. In a set, a window contains random other items, drawn again in each epoch; this
        helps with sets of hundreds of items, where training on all pairs takes long.
    shrink_windows : bool or {"auto"}, default="auto"
        Whether the window of each item has a random size up to ``window``, so that near items count
        more. "auto": only for sequences.
    n_negatives : int, default=5
        Number of sampled negatives of each pair. 0: hierarchical softmax instead.
    negative_exponent : float, default=0.75
        Items are drawn as negatives in proportion to their count to this power: with 1 as often as they
        occur, with 0 equally often, below 0 rare items more often. For items other than words, values
        far from 0.75 are often best (Caselles-Dupre et al. 2018, https://arxiv.org/abs/1804.04212).
    subsample : float or {"auto"}, default="auto"
        Items with more than this share of all counts are left out at random, the more often the more
        frequent they are. 0: no item is left out. "auto": 0.001, or ten times the mean share if there
        are fewer than 10,000 items.
    max_epochs : int, default=10
        Number of epochs.
    learning_rate : float, default=0.025
        Learning rate of gradient descent; it decreases linearly to 0.0001.
    n_jobs : int, optional
        Number of threads. Several threads update the same vectors, so two fits differ. None: one with an
        int as ``random_state``, else the free cores, or one inside a joblib worker. -1: every core.
    verbose : bool, optional
        Whether to show a progress bar. None: on a terminal or in a notebook, after three seconds,
        never inside a joblib worker.
    random_state : int, RandomState or None, default=None
        With an int, two fits on one thread give the same vectors bit for bit.

    Attributes
    ----------
    space_ : EmbeddingSpace
        The vectors by item. Their reliability is not known, because it needs a target.
    context_space_ : EmbeddingSpace or None
        The context vectors of items: ``context_space_.nearest(space_["bread"], metric="dot")`` returns
        the items that occur with bread, not those similar to bread. None for hierarchical softmax, which
        has no context vectors.
    log_odds_ : ndarray of shape (n_items,)
        The product of an item's context vector and the vector of another item, plus the log odds of the
        first, is the logarithm of its frequency in the context of the second, up to a constant (Levy &
        Goldberg 2014, https://papers.nips.cc/paper/5477).
    vocabulary_ : Vocabulary
    learning_curve_ : dict of list
        One entry per epoch: epoch, seconds, train_loss (the sum over the pairs of an item, on average).
    tally_ : dict of str -> int
        Counts of what ``fit`` has read and left out: "lists" and "items" read; items "missing",
        "repeated" in a set, "without_entity", and "rare" by ``min_count``, with "rare_items" the number
        of different rare items; "items_with_vector", of which "untrained" never occurred with another
        item and have a vector of zeros.

    Examples
    --------
    >>> baskets = [["bread", "butter"], ["beer", "chips"], ["bread", "butter", "jam"]] * 20
    >>> embedder = ItemEmbedder(mode="set", dim=8, random_state=0).fit(baskets)
    >>> embedder.space_.nearest("beer", k=1)["category"].tolist()
    ['chips']
    >>> embedder.transform([["bread", "jam"], []]).shape
    (2, 8)
    """

    rules: ClassVar[Mapping[str, Rule]] = {
        "mode": one_of(("sequence", "set")),
        "item": NAME,
        "entity": NAME,
        "time": NAME,
        "goal": NAME,
        "groups": MAPPING,
        "min_count": real(0),
        "dim": whole(1),
        "skip_gram": FLAG,
        "window": whole(1).or_("auto").or_(None),
        "shrink_windows": FLAG.or_("auto"),
        "n_negatives": whole(0),
        "negative_exponent": real(-np.inf),
        "subsample": real(0, 1).or_("auto"),
        "max_epochs": whole(1),
        "learning_rate": real(0, open_low=True),
        "n_jobs": N_JOBS,
        "verbose": VERBOSE,
    }

    learning_curve_: dict[str, list[float]]
    tally_: dict[str, int]

    def __init__(
        self,
        *,
        mode: str = "sequence",
        item: str | None = None,
        entity: str | None = None,
        time: str | None = None,
        goal: str | None = None,
        groups: Mapping[Any, Any] | None = None,
        min_count: float = 1,
        dim: int = 100,
        skip_gram: bool = True,
        window: int | str | None = "auto",
        shrink_windows: bool | str = "auto",
        n_negatives: int = 5,
        negative_exponent: float = 0.75,
        subsample: float | str = "auto",
        max_epochs: int = 10,
        learning_rate: float = 0.025,
        n_jobs: int | None = None,
        verbose: bool | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.mode = mode
        self.item = item
        self.entity = entity
        self.time = time
        self.goal = goal
        self.groups = groups
        self.min_count = min_count
        self.dim = dim
        self.skip_gram = skip_gram
        self.window = window
        self.shrink_windows = shrink_windows
        self.n_negatives = n_negatives
        self.negative_exponent = negative_exponent
        self.subsample = subsample
        self.max_epochs = max_epochs
        self.learning_rate = learning_rate
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, **unknown: Never) -> Self:
        """Learn the vectors of the items of all lists.

        A refused or interrupted call leaves the estimator as it was.

        Parameters
        ----------
        X : sequence of lists, frame, or stream
            Lists of items; a frame with a column of lists; or, if ``entity`` is given, a log with one
            item per row. A stream is the path or pattern of files, a pyarrow Dataset, a DuckDB
            relation, a Polars LazyFrame or a `Stream`. Files with a column of lists are read in pieces,
            in each epoch. A log is read at once, but only the columns that are needed. With files, the
            order of the rows changes the vectors; the order of items in a set does not.
        y : None
            Not used.

        Returns
        -------
        self
        """
        refuse_unknown(self, "fit", unknown)
        self._check()
        corpus = read_corpus(self._source(X, self._names), self._is_set, self.min_count)
        seed = self._seed()
        trainer = self._trainer(corpus, seed)
        n_jobs = 1 if self.n_jobs is None and self.random_state is not None else self.n_jobs
        kept = corpus.kept()
        curve = train_items(trainer, kept.pieces, self._schedule(kept.n_items, seed, n_jobs))
        self.__dict__ = self._keep(corpus, trainer, curve, 0).__dict__  # safe if interrupted
        return self

    def add_items(self, X: Any) -> Self:
        """Learn vectors for the items that have none; all other vectors stay the same, bit for bit.

        Parameters
        ----------
        X : as for `fit`
            Lists in which new items occur with known ones. The counts of known items increase.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            X contains no new item; or the model uses hierarchical softmax, whose tree new items would
            change.
        """
        check_is_fitted(self)
        self._check()
        if self.context_space_ is None:
            raise ValueError(
                "n_negatives must be at least 1 to add items; it was 0, hierarchical softmax, whose "
                "tree of all items new ones would change; fit on all lists."
            )
        n_known, seed = len(self.space_), self._seed()
        read = read_corpus(self._source(X, self._names), self._is_set, min_count=1)
        corpus = extended(read, self.vocabulary_, self.min_count)
        order = np.argsort(ranks_of(self.vocabulary_)[N_SPECIAL:])
        start = Start(self.space_.vectors[order], self.context_space_.vectors[order])
        trainer = self._trainer(corpus, seed, start)

        def restore() -> None:
            assert trainer.contexts is not None
            trainer.vectors[:n_known], trainer.contexts[:n_known] = start.vectors, start.contexts

        pieces = [lists.take(with_items_from(lists, n_known)) for lists in corpus.pieces()]
        schedule = self._schedule(sum(len(lists.codes) for lists in pieces), seed, n_jobs=1)
        curve = train_items(trainer, lambda: iter(pieces), schedule, restore)
        self.__dict__ = self._keep(corpus, trainer, curve, n_known).__dict__
        return self

    @property
    def _has_kernel(self) -> bool:
        return self.goal is not None or self.groups is not None

    def _check(self) -> None:
        check_parameters(self, self.rules)
        check_alone(self)
        if self.time is not None and self.entity is None:
            raise ValueError("entity must name a column of the log where time does; got None.")
        if self._has_kernel and not (self.skip_gram and self.n_negatives):
            raise ValueError(
                "skip_gram must be True and n_negatives at least 1 where goal or groups is given; got "
                f"skip_gram={self.skip_gram!r} and n_negatives={self.n_negatives!r}."
            )

    def _seed(self) -> int:
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _settings(self, n_items: int) -> SkipGramSettings:
        subsample = max(SUBSAMPLE, FREQUENT / n_items) if self.subsample == "auto" else self.subsample
        window = WINDOW if self.window == "auto" and not self._is_set else self.window
        shrink = not self._is_set if self.shrink_windows == "auto" else self.shrink_windows
        return SkipGramSettings(
            dim=int(self.dim),
            skip_gram=bool(self.skip_gram),
            window=LONGEST if window in ("auto", None) else min(int(window), LONGEST),
            shrink_windows=bool(shrink),
            n_negatives=int(self.n_negatives),
            negative_exponent=float(self.negative_exponent),
            subsample=float(subsample) if float(subsample) < 1 else 0.0,
        )

    def _trainer(self, corpus: Corpus, seed: int, start: Start | None = None) -> Trainer:
        if not self._has_kernel:
            return GensimTrainer(self._settings(len(corpus.counts)), corpus.counts, seed, start)
        groups = None
        if self.groups is not None:
            groups = groups_by_rank(self.groups, corpus)
            corpus.tally["without_group"] = int((groups < 0).sum())
        return GroupTrainer(self._settings(len(corpus.counts)), corpus.counts, seed, groups, start)

    def _schedule(self, n_items: float, seed: int, n_jobs: int | None) -> Schedule:
        return Schedule(
            n_epochs=int(self.max_epochs),
            n_items=n_items,
            learning_rate=float(self.learning_rate),
            shuffle=np.random.default_rng(seed) if self._is_set else None,
            n_threads=n_threads(n_jobs),
            show=show_progress(self.verbose),
        )

    def _keep(
        self, corpus: Corpus, trainer: Trainer, curve: dict[str, list[float]], n_first: int
    ) -> Self:
        """Return a fitted copy; the first ``n_first`` items keep vectors of an earlier fit."""
        trained = np.ones(len(corpus.counts), bool)
        trained[n_first:] = trainer.moved[n_first:]
        corpus.tally["untrained"] = int((~trained).sum())
        fitted = copy(self)
        fitted.vocabulary_, fitted.tally_, fitted.learning_curve_ = (
            corpus.vocabulary,
            corpus.tally,
            curve,
        )
        by_code = corpus.ranks[N_SPECIAL:]
        labels, counts = corpus.vocabulary.labels(), corpus.vocabulary.counts[N_SPECIAL:]
        name = self.item or ITEM
        vectors = trainer.vectors * trained[:, None]
        fitted.space_ = EmbeddingSpace(vectors[by_code], labels, counts, name)
        settings = self._settings(len(counts))
        share = kept_share(counts, settings.subsample)
        fitted.log_odds_ = settings.negative_exponent * np.log(counts) - np.log(share)
        contexts = trainer.contexts
        fitted.context_space_ = (
            None
            if contexts is None
            else EmbeddingSpace(contexts[by_code], labels, counts, f"{name} context")
        )
        return fitted

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "learning_curve_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        return tags

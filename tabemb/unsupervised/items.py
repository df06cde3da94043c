"""ItemEmbedder: vectors of items from the lists that they stand in, by word2vec and item2vec."""

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
"""Window of sequences by default."""
SUBSAMPLE = 0.001
"""Share of all counts from which items are thinned by default, for 10,000 items or more: word2vec's."""
FREQUENT = 10
"""As many times the mean share from which items are thinned, where they are fewer."""


class ItemEmbedder(NamesMisspelt, ItemAnswers):
    """Transformer that learns a vector of each item from the lists that it stands in, without a target.

    Items that stand beside the same other items get near vectors: words of sentences, products of
    baskets, songs of playlists, pages of sessions, nodes of random walks. Training is skip-gram or CBOW
    with negative sampling or hierarchical softmax (word2vec: Mikolov et al. 2013,
    https://arxiv.org/abs/1310.4546; item2vec: Barkan & Koenigstein 2016,
    https://arxiv.org/abs/1603.04259). gensim trains: ``pip install 'tabemb[items]'``.

    Parameters
    ----------
    mode : {"sequence", "set"}, default="sequence"
        Whether the order of a list counts. In a sequence, an item has those near it as its context. In
        a set, all other items are its context, an item counts once, and the order of the input, of lists
        and of their items, does not change the vectors.
    item : str, optional
        The column of items: a column of lists, a field of its events ("history.page"), or a column of a
        log. None: the only column of lists.
    entity : str, optional
        The column of a log that groups its rows to lists, such as a session. None: X has lists.
    time : str, optional
        The column of a log that orders each list. None: rows are in order.
    goal : str, optional
        The column with the goal of each list, such as the booking that a session ends with: an item that
        is context of each position, however far it is (Grbovic & Cheng 2018). Of a log, its value is the
        same in all rows of an entity, or missing.
    groups : dict of item -> group, optional
        The group of each item, such as the market of a flat. Each pair then has as many negatives again
        from the group of its item, so that vectors distinguish items within a group (Grbovic & Cheng
        2018). An item without a group has none of these.
    min_count : float, default=1
        Items that occur less often get no vector, and are left out of the lists.
    dim : int, default=100
        Width of a vector.
    skip_gram : bool, default=True
        Whether each item predicts each item of its context (skip-gram). False: the mean of the context
        predicts the item (CBOW), which is some three times as fast and needs more data.
    window : int or {"auto"} or None, default="auto"
        Items on either side that are context. None: all of the list. "auto": 5 for sequences, all for
        sets. For sets with a window, it holds random others, drawn anew in each epoch: for sets of
        hundreds of items, of which all pairs take long.
    shrink_windows : bool or {"auto"}, default="auto"
        Whether the window of each item has a random size up to ``window``, so that near items count
        more. "auto": for sequences.
    n_negatives : int, default=5
        Sampled negatives of each pair. 0: hierarchical softmax instead.
    negative_exponent : float, default=0.75
        Items are drawn as negatives in proportion to their count to this power: 1 as often as they
        occur, 0 all alike, below 0 rare ones more often. For items other than words, values far from
        0.75 are often best (Caselles-Dupre et al. 2018, https://arxiv.org/abs/1804.04212).
    subsample : float or {"auto"}, default="auto"
        Items with more than this share of all counts are left out at random, the more often the more
        frequent they are. 0: none. "auto": 0.001, or ten times the mean share where this is more, as
        there are fewer than 10,000 items.
    max_epochs : int, default=10
        Number of epochs.
    learning_rate : float, default=0.025
        Learning rate of gradient descent; it falls along a line to 0.0001.
    n_jobs : int, optional
        Threads, which update the same vectors, so that two fits differ. None: one with an int as
        ``random_state``, else the free cores, or one inside a joblib worker. -1: every core.
    verbose : bool, optional
        Whether to show a progress bar. None: on a terminal or in a notebook, after three seconds,
        never inside a joblib worker.
    random_state : int, RandomState or None, default=None
        With an int, two fits on one thread give the same vectors bit for bit.

    Attributes
    ----------
    space_ : EmbeddingSpace
        The vectors by item. Their reliability is not known: it takes a target.
    context_space_ : EmbeddingSpace or None
        The vectors of items as context of others: ``context_space_.nearest(space_["bread"],
        metric="dot")`` are the items that stand beside bread, not those like bread. None for
        hierarchical softmax, which has none.
    log_odds_ : ndarray of shape (n_items,)
        What the product of an item's vector as context and the vector of another lacks to be the
        logarithm of how often the item stands there, up to a constant (Levy & Goldberg 2014,
        https://papers.nips.cc/paper/5477).
    vocabulary_ : Vocabulary
    learning_curve_ : dict of list
        One entry an epoch: epoch, seconds, train_loss (the sum over the pairs of an item, on average).
    tally_ : dict of str -> int
        What ``fit`` has read and left out: "lists" and "items" read; items "missing", "repeated" in a
        set, "without_entity", and "rare" by ``min_count``, "rare_items" different ones;
        "items_with_vector", of which "untrained" never stood beside another and have a vector of zeros.

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
            Lists of items; a frame with a column of lists; or, where ``entity`` is given, a log with
            one item a row. A stream is the path or pattern of files, a pyarrow Dataset, a DuckDB
            relation, a Polars LazyFrame or a `Stream`. Files with a column of lists are read some rows
            at a time, in each epoch; of a log, the columns that are needed are read at once. In files,
            the order of the rows, though not of a set's items, changes the vectors.
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
        self.__dict__ = self._keep(corpus, trainer, curve, 0).__dict__  # at once, if an interrupt comes
        return self

    def add_items(self, X: Any) -> Self:
        """Learn vectors for the items that have none; all other vectors stay as they are, bit for bit.

        Parameters
        ----------
        X : as for `fit`
            Lists in which new items stand beside known ones. Counts of known items grow.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            X holds no new item; or the model has hierarchical softmax, whose tree of all items new ones
            would change.
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
        """Return the estimator with what was learned; the first items have vectors from before."""
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

"""Evaluation of recommenders: metrics of rankings over all items, with intervals over users."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import norm
from sklearn.utils import check_random_state

from tabemb.data.frames import to_arrow
from tabemb.fitting.settings import FLAG, one_of, real, whole
from tabemb.hints import similar
from tabemb.unsupervised.interactions import Entities, Lists, PairColumns, entities_of, known_positions

N_DRAWS = 1000
"""Number of bootstrap samples of users."""


class Ranks(NamedTuple):
    """The rankings of n users.

    Shape
    -----
    hits  : bool (n, k), whether the item at each rank is one of the user's test items
    n_relevant : int64 (n,), number of the user's test items
    """

    hits: np.ndarray
    n_relevant: np.ndarray

    @property
    def k(self) -> int:
        """Length of a ranking."""
        return int(self.hits.shape[1])

    @property
    def n_possible(self) -> np.ndarray:
        """Most hits that a ranking of this length can have, int64 (n,)."""
        return np.asarray(np.minimum(self.n_relevant, self.k))


def recall(ranks: Ranks) -> np.ndarray:
    """Return the share of each user's test items that is recommended."""
    return np.asarray(ranks.hits.sum(1) / ranks.n_relevant)


def precision(ranks: Ranks) -> np.ndarray:
    """Return the number of hits divided by k, even if fewer than k items were recommended."""
    return np.asarray(ranks.hits.sum(1) / ranks.k)


def hit_rate(ranks: Ranks) -> np.ndarray:
    """Return 1 for each user with a test item among those recommended, else 0."""
    return ranks.hits.any(1).astype(float)


def reciprocal_rank(ranks: Ranks) -> np.ndarray:
    """Return one over the rank of the first test item, 0 without any."""
    return np.where(ranks.hits.any(1), 1 / (1 + ranks.hits.argmax(1)), 0.0)


def ndcg(ranks: Ranks) -> np.ndarray:
    """Return the discounted cumulative gain over the largest possible one (Jarvelin & Kekalainen 2002).

    A hit at rank r gains 1 / log2(r + 1); the largest possible sum has the test items first.
    """
    gains = 1 / np.log2(np.arange(2, ranks.k + 2))
    return np.asarray((ranks.hits * gains).sum(1) / np.cumsum(gains)[ranks.n_possible - 1])


def average_precision(ranks: Ranks) -> np.ndarray:
    """Return the precision at the rank of each hit, summed and divided by the largest number of hits."""
    at_rank = np.cumsum(ranks.hits, axis=1) / np.arange(1, ranks.k + 1)
    return np.asarray((at_rank * ranks.hits).sum(1) / ranks.n_possible)


METRICS: dict[str, Callable[[Ranks], np.ndarray]] = {
    "ndcg": ndcg,
    "recall": recall,
    "hit_rate": hit_rate,
    "mrr": reciprocal_rank,
    "precision": precision,
    "map": average_precision,
}
"""Metrics with a value for each user."""
COVERAGE = "coverage"
"""Share of the items of ``fit`` recommended to at least one user: a metric without a value per user."""


@dataclass(frozen=True)
class TestPairs:
    """The pairs that a recommender should find.

    Parameters
    ----------
    users : Entities
        The users of the test.
    relevant : Lists
        The items of each, as positions among ``items``.
    items : Entities
        The items of the test.
    n_seen, n_unknown_users, n_unknown_items : int
        Numbers of test pairs left out because ``fit`` had them, and of users and items of the test that
        ``fit`` did not have.
    """

    users: Entities
    items: Entities
    relevant: Lists
    n_seen: int
    n_unknown_users: int
    n_unknown_items: int

    @classmethod
    def of(cls, recommender: Any, test: Any, seen: str) -> TestPairs:
        """Read the test of a recommender."""
        frame = to_arrow(test)
        names = PairColumns.of(frame, recommender.users_.column, recommender.items_.column)
        users, items = (entities_of(frame, name) for name in names)
        user, item = known_positions(users, frame), known_positions(items, frame)
        in_fit = recommender.users_.positions(frame), recommender.items_.positions(frame)
        leaked = recommender.seen_.contain(*in_fit, len(recommender.items_))
        if leaked.any() and seen == "refuse":
            row = int(np.flatnonzero(leaked)[0])
            raise ValueError(
                f"test must not hold pairs of fit, which are known already; {int(leaked.sum())} rows "
                f"do, the first is row {row}, {frame[names.user][row].as_py()!r} and "
                f"{frame[names.item][row].as_py()!r}; split again, or pass seen='leave_out' or 'keep'."
            )
        kept = ~leaked if seen == "leave_out" else np.ones(len(user), dtype=bool)
        relevant = Lists.of(user[kept], item[kept], len(users))
        return cls(
            users,
            items,
            relevant,
            int((~kept).sum()),
            len(np.unique(user[in_fit[0] < 0])),
            len(np.unique(item[in_fit[1] < 0])),
        )


def evaluate(
    recommender: Any,
    test: Any,
    k: int = 10,
    metrics: Sequence[str] = ("ndcg", "recall", "hit_rate", "mrr", "coverage"),
    *,
    exclude_seen: bool = True,
    seen: str = "refuse",
    n_sampled: int | None = None,
    interval: str = "normal",
    confidence: float = 0.95,
    random_state: int | np.random.RandomState | None = 0,
) -> pd.DataFrame:
    """Return metrics of a recommender for test pairs, each with an interval over users.

    All items of ``fit`` are ranked for each user of the test. Test items that were not in ``fit``
    cannot be recommended and count as missed.

    Parameters
    ----------
    recommender : fitted recommender
        A recommender of `tabemb.unsupervised`.
    test : frame
        Pairs that ``fit`` did not have, with the same two columns; other columns are not read.
    k : int, default=10
        Length of a ranking.
    metrics : sequence of str, default=("ndcg", "recall", "hit_rate", "mrr", "coverage")
        Names in `METRICS`, and "coverage": the share of items recommended to at least one user.
    exclude_seen : bool, default=True
        Whether to leave out the items that a user had in ``fit``.
    seen : {"refuse", "leave_out", "keep"}, default="refuse"
        What to do with test pairs that ``fit`` had. "keep" suits ``exclude_seen=False``, where items
        may be recommended again.
    n_sampled : int, optional
        Rank the test items among this many random other items instead of all. Such metrics do not agree
        with those over all items (Krichene & Rendle 2020), so their names begin with ``sampled_``.
    interval : {"normal", "bootstrap"}, default="normal"
        Interval from the standard error over users, or from bootstrap samples of users.
    confidence : float, default=0.95
        Probability that an interval contains the mean over all possible users.
    random_state : int, RandomState or None, default=0
        Seed of the samples of items and of users.

    Returns
    -------
    pandas.DataFrame
        A row for each metric: ``value``, ``low``, ``high``, ``n_users``, ``n_pairs``, the number of test
        pairs left out as seen (``n_seen``), and the numbers of unknown users and items in the test.

    Raises
    ------
    ValueError
        The test has pairs of ``fit``, or no pair is left.

    Examples
    --------
    >>> from tabemb.unsupervised.baselines import Popularity
    >>> train = pd.DataFrame({"user": ["a", "b", "b"], "item": ["x", "x", "y"]})
    >>> test = pd.DataFrame({"user": ["a"], "item": ["y"]})
    >>> evaluate(Popularity().fit(train), test, metrics=["recall"])["value"]
    recall    1.0
    Name: value, dtype: float64
    """
    one_of(("normal", "bootstrap")).check("interval", interval)
    real(0, 1, open_low=True).check("confidence", confidence)
    by_user = evaluate_users(
        recommender,
        test,
        k,
        metrics,
        exclude_seen=exclude_seen,
        seen=seen,
        n_sampled=n_sampled,
        random_state=random_state,
    )
    counts = {name: by_user.attrs[name] for name in _COUNTS}
    rows = {}
    for name in [f"sampled_{metric}" for metric in metrics] if n_sampled else metrics:
        if name == COVERAGE:
            value, low, high = by_user.attrs[COVERAGE], np.nan, np.nan
        else:
            value, low, high = mean_interval(
                by_user[name].to_numpy(), interval, confidence, random_state
            )
        rows[name] = {"value": value, "low": low, "high": high, "n_users": len(by_user)} | counts
    return pd.DataFrame.from_dict(rows, orient="index")


_COUNTS = ("n_pairs", "n_seen", "n_unknown_users", "n_unknown_items")


def evaluate_users(
    recommender: Any,
    test: Any,
    k: int = 10,
    metrics: Sequence[str] = ("ndcg", "recall", "hit_rate", "mrr"),
    *,
    exclude_seen: bool = True,
    seen: str = "refuse",
    n_sampled: int | None = None,
    random_state: int | np.random.RandomState | None = 0,
) -> pd.DataFrame:
    """Return the metrics of each user of the test.

    Parameters
    ----------
    recommender, test, k, metrics, exclude_seen, seen, n_sampled, random_state
        As in `evaluate`.

    Returns
    -------
    pandas.DataFrame
        A column for each metric, indexed by user. ``attrs`` contains the counts that `evaluate` returns,
        and the coverage.
    """
    whole(1).check("k", k)
    FLAG.check("exclude_seen", exclude_seen)
    one_of(("refuse", "leave_out", "keep")).check("seen", seen)
    whole(1).or_(None).check("n_sampled", n_sampled)
    _check_metrics(metrics, n_sampled)
    pairs = TestPairs.of(recommender, test, seen)
    rated = np.flatnonzero(pairs.relevant.counts)
    if not len(rated):
        raise ValueError("test must hold a pair that fit did not have; none is left.")
    if n_sampled is None:
        hits, attrs = _hits(recommender, pairs, rated, k, exclude_seen)
    else:
        generator = np.random.default_rng(check_random_state(random_state).randint(2**31 - 1))
        hits, attrs = _sampled_hits(recommender, pairs, rated, k, n_sampled, generator), {}
    ranks = Ranks(hits, pairs.relevant.counts[rated])
    prefix = "sampled_" if n_sampled else ""
    columns = {prefix + name: METRICS[name](ranks) for name in metrics if name != COVERAGE}
    frame = pd.DataFrame(columns, index=pd.Index(pairs.users.labels()[rated], name=pairs.users.column))
    counts = (len(pairs.relevant.values), pairs.n_seen, pairs.n_unknown_users, pairs.n_unknown_items)
    frame.attrs.update(attrs)
    frame.attrs.update(zip(_COUNTS, counts))
    return frame


def _check_metrics(metrics: Sequence[str], n_sampled: int | None) -> None:
    known = [*METRICS, COVERAGE]
    for name in [metrics] if isinstance(metrics, str) else metrics:
        if isinstance(metrics, str) or name not in known:
            close = similar(name, known, n=1)
            hint = f" Did you mean {close[0]!r}?" if close and not isinstance(metrics, str) else ""
            raise ValueError(f"metrics must be a list of names out of {known}; got {name!r}.{hint}")
        if name == COVERAGE and n_sampled is not None:
            raise ValueError("metrics must not hold 'coverage' with n_sampled, which ranks few items.")


def _hits(
    recommender: Any, pairs: TestPairs, users: np.ndarray, k: int, exclude_seen: bool
) -> tuple[np.ndarray, Mapping[str, Any]]:
    """Return which ranks contain test items, bool (n, k), and the coverage."""
    labels = pairs.users.labels()[users]
    ranking = recommender.recommend(labels, k=k, exclude_seen=exclude_seen)
    owner = labels.get_indexer(pd.Index(ranking[recommender.users_.column]))
    _, item = pairs.items.of_labels(ranking[recommender.items_.column])
    is_hit = pairs.relevant.contain(users[owner], item, len(pairs.items))
    hits = np.zeros((len(users), k), dtype=bool)
    hits[owner, ranking["rank"].to_numpy() - 1] = is_hit
    n_covered = ranking[recommender.items_.column].nunique()
    return hits, {COVERAGE: n_covered / max(len(recommender.items_), 1)}


def _sampled_hits(
    recommender: Any,
    pairs: TestPairs,
    users: np.ndarray,
    k: int,
    n_sampled: int,
    generator: np.random.Generator,
) -> np.ndarray:
    """Return which ranks contain test items if these are ranked among random other items."""
    labels = pairs.users.labels()[users]
    _, known = recommender.users_.of_labels(labels)
    _, in_fit = recommender.items_.of_labels(pairs.items.labels())
    drawn = [
        _candidates(recommender, in_fit[pairs.relevant[user]], position, n_sampled, generator)
        for user, position in zip(users, known)
    ]
    owner = np.repeat(np.arange(len(users)), [len(items) for items, _ in drawn])
    items, relevant = (np.concatenate(arrays) for arrays in zip(*drawn))
    frame = pd.DataFrame(
        {
            recommender.users_.column: labels[owner],
            recommender.items_.column: recommender.items_.labels()[items],
        }
    )
    # ties are broken at random
    order = np.lexsort((generator.random(len(owner)), -recommender.predict(frame), owner))
    rank = np.arange(len(owner)) - np.searchsorted(owner, owner)
    hits = np.zeros((len(users), k), dtype=bool)
    inside = rank < k
    hits[owner[inside], rank[inside]] = relevant[order][inside]
    return hits


def _candidates(
    recommender: Any,
    relevant: np.ndarray,
    user: int,
    n_sampled: int,
    generator: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the known test items of a user with random other items, and which are test items."""
    relevant = relevant[relevant >= 0]
    free = np.ones(len(recommender.items_), dtype=bool)
    free[relevant] = False
    if user >= 0:
        free[recommender.seen_[user]] = False
    others = np.flatnonzero(free)
    sampled = generator.choice(others, min(n_sampled, len(others)), replace=False)
    items = np.concatenate([relevant, sampled])
    return items, np.arange(len(items)) < len(relevant)


def compare(first: pd.DataFrame, second: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """Return how much better one recommender is than another, user by user.

    Parameters
    ----------
    first, second : pandas.DataFrame
        Results of `evaluate_users` for the same test and the same metrics.
    confidence : float, default=0.95

    Returns
    -------
    pandas.DataFrame
        A row for each metric: ``difference``, the mean of first minus second, its interval (``low``,
        ``high``) over users, ``n_users``, and the share of users for whom the first is ``better`` and
        ``worse``.

    Examples
    --------
    >>> first = pd.DataFrame({"ndcg": [0.5, 1.0, 0.5]}, index=["a", "b", "c"])
    >>> compare(first, first - 0.25)["difference"].to_dict()
    {'ndcg': 0.25}
    """
    if not first.index.equals(second.index) or list(first.columns) != list(second.columns):
        raise ValueError(
            "first and second must have the same users and metrics, of one test; got "
            f"{first.shape[0]} and {second.shape[0]} users, {list(first.columns)} and "
            f"{list(second.columns)}."
        )
    rows = {}
    for name in first.columns:
        difference = (first[name] - second[name]).to_numpy()
        mean, low, high = mean_interval(difference, "normal", confidence)
        better, worse = float((difference > 0).mean()), float((difference < 0).mean())
        rows[name] = dict(zip(("difference", "low", "high"), (mean, low, high))) | {
            "n_users": len(difference),
            "better": better,
            "worse": worse,
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def mean_interval(
    values: np.ndarray,
    interval: str = "normal",
    confidence: float = 0.95,
    random_state: int | np.random.RandomState | None = 0,
) -> tuple[float, float, float]:
    """Return the mean of the values (n,) of users, and its interval, which is NaN for a single user.

    Examples
    --------
    >>> [round(number, 3) for number in mean_interval(np.array([0.0, 1.0] * 50))]
    [0.5, 0.402, 0.598]
    """
    n, mean = len(values), float(values.mean())
    if n < 2:
        return mean, np.nan, np.nan
    if interval == "normal":
        half = float(norm.ppf((1 + confidence) / 2) * values.std(ddof=1) / np.sqrt(n))
        return mean, mean - half, mean + half
    generator = np.random.default_rng(check_random_state(random_state).randint(2**31 - 1))
    means = [values[generator.integers(n, size=n)].mean() for _ in range(N_DRAWS)]
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return mean, float(low), float(high)

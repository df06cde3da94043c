"""A search for the settings of an `ItemEmbedder` that find held-out pairs best."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.base import clone
from sklearn.utils import check_random_state

from tabemb.fitting.settings import SECONDS, show_progress, whole
from tabemb.progress import progress
from tabemb.unsupervised.corpus import groups_by_rank, read_corpus
from tabemb.unsupervised.item_lists import concatenated
from tabemb.unsupervised.item_quality import HIT_RATE, Pairs
from tabemb.unsupervised.item_sources import Names, open_source
from tabemb.unsupervised.items import ItemEmbedder

SPACE: dict[str, Sequence[Any]] = {
    "max_epochs": (5, 10, 20, 40, 80),
    "window": (1, 2, 3, 5, 10, 20),
    "subsample": (0.0, 0.01, 0.001, 0.0001, 0.00001),
    "negative_exponent": (-1.0, -0.5, 0.0, 0.25, 0.5, 0.75, 1.0),
}
"""Default values to try, as in Caselles-Dupre et al. 2018; for sets, the window is not varied."""
FIXED = ("mode", "item", "entity", "time", "goal", "groups", "n_jobs", "verbose")
"""Parameters that describe X or the computation; to vary them would compare different problems."""
FEWEST = 20
"""Minimum number of lists from which pairs are held out."""
SHORTEST = 3
"""Minimum length of a list from which a pair is held out: one item is left next to the query."""


@dataclass(frozen=True)
class Tuning:
    """The result of `tune_items`.

    Parameters
    ----------
    embedder : ItemEmbedder
        Fitted on all lists with the best settings.
    trials : DataFrame
        A row for each trial, the best first: its settings, hit_rate and its interval (low, high) on the
        pairs used for the choice, the way to rank ("by") and seconds. Trial 0 has the settings of the
        given embedder.
    quality : DataFrame
        The result of `ItemEmbedder.evaluate` for the "best" and the "given" settings, on the other half
        of the pairs, which were not used for the choice.
    """

    embedder: ItemEmbedder
    trials: pd.DataFrame
    quality: pd.DataFrame

    @property
    def best_params(self) -> dict[str, Any]:
        """The settings of the best trial."""
        params: dict[str, Any] = self.embedder.get_params()
        return {name: value for name, value in params.items() if name in self.trials.columns}


def tune_items(
    embedder: ItemEmbedder,
    X: Any,
    *,
    n_trials: int = 20,
    space: Mapping[str, Sequence[Any]] | None = None,
    k: int = 10,
    max_pairs: int = 10_000,
    max_time: float | None = None,
    verbose: bool | None = None,
    random_state: int | np.random.RandomState | None = None,
) -> Tuning:
    """Search the settings of an embedder at random for those that find held-out pairs most often.

    In lists of three items or more, the last item is held out, and the item before it is the query; in
    sets, both are random. The choice is made on half of these pairs, and its quality is measured on the
    other half. For items other than words, settings can change the quality up to ten times
    (Caselles-Dupre et al. 2018, https://arxiv.org/abs/1804.04212).

    Parameters
    ----------
    embedder : ItemEmbedder
        Its settings are the first trial, and apply to all parameters that ``space`` does not name.
    X : as for `ItemEmbedder.fit`
        All items of a file are read into memory.
    n_trials : int, default=20
        Number of trials.
    space : dict of parameter -> sequence of values, optional
        The values to try. None: default values of ``max_epochs``, ``window`` (for sequences),
        ``subsample`` and ``negative_exponent``.
    k : int, default=10
        A pair is found if the second item is among the ``k`` nearest of the first.
    max_pairs : int, default=10000
        Maximum number of pairs that are held out.
    max_time : float, optional
        Seconds after which no further trial starts.
    verbose : bool, optional
        Whether to show a progress bar. None: on a terminal or in a notebook, after three seconds.
    random_state : int, RandomState or None, default=None
        With an int here and in the embedder, two calls give the same result.

    Returns
    -------
    Tuning

    Raises
    ------
    ValueError
        Fewer than 20 lists have three items or more, or an argument is invalid.
    """
    whole(1).check("n_trials", n_trials)
    whole(1).check("k", k)
    whole(20).check("max_pairs", max_pairs)
    SECONDS.check("max_time", max_time)
    values = _checked(embedder, space)
    rng = np.random.default_rng(check_random_state(random_state).randint(2**31 - 1))
    problem = _problem(embedder, X, rng, int(max_pairs))
    started = time.perf_counter()
    trials: list[_Trial] = []
    with progress(int(n_trials), "trials", show_progress(verbose)) as bar:
        for params in _drawn(embedder, values, int(n_trials), rng):
            if trials and max_time is not None and time.perf_counter() - started > max_time:
                break
            trials.append(_tried(embedder, params, problem, int(k)))
            bar.update()
    best = max(trials, key=lambda trial: trial.line[HIT_RATE])
    frame = pd.DataFrame([trial.line for trial in trials]).rename_axis("trial")
    return Tuning(
        clone(embedder).set_params(**best.params).fit(X),
        frame.sort_values(HIT_RATE, ascending=False, kind="stable"),
        pd.concat({"best": best.quality, "given": trials[0].quality}),
    )


class _Problem(NamedTuple):
    """Lists to fit on, as a frame of codes, and the held-out pairs of both halves."""

    frame: pa.Table
    params: dict[str, Any]
    halves: tuple[Pairs, Pairs]


class _Trial(NamedTuple):
    params: dict[str, Any]
    line: dict[str, Any]
    quality: pd.DataFrame


def _checked(
    embedder: ItemEmbedder, space: Mapping[str, Sequence[Any]] | None
) -> dict[str, Sequence[Any]]:
    """Return the values to try for each parameter, after a check of their rules."""
    if space is None:
        left_out = {"window"} if embedder.mode == "set" else set()
        left_out |= set() if embedder.n_negatives else {"negative_exponent"}
        return {name: values for name, values in SPACE.items() if name not in left_out}
    for name, values in space.items():
        if name not in ItemEmbedder.rules or name in FIXED:
            raise ValueError(f"space must name parameters that change the vectors; got {name!r}.")
        if isinstance(values, str) or not isinstance(values, Sequence | np.ndarray) or not len(values):
            raise ValueError(f"space must hold a sequence of values of {name}; got {values!r}.")
        for value in values:
            ItemEmbedder.rules[name].check(f"space: {name}", value)
    return dict(space)


def _drawn(
    embedder: ItemEmbedder, values: Mapping[str, Sequence[Any]], n: int, rng: np.random.Generator
) -> Iterator[dict[str, Any]]:
    """Yield the given settings, then different random ones; fewer than ``n`` if there are no more."""
    first = {name: getattr(embedder, name) for name in values}
    yield first
    drawn = {tuple(first.values())}
    n_different = math.prod(map(len, values.values()))
    for place in rng.permutation(n_different)[:n].tolist():
        params = {}
        for name, choices in values.items():
            place, i = divmod(place, len(choices))
            params[name] = choices[i]
        if len(drawn) < n and tuple(params.values()) not in drawn:
            drawn.add(tuple(params.values()))
            yield params


def _problem(embedder: ItemEmbedder, X: Any, rng: np.random.Generator, max_pairs: int) -> _Problem:
    is_set = embedder.mode == "set"
    names = Names(embedder.item, embedder.entity, embedder.time, embedder.goal)
    corpus = read_corpus(open_source(X, names, ordered=not is_set), is_set, embedder.min_count)
    lists = concatenated(list(corpus.pieces()))
    lists = lists.shuffled(rng) if is_set else lists
    long = np.flatnonzero(lists.lengths >= SHORTEST)
    if len(long) < FEWEST:
        raise ValueError(
            f"X must have at least {FEWEST} lists of {SHORTEST} items with a vector, to hold pairs out; "
            f"it has {len(long)}."
        )
    rows = rng.permutation(long)[:max_pairs]
    last = lists.offsets[rows + 1] - 1
    pairs = Pairs(lists.codes[last - 1], lists.codes[last], rows)
    half = len(rows) // 2
    halves = Pairs(*(part[:half] for part in pairs)), Pairs(*(part[half:] for part in pairs))
    is_kept = np.ones(len(lists.codes), bool)
    is_kept[last] = False
    train = lists.where(is_kept)
    columns = {"item": pa.LargeListArray.from_arrays(train.offsets, train.codes)}
    params: dict[str, Any] = {"item": "item", "entity": None, "time": None}
    if train.goals is not None:
        columns["goal"] = pa.array(train.goals, mask=train.goals < 0)
        params["goal"] = "goal"
    if embedder.groups is not None:
        groups = groups_by_rank(embedder.groups, corpus)
        params["groups"] = {i: int(group) for i, group in enumerate(groups) if group >= 0}
    return _Problem(pa.table(columns), params, halves)


def _tried(embedder: ItemEmbedder, params: dict[str, Any], problem: _Problem, k: int) -> _Trial:
    started = time.perf_counter()
    model = clone(embedder).set_params(**problem.params, **params, verbose=False).fit(problem.frame)
    seconds = time.perf_counter() - started
    tables = [_quality(model, half, k) for half in problem.halves]
    chosen = str(tables[0].drop(index="popularity")[HIT_RATE].idxmax())
    line = {name: float(tables[0][name][chosen]) for name in (HIT_RATE, "low", "high")}
    return _Trial(params, {**params, **line, "by": chosen, "seconds": seconds}, tables[1])


def _quality(model: ItemEmbedder, pairs: Pairs, k: int) -> pd.DataFrame:
    field = pa.field("item", pa.int64())
    queries, targets = (
        model.vocabulary_.codes(pa.chunked_array([pa.array(part, pa.int64())]), field)
        for part in (pairs.queries, pairs.targets)
    )
    return model.quality_of(Pairs(queries, targets, pairs.lists), k)

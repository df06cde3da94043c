"""SequenceEncoder: a vector for the events of each row, learned without a target."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Never, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch.nn import functional as F

from tabemb.data.encoding import Encoder
from tabemb.data.frames import to_arrow
from tabemb.data.histories import is_list
from tabemb.data.notes import note_doubts
from tabemb.data.schema import Table, infer_schema
from tabemb.data.vectors import are_vectors
from tabemb.estimators.base import RowEstimator
from tabemb.estimators.columns import ColumnLines
from tabemb.estimators.explained import Summarised, curve_facts, number_width, table_width
from tabemb.fitting.checkpoints import check_repeatable, open_checkpoints
from tabemb.fitting.checks import Columns, align_columns
from tabemb.fitting.memory import memory_checked, memory_needed
from tabemb.fitting.networks import NetworkSettings, build_reader, raw_spaces
from tabemb.fitting.placing import check_describable
from tabemb.fitting.settings import (
    Rule,
    check_parameters,
    real,
    show_progress,
    store,
    torch_device,
    whole,
)
from tabemb.fitting.sources import encoded
from tabemb.hints import NamesMisspelt, refuse_unknown
from tabemb.network.devices import place
from tabemb.network.inputs import Ragged, RowInputs
from tabemb.network.model import Reader
from tabemb.network.randomness import Building, Random, drawing_from
from tabemb.spaces.space import EmbeddingSpace
from tabemb.training.batches import Batches, equal_sizes, pieces_of
from tabemb.training.checkpoints import NoCheckpoints
from tabemb.training.loop import Budget, LearningCurve, Training, train
from tabemb.training.optimizers import Loss, Optimizer
from tabemb.training.threads import threads
from tabemb.training.watch import Callback, watched
from tabemb.training.workers import check_alone

PIECE = 256
"""Rows encoded at a time."""
SHARED = (
    "roles",
    "tables",
    "min_count",
    "unknown_rate",
    "numbers",
    "n_bins",
    "history",
    "d_history",
    "pooling",
    "max_events",
    "learning_rate",
    "max_time",
    "checkpoint",
    "n_jobs",
    "verbose",
)
"""Parameters that have the rules of `RowEstimator`."""


class SequenceEncoder(
    NamesMisspelt, Summarised, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """Transformer that learns a vector for the events of each row, without a target.

    A recurrent net reads two random slices of the events of each row. Training pulls the two vectors
    of a row together and pushes the vectors of different rows apart, so that a vector describes how the
    behaviour of its row differs from others (contrastive learning for event sequences, Babaev et al.
    2022, with the loss of Chen et al. 2020). To start from a log, turn it into one row for each entity
    with `HistoryJoiner`.

    Parameters
    ----------
    roles : dict of field -> {"categorical", "number", "datetime", "ignored"}, optional
        Overrides the role that a field of events ("visits.page") has by its type. Columns of X without
        lists are not used.
    tables : dict of name -> Table, optional
        Embedding tables that several fields share or that have special settings. Every other field
        gets one table.
    min_count : float, default=1
        Categories with fewer events are read as unknown.
    dim : int or {"auto", "fastai", "fourth_root", "half"}, default="auto"
        Width of a category's vector, or the rule that computes it from the number of categories.
    unknown_rate : float, default=0.01
        Share of cells hidden in training, which trains the vectors of unknown categories and missing
        values.
    numbers : {"piecewise", "periodic", "scale"}, default="piecewise"
        Encoding of numbers. "piecewise" and "periodic" learn vectors of piecewise-linear bins or of
        cosines; "scale" uses only the scaled value.
    n_bins : int, default=48
        Largest number of bins of a number.
    history : {"gru", "lstm", "mean"}, default="gru"
        Encoder of the events.
    d_history : int, default=64
        Width of the vector for each column of lists.
    pooling : {"mean", "last", "all", "attention"}, default="mean"
        How the states of a recurrent net become one vector. "mean": their mean; "last": the last state;
        "attention": a mean weighted by a learned score; "all": last, mean and maximum side by side,
        three times as wide.
    max_events : int, optional, default=500
        Largest number of events read from a row, or of steps in lists of lists; the newest are kept.
    temperature : float, default=0.1
        The compared cosines are divided by it: the smaller it is, the more the most similar other rows
        matter.
    max_epochs : int, default=20
        Number of epochs.
    batch_size : int, default=128
        Rows that are compared with one another in a step.
    learning_rate : float, default=0.003
        Learning rate of AdamW; it falls to zero along a cosine.
    max_time : float, optional
        Time limit of ``fit`` in seconds.
    checkpoint : str or path-like, optional
        Folder where ``fit`` saves its state. After a kill, the same call resumes from it, bit for bit.
    device : str, default="auto"
        A torch device; "auto" uses CUDA if there is a CUDA device.
    n_jobs : int, optional
        Number of threads. None: the free cores, but one inside a joblib worker. -1: every core.
    verbose : bool, optional
        Whether to show a progress bar. None: on a terminal or in a notebook, after three seconds, but
        not inside a joblib worker.
    random_state : int, RandomState or None, default=None
        With an int, two fits on one thread give the same vectors bit for bit.

    Attributes
    ----------
    spaces_ : dict of table name -> EmbeddingSpace
        The vectors by category.
    learning_curve_ : dict of list
        One entry per epoch: epoch, seconds, train_loss.
    encoder_ : Encoder
        Roles, vocabularies and scales.
    network_ : torch.nn.Module

    Examples
    --------
    >>> import pyarrow as pa
    >>> X = pa.table({"visits": [["a", "b", "a"], ["c", "d"], []] * 10})
    >>> SequenceEncoder(max_epochs=1, random_state=0).fit_transform(X).shape
    (30, 64)
    """

    rules: ClassVar[Mapping[str, Rule]] = {
        **{name: RowEstimator.rules[name] for name in SHARED},
        "temperature": real(0, open_low=True),
        "max_epochs": whole(1),
        "batch_size": whole(1),
    }

    roles: Mapping[str | int, str] | None
    tables: Mapping[str, Table] | None
    n_bins: int
    min_count: float
    max_events: int | None
    temperature: float
    max_epochs: int
    batch_size: int
    learning_rate: float
    max_time: float | None
    checkpoint: str | os.PathLike[str] | None
    device: str
    n_jobs: int | None
    verbose: bool | None
    random_state: int | np.random.RandomState | None

    encoder_: Encoder
    network_: Reader
    learning_curve_: LearningCurve

    def __init__(
        self,
        *,
        roles: Mapping[str | int, str] | None = None,
        tables: Mapping[str, Table] | None = None,
        min_count: float = 1,
        dim: int | str = "auto",
        unknown_rate: float = 0.01,
        numbers: str = "piecewise",
        n_bins: int = 48,
        history: str = "gru",
        d_history: int = 64,
        pooling: str = "mean",
        max_events: int | None = 500,
        temperature: float = 0.1,
        max_epochs: int = 20,
        batch_size: int = 128,
        learning_rate: float = 3e-3,
        max_time: float | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        device: str = "auto",
        n_jobs: int | None = None,
        verbose: bool | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        store(self, locals())

    def fit(
        self,
        X: Any,
        y: Any = None,
        callbacks: Sequence[Callback] | None = None,
        **unknown: Never,
    ) -> Self:
        """Train a network whose vectors distinguish the rows by their events.

        A refused or interrupted call leaves the estimator as it was.

        Parameters
        ----------
        X : frame of shape (n_rows, n_columns)
            At least one column has lists, of structs or of plain values.
        y : None
            Not used.
        callbacks : list of `tabemb.callbacks.Callback`, optional
            Called after each epoch; each of them can stop the fit.

        Returns
        -------
        self
        """
        refuse_unknown(self, "fit", unknown)
        budget = Budget(self.max_time)
        check_parameters(self, self.rules)
        check_alone(self)
        check_repeatable(self.checkpoint, self.random_state)
        frame = to_arrow(X, self)
        lists = _lists(frame)
        schema = infer_schema(lists, _as_histories(lists, self.roles), self.tables)
        check_describable(schema)
        note_doubts(lists, self.roles, self.tables)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        device = torch_device(self.device)
        memory = memory_needed(frame.num_rows, self.batch_size, self.device)
        watching = watched(callbacks, self)
        with memory, drawing_from(Random(seed)), threads(self.n_jobs), watching as watch:
            encoder = Encoder(schema, self.n_bins, self.min_count, self.max_events).fit(frame)
            inputs = encoded(encoder, frame).to(device)
            network = self._build(encoder, frame.num_rows)
            checkpoints = self._checkpoints(network, inputs)
            trained = train(self._training(network, inputs, budget, seed, checkpoints))
            checkpoints.complete()
        fitted = copy(self)
        Columns.of(X, frame).remember(fitted)
        fitted.encoder_, fitted.network_, fitted.learning_curve_ = encoder, network, trained.curve
        self.__dict__ = fitted.__dict__  # in one step, so that an interrupt leaves all or nothing
        watch.fit_ended(self)
        return self

    def _build(self, encoder: Encoder, n_rows: int) -> Reader:
        with Building():
            reader = build_reader(encoder, NetworkSettings.of(self), n_rows)
        return place(reader, torch_device(self.device))

    def _new_network(self) -> Reader:
        """Return an untrained network with the shape of ``network_``, to load weights into."""
        return self._build(self.encoder_, n_rows=1)

    def _checkpoints(self, network: Reader, inputs: RowInputs) -> NoCheckpoints:
        learning = [self.temperature, self.max_epochs, self.batch_size, self.learning_rate]
        return open_checkpoints(self.checkpoint, network, inputs, learning)

    def _training(
        self,
        network: Reader,
        inputs: RowInputs,
        budget: Budget,
        seed: int,
        checkpoints: NoCheckpoints,
    ) -> Training:
        lengths = inputs.lengths
        assert lengths is not None  # as there is a column of lists
        rows = torch.nonzero(lengths).flatten()
        if len(rows) < 2:
            raise ValueError(
                f"X must have events in at least two rows, to compare them; got {len(rows)}."
            )
        generator = torch.Generator().manual_seed(seed)
        return Training(
            network,
            Batches(inputs, int(self.batch_size), generator, rows=rows, lengths=lengths),
            ContrastiveObjective(network, self.temperature),
            Optimizer(network, self.learning_rate, weight_decay=0.0),
            max_epochs=int(self.max_epochs),
            budget=budget,
            show=show_progress(self.verbose),
            checkpoints=checkpoints,
        )

    @memory_checked
    @torch.no_grad()
    def transform(self, X: Any) -> Any:
        """Return the vector of each row's events.

        Parameters
        ----------
        X : frame of shape (n_rows, n_columns)
            It has the columns of lists that ``fit`` saw.

        Returns
        -------
        ndarray of shape (n_rows, dim), float32
            A row without events gets zeros. ``dim`` is ``d_history`` for each column of lists.
        """
        check_is_fitted(self)
        with threads(self.n_jobs):
            inputs = encoded(self.encoder_, align_columns(self, X)).to(torch_device(self.device))
            pieces = pieces_of(inputs, equal_sizes(len(inputs), PIECE))
            vectors = torch.cat([self.network_(piece) for piece in pieces])
            return vectors.numpy(force=True)

    @property
    def _n_features_out(self) -> int:
        return self.network_.dim

    @property
    def spaces_(self) -> dict[str, EmbeddingSpace]:
        """The vectors of each table by category."""
        check_is_fitted(self)
        with threads(self.n_jobs):
            return raw_spaces(self.encoder_, self.network_)

    def _facts(self) -> dict[str, Any]:
        return curve_facts(self) | {"width": self.network_.dim}

    def _columns_frame(self, spaces: Mapping[str, EmbeddingSpace]) -> pd.DataFrame:
        lines = ColumnLines(self.encoder_, None, None, spaces)
        return lines.frame(
            lambda table, column: table_width(self.encoder_, self.network_, table),
            partial(number_width, self.encoder_, self.numbers, 0),
            lambda i: int(self.network_.histories[i].encoder.dim),
        )

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "learning_curve_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.two_d_array = False
        return tags


@dataclass(frozen=True)
class ContrastiveObjective:
    """The loss of a network on two random slices of each row's events (NT-Xent, Chen et al. 2020)."""

    network: Reader
    temperature: float
    """The cosines are divided by it."""

    def __call__(self, rows: RowInputs) -> Loss:
        """Return the cross-entropy of finding a row's other slice among all slices."""
        both = [self.network(_random_slices(rows)) for _ in range(2)]
        vectors = F.normalize(torch.cat(both), dim=1)  # (2 n, d)
        similarity = (vectors @ vectors.T / self.temperature).fill_diagonal_(-torch.inf)
        partner = torch.arange(2 * len(rows), device=rows.device).roll(len(rows))
        return Loss(F.cross_entropy(similarity, partner))


def _random_slices(rows: RowInputs) -> RowInputs:
    histories = (h.random_slices() for h in rows.histories if isinstance(h, Ragged))
    return RowInputs.of(rows.codes, rows.numbers, tuple(histories))


def _as_histories(frame: pa.Table, roles: Mapping[str | int, str] | None) -> dict[str | int, str]:
    """Return the given roles, and the role "history" for lists of equal length (vectors by type)."""
    if "vector" in (given := dict(roles or {})).values():
        name = next(name for name, role in given.items() if role == "vector")
        raise ValueError(
            f"SequenceEncoder reads the events of lists, so column {name!r} must not have the role "
            "'vector'; pass it to the next model as it is."
        )
    of_one_length = [field.name for field in frame.schema if are_vectors(frame[field.name])]
    return {**dict.fromkeys(of_one_length, "history"), **given}


def _lists(frame: pa.Table) -> pa.Table:
    names = [field.name for field in frame.schema if is_list(field.type)]
    if not names:
        raise ValueError("X must have a column of lists; HistoryJoiner makes one of a log.")
    return frame.select(names)

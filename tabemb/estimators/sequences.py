"""SequenceEncoder: a vector for the events of each row, learned without answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor
from torch.nn import functional as F

from tabemb.data.encoding import Encoder
from tabemb.data.frames import to_arrow
from tabemb.data.histories import is_list
from tabemb.data.schema import Table, infer_schema
from tabemb.estimators.inputs import align_columns, remember_columns
from tabemb.estimators.networks import NetworkSettings, build_reader, spaces_of
from tabemb.estimators.settings import check_count, check_settings, torch_device
from tabemb.network.history import Ragged
from tabemb.network.model import Reader
from tabemb.spaces.space import EmbeddingSpace
from tabemb.training.batches import Batches, in_pieces
from tabemb.training.loop import Clock, train
from tabemb.training.optimizers import Optimizer
from tabemb.training.threads import is_nested, seeded, threads

PIECE = 256
"""Rows read at a time."""


class SequenceEncoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """A vector for the events of each row, learned without answers: features for any model.

    A recurrent net reads two random stretches of the events of each row. Training pulls the two vectors of a row
    together and those of different rows apart: what tells one row's behaviour from another's is what a vector holds
    (contrastive learning for event sequences, Babaev et al. 2022, with the loss of Chen et al. 2020). Of a log make
    rows with `HistoryJoiner` first, one for each entity.

    Parameters
    ----------
    roles, tables, min_count, dim, unknown_rate, numbers, n_bins, max_events, learning_rate, max_time
        As in `EmbeddingClassifier`, for the fields of events; columns of X that hold no lists have no part.
    history : {"gru", "lstm", "mean"}, default="gru"
        What reads the events.
    d_history : int, default=64
        Width of a vector, for each column of lists.
    pooling : {"mean", "last", "all", "attention"}, default="mean"
        What is read of a recurrent net: the mean of its states, the last one, or last, mean and maximum side by side,
        which is three times as wide.
    temperature : float, default=0.1
        Unit of the cosines that are compared: the smaller, the more the most similar other rows matter.
    max_epochs : int, default=20
        Passes over the rows.
    batch_size : int, default=128
        Rows that are told from one another in a step.
    device, n_jobs, verbose, random_state
        As in `EmbeddingClassifier`.

    Attributes
    ----------
    spaces_ : dict of table name -> EmbeddingSpace
        The vectors by category.
    history_ : dict of list
        Learning curve by epoch: epoch, seconds, train_loss.
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
        device: str = "auto",
        n_jobs: int | None = None,
        verbose: bool | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.roles = roles
        self.tables = tables
        self.min_count = min_count
        self.dim = dim
        self.unknown_rate = unknown_rate
        self.numbers = numbers
        self.n_bins = n_bins
        self.history = history
        self.d_history = d_history
        self.pooling = pooling
        self.max_events = max_events
        self.temperature = temperature
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.max_time = max_time
        self.device = device
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X, y=None):
        """Learn to tell rows apart by their events.

        Parameters
        ----------
        X : frame of shape (n_rows, n_columns)
            At least one column of lists, of structs or of plain values.
        y : None
            Not read.

        Returns
        -------
        self
        """
        clock = Clock(self.max_time)
        check_settings(self)
        for name in ("max_epochs", "batch_size"):
            check_count(name, getattr(self, name))
        frame = to_arrow(X, self)
        remember_columns(self, X, frame)
        schema = infer_schema(_lists(frame), self.roles, self.tables)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        with seeded(seed, torch_device(self.device)), threads(self.n_jobs):
            self.encoder_ = Encoder(schema, self.n_bins, self.min_count, self.max_events).fit(frame)
            histories = self._encoded(frame)
            self.network_ = self._build(frame.num_rows).to(torch_device(self.device))
            self.history_ = self._train(histories, clock, seed)
        return self

    def _encoded(self, frame: pa.Table) -> list[Ragged]:
        device = torch_device(self.device)
        histories = self.encoder_.transform(frame).histories
        return [Ragged(*map(torch.from_numpy, history)).to(device) for history in histories]

    def _build(self, n_rows: int) -> Reader:
        settings = NetworkSettings(
            dim=self.dim,
            unknown_rate=self.unknown_rate,
            numbers=self.numbers,
            history=self.history,
            d_history=self.d_history,
            pooling=self.pooling,
        )
        return build_reader(self.encoder_, settings, n_rows)

    def _train(self, histories: list[Ragged], clock: Clock, seed: int) -> dict[str, list[float]]:
        lengths = torch.stack([history.lengths for history in histories]).sum(0)
        rows = torch.nonzero(lengths).flatten()
        if len(rows) < 2:
            raise ValueError(
                f"X must have events in two rows at least, to tell them apart; {len(rows)} has them."
            )
        generator = torch.Generator().manual_seed(seed)
        columns = [torch.arange(len(lengths), device=lengths.device), *histories]
        history, _ = train(
            self.network_,
            Batches(columns, int(self.batch_size), generator, rows=rows, lengths=lengths),
            self._loss,
            Optimizer(self.network_, self.learning_rate, weight_decay=0.0),
            max_epochs=int(self.max_epochs),
            clock=clock,
            show=False if self.verbose is None and is_nested() else self.verbose,
        )
        return history

    def _loss(self, rows: Tensor, *histories: Ragged) -> Tensor:
        """How badly each stretch finds the other one of its row among those of all rows of the batch."""
        both = [self.network_(*(history.stretches() for history in histories)) for _ in range(2)]
        vectors = F.normalize(torch.cat(both), dim=1)  # (2 n, d)
        likeness = (vectors @ vectors.T / self.temperature).fill_diagonal_(-torch.inf)
        return F.cross_entropy(likeness, torch.arange(2 * len(rows), device=rows.device).roll(len(rows)))

    @torch.no_grad()
    def transform(self, X):
        """The vector of each row's events.

        Parameters
        ----------
        X : frame of shape (n_rows, n_columns)

        Returns
        -------
        ndarray of shape (n_rows, dim), float32
            Zeros for a row without events. ``dim`` is ``d_history`` for each column of lists.
        """
        check_is_fitted(self)
        histories = self._encoded(align_columns(self, X))
        with threads(self.n_jobs):
            vectors = [self.network_(*piece) for piece in in_pieces(histories, PIECE)]
        return torch.cat(vectors).numpy(force=True)

    @property
    def _n_features_out(self) -> int:
        return self.network_.dim

    @property
    def spaces_(self) -> dict[str, EmbeddingSpace]:
        """The vectors of each table by category."""
        check_is_fitted(self, "network_")
        return spaces_of(self.encoder_, self.network_)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "history_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.two_d_array = False
        return tags


def _lists(frame: pa.Table) -> pa.Table:
    names = [field.name for field in frame.schema if is_list(field.type)]
    if not names:
        raise ValueError("X must have a column of lists; make one of a log with HistoryJoiner.")
    return frame.select(names)

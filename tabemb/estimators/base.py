"""What all estimators of rows share: `fit` as a recipe, training, and answers in pieces."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.model_selection import ShuffleSplit
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from tabemb.data.effects import Effects
from tabemb.data.encoding import Encoder
from tabemb.data.out_of_fold import OutOfFold, weights_of
from tabemb.data.schema import Schema, Table, infer_schema
from tabemb.data.vocabulary import UNKNOWN
from tabemb.estimators.inputs import Rows, align_columns, check_rows, frame_tags, remember_columns
from tabemb.estimators.networks import NetworkSettings, build_networks, spaces_of
from tabemb.estimators.settings import PRESETS, check_settings, is_fast_in_bfloat16, torch_device
from tabemb.network.history import Ragged
from tabemb.network.model import Answer, Network, TabularNetwork, in_double_precision
from tabemb.spaces.space import EmbeddingSpace
from tabemb.targets import Target
from tabemb.training.batches import Batches, in_pieces
from tabemb.training.loop import Clock, History, train
from tabemb.training.optimizers import Optimizer
from tabemb.training.threads import is_nested, seeded, threads

N_STEPS = 1000
"""Steps that ``max_epochs="auto"`` allows, within the bounds that follow."""
FEWEST_EPOCHS, MOST_EPOCHS = 30, 60
"""Bounds of ``max_epochs="auto"``."""
N_JUDGED = 100
"""Rows from which some are held back to choose the number of passes: fewer are too few to judge by."""
N_WIDE = 50_000
"""Rows from which the layers are wider: fewer do not teach so many weights."""
PIECE = 1024
"""Rows predicted at a time, so that memory does not grow with the number of rows."""
MOST_OUTPUTS = 2**23
"""Outputs of all members at a time."""
PIECE_OF_HISTORIES = 128
"""The same of rows with histories, each of which is padded to the longest beside it."""
N_PRECISE = 1024
"""Up to this many rows are predicted in double precision, so that a row's answer does not depend on its neighbours."""


def _out_of_fold(crossed: OutOfFold | None, rows: Tensor) -> Tensor:
    """Effects of training rows, (n, n_terms, d_term)."""
    if crossed is None:
        return torch.zeros(len(rows), 0, 1, device=rows.device)
    return torch.from_numpy(crossed(rows.numpy(force=True))).to(rows.device)


def _forget_new(codes: Tensor, known: Tensor) -> None:
    """Read as unknown what no code of the same column is known as; both are (n, n_columns)."""
    for column, own in zip(codes.T, known.T):
        column[~torch.isin(column, own)] = UNKNOWN


def extends(base: type) -> Callable[[Callable], Callable]:
    """Give an ``__init__(self, *, own, **shared)`` the full signature, so that each default has one home: the base."""

    def decorate(init: Callable) -> Callable:
        own = [p for p in inspect.signature(init).parameters.values() if p.kind is not p.VAR_KEYWORD]
        shared = list(inspect.signature(base.__init__).parameters.values())[1:]  # type: ignore[misc]
        init.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
        return init

    return decorate


@cache  # asked with every prediction
def _defaults(init: Callable) -> dict[str, Any]:
    return {name: parameter.default for name, parameter in inspect.signature(init).parameters.items()}


class RowEstimator(TransformerMixin, BaseEstimator):
    """What the two estimators share: everything but the target."""

    def __init__(
        self,
        *,
        preset: str = "default",
        roles: Mapping[str | int, str] | None = None,
        tables: Mapping[str, Table] | None = None,
        min_count: float = 1,
        dim: int | str = "auto",
        unknown_rate: float = 0.01,
        l2: float = 200.0,
        offsets: bool = True,
        effects: bool = True,
        n_pairs: int = 36,
        numbers: str = "piecewise",
        n_bins: int = 48,
        d_number: int = 24,
        backbone: str = "mlp",
        hidden: tuple[int, ...] | str = "auto",
        dropout: float = 0.1,
        n_members: int = 8,
        n_networks: int = 1,
        history: str = "gru",
        d_history: int = 64,
        pooling: str = "all",
        max_events: int | None = 500,
        max_epochs: int | str = "auto",
        precision: str = "auto",
        batch_size: int | str = "auto",
        learning_rate: float = 3e-3,
        table_rate: float = 1.0,
        weight_decay: float = 0.02,
        early_stopping: bool | str = "auto",
        validation_fraction: float | str = "auto",
        patience: int = 4,
        max_time: float | None = None,
        device: str = "auto",
        n_jobs: int | None = None,
        verbose: bool | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.preset = preset
        self.roles = roles
        self.tables = tables
        self.min_count = min_count
        self.dim = dim
        self.unknown_rate = unknown_rate
        self.l2 = l2
        self.offsets = offsets
        self.effects = effects
        self.n_pairs = n_pairs
        self.numbers = numbers
        self.n_bins = n_bins
        self.d_number = d_number
        self.backbone = backbone
        self.hidden = hidden
        self.dropout = dropout
        self.n_members = n_members
        self.n_networks = n_networks
        self.history = history
        self.d_history = d_history
        self.pooling = pooling
        self.max_events = max_events
        self.max_epochs = max_epochs
        self.precision = precision
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.table_rate = table_rate
        self.weight_decay = weight_decay
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.max_time = max_time
        self.device = device
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.random_state = random_state

    _numeric_target: bool
    _has_sequences = False
    _answers: str | None = None
    """Field of earlier events that holds their answers."""
    _batch_sizes = (16, 256)
    """Smallest and largest ``batch_size="auto"``."""
    _finish_rate = 3
    """The rows held back teach too in the end, for a pass more in so many that were best."""

    def fit(self, X, y, sample_weight=None, eval_X=None, eval_y=None):
        """Learn the vectors and the network.

        Parameters
        ----------
        X : frame or array-like of shape (n_rows, n_columns)
            Missing values are welcome; infinite numbers are not.
        y : array-like of shape (n_rows,) or (n_rows, n_targets)
        sample_weight : array-like of shape (n_rows,), optional
            A row of weight two counts as two rows; a row of weight zero is left out.
        eval_X, eval_y : like X and y, optional
            Rows that choose the best epoch, instead of some held back from X.

        Returns
        -------
        self
        """
        clock = Clock(self.max_time)
        self._check_settings()
        rows = self._weigh(check_rows(X, y, sample_weight, self._numeric_target, self))
        remember_columns(self, X, rows.frame)
        self.target_ = self._make_target(rows.y).fit(rows.y, rows.weights)
        everything = rows = self._prepare(rows)
        schema = self._infer(rows.frame)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        with seeded(seed, torch_device(self.device)), threads(self.n_jobs):
            rows, judges = self._split(rows, eval_X, eval_y, seed)
            self.encoder_ = Encoder(schema, self.n_bins, self.min_count, self.max_events).fit(
                rows.frame, rows.weights
            )
            tensors, learn = self._tensors(rows), self._learners(rows, judges, seed)
            self.effects_, crossed = self._learn_effects(tensors, rows, learn, seed)
            self.hidden_ = self._widths(len(rows))
            self.network_ = self._build(len(rows)).to(torch_device(self.device))
            judged = (
                self._judged(tensors, crossed, learn) if judges is None else self._judged_apart(judges)
            )
            self.history_, self.best_epoch_ = self._train(tensors, crossed, learn, judged, clock, seed)
            self._finish(everything)
        return self

    def _prepare(self, rows: Rows) -> Rows:
        """The rows as the network reads them."""
        return rows

    def _infer(self, frame: pa.Table) -> Schema:
        return infer_schema(frame, self.roles, self.tables)

    def _finish(self, rows: Rows) -> None:
        """What there is to do after training."""

    def _make_target(self, y: np.ndarray) -> Target:
        raise NotImplementedError

    def _weigh(self, rows: Rows) -> Rows:
        return rows

    def _check_settings(self) -> None:
        check_settings(self)

    def _split(self, rows: Rows, eval_X: Any, eval_y: Any, seed: int) -> tuple[Rows, Rows | None]:
        """Rows to learn from, and other rows to choose the best epoch by."""
        if (eval_X is None) != (eval_y is None):
            raise ValueError("eval_X and eval_y must be passed together; one of them is None.")
        if eval_X is not None:
            held_out = check_rows(eval_X, eval_y, None, self._numeric_target, self, name="eval_y")
            if held_out.y.shape[1:] != rows.y.shape[1:]:
                raise ValueError(
                    f"eval_y must have as many columns as y; got {held_out.y.shape} beside {rows.y.shape}."
                )
            return rows, self._prepare(replace(held_out, frame=align_columns(self, eval_X)))
        if self.early_stopping is not True or len(rows) < 2:
            return rows, None
        learn, judge = self._held_back(rows, seed)
        return rows.take(np.sort(learn)), rows.take(np.sort(judge))

    def _held_back(self, rows: Rows, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions of the rows to learn from, and of those held back."""
        return next(self._splitter(rows.y, seed).split(np.zeros(len(rows)), rows.y))

    def _splitter(self, y: np.ndarray, seed: int) -> ShuffleSplit:
        return ShuffleSplit(1, test_size=self._held_out_share(len(y)), random_state=seed)

    def _held_out_share(self, n_rows: int) -> float:
        """A tenth of few rows; of many as many as make the judgement surer, but not all that could teach."""
        return (
            min(0.1, 10 / n_rows**0.5)
            if self.validation_fraction == "auto"
            else float(self.validation_fraction)
        )

    def _learners(self, rows: Rows, judges: Rows | None, seed: int) -> np.ndarray | None:
        """Positions of the rows that teach at first, where the others judge at first and teach later."""
        is_open = self.early_stopping == "auto" and self.max_epochs == "auto" and judges is None
        return self._held_back(rows, seed)[0] if is_open and len(rows) >= N_JUDGED else None

    def _learn_effects(
        self, tensors: list[Any], rows: Rows, learn: np.ndarray | None, seed: int
    ) -> tuple[Effects | None, OutOfFold | None]:
        """Effects of levels, and those of training rows out-of-fold."""
        if not self.effects:
            return None, None
        codes, numbers = (tensor.numpy(force=True) for tensor in tensors[:2])
        weights = np.ones(len(rows)) if rows.weights is None else rows.weights
        responses = self.target_.responses(rows.y)
        effects = Effects(self._chosen("n_pairs"), self.target_.gives_shares)
        effects.fit(codes, numbers, responses, weights_of(learn, weights), np.random.default_rng(seed))
        return effects, OutOfFold(effects, codes, numbers, responses, weights, learn)

    def _chosen(self, name: str) -> Any:
        """A setting: what the user gave, or what the preset says where it was left at its default."""
        value = getattr(self, name)
        return (
            PRESETS[self.preset].get(name, value)
            if value == _defaults(type(self).__init__)[name]
            else value
        )

    def _widths(self, n_rows: int) -> tuple[int, ...]:
        hidden = self._chosen("hidden")
        if isinstance(hidden, str):
            return (256, 256) if n_rows >= N_WIDE else (128, 128)
        return tuple(hidden)

    def _build(self, n_rows: int) -> Network:
        settings = NetworkSettings(
            dim=self.dim,
            l2=self.l2,
            unknown_rate=self.unknown_rate,
            offsets=self.offsets,
            numbers=self.numbers,
            d_number=self._chosen("d_number"),
            backbone=self.backbone,
            hidden=self.hidden_,
            dropout=self.dropout,
            n_members=self._chosen("n_members"),
            n_networks=self._chosen("n_networks"),
            history=self.history,
            d_history=self.d_history,
            pooling=self.pooling,
            has_sequences=self._has_sequences,
            classes=self.target_.classes_ if self.target_.has_many_classes else None,
            answers=self._answers,
        )
        return build_networks(self.encoder_, self.effects_, self.target_.bias, settings, n_rows)

    def _train(
        self,
        tensors: list[Any],
        crossed: OutOfFold | None,
        learn: np.ndarray | None,
        judged: list[Any] | None,
        clock: Clock,
        seed: int,
    ) -> tuple[History, int]:
        """Train the networks one after the other; gives the learning curves and the best epoch of the first."""
        networks = self.network_.networks
        codes, numbers, answers, weights, *histories = tensors
        columns = [codes, numbers, partial(_out_of_fold, crossed), answers, weights, *histories]
        generator, trained = torch.Generator().manual_seed(seed), []
        for i, network in enumerate(networks):
            batches = self._batches(network, columns, generator)
            part = clock.part(len(networks) - i)
            optimizer = Optimizer(network, self.learning_rate, self.weight_decay, self.table_rate)
            run = partial(self._run, network, optimizer)
            if learn is None:
                trained.append(run(batches(), judged, part))
            else:
                trained.append(self._judge_then_teach(run, batches, crossed, learn, judged, part))
        return trained[0]

    def _batches(
        self, network: TabularNetwork, columns: list[Any], generator: torch.Generator
    ) -> Callable[..., Batches]:
        histories = columns[5:]
        lengths = sum(history.lengths for history in histories) if histories else None
        return partial(Batches, columns, self._batch_size(len(columns[0])), generator, lengths=lengths)

    def _judge_then_teach(
        self,
        run: Callable[..., tuple[History, int]],
        batches: Callable[..., Batches],
        crossed: OutOfFold | None,
        learn: np.ndarray,
        judged: list[Any] | None,
        clock: Clock,
    ) -> tuple[History, int]:
        """Train until the rows held back are predicted no better, then a little more on all rows."""
        if crossed is not None:
            crossed.use_rows(learn)
        history, best = run(batches(rows=torch.from_numpy(learn)), judged, clock.part(2))
        if crossed is not None:
            crossed.use_rows(None)
        more, _ = run(batches(), None, clock, n_epochs=-(-(best + 1) // self._finish_rate))
        more["epoch"] = [len(history["epoch"]) + epoch for epoch in more["epoch"]]
        return {key: history[key] + more[key] for key in history}, best

    def _run(
        self,
        network: nn.Module,
        optimizer: Optimizer,
        batches: Batches,
        judged: list[Any] | None,
        clock: Clock,
        n_epochs: int | None = None,
    ) -> tuple[History, int]:
        optimizer.average.restart()
        return train(
            network,
            batches,
            partial(self._loss, network),
            optimizer,
            max_epochs=n_epochs or self._n_epochs(batches),
            evaluate=None if judged is None else partial(self._evaluate, network, judged),
            patience=self.patience,
            clock=clock,
            show=False if self.verbose is None and is_nested() else self.verbose,
        )

    def _judged_apart(self, judges: Rows) -> list[Any]:
        codes, numbers, answers, weights, *histories = self._tensors(judges)
        return [codes, numbers, self._effects(codes, numbers), answers, weights, *histories]

    def _judged(
        self, tensors: list[Any], crossed: OutOfFold | None, learn: np.ndarray | None
    ) -> list[Any] | None:
        """The rows that do not teach at first, as if no other had shown what is in them alone."""
        if learn is None:
            return None
        device = tensors[0].device
        judge = torch.from_numpy(np.setdiff1d(np.arange(len(tensors[0])), learn)).to(device)
        codes, numbers, answers, weights, *histories = (tensor[judge] for tensor in tensors)
        known = [tensor[torch.from_numpy(learn).to(device)] for tensor in (tensors[0], *tensors[4:])]
        for own, others in zip((codes, *(history.codes for history in histories)), known):
            _forget_new(own, others if isinstance(others, Tensor) else others.codes)
        return [codes, numbers, _out_of_fold(crossed, judge), answers, weights, *histories]

    def _tensors(self, rows: Rows) -> list[Any]:
        """Codes, numbers, answers, weights (of mean one) and histories on the device."""
        codes, numbers, *histories = self._encoded(rows.frame)
        weights = np.ones(1) if rows.weights is None else rows.weights / rows.weights.mean()
        weights = torch.as_tensor(weights, dtype=torch.float32).expand(len(rows))
        tensors = (codes, numbers, self.target_.encode(rows.y), weights, *histories)
        return [tensor.to(torch_device(self.device)) for tensor in tensors]

    def _encoded(self, frame: pa.Table) -> list[Any]:
        """Codes, numbers and histories of rows."""
        codes, numbers, histories = self.encoder_.transform(frame)
        ragged = [Ragged(*map(torch.from_numpy, history)) for history in histories]
        return [torch.from_numpy(codes), torch.from_numpy(numbers), *ragged]

    def _effects(self, codes: Tensor, numbers: Tensor) -> Tensor:
        """Effects of rows that did not teach them, (n, n_terms, d_term)."""
        if self.effects_ is None:
            return numbers.new_zeros(len(codes), 0, 1)
        effects = self.effects_.transform(codes.numpy(force=True), numbers.numpy(force=True))
        return torch.from_numpy(effects).to(codes.device)

    def _batch_size(self, n_rows: int) -> int:
        if self.batch_size != "auto":
            return int(self.batch_size)
        return int(np.clip(2 ** round(np.log2(max(n_rows, 1) / 40)), *self._batch_sizes))

    def _n_epochs(self, batches: Batches) -> int:
        if self.max_epochs != "auto":
            return int(self.max_epochs)
        return int(np.clip(round(N_STEPS / len(batches)), FEWEST_EPOCHS, MOST_EPOCHS))

    def _loss(
        self,
        network: nn.Module,
        codes: Tensor,
        numbers: Tensor,
        effects: Tensor,
        y: Tensor,
        weights: Tensor,
        *histories: Ragged,
    ) -> Tensor:
        sample = self.target_.sample(y)
        classes = None if sample is None else sample.classes
        with torch.autocast(codes.device.type, torch.bfloat16, enabled=self._in_bfloat16()):
            answer = network(codes, numbers, effects, *histories, classes=classes)
        outputs = answer.outputs.float()
        if sample is not None:
            outputs, y = outputs - sample.log_chance, sample.places
        loss = (self.target_.loss(outputs, y).mean(1) * weights).mean()
        penalty = (answer.penalty * weights).mean()  # the prior, of a log likelihood
        return loss + penalty * self.target_.noise(loss)

    def _in_bfloat16(self) -> bool:
        if self.precision == "auto":
            return is_fast_in_bfloat16(torch_device(self.device))
        return self.precision == "bfloat16"

    @torch.no_grad()
    def _evaluate(self, network: nn.Module, tensors: list[Any]) -> float:
        """Weighted mean loss of the members' common prediction."""
        network.eval()
        total = 0.0
        for codes, numbers, effects, y, weights, *histories in self._pieces(tensors):
            outputs = self.target_.average(network(codes, numbers, effects, *histories).outputs)
            total += float((self.target_.loss(outputs, y)[:, 0] * weights).sum())
        return total / float(tensors[4].sum())

    def _pieces(self, tensors: Sequence[Any]) -> Iterator[Sequence[Any]]:
        """Rows to answer at a time."""
        return in_pieces(
            tensors, self._at_once(PIECE_OF_HISTORIES if self.encoder_.schema.histories else PIECE)
        )

    def _at_once(self, n_rows: int) -> int:
        """So many rows, or as few as keep the outputs of many classes small."""
        return max(1, min(n_rows, MOST_OUTPUTS // (self._chosen("n_members") * self.target_.n_outputs)))

    def _raw_outputs(self, X: Any) -> Tensor:
        """The members' average output for rows of the user, (n, 1, n_outputs)."""
        return self._in_pieces(X, lambda answer: self.target_.average(answer.outputs))

    @torch.no_grad()
    def _in_pieces(self, X: Any, part: Callable[[Answer], Tensor]) -> Tensor:
        """A part of the network's answer for all rows; few rows are computed in double precision.

        A product of matrices rounds a row differently with other rows beside it. In double precision that is far
        below what anybody can see; for many rows it would cost twice the time.
        """
        check_is_fitted(self)
        device = next(self.network_.parameters()).device
        rows = [part.to(device) for part in self._encoded(align_columns(self, X))]
        precise = len(rows[0]) <= N_PRECISE
        with threads(self.n_jobs):
            return torch.cat(
                [part(self._answer(*piece, precise=precise)) for piece in self._pieces(rows)]
            )

    def _answer(self, codes: Tensor, numbers: Tensor, *histories: Ragged, precise: bool) -> Answer:
        effects = self._effects(codes, numbers)
        if precise:
            doubles = (history.double() for history in histories)
            return in_double_precision(self.network_)(
                codes, numbers.double(), effects.double(), *doubles
            )
        return self.network_(codes, numbers, effects, *histories)

    def transform(self, X):
        """Last hidden layer, averaged over the members.

        Parameters
        ----------
        X : frame or array-like of shape (n_rows, n_columns)

        Returns
        -------
        ndarray of shape (n_rows, hidden[-1]), float32
            Or what ``set_output`` asks for.
        """
        hidden = self._in_pieces(X, lambda answer: answer.hidden.mean(1))
        return hidden.float().numpy(force=True)

    def get_feature_names_out(self, input_features=None) -> np.ndarray:
        """Names of the columns of :meth:`transform`: the estimator's name and a number."""
        check_is_fitted(self)
        prefix = type(self).__name__.lower()
        return np.asarray([f"{prefix}{i}" for i in range(self.network_.d_hidden)], dtype=object)

    @property
    def spaces_(self) -> dict[str, EmbeddingSpace]:
        """The vectors of each table by category."""
        check_is_fitted(self, "network_")
        return spaces_of(self.encoder_, self.network_)

    def plot_history(self, ax: Any = None) -> Any:
        """Draw the learning curves.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            A new figure when None.

        Returns
        -------
        matplotlib Axes
        """
        check_is_fitted(self)
        from tabemb.estimators.plots import draw_history

        return draw_history(self.history_, self.best_epoch_, ax)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "best_epoch_")

    def __sklearn_tags__(self) -> Any:
        return frame_tags(super().__sklearn_tags__())

"""From pairs and the rows of both sides to a trained network of two towers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from tabemb.data.encoding import Encoder
from tabemb.data.schema import check_column
from tabemb.data.vocabulary import N_SPECIAL, UNKNOWN, Vocabulary
from tabemb.fitting.networks import NetworkSettings, build_tower
from tabemb.fitting.settings import show_progress, torch_device
from tabemb.fitting.sources import encoded
from tabemb.network.devices import device_of, place
from tabemb.network.inputs import RowInputs
from tabemb.network.pairs import PairBatch, PairNetwork
from tabemb.network.randomness import Building
from tabemb.targets import NumberTarget
from tabemb.training.batches import Batches, equal_sizes, pieces_of
from tabemb.training.best import Validated
from tabemb.training.loop import Budget, Trained, Training, train
from tabemb.training.optimizers import Optimizer
from tabemb.unsupervised.interactions import Interactions, Lists
from tabemb.unsupervised.negatives import KnownPairs, Sampler
from tabemb.unsupervised.objective import NumberObjective, PairRows, RankingObjective
from tabemb.unsupervised.sides import SideRows, check_used, fit_encoder, of_side

PIECE = 4096
"""Rows of a side whose vectors are computed at a time."""
FULL = 10_000
"""Maximum number of items for which ``n_negatives="auto"`` compares with all of them."""
N_SAMPLED = 1024
"""Number of negatives of ``n_negatives="auto"`` with more items."""
MIN_PAIRS = 1000
"""Minimum number of pairs for which ``early_stopping="auto"`` holds some out."""


L2 = (3.0, 20.0)
"""Values of ``l2="auto"``: for positive pairs, and for pairs with numbers."""
RATE, RATE_OF_MANY = 0.01, 0.003
"""Values of ``learning_rate="auto"``: the second one for more than ``FEW`` pairs with numbers."""
FEW = 10_000
DROPOUT = 0.5
"""Dropout of a softmax (Liang et al. 2018); other losses and normalized vectors do not gain from it."""


def settings_of(model: Any, n_pairs: int, has_numbers: bool) -> SimpleNamespace:
    """Return the parameters of a `PairEmbedder`, with "auto" replaced by values."""
    settings = SimpleNamespace(**model.get_params(deep=False))
    if settings.l2 == "auto":
        settings.l2 = L2[has_numbers]
    if settings.learning_rate == "auto":
        settings.learning_rate = RATE_OF_MANY if has_numbers and n_pairs > FEW else RATE
    if settings.dropout == "auto":
        is_softmax = not has_numbers and settings.loss in ("auto", "softmax")
        settings.dropout = DROPOUT if is_softmax and not settings.normalized else 0.0
    return settings


@dataclass(frozen=True)
class PairParts:
    """The parts that are fitted before the network."""

    users: SideRows
    items: SideRows
    user_encoder: Encoder
    item_encoder: Encoder


def fit_parts(users: SideRows, items: SideRows, shared: bool, settings: Any) -> PairParts:
    """Fit the encoders of both sides; a single one if they share their ids."""
    sides = [items] if shared else [users, items]
    given = [of_side(side.frame, settings.roles, settings.tables) for side in sides]
    names = [name for side in sides for name in side.frame.schema.names]
    check_used(map(str, settings.roles or {}), {n for roles, _ in given for n in roles}, "roles", names)
    check_used(settings.tables or {}, {n for _, tables in given for n in tables}, "tables", names)
    encoders = [
        fit_encoder(side, roles, tables, settings.min_count, settings.n_bins, settings.max_events)
        for side, (roles, tables) in zip(sides, given)
    ]
    return PairParts(users, items, encoders[0], encoders[-1])


def build(
    user_encoder: Encoder, item_encoder: Encoder, settings: Any, n_rows: int, has_numbers: bool
) -> PairNetwork:
    """Return a new network of two towers, or of one tower if both sides have the same encoder."""
    network_settings = NetworkSettings.of(settings, d_number=8)
    is_softmax = not has_numbers and settings.loss in ("auto", "softmax")
    base = _log_counts(item_encoder) if is_softmax and settings.biases else None
    with Building():
        users = items = build_tower(item_encoder, network_settings, n_rows, settings.normalized, base)
        if user_encoder is not item_encoder:
            users = build_tower(
                user_encoder,
                network_settings,
                n_rows,
                settings.normalized,
                dropout_rate=settings.dropout,
            )
        network = PairNetwork(users, items, _scale(settings, has_numbers))
    return place(network, torch_device(settings.device))


def _log_counts(encoder: Encoder) -> np.ndarray:
    """Return the logarithm of the count of each code of the ids, relative to the mean count."""
    id_table = encoder.schema.table_names[0]
    counts = encoder.vocabularies_[id_table].counts.copy()
    counts[:N_SPECIAL] = 0
    return np.asarray(np.log((counts + 0.5) / (counts[N_SPECIAL:].mean() + 0.5)))


def _scale(settings: Any, has_numbers: bool) -> float:
    """Return the factor on the dot product."""
    if settings.temperature != "auto":
        return 1 / float(settings.temperature)
    is_cosine = settings.normalized and not has_numbers and settings.loss != "squared"
    return 10.0 if is_cosine else 1.0


def train_pairs(
    network: PairNetwork,
    parts: PairParts,
    pairs: Interactions,
    y: np.ndarray | None,
    validation: tuple[Interactions, np.ndarray | None] | None,
    target: NumberTarget | None,
    settings: Any,
    seed: int,
    budget: Budget,
) -> Trained:
    """Train the network, and return the learning curve."""
    device = torch_device(settings.device)
    user_rows, item_rows = (
        encoded(encoder, side.frame).to(device)
        for encoder, side in ((parts.user_encoder, parts.users), (parts.item_encoder, parts.items))
    )
    batch = as_batch(pairs, y, target).to(device)
    rows = PairRows(user_rows, item_rows)
    generator = torch.Generator().manual_seed(seed)
    first, held_out, refits = batch, None, False
    if validation is not None:
        held_out = as_batch(*validation, target).to(device)
    elif settings.early_stopping is True or (
        settings.early_stopping == "auto" and len(pairs) >= MIN_PAIRS
    ):
        first, held_out = _held_out(batch, settings.validation_fraction, generator)
        refits = True
    sizes = len(parts.users.entities), len(parts.items.entities)
    groups = _groups(parts.items.frame, settings.group).to(device) if settings.group else None
    trainer = PairTrainer(network, rows, sizes, groups, target, settings, generator, budget)
    trained = trainer.run(first, held_out)
    if refits:
        more = trainer.run(batch, None, trained.best_epoch + 1)
        trained = trained.followed_by(more)
    return trained


def as_batch(pairs: Interactions, y: np.ndarray | None, target: NumberTarget | None) -> PairBatch:
    """Return pairs as tensors, with weights of mean one."""
    weight = np.ones(len(pairs)) if pairs.weight is None else pairs.weight / pairs.weight.mean()
    numbers = torch.zeros(len(pairs), 0) if y is None or target is None else target.encode(y)
    return PairBatch(
        torch.from_numpy(pairs.user),
        torch.from_numpy(pairs.item),
        numbers,
        torch.as_tensor(weight, dtype=torch.float32),
    )


def _held_out(batch: PairBatch, share: float, generator: torch.Generator) -> tuple[PairBatch, PairBatch]:
    """Split pairs at random into training and validation pairs."""
    order = torch.randperm(len(batch), generator=generator).to(batch.device)
    n_held_out = max(1, round(share * len(batch)))
    return batch.take(order[n_held_out:]), batch.take(order[:n_held_out])


@dataclass
class PairTrainer:
    """Trains one network, in one or more runs that share an optimiser.

    Parameters
    ----------
    network : PairNetwork
    rows : PairRows
    sizes : (int, int)
        Number of users and of items.
    groups : Tensor of shape (n_items,), int64, optional
        Group of each item, for ``negatives="group"``.
    target : NumberTarget, optional
        For pairs with numbers.
    settings : object with the parameters of `PairEmbedder`
    generator : torch.Generator
    budget : Budget
    """

    network: PairNetwork
    rows: PairRows
    sizes: tuple[int, int]
    groups: torch.Tensor | None
    target: NumberTarget | None
    settings: Any
    generator: torch.Generator
    budget: Budget

    def __post_init__(self) -> None:
        self.optimizer = Optimizer(self.network, self.settings.learning_rate, 0.0)

    def run(self, batch: PairBatch, held_out: PairBatch | None, n_epochs: int | None = None) -> Trained:
        """Train on pairs; held-out pairs choose the best epoch."""
        settings = self.settings
        if self._groups_users:
            batch = batch.take(batch.user.argsort(stable=True))
        size = batch_size(settings.batch_size, len(batch), self._groups_users)
        objective = self._objective(batch)
        kind = WholeUsers if self._groups_users else Batches
        batches = kind(batch, size, self.generator, groups=batch.user if self._groups_users else None)
        evaluate = None
        if held_out is not None:
            evaluated = held_out.take(held_out.user.argsort(stable=True))

            def evaluate() -> Validated:
                return Validated(objective.on_validation(evaluated, size))

        training = Training(
            self.network,
            batches,
            objective,
            self.optimizer,
            max_epochs=n_epochs or int(settings.max_epochs),
            evaluate=evaluate,
            patience=int(settings.patience),
            budget=self.budget,
            show=show_progress(settings.verbose),
        )
        return train(training)

    @property
    def _groups_users(self) -> bool:
        """Whether all pairs of a user are in one batch and share the scores of negatives."""
        per_user = self.settings.loss != "bpr" and self.settings.negatives in ("uniform", "popularity")
        return self.target is None and per_user

    def _objective(self, batch: PairBatch) -> NumberObjective | RankingObjective:
        if self.target is not None:
            return NumberObjective(self.network, self.rows, self.target)
        (n_users, n_items), settings = self.sizes, self.settings
        user, item = (part.numpy(force=True) for part in (batch.user, batch.item))
        lists = Lists.of(user, item, n_users)
        counts = batch.item.bincount(minlength=n_items)
        offsets, values = (
            torch.from_numpy(part).to(batch.device) for part in (lists.offsets, lists.values)
        )
        n_negatives = settings.n_negatives
        if n_negatives == "auto":
            n_negatives = n_items if n_items <= FULL else N_SAMPLED
        return RankingObjective(
            self.network,
            self.rows,
            Sampler(settings.negatives, counts, int(n_negatives), settings.exponent, self.groups),
            KnownPairs(offsets, values, n_items),
            "softmax" if settings.loss == "auto" else settings.loss,
            settings.negative_weight,
            self.generator,
        )


def _groups(frame: pa.Table, name: str) -> torch.Tensor:
    """Return the group of each item, by a column."""
    check_column(frame, name, "items")
    column = (frame[name], frame.schema.field(name))
    return torch.from_numpy(Vocabulary.from_columns({name: column}).codes(*column))


class WholeUsers(Batches[PairBatch]):
    """Batches that contain all pairs of random users."""

    def _batches_of_groups(self, groups_of_rows: torch.Tensor) -> Sequence[torch.Tensor]:
        sizes = torch.unique_consecutive(groups_of_rows[self.rows], return_counts=True)[1]
        order = torch.randperm(len(sizes), generator=self.generator).to(sizes.device)
        ends = sizes[order].cumsum(0)
        batch = (ends - 1).div(self.batch_size, rounding_mode="floor")
        n_users = torch.unique_consecutive(batch, return_counts=True)[1].tolist()
        by_user = self.rows.split(sizes.tolist())
        users = torch.split(order, n_users)
        return [torch.cat([by_user[user] for user in part.tolist()]) for part in users]


def batch_size(size: int | str, n_pairs: int, groups_users: bool) -> int:
    """Return the number of pairs in a batch; "auto" takes more if the pairs of a user stay together.

    It takes about a tenth of all pairs then, from 64 to 8,192, else a hundredth, from 256 to 1,024.

    Examples
    --------
    >>> batch_size("auto", 5000, True), batch_size("auto", 5000, False)
    (512, 256)
    """
    if size != "auto":
        return int(size)
    share, least, most = (10, 64, 8192) if groups_users else (100, 256, 1024)
    return int(np.clip(2 ** round(np.log2(max(n_pairs, 1) / share)), least, most))


@torch.no_grad()
def outputs_of(
    tower: nn.Module, encoder: Encoder, frame: pa.Table
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the vectors (n, dim) and offsets (n,) of rows of one side, and both for an unknown row.

    The third array, (dim + 1,), is the vector and the offset of a row of missing values with an unknown
    id.
    """
    tower.eval()
    device = device_of(tower)
    inputs = encoded(encoder, frame)
    pieces = list(pieces_of(inputs, equal_sizes(len(inputs), PIECE)))
    sides = [tower(piece.to(device)) for piece in [*pieces, _unknown(encoder, frame)]]
    vectors = torch.cat([side.vectors for side in sides]).float().numpy(force=True)
    offsets = torch.cat([side.offsets for side in sides]).float().numpy(force=True)
    return vectors[:-1], offsets[:-1], np.append(vectors[-1], offsets[-1])


def _unknown(encoder: Encoder, frame: pa.Table) -> RowInputs:
    """Return a row of missing values whose id, in the first column of codes, is unknown."""
    nothing = pa.table([pa.nulls(1, f.type) for f in frame.schema], schema=frame.schema)
    inputs = encoded(encoder, nothing)
    inputs.codes[:, 0] = UNKNOWN
    return inputs

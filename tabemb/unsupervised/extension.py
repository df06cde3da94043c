"""Vectors for users and items that are new after ``fit``; all other vectors stay the same."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from sklearn.utils import check_random_state
from torch import Tensor, nn
from torch.nn import functional as F

from tabemb.data.encoding import Encoder
from tabemb.data.schema import check_column
from tabemb.data.vocabulary import N_SPECIAL, UNKNOWN, Vocabulary
from tabemb.network.inputs import RowInputs
from tabemb.network.pairs import PairNetwork, Side
from tabemb.network.randomness import Random, drawing_from
from tabemb.training.loop import Budget
from tabemb.unsupervised.interactions import Entities, Interactions, Lists, known_positions
from tabemb.unsupervised.objective import PairRows
from tabemb.unsupervised.pair_training import PairTrainer, as_batch, outputs_of, settings_of

N_EPOCHS = 50
"""Number of epochs for which new vectors are trained."""

IdColumn = tuple[pa.ChunkedArray, pa.Field]


def extended(known: Entities, columns: Sequence[IdColumn]) -> Entities:
    """Return known users or items, followed by the new ones among the ids of some columns."""
    old = known.vocabulary
    named = {f"{known.column} ({i})": column for i, column in enumerate(columns)}
    new = Vocabulary.from_columns(named)
    if new.kind != old.kind:
        raise ValueError(
            f"Column {known.column!r} holds {new.kind}, but held {old.kind} in fit; convert it."
        )
    fresh = old.codes_of(new)[N_SPECIAL:] == UNKNOWN
    categories = pa.concat_arrays([old.categories, new.categories.filter(pa.array(fresh))])
    counts = np.concatenate([old.counts, np.zeros(int(fresh.sum()))])
    return Entities(known.column, Vocabulary(old.kind, categories, counts, old.given))


def with_pairs(entities: Entities, positions: np.ndarray) -> Entities:
    """Return users or items with the counts of further pairs added."""
    vocabulary = entities.vocabulary
    more = np.bincount(positions, minlength=len(entities))
    counts = vocabulary.counts + np.concatenate([np.zeros(N_SPECIAL), more])
    new = Vocabulary(vocabulary.kind, vocabulary.categories, counts, vocabulary.given)
    return Entities(entities.column, new)


@dataclass(frozen=True)
class Vectors:
    """The vectors (n, dim) and offsets (n,) of one side; the first ``n_fixed`` do not change."""

    vectors: np.ndarray
    offsets: np.ndarray
    n_fixed: int

    @classmethod
    def of(
        cls,
        entities: Entities,
        vectors: np.ndarray,
        offsets: np.ndarray,
        unknown: np.ndarray,
        tower: nn.Module,
        encoder: Encoder,
        frame: pa.Table | None,
        argument: str,
    ) -> Vectors:
        """Start new vectors from their columns in a frame, or else from the vector of unknown ones."""
        n_new = len(entities) - len(vectors)
        new = np.tile(unknown, (n_new, 1))
        if frame is not None and n_new:
            check_column(frame, entities.column, argument)
            places = known_positions(entities, frame) - len(vectors)
            rows = np.flatnonzero(places >= 0)
            if len(np.unique(places[rows])) < len(rows):
                raise ValueError(f"{argument} must have one row for each {entities.column!r}.")
            if len(rows):
                described = outputs_of(tower, encoder, frame.take(pa.array(rows)))
                new[places[rows]] = np.column_stack(described[:2])
        together = np.concatenate([vectors, new[:, :-1]]).astype(np.float32)
        return cls(together, np.concatenate([offsets, new[:, -1]]).astype(np.float32), len(vectors))


class Partly(nn.Module):
    """One side whose new vectors are trained as additions to their starting values.

    Parameters
    ----------
    start : Vectors
    prior : Tensor of shape (n - n_fixed,)
        Strength of the prior that pulls an addition to zero.
    is_normalized : bool
    """

    vectors: Tensor
    offsets: Tensor
    prior: Tensor

    def __init__(self, start: Vectors, prior: Tensor, is_normalized: bool) -> None:
        super().__init__()
        self.n_fixed, self.is_normalized = start.n_fixed, is_normalized
        self.register_buffer("vectors", torch.from_numpy(start.vectors))
        self.register_buffer("offsets", torch.from_numpy(start.offsets))
        self.register_buffer("prior", prior)
        n, dim = start.vectors.shape
        # the last row stands for all fixed vectors
        self.added = nn.Parameter(torch.zeros(n - start.n_fixed + 1, dim + 1))
        self.n_new = n - start.n_fixed

    def forward(self, inputs: RowInputs) -> Side:
        places = inputs.codes[:, 0].long()
        is_new = places >= self.n_fixed
        row = torch.where(is_new, places - self.n_fixed, self.n_new)
        added = self.added[row] * is_new.unsqueeze(1)
        vectors = self.vectors[places] + added[:, :-1]
        penalty = added.square().sum(1) * self.prior[row]
        if self.is_normalized:
            vectors = F.normalize(vectors, dim=1)
        return Side(vectors, self.offsets[places] + added[:, -1], penalty)

    @torch.no_grad()
    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Return all vectors and offsets; the fixed ones are unchanged bit for bit."""
        side = self(_places(len(self.vectors)))
        vectors, offsets = self.vectors.clone(), self.offsets.clone()
        vectors[self.n_fixed :] = side.vectors[self.n_fixed :]
        offsets[self.n_fixed :] = side.offsets[self.n_fixed :]
        return vectors.numpy(), offsets.numpy()


def _places(n: int) -> RowInputs:
    return RowInputs.of(torch.arange(n, dtype=torch.int32).unsqueeze(1), torch.zeros(n, 0))


def train_new(
    users: Vectors,
    items: Vectors,
    pairs: Interactions,
    y: np.ndarray | None,
    model: Any,
    seed: int,
) -> tuple[Partly, Partly]:
    """Train new vectors on pairs with the loss of the model; both sides are one module if shared."""
    settings = settings_of(model, len(pairs), model.target_ is not None)
    settings.dropout = 0.0
    if settings.negatives == "group":  # new items may have no group
        settings.negatives = "uniform"
    sides = [
        Partly(start, _prior(start, positions, settings.l2), model.normalized)
        for start, positions in ((users, pairs.user), (items, pairs.item))
    ]
    if model.shared:
        both = np.concatenate([pairs.user, pairs.item])
        sides = [Partly(items, _prior(items, both, settings.l2), model.normalized)] * 2
    network = PairNetwork(sides[0], sides[1], model.scale_)
    trainer = PairTrainer(
        network,
        PairRows(_places(len(users.vectors)), _places(len(items.vectors))),
        (len(users.vectors), len(items.vectors)),
        None,
        model.target_,
        settings,
        torch.Generator().manual_seed(seed),
        Budget(model.max_time),
    )
    trainer.run(as_batch(pairs, y, model.target_), None, N_EPOCHS)
    return sides[0], sides[1]


def _prior(start: Vectors, positions: np.ndarray, l2: float) -> Tensor:
    """Return the prior of each new vector, divided by its number of pairs, and 0 for the fixed ones."""
    counts = np.bincount(positions, minlength=len(start.vectors))[start.n_fixed :]
    strengths = np.append(l2 / np.maximum(counts, 1), 0.0)
    return torch.as_tensor(strengths, dtype=torch.float32)


def extended_model(
    model: Any, pairs: pa.Table | None, users: pa.Table | None, items: pa.Table | None, y: Any
) -> Any:
    """Return a fitted `PairEmbedder` with vectors for new users and items; see its ``extend``."""
    names = model.users_.column, model.items_.column
    frames = (users, items)
    if model.shared:
        if users is not None:
            raise ValueError("users must be None with shared=True; pass the rows of all ids as items.")
        frames = (items, items)
    columns = [_ids(name, pairs, frame) for name, frame in zip(names, frames)]
    if model.shared:
        columns = [columns[0] + columns[1]] * 2
    known = model.users_, model.items_
    sides = [extended(side, ids) if ids else side for side, ids in zip(known, columns)]
    user_start = Vectors.of(
        sides[0],
        model.user_vectors_,
        model.user_offsets_,
        model.unknown_user_,
        model.network_.users,
        model.user_encoder_,
        _with_name(frames[0], names[1], names[0]) if model.shared else frames[0],
        "users",
    )
    item_start = Vectors.of(
        sides[1],
        model.item_vectors_,
        model.item_offsets_,
        model.unknown_item_,
        model.network_.items,
        model.item_encoder_,
        frames[1],
        "items",
    )
    after = copy(model)
    after._take(sides, user_start, item_start)
    if pairs is not None:
        _train_on(after, model, pairs, y, sides, user_start, item_start)
    return after


def _ids(name: str, *frames: pa.Table | None) -> list[IdColumn]:
    """Return the id columns of the frames that have one."""
    given = [frame for frame in frames if frame is not None and name in frame.schema.names]
    return [(frame[name], frame.schema.field(name)) for frame in given]


def _with_name(frame: pa.Table | None, old: str, new: str) -> pa.Table | None:
    """Rename the id column of a frame of shared ids to its name on the other side."""
    if frame is None or old not in frame.schema.names:
        return frame
    return frame.rename_columns([new if name == old else name for name in frame.schema.names])


def _train_on(
    after: Any,
    model: Any,
    frame: pa.Table,
    y: Any,
    sides: Sequence[Entities],
    users: Vectors,
    items: Vectors,
) -> None:
    """Train new vectors on the pairs that contain one, and record all pairs as seen."""
    for side in sides:
        check_column(frame, side.column, "X")
    user, item = (known_positions(side, frame) for side in sides)
    numbers = None if y is None else model._numbers(y, frame.num_rows)
    has_new = (user >= users.n_fixed) | (item >= items.n_fixed)
    if has_new.any():
        rows = np.flatnonzero(has_new)
        pairs = Interactions(sides[0], sides[1], user[rows], item[rows], None)
        seed = int(check_random_state(model.random_state).randint(2**31 - 1))
        with drawing_from(Random(seed)):
            trained = train_new(
                users, items, pairs, None if numbers is None else numbers[rows], model, seed
            )
        after.user_vectors_, after.user_offsets_ = trained[0].result()
        after.item_vectors_, after.item_offsets_ = trained[1].result()
    after.users_, after.items_ = with_pairs(sides[0], user), with_pairs(sides[1], item)
    old_user = np.repeat(np.arange(len(model.seen_)), model.seen_.counts)
    all_users = np.concatenate([old_user, user])
    after.seen_ = Lists.of(all_users, np.concatenate([model.seen_.values, item]), len(sides[0]))

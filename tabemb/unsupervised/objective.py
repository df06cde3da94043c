"""The losses of pairs: positive pairs against sampled negatives, or numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from tabemb.network.inputs import RowInputs
from tabemb.network.pairs import PairBatch, PairNetwork, Side
from tabemb.targets import NumberTarget
from tabemb.training.optimizers import Loss
from tabemb.unsupervised.negatives import KnownPairs, Pool, Sampler


@dataclass(frozen=True)
class Negatives:
    """The scores of users with negatives, and the row of each pair's user.

    Shape
    -----
    scores : (n_users, m)
    known  : bool (n_users, m) or (), whether the user has the item, which then does not count
    is_own : bool (n, m), whether it is the item of the pair; None if a pool contains all items
    log_expected : (m,) or (), of `Pool`
    row    : int64 (n,), the row of scores for the user of each pair
    """

    scores: Tensor
    known: Tensor
    is_own: Tensor | None
    log_expected: Tensor
    row: Tensor

    def mean(self, losses: Tensor) -> Tensor:
        """Return the mean over the items that the user does not have, for each pair (n,)."""
        return _mean(losses, ~self.known)[self.row]


def _mean(losses: Tensor, counted: Tensor) -> Tensor:
    return (losses * counted).sum(1) / counted.sum(1).clamp(min=1)


def squared(positive: Tensor, negatives: Negatives, negative_weight: float) -> Tensor:
    """Return the squared errors of positives from 1 and of negatives from -1."""
    return (positive - 1).square() + negative_weight * negatives.mean((negatives.scores + 1).square())


def logistic(positive: Tensor, negatives: Negatives, negative_weight: float) -> Tensor:
    """Return the cross-entropy of positive and negative (negative sampling, Mikolov et al. 2013)."""
    return F.softplus(-positive) + negative_weight * negatives.mean(F.softplus(negatives.scores))


def bpr(positive: Tensor, negatives: Negatives, negative_weight: float) -> Tensor:
    """Return the cross-entropy of being ranked above a negative (Rendle et al. 2009)."""
    losses = F.softplus(negatives.scores[negatives.row] - positive.unsqueeze(1))
    return _mean(losses, ~negatives.known[negatives.row])


def softmax(positive: Tensor, negatives: Negatives, negative_weight: float) -> Tensor:
    """Return the cross-entropy of the positive among all items (Liang et al. 2018).

    In training, the other items of the user count like any other item. The score of a sampled item is
    corrected by the logarithm of how often the item is expected in a pool (Bengio & Senecal 2008;
    "logQ", Yi et al. 2019).
    """
    scores = negatives.scores
    if negatives.known.any():
        scores = scores.masked_fill(negatives.known, -torch.inf)
    if negatives.is_own is None:
        return scores.logsumexp(1)[negatives.row] - positive
    corrected = (scores - negatives.log_expected)[negatives.row]
    others = corrected.masked_fill(negatives.is_own, -torch.inf).logsumexp(1)
    return torch.logaddexp(positive, others) - positive


LOSSES: dict[str, Callable[[Tensor, Negatives, float], Tensor]] = {
    "squared": squared,
    "logistic": logistic,
    "bpr": bpr,
    "softmax": softmax,
}
"""Losses of positive pairs by name: the loss of each pair, (n,), from its scores."""


@dataclass(frozen=True)
class PairRows:
    """The inputs of both sides, in the order of positions."""

    users: RowInputs
    items: RowInputs


@dataclass(frozen=True)
class NumberObjective:
    """The loss of pairs with numbers, such as ratings, with the prior of the tables."""

    network: PairNetwork
    rows: PairRows
    target: NumberTarget

    def __call__(self, batch: PairBatch) -> Loss:
        """Return the weighted mean loss of a batch, and the prior of the tables."""
        users, items = self._sides(batch)
        losses = self.losses(users, items, batch)
        loss = (losses * batch.weight).mean()
        penalty = ((users.penalty + items.penalty) * batch.weight).mean()
        return Loss(loss, penalty * self.target.noise(loss))

    def losses(self, users: Side, items: Side, batch: PairBatch) -> Tensor:
        """Return the loss of each pair, (n,)."""
        outputs = self.network.scores(users, items).view(-1, 1, 1)
        return self.target.loss(outputs, batch.y)[:, 0]

    def _sides(self, batch: PairBatch) -> tuple[Side, Side]:
        users = distinct_side(self.network.users, self.rows.users, batch.user)
        return users, distinct_side(self.network.items, self.rows.items, batch.item)

    @torch.no_grad()
    def on_validation(self, batch: PairBatch, size: int) -> float:
        """Return the weighted mean loss of validation pairs, without the prior."""
        self.network.eval()
        total = 0.0
        for piece in batch.split(_sizes(len(batch), size)):
            losses = self.losses(*self._sides(piece), piece)
            total += float((losses * piece.weight).sum())
        return total / float(batch.weight.sum())


@dataclass(frozen=True)
class RankingObjective:
    """The loss of positive pairs against sampled negatives, with the prior of the tables."""

    network: PairNetwork
    rows: PairRows
    sampler: Sampler
    known: KnownPairs
    loss: str
    negative_weight: float
    generator: torch.Generator

    def __call__(self, batch: PairBatch) -> Loss:
        """Return the weighted mean loss of a batch, and the prior of the tables."""
        losses, penalty = self._losses(batch, self.generator)
        loss = (losses * batch.weight).mean()
        # as for numbers, the squared error of +-1 is its own estimate of the noise
        noise = loss.detach() if self.loss == "squared" else 1.0
        return Loss(loss, (penalty * batch.weight).mean() * noise)

    def _losses(self, batch: PairBatch, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the loss and the penalty of each pair, (n,) each."""
        pool = self.sampler.draw(batch.item, generator)
        distinct, row = torch.unique(batch.user, return_inverse=True)
        if pool.items.ndim == 2:  # the negatives differ by pair
            distinct, row = batch.user, torch.arange(len(batch), device=batch.device)
        users = self.network.users(self.rows.users.take(distinct))
        both, n = torch.cat([batch.item, pool.items.flatten()]), len(batch)
        items = distinct_side(self.network.items, self.rows.items, both)
        positives, negatives = (Side(*parts) for parts in zip(*((p[:n], p[n:]) for p in items)))
        scores = self._table(users, negatives, pool)
        against = Negatives(
            scores=scores,
            known=self._known(distinct, pool),
            is_own=None if self.sampler.is_full else pool.items == batch.item.unsqueeze(1),
            log_expected=pool.log_expected,
            row=row,
        )
        positive = self.network.scores(users.take(row), positives)
        losses = LOSSES[self.loss](positive, against, self.negative_weight)
        return losses, users.penalty[row] + positives.penalty

    def _known(self, users: Tensor, pool: Pool) -> Tensor:
        """Return whether each user has each item of a pool, bool (n_users, m).

        A softmax trains on all items, but only unseen items are recommended. The likelihood among all
        items falls for held-out pairs while it rises for training pairs.
        """
        if self.loss == "softmax" and self.network.training:
            return torch.zeros((), dtype=torch.bool, device=users.device)
        return (self.known.of if pool.items.ndim == 1 else self.known.each)(users, pool.items)

    def _table(self, users: Side, negatives: Side, pool: Pool) -> Tensor:
        if pool.items.ndim == 1:
            return self.network.table(users, negatives)
        return self._scores_of_each(users, negatives, pool.items.shape)

    def _scores_of_each(self, users: Side, negatives: Side, shape: torch.Size) -> Tensor:
        vectors = negatives.vectors.view(*shape, -1)
        dots = torch.einsum("nd,nmd->nm", users.vectors, vectors)
        return self.network.scale * dots + users.offsets.unsqueeze(1) + negatives.offsets.view(shape)

    @torch.no_grad()
    def on_validation(self, batch: PairBatch, size: int) -> float:
        """Return the weighted mean loss of validation pairs, always with the same negatives."""
        self.network.eval()
        generator = torch.Generator().manual_seed(0)
        total = 0.0
        for piece in batch.split(_sizes(len(batch), size)):
            total += float((self._losses(piece, generator)[0] * piece.weight).sum())
        return total / float(batch.weight.sum())


def distinct_side(tower: Callable[[RowInputs], Side], rows: RowInputs, positions: Tensor) -> Side:
    """Return the outputs of a tower for positions that may repeat; each is computed once."""
    distinct, places = torch.unique(positions, return_inverse=True)
    return tower(rows.take(distinct)).take(places)


def _sizes(n: int, size: int) -> list[int]:
    return [size] * (n // size) + ([n % size] if n % size else [])

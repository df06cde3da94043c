"""The weights of the best epoch."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tabemb.training.state import State
from tabemb.training.workers import current

TOLERANCE = 1e-3
"""A loss is better if it is smaller by more than this share of the best one: a smaller gain is not worth
more epochs."""
CHANCE = 0.5
"""It must also be smaller by this many standard errors: among many epochs, chance makes the loss of few
rows smaller in one that is overfitted."""


class Validated(NamedTuple):
    """The loss of validation rows after an epoch.

    Parameters
    ----------
    loss : float
    of_rows : Tensor of shape (n_rows,), optional
        What each of this worker's rows adds to the loss. None: rows are not independent, so the loss
        has no standard error.
    """

    loss: float
    of_rows: Tensor | None = None

    def standard_error(self, other: Validated) -> float:
        """Return the standard error of the difference to the loss of other weights on the same rows.

        Examples
        --------
        >>> rows = Validated(3.0, torch.tensor([1.0, 2.0])), Validated(2.0, torch.tensor([1.0, 1.0]))
        >>> round(rows[0].standard_error(rows[1]), 3)
        0.707
        """
        if self.of_rows is None or other.of_rows is None:
            return 0.0
        differences = (self.of_rows - other.of_rows).cpu().double()
        workers = current()
        n_rows = workers.total(len(differences))
        squares = workers.total(float(differences.square().sum()))
        return math.sqrt(max(squares - (self.loss - other.loss) ** 2 / n_rows, 0))


class BestWeights:
    """The weights with the best evaluation loss so far, and when to stop waiting for better ones.

    Parameters
    ----------
    network : nn.Module
    patience : int
        Epochs without a better loss after which :attr:`exhausted` is true.

    Examples
    --------
    >>> network = nn.Linear(1, 1)
    >>> best = BestWeights(network, patience=2)
    >>> for epoch, loss in enumerate([3.0, 1.0, 2.0, 2.0]):
    ...     best.update(epoch, Validated(loss))
    >>> best.epoch, best.exhausted
    (1, True)
    """

    def __init__(self, network: nn.Module, patience: int) -> None:
        self.network, self.patience = network, patience
        self.validated, self.epoch, self.waited = Validated(math.inf), -1, 0
        self._weights: dict[str, Tensor] = {}

    def update(self, epoch: int, validated: Validated) -> None:
        """Keep the present weights if their loss is the best so far."""
        if self._is_better(validated):
            self.validated, self.epoch, self.waited = validated, epoch, 0
            self._copy()
        else:
            self.waited += 1

    def _is_better(self, validated: Validated) -> bool:
        if self.epoch < 0:
            return validated.loss < math.inf
        best = self.validated
        by_chance = CHANCE * best.standard_error(validated)
        return validated.loss < best.loss - max(TOLERANCE * abs(best.loss), by_chance)

    @torch.no_grad()
    def _copy(self) -> None:
        for name, weight in self.network.named_parameters():
            if name in self._weights:
                self._weights[name].copy_(weight)
            else:
                self._weights[name] = weight.detach().clone()

    @property
    def exhausted(self) -> bool:
        """Whether patience has run out."""
        return self.waited >= self.patience

    @torch.no_grad()
    def restore(self) -> None:
        """Put the best weights back into the network; without any, leave it as it is."""
        for name, weight in self.network.named_parameters():
            if name in self._weights:
                weight.copy_(self._weights[name])

    def state(self) -> State:
        """Return all that changes from epoch to epoch."""
        return {
            "loss": self.validated.loss,
            "of_rows": self.validated.of_rows,
            "epoch": self.epoch,
            "waited": self.waited,
            "weights": self._weights,
        }

    def load(self, state: State) -> None:
        """Load a state."""
        self.validated = Validated(state["loss"], state.get("of_rows"))
        self.epoch, self.waited = state["epoch"], state["waited"]
        self._weights = state["weights"]

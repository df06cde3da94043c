"""The weights of the best epoch."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from tabemb.training.state import State

TOLERANCE = 1e-3
"""A loss is better if it is smaller by more than this share of the best one: a smaller gain is not worth
more epochs."""


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
    ...     best.update(epoch, loss)
    >>> best.epoch, best.exhausted
    (1, True)
    """

    def __init__(self, network: nn.Module, patience: int) -> None:
        self.network, self.patience = network, patience
        self.loss, self.epoch, self.waited = math.inf, -1, 0
        self._weights: dict[str, Tensor] = {}

    def update(self, epoch: int, loss: float) -> None:
        """Keep the present weights if ``loss`` is the best so far."""
        if loss < (self.loss - TOLERANCE * abs(self.loss) if self.epoch >= 0 else math.inf):
            self.loss, self.epoch, self.waited = loss, epoch, 0
            self._copy()
        else:
            self.waited += 1

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
            "loss": self.loss,
            "epoch": self.epoch,
            "waited": self.waited,
            "weights": self._weights,
        }

    def load(self, state: State) -> None:
        """Load a state."""
        self.loss, self.epoch, self.waited = state["loss"], state["epoch"], state["waited"]
        self._weights = state["weights"]

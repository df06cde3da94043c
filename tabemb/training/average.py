"""The average of the weights along a training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from tabemb.network.halves import read_rows, write_rows
from tabemb.training.state import State

WINDOW = 10.0
"""The average covers about the last tenth of the updates; with a window of three, the last third."""


class WeightAverage:
    """Average of the weights over the last updates, whose number grows with all updates.

    With a constant learning rate, the weights circle around a minimum, and their average is nearer to
    it. A falling rate has the same effect, but needs to know the end of the training beforehand. After
    ``t`` updates, the new weights enter the average with the share ``window / (t + window)``:
    polynomial-decay averaging (Shamir & Zhang 2013). In a table with sparse gradients, every row counts
    its own updates, so an update costs the same for tables of any size.

    Parameters
    ----------
    parameters : sequence of nn.Parameter
    window : float, default=WINDOW

    Examples
    --------
    >>> weight = nn.Parameter(torch.zeros(1))
    >>> average = WeightAverage([weight])
    >>> for value in range(1, 101):
    ...     _ = weight.data.fill_(value)
    ...     average.update()
    >>> with average.in_place():
    ...     print(round(weight.item()))
    91
    """

    def __init__(self, parameters: Sequence[nn.Parameter], window: float = WINDOW) -> None:
        self.parameters, self.window = list(parameters), window
        self.averages = [parameter.detach().clone() for parameter in self.parameters]
        self.n_updates = 0
        self._n_row_updates: dict[int, torch.Tensor] = {}

    @torch.no_grad()
    def update(self) -> None:
        """Add the present weights to the average; the gradients of the step must still exist."""
        self.n_updates += 1
        share = self.window / (self.n_updates + self.window)
        dense = []
        for i, parameter in enumerate(self.parameters):
            if parameter.grad is not None and parameter.grad.is_sparse:
                self._update_rows(i)
            else:
                dense.append(i)
        if dense:
            torch._foreach_lerp_(
                [self.averages[i] for i in dense], [self.parameters[i] for i in dense], share
            )

    def _update_rows(self, i: int) -> None:
        weight, average = self.parameters[i], self.averages[i]
        rows = weight.grad.coalesce().indices()[0]  # type: ignore[union-attr]
        if i not in self._n_row_updates:  # zeros for all rows would cost more than the step
            self._n_row_updates[i] = torch.zeros(len(weight), device=weight.device)
        n_updates = self._n_row_updates[i].index_select(0, rows).add_(1)
        self._n_row_updates[i].index_copy_(0, rows, n_updates)
        share = (self.window / (n_updates + self.window)).unsqueeze(1)
        moved = read_rows(average, rows).lerp_(read_rows(weight.detach(), rows), share)
        write_rows(average, rows, moved)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the average weights into the network within this context, and the last ones after it."""
        self.swap()
        try:
            yield
        finally:
            self.swap()

    @torch.no_grad()
    def restart(self) -> None:
        """Replace the average by the network's present weights."""
        for parameter, average in zip(self.parameters, self.averages):
            average.copy_(parameter)

    def swap(self) -> None:
        """Exchange the network's weights and their averages, without copying them."""
        for i, parameter in enumerate(self.parameters):
            parameter.data, self.averages[i] = self.averages[i], parameter.data

    def state(self) -> State:
        """Return all that changes from step to step."""
        rows = [[i, counts] for i, counts in self._n_row_updates.items()]
        return {"averages": self.averages, "n_updates": self.n_updates, "n_row_updates": rows}

    @torch.no_grad()
    def load(self, state: State) -> None:
        """Load a state of an average over the same parameters."""
        for average, stored in zip(self.averages, state["averages"], strict=True):
            average.copy_(stored)
        self.n_updates, self._n_row_updates = state["n_updates"], {}
        for i, counts in state["n_row_updates"]:
            self._n_row_updates[i] = counts.to(self.parameters[i].device)

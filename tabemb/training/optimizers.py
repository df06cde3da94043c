"""Optimisers: fused AdamW for dense weights, row-sparse Adam for large tables, one schedule for both."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn


class Optimizer:
    """AdamW and, where a module says ``is_sparse``, SparseAdam; steps together under one learning-rate schedule.

    Weight decay acts on the matrices of the backbone alone: tables have their own prior, biases and scales none.

    Parameters
    ----------
    network : nn.Module
    learning_rate : float
        Highest learning rate of the schedule.
    weight_decay : float
    n_warmup : int
        Steps over which the learning rate rises from zero.
    """

    BETAS = (0.9, 0.95)  # RealMLP's ablation: 2 % (classes) to 23 % (numbers) less error than with .999

    def __init__(self, network: nn.Module, learning_rate: float, weight_decay: float, n_warmup: int = 0) -> None:
        self.learning_rate, self.n_warmup, self.n_steps = learning_rate, n_warmup, 0
        sparse, plain, decayed = _sort_parameters(network)
        groups = [{"params": plain, "weight_decay": 0.0}, {"params": decayed, "weight_decay": weight_decay}]
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW([g for g in groups if g["params"]], lr=learning_rate, betas=self.BETAS, fused=True)
        ]
        if sparse:
            self.optimizers.append(torch.optim.SparseAdam(sparse, lr=learning_rate, betas=self.BETAS))

    def step(self, progress: float) -> None:
        """One update; ``progress`` is the share of the training that has passed, 0 to 1."""
        self.n_steps += 1
        warm = min(1.0, self.n_steps / max(self.n_warmup, 1))
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate * warm * cosine(progress)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    @property
    def current_rate(self) -> float:
        """Learning rate of the last step."""
        return float(self.optimizers[0].param_groups[0]["lr"])


def cosine(progress: float) -> float:
    """Factor of the learning rate: from 1 down to 0 along half a cosine."""
    return 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))


def _sort_parameters(network: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter], list[nn.Parameter]]:
    """Parameters with sparse gradients, without weight decay, with weight decay."""
    sparse = {id(m.weight) for m in network.modules() if getattr(m, "is_sparse", False)}
    decay = {id(m.weight) for m in network.modules() if isinstance(m, nn.Linear)}
    return (
        [p for p in _trained(network) if id(p) in sparse],
        [p for p in _trained(network) if id(p) not in sparse | decay],
        [p for p in _trained(network) if id(p) in decay],
    )


def _trained(network: nn.Module) -> Iterable[nn.Parameter]:
    return (parameter for parameter in network.parameters() if parameter.requires_grad)

"""Optimisers: fused AdamW for dense weights, row-sparse Adam for large tables, one schedule for both."""

from __future__ import annotations

import math

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
    table_rate : float, default=1.0
        Learning rate of the tables, in units of ``learning_rate``.
    """

    BETAS = (0.9, 0.95)  # RealMLP's ablation: 2 % (classes) to 23 % (numbers) less error than with .999

    def __init__(self, network: nn.Module, learning_rate: float, weight_decay: float, table_rate: float = 1.0) -> None:
        self.n_steps = 0
        sparse, tables, plain, decayed = _sort_parameters(network)
        dense = [
            {"params": tables, "peak": learning_rate * table_rate, "weight_decay": 0.0},
            {"params": plain, "peak": learning_rate, "weight_decay": 0.0},
            {"params": decayed, "peak": learning_rate, "weight_decay": weight_decay},
        ]
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW([group for group in dense if group["params"]], betas=self.BETAS, fused=True)
        ]
        if sparse:
            group = {"params": sparse, "peak": learning_rate * table_rate}
            self.optimizers.append(torch.optim.SparseAdam([group], betas=self.BETAS))

    def step(self, progress: float) -> None:
        """One update; ``progress`` is the share of the training that has passed, 0 to 1."""
        self.n_steps += 1
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * cosine(progress)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    @property
    def current_rate(self) -> float:
        """Learning rate of the last step, of all but the tables."""
        return float(self.optimizers[0].param_groups[-1]["lr"])


def cosine(progress: float) -> float:
    """Factor of the learning rate: from 1 down to 0 along half a cosine."""
    return 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))


def cosine_sum(progress: float) -> float:
    """Share of a schedule's sum of learning rates that is spent at ``progress``.

    Examples
    --------
    >>> [round(cosine_sum(progress), 2) for progress in (0.0, 0.25, 0.5, 1.0)]
    [0.0, 0.48, 0.82, 1.0]
    """
    return progress + math.sin(math.pi * progress) / math.pi


def _sort_parameters(network: nn.Module) -> list[list[nn.Parameter]]:
    """Parameters of sparse tables, of other tables, without weight decay, with weight decay."""
    kinds: list[list[nn.Parameter]] = [[], [], [], []]
    for module in network.modules():
        is_table = hasattr(module, "is_sparse")
        for name, parameter in module.named_parameters(recurse=False):
            decays = isinstance(module, nn.Linear) and name == "weight"
            kinds[0 if is_table and module.is_sparse else 1 if is_table else 3 if decays else 2].append(parameter)
    return kinds

"""Optimisers: fused AdamW for dense weights, row-sparse Adam for large tables, weight averaging."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tabemb.training.average import WeightAverage

CLIP = 1.0
"""Largest norm of the gradients of a step; larger ones are scaled down to it."""


class Optimizer:
    """AdamW, SparseAdam for modules that are ``is_sparse``, and the average of the weights.

    Weight decay acts on the matrices of the backbone alone: tables have their own prior, biases and
    scales none.

    Parameters
    ----------
    network : nn.Module
    learning_rate : float
    weight_decay : float
    table_rate : float, default=1.0
        Learning rate of the tables, in units of ``learning_rate``.
    """

    BETAS = (0.9, 0.95)  # RealMLP's ablation: 2 % (classes) to 23 % (numbers) less error than with .999

    def __init__(
        self, network: nn.Module, learning_rate: float, weight_decay: float, table_rate: float = 1.0
    ) -> None:
        self.network = network
        sparse, tables, plain, decayed = _sort_parameters(network)
        dense = [
            {"params": tables, "lr": learning_rate * table_rate, "weight_decay": 0.0},
            {"params": plain, "lr": learning_rate, "weight_decay": 0.0},
            {"params": decayed, "lr": learning_rate, "weight_decay": weight_decay},
        ]
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(
                [group for group in dense if group["params"]], betas=self.BETAS, fused=True
            )
        ]
        if sparse:
            self.optimizers.append(
                torch.optim.SparseAdam(sparse, lr=learning_rate * table_rate, betas=self.BETAS)
            )
        self.average = WeightAverage([*sparse, *tables, *plain, *decayed])

    def step(self, loss: Tensor, rate: float = 1.0) -> None:
        """Take a step down the gradients of a loss, at this share of the learning rates."""
        loss.backward()
        clip_gradients(self.network)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * group.setdefault("initial_lr", group["lr"])
            optimizer.step()
        self.average.update()
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)


def clip_gradients(network: nn.Module) -> None:
    """Scale the dense gradients down to :data:`CLIP`; Adam itself bounds those of sparse tables."""
    dense = [p for p in network.parameters() if p.grad is not None and not p.grad.is_sparse]
    nn.utils.clip_grad_norm_(dense, CLIP)


def _sort_parameters(network: nn.Module) -> list[list[nn.Parameter]]:
    """Return the parameters by kind: sparse tables, other tables, without decay, with decay."""
    kinds: list[list[nn.Parameter]] = [[], [], [], []]
    for module in network.modules():
        is_table = hasattr(module, "is_sparse")
        for name, parameter in module.named_parameters(recurse=False):
            decays = isinstance(module, nn.Linear) and name == "weight"
            kinds[0 if is_table and module.is_sparse else 1 if is_table else 3 if decays else 2].append(
                parameter
            )
    return kinds

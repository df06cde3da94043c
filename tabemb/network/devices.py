"""Place a network on its device, except for tables that are too large and stay in main memory."""

from __future__ import annotations

import math
import warnings
from itertools import chain
from typing import TypeVar

import torch
from torch import nn

from tabemb.network.tables import TableGroup

NetworkT = TypeVar("NetworkT", bound=nn.Module)

COPIES = 6
"""Copies of a weight in training: the weight, its gradient, two moments, the average, the best epoch."""
SHARE = 0.8
"""Share of the free memory that weights may use; the rest is for the computations of a step."""
GB = 1e9


def free_bytes(device: torch.device) -> float:
    """Return the free bytes on a device for tensors; infinity if the device does not report them."""
    if device.type != "cuda":
        return math.inf
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return float(torch.cuda.mem_get_info(device)[0] + unused)


def place(network: NetworkT, device: torch.device) -> NetworkT:
    """Move a network to a device; the largest tables stay where they are if they do not fit.

    Tables that stay are read and updated in main memory, and the vectors of each batch are moved.

    Parameters
    ----------
    network : nn.Module
    device : torch.device

    Returns
    -------
    nn.Module
        The same network.

    Warns
    -----
    RuntimeWarning
        Tables stay in main memory.
    """
    free = free_bytes(device)
    groups = [module for module in network.modules() if isinstance(module, TableGroup)]
    needed = {group: COPIES * _n_bytes(group) for group in groups}
    left = SHARE * free - (COPIES * _n_bytes(network) - sum(needed.values()))
    for group in sorted(groups, key=needed.__getitem__):
        left -= needed[group]
        group.stays = left < 0
    if staying := [needed[group] for group in groups if group.stays]:
        warnings.warn(
            f"Tables that take {sum(staying) / GB:.3g} GB in training stay in main memory, as "
            f"{str(device)!r} has {free / GB:.3g} GB free; steps are slower. Take a smaller dim or a "
            "larger min_count for tables that fit.",
            RuntimeWarning,
            stacklevel=2,
        )
    return network.to(device)


def _n_bytes(module: nn.Module) -> int:
    return sum(weight.numel() * weight.element_size() for weight in module.parameters())


def device_of(network: nn.Module) -> torch.device:
    """Return the device that a network computes on, even if its tables are elsewhere."""
    modules = (module for module in network.modules() if not isinstance(module, TableGroup))
    tensors = chain.from_iterable(
        chain(module.parameters(recurse=False), module.buffers(recurse=False)) for module in modules
    )
    return next(tensors).device

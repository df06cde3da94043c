"""The network of a file, built in bounded memory and filled with the weights of the file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from tabemb.network.halves import as_half, is_half

SPARE = 2**18
"""Numbers that a network may need in addition to its weights while it is built."""
COPIES = 16
"""Multiple of its number of weights that a network may need while it is built."""


class Bounded(TorchDispatchMode):
    """Refuse to create tensors beyond a total number of elements, before memory is taken.

    Parameters
    ----------
    n_left : int
        Elements that may be created.
    """

    def __init__(self, n_left: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.n_left = n_left

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        sizes = [math.prod(size) for size in args if _is_size(size)]
        sizes += [arg.numel() for arg in args if isinstance(arg, Tensor)]
        if max(sizes, default=0) > self.n_left:
            raise ValueError("the parameters ask for a larger network than the weights of the file.")
        self.n_left -= max((math.prod(size) for size in args if _is_size(size)), default=0)
        return func(*args, **kwargs or {})


def _is_size(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(type(n) is int for n in value)


def restored(model: Any, weights: dict[str, Tensor]) -> nn.Module:
    """Return the network of a model whose other parts are in place, with these weights.

    Raises
    ------
    ValueError
        The weights are not finite, or are not those of a network of this model.
    """
    check_finite(weights)
    bound = Bounded(SPARE + COPIES * sum(weight.numel() for weight in weights.values()))
    with bound:
        network: nn.Module = model._new_network()
    built = network.state_dict()
    halves = [name for name in weights if name in built and is_half(built[name])]
    weights = weights | {name: as_half(weights[name]) for name in halves}
    check_finite(weights)
    _check_same(built, weights)
    network.load_state_dict(weights)
    return network.eval()


def check_finite(weights: Mapping[str, Tensor]) -> None:
    """Raise ValueError for weights that would predict NaN."""
    for name, weight in weights.items():
        if weight.is_floating_point() and not weight.isfinite().all():
            raise ValueError(f"The weight {name!r} holds a number that is not finite.")


def _check_same(built: dict[str, Tensor], weights: dict[str, Tensor]) -> None:
    """Raise ValueError unless names, shapes and dtypes are equal, and also the values of integers."""
    if wrong := built.keys() ^ weights.keys():
        raise ValueError(f"the weight {min(wrong)!r} is missing or belongs to no part of the network.")
    for name, weight in weights.items():
        as_built = built[name]
        if weight.shape != as_built.shape or weight.dtype != as_built.dtype:
            raise ValueError(
                f"the weight {name!r} has shape {tuple(weight.shape)}; the parameters ask for "
                f"{tuple(as_built.shape)}."
            )
        if not weight.is_floating_point() and not torch.equal(weight, as_built.cpu()):
            raise ValueError(f"the weight {name!r} holds other positions than the columns have.")

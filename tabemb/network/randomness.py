"""Random numbers of one fit, from generators of its own instead of torch's global state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

DRAWS = frozenset(
    getattr(home, name)
    for home, names in {
        torch: "rand randn randint randperm normal bernoulli multinomial",
        Tensor: "uniform_ normal_ random_ bernoulli_ exponential_ log_normal_ cauchy_ geometric_",
        nn.init: "uniform_ normal_ trunc_normal_ kaiming_uniform_ kaiming_normal_ xavier_uniform_ "
        "xavier_normal_ orthogonal_ sparse_",
    }.items()
    for name in names.split()
)
"""Random functions of torch that accept a generator."""


class Random:
    """Generators with one seed, one for each device.

    Examples
    --------
    >>> with drawing_from(Random(0)):
    ...     first = torch.rand(2, generator=generator(torch.device("cpu")))
    >>> bool((first == torch.rand(2, generator=Random(0).on(torch.device("cpu")))).all())
    True
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._by_device: dict[torch.device, torch.Generator] = {}

    def on(self, device: torch.device) -> torch.Generator:
        """Return the generator that draws on a device."""
        if device not in self._by_device:
            self._by_device[device] = torch.Generator(device).manual_seed(self.seed)
        return self._by_device[device]

    def draw_as(self, rank: int) -> None:
        """Draw other numbers than other workers from now on; the first worker continues as before."""
        if rank:
            self.seed = int(np.random.SeedSequence([self.seed, rank]).generate_state(1)[0])
            self._by_device.clear()

    def state(self) -> dict[str, Tensor]:
        """Return the state of each generator."""
        return {str(device): it.get_state() for device, it in self._by_device.items()}

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore the states of the generators."""
        for device, it in state.items():
            self.on(torch.device(device)).set_state(it)


_CURRENT: ContextVar[Random | None] = ContextVar("tabemb_random", default=None)


@contextmanager
def drawing_from(random: Random) -> Iterator[None]:
    """Make networks draw from these generators within the block, only in this thread."""
    token = _CURRENT.set(random)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def current() -> Random:
    """Return the generators of the current fit; outside of a fit, new ones with seed 0."""
    return _CURRENT.get() or Random(0)


def generator(device: torch.device) -> torch.Generator | None:
    """Return the generator that a module draws from; outside of a fit None, which means torch's own."""
    random = _CURRENT.get()
    return None if random is None else random.on(device)


class Building(TorchFunctionMode):
    """A context for building a network, where all draws in this thread use the fit's generator.

    Torch's layers draw their start weights and do not accept a generator. Outside of a fit, weights are
    drawn with seed 0, because they will be overwritten.
    """

    def __init__(self) -> None:
        super().__init__()
        self._generator = current().on(torch.device("cpu"))

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func in DRAWS and kwargs.get("generator") is None:
            kwargs["generator"] = self._generator
        return func(*args, **kwargs)

"""Random numbers of one fit: generators that it alone draws from, never torch's process-wide state."""

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
"""Functions of torch that draw, and take a generator."""


class Random:
    """Generators of one seed, one for each device.

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
        """Draw other numbers than other workers from now on; the first goes on as if it were alone."""
        if rank:
            self.seed = int(np.random.SeedSequence([self.seed, rank]).generate_state(1)[0])
            self._by_device.clear()

    def state(self) -> dict[str, Tensor]:
        """Return where each generator stands."""
        return {str(device): it.get_state() for device, it in self._by_device.items()}

    def load(self, state: dict[str, Tensor]) -> None:
        """Let the generators go on from a state."""
        for device, it in state.items():
            self.on(torch.device(device)).set_state(it)


_CURRENT: ContextVar[Random | None] = ContextVar("tabemb_random", default=None)


@contextmanager
def drawing_from(random: Random) -> Iterator[None]:
    """Let the modules of networks draw from these generators within the block, in this thread alone."""
    token = _CURRENT.set(random)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def current() -> Random:
    """Return the generators of the fit; outside of one, new ones of seed 0."""
    return _CURRENT.get() or Random(0)


def generator(device: torch.device) -> torch.Generator | None:
    """Return the generator that a module draws from; None, torch's own, outside of a fit."""
    random = _CURRENT.get()
    return None if random is None else random.on(device)


class Building(TorchFunctionMode):
    """A context for building a network: whatever draws in this thread draws from the fit's generator.

    The layers of torch draw their start weights without a way to pass a generator. Outside of a fit
    weights are drawn to be overwritten, from seed 0.
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

"""Find the checkpoint of a fit: the one with the same data, parameters and seed."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from tabemb.files.folders import writable
from tabemb.network.halves import numpy_of_any
from tabemb.network.inputs import Prefixes
from tabemb.network.randomness import current
from tabemb.training.checkpoints import Checkpoints, NoCheckpoints
from tabemb.training.workers import current as current_workers

LEFTOVER = 3600.0
"""Age in seconds from which a partly written file is taken for the leftover of a killed process."""


def check_repeatable(checkpoint: Any, random_state: Any) -> None:
    """Raise ValueError for checkpoints without a seed: the second call could not repeat the first."""
    if checkpoint is not None and random_state is None:
        raise ValueError(
            "random_state must be a whole number where checkpoint names a folder; got None, with which "
            "no fit repeats another."
        )


def open_checkpoints(
    folder: str | os.PathLike[str] | None, network: nn.Module, *parts: Any
) -> NoCheckpoints:
    """Return the checkpoints of a fit, and load the weights of the last one into the networks.

    Parameters
    ----------
    folder : str or path-like, optional
        Created if it does not exist. Each fit has its own file in it. None: no file is written.
    network : nn.Module
        All networks of the fit, untrained.
    *parts : dataclasses, mappings, sequences, arrays, tensors and plain values
        Everything else that determines the trained weights.

    Raises
    ------
    ValueError
        The folder cannot be made or written to, or the file is damaged.
    """
    if folder is None:
        return NoCheckpoints()
    random, versions = current(), [version("tabemb"), version("torch")]

    def path() -> Path:
        name = _fingerprint([versions, random.seed, str(network), network.state_dict(), *parts])
        return _writable(Path(folder)) / f"{name[:32]}.checkpoint"

    return Checkpoints(current_workers().shared(path), network, random)


def _writable(folder: Path) -> Path:
    """Create the folder if needed, remove the leftovers of killed processes, and return it."""
    with writable(folder, "checkpoint"):
        for part in folder.glob(".tabemb-*.part"):
            if time.time() - part.stat().st_mtime > LEFTOVER:
                part.unlink(missing_ok=True)
    return folder


def _fingerprint(value: Any) -> str:
    """Return a checksum of a nested value: equal values have equal checksums in any process."""
    digest = hashlib.sha256()
    for piece in _pieces(value):
        digest.update(piece)
    return digest.hexdigest()


def _pieces(value: Any) -> Iterator[Any]:
    """Yield the bytes of a nested value; for objects of other classes, yield the name of the class."""
    if isinstance(value, Tensor):
        value = numpy_of_any(value)
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        yield f"{value.dtype.str}{value.shape}".encode()
        yield np.ascontiguousarray(value).data
    elif is_dataclass(value) and not isinstance(value, type):
        yield from _pieces({f.name: getattr(value, f.name) for f in fields(value)})
    elif isinstance(value, Prefixes):
        yield from _pieces([value.events, value.states, value.counts, value.ties])
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield f"{key!r}:".encode()
            yield from _pieces(item)
    elif isinstance(value, list | tuple):
        yield f"{len(value)}:".encode()
        for item in value:
            yield from _pieces(item)
    elif value is None or isinstance(value, str | int | float | np.generic):
        yield f"{value!r};".encode(errors="surrogatepass")
    else:
        yield type(value).__name__.encode()

"""Checkpoints: a fit is written to a file at the ends of epochs, and resumed after a kill."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from tabemb.files import layout
from tabemb.network.randomness import Random
from tabemb.training.state import State, packed, unpacked
from tabemb.training.workers import current

PAUSE = 20.0
"""Time between two writes, in units of the time of a write: writing costs at most a twentieth."""


class NoCheckpoints:
    """A fit that writes nothing, and starts from the beginning.

    A fit consists of several trainings, one after the other. At its start, each training asks for its
    result, in case it had ended before a kill, and then for its state.
    """

    @property
    def n_threads(self) -> int:
        """Threads that the trainings must run on."""
        return torch.get_num_threads()

    def result(self) -> State | None:
        """Return the result of the next training if it had ended."""
        return None

    def state(self) -> State | None:
        """Return the state of the unfinished training, to the first caller only."""
        return None

    def write(self, state: Callable[[], State], is_cut: bool) -> None:
        """Write the state at the end of an epoch, unless the last write was very recent.

        After an epoch that the time limit cut short, nothing more is written: another call of ``fit``
        continues from the epochs before it.
        """

    def ended(self, result: State, is_cut: bool) -> None:
        """Record the result of a training that has ended, perhaps because its time was over."""

    def complete(self) -> None:
        """Write the trained networks, after the last training."""


class Checkpoints(NoCheckpoints):
    """The file of one fit: results of its finished trainings, and the state of the unfinished one.

    The file is replaced as a whole, so a kill at any time leaves the last state. If there are several
    workers, the first one writes the file, and reads it for all.

    Parameters
    ----------
    path : Path
    network : nn.Module
        All networks of the fit; their weights are read from the file if there is one.
    random : Random
        The generators of the fit.

    Raises
    ------
    ValueError
        The file is damaged.
    """

    def __init__(self, path: Path, network: nn.Module, random: Random) -> None:
        self.path, self.network, self.random = path, network, random
        self._results: list[State] = []
        self._next_write = 0.0
        self._is_cut = False
        self._workers = current()
        self._stored: State = self._workers.shared(self._read)
        weights = self._stored.pop("weights")
        with torch.no_grad():
            for name, weight in self.network.named_parameters() if weights else ():
                weight.copy_(weights[name])

    @property
    def n_threads(self) -> int:
        """Threads that the first call used: sums in another order differ in their last bits."""
        return int(self._stored["n_threads"])

    def _read(self) -> State:
        if not self.path.is_file():
            return {"results": [], "run": None, "weights": {}, "n_threads": torch.get_num_threads()}
        header, arrays = layout.read(self.path)
        stored: State = unpacked(header["fit"], arrays)
        return stored

    def result(self) -> State | None:
        position, results = len(self._results), self._stored["results"]
        if position >= len(results):
            return None
        self._results.append(results[position])
        return self._results[-1]

    def state(self) -> State | None:
        run: State | None = self._stored["run"]
        self._stored["run"] = None
        if run is not None:
            states, rank = self._stored["random"], self._workers.rank
            if rank < len(states):  # an additional worker draws from the start
                self.random.load(states[rank])
        return run

    def write(self, state: Callable[[], State], is_cut: bool) -> None:
        self._is_cut |= is_cut
        start = time.perf_counter()
        if self._is_cut or self._workers.agreed(start < self._next_write):
            return
        self._write(state())
        end = time.perf_counter()
        self._next_write = end + PAUSE * (end - start)

    def ended(self, result: State, is_cut: bool) -> None:
        self._is_cut |= is_cut
        self._results.append(result)

    def complete(self) -> None:
        if not self._is_cut and len(self._results) > len(self._stored["results"]):
            self._write(None)

    def _write(self, run: State | None) -> None:
        random = self._workers.gathered(self.random.state())
        if self._workers.rank:
            return
        fit: State = {
            "results": self._results,
            "run": run,
            "weights": dict(self.network.named_parameters()),
            "random": random,
            "n_threads": self.n_threads,
        }
        arrays: layout.Arrays = {}
        header = {"format": layout.FORMAT, "fit": packed(fit, arrays, "fit")}
        try:
            layout.write(self.path, header, arrays)
        except OSError as error:  # a full disk must not end a fit of hours
            warnings.warn(
                f"The checkpoint {str(self.path)!r} cannot be written: {error.strerror}. The fit goes "
                "on without it.",
                RuntimeWarning,
                stacklevel=2,
            )

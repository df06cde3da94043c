"""A job: a fit that is sent to workers, and the files with its result."""

from __future__ import annotations

import json
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabemb.distributed.group import workers
from tabemb.saving.native import load, save

JOB = "job.pickle"
"""The file from which torchrun's workers read a job."""
MODEL, ERROR = "fitted.tabemb", "error.json"
"""Result files; a job writes one of them to its folder."""
ANSWERS = {error.__name__: error for error in (ValueError, TypeError, ImportError)}
"""Errors that a second attempt would raise again."""


@dataclass(frozen=True)
class Job:
    """The arguments of a fit."""

    model: Any
    source: Any
    y: Any
    parameters: dict[str, Any]

    def run(self, folder: Path) -> None:
        """Fit with the other workers; the first one writes the model to the folder.

        An error that another attempt would raise again is written there too, so it causes no restart.
        """
        with workers() as group, warnings.catch_warnings():
            if group.rank:  # only the first worker warns
                warnings.simplefilter("ignore")
            try:
                self.model.fit(self.source, self.y, **self.parameters)
                if group.rank == 0:
                    save(self.model, folder / MODEL)
            except tuple(ANSWERS.values()) as error:
                _leave(error, folder)


def _leave(error: Exception, folder: Path) -> None:
    kind = next(name for name, one in ANSWERS.items() if isinstance(error, one))
    part = folder / f"{ERROR}.{os.getpid()}"
    part.write_text(json.dumps({"kind": kind, "text": str(error)}))
    part.replace(folder / ERROR)


def outcome(folder: Path) -> Any:
    """Return the model that a job has written to a folder, or raise its error.

    Raises
    ------
    ValueError, TypeError, ImportError
        What the fit raised.
    RuntimeError
        There is neither a model nor an error.
    """
    if (folder / ERROR).is_file():
        error = json.loads((folder / ERROR).read_text())
        raise ANSWERS[error["kind"]](error["text"])
    if not (folder / MODEL).is_file():
        raise RuntimeError("The workers have ended without a model; their output says why.")
    return load(folder / MODEL)

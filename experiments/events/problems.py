"""The problems by name."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from experiments.events.outcomes import applications, buys_again, icu, pattern
from experiments.events.problem import EventProblem
from experiments.events.streams import next_activity, next_answer, next_item

PROBLEMS: dict[str, Callable[[Any, Mapping[str, Any]], EventProblem]] = {
    "pattern": pattern,
    "applications": applications,
    "buys again": buys_again,
    "icu": icu,
    "next answer": next_answer,
    "next activity": next_activity,
    "next item": next_item,
}

FOLDS = {"next answer", "icu"}
"""The problems whose folds are published, numbered from 1 on."""


@lru_cache(maxsize=1)  # all models of a problem run one after another
def find_problem(name: str, folder: Path | None, fold: int, n_sequences: int) -> EventProblem:
    """Return a problem by a name such as "applications after 7 days".

    Parameters
    ----------
    name : str
    folder : Path, optional
        Where the data are; only the made-up pattern needs none.
    fold : int
        The test fold, if folds are published.
    n_sequences : int
        Number of sequences of the made-up data.
    """
    after = re.fullmatch(r"(.*) after (\d+) (days|events)", name)
    kind = after[1] if after else name
    if kind not in PROBLEMS:
        sys.exit(f"error: tasks must be among {', '.join(PROBLEMS)}; got {name!r}.")
    if folder is None and kind != "pattern":
        sys.exit("error: TABEMB_DATA must name the folder of the data sets; it is not set.")
    options: dict[str, Any] = {"fold": fold, "n_sequences": n_sequences}
    if after:
        options = {"n": int(after[2]), "unit": after[3]}
    return PROBLEMS[kind](folder, options)

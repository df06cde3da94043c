"""Break the library on purpose, one place at a time: every break must turn a test red.

`make mutations` copies the checkout, plants each break in the copy, and runs the tests named beside it.
A break that survives is a promise without a test.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]


class Break(NamedTuple):
    """A break: what it does, the file below `tabemb/`, the text to replace, the new text, the tests."""

    name: str
    file: str
    old: str
    new: str
    tests: str


BREAKS = [
    Break(
        "effects of a training row count the row itself",
        "data/out_of_fold.py",
        "effects.counts_[positions] - fold_counts",
        "effects.counts_[positions] - 0 * fold_counts",
        "tests/data tests/fitting",
    ),
    Break(
        "the encoder gives training rows vectors that were fitted on them",
        "estimators/cross_fitting.py",
        "rows.take(np.asarray(fold.train))",
        "rows",
        "tests/estimators/test_encoder.py",
    ),
    Break(
        "events at the cutoff are joined",
        "data/logs.py",
        "return np.searchsorted(times, moments)",
        'return np.searchsorted(times, moments, side="right")',
        "tests/data",
    ),
    Break(
        "the unknown category is never trained",
        "network/dropout.py",
        "codes = torch.where(draw < rates, UNKNOWN, codes)",
        "codes = codes + 0",
        "tests/network tests/test_faults.py",
    ),
    Break(
        "a hidden cell keeps its effects",
        "network/dropout.py",
        "effects * (hidden == 0).unsqueeze(-1)",
        "effects",
        "tests/network",
    ),
    Break(
        "the last weights are kept in the place of the average",
        "training/loop.py",
        "    training.optimizer.average.swap()\n",
        "",
        "tests/training",
    ),
    Break(
        "the best epoch is not restored",
        "training/loop.py",
        "    best.restore()\n",
        "",
        "tests/training",
    ),
    Break(
        "max_time is ignored",
        "training/loop.py",
        "return self.limit is not None and self.seconds >= self.limit",
        "return False",
        "tests/training",
    ),
    Break(
        "the thread count is not restored",
        "training/threads.py",
        "torch.set_num_threads(before)",
        "pass",
        "tests/training",
    ),
    Break(
        "validation rows train from the start",
        "fitting/recipe.py",
        "positions = None if train is None else torch.from_numpy(train)",
        "positions = None",
        "tests/fitting tests/estimators/test_rows.py",
    ),
    Break(
        "categories of validation rows count as seen",
        "fitting/training_rows.py",
        "        _hide_unseen(validation.inputs, seen)\n",
        "",
        "tests/fitting",
    ),
    Break(
        "weights have no part in the loss",
        "fitting/objective.py",
        "self.target.loss(outputs, y).mean(1) * batch.weight",
        "self.target.loss(outputs, y).mean(1)",
        "tests/estimators/test_contract.py tests/estimators/test_sklearn.py tests/test_faults.py",
    ),
    Break(
        "frames are matched by position",
        "fitting/checks.py",
        "            return frame\n        name = type(estimator).__name__",
        "            return frame.rename_columns(list(self.names[: frame.num_columns]))\n"
        "        name = type(estimator).__name__",
        "tests/estimators/test_contract.py",
    ),
    Break(
        "a refused refit leaves the new target",
        "estimators/base.py",
        "            prepared = recipe.prepare(rows)\n",
        "            prepared = recipe.prepare(rows)\n            self.target_ = recipe.target\n",
        "tests/estimators/test_contract.py",
    ),
    Break(
        "min_count is ignored",
        "fitting/recipe.py",
        "settings.n_bins, settings.min_count, settings.max_events",
        "settings.n_bins, 1, settings.max_events",
        "tests/estimators/test_rows.py",
    ),
    Break(
        "the last padded step stands for the last event",
        "network/inputs.py",
        "last = values[(self.offsets[1:] - 1).clamp(min=0)]",
        "last = values[(self.offsets[1:] - 2).clamp(min=0)]",
        "tests/network",
    ),
    Break(
        "an event sees its own outcome",
        "fitting/event_source.py",
        "frame = frame.drop_columns(hidden)",
        "frame = frame",
        "tests/estimators/test_events.py",
    ),
    Break(
        "update keeps no state",
        "fitting/event_source.py",
        "        self.states.write(_keys(frame[self.entity], heads), past)\n",
        "",
        "tests/estimators/test_events.py",
    ),
    Break(
        "the version of the format is ignored",
        "saving/native.py",
        "> FORMAT",
        "> 10**9",
        "tests/saving",
    ),
    Break(
        "a preset replaces what the user set",
        "fitting/settings.py",
        "if values[name] == defaults[name]",
        "if True",
        "tests/fitting",
    ),
]


def survives(copy: Path, planted: Break) -> bool:
    """Plant a break in the copy, run its tests, and take it back; return whether all tests passed."""
    path = copy / "tabemb" / planted.file
    text = path.read_text()
    if text.count(planted.old) == 0:
        raise SystemExit(f"{planted.file} has no {planted.old!r} to break ({planted.name}).")
    path.write_text(text.replace(planted.old, planted.new))
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [*command, *planted.tests.split()], cwd=copy, env=environment, capture_output=True, check=False
    )
    path.write_text(text)
    return run.returncode == 0


def main() -> None:
    """Plant all breaks; exit with 1 if one survives."""
    alive = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "tabemb"
        kept = shutil.ignore_patterns(".git", ".venv", "outputs", "__pycache__", ".*_cache")
        shutil.copytree(ROOT, copy, ignore=kept)
        for planted in BREAKS:
            start = time.perf_counter()
            alive += [planted.name] if survives(copy, planted) else []
            verdict = "SURVIVES" if alive[-1:] == [planted.name] else "caught"
            print(f"{verdict:9} {time.perf_counter() - start:5.0f} s  {planted.name}", flush=True)
    print(f"{len(BREAKS) - len(alive)} of {len(BREAKS)} breaks turn a test red")
    sys.exit(1 if alive else 0)


if __name__ == "__main__":
    main()

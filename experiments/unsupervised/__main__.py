"""Measure vectors without a target on well-known data sets, and compare with published results.

`python -m experiments.unsupervised task=movielens_top10` runs one task; without a task, all are run.
Each prints its table. If EASE, the linear model in closed form, is also measured, a verdict says
whether a model is better. The tables are stored in `outputs/unsupervised`, one file per task.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from pathlib import Path

import hydra
import pandas as pd
from omegaconf import DictConfig
from rich.table import Table

from experiments.shared.settings import CONFIG_FOLDER, check_choices, data_folder, read_settings
from experiments.unsupervised import tasks
from experiments.unsupervised.score import Score
from tabemb.compare.table import wide_console
from tabemb.files.csv_cells import write_csv

BASELINE = "EASE"
LOWER_IS_BETTER = ("RMSE",)


@hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name="unsupervised")
def main(config: DictConfig) -> None:
    settings = read_settings(config)
    known = [module.name for module in pkgutil.iter_modules(tasks.__path__)]
    chosen = known if settings["task"] == "all" else settings["task"]
    chosen = [chosen] if isinstance(chosen, str) else list(chosen)
    check_choices("task", chosen, known)
    data_folder()
    for name in chosen:
        module = import_module(f"experiments.unsupervised.tasks.{name}")
        frame = with_verdicts(module.run(seed=settings["seed"]))
        folder = Path(settings["folder"])
        folder.mkdir(parents=True, exist_ok=True)
        write_csv(frame, folder / f"{name}.csv")
        show(name, frame)


def with_verdicts(scores: list[Score]) -> pd.DataFrame:
    """Return the scores with a verdict: whether each is better than that of EASE."""
    frame = pd.DataFrame(scores, columns=Score._fields)
    frame["verdict"] = ""
    for _, rows in frame.groupby(["task", "metric"]):
        baseline = rows.loc[rows["model"] == BASELINE, "value"]
        if baseline.empty:
            continue
        for i, row in rows[rows["model"] != BASELINE].iterrows():
            gain = row["value"] - baseline.iloc[0]
            gain = -gain if row["metric"].startswith(LOWER_IS_BETTER) else gain
            frame.loc[i, "verdict"] = "above EASE" if gain > 0 else "loses to EASE"
    return frame


def show(name: str, frame: pd.DataFrame) -> None:
    table = Table(*frame.columns.drop("task"), title=name)
    for row in frame.drop(columns="task").itertuples(index=False):
        table.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row))
    wide_console().print(table)


if __name__ == "__main__":
    main()

"""The bar of a comparison shows progress and seconds within a fit."""

from __future__ import annotations

import io
import json
import re
import time

import pandas as pd
import pytest
from tqdm import tqdm

from tabemb.compare import ModelSpec, Protocol, build_model, cells, live, run
from tabemb.compare.live import FORMAT, LiveBar, report, reporting_to


class Terminal(io.StringIO):
    """A file that claims to be a terminal."""

    def isatty(self):
        return True


@pytest.fixture
def quick_ticks(monkeypatch):
    monkeypatch.setattr(live, "SECONDS", 0.01)


def shown_lines(terminal):
    return [line.strip() for line in re.split(r"[\r\n]", terminal.getvalue()) if line.strip()]


def test_the_bar_moves_within_a_cell_and_ticks_without_reports(quick_ticks):
    terminal = Terminal()
    with tqdm(total=2, initial=0, file=terminal, ncols=90, bar_format=FORMAT) as bar:
        moving = LiveBar(bar)
        with moving.cell("net"):
            report(0.5, "epoch 10")
            time.sleep(0.1)
        with moving.cell("trees"):
            time.sleep(1.1)
    lines = shown_lines(terminal)
    assert any(re.match(r"net  25%\|.*\| 0 of 2 done, epoch 10, 0 s", line) for line in lines)
    # the second cell reports nothing: only its seconds change
    assert [
        s for s in "01" if any(re.match(rf"trees  50%\|.*\| 1 of 2 done, {s} s", x) for x in lines)
    ] == [
        "0",
        "1",
    ]
    assert moving.n_done == 2


def test_reports_reach_the_listener_of_the_block_alone_and_not_too_often():
    heard = []
    report(0.1, "nobody listens")
    with reporting_to(lambda share, text: heard.append(text)):
        for i in range(1000):
            report(i / 1000, f"epoch {i}")
    report(0.2, "nobody listens")
    assert heard[0] == "epoch 0"
    assert len(heard) < 10


@pytest.mark.parametrize(
    ("model", "params", "expected"),
    [("embedding", {"max_epochs": 3, "hidden": [8], "trees": False}, ["epoch 1", "epoch 2", "epoch 3"]),
     ("lightgbm", {"n_estimators": 3}, ["round 1 of 3", "round 2 of 3", "round 3 of 3"]),
     ("linear", {}, [])],
)  # fmt: skip
def test_models_report_their_epochs_or_rounds(monkeypatch, regression, model, params, expected):
    monkeypatch.setattr(live, "SECONDS", 0.0)
    spec = ModelSpec(model, params)
    built = build_model(spec, "regression", regression.X, regression.roles, n_jobs=1)
    heard = []
    with reporting_to(lambda share, text: heard.append((share, text))):
        built.fit(regression.X, regression.y.to_numpy(), **cells._watching(built))
    assert [text.split(",")[0] for _, text in heard] == expected
    shares = [share for share, _ in heard]
    assert shares == sorted(shares)
    assert all(0 < share <= 1 for share in shares)


REPORTING = """
import time
from sklearn.dummy import DummyRegressor
from tabemb.compare.live import report
class Reporting(DummyRegressor):
    def fit(self, X, y):
        report(0.25, "epoch 7")
        return super().fit(X, y)
class Slow(DummyRegressor):
    n_rows = 0
    def predict(self, X):
        if type(self).n_rows:
            time.sleep(60)  # the importances
        type(self).n_rows = len(X)
        return super().predict(X)
def reporting(task, columns, seed, n_jobs): return Reporting()
def slow(task, columns, seed, n_jobs): return Slow()
"""


@pytest.mark.slow
def test_a_fresh_process_reports_and_a_result_is_kept_when_time_is_up(regression, tmp_path, monkeypatch):
    (tmp_path / "reporters.py").write_text(REPORTING)
    monkeypatch.syspath_prepend(tmp_path)
    heard, options = [], {"n_jobs": 1, "progress": False}
    monkeypatch.setattr("tabemb.compare.cells.report", lambda share, text: heard.append(text))
    run(regression, ["reporters:reporting"], Protocol(), tmp_path / "a", **options)
    assert heard[0] == "epoch 7"
    start = time.monotonic()
    late = run(regression, ["reporters:slow"], Protocol(), tmp_path / "b", time_limit=25, **options)
    assert time.monotonic() - start < 50
    assert late["status"].item() == "ok"
    assert late["rmse"].item() > 0
    assert pd.isna(late.get("importances", pd.Series([None])).item())


def test_a_model_that_fails_on_permuted_rows_keeps_its_errors(regression, tmp_path, monkeypatch):
    def fails(*arguments):
        raise RuntimeError("no permuted rows")

    monkeypatch.setattr(cells, "importances", fails)
    found = run(
        regression, ["dummy"], Protocol(), tmp_path, n_jobs=1, isolate=False, progress=False
    ).iloc[0]
    assert (found["status"], found["importances"]) == ("ok", "")
    assert json.loads(found["calibration"])["n_rows"] == [found["n_test"]]

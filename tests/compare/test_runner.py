from __future__ import annotations

import pandas as pd
import pytest

from tabemb.compare import read_cells, run_cells

CELLS = [{"data": "a b", "seed": seed} for seed in range(3)]


class Measure:
    """Return twice the seed, and record which seeds were measured."""

    def __init__(self, fails_at=None):
        self.seeds, self.fails_at = [], fails_at

    def __call__(self, identity):
        if identity["seed"] == self.fails_at:
            raise KeyboardInterrupt
        self.seeds.append(identity["seed"])
        return {"error": 2 * identity["seed"], "status": "ok" if identity["seed"] else "failed"}


def test_each_cell_is_measured_once_and_stored_under_its_name(tmp_path):
    first, second = Measure(), Measure()
    cells = run_cells(tmp_path, CELLS[:2], first, show=False)
    assert cells[["data", "seed", "error"]].values.tolist() == [["a b", 0, 0], ["a b", 1, 2]]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a_b-0.parquet", "a_b-1.parquet"]
    assert len(run_cells(tmp_path, CELLS, second, show=False)) == 3
    assert (first.seeds, second.seeds) == ([0, 1], [2])


def test_an_interrupted_loop_keeps_the_finished_cells(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run_cells(tmp_path, CELLS, Measure(fails_at=1), show=False)
    assert read_cells(tmp_path)["seed"].tolist() == [0]
    later = Measure()
    run_cells(tmp_path, CELLS, later, show=False)
    assert later.seeds == [1, 2]


def test_only_failed_cells_run_again_if_asked(tmp_path):
    run_cells(tmp_path, CELLS, Measure(), show=False)
    again = Measure()
    run_cells(tmp_path, CELLS, again, retry_failed=True, show=False)
    assert again.seeds == [0]


def test_each_cell_prints_a_line_and_stored_ones_are_counted(tmp_path, capsys):
    run_cells(tmp_path, CELLS[:1], Measure(), show=False)
    assert capsys.readouterr() == ("", "")
    run_cells(tmp_path, CELLS[:2], Measure(), lambda row: f"error {row['error']}")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == ["1 of 2 cells are already stored.", "a b, 1: error 2"]


def test_key_and_label_can_be_given(tmp_path, capsys):
    key, label = (lambda cell: f"seed {cell['seed']}"), (lambda cell: f"number {cell['seed']}")
    run_cells(tmp_path, CELLS[:1], Measure(), key=key, label=label)
    assert (tmp_path / "seed 0.parquet").exists()
    assert capsys.readouterr().err == "number 0: finished\n"


def test_a_folder_without_cells_is_an_empty_frame(tmp_path):
    pd.testing.assert_frame_equal(run_cells(tmp_path, [], Measure(), show=False), pd.DataFrame())

"""A file is replaced completely or not at all, whatever happens while it is written."""

import errno
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import tabemb
from tabemb.files import whole
from tabemb.files.csv_cells import write_csv
from tabemb.files.whole import replacing
from tests.fuzz import trials

ROOT = Path(__file__).resolve().parents[1]


def write(path, content):
    with replacing(path) as file:
        file.write(content)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_and_replaced(tmp_path):
    for content in (b"old", b"new"):
        write(tmp_path / "a", content)
        assert (tmp_path / "a").read_bytes() == content
    assert names(tmp_path) == ["a"]


def test_a_link_stays_and_its_target_is_replaced(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "target").write_bytes(b"old")
    (tmp_path / "link").symlink_to(folder / "target")
    (tmp_path / "to nothing").symlink_to(folder / "other")
    write(tmp_path / "link", b"new")
    write(tmp_path / "to nothing", b"first")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "to nothing").is_symlink()
    assert (folder / "target").read_bytes() == b"new"
    assert (folder / "other").read_bytes() == b"first"
    assert names(folder) == ["other", "target"]


def test_permissions_are_those_of_any_new_file_or_stay(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    write(tmp_path / "new", b"")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode
    (tmp_path / "new").chmod(0o640)
    write(tmp_path / "new", b"again")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o640


def full(*arguments):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(call, tmp_path, monkeypatch):
    write(tmp_path / "a", b"old")
    monkeypatch.setattr(whole.os, call, full)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def write_to_full_disk(path):
    with replacing(path) as file:
        os.dup2(os.open("/dev/full", os.O_WRONLY), file.fileno())
        file.write(b"x" * 10**6)


def write_until_interrupted(path):
    with replacing(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
def test_an_error_while_writing_leaves_the_old_file(tmp_path):
    write(tmp_path / "a", b"old")
    with pytest.raises(OSError, match="No space left"):
        write_to_full_disk(tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        write_until_interrupted(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_only_a_file_can_be_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, reason in {
        tmp_path: "is a folder",
        tmp_path / "no" / "a": "a folder that does not exist",
        tmp_path / "pipe": "is a device or a pipe",
        Path(os.devnull): "is a device or a pipe",
    }.items():
        with pytest.raises(ValueError, match=reason):
            write(path, b"")
    assert names(tmp_path) == ["pipe"]


def test_several_savers_at_once_never_fail(tmp_path):
    failures = []

    def save_often(content):
        try:
            for _ in range(20):
                write(tmp_path / "a", content * 10_000)
        except Exception as error:
            failures.append(error)

    savers = [threading.Thread(target=save_often, args=(bytes([65 + i]),)) for i in range(8)]
    for saver in savers:
        saver.start()
    for saver in savers:
        saver.join()
    content = (tmp_path / "a").read_bytes()
    assert not failures
    assert content == content[:1] * 10_000
    assert names(tmp_path) == ["a"]


SAVER = """
import os, sys, tabemb
models = [tabemb.load(path) for path in sys.argv[1:3]]
for _ in sys.stdin:
    saver = os.fork()
    while not saver:
        for model in models:
            tabemb.save(model, sys.argv[3])
    print(saver, flush=True)
    os.waitpid(saver, 0)
    print("gone", flush=True)
"""


@pytest.mark.slow
def test_a_process_killed_while_it_saves_leaves_the_old_or_the_new_file(tmp_path):
    models = [ROOT / "tests/saving/format_2" / f"{name}.tabemb" for name in ("histories", "sequences")]
    path, draw = tmp_path / "model", random.Random(0)
    tabemb.save(tabemb.load(models[0]), path)
    command, kinds, n_left = [sys.executable, "-W", "ignore", "-c", SAVER, *models, path], set(), 0
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as process:
        for _ in range(trials(5, 50)):
            print("save", file=process.stdin, flush=True)
            saver = int(process.stdout.readline())
            time.sleep(draw.uniform(0, 0.2))
            os.kill(saver, signal.SIGKILL)
            assert process.stdout.readline() == "gone\n"
            kinds.add(type(tabemb.load(path)).__name__)
            left = list(tmp_path.glob(".tabemb-*.part"))
            tabemb.save(tabemb.load(models[0]), path)  # unfinished files do not interfere
            assert set(names(tmp_path)) == {"model", *(part.name for part in left)}
            n_left = len(left)
    assert kinds <= {"EmbeddingRegressor", "SequenceEncoder"}
    print(f"{trials(5, 50)} kills: {sorted(kinds)} loaded, {n_left} unfinished files lie beside")


def test_a_spreadsheet_runs_nothing_of_a_csv_and_numbers_stay(tmp_path):
    frame = pd.DataFrame(
        {
            "=cmd": pd.Series(
                ["=1+1", "+a", "-2", "@sum", "\tx", "\rx", "plain", None, "a\ud800"], dtype=object
            ),
            "number": [-1.5, 2.0, np.nan, -np.inf, 0.0, 1e-9, 3.0, 4.0, 5.0],
            "mixed": [-1, "-b", -2.5, "'=x", pd.Timedelta(-1), 0, 1, 2, True],
            "level": pd.Categorical(["=a", "b"] * 4 + ["b"]),
        }
    )
    write_csv(frame, tmp_path / "table.csv", float_format="%.3g")
    read = pd.read_csv(tmp_path / "table.csv")
    assert list(read) == ["'=cmd", "number", "mixed", "level"]
    assert read["'=cmd"].tolist()[:4] == ["'=1+1", "'+a", "-2", "'@sum"]
    assert read["'=cmd"].tolist()[4:7] == ["'\tx", "'\nx", "plain"]
    assert read["'=cmd"].tolist()[8] == "a\\ud800"
    np.testing.assert_array_equal(read["number"], frame["number"])
    assert read["mixed"].tolist()[:5] == ["-1", "'-b", "-2.5", "''=x", "'-1 days +23:59:59.999999999"]
    assert read["level"].tolist()[:2] == ["'=a", "b"]


def test_no_csv_is_written_past_the_helper():
    for path in [*ROOT.glob("tabemb/**/*.py"), *ROOT.glob("experiments/**/*.py")]:
        if path.name != "csv_cells.py":
            assert ".to_csv(" not in path.read_text(), path

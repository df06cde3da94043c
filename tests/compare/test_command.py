"""The command `tabemb`: what it writes, its one-line errors and its exit codes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf

import tabemb
from tabemb.__main__ import main
from tabemb.compare import read_cells
from tabemb.compare.command import compose_config, read_arguments

QUICK = ["n_jobs=1", "isolate=false", "progress=false"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with the same data as CSV and as parquet; its column names need quoting."""
    rng = np.random.default_rng(0)
    city = rng.integers(0, 5, 200)
    frame = pd.DataFrame(
        {
            "city": city,
            "on day": pd.date_range("2024-01-01", periods=200).astype(str),
            "a, b": 1.0,
            "price's": city + 0.1 * rng.normal(size=200),
        }
    )
    frame.to_csv(tmp_path / "my=sales.csv", index=False)
    frame.to_parquet(tmp_path / "sales.parquet")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def errors(capsys, *arguments):
    """Return the exit code and the text on stderr."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    shown = capsys.readouterr().err
    code = stop.value.code
    return (1, code + "\n") if isinstance(code, str) else (code, shown)


def run_of(folder):
    (run,) = (folder / "outputs" / "compare" / "runs").iterdir()
    return run


@pytest.mark.parametrize("name", ["my=sales.csv", "sales.parquet"])
def test_a_file_is_compared_and_the_report_is_named(folder, capsys, name, request):
    if name == "sales.parquet":
        request.getfixturevalue("undrawn")
    columns = ["--target", "price's", "--categorical", "city", "--time", "on day"]
    main(["compare", name, *columns, "--models", "linear,dummy", *QUICK])
    shown, run = capsys.readouterr(), run_of(folder)
    assert "linear is better than dummy by" in shown.out
    assert shown.err == f"report: {(run / 'report.html').relative_to(folder)}\n"
    cells = read_cells(folder / "outputs" / "compare" / "cells")
    assert cells["protocol"].unique().tolist() == ["newest 20 %"]
    config = OmegaConf.load(run / "config.yaml")
    assert (config.dataset.target, list(config.dataset.categorical)) == ("price's", ["city"])
    assert os.listdir(folder / "outputs") == ["compare"]


def test_flags_and_settings_of_hydra_stand_anywhere():
    overrides, columns = read_arguments(
        ["seeds=[0,1]", "t.csv", "--drop", "a,b", "--target=y", "+models.linear.params.alpha=2",
         "--drop=c", "--models", "linear", "--datetimes", "d", "--group", "g", "--protocol", "kfold"]
    )  # fmt: skip
    assert columns == {
        "path": "t.csv",
        "target": "y",
        "group": "g",
        "drop": ["a", "b", "c"],
        "datetimes": ["d"],
    }
    config, folder = compose_config(overrides, columns)
    assert config.models.linear.params.alpha == 2
    assert list(config.seeds) == [0, 1]
    assert config.protocol.kind == "kfold"
    assert list(config.dataset.drop) == ["a", "b", "c"]
    assert folder.parent.as_posix() == "outputs/compare/runs"
    assert "hydra" not in config


def test_all_columns_can_be_categories_and_a_named_data_set_be_changed():
    overrides, columns = read_arguments(["dataset=kc_house", "--time", "date", "--categorical", "all"])
    config, _ = compose_config(overrides, columns)
    assert (config.dataset.name, config.dataset.categorical) == ("kc_house", "all")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [(["compar"], 2, "there is no command 'compar' (did you mean 'compare'?)."),
     (["compare"], 2, "the table must be a CSV or parquet file, or dataset=NAME; got neither."),
     (["compare", "a.csv", "b.csv"], 2, "there must be one file; got a.csv, b.csv."),
     (["compare", "a.csv", "dataset=adult"], 2, "or dataset=NAME; got both."),
     (["compare", "a.csv"], 2, "--target must name the column of a.csv to predict."),
     (["compare", "a.csv", "--traget", "y"], 2, "there is no option '--traget' (did"),
     (["compare", "a.csv", "--target"], 2, "argument --target: expected one argument; tabemb"),
     (["compare", "a.csv", "--target", "y"], 1, "path: there is no file 'a.csv'."),
     (["compare", "dataset=adlt"], 2, "there is no dataset 'adlt' in conf/dataset (did you"),
     (["compare", "dataset=openml"], 1, "dataset.openml must have a value; give dataset.openml=VALUE."),
     (["compare", "dataset=adult,imdb"], 2, "dataset must name one dataset;"),
     (["compare", "dataset=adult", "sedes=[0]"], 2, "(did you mean 'seeds'? there are 'dataset', "),
     (["compare", "dataset=adult", "x=["], 2, "'x=[' must have the form KEY=VALUE of hydra ("),
     (["compare", "dataset=adult", "--models", "linaer"], 2, "mean 'linear'? there are 'catboost', 'd"),
     (["compare", "dataset=adult", "dataset.traget=y"], 2, "there are 'dataset.name', 'dataset.targ"),
     (["compare", "dataset=adult", "models.linear.params.alpha=3"], 2, "+models.linear.params.alpha=V"),
     (["compare", "dataset=adult", "--protocol", "cv"], 2, "there is no protocol 'cv' in conf"),
     (["compare", "dataset=fertility", "+protocol.fold=3"], 1, "protocol: there is no setting 'fold'"),
     (["compare", "dataset=fertility", "reference=nets"], 1, "reference must be a model of the"),
     (["compare", "dataset=fertility", "--target", "birth"], 1, "no column 'birth' (did you mean"),
     (["compare", "dataset=fertility", "seeds=[a]"], 1, "seeds must be a list of one"),
     (["atlas"], 2, "the following arguments are required: model; tabemb atlas --help"),
     (["atlas", "no.tabemb", "city"], 1, "model: there is no file 'no.tabemb'."),
     (["export", "no.tabemb", "m.onnx"], 1, "model: there is no file 'no.tabemb'."),
     (["export", "no.tabemb", "m.pkl"], 2, "output must end in .onnx, .parquet or .duckdb;"),
     (["export", "m.tabemb", "m.onnx", "city"], 2, "space must be left out for an ONNX file;")],
)  # fmt: skip
def test_an_error_is_one_line_with_its_exit_code(folder, capsys, arguments, code, message):
    found, shown = errors(capsys, *arguments)
    assert (found, shown.count("\n")) == (code, 1)
    assert shown.startswith("error: ")
    assert message in shown
    assert not (folder / "outputs").exists()


@pytest.mark.parametrize("module", ["rich", "matplotlib", "psutil"])
def test_a_missing_package_is_one_line_that_names_the_extra(folder, capsys, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    arguments = ["compare", "sales.parquet", "--target", "price's", "--models", "dummy", *QUICK]
    message = f"error: {module} is not installed; pip install 'tabemb[compare]' brings it.\n"
    assert errors(capsys, *arguments) == (1, message)


FAILING = """
from sklearn.dummy import DummyRegressor
class Failing(DummyRegressor):
    def fit(self, X, y): raise ValueError("it takes no table.")
def build(task, columns, seed, n_jobs): return Failing()
"""


def contents(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_run_whose_fits_all_fail_leaves_no_folder_and_says_why_once(
    undrawn, folder, capsys, monkeypatch
):
    (folder / "failing.py").write_text(FAILING)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = contents(folder)
    fit = ["compare", "sales.parquet", "--target", "price's", "--protocol", "kfold", *QUICK]
    models = ["model=[]", "+models.failing.name=failing:build"]
    code, message = errors(capsys, *fit, *models)
    assert code == 1
    assert message == "error: No fit finished (failing:build: ValueError: it takes no table).\n"
    assert contents(folder) == before
    # if another model finishes, the failure is reported once, and stored
    main([*fit, "model=[dummy]", "+models.failing.name=failing:build", "reference=failing:build"])
    shown = capsys.readouterr().out
    assert (
        shown.count("failing:build failed on sales in all of 5 fits: ValueError: it takes no table.")
        == 1
    )
    n_cells = len(list(folder.rglob("cells/*.parquet")))
    assert n_cells == 10
    # cells of an earlier run and their folder stay
    errors(capsys, *fit, "model=[]", "+models.failing.name=failing:build")
    assert len(list(folder.rglob("cells/*.parquet"))) == n_cells


@pytest.mark.parametrize("error", [OSError("the disk is full"), KeyboardInterrupt()])
def test_a_report_that_fails_leaves_no_folder_of_the_run(undrawn, folder, capsys, monkeypatch, error):
    def fails(*arguments, **options):
        raise error

    monkeypatch.setattr("tabemb.compare.report.write_csv", fails)
    arguments = ["compare", "sales.parquet", "--target", "price's", "--models", "dummy", *QUICK]
    code, message = errors(capsys, *arguments)
    assert code == 1
    assert message.count("\n") == 1
    # the finished fit is kept
    assert [name for name in contents(folder / "outputs") if "parquet" not in name] == [
        "compare",
        "compare/cells",
    ]


def test_errors_name_the_line_of_the_file(undrawn, folder, capsys):
    header = "city,day,x,price"
    rows = [f"c{i % 3},2024-01-{1 + i % 28:02d},{i},{i}" for i in range(60)]
    rows[7] = ""  # a blank line is not a row
    rows[9] = "c0,2024-01-05,9,"  # a row without a target is dropped
    rows[20] = "c0,05.01.2024,9,4"
    (folder / "t.csv").write_text("\n".join([header, *rows]) + "\n")
    base = ["compare", "t.csv", "--target", "price", "--models", "dummy", *QUICK]
    # rows[20] is line 22: the header is line 1, the blank line counts
    _, message = errors(capsys, *base, "--time", "day")
    assert "it holds '05.01.2024' in line 22, so name it in datetimes too." in message
    _, message = errors(capsys, *base, "--numbers", "day")
    assert re.search(
        r"column 'day' must hold numbers in one notation; it holds '.*' in line \d+\.", message
    )
    rows[40] = "c0,2024-01-05,9,-4"
    rows[20] = "c0,2024-01-05,9,4"
    (folder / "t.csv").write_text("\n".join([header, *rows]) + "\n")
    net = ["--models", "embedding,dummy", "+models.embedding.params.loss=poisson"]
    main([*base[:-5], *net, "+models.embedding.params.max_epochs=1", *QUICK, "protocol.test_size=0.05"])
    assert "needs y >= 0; y holds -4.0 in line 42" in capsys.readouterr().out
    rows_of_parquet = pd.read_csv(folder / "t.csv")
    rows_of_parquet.to_parquet(folder / "t.parquet")
    row = int(rows_of_parquet.index[rows_of_parquet["price"] == -4][0])
    base[1] = "t.parquet"
    main([*base[:-5], *net, "+models.embedding.params.max_epochs=1", *QUICK, "protocol.test_size=0.05"])
    assert f"needs y >= 0; y holds -4.0 in row {row}" in capsys.readouterr().out


def test_an_interruption_says_how_to_go_on(folder, capsys, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("tabemb.compare.command.run_config", interrupted)
    assert errors(capsys, "compare", "dataset=fertility") == (
        1,
        "interrupted: finished fits are kept, the same command goes on from there\n",
    )


def test_a_reference_can_be_a_stored_model(undrawn, folder, capsys):
    base = ["compare", "sales.parquet", "--target", "price's", *QUICK]
    main([*base, "--models", "linear"])
    main([*base, "--models", "dummy", "reference=linear"])
    assert "linear is better than dummy" in capsys.readouterr().out


def test_help_names_commands_options_and_models(capsys):
    main([])
    assert "tabemb compare my.csv --target y" in capsys.readouterr().out
    for command, expected in (("compare", ("--categorical", "lightgbm_td", "kfold", "seeds=[0,1]")),
                              ("atlas", ("--output", "SPACE.html")),
                              ("export", (".onnx", ".parquet", ".duckdb"))):  # fmt: skip
        with pytest.raises(SystemExit) as stop:
            main([command, "--help"])
        assert stop.value.code == 0
        shown = capsys.readouterr().out
        assert all(text in shown for text in expected)
    main(["--version"])
    assert capsys.readouterr().out == f"tabemb {tabemb.__version__}\n"


@pytest.mark.slow
def test_the_command_runs_as_a_program_from_elsewhere(folder):
    arguments = ["sales.parquet", "--target", "price's", "--models", "dummy", "n_jobs=1"]
    root = os.path.dirname(os.path.dirname(tabemb.__file__))
    done = subprocess.run(
        [sys.executable, "-m", "tabemb", "compare", *arguments],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "sales · dummy · fold 1 · seed 0: rmse" in done.stderr
    assert (run_of(folder) / "report.html").exists()


@pytest.fixture
def model(folder, small):
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"city": rng.choice(list("abcde"), 200), "a/b": rng.choice(list("xyz"), 200)})
    fitted = tabemb.EmbeddingRegressor(**small | {"max_epochs": 2}).fit(X, rng.normal(size=200))
    tabemb.save(fitted, folder / "m.tabemb")
    return folder / "m.tabemb"


def test_an_atlas_of_a_saved_model_is_written(folder, model, capsys):
    main(["atlas", "m.tabemb", "a/b"])
    assert capsys.readouterr().err == "page: a_b.html\n"
    assert "<html" in (folder / "a_b.html").read_text()
    main(["atlas", "m.tabemb", "city", "--output", "page.html"])
    assert (folder / "page.html").exists()
    unknown = "error: space: 'm.tabemb' has no space 'citi' (did you mean 'city'?).\n"
    assert errors(capsys, "atlas", "m.tabemb", "citi") == (1, unknown)
    several = "error: space must name one of 'city', 'a/b'; got none.\n"
    assert errors(capsys, "atlas", "m.tabemb") == (2, several)
    code, message = errors(capsys, "atlas", "sales.parquet", "city")
    assert (code, message.count("\n")) == (1, 1)


def page_data(path):
    text = path.read_text()
    return json.loads(text.partition('id="data">')[2].partition("</script>")[0])


@pytest.mark.parametrize("n_classes", [0, 2, 3])
def test_an_atlas_shows_effects_and_mean_answers(folder, small, n_classes):
    rng = np.random.default_rng(0)
    city, other = rng.integers(0, 5, (2, 600))
    X = pd.DataFrame({"city": city * 10, "other": other * 10})
    kind = tabemb.EmbeddingClassifier if n_classes else tabemb.EmbeddingRegressor
    y = (city + 0.1 * rng.normal(size=600)) if not n_classes else np.minimum(city, n_classes - 1)
    tables = {"place": tabemb.Table(["city", "other"])}
    roles = dict.fromkeys(X, "categorical")
    model = kind(**small | {"max_epochs": 1}, tables=tables, roles=roles).fit(X, y)
    tabemb.save(model, folder / "places.tabemb")
    main(["atlas", "places.tabemb", "place"])
    data = page_data(folder / "place.html")
    frame = model.effects_frame("city")
    shown = {column["name"]: column["values"] for column in data["columns"]}
    whose = ", term city" if "effect, term city" in shown else ""
    if n_classes == 3:
        frame, whose = frame[frame["class"] == 2], next(n[6:] for n in shown if n.endswith("class 2"))
    by_level = frame.set_index("level")
    for name, column in (("effect", "effect"), ("mean answer", "mean")):
        values = [by_level.loc[int(text), column] for text in data["texts"]]
        assert shown[f"{name}{whose}"] == pytest.approx(values)
    assert data["color"] == data["columns"][0]["name"]
    assert data["color"].startswith("effect")


def test_a_saved_model_and_its_vectors_are_exported(folder, model, capsys):
    main(["export", "m.tabemb", "city.parquet", "city"])
    assert capsys.readouterr().err == "written: city.parquet\n"
    vectors = tabemb.EmbeddingSpace.from_parquet(folder / "city.parquet")
    np.testing.assert_array_equal(vectors.vectors, tabemb.load(model).spaces_["city"].vectors)
    several = "error: space must name one of 'city', 'a/b'; got none.\n"
    assert errors(capsys, "export", "m.tabemb", "x.parquet") == (2, several)


def test_vectors_are_exported_into_duckdb(folder, model):
    duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed: pip install tabemb[duckdb]")
    main(["export", "m.tabemb", "spaces.duckdb", "a/b"])
    with duckdb.connect(str(folder / "spaces.duckdb")) as connection:
        assert connection.sql('SELECT count(*) FROM "a/b"').fetchall() == [(3,)]


def test_a_saved_model_is_exported_as_onnx(folder, model):
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: tabemb[onnx]")
    pytest.importorskip("onnx", reason="onnx is not installed: pip install tabemb[onnx]")
    main(["export", "m.tabemb", "m.onnx"])
    session = runtime.InferenceSession(str(folder / "m.onnx"))
    assert [one.name for one in session.get_inputs()] == ["city", "a/b"]

from __future__ import annotations

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import MissingConfigException
from omegaconf import OmegaConf

from tabemb.compare import (
    MODELS,
    Dataset,
    ModelSpec,
    choose_protocol,
    conf_folder,
    config_options,
    dataset_options,
    load_dataset,
    themes,
)
from tabemb.compare.command import RUN_OPTIONS, run_config
from tabemb.compare.models import find_model


def table(**columns):
    return Dataset(
        "two rows", pd.DataFrame({"a": [1, 2]}), pd.Series([0.5, 1.5]), "regression", **columns
    )


def composed(*overrides):
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return compose("compare", list(overrides))


@pytest.mark.parametrize("name", config_options("dataset"))
def test_every_data_set_composes_and_only_holds_arguments(name):
    needed = {
        "file": ["dataset.path=t.csv", "dataset.target=y"],
        "openml": ["dataset.openml=1590", "dataset.target=y"],
    }
    config = OmegaConf.to_container(
        composed(f"dataset={name}", *needed.get(name, [])).dataset, resolve=True
    )
    assert set(config) <= {*load_dataset.__kwdefaults__, "name", "target"}
    assert {"name", "target"} <= set(config)
    assert config["name"] or name == "file"


def test_a_data_set_is_described_by_its_name():
    assert dataset_options("fertility")["time"] == "year"
    with pytest.raises(
        ValueError, match=r"no dataset 'fertilty' in conf/dataset \(did you mean 'fertil"
    ):
        dataset_options("fertilty")


def test_every_model_has_a_file_and_is_registered():
    assert config_options("model") == sorted(MODELS)
    for name in MODELS:
        (spec,) = composed(f"model={name}").models.values()
        assert find_model(ModelSpec(**spec).name) is MODELS[name]


@pytest.mark.parametrize("name", config_options("protocol"))
def test_every_protocol_composes(name):
    config = composed(f"protocol={name}").protocol
    assert config.kind == name
    assert choose_protocol(table(), dict(config)).kind == ("holdout" if name == "auto" else name)


@pytest.mark.parametrize(
    ("columns", "label"),
    [
        (("fold", "time", "groups"), "published splits"),
        (("time", "groups"), "newest 25 %"),
        (("groups",), "5-fold by group"),
        ((), "holdout of 25 %"),
    ],
)
def test_auto_is_the_protocol_that_the_data_set_is_made_for(columns, label):
    options = {"kind": "auto", "test_size": 0.25, "seed": 0}
    assert choose_protocol(table(**dict.fromkeys(columns, pd.Series([1, 2]))), options).label == label


@pytest.mark.parametrize("name", config_options("experiment"))
def test_every_experiment_composes_and_opens_with_its_command(name):
    config = composed(f"experiment={name}")
    assert set(RUN_OPTIONS) <= set(config)
    text = (conf_folder() / "experiment" / f"{name}.yaml").read_text().splitlines()
    assert text[0] == "# @package _global_"
    assert text[1].startswith("# python -m experiments.compare")
    assert f"experiment={name}" in text[1]


def test_models_are_a_list_on_the_command_line_and_take_parameters():
    config = composed(
        "model=[svm,dummy]", "+models.svm.params.C=3", "+models.mine={name:svm,params:{C:4}}"
    )
    assert [ModelSpec(**spec).label for spec in config.models.values()] == [
        "svm(C=3)",
        "dummy",
        "svm(C=4)",
    ]


def test_a_wrong_name_lists_what_there_is():
    with pytest.raises(MissingConfigException, match=r"(?s)Could not find 'dataset/adlt'.*adult"):
        composed("dataset=adlt")


def test_a_sweep_of_the_suite_names_data_sets_that_exist():
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = compose("compare", ["experiment=suite"], return_hydra_config=True)
    assert set(config.hydra.sweeper.params.dataset.split(",")) <= set(config_options("dataset"))


def test_the_command_writes_report_and_resolved_config(tmp_path, capsys, monkeypatch):
    overrides = (
        "model=[lightgbm,dummy]",
        f"results={tmp_path}",
        "protocol=holdout",
        "isolate=false",
        "progress=false",
        "n_jobs=1",
    )
    page = run_config(composed(*overrides), tmp_path / "run")
    assert page == tmp_path / "run" / "report.html"
    assert OmegaConf.load(tmp_path / "run" / "config.yaml").dataset.name == "fertility"
    assert len(list((tmp_path / "cells").glob("*.parquet"))) == 2
    assert "lightgbm is better than dummy" in capsys.readouterr().out
    monkeypatch.setattr(themes, "_svg", lambda *args: "")  # the first report has drawings
    config = composed(*overrides, "scope=all", "model=[dummy,linear]")
    assert "linear" in run_config(config, tmp_path / "again").read_text()
    with pytest.raises(ValueError, match="scope must be 'dataset' or 'all'; got 'al'"):
        run_config(composed(*overrides, "scope=al"), tmp_path / "run")

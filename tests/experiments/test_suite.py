import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir

from experiments import ablation, suite
from experiments.shared.published import load_named, measure
from experiments.shared.settings import CONFIG_FOLDER, RESULTS
from tabemb import EmbeddingClassifier
from tabemb.fitting.settings import PRESETS, check_parameters


def cells(**errors):
    """Return one row per model with its error on one fold of a made-up data set."""
    rows = [("t", 1, 0, model, 1.0, 2.0, 0.1, error) for model, error in errors.items()]
    names = [
        "dataset",
        "fold",
        "seed",
        "model",
        "fit_seconds",
        "fit_cpu_seconds",
        "predict_seconds",
        "error",
    ]
    return pd.DataFrame(rows, columns=names)


@pytest.fixture
def table():
    stored = cells(trees=0.5, nets=0.1).drop(columns="seed").assign(fit_seconds=4.0)
    ours = pd.concat([cells(ours=0.2), cells(ours=0.4).assign(seed=1), cells(trees=0.6)])
    return suite.beside_peers(ours, "ours", stored)


def test_ours_is_the_mean_over_seeds_and_a_peer_fitted_now_replaces_the_stored_one(table):
    ratios = table.set_index("peer")
    assert ratios.loc["trees", "error_ratio"] == pytest.approx(0.3 / 0.6)
    assert ratios.loc["nets", "error_ratio"] == pytest.approx(0.3 / 0.1)
    assert ratios["fit_seconds_ratio"].to_dict() == {"trees": 1.0, "nets": 0.25}


def test_geometric_means_by_peer_and_against_the_best_one(table):
    other = table.assign(dataset="u", error_ratio=table["error_ratio"] * 4)
    means = suite.geometric_means(pd.concat([table, other]))
    assert means["error_ratio"].to_dict() == pytest.approx(
        {"trees": 1.0, "nets": 6.0, "best of them": 6.0}
    )
    assert means["n_tables"].to_dict() == {"trees": 2, "nets": 2, "best of them": 2}


def test_the_tables_are_printed(table, capsys):
    suite.show(table)
    shown = capsys.readouterr().out
    for expected in ("ours", "trees", "0.3000", "0.500", "best of them"):
        assert expected in shown


def test_stored_peers_are_of_the_tables_of_the_suite():
    stored = pd.read_csv(RESULTS / "peers.csv")
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        assert set(stored["dataset"]) == set(compose("suite").datasets)
    assert not stored.duplicated(["dataset", "fold", "model"]).any()
    assert np.isfinite(stored["error"]).all()


def test_every_variant_of_the_ablation_is_a_setting_of_the_estimators():
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        variants = compose("ablation").variants
    for params in (*variants.values(), *PRESETS.values()):
        check_parameters(EmbeddingClassifier(**params), EmbeddingClassifier.rules)


def test_variants_are_paired_with_the_default_by_table_and_seed(capsys):
    base = pd.concat([cells(default=0.2), cells(default=0.4).assign(seed=1)])
    worse = base.assign(model="m(a=1)", error=base["error"] * [2, 8], fit_seconds=0.5)
    ratios = ablation.against_default(pd.concat([base, worse]), "default", {"m(a=1)": "a left out"})
    assert ratios[["variant", "error", "seconds", "t"]].values.tolist() == [
        ["a left out", *map(pytest.approx, (4, 0.5, 4))]
    ]
    assert ratios.loc[0, "low"] < 4 < ratios.loc[0, "high"]
    ablation.show(ratios)
    assert "a left out" in capsys.readouterr().out


def test_without_data_the_suite_says_what_it_needs(monkeypatch):
    monkeypatch.delenv("TABEMB_DATA", raising=False)
    with pytest.raises(SystemExit, match="TABEMB_DATA must name the folder"):
        measure([], {"datasets": ["adult"]})
    with pytest.raises(SystemExit, match="error: dataset: there is no dataset 'nope' in conf/dataset"):
        load_named("nope")

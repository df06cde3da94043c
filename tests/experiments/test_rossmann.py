import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf

from experiments.rossmann.comparison import PAPER, compare, show
from experiments.rossmann.models import MODELS
from experiments.rossmann.nets import fit_net
from experiments.rossmann.problem import SalesProblem
from experiments.rossmann.vectors import (
    category_biases,
    crossed,
    first_layer_weights,
    input_vectors,
)
from experiments.shared.sales import INPUTS
from experiments.shared.settings import CONFIG_FOLDER


def made_up_sales(n_days=500):
    """Return 500 days of eight stores: store effects, a weekly pattern, a promotion; oldest first."""
    rng = np.random.default_rng(0)
    days = pd.date_range("2023-01-01", periods=n_days)
    rows = pd.MultiIndex.from_product([days, range(1, 9)], names=["at", "store"]).to_frame(index=False)
    promo = rng.integers(0, 2, len(rows))
    at = rows["at"].dt
    level = 1000.0 * rows["store"] * (1 + 0.3 * promo) * (1 + 0.05 * at.day_of_week)
    columns = [
        rows["store"],
        at.day_of_week + 1,
        promo,
        at.year,
        at.month,
        at.day,
        rows["store"].map(lambda s: "AB"[s % 2]),
    ]
    return pd.DataFrame(
        {**dict(zip(INPUTS, columns)), "sales": level * rng.lognormal(sigma=0.02, size=len(rows))}
    )


@pytest.fixture
def settings(tmp_path):
    config = OmegaConf.load(CONFIG_FOLDER / "rossmann.yaml")
    config.pop("defaults"), config.pop("hydra")
    quick = {
        "folder": str(tmp_path),
        "n_rows": 1500,
        "n_nets": 1,
        "n_trees": 5,
        "n_rounds": 30,
        "n_jobs": 1,
    }
    quick["net"] = {"hidden": [32], "batch_size": 64, "precision": "float32", "learning_rate": 0.01}
    quick["recipes"] = {"shuffled": {"max_epochs": 4}, "time": {"max_epochs": 4}}
    return OmegaConf.to_container(OmegaConf.merge(config, quick))


@pytest.mark.filterwarnings("ignore:X has many categories that training did not have")
def test_every_cell_is_run_once_and_kept(settings, monkeypatch, capsys):
    table = compare(made_up_sales(), {**settings, "splits": ["time"]})
    assert len(table) == 2 * len(MODELS)
    assert table["mape"].between(0.005, 0.6).all()
    assert table.query("model == 'neural net' and embeddings")["mape"].item() < 0.2
    for model in MODELS:
        monkeypatch.setitem(MODELS, model, lambda *args: pytest.fail("run again"))
    again = compare(made_up_sales(), {**settings, "splits": ["time"]})
    pd.testing.assert_frame_equal(again, table)
    show(table)
    assert ".116" in capsys.readouterr().out


def test_the_split_in_time_tests_the_newest_and_draws_from_the_rest(settings):
    sales = made_up_sales()
    problem = SalesProblem.draw(sales, "time", settings)
    assert problem.test.index.tolist() == list(range(int(0.9 * len(sales)), len(sales)))
    assert problem.train.index.max() < problem.test.index.min()
    assert len(problem.train) == 1500
    shuffled = SalesProblem.draw(sales, "shuffled", settings)
    assert not set(shuffled.train.index) & set(shuffled.test.index)


def test_the_vectors_are_as_far_apart_as_the_first_layer_sees_them(settings):
    problem = SalesProblem.draw(made_up_sales(), "time", settings)
    net = fit_net(problem, seed=0)
    rows = problem.train.iloc[:2].copy()
    rows["store"] = [3, 7]
    for name in INPUTS[1:]:
        rows[name] = rows[name].iloc[0]
    vectors, weight = input_vectors(net, crossed(rows, {})), first_layer_weights(net)["store"]
    space, biases = net.spaces_.raw["store"], category_biases(net)["store"]
    expected = np.hypot(np.linalg.norm(weight @ (space[3] - space[7])), biases[2] - biases[6])
    assert np.linalg.norm(vectors[0] - vectors[1]) == pytest.approx(expected, rel=1e-4)


def test_crosses_name_their_combinations():
    rows = made_up_sales(1)
    assert crossed(rows, {"pair": ["state", "year"]})["pair"].tolist()[:2] == ["B|2023", "A|2023"]


def test_the_papers_table():
    assert PAPER["shuffled"]["boosted trees"] == (0.122, 0.071)
    assert PAPER["time"]["nearest neighbours"] == (0.290, 0.116)

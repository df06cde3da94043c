import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from experiments import demo
from experiments.shared.settings import CONFIG_FOLDER
from tabemb import EmbeddingSpace

pytest.importorskip("statsmodels", reason="the demo's data comes with statsmodels, of the extra 'demo'")
SUBSET = [
    "Austria",
    "Brazil",
    "Canada",
    "Chad",
    "Germany",
    "India",
    "Japan",
    "Kenya",
    "Mali",
    "Niger",
    "Peru",
    "Spain",
]


@pytest.fixture
def few_births(monkeypatch):
    births = demo.read_births()
    few = births[births["country"].isin(SUBSET)]
    monkeypatch.setattr(demo, "read_births", lambda: few)
    return few


def settings(folder, *overrides):
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        config = compose("demo", overrides=[f"folder={folder}", *overrides])
    return {**OmegaConf.to_container(config), "folder": folder}


def test_the_demo_writes_what_it_promises(few_births, tmp_path, capsys):
    small = [
        "+params.max_epochs=2",
        "+params.hidden=[16]",
        "isolate=false",
        "progress=false",
        "n_nearest=3",
    ]
    page = demo.demo(**settings(tmp_path, "models=[embedding,lightgbm]", *small))
    printed = capsys.readouterr().out
    assert "The years up to 2004 are training rows" in printed
    assert "lightgbm" in printed
    assert "Without a model" in printed
    assert "Nearest countries" in printed

    space = EmbeddingSpace.from_parquet(tmp_path / "country_vectors.parquet")
    assert sorted(space) == SUBSET
    assert space.name == "country"
    assert space.counts.sum() <= 12 * 35
    table = pd.read_csv(tmp_path / "country_vectors.csv", index_col="country")
    np.testing.assert_allclose(table.loc["Chad"], space["Chad"], rtol=1e-6)
    assert list(table.columns) == [f"country_{i}" for i in range(space.vectors.shape[1])]

    assert page == tmp_path / "report.html"
    text = page.read_text(encoding="utf-8")
    for heading in ("The question", "Nearest countries", "Map of the countries"):
        assert f"<h2>{heading}</h2>" in text
    assert "http" not in text  # nothing to load from elsewhere
    for name in ("map.png", "nearest.png", "results.parquet"):
        assert (tmp_path / name).stat().st_size > 1000
    assert set(pd.read_parquet(tmp_path / "results.parquet")["status"]) == {"ok"}


def test_inputs_are_what_was_known_five_years_before():
    years = range(1960, 1975)
    births = pd.DataFrame(
        {"country": "Peru", "year": years, "births": [float(year - 1960) ** 2 for year in years]}
    )
    dataset = demo.forecasts(births)
    assert list(dataset.X["year"]) == [1970, 1971, 1972, 1973, 1974]
    last = dataset.X.iloc[-1]
    assert last[demo.LEVEL] == 9**2
    assert last[demo.TREND] == 9**2 - 4**2
    assert dataset.y.iloc[-1] == 14**2


def test_naive_rules_have_known_errors():
    births = pd.DataFrame({"country": "Peru", "year": range(1960, 1975), "births": np.arange(15.0)})
    dataset = demo.forecasts(births)  # five years change births by five, always
    assert "has rmse 5.0000" in demo.naive_sentence(dataset, np.arange(5))
    assert "once more 0.0000" in demo.naive_sentence(dataset, np.arange(5))


def test_meaning_compares_near_curves_with_all_others():
    births = pd.DataFrame({"country": ["a", "b", "c"], "year": 2000, "births": [1.0, 2.0, 7.0]})
    space = EmbeddingSpace([[1, 0], [1, 0.1], [0.9, 1]], ["a", "b", "c"])
    # nearest: b of a, a of b, b of c, which differ by 1, 1 and 5; all pairs by 1, 5 and 6
    sentence = demo.meaning_sentence(space, births, n_nearest=1)
    assert "1 nearest by 2.33 on average" in sentence
    assert "any other country by 4.00" in sentence


def test_averages_over_countries_are_left_out():
    countries = set(demo.read_births()["country"])
    assert len(countries) > 200
    assert not any("members" in country or "small states" in country for country in countries)


def test_an_unknown_country_is_refused_before_anything_is_fitted(few_births, tmp_path):
    with pytest.raises(ValueError, match="countries: 'Germny' is not in the data, which have Germany"):
        demo.demo(**settings(tmp_path, "countries=[Germny]"))
    assert not list(tmp_path.iterdir())

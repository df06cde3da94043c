"""Measure the quality of a model's vectors: with another seed, with other rows, and by known facts.

`python -m experiments.vectors` fits each data set with two seeds and on two disjoint halves of its rows,
and compares the five nearest neighbours of each category. It also fits data with planted traits of each
category, and compares distances and neighbours with facts that no model has seen. The models are stored
in `outputs/vectors`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pandas as pd
from omegaconf import DictConfig
from rich.table import Table as TextTable
from scipy.spatial.distance import pdist
from scipy.stats import rankdata, spearmanr
from sklearn.linear_model import LinearRegression

import tabemb
from experiments.shared.settings import CONFIG_FOLDER, data_folder, read_settings
from experiments.shared.tables import TableProblem, find_problem
from tabemb import EmbeddingClassifier, EmbeddingRegressor, EmbeddingSpace
from tabemb.compare.table import wide_console
from tabemb.spaces.quality import stability

COLUMNS = {
    "amazon_employee": ("RESOURCE", "MGR_ID", "ROLE_TITLE"),
    "employee_salaries": ("Division", "Employee Position Title", "Department Name"),
    "shelter_animals": ("Breed", "Color"),
    "kc_house": ("zipcode",),
}
"""The columns whose vectors are compared."""
K = 5
N_BINS = 5


@hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name="vectors")
def main(config: DictConfig) -> None:
    settings = read_settings(config)
    data_folder()
    show("Five nearest that two models share", compare(settings))
    show("Facts that no model has seen", pd.DataFrame(facts(settings)))
    show("Planted traits: R2 of a linear map from the vectors", pd.DataFrame(planted(settings)))


def compare(settings: Mapping[str, Any]) -> pd.DataFrame:
    """Return for each column the overlaps of seeds and of halves, expected, and by reliability."""
    rows = []
    for data in settings["data"]:
        problem = find_problem(data, settings["n_rows"], 1)
        seeds = [fitted(problem, settings, seed, None) for seed in settings["seeds"]]
        halves = [fitted(problem, settings, half + 2, half) for half in (0, 1)]
        for column in COLUMNS[data]:
            first, second = (frequent(m.spaces_[column], settings["min_count"]) for m in seeds)
            raw = [frequent(m.spaces_.raw[column], settings["min_count"]) for m in seeds]
            sides = [m.spaces_[column] for m in halves]
            shared = stability([first, second], K)
            rows.append(
                {
                    "column": f"{data} {column}",
                    "levels": len(first),
                    "chance": shared.chance,
                    "raw, seeds": stability(raw, K).overlap,
                    "seeds": shared.overlap,
                    "halves": stability([side.subset(common(first, *sides)) for side in sides], K)[0],
                    "expected": seeds[0].spaces_[column].overlap,
                    "by reliability": by_reliability(seeds[0].spaces_[column], *sides),
                }
            )
    return pd.DataFrame(rows)


def fitted(problem: TableProblem, settings: Mapping[str, Any], seed: int, half: int | None) -> Any:
    """Return the default model of all rows, or of one half of them, which is stored in a file."""
    rows = "all" if half is None else f"half{half}"
    path = Path(settings["folder"]) / f"{problem.name}-{len(problem.X)}-{rows}-{seed}.tabemb"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        chosen = np.random.default_rng(7).integers(0, 2, len(problem.X)) == half
        chosen |= half is None
        make: Any = EmbeddingRegressor if problem.is_regression else EmbeddingClassifier
        roles: dict[str | int, str] = dict.fromkeys(problem.columns.categorical, "categorical")
        model = make(roles=roles, random_state=seed, n_jobs=settings["n_jobs"])
        tabemb.save(model.fit(problem.X[chosen], problem.y[chosen]), path)
    return tabemb.load(path)


def frequent(space: EmbeddingSpace, min_count: float) -> EmbeddingSpace:
    """Return the categories with at least `min_count` rows."""
    assert space.counts is not None
    return space.subset(space.categories[space.counts >= min_count])


def common(*spaces: EmbeddingSpace) -> list[Any]:
    """Return the categories that all spaces have."""
    return [category for category in spaces[0] if all(category in space for space in spaces)]


def by_reliability(whole: EmbeddingSpace, *halves: EmbeddingSpace) -> str:
    """Return the overlap of the halves by fifths of the categories, the least reliable first."""
    shared = common(whole, *halves)
    assert whole.reliability is not None
    reliability = whole.reliability[whole.positions(shared)]
    nearest = [
        side.subset(shared).neighbors(k=K).groupby("category", sort=False)["neighbor"].agg(set)
        for side in halves
    ]
    overlaps = np.array([len(a & b) / K for a, b in zip(*(side.loc[shared] for side in nearest))])
    fifth = (rankdata(reliability, method="ordinal") - 1) * N_BINS // len(shared)
    return " ".join(f"{overlaps[fifth == i].mean():.2f}" for i in range(N_BINS))


def facts(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return how well the vectors agree with geography and with names."""
    rows = []
    for data in settings["data"]:
        problem = find_problem(data, settings["n_rows"], 1)
        for seed in settings["seeds"]:
            spaces = fitted(problem, settings, seed, None).spaces_
            for kind, space_of in (("responses", spaces), ("raw", spaces.raw)):
                row = {"data": data, "seed": seed, "vectors": kind}
                if data == "kc_house":
                    rows.append(row | geography(space_of["zipcode"], problem.X))
                if data == "shelter_animals":
                    rows.append(row | names(frequent(space_of["Breed"], settings["min_count"])))
    return rows


def geography(zipcodes: EmbeddingSpace, X: pd.DataFrame) -> dict[str, Any]:
    """Return Spearman's correlation of the distances of zip codes in space and on the map."""
    places = X.groupby(X["zipcode"].astype(str))[["lat", "long"]].mean()
    on_map = places.loc[[str(category) for category in zipcodes]].to_numpy()
    on_map = on_map * [1, np.cos(np.radians(on_map[:, 0].mean()))]
    distances = pdist(zipcodes.unit_vectors)
    return {"fact": "distance on the map (Spearman)", "value": spearmanr(distances, pdist(on_map))[0]}


def names(breeds: EmbeddingSpace) -> dict[str, Any]:
    """Return the AUC with which distance separates breeds that share a word from other pairs."""
    words = [set(str(breed).replace("/", " ").split()) - {"Mix"} for breed in breeds]
    near = np.array([bool(a & b) for i, a in enumerate(words) for b in words[i + 1 :]])
    ranks = rankdata(-pdist(breeds.unit_vectors))
    n_near = near.sum()
    auc = (ranks[near].sum() - n_near * (n_near + 1) / 2) / (n_near * (len(near) - n_near))
    return {"fact": "breeds that share a word (AUC)", "value": auc}


def planted(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return how well two traits of each category are recovered: its effect, its slope on a number."""
    rows = []
    for kind in settings["planted"]:
        X, y, effect, slope = two_traits(kind, n_levels=100, n_rows=200)
        make: Any = EmbeddingRegressor if kind == "regression" else EmbeddingClassifier
        model = make(random_state=settings["seeds"][0], n_jobs=settings["n_jobs"]).fit(X, y)
        for vectors, spaces in (("responses", model.spaces_), ("raw", model.spaces_.raw)):
            level = spaces["level"].categories.to_numpy().astype(int)
            known = {"effect": effect[level], "slope": slope[level]}
            inputs = spaces["level"].vectors
            rows.append(
                {"target": kind, "vectors": vectors, "width": inputs.shape[1]}
                | {
                    trait: LinearRegression().fit(inputs, v).score(inputs, v)
                    for trait, v in known.items()
                }
            )
    return rows


def two_traits(
    kind: str, n_levels: int, n_rows: int
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, np.ndarray]:
    """Return rows whose target depends on the effect of a level and its slope on a number."""
    rng = np.random.default_rng(1)
    effect, slope = rng.normal(size=(2, n_levels))
    level = rng.integers(0, n_levels, n_levels * n_rows)
    X = pd.DataFrame({"level": level.astype(str), "x": rng.normal(size=len(level))})
    signal = effect[level] + slope[level] * X["x"].to_numpy()
    if kind == "regression":
        return X, signal + 0.5 * rng.normal(size=len(X)), effect, slope
    return X, (rng.random(len(X)) < 1 / (1 + np.exp(-1.5 * signal))).astype(int), effect, slope


def show(title: str, table: pd.DataFrame) -> None:
    """Print a table."""
    text = TextTable(title=title, title_justify="left")
    for name in table:
        text.add_column(str(name), justify="left" if table[name].dtype == object else "right")
    for row in table.itertuples(index=False):
        text.add_row(*(f"{value:.3f}" if isinstance(value, float) else str(value) for value in row))
    wide_console().print(text)


if __name__ == "__main__":
    main()

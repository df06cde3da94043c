"""Draw the vectors of Rossmann's states and stores (Guo & Berkhahn 2016, figures 3 to 5).

`python -m experiments.rossmann_map` draws the states' vectors next to the map of Germany, distances
between 10,000 pairs of stores against the difference of their mean sales, and the stores' first
principal component against their sales. It keeps network and picture in `outputs/rossmann_map`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from omegaconf import DictConfig
from rich.console import Console
from scipy.spatial import procrustes
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr

import tabemb
from experiments.shared.sales import INPUTS, read_sales
from experiments.shared.settings import CONFIG_FOLDER, read_settings
from tabemb import EmbeddingRegressor, EmbeddingSpace
from tabemb.spaces.maps import place_labels

STATES = {
    # name, and degrees north and east of the middle of the state
    "BE": ("Berlin", 52.5, 13.4),
    "BW": ("Baden-Württemberg", 48.6, 9.1),
    "BY": ("Bavaria", 49.0, 11.5),
    "HB,NI": ("Lower Saxony and Bremen", 52.8, 9.1),
    "HE": ("Hesse", 50.6, 9.0),
    "HH": ("Hamburg", 53.6, 10.0),
    "NW": ("North Rhine-Westphalia", 51.5, 7.6),
    "RP": ("Rhineland-Palatinate", 49.9, 7.4),
    "SH": ("Schleswig-Holstein", 54.2, 9.8),
    "SN": ("Saxony", 51.1, 13.3),
    "ST": ("Saxony-Anhalt", 52.0, 11.7),
    "TH": ("Thuringia", 50.9, 11.0),
}
EAST = ("BE", "SN", "ST", "TH")
"""States that were East Germany before 1990; of Berlin, only half was."""
AREA = 50.0
WEST_COLOR, EAST_COLOR = "#0072B2", "#D55E00"


@hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name="rossmann_map")
def main(config: DictConfig) -> None:
    settings, sales = read_settings(config), read_sales()
    net = fitted_net(sales, settings)
    stores, states = net.spaces_["store"], net.spaces_["state"]
    by_store = np.log(sales["sales"]).groupby(sales["store"]).mean()
    pairs = store_pairs(stores, by_store, settings["n_pairs"], settings["seed"])
    first = first_component(stores, by_store)
    path = Path(settings["folder"]) / "rossmann_map.png"
    draw(states, pairs, first).savefig(path)
    show(states, pairs, first, path)


def fitted_net(sales: pd.DataFrame, settings: Mapping[str, Any]) -> EmbeddingRegressor:
    """Return the network on the paper's seven inputs, which is fitted once and stored."""
    path = Path(settings["folder"]) / "net.tabemb"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = sales.sample(min(settings["n_rows"], len(sales)), random_state=settings["seed"])
        roles: dict[str | int, str] = dict.fromkeys(INPUTS, "categorical")
        net = EmbeddingRegressor(roles=roles, random_state=settings["seed"], **settings["net"])
        tabemb.save(net.fit(rows[INPUTS], rows["sales"]), path)
    fitted: EmbeddingRegressor = tabemb.load(path)
    return fitted


def store_pairs(
    stores: EmbeddingSpace, by_store: pd.Series[float], n_pairs: int, seed: int
) -> pd.DataFrame:
    """Return distances of vectors and differences of mean log sales for random pairs of stores."""
    a, b = np.random.default_rng(seed).integers(0, len(stores), (2, n_pairs))
    a, b = a[a != b], b[a != b]
    sales = by_store[stores.categories].to_numpy()
    distance = np.linalg.norm(stores.vectors[a] - stores.vectors[b], axis=1)
    return pd.DataFrame({"distance": distance, "difference": np.abs(sales[a] - sales[b])})


def first_component(stores: EmbeddingSpace, by_store: pd.Series[float]) -> pd.DataFrame:
    """Return the stores' first principal component, signed to rise with sales, and mean log sales."""
    sales = by_store[stores.categories].to_numpy()
    component = stores.coordinates("pca", metric="euclidean")["x"].to_numpy()
    component = component * np.sign(np.corrcoef(component, sales)[0, 1])
    return pd.DataFrame({"component": component, "sales": sales})


def geography(states: EmbeddingSpace) -> np.ndarray:
    """Return kilometres east and north of the middle of Germany, (n_states, 2)."""
    degrees = np.array([STATES[state][1:] for state in states.categories])
    east = (degrees[:, 1] - 10.3) * 111 * np.cos(np.radians(51))
    return np.column_stack([east, (degrees[:, 0] - 51.2) * 111])


def agreement(states: EmbeddingSpace, n_draws: int = 10_000) -> tuple[float, float]:
    """Return the rank correlation of the states' distances in space and on the map, and its p-value.

    The p-value is the share of ``n_draws`` permutations of the states that correlate as much.
    """
    rng, places = np.random.default_rng(0), geography(states)
    in_space = pdist(states.vectors, "cosine")
    correlation = spearmanr(in_space, pdist(places)).statistic
    drawn = [spearmanr(in_space, pdist(rng.permutation(places))).statistic for _ in range(n_draws)]
    return float(correlation), float(np.mean(np.array(drawn) >= correlation))


def draw(states: EmbeddingSpace, pairs: pd.DataFrame, first: pd.DataFrame) -> Figure:
    """Draw the map of Germany, the states' vectors, distances of stores, and their first component."""
    figure = Figure(figsize=(12, 9), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    (earth, space), (distances, component) = figure.subplots(2, 2)
    maps = (
        (earth, geography(states), "on the map"),
        (space, towards_the_map(states), "their vectors, rotated towards the map"),
    )
    for ax, places, title in maps:
        _states(ax, states, places, f"12 states of Germany: {title}")
    _cloud(distances, pairs, "distance of two stores' vectors", "difference of their mean log sales")
    distances.set_title(f"{len(pairs):,} pairs of stores", loc="left", fontweight="bold")
    _cloud(component, first, "first principal component of the stores' vectors", "mean log sales")
    component.set_title(f"{len(first):,} stores", loc="left", fontweight="bold")
    # labels are placed in pixels, so the layout must be final before
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for ax, places, _ in maps:
        _label(ax, states, places)
    earth.legend(frameon=False, loc="upper right")
    return figure


def towards_the_map(states: EmbeddingSpace) -> np.ndarray:
    """Return the states' two main directions, moved as near to the map as possible: (n_states, 2)."""
    plane = states.coordinates("pca").to_numpy()
    moved: np.ndarray = procrustes(geography(states), plane)[1]
    return moved


def _states(ax: Axes, states: EmbeddingSpace, places: np.ndarray, title: str) -> None:
    is_east = np.isin(states.categories, EAST)
    for name, color, rows in (("west", WEST_COLOR, ~is_east), ("east", EAST_COLOR, is_east)):
        ax.scatter(places[rows, 0], places[rows, 1], color=color, s=AREA, label=name)
    ax.set_title(title, loc="left", fontweight="bold")
    ax.set(xticks=[], yticks=[])
    ax.margins(0.25)
    ax.set_aspect("equal", adjustable="datalim")
    ax.spines[:].set_color("#dddddd")


def _label(ax: Axes, states: EmbeddingSpace, places: np.ndarray) -> None:
    names = pd.Series([STATES[state][0] for state in states.categories])
    place_labels(ax, places, np.full(len(places), AREA), names, range(len(places)))


def _cloud(ax: Axes, table: pd.DataFrame, x_label: str, y_label: str) -> None:
    x, y = table.iloc[:, 0], table.iloc[:, 1]
    ax.scatter(x, y, s=5, alpha=0.25, linewidths=0, color=WEST_COLOR, rasterized=True)
    ax.set(xlabel=x_label, ylabel=y_label)
    ax.spines[["top", "right"]].set_visible(False)


def show(states: EmbeddingSpace, pairs: pd.DataFrame, first: pd.DataFrame, path: Path) -> None:
    """Print the correlations that the picture shows."""
    correlation, p_value = agreement(states)
    of_pairs = spearmanr(*pairs.T.to_numpy()).statistic
    of_first = np.corrcoef(*first.T.to_numpy())[0, 1]
    lines = (
        "states: distances in space and on the map, "
        f"rank correlation {correlation:.2f} (permutation p-value: {p_value:.4f})",
        f"pairs of stores: distance and difference of sales, rank correlation {of_pairs:.2f}",
        f"stores: first component and sales, correlation {of_first:.2f}",
        f"picture: {path}",
    )
    Console(highlight=False, soft_wrap=True).print("\n".join(lines))


if __name__ == "__main__":
    main()

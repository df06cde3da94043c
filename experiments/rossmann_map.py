"""What the vectors of Rossmann's states and stores know (Guo & Berkhahn 2016, figures 3 to 5).

`python -m experiments.rossmann_map` draws the states' vectors beside the map of Germany, distances of 10,000 pairs of
stores against the difference of their mean sales, and the stores' first principal component against their sales.
The net and the picture are kept under `outputs/rossmann_map`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from scipy.spatial import procrustes
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr

import tabemb
from experiments.rossmann import INPUTS, read_sales
from tabemb import EmbeddingRegressor, EmbeddingSpace
from tabemb.spaces.maps import place_labels

CONFIG_FOLDER = Path(__file__).resolve().parents[1] / "conf"
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
"""East Germany before 1990; of Berlin, a half."""
AREA = 50.0
WEST_COLOR, EAST_COLOR = "#0072B2", "#D55E00"


@hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name="rossmann_map")
def main(config: DictConfig) -> None:
    settings: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    path = Path(os.environ.get("TABEMB_DATA") or ".") / "rossmann.parquet"
    if not os.environ.get("TABEMB_DATA") or not path.exists():
        sys.exit(
            "error: TABEMB_DATA must name a folder that holds rossmann.parquet (Kaggle: Rossmann Store Sales)"
        )
    sales = read_sales(path)
    net = find_net(sales, settings)
    stores, states = net.spaces_["store"], net.spaces_["state"]
    by_store = np.log(sales["sales"]).groupby(sales["store"]).mean()
    pairs = store_pairs(stores, by_store, settings["n_pairs"], settings["seed"])
    first = first_component(stores, by_store)
    figure = draw(states, pairs, first)
    figure.savefig(Path(settings["folder"]) / "rossmann_map.png")
    tell(states, pairs, first, Path(settings["folder"]) / "rossmann_map.png")


def find_net(sales: pd.DataFrame, settings: Mapping[str, Any]) -> EmbeddingRegressor:
    """The net over the paper's seven inputs, fitted once and kept."""
    path = Path(settings["folder"]) / "net.tabemb"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = sales.sample(min(settings["n_rows"], len(sales)), random_state=settings["seed"])
        roles: dict[str | int, str] = dict.fromkeys(INPUTS, "categorical")
        net = EmbeddingRegressor(roles=roles, random_state=settings["seed"], **settings["net"])
        tabemb.save(net.fit(rows[INPUTS], rows["sales"]), path)
    return tabemb.load(path)


def store_pairs(stores: EmbeddingSpace, by_store: pd.Series, n_pairs: int, seed: int) -> pd.DataFrame:
    """Random pairs of stores: the distance of their vectors, and of their mean log sales."""
    a, b = np.random.default_rng(seed).integers(0, len(stores), (2, n_pairs))
    a, b = a[a != b], b[a != b]
    sales = by_store[stores.categories].to_numpy()
    distance = np.linalg.norm(stores.vectors[a] - stores.vectors[b], axis=1)
    return pd.DataFrame({"distance": distance, "difference": np.abs(sales[a] - sales[b])})


def first_component(stores: EmbeddingSpace, by_store: pd.Series) -> pd.DataFrame:
    """The stores' first principal component, the way round that rises with their mean log sales."""
    sales = by_store[stores.categories].to_numpy()
    component = stores.coordinates("pca", metric="euclidean")["x"].to_numpy()
    return pd.DataFrame(
        {"component": component * np.sign(np.corrcoef(component, sales)[0, 1]), "sales": sales}
    )


def geography(states: EmbeddingSpace) -> np.ndarray:
    """Kilometres east and north of the middle of Germany, (n_states, 2)."""
    degrees = np.array([STATES[state][1:] for state in states.categories])
    return np.column_stack(
        [(degrees[:, 1] - 10.3) * 111 * np.cos(np.radians(51)), (degrees[:, 0] - 51.2) * 111]
    )


def agreement(states: EmbeddingSpace, n_draws: int = 10_000) -> tuple[float, float]:
    """Rank correlation of the states' distances in space and on the map, and its chance among shuffled states."""
    rng, places = np.random.default_rng(0), geography(states)
    near = pdist(states.vectors, "cosine")
    found = spearmanr(near, pdist(places)).statistic
    drawn = [spearmanr(near, pdist(rng.permutation(places))).statistic for _ in range(n_draws)]
    return float(found), float(np.mean(np.array(drawn) >= found))


def draw(states: EmbeddingSpace, pairs: pd.DataFrame, first: pd.DataFrame) -> Figure:
    """Four panels: the map of Germany, the states' vectors, distances of stores, their first component."""
    figure = Figure(figsize=(12, 9), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    (earth, space), (distances, component) = figure.subplots(2, 2)
    maps = (
        (earth, geography(states), "where they lie"),
        (space, on_the_map(states), "their vectors, turned likewise"),
    )
    for ax, places, title in maps:
        _states(ax, states, places, f"12 states of Germany: {title}")
    _cloud(distances, pairs, "distance of two stores' vectors", "difference of their mean log sales")
    distances.set_title(f"{len(pairs):,} pairs of stores", loc="left", fontweight="bold")
    _cloud(component, first, "first principal component of the stores' vectors", "mean log sales")
    component.set_title(f"{len(first):,} stores", loc="left", fontweight="bold")
    figure.draw_without_rendering()  # labels are placed in pixels: the layout must be settled before
    figure.set_layout_engine("none")
    for ax, places, _ in maps:
        _label(ax, states, places)
    earth.legend(frameon=False, loc="upper right")
    return figure


def on_the_map(states: EmbeddingSpace) -> np.ndarray:
    """The states' two main directions, turned, mirrored and scaled towards the map: (n_states, 2)."""
    plane = states.coordinates("pca").to_numpy()
    return procrustes(geography(states), plane)[1]


def _states(ax: Axes, states: EmbeddingSpace, places: np.ndarray, title: str) -> None:
    for name, color, own in (("west", WEST_COLOR, False), ("east", EAST_COLOR, True)):
        chosen = np.isin(states.categories, EAST) == own
        ax.scatter(places[chosen, 0], places[chosen, 1], color=color, s=AREA, label=name)
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


def tell(states: EmbeddingSpace, pairs: pd.DataFrame, first: pd.DataFrame, path: Path) -> None:
    """Print what the picture shows as figures."""
    found, chance = agreement(states)
    say = Console(highlight=False, soft_wrap=True).print
    say(
        f"states: distances in space and on the map, rank correlation {found:.2f} (chance of as much: {chance:.4f})"
    )
    say(
        f"pairs of stores: distance and difference of sales, rank correlation {spearmanr(*pairs.T.to_numpy())[0]:.2f}"
    )
    say(f"stores: first component and sales, correlation {np.corrcoef(*first.T.to_numpy())[0, 1]:.2f}")
    say(f"picture: {path}")


if __name__ == "__main__":
    main()

"""The demo: births per woman, five years ahead, for every country; what the net learned about each country.

`python -m experiments.demo` compares the embedding net with LightGBM on a split in time, exports the country vectors,
shows the nearest countries of three, and writes a map and one page, `report.html`, into `outputs/demo`.
"""

from __future__ import annotations

import difflib
import sys
import time
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from tabemb import EmbeddingSpace
from tabemb.compare import (
    Dataset,
    ModelSpec,
    Protocol,
    build_model,
    figure_html,
    make_splits,
    print_report,
    run,
    write_report,
)
from tabemb.compare.sources import read_fertility

CONFIG_FOLDER = Path(__file__).resolve().parents[1] / "conf"
HORIZON = 5
"""Years between what is known and what is asked."""
LEVEL, TREND = f"births_{HORIZON}_years_before", f"change_in_{HORIZON}_years_until_then"
"""Inputs. The trend is given, not the level ten years before: every model tried forecasts better from it."""
GROUPS = (
    "Latin America & Caribbean (all income levels)",
    "OECD members",
    "Other small states",
    "Pacific island small states",
    "Sub-Saharan Africa (IFC classification)",
)
"""Rows of the source that average over countries."""
NET = "embedding"
NEAR_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#8C6D1F")


@hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name="demo")
def main(config: DictConfig) -> None:
    started = time.perf_counter()
    settings: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    try:
        page = demo(**{**settings, "folder": Path(settings["folder"])})
    except ValueError as error:
        # what a user can mend is told in a line; a traceback would bury it
        sys.exit(f"error: {error}")
    _say(
        f"\nAll of it in {time.perf_counter() - started:.0f} s, written to {page.parent}; open {page} in a browser."
    )


def demo(
    folder: Path,
    models: Sequence[str],
    params: Mapping[str, Any],
    test_size: float,
    seeds: Sequence[int],
    countries: Sequence[str],
    n_nearest: int,
    n_jobs: int | None,
    isolate: bool,
    progress: bool,
) -> Path:
    """Compare, learn the vectors, write everything; `conf/demo.yaml` explains the arguments and holds their defaults.

    Returns
    -------
    Path
        The page.
    """
    births = read_births()
    dataset = forecasts(births)
    check_countries(countries, dataset)
    protocol = Protocol("time", test_size=test_size)
    split = make_splits(dataset, protocol)[0]
    last_year = int(dataset.X["year"].iloc[split.train].max())
    about = introduction(dataset, last_year)
    _say(about + "\n")

    specs = [ModelSpec(model, params if model == NET else {}) for model in models]
    results = run(
        dataset,
        specs,
        protocol,
        folder / "cells",
        seeds,
        n_jobs=n_jobs,
        isolate=isolate,
        progress=progress,
    )
    naive = naive_sentence(dataset, split.test)
    print_report(results)
    _say(f"  {naive}")

    space = learn_vectors(dataset, split.train, params, seeds[0], n_jobs)
    nearest = {country: space.nearest(country, n_nearest) for country in countries}
    known = births.query("year <= @last_year")
    meaning = meaning_sentence(space, known, n_nearest)
    show_nearest(nearest, meaning)

    figures = {
        "map": draw_map(space, known, countries),
        "nearest": draw_nearest(nearest, births, last_year),
    }
    write_vectors(folder, space, figures)
    sections = page_sections(about, naive, meaning, nearest, figures)
    return write_report(folder, results, title="Births per woman, five years ahead", sections=sections)


def read_births() -> pd.DataFrame:
    """Read births per woman in long rows: country, year, births; averages over groups of countries are left out."""
    births = read_fertility()
    return births.loc[~births["country"].isin(GROUPS), ["country", "year", "births"]]


def forecasts(births: pd.DataFrame) -> Dataset:
    """Ask for a country's births in a year, given their level and trend five years earlier."""
    known, before = _years_before(births, HORIZON), _years_before(births, 2 * HORIZON)
    rows = births.merge(known, on=["country", "year"]).merge(
        before, on=["country", "year"], suffixes=("", "_then")
    )
    X = rows[["country", "year"]].assign(
        **{LEVEL: rows["earlier"], TREND: rows["earlier"] - rows["earlier_then"]}
    )
    return Dataset(
        "fertility", X, rows["births"], "regression", time=rows["year"], target="births per woman"
    )


def _years_before(births: pd.DataFrame, years: int) -> pd.DataFrame:
    return births.assign(year=births["year"] + years).rename(columns={"births": "earlier"})


def check_countries(countries: Sequence[str], dataset: Dataset) -> None:
    """Refuse a country that the data lacks before anything is fitted, not after."""
    known = set(dataset.X["country"])
    for country in countries:
        if country not in known:
            near = difflib.get_close_matches(country, known, n=3) or sorted(known)[:3]
            raise ValueError(f"countries: {country!r} is not in the data, which has {', '.join(near)}")


def introduction(dataset: Dataset, last_year: int) -> str:
    """Say what is asked and of what data."""
    countries, years = dataset.X["country"], dataset.X["year"]
    return (
        f"Births per woman (World Bank) in {countries.nunique()} countries, {years.min()}-{years.max()}. "
        f"The years up to {last_year} teach, the later ones are asked. "
        f"The models see the country, the year, and what was known {HORIZON} years before: the births then, and their "
        f"change in the {HORIZON} years up to then. lightgbm_td is LightGBM with published, well-tuned defaults."
    )


def naive_sentence(dataset: Dataset, test: np.ndarray) -> str:
    """Tell the errors of two rules that learn nothing, to see what learning is worth."""
    truth, level, trend = dataset.y.iloc[test], dataset.X[LEVEL].iloc[test], dataset.X[TREND].iloc[test]
    return (
        f"Without learning: repeating the births of {HORIZON} years before has rmse {_rmse(level, truth):.4f}, "
        f"and letting their last change happen once more {_rmse(level + trend, truth):.4f}."
    )


def _rmse(predicted: pd.Series, truth: pd.Series) -> float:
    return float(np.sqrt(np.mean((predicted - truth) ** 2)))


def learn_vectors(
    dataset: Dataset, train: np.ndarray, params: Mapping[str, Any], seed: int, n_jobs: int | None
) -> EmbeddingSpace:
    """Fit the net once on all training rows and take its country vectors."""
    X, y = dataset.X.iloc[train], dataset.y.iloc[train]
    net: Any = build_model(ModelSpec(NET, params), dataset.task, X, dataset.roles, seed, n_jobs)
    space: EmbeddingSpace = net.fit(X, y).spaces_["country"]
    return space


def meaning_sentence(space: EmbeddingSpace, births: pd.DataFrame, n_nearest: int) -> str:
    """Tell how alike the births of countries with near vectors are, beside those of any two countries."""
    curves = births.pivot(index="country", columns="year", values="births").reindex(space.categories)
    gaps = np.array(
        [curves.sub(curve).abs().mean(axis=1) for _, curve in curves.iterrows()]
    )  # (n_levels, n_levels)
    nearest = [
        space.categories.get_indexer(pd.Index(space.nearest(c, n_nearest)["category"])) for c in space
    ]
    near = gaps[np.arange(len(space))[:, None], np.array(nearest)]  # (n_levels, n_nearest)
    others = gaps[~np.eye(len(space), dtype=bool)]
    return (
        f"Over the years that taught, a country's births differ from those of its {n_nearest} nearest by "
        f"{np.nanmean(near):.2f} on average, and from those of any other country by {np.nanmean(others):.2f}."
    )


def show_nearest(nearest: Mapping[str, pd.DataFrame], meaning: str) -> None:
    """Print the nearest countries side by side."""
    table = Table(
        title="Nearest countries, with the cosine of their vectors",
        title_justify="left",
        title_style="bold",
    )
    for country in nearest:
        table.add_column(country)
    cells = [
        [f"{row.category} {row.similarity:.2f}" for row in found.itertuples()]
        for found in nearest.values()
    ]
    for row in zip(*cells):
        table.add_row(*row)
    Console().print("", table)
    _say(f"  {meaning}")


def draw_map(space: EmbeddingSpace, births: pd.DataFrame, countries: Sequence[str]) -> Figure:
    """Draw the countries by their vectors, coloured by their latest births."""
    latest = births.sort_values("year").groupby("country")["births"].last()
    year = births["year"].max()
    return space.map(
        color=latest.rename(f"births per woman, {year}"),
        highlight=countries,
        title="Countries as the net sees them",
        figsize=(12, 9),
    )


def draw_nearest(nearest: Mapping[str, pd.DataFrame], births: pd.DataFrame, last_year: int) -> Figure:
    """Draw the births of each country beside those of its nearest, with all others in grey."""
    curves = births.pivot(index="year", columns="country", values="births")
    figure = Figure(figsize=(11, 4.4), dpi=150, layout="constrained")
    for axes, (country, found) in zip(
        figure.subplots(1, len(nearest), sharey=True, squeeze=False)[0], nearest.items()
    ):
        axes.plot(curves.index, curves, color="#000000", alpha=0.06, linewidth=0.7, rasterized=True)
        for near, color in zip(found["category"], NEAR_COLORS):
            axes.plot(curves.index, curves[near], color=color, linewidth=1.2, label=near)
        axes.plot(curves.index, curves[country], color="#000000", linewidth=2.2, label=country)
        axes.axvline(last_year + 0.5, color="#888888", linewidth=0.8, linestyle=":")
        axes.set_title(country, loc="left", fontweight="bold")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize=7.5, frameon=False, ncols=2, loc="upper left", bbox_to_anchor=(0, -0.08))
    figure.supylabel("births per woman", fontsize=9)
    return figure


def write_vectors(folder: Path, space: EmbeddingSpace, figures: Mapping[str, Figure]) -> None:
    """Write the vectors as parquet and CSV, and the pictures as PNG."""
    space.to_parquet(folder / "country_vectors.parquet")
    space.to_frame().to_csv(folder / "country_vectors.csv")
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png")


def page_sections(
    about: str,
    naive: str,
    meaning: str,
    nearest: Mapping[str, pd.DataFrame],
    figures: Mapping[str, Figure],
) -> list[tuple[str, str]]:
    """Make the page's own sections: headings and HTML."""
    tables = "".join(_nearest_html(country, found) for country, found in nearest.items())
    beside = f"<div style='display: flex; flex-wrap: wrap; gap: 0 3rem'>{tables}</div>"
    curves = figure_html(
        figures["nearest"],
        "Black: the country. Colours: its nearest. Right of the dotted line: years that no model was taught.",
    )
    return [
        ("What is asked", f"<p>{escape(about)} {escape(naive)}</p>"),
        ("Nearest countries", f"<p>{escape(meaning)}</p>{beside}{curves}"),
        (
            "Map of the countries",
            figure_html(figures["map"], "t-SNE of the country vectors that the net learned."),
        ),
    ]


def _nearest_html(country: str, found: pd.DataFrame) -> str:
    rows = zip(found["category"], found["similarity"])
    body = "".join(f"<tr><td>{escape(near)}</td><td>{cosine:.2f}</td></tr>" for near, cosine in rows)
    head = f"<tr><th>{escape(country)}</th><th>cosine</th></tr>"
    return f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"


def _say(text: str) -> None:
    Console().print(text, markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()

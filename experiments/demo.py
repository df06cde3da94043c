"""Forecast births per woman five years ahead, and show the vectors of the countries.

`python -m experiments.demo` compares the embedding network with LightGBM on a split in time, exports the
country vectors, shows the nearest countries of three, and writes a map and one page, `report.html`, into
`outputs/demo`.
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
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from experiments.shared.settings import CONFIG_FOLDER, read_settings
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
from tabemb.files.csv_cells import write_csv

HORIZON = 5
"""Years between the inputs and the target."""
LEVEL, TREND = f"births_{HORIZON}_years_before", f"change_in_{HORIZON}_years_until_then"
"""Inputs. Every model tried forecasts better from the trend than from the level ten years before."""
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
    settings = read_settings(config)
    try:
        page = demo(**{**settings, "folder": Path(settings["folder"])})
    except ValueError as error:
        # a traceback would bury the line that says what to change
        sys.exit(f"error: {error}")
    seconds = time.perf_counter() - started
    _print(f"\nFinished in {seconds:.0f} s; the files are in {page.parent}. Open {page} in a browser.")


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
    """Compare the models, fit the vectors and write everything.

    `conf/demo.yaml` explains the arguments and holds their defaults.

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
    _print(about + "\n")

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
    _print(f"  {naive}")

    space = fit_vectors(dataset, split.train, params, seeds[0], n_jobs)
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
    """Return births per woman by country and year, without averages over groups of countries."""
    births = read_fertility()
    return births.loc[~births["country"].isin(GROUPS), ["country", "year", "births"]]


def forecasts(births: pd.DataFrame) -> Dataset:
    """Return the data set: births in a year, given their level and trend five years earlier."""
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
    """Refuse a country that the data lack before anything is fitted."""
    known = set(dataset.X["country"])
    for country in countries:
        if country not in known:
            near = difflib.get_close_matches(country, known, n=3) or sorted(known)[:3]
            raise ValueError(f"countries: {country!r} is not in the data, which have {', '.join(near)}.")


def introduction(dataset: Dataset, last_year: int) -> str:
    """Return a paragraph on the data and the question."""
    countries, years = dataset.X["country"], dataset.X["year"]
    return (
        f"Births per woman (World Bank) in {countries.nunique()} countries, "
        f"{years.min()}-{years.max()}. The years up to {last_year} are training rows, the later ones "
        f"test rows. The models see the country, the year, and the births {HORIZON} years before with "
        f"their change in the {HORIZON} years up to then. "
        "lightgbm_td is LightGBM with published, well-tuned defaults."
    )


def naive_sentence(dataset: Dataset, test: np.ndarray) -> str:
    """Return a sentence with the errors of two rules that need no training."""
    truth, level, trend = dataset.y.iloc[test], dataset.X[LEVEL].iloc[test], dataset.X[TREND].iloc[test]
    return (
        f"Without a model: repeating the births of {HORIZON} years before has rmse "
        f"{_rmse(level, truth):.4f}, and adding their last change once more "
        f"{_rmse(level + trend, truth):.4f}."
    )


def _rmse(predicted: pd.Series, truth: pd.Series) -> float:
    return float(np.sqrt(np.mean((predicted - truth) ** 2)))


def fit_vectors(
    dataset: Dataset, train: np.ndarray, params: Mapping[str, Any], seed: int, n_jobs: int | None
) -> EmbeddingSpace:
    """Fit the network on all training rows and return its country vectors."""
    X, y = dataset.X.iloc[train], dataset.y.iloc[train]
    net: Any = build_model(ModelSpec(NET, params), dataset.task, X, dataset.roles, seed, n_jobs)
    space: EmbeddingSpace = net.fit(X, y).spaces_["country"]
    return space


def meaning_sentence(space: EmbeddingSpace, births: pd.DataFrame, n_nearest: int) -> str:
    """Return a sentence on how alike the births of countries with near vectors are."""
    curves = births.pivot(index="country", columns="year", values="births").reindex(space.categories)
    gaps = np.array(
        [curves.sub(curve).abs().mean(axis=1) for _, curve in curves.iterrows()]
    )  # (n_levels, n_levels)
    nearest = [
        space.categories.get_indexer(pd.Index(space.nearest(c, n_nearest)["category"])) for c in space
    ]
    near = gaps[np.arange(len(space))[:, None], np.array(nearest)]  # (n_levels, n_nearest)
    of_any = gaps[~np.eye(len(space), dtype=bool)]
    return (
        f"Over the training years, a country's births differ from those of its {n_nearest} nearest "
        f"by {np.nanmean(near):.2f} on average, "
        f"and from those of any other country by {np.nanmean(of_any):.2f}."
    )


def show_nearest(nearest: Mapping[str, pd.DataFrame], meaning: str) -> None:
    """Print the nearest countries side by side."""
    table = Table(
        title="Nearest countries, with their similarity",
        title_justify="left",
        title_style="bold",
    )
    for country in nearest:
        table.add_column(country)
    columns = [
        [f"{row.category} {row.similarity:.2f}" for row in neighbours.itertuples()]
        for neighbours in nearest.values()
    ]
    for row in zip(*columns):
        table.add_row(*row)
    Console().print("", table)
    _print(f"  {meaning}")


def draw_map(space: EmbeddingSpace, births: pd.DataFrame, countries: Sequence[str]) -> Figure:
    """Draw the countries by their vectors, coloured by their latest births."""
    latest = births.sort_values("year").groupby("country")["births"].last()
    year = births["year"].max()
    return space.map(
        color=latest.rename(f"births per woman, {year}"),
        highlight=countries,
        title="Countries by their vectors",
        figsize=(12, 9),
    )


def draw_nearest(nearest: Mapping[str, pd.DataFrame], births: pd.DataFrame, last_year: int) -> Figure:
    """Draw the births of each country and of its nearest, with all other countries in grey."""
    curves = births.pivot(index="year", columns="country", values="births")
    figure = Figure(figsize=(11, 4.4), dpi=150, layout="constrained")
    for axes, (country, neighbours) in zip(
        figure.subplots(1, len(nearest), sharey=True, squeeze=False)[0], nearest.items()
    ):
        axes.plot(curves.index, curves, color="#000000", alpha=0.06, linewidth=0.7, rasterized=True)
        for near, color in zip(neighbours["category"], NEAR_COLORS):
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
    write_csv(space.to_frame().reset_index(), folder / "country_vectors.csv")
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png")


def page_sections(
    about: str,
    naive: str,
    meaning: str,
    nearest: Mapping[str, pd.DataFrame],
    figures: Mapping[str, Figure],
) -> list[tuple[str, str]]:
    """Return the headings and the HTML of the sections that the comparison's page does not have."""
    tables = "".join(_nearest_html(country, neighbours) for country, neighbours in nearest.items())
    beside = f"<div style='display: flex; flex-wrap: wrap; gap: 0 3rem'>{tables}</div>"
    curves = figure_html(
        figures["nearest"],
        "Black: the country. Colours: its nearest. Right of the dotted line: the test years.",
    )
    return [
        ("The question", f"<p>{escape(about)} {escape(naive)}</p>"),
        ("Nearest countries", f"<p>{escape(meaning)}</p>{beside}{curves}"),
        (
            "Map of the countries",
            figure_html(figures["map"], "t-SNE of the network's country vectors."),
        ),
    ]


def _nearest_html(country: str, neighbours: pd.DataFrame) -> str:
    rows = zip(neighbours["category"], neighbours["similarity"])
    body = "".join(f"<tr><td>{escape(near)}</td><td>{cosine:.2f}</td></tr>" for near, cosine in rows)
    head = f"<tr><th>{escape(country)}</th><th>cosine</th></tr>"
    return f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"


def _print(text: str) -> None:
    Console().print(text, markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()

"""The results of the demo: tables and sentences on the screen, pictures and files of the vectors."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from scipy.spatial.distance import pdist

from experiments.demo.scores import NET, TREES
from experiments.demo.stories import Story
from tabemb import EmbeddingSpace
from tabemb.progress import BAR_DELAY

SHOWN = {NET: "tabemb", TREES: "lightgbm, tuned defaults", "lightgbm": "lightgbm, its defaults"}
FILE_WIDTH = 100
N_LABELS = 150


def console() -> Console:
    """Return the terminal or, if the output goes into a file, a console as wide as the tables."""
    terminal = Console()
    return terminal if terminal.is_terminal else Console(width=FILE_WIDTH)


def say(text: str) -> None:
    """Print a paragraph."""
    console().print(text, markup=False, highlight=False)


@contextmanager
def stage(text: str) -> Iterator[None]:
    """Show a running part of the work; print a line if it took long."""
    screen, started = console(), time.perf_counter()
    has_bar = NET in text  # the network shows its own bar
    with nullcontext() if has_bar else screen.status(text):
        yield
    seconds = time.perf_counter() - started
    if seconds >= BAR_DELAY:
        say(f"  {text}: {seconds:.0f} s")


def show_errors(story: Story, table: pd.DataFrame) -> None:
    """Print the errors, the best first, and a verdict."""
    targets = f", over {story.y.shape[1]} targets" if story.y.shape[1] > 1 else ""
    text = _table("model or rule")
    for header in ("all rows", "tabemb gains, %", "known", "new", "fit s"):
        text.add_column(header, justify="right")
    for name, row in table.iterrows():
        rmse, known, new = (number(row[key]) for key in ("rmse", "known", "new"))
        cells = (rmse, escape(gain(row)), known, new, number(row["seconds"], 1))
        text.add_row(shown(name), *cells, style="bold" if name == NET else "")
    _print(f"Errors on the test rows (RMSE in {story.unit}{targets})", text)
    say(
        f"Brackets hold 95 % intervals; a known {story.entity} has training rows, a new one has none. "
        f"{verdict(table)} {story.lesson}"
    )


def shown(name: object) -> str:
    """Return the name of a model or rule as readers see it."""
    return SHOWN.get(str(name), str(name))


def number(value: float, places: int = 3) -> str:
    """Format a number; an unknown one becomes empty."""
    return "" if pd.isna(value) else f"{value:.{places}f}"


def gain(row: pd.Series) -> str:
    """Format by how many percent the network's error is smaller than the row's, with the interval."""
    return "" if pd.isna(row["gain"]) else f"{row['gain']:+.1f} [{row['low']:+.1f}, {row['high']:+.1f}]"


def verdict(table: pd.DataFrame) -> str:
    """Say by how much the network is better or worse than the best of the others."""
    best = table.drop(index=NET).iloc[0]
    order = "smaller" if best["gain"] > 0 else "larger"
    is_sure = best["low"] > 0 or best["high"] < 0
    chance = "" if is_sure else "; the interval holds 0, so this may be chance"
    percent = f"{abs(best['gain']):.1f} % {order}"
    return f"tabemb's error is {percent} than that of the best other, {shown(best.name)}{chance}."


def show_nearest(story: Story, space: EmbeddingSpace, n_nearest: int) -> None:
    """Print the nearest neighbours of the story's names, and how alike neighbours are in test rows."""
    text = _table()
    for name in story.names:
        text.add_column(name)
        text.add_column("sim. rel.", justify="right")
    lists = [space.nearest(name, n_nearest) for name in story.names]
    for rank in range(min(map(len, lists))):
        rows = [nearest.iloc[rank] for nearest in lists]
        cells = [
            (escape(str(row["category"])), f"{row['similarity']:.2f} {row['reliability']:.2f}")
            for row in rows
        ]
        text.add_row(*(cell for pair in cells for cell in pair))
    _print(f"The {n_nearest} nearest of each, with similarity and reliability (at most 1)", text)
    say(f"{later(story, space, n_nearest)}")


def later(story: Story, space: EmbeddingSpace, n_nearest: int) -> str:
    """Describe how alike entities with near vectors are in the test rows, compared with any two."""
    test = story.is_test
    means = story.y[test].groupby(story.X.loc[test, story.entity]).mean()
    means = means[means.index.isin(space.categories)]
    pairs = space.subset(list(means.index)).neighbors(k=n_nearest)
    gaps = means.loc[pairs["category"]].to_numpy() - means.loc[pairs["neighbor"]].to_numpy()
    of_any = pdist(means.to_numpy(), "cityblock").mean() / means.shape[1]
    return (
        f"In the test rows, which no vector has seen, a {story.entity} differs from the {n_nearest} "
        f"nearest by {abs(gaps).mean():.2f} on average, from any other by {of_any:.2f} ({story.unit})."
    )


def show_features(story: Story, errors: Mapping[str, float]) -> None:
    """Print what the vectors are worth as inputs of LightGBM."""
    (first, native), *_ = errors.items()
    text = _table(f"{story.entity} read as")
    text.add_column("all rows", justify="right")
    text.add_column("gain, %", justify="right")
    for name, error in errors.items():
        text.add_row(name, number(error), "" if name == first else f"{100 * (1 - error / native):+.1f}")
    _print(f"Errors of {shown(TREES)}", text)
    best = min(errors, key=lambda name: errors[name])
    say(f"The best input here: {best}. Means and vectors of training rows are out-of-fold.")


def _table(*columns: str) -> Table:
    return Table(*columns, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))


def _print(title: str, table: Table) -> None:
    screen = console()
    screen.print(f"\n[bold]{escape(title)}[/]")
    screen.print(table)


def write_vectors(folder: Path, story: Story, net: Any, space: EmbeddingSpace) -> list[Path]:
    """Write the map as a picture, the atlas, and the vectors.

    Returns
    -------
    list of Path
        The picture, the page and the Parquet file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    effects = effects_by_target(net, story)
    color, title = effects.columns[0], f"Each {story.entity} by its vector"
    picture = space.map(
        color=effects[color], highlight=story.names, n_labels=N_LABELS, title=title, figsize=(12, 9)
    )
    picture.savefig(folder / "map.png")
    metadata = effects.join(most_frequent(story), how="outer")
    page = space.atlas(folder / "atlas.html", metadata, color=color, title=title)
    space.to_parquet(folder / "vectors.parquet")
    return [folder / "map.png", page, folder / "vectors.parquet"]


def effects_by_target(net: Any, story: Story) -> pd.DataFrame:
    """Return the effects of each entity, one column per target."""
    effects: pd.DataFrame = net.effects_frame(story.entity)
    if "target" not in effects:  # a single target
        effects = effects.assign(target=0)
    table = effects.pivot(index="level", columns="target", values="effect")
    return table.set_axis([f"effect on {target}" for target in story.y], axis=1)


def most_frequent(story: Story) -> pd.DataFrame:
    """Return the most frequent value of each other categorical column, by entity."""
    train = story.X[~story.is_test]
    columns = train.drop(columns=story.entity).select_dtypes(exclude="number")
    by_entity = {name: values.groupby(train[story.entity]) for name, values in columns.items()}
    return pd.DataFrame({name: groups.agg(_most_frequent) for name, groups in by_entity.items()})


def _most_frequent(values: pd.Series) -> Any:
    counts = values.value_counts()
    return counts.index[0] if len(counts) else None

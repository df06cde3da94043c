"""Measure predictions for categories without training rows, and for misspelt ones.

`python -m experiments.cold_start` holds out whole levels of a column (GroupKFold) and compares the
default, which places new categories by their text, with the same network for which they are unknown, and
with CatBoost on native categories and on their text: 30 axes of TF-IDF of character n-grams, as in
skrub's StringEncoder. Then it misspells titles of employee_salaries.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import hydra
import numpy as np
import pandas as pd
from omegaconf import DictConfig
from rich.table import Table as TextTable
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import log_loss
from sklearn.model_selection import GroupKFold

from experiments.shared import settings as shared
from experiments.shared.published import load_named
from experiments.shared.settings import CONFIG_FOLDER, RESULTS, data_folder
from tabemb import EmbeddingClassifier, EmbeddingRegressor, Table
from tabemb.compare.table import wide_console
from tabemb.files.csv_cells import write_csv

N_AXES = 30
MANY_LEVELS = 40
"""Number of levels from which skrub's TableVectorizer encodes a text column by axes."""
TITLE = "Employee Position Title"


class Rows(NamedTuple):
    """A frame, its target, and the column whose levels are held out."""

    X: pd.DataFrame
    y: np.ndarray
    column: str

    @property
    def is_number(self) -> bool:
        return self.y.dtype.kind == "f"

    def take(self, rows: np.ndarray) -> Rows:
        return Rows(self.X.iloc[rows], self.y[rows], self.column)


@hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name="cold_start")
def main(config: DictConfig) -> None:
    settings = shared.read_settings(config)
    data_folder()
    shared.check_choices("models", settings["models"], MODELS)
    lines = [line for name in settings["datasets"] for line in held_out(name, settings)]
    table = pd.DataFrame(lines)
    show(table.pivot(index=["dataset", "fold"], columns="model", values="error").reset_index(), "error")
    write_csv(table, RESULTS / "cold_start.csv", float_format="%.4g")
    spelt = misspelt(settings)
    show(spelt, "RMSE of rows with a misspelt title")
    write_csv(spelt, RESULTS / "cold_start_spelling.csv", float_format="%.4g")


def load(name: str) -> Rows:
    """Return a data set with the column whose levels are held out."""
    if name == "wikipedia_books":
        return books()
    dataset = load_named(name)
    is_number = dataset.task == "regression"
    X = dataset.X.copy()
    for column, role in (dataset.roles or {}).items():
        if role == "categorical":
            X[column] = X[column].astype("string")
    return Rows(X, dataset.y.to_numpy(float if is_number else None), COLUMNS[name])


def books() -> Rows:
    """Return books with the log of their pages as target; levels of the genre are held out."""
    path = data_folder() / "wikipedia_books.parquet"
    if not path.exists():
        sys.exit(f"error: there is no {str(path)!r}.")
    frame = pd.read_parquet(path)
    pages = frame["pages"].astype(str).str.extract(r"(\d{2,4})")[0].astype(float)
    kept = pages.between(20, 3000) & frame["genre"].notna()
    columns = ["author", "genre", "country", "publisher"]
    return Rows(frame.loc[kept, columns].reset_index(drop=True), np.log(pages[kept].to_numpy()), "genre")


COLUMNS = {
    "employee_salaries": TITLE,
    "shelter_animals": "Breed",
    "medical_charges": "DRG Definition",
    "wikipedia_books": "genre",
    "amazon_employee": "RESOURCE",
}
"""The column whose levels are held out."""


def held_out(name: str, settings: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the error of each model on each fold of held-out levels."""
    rows = load(name)
    levels = rows.X[rows.column].astype(object).where(rows.X[rows.column].notna(), "")
    folds = GroupKFold(5, shuffle=True, random_state=0).split(rows.X, rows.y, levels)
    for fold, (train, test) in enumerate(folds):
        if fold not in settings["folds"]:
            continue
        rng = np.random.default_rng(fold)
        train = rng.permutation(train)[: settings["n_rows"]]
        test = rng.permutation(test)[: settings["n_test"]]
        if not rows.is_number:
            test = test[np.isin(rows.y[test], rows.y[train])]
        for model in settings["models"]:
            start = time.process_time()
            predict = MODELS[model](rows.take(train), settings["n_jobs"])
            error = error_of(rows.take(test), predict(rows.X.iloc[test]))
            seconds = time.process_time() - start
            line = {"dataset": name, "fold": fold, "model": model, "error": error, "seconds": seconds}
            print(line, flush=True)
            yield line


class Predictions(NamedTuple):
    """Numbers, or probabilities of classes."""

    values: np.ndarray
    classes: np.ndarray | None


def error_of(rows: Rows, predictions: Predictions) -> float:
    """Return the RMSE or the log loss."""
    if predictions.classes is None:
        return float(np.sqrt(np.mean((predictions.values - rows.y) ** 2)))
    return float(log_loss(rows.y, predictions.values, labels=list(predictions.classes)))


Predictor = Callable[[pd.DataFrame], Predictions]


def ours(rows: Rows, n_jobs: int) -> Predictor:
    """Fit the default, which places new categories."""
    return _ours(rows, n_jobs, None)


def ours_unknown(rows: Rows, n_jobs: int) -> Predictor:
    """Fit the default, to which the new categories of the column are unknown."""
    return _ours(rows, n_jobs, {rows.column: Table([rows.column], describe=None)})


def _ours(rows: Rows, n_jobs: int, tables: Mapping[str, Table] | None) -> Predictor:
    make: Any = EmbeddingRegressor if rows.is_number else EmbeddingClassifier
    return _predictor(make(tables=tables, n_jobs=n_jobs, random_state=0).fit(rows.X, rows.y))


def catboost(rows: Rows, n_jobs: int) -> Predictor:
    """Fit CatBoost on native categories."""
    return _catboost(rows, n_jobs, lambda X: X)


def catboost_text(rows: Rows, n_jobs: int) -> Predictor:
    """Fit CatBoost on text axes instead of the columns with many levels."""
    axes = {c: Axes(rows.X[c]) for c in rows.X if _is_text(rows.X[c])}

    def prepare(X: pd.DataFrame) -> pd.DataFrame:
        return pd.concat([X.drop(columns=list(axes)), *(axes[c](X[c]) for c in axes)], axis=1)

    return _catboost(rows, n_jobs, prepare)


def _is_text(column: pd.Series) -> bool:
    return column.dtype.kind not in "fiubM" and column.nunique() >= MANY_LEVELS


class Axes:
    """TF-IDF axes of a column's character n-grams, as in skrub's StringEncoder."""

    def __init__(self, column: pd.Series) -> None:
        self.parts = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 4))
        texts = self.parts.fit_transform(_texts(column))
        self.svd = TruncatedSVD(min(N_AXES, texts.shape[1] - 1), random_state=0).fit(texts)

    def __call__(self, column: pd.Series) -> pd.DataFrame:
        axes = self.svd.transform(self.parts.transform(_texts(column)))
        return pd.DataFrame(axes, column.index).add_prefix(f"{column.name} ")


def _texts(column: pd.Series) -> pd.Series:
    return column.astype(object).where(column.notna(), "").astype(str)


def _catboost(rows: Rows, n_jobs: int, prepare: Callable[[pd.DataFrame], pd.DataFrame]) -> Predictor:
    from catboost import CatBoostClassifier, CatBoostRegressor

    X = _plain(prepare(rows.X))
    categories = [name for name in X if X[name].dtype.kind not in "fiub"]
    make = CatBoostRegressor if rows.is_number else CatBoostClassifier
    options = {"verbose": 0, "random_seed": 0, "allow_writing_files": False}
    model = make(**options, thread_count=n_jobs, cat_features=categories)
    return _predictor(model.fit(X, rows.y), lambda X: _plain(prepare(X)))


def _plain(X: pd.DataFrame) -> pd.DataFrame:
    """Return categories as text, and times as days."""
    plain = {}
    for name, column in X.items():
        if column.dtype.kind == "M":
            column = (column - pd.Timestamp("1970")) / pd.Timedelta("1D")
        elif column.dtype.kind not in "fiub":
            column = _texts(column)
        plain[name] = column
    return pd.DataFrame(plain)


def _predictor(model: Any, prepare: Callable[[pd.DataFrame], pd.DataFrame] = lambda X: X) -> Predictor:
    def predict(X: pd.DataFrame) -> Predictions:
        if hasattr(model, "predict_proba"):
            return Predictions(model.predict_proba(prepare(X)), model.classes_)
        return Predictions(np.asarray(model.predict(prepare(X)), float), None)

    return predict


MODELS: dict[str, Callable[[Rows, int], Predictor]] = {
    "ours": ours,
    "ours_unknown": ours_unknown,
    "catboost": catboost,
    "catboost_text": catboost_text,
}


def abbreviated(title: str, rng: np.random.Generator) -> str:
    """Abbreviate the usual words; in titles without any, shorten the longest word."""
    short = title
    for word, shorter in SHORT.items():
        short = re.sub(rf"\b{word}\b", shorter, short)
    if short == title:
        longest = max(title.split(), key=len)
        short = title.replace(longest, longest[: max(4, len(longest) // 2)] + ".")
    return short


def swapped(title: str, rng: np.random.Generator) -> str:
    """Swap two neighbouring letters, twice."""
    letters = list(title)
    for at in rng.integers(1, max(len(letters) - 1, 2), 2):
        letters[at - 1 : at + 1] = letters[at - 1 : at + 1][::-1]
    return "".join(letters)


def lower(title: str, rng: np.random.Generator) -> str:
    """Write all in lower case."""
    return title.lower()


def punctuated(title: str, rng: np.random.Generator) -> str:
    """Put the last word first, and replace blanks by a comma and hyphens."""
    *first, last = title.split()
    return f"{last}, {'-'.join(first)}" if first else f"{last}."


SHORT = {
    "Senior": "Sr.",
    "Manager": "Mgr",
    "Assistant": "Asst.",
    "Administrative": "Admin",
    "Engineer": "Eng.",
    "Officer": "Ofc",
    "Specialist": "Spec.",
    "Technician": "Tech",
    "Supervisor": "Supv",
    "Coordinator": "Coord.",
    "Operator": "Op.",
    "Services": "Svcs",
    "Service": "Svc",
}
SPELLINGS = {f.__name__: f for f in (abbreviated, swapped, lower, punctuated)}


def misspelt(settings: Mapping[str, Any]) -> pd.DataFrame:
    """Return the errors with clean titles, and with titles in each wrong spelling.

    Only a share of the test rows is misspelt; all errors are those of these rows. "ours_unknown" is
    the network for which a wrong spelling is an unknown category.
    """
    rows = load("employee_salaries")
    errors = []
    for seed in settings["seeds"]:
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(rows.y))
        test = rows.take(order[: settings["n_test"]])
        train = rows.take(order[settings["n_test"] :][: settings["n_rows"]])
        models = {model: MODELS[model](train, settings["n_jobs"]) for model in settings["models"]}
        chosen = np.flatnonzero(rng.random(len(test.y)) < settings["share_misspelt"])
        test = test.take(chosen)
        for spelling, misspell in {"clean": None, **SPELLINGS}.items():
            titles = test.X[TITLE]
            if misspell is not None:
                titles = pd.Series([misspell(title, rng) for title in titles], titles.index)
            X = test.X.assign(**{TITLE: titles})
            line = {"seed": seed, "spelling": spelling}
            errors.append(line | {m: error_of(test, predict(X)) for m, predict in models.items()})
    means = pd.DataFrame(errors).groupby("spelling", sort=False).mean().drop(columns="seed")
    return means.reset_index()


def show(table: pd.DataFrame, title: str) -> None:
    text = TextTable(*map(str, table.columns), title=title)
    for row in table.itertuples(index=False):
        text.add_row(*(f"{cell:.4f}" if isinstance(cell, float) else str(cell) for cell in row))
    wide_console().print(text)


if __name__ == "__main__":
    main()

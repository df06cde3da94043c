"""Predict whether a film-review sentence is positive: accuracy in ten folds (Pang & Lee 2005).

The unprocessed sentences are in a column with the role "text". The peers are naive Bayes and logistic
regression on the same words. A column of ready-made vectors (128 axes of TF-IDF, fitted on the training
rows) is compared with logistic regression on them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from experiments.shared.settings import data_folder
from experiments.unsupervised.score import Score
from tabemb import EmbeddingClassifier
from tabemb.data.text import words_of

N_FOLDS, N_AXES = 10, 128
REACH = "naive Bayes 79.0, NB-SVM 79.4, CNN 76.1"
Predict = Callable[[pd.DataFrame, np.ndarray, pd.DataFrame, int], np.ndarray]


def run(seed: int = 0, n_folds: int = N_FOLDS) -> list[Score]:
    data = pd.read_parquet(data_folder() / "movie_sentences.parquet")
    words = words_of(pa.chunked_array([pa.array(data["sentence"])])).to_pylist()
    X = data[["sentence"]].assign(words=pd.Series(words, data.index))
    right: dict[str, list[np.ndarray]] = {name: [] for name in MODELS}
    seconds = dict.fromkeys(MODELS, 0.0)
    for fold in range(n_folds):
        is_test = data["fold"] == fold
        y = data["positive"].to_numpy()
        for name, predict in MODELS.items():
            start = time.perf_counter()
            predicted = predict(X[~is_test], y[~is_test], X[is_test], seed)
            seconds[name] += time.perf_counter() - start
            right[name].append(predicted == y[is_test])
        print(
            fold,
            {name: round(float(100 * rows[-1].mean()), 1) for name, rows in right.items()},
            flush=True,
        )
    return [
        Score(
            "sentiment", name, "accuracy", 100 * float(np.concatenate(rows).mean()), REACH, seconds[name]
        )
        for name, rows in right.items()
    ]


def same(words: Any) -> Any:
    return words


GIVEN = {"tokenizer": same, "preprocessor": same, "token_pattern": None}
"""Options for texts that are already lists of words."""


def of_words(pipeline: Callable[[], Any]) -> Predict:
    """Return the predictions of a scikit-learn pipeline on lists of words."""
    return lambda X, y, new, seed: pipeline().fit(X["words"], y).predict(new["words"])


def text(X: pd.DataFrame, y: np.ndarray, new: pd.DataFrame, seed: int) -> np.ndarray:
    model = EmbeddingClassifier(roles={"sentence": "text"}, n_jobs=1, random_state=seed)
    return model.fit(X[["sentence"]], y).predict(new[["sentence"]])


def of_axes(predict: Predict) -> Predict:
    """Return the predictions from the axes of TF-IDF, one vector per row."""

    def predicted(X: pd.DataFrame, y: np.ndarray, new: pd.DataFrame, seed: int) -> np.ndarray:
        axes = make_pipeline(
            TfidfVectorizer(**GIVEN, min_df=2, sublinear_tf=True), TruncatedSVD(N_AXES, random_state=0)
        ).fit(X["words"])
        rows = (pd.DataFrame({"vector": list(axes.transform(part["words"]))}) for part in (X, new))
        return predict(next(rows), y, next(rows), seed)

    return predicted


def vector(X: pd.DataFrame, y: np.ndarray, new: pd.DataFrame, seed: int) -> np.ndarray:
    return EmbeddingClassifier(n_jobs=1, random_state=seed).fit(X, y).predict(new)


def regression(X: pd.DataFrame, y: np.ndarray, new: pd.DataFrame, seed: int) -> np.ndarray:
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    train, test = (np.stack(frame["vector"].to_list()) for frame in (X, new))
    return np.asarray(model.fit(train, y).predict(test))


MODELS: dict[str, Predict] = {
    "naive Bayes, words": of_words(lambda: make_pipeline(CountVectorizer(**GIVEN), MultinomialNB())),
    "naive Bayes, words and pairs": of_words(
        lambda: make_pipeline(CountVectorizer(**GIVEN, ngram_range=(1, 2)), MultinomialNB())
    ),
    "TF-IDF, logistic regression": of_words(
        lambda: make_pipeline(
            TfidfVectorizer(**GIVEN, ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10)
        )
    ),
    "EmbeddingClassifier, text": text,
    "128 axes, logistic regression": of_axes(regression),
    "128 axes, EmbeddingClassifier, vector": of_axes(vector),
}

"""Small fits at fixed seeds, whose predictions must not change while the code is rearranged."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd

import tabemb

FAST = {"n_jobs": 1, "random_state": 0, "verbose": False}


def rows(n=400, seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "city": rng.choice([f"c{i}" for i in range(30)], n),
            "shop": rng.integers(0, 12, n).astype(str),
            "flag": rng.random(n) < 0.4,
            "size": rng.normal(size=n),
            "cost": np.where(rng.random(n) < 0.5, 0.0, rng.exponential(size=n)),
            "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, n), "D"),
        }
    )
    frame.loc[::17, "city"] = None
    frame.loc[::13, "size"] = np.nan
    code = frame["city"].fillna("c99").str[1:].astype(int).to_numpy()
    score = (
        np.sin(code)
        + 0.5 * frame["size"].fillna(0).to_numpy()
        + (frame["shop"].astype(int) % 3).to_numpy()
    )
    return frame, score + 0.3 * rng.normal(size=n)


def log(n=900, seed=1):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "who": rng.choice([f"w{i}" for i in range(40)], n),
            "at": np.sort(rng.integers(0, 5000, n)),
            "what": rng.choice(["look", "buy", "return", "call"], n),
            "paid": rng.exponential(size=n),
            "result": rng.choice(["good", "bad"], n),
        }
    )


def histories(seed=2):
    events = log(seed=seed)
    people = pd.DataFrame(
        {"who": [f"w{i}" for i in range(40)] * 5, "now": np.repeat([1500, 2500, 3500, 4500, 6000], 40)}
    )
    joiner = tabemb.HistoryJoiner(events, entity="who", time="at", cutoff="now", max_events=30)
    X = joiner.fit_transform(people)
    rng = np.random.default_rng(seed)
    return X, rng.normal(size=len(X)) + X["now"].to_numpy() / 2000


def classes():
    X, score = rows()
    y = np.where(score > 1, "high", "low")
    model = tabemb.EmbeddingClassifier(**FAST).fit(X, y)
    return [model.predict_proba(X.head(50)), model.transform(X.head(5)), model.spaces_["city"].vectors]


def multiclass_weighted():
    X, score = rows(seed=5)
    y = np.digitize(score, [0, 1, 2])
    weight = np.random.default_rng(0).integers(0, 3, len(y))
    model = tabemb.EmbeddingClassifier(class_weight="balanced", max_epochs=6, **FAST).fit(
        X, y, sample_weight=weight
    )
    return [model.predict_proba(X.head(50))]


def many_classes():
    rng = np.random.default_rng(3)
    X = pd.DataFrame({"last": rng.integers(0, 1200, 3000).astype(str), "x": rng.normal(size=3000)})
    y = (X["last"].astype(int) + rng.integers(0, 2, 3000)) % 1200
    model = tabemb.EmbeddingClassifier(max_epochs=2, **FAST).fit(X, y)
    return [model.predict_proba(X.head(8))]


def regression():
    X, score = rows()
    model = tabemb.EmbeddingRegressor(**FAST).fit(X, score)
    return [model.predict(X), np.array(model.best_epoch_)]


def regression_early():
    X, score = rows()
    model = tabemb.EmbeddingRegressor(early_stopping=True, max_epochs=12, **FAST).fit(X, score)
    more, more_score = rows(seed=9)
    other = tabemb.EmbeddingRegressor(max_epochs=8, loss="absolute_error", **FAST)
    other.fit(X, score, eval_X=more, eval_y=more_score)
    return [model.predict(X), other.predict(X)]


def several_targets():
    X, score = rows()
    model = tabemb.EmbeddingRegressor(max_epochs=5, **FAST).fit(
        X, np.column_stack([score, -score + X["flag"]])
    )
    labels = tabemb.EmbeddingClassifier(max_epochs=3, **FAST).fit(
        X, np.column_stack([score > 0, score > 1]).astype(int)
    )
    return [model.predict(X), labels.predict_proba(X.head(30))]


def with_histories():
    X, y = histories()
    model = tabemb.EmbeddingRegressor(max_epochs=6, **FAST).fit(X, y)
    bag = tabemb.EmbeddingClassifier(history="mean", **FAST).fit(X, y > 2)
    return [model.predict(X), bag.predict_proba(X)]


def events():
    X = log()
    y = (X["what"] == "buy") ^ (X["paid"] > 1)
    settings = {"entity": "who", "time": "at", "outcome_fields": ["result"], **FAST}
    model = tabemb.EventClassifier(**settings).fit(X, y)
    new = X.tail(60).assign(at=lambda f: f["at"] + 6000)
    first = model.predict_proba(new.drop(columns="result"))
    replayed = model.replay_proba(new, y.tail(60))
    after = model.update(new, y.tail(60)).predict_proba(
        new.assign(at=lambda f: f["at"] + 6000).drop(columns="result")
    )
    return [first, replayed, after]


def events_regression():
    X = log(seed=4)
    model = tabemb.EventRegressor(
        entity="who", time="at", n_networks=2, max_epochs=4, early_stopping=True, **FAST
    ).fit(X.drop(columns="paid"), X["paid"])
    return [
        model.predict(X.drop(columns="paid").tail(30).assign(at=7000)),
        model.spaces_["what"].vectors,
    ]


def many_answers():
    rng = np.random.default_rng(6)
    X = pd.DataFrame({"who": rng.integers(0, 100, 3000).astype(str), "at": np.arange(3000)})
    y = rng.integers(0, 1500, 3000)
    model = tabemb.EventClassifier(entity="who", time="at", max_epochs=1, **FAST).fit(X, y)
    return [model.predict_proba(X.tail(5).assign(at=9000)), model.spaces_["answer"].vectors[:20]]


def sequences():
    X, _ = histories()
    model = tabemb.SequenceEncoder(max_epochs=3, batch_size=32, **FAST).fit(X)
    return [model.transform(X)]


def encoder():
    X, score = rows()
    made = tabemb.EmbeddingEncoder(kind="both", cv=2, random_state=0)
    features = made.fit_transform(X, score)
    return [
        features.select_dtypes("number").to_numpy(),
        made.transform(X.head(40)).select_dtypes("number").to_numpy(),
    ]


def presets():
    X, score = rows(n=150)
    best = tabemb.EmbeddingRegressor(preset="best", max_time=None, max_epochs=3, **FAST).fit(X, score)
    fast = tabemb.EmbeddingClassifier(preset="fast", max_epochs=3, **FAST).fit(X, score > 1)
    shared = tabemb.EmbeddingRegressor(
        tables={"place": tabemb.Table(columns=["city", "shop"], dim=5)},
        numbers="periodic",
        max_epochs=3,
        **FAST,
    ).fit(X, score)
    return [best.predict(X), fast.predict_proba(X), shared.predict(X)]


FITS = [
    classes,
    multiclass_weighted,
    many_classes,
    regression,
    regression_early,
    several_targets,
    with_histories,
    events,
    events_regression,
    many_answers,
    sequences,
    encoder,
    presets,
]


def run(fit):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [np.asarray(values, dtype=float) for values in fit()]

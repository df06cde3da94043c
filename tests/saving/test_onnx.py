"""Models as ONNX files: onnxruntime predicts the same as the model, from raw values."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.exceptions import NotFittedError

import tabemb
from tabemb import EmbeddingClassifier, EmbeddingEncoder, EmbeddingRegressor, Table
from tabemb.network.backbone import BACKBONES
from tabemb.network.history import HISTORY_ENCODERS, POOLINGS
from tabemb.network.numbers import NUMBER_ENCODINGS

onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install tabemb[onnx]")
ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: tabemb[onnx]")
SMALL = {"hidden": (16,), "max_epochs": 1, "batch_size": 64, "random_state": 0, "n_jobs": 1}
CLOSE = 1e-5


def session_of(model, path):
    tabemb.to_onnx(model, path)
    onnx.checker.check_model(str(path), full_check=True)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(str(path), options)


def answers(model, X, folder):
    """Return the outputs of a model's ONNX file for a frame, by name."""
    session = session_of(model, folder / "m.onnx")
    outputs = [output.name for output in session.get_outputs()]
    return dict(zip(outputs, session.run(None, tabemb.onnx_inputs(model, X))))


def assert_same_numbers(model, X, folder, scale=1.0):
    given = answers(model, X, folder)["prediction"]
    expected = model.predict(X)
    assert given.shape == expected.shape
    assert np.isfinite(given).all()
    np.testing.assert_allclose(given, expected, rtol=0, atol=CLOSE * scale)


def strange_rows(n=1200, seed=0):
    """Return rows with all kinds of columns, and a target that depends on them, with interactions."""
    rng = np.random.default_rng(seed)
    of_shop = pd.Series(rng.normal(size=150), [f"shop {i}" for i in range(150)])
    hours = pd.to_timedelta(rng.integers(0, 900_000, n), unit="h")
    X = pd.DataFrame(
        {
            "city": rng.choice(["a", "b", "", None, "é", "日本", "<missing>"], n),
            "shop": rng.choice(of_shop.index, n),
            "id": rng.integers(2**53, 2**53 + 5, n),
            "flag": rng.random(n) < 0.5,
            "share": rng.choice([0.5, 1.5, np.nan, -0.0], n),
            "at": pd.Timestamp("1930-12-01", tz="Europe/Berlin") + hours,
            "day": pd.Timestamp("2020-02-01") + pd.to_timedelta(rng.integers(0, 900, n), unit="D"),
            "x": np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n)),
            "count": rng.integers(0, 4, n),
            "price": rng.lognormal(size=n) * 1e6,
            "empty": np.full(n, np.nan),
        }
    )
    effect = X.shop.map(of_shop) + X["count"] % 2 * (X.city == "b") + X.flag * (X.id % 3)
    return X, (effect + X.x.fillna(0) ** 2 + rng.normal(scale=0.1, size=n)).to_numpy()


def later_rows(X):
    """Return the same rows with unseen categories, missing values, and extreme numbers."""
    later = X.copy()
    later.loc[:50, "city"], later.loc[30:90, "shop"] = "never", "shop 1000"
    later.loc[20:70, "id"], later.loc[:5, "share"] = 7, 99.5
    later.loc[100:200, "x"], later.loc[7:9, "at"], later.loc[8:30, "price"] = np.nan, pd.NaT, 1e300
    later.loc[300:310, "price"], later.loc[320:340, "shop"] = -1e300, None
    later.loc[330:350, "empty"] = 1.0
    return later


ROLES = {"id": "categorical", "share": "categorical"}
SETTINGS = {
    "default": {},
    "without trees": {"trees": False},
    "without effects": {"effects": False, "biases": False},
    "plain": {"trees": False, "effects": False, "biases": False, "n_members": 1},
    "several networks": {"n_networks": 2, "hidden": (16, 8)},
    "short vectors": {"tables": {"t": Table(["shop"], max_norm=0.05)}, "trees": False},
    "rare ones": {"min_count": 8},
}
SETTINGS |= {name: {"backbone": name, "trees": False} for name in BACKBONES}
SETTINGS |= {f"numbers {name}": {"numbers": name, "trees": False} for name in NUMBER_ENCODINGS}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_graph_gives_the_predictions_of_a_regressor(name, tmp_path):
    X, y = strange_rows()
    model = EmbeddingRegressor(**SMALL | SETTINGS[name], roles=ROLES).fit(X, y)
    if name == "default":
        assert model.trees_ is not None
        assert max(len(term) for term in model.effects_.terms_) > 1
    assert_same_numbers(model, later_rows(X), tmp_path, np.std(y))


TARGETS = {
    "text": lambda y: np.array(["low", "mid", "high"])[np.digitize(y, np.quantile(y, [0.3, 0.6]))],
    "whole numbers": lambda y: 10 * np.digitize(y, np.quantile(y, [0.3, 0.6])),
    "booleans": lambda y: y > np.median(y),
    "floats": lambda y: np.where(y > np.median(y), 2.0, 1.0),
    "dates": lambda y: np.where(
        y > np.median(y), np.datetime64("2020-01-01"), np.datetime64("2021-01-01")
    ),
    "labels": lambda y: np.stack([y > np.median(y), y > np.quantile(y, 0.9)], 1).astype(int),
    "two targets": lambda y: np.stack([np.where(y > 1, "a", "b"), np.where(y > 0, "c", "d")], 1),
    "many classes": lambda y: np.arange(len(y)) % 1100,
}


@pytest.mark.parametrize("kind", TARGETS)
def test_a_graph_gives_probabilities_and_labels(kind, tmp_path):
    X, y = strange_rows()
    labels = TARGETS[kind](y)
    model = EmbeddingClassifier(**SMALL, trees=kind != "many classes").fit(X[["shop", "x"]], labels)
    later = later_rows(X)
    given, expected = answers(model, later, tmp_path), model.predict_proba(later)
    assert model.target_.has_many_classes == (kind == "many classes")
    for i, of_target in enumerate(expected if isinstance(expected, list) else [expected]):
        ending = f"_{i}" if isinstance(expected, list) else ""
        np.testing.assert_allclose(given[f"probabilities{ending}"], of_target, rtol=0, atol=CLOSE)
    found = [value for name, value in given.items() if name.startswith("label")]
    if kind == "dates":
        assert not found
        return
    np.testing.assert_array_equal(
        found[0] if len(found) == 1 else np.stack(found, 1), model.predict(later)
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": "poisson"},
        {"loss": "absolute_percentage_error"},
        {"loss": "quantile", "quantile": 0.9},
        {"loss": "absolute_error"},
    ],
    ids=str,
)
def test_a_graph_gives_the_predictions_of_each_loss(settings, tmp_path):
    X, y = strange_rows()
    model = EmbeddingRegressor(**SMALL, **settings, trees=False).fit(X, np.abs(y) + 0.1)
    assert_same_numbers(model, later_rows(X), tmp_path, np.std(y))


def test_a_graph_gives_several_numbers(tmp_path):
    X, y = strange_rows()
    model = EmbeddingRegressor(**SMALL).fit(X, np.stack([y, -1000 * y], 1))
    assert_same_numbers(model, later_rows(X), tmp_path, 1000 * np.std(y))


def test_numbers_at_and_beside_the_edges_of_bins_lie_in_the_same_bin(tmp_path):
    """Effects and trees jump at an edge, so even the smallest error would be visible."""
    rng = np.random.default_rng(0)
    x = rng.choice(rng.lognormal(sigma=3, size=300), 1500)
    jumps = rng.normal(size=301)
    y = jumps[np.searchsorted(np.unique(x), x)]
    model = EmbeddingRegressor(**SMALL).fit(pd.DataFrame({"x": x}), y)
    assert model.effects_.terms_
    assert model.trees_ is not None
    edges = np.unique(x)
    near = [edges, np.nextafter(edges, np.inf), np.nextafter(edges, -np.inf)]
    near += [edges * (1 + 3e-8), edges * (1 - 3e-8), (edges[1:] + edges[:-1]) / 2]
    assert_same_numbers(model, pd.DataFrame({"x": np.concatenate(near)}), tmp_path, np.std(y))


def rows_with_histories(n=300, seed=0):
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({"city": rng.choice(["a", "b", None], n)})
    start = pd.Timestamp("2021-01-01")
    X["orders"] = [
        [
            {
                "item": rng.choice(["p", "q", "r", None]),
                "at": start + pd.Timedelta(hours=int(hour)),
                "value": float(rng.normal()) if rng.random() < 0.9 else None,
            }
            for hour in np.sort(rng.integers(0, 9000, k))
        ]
        for k in rng.integers(0, 9, n)
    ]
    X["tags"] = [rng.choice(["u", "v", "w"], k).tolist() for k in rng.integers(0, 5, n)]
    X["text"] = [None if i % 50 == 0 else rng.normal(size=4).tolist() for i in range(n)]
    y = np.array([sum(event["value"] or 0 for event in events) for events in X.orders])
    return X, y + np.array([tags.count("u") for tags in X.tags])


HISTORIES = [{"history": name} for name in HISTORY_ENCODERS]
HISTORIES += [{"history": "gru", "pooling": name} for name in POOLINGS]
HISTORIES += [{"history": "lstm", "max_events": 3}, {"history": "gru", "n_networks": 2}]


@pytest.mark.parametrize("settings", HISTORIES, ids=str)
def test_a_graph_reads_padded_histories_and_vectors(settings, tmp_path):
    X, y = rows_with_histories()
    model = EmbeddingRegressor(**SMALL, **settings, d_history=8, roles={"text": "vector"}).fit(X, y)
    assert_same_numbers(model, X, tmp_path)


def rows_with_steps(n=300, seed=0):
    """Return rows with visits, each with simultaneous events; some visits and rows have no event."""
    rng = np.random.default_rng(seed)
    start = pd.Timestamp("2021-01-01")

    def event(hour):
        at = None if rng.random() < 0.1 else start + pd.Timedelta(hours=int(hour))
        return {"code": str(rng.choice(["p", "q", "r"])), "value": float(rng.normal()), "at": at}

    visits = [
        [[event(hour) for _ in range(rng.integers(0, 4))] for hour in np.sort(rng.integers(0, 9000, k))]
        for k in rng.integers(0, 6, n)
    ]
    X = pd.DataFrame({"city": rng.choice(["a", "b"], n), "visits": visits})
    y = [sum(event["value"] for visit in row for event in visit) for row in visits]
    return X, np.array(y)


@pytest.mark.parametrize(
    "settings",
    [{}, {"max_events": 2}, {"history": "mean"}, {"history": "lstm", "pooling": "last"}],
    ids=str,
)
def test_a_graph_reads_events_in_steps(settings, tmp_path):
    X, y = rows_with_steps()
    model = EmbeddingRegressor(**SMALL, **settings, d_history=8).fit(X, y)
    assert model.network_.histories[0].pool is not None
    assert_same_numbers(model, X, tmp_path)


def test_steps_before_the_newest_change_nothing(tmp_path):
    X, y = rows_with_steps()
    model = EmbeddingRegressor(**SMALL, max_events=2, d_history=8).fit(X, y)
    whole = EmbeddingRegressor(**SMALL, max_events=None, d_history=8).fit(X, y)
    session = session_of(model, tmp_path / "m.onnx")
    given = session.run(None, tabemb.onnx_inputs(whole, X))[0]  # all steps
    np.testing.assert_allclose(given, model.predict(X), rtol=0, atol=CLOSE)


def notes(n=600, seed=0):
    """Return texts with relevant words and pairs of words, repeated words, and no words at all."""
    rng = np.random.default_rng(seed)
    words = np.array(["good", "bad", "not", "very", "the", "room", "it's", "Größe"])
    texts = [" ".join(rng.choice(words, k)) for k in rng.integers(0, 9, n)]
    good = pd.Series(texts).str.count("good") > 0
    swapped = pd.Series(texts).str.contains("not good")
    X = pd.DataFrame({"note": texts, "city": rng.choice(["a", "b"], n), "x": rng.normal(size=n)})
    y = 2.0 * good - 4.0 * swapped + (X["city"] == "a") + 0.1 * rng.normal(size=n)
    X.loc[:5, "note"] = None
    return X, y.to_numpy()


@pytest.mark.parametrize("columns", [["note"], ["note", "city", "x"]], ids=str)
def test_a_graph_reads_the_words_of_texts(columns, tmp_path):
    X, y = notes()
    model = EmbeddingRegressor(**SMALL, roles={"note": "text"}, d_history=8).fit(X[columns], y)
    assert {words.length for words in model.effects_.words_} == {1, 2}
    later = X.assign(note=X["note"].str.upper() + ", unseen?! good good")
    for rows in (X, later):
        assert_same_numbers(model, rows[columns], tmp_path)
    words = tabemb.onnx_inputs(model, later)["note"]
    assert words[20].tolist()[: len(str(later["note"][20]).split())][-3:] == ["unseen", "good", "good"]


@pytest.mark.filterwarnings("ignore:X has many categories")
def test_words_stand_between_effects_and_expected_effects(tmp_path):
    X, y = titles()
    X["note"] = np.where(X["x"] > 0, "high above", "far below")
    model = EmbeddingRegressor(**SMALL, trees=False, roles={"note": "text"}, d_history=8)
    model.fit(X, y + (X["x"] > 0))
    assert model.effects_.expected_
    assert model.effects_.words_
    tabemb.to_onnx(model, tmp_path / "m.onnx", new_categories={"title": NEW_TITLES})
    session = ort.InferenceSession(str(tmp_path / "m.onnx"))
    new = X.head(5).assign(title=NEW_TITLES)
    given = session.run(None, tabemb.onnx_inputs(model, new))[0]
    np.testing.assert_allclose(given, model.predict(new), rtol=0, atol=CLOSE)


def test_padding_and_events_before_the_newest_change_nothing(tmp_path):
    X, y = rows_with_histories()
    model = EmbeddingRegressor(**SMALL, max_events=3, d_history=8).fit(X[["city", "orders"]], y)
    session = session_of(model, tmp_path / "m.onnx")
    newest = tabemb.onnx_inputs(model, X)
    whole = X.orders.map(len).max() + 4
    wide = dict(newest) | {"orders.length": X.orders.map(len).to_numpy()}
    garbage = {"orders.item": "p", "orders.at": 12345, "orders.value": np.inf}
    for name, filler in garbage.items():
        field = name.removeprefix("orders.")
        wide[name] = np.full((len(X), whole), filler, newest[name].dtype)
        for i, events in enumerate(X.orders):
            cells = pd.Series([event[field] for event in events], dtype=object)
            if field == "at":
                cells = cells.map(lambda time: time.value // 1000)
            missing = "<missing>" if field == "item" else np.nan
            wide[name][i, : len(cells)] = cells.where(cells.notna(), missing).to_list()
    np.testing.assert_allclose(session.run(None, wide)[0], model.predict(X), rtol=0, atol=CLOSE)


def test_a_graph_reads_numbers_that_are_scaled_within_a_category(tmp_path):
    rng = np.random.default_rng(0)
    levels = {"HR": (80, 10), "pH": (7.4, 0.1), "Glucose": (6000, 900)}
    X = pd.DataFrame(
        {
            "events": [
                [
                    {
                        "what": what,
                        "value": float(rng.normal(*levels[what])),
                        "dose": float(rng.normal()),
                    }
                    for what in rng.choice(list(levels), rng.integers(0, 12))
                ]
                for _ in range(300)
            ]
        }
    )
    y = np.array([sum(e["value"] > levels[e["what"]][0] for e in events) for events in X.events])
    model = EmbeddingRegressor(**SMALL, d_history=8).fit(X, y.astype(float))
    assert model.encoder_.inputs_[1].within
    assert model.network_.histories[0].by_category is not None
    later = pd.DataFrame({"events": [[], [{"what": "new", "value": 1.0, "dose": 2.0}], *X.events]})
    assert_same_numbers(model, later, tmp_path)


@pytest.mark.parametrize("kind", ["vectors", "prediction", "both"])
def test_a_graph_gives_the_columns_of_an_encoder(kind, tmp_path):
    X, y = strange_rows()
    net = None if kind == "prediction" else EmbeddingRegressor(**SMALL, trees=False)
    encoder = EmbeddingEncoder(
        kind=kind, columns=["city", "flag", "shop"], estimator=net, random_state=0
    )
    encoder.fit(X, y)
    encoder.placings_ = []
    later = later_rows(X)
    given = answers(encoder, later[["shop", "city", "flag"]], tmp_path)["features"]
    new = [name for name in encoder.get_feature_names_out() if name not in X.columns]
    np.testing.assert_allclose(given, encoder.transform(later)[new], rtol=0, atol=CLOSE)
    described = json.loads(onnx_metadata(tmp_path / "m.onnx"))
    assert described["features"] == new


def onnx_metadata(path):
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}["tabemb"]


WITHOUT_TABEMB = """
import json, sys
for name in ("tabemb", "torch", "pandas", "pyarrow", "sklearn", "lightgbm", "scipy", "onnx"):
    sys.modules[name] = None  # an import of it raises
sys.path += sys.argv[2:]
import numpy as np, onnxruntime
arrays = dict(np.load(sys.argv[1] + "/rows.npz"))
expected = arrays.pop("expected")
session = onnxruntime.InferenceSession(sys.argv[1] + "/m.onnx")
inputs = json.loads(session.get_modelmeta().custom_metadata_map["tabemb"])["inputs"]
assert sorted(one["name"] for one in inputs) == sorted(arrays)
given = session.run(["probabilities"], arrays)[0]
assert given.shape == expected.shape and np.abs(given - expected).max() < 1e-5
"""


def test_a_file_answers_in_a_process_without_tabemb_and_torch(tmp_path):
    X, y = strange_rows()
    model = EmbeddingClassifier(**SMALL, roles=ROLES).fit(X, y > np.median(y))
    session_of(model, tmp_path / "m.onnx")
    later = later_rows(X)
    feed = tabemb.onnx_inputs(model, later)
    texts = {name: cells.astype(str) for name, cells in feed.items() if cells.dtype == object}
    np.savez(tmp_path / "rows.npz", **feed | texts, expected=model.predict_proba(later))
    folders = {str(Path(module.__file__).parents[1]) for module in (np, ort)}
    subprocess.run([sys.executable, "-I", "-c", WITHOUT_TABEMB, str(tmp_path), *folders], check=True)


def test_a_row_with_an_infinite_number_has_no_prediction(tmp_path):
    X, y = strange_rows()
    model = EmbeddingRegressor(**SMALL, trees=False).fit(X[["city", "x"]], y)
    session = session_of(model, tmp_path / "m.onnx")
    feed = {"city": np.array(["a", "a", "b"], object), "x": np.array([np.inf, 0.5, -np.inf])}
    assert np.isnan(session.run(None, feed)[0]).tolist() == [True, False, True]


def titles(n=1500, seed=0):
    """Return rows with a title, on whose words the target depends, and a number."""
    rng = np.random.default_rng(seed)
    words = ["senior", "junior", "chief"], ["engineer", "nurse", "driver"], [str(i) for i in range(12)]
    known = [f"{rank} {job} {i}" for rank in words[0] for job in words[1] for i in words[2]]
    X = pd.DataFrame({"title": rng.choice(known, n), "x": rng.normal(size=n)})
    y = X["title"].str.contains("senior") * 3.0 + X["title"].str.contains("nurse") + 0.1 * X["x"]
    return X, (y + rng.normal(scale=0.1, size=n)).to_numpy()


NEW_TITLES = ["senior nurse 99", "chief nurse", "Senior ENGINEER 3", "xyz", "junior driver x"]


@pytest.mark.filterwarnings("ignore:X has many categories")
def test_new_categories_are_unknown_and_a_warning_names_the_column(tmp_path):
    X, y = titles()
    model = EmbeddingRegressor(**SMALL, trees=False).fit(X, y)
    assert model.effects_.expected_
    with pytest.warns(UserWarning, match="new categories of 'title' as unknown"):
        tabemb.to_onnx(model, tmp_path / "m.onnx")
    session = ort.InferenceSession(str(tmp_path / "m.onnx"))
    known = session.run(None, tabemb.onnx_inputs(model, X))[0]  # known titles have expected effects
    np.testing.assert_allclose(known, model.predict(X), rtol=0, atol=CLOSE)
    new = pd.DataFrame({"title": NEW_TITLES, "x": 0.0})
    given = session.run(None, tabemb.onnx_inputs(model, new))[0]
    assert np.ptp(given) < 1e-6
    assert model.predict(new)[0] > given[0] + 0.1


@pytest.mark.filterwarnings("ignore:X has many categories")
@pytest.mark.parametrize("trees", [False, True])
def test_new_categories_that_are_named_are_read_as_the_model_reads_them(trees, tmp_path, recwarn):
    X, y = titles()
    model = EmbeddingRegressor(**SMALL, trees=trees).fit(X, y)
    new = pd.DataFrame({"title": [*NEW_TITLES, "senior nurse 3", None], "x": 0.5})
    tabemb.to_onnx(model, tmp_path / "m.onnx", new_categories={"title": [*NEW_TITLES, "senior nurse 3"]})
    assert not recwarn.list
    session = ort.InferenceSession(str(tmp_path / "m.onnx"))
    for frame in (new, X):
        given = session.run(None, tabemb.onnx_inputs(model, frame))[0]
        np.testing.assert_allclose(given, model.predict(frame), rtol=0, atol=CLOSE)


@pytest.mark.filterwarnings("ignore:X has many categories")
@pytest.mark.parametrize("kind", ["text", "whole numbers"])
def test_new_categories_with_a_description_are_read_as_the_model_reads_them(kind, tmp_path, recwarn):
    rng = np.random.default_rng(0)
    labels = [f"shop {i}" for i in range(200)] if kind == "text" else list(range(200))
    described = pd.DataFrame({"size": rng.normal(size=200)}, index=labels)
    X = pd.DataFrame({"shop": rng.choice(labels[:150], 2000)})
    y = described["size"].loc[X["shop"]].to_numpy() + rng.normal(scale=0.1, size=2000)
    tables = {"t": Table(["shop"], describe=described)}
    roles = {"shop": "categorical"}
    model = EmbeddingRegressor(**SMALL, trees=False, tables=tables, roles=roles).fit(X, y)
    assert model.effects_.expected_
    later = pd.DataFrame({"shop": [*labels, "shop 1000" if kind == "text" else 1000]})
    expected = model.predict(later)
    recwarn.clear()
    assert_same_numbers(model, later, tmp_path)
    assert not [one for one in recwarn.list if "unknown ones" in str(one.message)]
    assert np.std(expected[150:200]) > 0.01


def test_an_encoder_reads_named_new_categories(tmp_path):
    X, y = titles()
    encoder = EmbeddingEncoder(kind="prediction", columns=["title"], random_state=0).fit(X, y)
    assert encoder.placings_
    new = pd.DataFrame({"title": [*NEW_TITLES, None, "senior nurse 3"]})
    tabemb.to_onnx(encoder, tmp_path / "m.onnx", new_categories={"title": NEW_TITLES})
    session = ort.InferenceSession(str(tmp_path / "m.onnx"))
    given = session.run(None, tabemb.onnx_inputs(encoder, new))[0]
    expected = encoder.transform(new.assign(x=0.0))[["title_effect"]]
    np.testing.assert_allclose(given, expected, rtol=0, atol=CLOSE)
    assert np.std(given[:5]) > 0


def test_named_new_categories_are_those_of_columns_that_compare_them(tmp_path):
    X, y = titles()
    model = EmbeddingRegressor(**SMALL, trees=False).fit(X.assign(flag=X.x > 0), y)
    with pytest.raises(ValueError, match="known ones, which are 'title'; got 'flag'"):
        tabemb.to_onnx(model, tmp_path / "m.onnx", new_categories={"flag": [3]})
    with pytest.raises(ValueError, match=r"must hold text values for column 'title'.*; got 7"):
        tabemb.to_onnx(model, tmp_path / "m.onnx", new_categories={"title": [7]})
    with pytest.raises(ValueError, match="not '<missing>', which is missing"):
        tabemb.to_onnx(model, tmp_path / "m.onnx", new_categories={"title": ["<missing>"]})


def test_inputs_and_outputs_have_names_that_are_free(tmp_path):
    X, y = strange_rows()
    names = {"city": "prediction", "shop": "/1", "x": "//"}
    X = X[list(names)].rename(columns=names)
    model = EmbeddingRegressor(**SMALL, trees=False).fit(X, y)
    session = session_of(model, tmp_path / "m.onnx")
    assert [one.name for one in session.get_inputs()] == list(names.values())
    assert [one.name for one in session.get_outputs()] == ["prediction_"]


def test_the_metadata_say_how_each_column_is_passed(tmp_path):
    X, y = strange_rows()
    model = EmbeddingRegressor(**SMALL, trees=False, roles=ROLES).fit(X, y)
    session_of(model, tmp_path / "m.onnx")
    inputs = {one["name"]: one for one in json.loads(onnx_metadata(tmp_path / "m.onnx"))["inputs"]}
    assert inputs["city"]["missing"] == "<<missing>>"  # "<missing>" is a category
    assert inputs["id"] == {
        "name": "id",
        "kind": "integer",
        "missing": -(2**63),
        "other": -(2**63) + 1,
    }
    assert inputs["x"] == {"name": "x", "kind": "number"}
    assert inputs["at"]["kind"] == "time"


REFUSED = {
    "python values": ({"key": [(1, 2), (3, 4)] * 40}, {}, "'key' holds object values"),
    "two inputs of one name": (
        {"a.length": ["x", "y"] * 40, "a": [["u"], []] * 40},
        {},
        "two inputs of the name 'a.length'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_onnx_cannot_express_is_refused_and_nothing_is_written(case, tmp_path):
    columns, roles, message = REFUSED[case]
    model = EmbeddingRegressor(**SMALL, roles=roles).fit(pd.DataFrame(columns), [0.0, 1.0] * 40)
    with pytest.raises(ValueError, match=message):
        tabemb.to_onnx(model, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_other_models_and_unfitted_ones_are_refused(tmp_path):
    with pytest.raises(TypeError, match="must be a fitted EmbeddingClassifier"):
        tabemb.to_onnx(tabemb.ItemEmbedder(), tmp_path / "m.onnx")
    with pytest.raises(NotFittedError):
        tabemb.to_onnx(EmbeddingRegressor(), tmp_path / "m.onnx")


def test_a_frame_of_another_library_and_other_types_has_the_same_inputs():
    X, y = strange_rows()
    model = EmbeddingRegressor(**SMALL, trees=False, roles=ROLES).fit(X, y)
    other = X.assign(city=X.city.astype("category"), id=X.id.astype(object), flag=X.flag.astype(int))
    expected = tabemb.onnx_inputs(model, X)
    for frame in (other, pa.Table.from_pandas(X)):
        for name, values in tabemb.onnx_inputs(model, frame).items():
            np.testing.assert_array_equal(values, expected[name], err_msg=name)


def test_a_value_of_another_kind_is_no_category(tmp_path):
    X = pd.DataFrame({"id": [1, 2, 3, 4] * 20, "city": ["a", "b"] * 40})
    model = EmbeddingRegressor(**SMALL, roles={"id": "categorical"}).fit(X, np.arange(80) % 4.0)
    later = pd.DataFrame({"id": [1.0, 2.5, None], "city": pd.Series(["a", 7, None], dtype=object)})
    assert_same_numbers(model, later, tmp_path)

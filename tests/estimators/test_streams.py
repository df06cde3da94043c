"""Streams: vocabulary, effects and encoder equal those of a frame bit for bit; the cache is reused."""

import functools
import signal
import subprocess
import sys
import tempfile

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest

import tabemb
from tabemb.data.encoding import Encoder
from tabemb.fitting import encoded_rows

N = 1600
KILLED = """
import os, signal, sys, tabemb
from tabemb.data.encoding import Encoder
from tabemb.fitting import encoded_rows
encoded_rows.OFTEN = 2
encoded_rows.AT_ONCE = sys.modules["tabemb.data.streams"].AT_ONCE = 100
tabemb.data.streams.OpenStream.parts.__defaults__ = (100,)
parts, transform = [], Encoder.transform
def encode(self, frame):
    parts.append(frame)
    if len(parts) == {n_parts}:
        os.kill(os.getpid(), signal.SIGKILL)
    return transform(self, frame)
Encoder.transform = encode
stream = tabemb.Stream({path!r}, cache={cache!r}, in_memory=0)
tabemb.EmbeddingRegressor(**{settings!r}).fit(stream, "y")
"""
"""Code of a fit whose process is killed while it encodes."""
FAST = {
    "random_state": 0,
    "n_jobs": 1,
    "max_epochs": 2,
    "batch_size": 256,
    "hidden": (8,),
    "n_members": 1,
    "trees": False,
}
SAMPLED = ("data.sampling", "fitting.holdout", "fitting.encoded_rows", "fitting.stream_recipe")


@pytest.fixture
def sampled(monkeypatch):
    """Reduce samples of a million rows to 1,100 rows."""
    for name in (*SAMPLED, "fitting.reading", "data.term_levels", "data.out_of_fold", "data.effects"):
        monkeypatch.setattr(sys.modules[f"tabemb.{name}"], "MOST_ROWS", 1100)


def orders(n=N):
    """Return rows whose target depends on a city and a number, with missing values and times."""
    rng = np.random.default_rng(0)
    city, size = rng.zipf(1.5, n) % 50, rng.normal(size=n)
    frame = pd.DataFrame(
        {
            "city": [f"c{c}" for c in city],
            "kind": pd.Categorical(rng.choice(["a", "b", "c"], n)),
            "size": size,
            "open": rng.random(n) < 0.5,
            "when": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 5000, n), unit="h"),
        }
    )
    frame.loc[::17, "size"], frame.loc[::23, "city"] = np.nan, None
    y = rng.normal(size=50)[city] + size + 0.3 * rng.normal(size=n)
    return frame, y


@pytest.fixture
def folder(tmp_path):
    """The rows in two files, with their target and weights."""
    X, y = orders()
    weight = np.random.default_rng(1).integers(0, 3, N)
    table = pa.Table.from_pandas(X.assign(y=y, label=np.where(y > 0, "late", "early"), weight=weight))
    (tmp_path / "orders").mkdir()
    pq.write_table(table[:700], tmp_path / "orders" / "1.parquet", row_group_size=300)
    pq.write_table(table[700:], tmp_path / "orders" / "2.parquet")
    return tmp_path


def stream_of(folder, **settings):
    """Return a stream of only the columns of X and y, however few rows there are."""
    return tabemb.Stream(folder / "orders" / "*.parquet", in_memory=0, **settings)


def only(folder, *names):
    """Return the files with only the columns of X and these."""
    whole = pq.read_table(folder / "orders")
    table = whole.select([*orders()[0].columns, *names])
    path = folder / f"{'-'.join(names)}.parquet"
    pq.write_table(table, path, row_group_size=400)
    return path


def assert_same(a, b):
    """Check that two models have the same vocabularies, scales, effects and trees."""
    for name, vocabulary in a.encoder_.vocabularies_.items():
        other = b.encoder_.vocabularies_[name]
        assert vocabulary.kind == other.kind
        assert vocabulary.categories.equals(other.categories)
        np.testing.assert_array_equal(vocabulary.counts, other.counts)
    for scale, other in zip(a.encoder_.scales_, b.encoder_.scales_, strict=True):
        assert (scale.center, scale.unit) == (other.center, other.unit)
        assert scale.has_missing == other.has_missing
        np.testing.assert_array_equal(scale.edges, other.edges)
    assert a.effects_.terms_ == b.effects_.terms_
    for name in ("keys_", "counts_", "sums_", "strength_", "gains_", "effect_units_", "count_units_"):
        np.testing.assert_array_equal(getattr(a.effects_, name), getattr(b.effects_, name))
    assert a.trees_ is not None
    assert a.trees_.texts == b.trees_.texts


@pytest.mark.parametrize("epochs", ["auto", 2])
@pytest.mark.parametrize("target", ["y", "label"])
@pytest.mark.parametrize("few", [False, True])
def test_a_stream_and_a_frame_give_the_same_parts(folder, target, few, epochs, request, monkeypatch):
    monkeypatch.setattr("tabemb.fitting.recipe.FEWEST_EPOCHS", 2)  # of max_epochs="auto"
    monkeypatch.setattr("tabemb.fitting.recipe.MOST_EPOCHS", 3)
    if few:
        request.getfixturevalue("sampled")
    X, y = orders()
    estimator = tabemb.EmbeddingRegressor if target == "y" else tabemb.EmbeddingClassifier
    answers = y if target == "y" else np.where(y > 0, "late", "early")
    settings = FAST | {"max_epochs": epochs, "patience": 1, "trees": True}
    of_frame = estimator(**settings).fit(X, answers)
    of_stream = estimator(**settings).fit(tabemb.Stream(only(folder, target), in_memory=0), target)
    assert_same(of_frame, of_stream)
    if target == "label":
        assert of_stream.classes_.tolist() == ["early", "late"]
        assert set(of_stream.predict(X[:50])) <= {"early", "late"}


def test_a_stream_is_as_good_as_a_frame(folder, sampled):
    X, y = orders()
    settings = FAST | {"max_epochs": 10, "batch_size": 64, "learning_rate": 0.02, "hidden": (16,)}
    of_frame = tabemb.EmbeddingRegressor(**settings).fit(X, y)
    of_stream = tabemb.EmbeddingRegressor(**settings).fit(
        tabemb.Stream(only(folder, "y"), in_memory=0), "y"
    )
    errors = [np.sqrt(np.mean((model.predict(X) - y) ** 2)) for model in (of_frame, of_stream)]
    assert errors[1] == pytest.approx(errors[0], rel=0.1)
    assert errors[1] < 0.5 * y.std()


SOURCES = {
    "path": str,
    "pattern": lambda path: str(path.parent / "y*.parquet"),
    "dataset": pads.dataset,
    "filtered dataset": lambda path: pads.dataset(path).filter(pads.field("size") > -100),
    "relation": lambda path: duckdb.read_parquet(str(path)),
    "lazy frame": pl.scan_parquet,
    "list of paths": lambda path: tabemb.Stream([path]),
}


@pytest.mark.parametrize("in_memory", [0, 10**6])
@pytest.mark.parametrize("source", SOURCES)
def test_each_kind_of_source_is_read(folder, source, in_memory):
    path = only(folder, "y")
    X = SOURCES[source](path)
    if in_memory == 0:
        X = tabemb.Stream(X.source if isinstance(X, tabemb.Stream) else X, in_memory=0)
    model = tabemb.EmbeddingRegressor(**FAST).fit(X, "y")
    expected = sums_of_a_frame(is_filtered=source == "filtered dataset")
    np.testing.assert_array_equal(model.effects_.sums_, expected)


@functools.cache
def sums_of_a_frame(is_filtered):
    """Return the sums of effects of the rows, or of those with a size."""
    frame, y = orders()
    if is_filtered:
        y, frame = y[frame["size"].notna()], frame[frame["size"].notna()]
    return tabemb.EmbeddingRegressor(**FAST).fit(frame, y).effects_.sums_


def test_a_table_of_comma_separated_values_is_a_stream_too(tmp_path):
    X, y = orders()
    X[["city", "size"]].assign(y=y).to_csv(tmp_path / "orders.csv", index=False)
    model = tabemb.EmbeddingRegressor(**FAST).fit(str(tmp_path / "orders.csv"), y="y")
    assert model.feature_names_in_.tolist() == ["city", "size"]


def test_folders_of_a_partition_are_a_column(tmp_path):
    X, y = orders()
    table = pa.Table.from_pandas(X[["kind", "size"]].assign(kind=X["kind"].astype(str), y=y))
    pq.write_to_dataset(table, tmp_path / "orders", partition_cols=["kind"])
    model = tabemb.EmbeddingRegressor(**FAST).fit(tabemb.Stream(tmp_path / "orders", in_memory=0), "y")
    assert sorted(model.feature_names_in_) == ["kind", "size"]
    assert model.encoder_.vocabularies_["kind"].labels().tolist() == ["a", "b", "c"]


def test_weights_and_the_time_are_columns(folder, sampled):
    X, y = orders()
    weight = pq.read_table(folder / "orders")["weight"].to_numpy()
    settings = FAST
    of_frame = tabemb.EmbeddingRegressor(**settings).fit(X, y, sample_weight=weight, time="when")
    of_stream = tabemb.EmbeddingRegressor(**settings).fit(
        tabemb.Stream(only(folder, "y", "weight"), in_memory=0), "y", sample_weight="weight", time="when"
    )
    assert of_stream.effects_.terms_ == of_frame.effects_.terms_
    np.testing.assert_allclose(of_stream.effects_.sums_, of_frame.effects_.sums_, rtol=1e-6, atol=1e-6)
    for name, vocabulary in of_frame.encoder_.vocabularies_.items():
        np.testing.assert_allclose(
            of_stream.encoder_.vocabularies_[name].counts, vocabulary.counts, rtol=1e-9
        )


def test_the_weights_of_classes_are_given_by_label(folder):
    X, y = orders()
    labels, path = np.where(y > 0, "late", "early"), only(folder, "label")
    settings = FAST
    for class_weight in ("balanced", {"late": 3.0}):
        model = tabemb.EmbeddingClassifier(**settings, class_weight=class_weight)
        of_frame = model.fit(X, labels).effects_.sums_
        of_stream = model.fit(tabemb.Stream(path, in_memory=0), "label").effects_.sums_
        np.testing.assert_allclose(of_stream, of_frame, rtol=1e-6, atol=1e-6)


def test_a_cache_is_used_again(folder, monkeypatch):
    stream = tabemb.Stream(only(folder, "y"), cache=folder / "cache", in_memory=0)
    first = tabemb.EmbeddingRegressor(**FAST).fit(stream, "y")
    left = sorted(path.name for path in (folder / "cache").rglob("*.npy"))
    assert left == ["codes.npy", "numbers.npy", "origins.npy", "y.npy"]
    assert not [p for p in (folder / "cache").rglob("*") if p.name.startswith(("part-", "fit-"))]
    monkeypatch.setattr(encoded_rows, "_spread", None)
    second = tabemb.EmbeddingRegressor(**FAST).fit(stream, "y")
    X, _ = orders()
    np.testing.assert_array_equal(first.predict(X), second.predict(X))


def test_other_rows_are_encoded_anew(folder):
    path = only(folder, "y")
    stream = tabemb.Stream(path, cache=folder / "cache", in_memory=0)
    tabemb.EmbeddingRegressor(**FAST).fit(stream, "y")
    pq.write_table(pq.read_table(path)[:1200], path)
    model = tabemb.EmbeddingRegressor(**FAST).fit(stream, "y")
    assert model.n_rows_ == 1200
    assert len(list((folder / "cache").glob("rows-*"))) == 2


@pytest.fixture
def small_parts(monkeypatch):
    """Read and encode a hundred rows at a time, and record the progress every second time."""
    monkeypatch.setattr(encoded_rows, "OFTEN", 2)
    for module in ("tabemb.data.streams", "tabemb.fitting.encoded_rows"):
        monkeypatch.setattr(sys.modules[module], "AT_ONCE", 100)
    monkeypatch.setattr(tabemb.data.streams.OpenStream.parts, "__defaults__", (100,), raising=True)


def test_an_interrupted_fit_goes_on_where_it_was(folder, small_parts, monkeypatch):
    stream = tabemb.Stream(only(folder, "y"), cache=folder / "cache", in_memory=0)
    whole = tabemb.EmbeddingRegressor(**FAST).fit(tabemb.Stream(only(folder, "y"), in_memory=0), "y")
    encoded, transform = [], Encoder.transform

    def killed(self, frame):
        encoded.append(frame.num_rows)
        if len(encoded) == 8:
            raise KeyboardInterrupt
        return transform(self, frame)

    monkeypatch.setattr(Encoder, "transform", killed)
    with pytest.raises(KeyboardInterrupt):
        tabemb.EmbeddingRegressor(**FAST).fit(stream, "y")
    (rows,) = (folder / "cache").glob("rows-*")
    with open(rows / "part-000", "ab") as file:  # as if the process had died while writing
        file.write(b"half a row")
    model = tabemb.EmbeddingRegressor(**FAST).fit(stream, "y")
    assert sum(encoded) == 800 + N - 600
    X, _ = orders()
    np.testing.assert_array_equal(model.predict(X), whole.predict(X))


@pytest.mark.slow
@pytest.mark.parametrize("n_parts", [1, 5, 12])
def test_a_fit_goes_on_after_sigkill_while_it_encodes(folder, small_parts, n_parts):
    path, cache = only(folder, "y"), folder / "cache"
    killed = KILLED.format(path=str(path), cache=str(cache), n_parts=n_parts, settings=FAST)
    done = subprocess.run([sys.executable, "-c", killed])
    assert done.returncode == -signal.SIGKILL
    stream = tabemb.Stream(path, cache=cache, in_memory=0)
    model = tabemb.EmbeddingRegressor(**FAST).fit(stream, "y")
    whole = tabemb.EmbeddingRegressor(**FAST).fit(tabemb.Stream(path, in_memory=0), "y")
    X, _ = orders()
    np.testing.assert_array_equal(model.predict(X), whole.predict(X))
    assert not list(cache.glob("fit-*"))
    assert not [part for part in cache.rglob("part-*") if part.is_file()]


def test_leftovers_of_killed_processes_are_removed_and_those_of_others_stay(folder):
    cache = folder / "cache"
    stream = tabemb.Stream(only(folder, "y"), cache=cache)
    (cache / "fit-killed").mkdir(parents=True)
    with stream.opened() as first:
        with stream.opened() as second:
            assert first.scratch.exists()
            assert second.scratch != first.scratch
        left = [path for path in cache.iterdir() if path.is_dir()]
        assert left == [first.scratch]
    assert not list(cache.glob("fit-*"))


def test_nothing_stays_without_a_cache(folder, tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    tabemb.EmbeddingRegressor(**FAST).fit(tabemb.Stream(only(folder, "y"), in_memory=0), "y")
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_model_of_a_stream_grows_and_is_saved(folder, tmp_path, sampled):
    X, y = orders()
    labels = np.where(y > 0, "late", "early")
    model = tabemb.EmbeddingClassifier(**FAST).fit(
        tabemb.Stream(only(folder, "label"), in_memory=0), "label"
    )
    tabemb.save(model, tmp_path / "m.tabemb")
    loaded = tabemb.load(tmp_path / "m.tabemb")
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    loaded.partial_fit(X[:100], labels[:100])
    assert loaded.n_rows_ == N + 100


def test_validation_rows_may_be_a_stream(folder):
    path = only(folder, "y")
    model = tabemb.EmbeddingRegressor(**FAST).fit(str(path), "y", eval_X=str(path), eval_y="y")
    assert np.isfinite(model.learning_curve_["eval_loss"]).all()


def test_validation_rows_of_a_long_stream_have_labels(folder):
    path, (X, y) = only(folder, "label"), orders()
    labels = np.where(y > 0, "late", "early")
    stream = tabemb.Stream(path, in_memory=0)
    model = tabemb.EmbeddingClassifier(**FAST).fit(stream, "label", eval_X=X[:200], eval_y=labels[:200])
    assert model.learning_curve_["eval_loss"][-1] < 0.69
    with pytest.raises(ValueError, match=r"eval_y holds class 'soon', which y does not hold, in row 1"):
        tabemb.EmbeddingClassifier(**FAST).fit(stream, "label", eval_X=X[:2], eval_y=["late", "soon"])
    for name, value in (("start", model), ("classes", ["early", "late", "soon"])):
        with pytest.raises(ValueError, match=rf"{name} goes with rows in memory; pass parts"):
            tabemb.EmbeddingClassifier(**FAST).fit(stream, "label", **{name: value})


def test_the_encoder_and_pairs_read_streams(folder):
    path = only(folder, "y")
    X, y = orders()
    of_stream = tabemb.EmbeddingEncoder(cv=2, random_state=0, kind="prediction").fit(str(path), "y")
    of_frame = tabemb.EmbeddingEncoder(cv=2, random_state=0, kind="prediction").fit(X, y)
    np.testing.assert_array_equal(
        of_stream.transform(X[:9])["city_effect"], of_frame.transform(X[:9])["city_effect"]
    )
    pairs = {"user": "when", "item": "kind", "max_epochs": 1, "random_state": 0}
    model = tabemb.PairEmbedder(**pairs).fit(str(path))
    assert len(model.spaces_["when"]) == X["when"].nunique()


REFUSED = {
    "y is no name": ({"y": np.ones(3)}, r"y must name a column of the source where X is a stream"),
    "no such y": (
        {"y": "lable"},
        r"y must name a column .* has no 'lable' \(did you mean 'label'",
    ),
    "weights": ({"y": "y", "sample_weight": np.ones(3)}, r"sample_weight must name a column"),
    "no y": ({"y": None}, r"requires y to be passed"),
    "time": ({"y": "y", "time": np.ones(3)}, r"time must name a column of the source"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused(folder, name):
    arguments, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        tabemb.EmbeddingRegressor(**FAST).fit(stream_of(folder), **arguments)


def test_rows_that_a_long_stream_cannot_hold_are_refused(folder):
    X, y = orders()
    pq.write_table(pa.table({"bag": [["a", "b"]] * N, "y": y}), folder / "bags.parquet")
    with pytest.raises(
        ValueError, match=r"Column 'bag' has the role 'history', which fit reads from rows"
    ):
        tabemb.EmbeddingRegressor(**FAST).fit(tabemb.Stream(folder / "bags.parquet", in_memory=0), "y")
    with pytest.raises(ValueError, match=r"early_stopping=True leaves validation rows out"):
        tabemb.EmbeddingRegressor(**FAST, early_stopping=True).fit(stream_of(folder), "y")
    missing = pa.table({"a": X["kind"].astype(str), "y": pa.array([None, *["late"] * (N - 1)])})
    pq.write_table(missing, folder / "missing.parquet")
    with pytest.raises(ValueError, match=r"y must not hold missing .* the first is in row 0"):
        tabemb.EmbeddingClassifier(**FAST).fit(
            tabemb.Stream(folder / "missing.parquet", in_memory=0), "y"
        )


def test_a_source_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"X names no file: there is none at"):
        tabemb.EmbeddingRegressor().fit(str(tmp_path / "*.parquet"), "y")
    (tmp_path / "orders.xls").write_text("")
    with pytest.raises(ValueError, match=r"X must name files that end in .parquet"):
        tabemb.EmbeddingRegressor().fit(str(tmp_path / "orders.xls"), "y")
    with pytest.raises(ValueError, match=r"cache must name a folder that can be written to"):
        tabemb.EmbeddingRegressor().fit(
            tabemb.Stream(tmp_path / "orders.xls", cache=tmp_path / "orders.xls"), "y"
        )
    pq.write_table(pa.table({"a": [1], "y": [1.0]}), tmp_path / "1.parquet")
    for other, kinds in (({"a": ["x"], "y": [1.0]}, "int64 .* string"), ({"y": [1.0]}, "int64 .* no")):
        pq.write_table(pa.table(other), tmp_path / "2.parquet")
        with pytest.raises(ValueError, match=rf"of column 'a', the first file has {kinds}"):
            tabemb.EmbeddingRegressor().fit(str(tmp_path / "[12].parquet"), "y")
    with pytest.raises(ValueError, match=r"in_memory must be a whole number >= 0; got -1\."):
        tabemb.Stream(tmp_path, in_memory=-1)
    assert repr(tabemb.Stream("a.parquet", cache="encoded")) == "Stream('a.parquet', cache='encoded')"

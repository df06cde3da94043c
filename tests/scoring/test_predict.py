"""Predictions of files: equal to those of the whole frame, with bounded memory and complete output."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

import tabemb
from tabemb import EmbeddingClassifier, EmbeddingEncoder, EmbeddingRegressor, EventRegressor, predict
from tabemb.__main__ import main
from tabemb.scoring import predict as scoring

FAST = {
    "preset": "fast",
    "max_epochs": 2,
    "hidden": (8,),
    "n_members": 2,
    "random_state": 0,
    "n_jobs": 1,
}


def rows(n, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "id": np.arange(n),
            "city": rng.choice(["Bonn", "Rome", "Oslo", None], n),
            "code": rng.choice([7, 8, 9], n),
            "size": np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n)),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, n), "D"),
        }
    )


USED = ["city", "code", "size", "day"]
ROLES = {"code": "categorical"}


@pytest.fixture(scope="module")
def frame():
    return rows(3000)


@pytest.fixture(scope="module")
def regressor(frame):
    y = (frame["city"] == "Bonn") * 3.0 + frame["size"].fillna(0) + frame["code"]
    return EmbeddingRegressor(**FAST, roles=ROLES, early_stopping=True).fit(frame[USED], y)


@pytest.fixture(scope="module")
def classifier(frame):
    y = np.where(frame["city"] == "Bonn", "yes", np.where(frame["size"] > 0, "no", "may be"))
    return EmbeddingClassifier(**FAST, roles=ROLES).fit(frame[USED], y)


@pytest.fixture
def folder(tmp_path, frame):
    """A folder with the frame as three Parquet files with small row groups."""
    for i in range(3):
        frame[i * 1000 : (i + 1) * 1000].to_parquet(tmp_path / f"part{i}.parquet", row_group_size=170)
    return tmp_path


def left(folder):
    """Return the files in a folder, except the parts of the frame."""
    return sorted(p.name for p in folder.iterdir() if not p.name.startswith("part"))


@pytest.mark.parametrize("kind", ["path", "pattern", "list", "dataset", "csv", "gz"])
def test_predictions_are_those_of_the_whole_frame(folder, frame, regressor, kind):
    frame.to_parquet(folder / "part.parquet")
    frame.to_csv(folder / "part.csv", index=False)
    frame.to_csv(folder / "part.csv.gz", index=False)
    paths = [folder / f"part{i}.parquet" for i in range(3)]
    source = {
        "path": folder / "part.parquet",
        "pattern": str(folder / "part?.parquet"),
        "list": paths,
        "dataset": ds.dataset(paths),
        "csv": folder / "part.csv",
        "gz": folder / "part.csv.gz",
    }[kind]
    n = predict(source, folder / "out.parquet", regressor, keep=["id"], batch_size=700)
    out = pd.read_parquet(folder / "out.parquet")
    assert n == len(out) == 3000
    assert list(out) == ["id", "prediction"]
    assert out["id"].astype(int).tolist() == frame["id"].tolist()
    np.testing.assert_allclose(out["prediction"], regressor.predict(frame[USED]), atol=1e-5)


def test_a_dataset_may_be_partitioned_and_filtered(tmp_path, frame, regressor):
    table = pa.Table.from_pandas(frame)
    hive = {"partitioning": ["code"], "partitioning_flavor": "hive"}
    ds.write_dataset(table, tmp_path / "in", format="parquet", **hive)
    dataset = ds.dataset(tmp_path / "in", partitioning="hive").filter(ds.field("size") > 0)
    n = predict(dataset, tmp_path / "out.parquet", regressor, keep=["id", "code"], batch_size=500)
    out = pd.read_parquet(tmp_path / "out.parquet").set_index("id").sort_index()
    expected = frame[frame["size"] > 0]
    assert n == len(out) == len(expected)
    assert out.index.tolist() == expected["id"].tolist()
    assert out["code"].tolist() == expected["code"].tolist()
    np.testing.assert_allclose(out["prediction"], regressor.predict(expected[USED]), atol=1e-5)


def test_dictionaries_and_types_may_differ_between_files(tmp_path, frame, regressor):
    """pandas writes categories with indices of any width, and ids as floats if some are missing."""
    first, second = frame[:1000].copy(), frame[1000:2000].copy()
    first["city"] = first["city"].astype("category")
    second["code"] = second["code"].astype(float)
    first.to_parquet(tmp_path / "a.parquet")
    second.to_parquet(tmp_path / "b.parquet")
    predict(tmp_path / "?.parquet", tmp_path / "out.csv", regressor, keep=["city", "code"])
    out = pd.read_csv(tmp_path / "out.csv")
    np.testing.assert_allclose(out["prediction"], regressor.predict(frame[USED][:2000]), atol=1e-5)
    assert out["code"].tolist() == frame["code"][:2000].tolist()


def test_events_are_refused(folder):
    events = EventRegressor(entity="id", time="day")
    with pytest.raises(TypeError, match=r"model must be .*; got EventRegressor"):
        predict(folder / "part0.parquet", folder / "out.parquet", events)


def test_classes_and_their_probabilities(folder, frame, classifier):
    predict(folder / "part*.parquet", folder / "out.parquet", classifier, batch_size=999)
    out = pd.read_parquet(folder / "out.parquet")
    columns = ["probability_may be", "probability_no", "probability_yes"]
    assert list(out) == ["prediction", *columns]
    np.testing.assert_allclose(out[columns], classifier.predict_proba(frame[USED]), atol=1e-5)
    assert (out["prediction"] == classifier.predict(frame[USED])).mean() > 0.999
    predict(folder / "part0.parquet", folder / "few.parquet", classifier, probabilities=False)
    assert list(pd.read_parquet(folder / "few.parquet")) == ["prediction"]


def test_several_class_targets_and_labels(folder, frame):
    city, code = frame["city"].fillna("none").to_numpy(object), frame["code"].to_numpy(object)
    model = EmbeddingClassifier(**FAST).fit(frame[USED], np.stack([city, code], axis=1))
    predict(folder / "part0.parquet", folder / "two.parquet", model)
    out, proba = pd.read_parquet(folder / "two.parquet"), model.predict_proba(frame[USED][:1000])
    assert list(out)[:2] == ["prediction_0", "prediction_1"]
    assert list(out)[-3:] == ["probability_1_7", "probability_1_8", "probability_1_9"]
    np.testing.assert_allclose(out.iloc[:, 2:], np.hstack(proba), atol=1e-6)
    assert out["prediction_1"].tolist() == model.predict(frame[USED][:1000])[:, 1].tolist()
    both = np.stack([frame["code"] == 7, frame["size"] > 0], axis=1).astype(int)
    model = EmbeddingClassifier(**FAST).fit(frame[USED], both)
    predict(folder / "part0.parquet", folder / "labels.parquet", model)
    out = pd.read_parquet(folder / "labels.parquet")
    assert list(out) == ["prediction_0", "prediction_1", "probability_0", "probability_1"]
    assert (out.iloc[:, :2].to_numpy() == model.predict(frame[USED][:1000])).all()
    np.testing.assert_allclose(out.iloc[:, 2:], model.predict_proba(frame[USED][:1000]), atol=1e-6)


def test_intervals_and_several_numbers(folder, frame, regressor):
    predict(folder / "part0.parquet", folder / "out.parquet", regressor, coverage=0.8)
    out = pd.read_parquet(folder / "out.parquet")
    assert list(out) == ["prediction", "lower", "upper"]
    expected = regressor.predict_interval(frame[USED][:1000], 0.8)
    np.testing.assert_allclose(out[["lower", "upper"]], expected, atol=1e-6)
    y = np.stack([frame["code"], frame["size"].fillna(0)], axis=1)
    two = EmbeddingRegressor(**FAST).fit(frame[USED], y)
    predict(folder / "part0.parquet", folder / "two.parquet", two)
    assert list(pd.read_parquet(folder / "two.parquet")) == ["prediction_0", "prediction_1"]


def test_features_of_an_encoder(folder, frame):
    encoder = EmbeddingEncoder(
        columns=["city", "code"], kind="prediction", cv=2, random_state=0, n_jobs=1
    )
    encoder.fit(frame[USED], frame["size"].fillna(0))
    predict(folder / "part*.parquet", folder / "out.parquet", encoder, keep=["id"])
    out = pd.read_parquet(folder / "out.parquet")
    assert list(out) == ["id", *encoder.get_feature_names_out()]
    pd.testing.assert_frame_equal(out.iloc[:, 1:], encoder.transform(frame[USED]), check_dtype=False)


def test_a_saved_model_and_csv(folder, frame, classifier):
    tabemb.save(classifier, folder / "m.tabemb")
    n = predict(folder / "part1.parquet", folder / "out.csv", folder / "m.tabemb", keep=["id", "city"])
    out = pd.read_csv(folder / "out.csv")
    assert n == 1000
    assert out["id"].tolist() == list(range(1000, 2000))
    assert out["city"].fillna("").tolist() == frame["city"][1000:2000].fillna("").tolist()
    expected = classifier.predict_proba(frame[USED][1000:2000])
    np.testing.assert_allclose(out.iloc[:, 3:], expected, atol=1e-6)


def test_a_new_column_never_takes_the_name_of_a_kept_one(folder, frame, regressor):
    frame.assign(prediction=1).to_parquet(folder / "part.parquet")
    predict(folder / "part.parquet", folder / "out.parquet", regressor, keep=["prediction"])
    out = pd.read_parquet(folder / "out.parquet")
    assert list(out) == ["prediction", "prediction_"]
    assert (out["prediction"] == 1).all()


def test_an_output_that_exists_is_replaced_only_when_asked(folder, regressor):
    (folder / "out.parquet").write_text("old")
    with pytest.raises(FileExistsError, match=r"out\.parquet' exists; pass overwrite=True"):
        predict(folder / "part0.parquet", folder / "out.parquet", regressor)
    assert (folder / "out.parquet").read_text() == "old"
    predict(folder / "part0.parquet", folder / "out.parquet", regressor, overwrite=True)
    assert len(pd.read_parquet(folder / "out.parquet")) == 1000
    with pytest.raises(ValueError, match="output must be none of the files that are read"):
        predict(folder / "*.parquet", folder / "part0.parquet", regressor, overwrite=True)


def damage(folder):
    """Cut out the middle of a file, so that its end stays readable."""
    path = folder / "part1.parquet"
    data = bytearray(path.read_bytes())
    data[2000:9000] = b"\0" * 7000
    path.write_bytes(data)


def truncate(folder):
    path = folder / "part1.parquet"
    path.write_bytes(path.read_bytes()[:-3000])


def empty(folder):
    (folder / "part1.parquet").write_bytes(b"")


def lacks(folder):
    pd.read_parquet(folder / "part1.parquet").rename(columns={"size": "sizes"}).to_parquet(
        folder / "part1.parquet"
    )


def another_type(folder):
    frame = pd.read_parquet(folder / "part1.parquet")
    frame.assign(city=frame["code"]).to_parquet(folder / "part1.parquet")


def infinite(folder):
    frame = pd.read_parquet(folder / "part1.parquet")
    frame.loc[frame.index[720], "size"] = np.inf
    frame.to_parquet(folder / "part1.parquet")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (damage, r"part1\.parquet' cannot be read \("),
        (truncate, r"part1\.parquet' cannot be read \("),
        (empty, r"part1\.parquet' cannot be read \("),
        (
            lacks,
            r"part1\.parquet' lacks column 'size', which the model reads \(did you mean",
        ),
        (
            another_type,
            r"Column 'city' must have one type in all files; it is .*string in '.*0",
        ),
        (infinite, r"part1\.parquet', counting from row 700: .*'size'.*20"),
    ],
)
def test_a_bad_file_is_named_and_nothing_is_written(folder, regressor, change, message):
    change(folder)
    with pytest.raises(ValueError, match=message) as caught:
        predict(folder / "part*.parquet", folder / "out.parquet", regressor, batch_size=700)
    assert str(caught.value).endswith((".", "?)."))
    assert left(folder) == []


def test_wrong_arguments_are_named(folder, regressor, classifier, frame):
    path, out = folder / "part0.parquet", folder / "out.parquet"
    cases = [
        (lambda: predict(path, folder / "out.txt", regressor), "output must end in"),
        (lambda: predict(path, out, regressor, keep="id"), "keep must be a list"),
        (lambda: predict(path, out, regressor, keep=["id", "id"]), "keep must name each column once"),
        (lambda: predict(path, out, regressor, keep=["ids"]), r"lacks column 'ids', which keep names"),
        (lambda: predict(path, out, classifier, coverage=0.9), "coverage must be None"),
        (lambda: predict(path, out, regressor, probabilities=True), "probabilities must be None"),
        (lambda: predict(path, out, regressor, batch_size=0), "batch_size must be a whole number"),
        (lambda: predict([], out, regressor), "source must name at least one file"),
        (lambda: predict(folder, out, regressor), "is a folder, so pass a pattern"),
        (lambda: predict(folder / "m.feather", out, regressor), "there is no file"),
        (lambda: predict(frame, out, regressor), "source must be a path"),
        (lambda: predict(path, out, object()), "model must be an EmbeddingClassifier"),
        (lambda: predict(path, out, EmbeddingRegressor()), "not fitted"),
    ]
    for call, message in cases:
        with pytest.raises((ValueError, TypeError, FileNotFoundError), match=message):
            call()
    array = EmbeddingRegressor(**FAST).fit(np.arange(40.0).reshape(20, 2), np.arange(20.0))
    with pytest.raises(ValueError, match="model must know its columns by name"):
        predict(path, out, array)
    assert left(folder) == []


def test_files_without_rows(folder, frame, classifier):
    frame[:0].to_parquet(folder / "part.parquet")
    assert predict(folder / "part.parquet", folder / "out.parquet", classifier, keep=["id"]) == 0
    out = pq.read_table(folder / "out.parquet")
    assert out.schema.names[:2] == ["id", "prediction"]
    assert out.num_rows == 0
    assert out.schema.field("prediction").type == pa.string()
    assert predict(folder / "part*.parquet", folder / "all.parquet", classifier, keep=["id"]) == 3000
    assert pq.read_schema(folder / "all.parquet").names == out.schema.names
    frame[:0].to_csv(folder / "part.csv", index=False)
    assert predict(folder / "part.csv", folder / "none.csv", classifier) == 0
    assert (folder / "none.csv").read_text().startswith('"prediction"')


def test_cells_of_csv_are_read_as_the_model_reads_them(tmp_path):
    train = pd.DataFrame(
        {
            "zip": ["00123", "53111", "NA", "53111"] * 50,
            "shop": [1.0, 2.0, np.nan, 2.0] * 50,
            "open": [True, False, True, False] * 50,
            "size": np.arange(200.0),
            "day": pd.date_range("2024-01-01", periods=200, tz="Europe/Berlin"),
        }
    )
    roles = {"shop": "categorical"}
    model = EmbeddingRegressor(**FAST, roles=roles).fit(train, np.arange(200) % 4)
    text = (
        "note,zip,shop,open,size,day\n"
        '"a\nb",00123,1,True,3,2024-01-05 00:00:00+01:00\n'
        "007,NA,2.0,false,NA,2024-02-05T00:00:00+01:00\n"
        ",NaN,,,,\n"
    )
    (tmp_path / "in.csv").write_text(text)
    predict(tmp_path / "in.csv", tmp_path / "out.parquet", model, keep=["note"])
    out = pd.read_parquet(tmp_path / "out.parquet")
    assert out["note"].fillna("missing").tolist() == ["a\nb", "007", "missing"]
    rows = pd.DataFrame(
        {
            "zip": ["00123", "NA", None],
            "shop": [1.0, 2.0, None],
            "open": [True, False, None],
            "size": [3.0, None, None],
            "day": pd.to_datetime(["2024-01-05", "2024-02-05", None]).tz_localize("Europe/Berlin"),
        }
    )
    np.testing.assert_allclose(out["prediction"], model.predict(rows), rtol=1e-9)
    (tmp_path / "in.csv").write_text(text.replace(",3,", ",three,"))
    with pytest.raises(ValueError, match=r"Column 'size' of .*in\.csv' must hold number .* 'three'"):
        predict(tmp_path / "in.csv", tmp_path / "bad.parquet", model)
    (tmp_path / "in.csv").write_text(text + "1,2\n")
    with pytest.raises(ValueError, match=r"in\.csv' cannot be read \(.*Expected 6 columns, got 2"):
        predict(tmp_path / "in.csv", tmp_path / "bad.parquet", model)
    (tmp_path / "in.csv").write_text("")
    with pytest.raises(ValueError, match=r"in\.csv' cannot be read \("):
        predict(tmp_path / "in.csv", tmp_path / "bad.parquet", model)
    assert not (tmp_path / "bad.parquet").exists()


def test_one_warning_of_unseen_categories_for_all_batches(folder, frame, regressor):
    late = frame.assign(city=np.where(frame.index < 1500, frame["city"], "Cairo"))
    late.to_parquet(folder / "late.parquet")
    with pytest.warns(tabemb.InputNote, match=r"'city' \(50% unseen") as caught:
        predict(folder / "late.parquet", folder / "out.parquet", regressor, batch_size=100)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    few = frame.assign(city=np.where(frame.index < 2900, frame["city"], "Cairo"))
    few.to_parquet(folder / "few.parquet")  # one batch is all unseen, but little of the file
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predict(folder / "few.parquet", folder / "few_out.parquet", regressor, batch_size=100)


def test_an_interrupt_leaves_nothing(folder, regressor, monkeypatch):
    calls = []

    def interrupted(self, frame):
        calls.append(frame.num_rows)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return np.zeros(frame.num_rows)

    monkeypatch.setattr(EmbeddingRegressor, "predict", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predict(folder / "part*.parquet", folder / "out.parquet", regressor, batch_size=700)
    assert left(folder) == []
    assert calls == [700, 300]


MEMORY = """
import sys
from pathlib import Path
from tabemb import load, predict
model = load(sys.argv[1])
for source in sys.argv[2:]:
    predict(source, source + ".out.parquet", model, batch_size=5000)
    status = Path("/proc/self/status").read_text()
    print(int(status.partition("VmHWM:")[2].split()[0]) / 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells the peak of memory")
def test_memory_does_not_grow_with_the_file(tmp_path, regressor):
    """A file with twenty times the rows, in one row group, needs only a fraction of its size."""
    tabemb.save(regressor, tmp_path / "m.tabemb")
    rows(20_000).assign(text="x" * 400).to_parquet(tmp_path / "small.parquet")
    large = pa.Table.from_pandas(rows(400_000))
    noise = np.random.default_rng(0).bytes(400_000 * 150).hex()
    notes = pa.array([noise[i : i + 300] for i in range(0, len(noise), 300)])  # 120 MB to carry over
    pq.write_table(
        large.append_column("text", notes), tmp_path / "large.parquet", row_group_size=400_000
    )
    paths = [str(tmp_path / name) for name in ("m.tabemb", "small.parquet", "large.parquet")]
    code = MEMORY.replace("batch_size=5000", "batch_size=5000, keep=['text']")
    shown = subprocess.run(
        [sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True
    ).stdout
    small, large = map(float, shown.split())
    assert large - small < 60, (small, large)


def test_the_command(folder, frame, regressor, capsys):
    tabemb.save(regressor, folder / "m.tabemb")
    model, out = str(folder / "m.tabemb"), str(folder / "out.parquet")
    command = ["predict", model, *(str(folder / f"part{i}.parquet") for i in range(3)), out]
    main([*command, "--keep", "id", "--keep", "city"])
    assert "out.parquet (3,000 rows)" in capsys.readouterr().err
    assert list(pd.read_parquet(out)) == ["id", "city", "prediction"]
    with pytest.raises(SystemExit) as stop:
        main(command)
    assert "pass overwrite=True" in str(stop.value.code) or "--overwrite" in str(stop.value.code)
    main(["predict", model, str(folder / "part*.parquet"), out, "--overwrite", "--coverage", "0.8"])
    assert list(pd.read_parquet(out)) == ["prediction", "lower", "upper"]


def test_progress_counts_rows(folder, regressor, monkeypatch):
    seen = []
    real = scoring.progress
    monkeypatch.setattr(
        scoring, "progress", lambda total, *rest: seen.append(total) or real(total, *rest)
    )
    predict(folder / "part*.parquet", folder / "out.parquet", regressor)
    assert seen == [3000]

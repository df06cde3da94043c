import io
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import KFold

import tabemb
from tabemb import EmbeddingClassifier, EmbeddingEncoder, EmbeddingRegressor, Table, load, save


def strange_frame(n=200):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "text": rng.choice(["a", "b", None], n),
            "id": rng.choice([2**53, 2**53 + 1], n),
            "mixed": pd.Series(rng.choice([0, 1], n)).map({0: (1, "x"), 1: "y"}),
            "flag": rng.random(n) < 0.5,
            "at": pd.Timestamp("2020-01-01", tz="Asia/Tokyo")
            + pd.to_timedelta(rng.integers(0, 500, n), unit="h"),
            "x": np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n)),
        }
    )


TARGETS = {
    "number": (EmbeddingRegressor, lambda x: np.arange(len(x), dtype=float), {}),
    "two numbers": (
        EmbeddingRegressor,
        lambda x: np.stack([np.arange(len(x))] * 2, 1),
        {"loss": "absolute_error"},
    ),
    "quantile": (
        EmbeddingRegressor,
        lambda x: np.arange(len(x), dtype=float),
        {"loss": "quantile", "quantile": 0.2},
    ),
    "text classes": (
        EmbeddingClassifier,
        lambda x: np.resize(["u", "v", "w"], len(x)),
        {"class_weight": "balanced"},
    ),
    "labels": (EmbeddingClassifier, lambda x: np.resize([[0, 1], [1, 1]], (len(x), 2)), {}),
    "two classes": (EmbeddingClassifier, lambda x: np.resize([["a", "b"], ["c", "d"]], (len(x), 2)), {}),
}


@pytest.mark.parametrize("kind", TARGETS)
def test_a_loaded_model_answers_the_same(kind, small, tmp_path):
    cls, target, settings = TARGETS[kind]
    X = strange_frame()
    tables = {"t": Table(["text"], dim=3, pretrained={"a": [1.0, 2.0, 3.0]}, frozen=True)}
    small = small | {"max_epochs": 2}
    model = cls(**small, **settings, roles={"id": "categorical"}, tables=tables).fit(X, target(X))
    tabemb.save(model, tmp_path / "m.tabemb")
    loaded = tabemb.load(tmp_path / "m.tabemb")
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    np.testing.assert_equal(loaded.learning_curve_, model.learning_curve_)
    assert loaded.spaces_["t"].categories.tolist() == ["a", "b"]
    assert loaded.get_params()["hidden"] == (32,)
    assert [p.name for p in tmp_path.iterdir()] == ["m.tabemb"]  # a single file


def test_loading_runs_no_code(small, tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("code was run",))

    path = tmp_path / "evil.tabemb"
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match="not a tabemb file"):
        tabemb.load(path)


def test_what_cannot_be_saved_says_so(small, tmp_path):
    X, y = strange_frame(), np.arange(200.0)
    small = small | {"max_epochs": 1, "trees": False}
    with pytest.raises(NotFittedError):
        tabemb.save(EmbeddingRegressor(), tmp_path / "m")
    with pytest.raises(
        TypeError, match=r"save takes EmbeddingClassifier or .*SequenceEncoder; got BytesIO"
    ):
        tabemb.save(io.BytesIO(), tmp_path / "m")
    seeded = EmbeddingRegressor(**{**small, "random_state": np.random.RandomState(0)}).fit(X, y)
    with pytest.raises(TypeError, match="random_state holds a RandomState"):
        tabemb.save(seeded, tmp_path / "m")
    fitted = EmbeddingRegressor(**small).fit(X, y)
    with pytest.raises(ValueError, match="is a folder"):
        tabemb.save(fitted, tmp_path)
    with pytest.raises(ValueError, match="folder that does not exist"):
        tabemb.save(fitted, tmp_path / "no" / "m")
    with pytest.raises(FileNotFoundError, match="is not a file"):
        tabemb.load(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_encoder_comes_back_with_its_vectors_and_its_net(tmp_path, shops):
    X, y = shops
    day = np.resize(["Mon", "Tue", "Wed"], len(X))
    X, y = X.assign(day=day), y + 3 * (day == "Mon") * (X["shop"] == X["shop"][0])
    net = EmbeddingRegressor(
        hidden=(8,), n_members=1, max_epochs=1, tables={"place": Table(["shop"], dim=3)}
    )
    encoder = EmbeddingEncoder(kind="both", cv=2, n_repeats=1, estimator=net, random_state=0).fit(X, y)
    save(encoder, tmp_path / "shops.tabemb")
    loaded = load(tmp_path / "shops.tabemb")
    pd.testing.assert_frame_equal(loaded.transform(X), encoder.transform(X))
    assert list(loaded.get_feature_names_out()) == list(encoder.get_feature_names_out())
    assert loaded.pairs_ == encoder.pairs_ == [("shop", "day")]
    assert loaded.estimator.get_params()["tables"] == {"place": Table(["shop"], dim=3)}
    np.testing.assert_array_equal(loaded.spaces_["place"].vectors, encoder.spaces_["place"].vectors)
    with pytest.raises(TypeError, match="cv holds a KFold"):
        save(EmbeddingEncoder(kind="prediction", cv=KFold(2)).fit(X, y), tmp_path / "no.tabemb")

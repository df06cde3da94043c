import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import tabemb
from tabemb import HistoryJoiner, SequenceEncoder

QUICK = {"d_history": 8, "max_epochs": 2, "random_state": 0, "n_jobs": 1}


def behaviours(n=240, seed=0):
    """Return rows of four kinds with different transitions between letters of equal frequency."""
    rng = np.random.default_rng(seed)
    kind, letters = np.arange(n) % 4, np.array(list("abcde"))
    rows = []
    for usual in kind:
        steps = np.where(rng.random(30) < 0.8, usual + 1, rng.integers(5, size=30))
        rows.append(letters[steps.cumsum() % 5].tolist())
    return pd.DataFrame({"letters": rows, "n": rng.normal(size=n)}), kind


@pytest.mark.slow
def test_vectors_distinguish_behaviours_without_a_target():
    X, kind = behaviours()
    encoder = SequenceEncoder(
        d_history=16, max_epochs=40, batch_size=20, learning_rate=0.01, random_state=0, n_jobs=1
    )
    encoder.fit(X)
    new, theirs = behaviours(120, seed=1)
    few = np.arange(20)
    classifier = LogisticRegression(max_iter=1000).fit(encoder.transform(X)[few], kind[few])
    learned = classifier.score(encoder.transform(new), theirs)
    assert encoder.learning_curve_["train_loss"][-1] < encoder.learning_curve_["train_loss"][0]
    untrained = clone(encoder).set_params(max_epochs=1, learning_rate=1e-9).fit(X)
    classifier.fit(untrained.transform(X)[few], kind[few])
    assert learned > 0.95
    assert classifier.score(untrained.transform(new), theirs) < 0.7


def test_a_row_without_events_has_a_vector_of_zeros():
    X, _ = behaviours(40)
    X.loc[7, "letters"] = None
    encoder = SequenceEncoder(**QUICK).fit(X)
    vectors = encoder.transform(X)
    assert vectors.shape == (40, 8)
    assert vectors.dtype == np.float32
    assert not vectors[7].any()


def test_it_stands_in_a_pipeline_behind_a_log():
    rng = np.random.default_rng(0)
    log = pd.DataFrame(
        {"who": rng.integers(20, size=300), "at": np.arange(300), "what": rng.choice(list("ab"), 300)}
    )
    log["paid"] = rng.normal(size=300)
    rows = pd.DataFrame({"who": np.arange(22), "today": 250})
    pipeline = make_pipeline(
        HistoryJoiner(log, entity="who", time="at", cutoff="today"),
        SequenceEncoder(**QUICK, pooling="all"),
    )
    vectors = pipeline.set_output(transform="pandas").fit_transform(rows)
    assert vectors.shape == (22, 24)
    assert vectors.columns[0] == "sequenceencoder0"
    assert (vectors.iloc[20:] == 0).all(axis=None)


def test_the_same_seed_gives_the_same_vectors_and_so_does_the_file(tmp_path):
    X, _ = behaviours(60)
    first, second = (SequenceEncoder(**QUICK, history="mean").fit(X) for _ in range(2))
    np.testing.assert_array_equal(first.transform(X), second.transform(X))
    tabemb.save(first, tmp_path / "s.tabemb")
    again = tabemb.load(tmp_path / "s.tabemb")
    np.testing.assert_array_equal(again.transform(X), first.transform(X))
    assert set(again.spaces_["letters"].categories) == set("abcde")


@pytest.mark.parametrize(
    ("X", "settings", "error"),
    [
        (
            pd.DataFrame({"a": [1, 2]}),
            {},
            "X must have a column of lists; HistoryJoiner makes one of a log",
        ),
        (
            pa.table({"a": [["x"], []]}),
            {},
            "events in at least two rows, to compare them; got 1",
        ),
        (pa.table({"a": [["x"], ["y"]]}), {"temperature": 0}, "temperature must be a number > 0; got 0"),
        (
            pa.table({"a": [["x"], ["y"]]}),
            {"batch_size": "auto"},
            "batch_size must be a whole number >= 1; got 'auto'",
        ),
    ],
)
def test_what_is_wrong_is_named(X, settings, error):
    with pytest.raises(ValueError, match=error):
        SequenceEncoder(**settings).fit(X)

"""Callbacks get the values of the learning curve, may end a fit, and do not corrupt it on errors."""

import sys

import numpy as np
import pandas as pd
import pytest

from tabemb import EmbeddingClassifier, EmbeddingRegressor, PairEmbedder, SequenceEncoder
from tabemb.callbacks import Callback, MLflow, TensorBoard

QUICK = {"n_members": 1, "hidden": (8,), "random_state": 0}


def rows(n=300):
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"city": rng.choice(list("abcde"), n), "price": rng.normal(size=n)})
    return X, X["price"] + (X["city"] < "c") + rng.normal(size=n)


class Notes(Callback):
    def __init__(self, last=None, fails=False):
        self.epochs, self.ends, self.last, self.fails = [], [], last, fails

    def on_fit_start(self, estimator):
        self.started = estimator

    def on_epoch_end(self, epoch):
        self.epochs.append(epoch)
        if self.fails:
            raise RuntimeError("no space left")
        return epoch.number == self.last

    def on_fit_end(self, estimator, error):
        self.ends.append((estimator, error))


def test_epochs_are_those_of_the_learning_curve():
    X, y = rows()
    notes = Notes()
    model = EmbeddingRegressor(**QUICK, patience=1).fit(X, y, callbacks=[notes])
    assert notes.started is model
    assert notes.ends == [(model, None)]
    curve, epochs = model.learning_curve_, notes.epochs
    assert [epoch.train_loss for epoch in epochs] == curve["train_loss"]
    np.testing.assert_array_equal([epoch.eval_loss for epoch in epochs], curve["eval_loss"])
    assert [epoch.number for epoch in epochs] == list(range(1, len(epochs) + 1))
    validated = [epoch for epoch in epochs if epoch.eval_loss == epoch.eval_loss]
    assert len(validated) < len(epochs)  # the epochs on all rows follow
    assert max(epoch.number for epoch in validated if epoch.is_best) == model.best_epoch_ + 1
    assert np.all(np.diff([epoch.seconds for epoch in epochs]) > 0)


def test_a_callback_ends_the_fit_and_what_was_trained_is_kept():
    X, y = rows()
    notes = Notes(last=2)
    model = EmbeddingRegressor(**QUICK, max_epochs=6, early_stopping=False)
    model.fit(X, y, callbacks=[notes])
    assert len(model.learning_curve_["epoch"]) == 2
    assert model.predict(X).shape == (300,)
    assert len(model.fit(X, y).learning_curve_["epoch"]) == 6  # without it, the next fit is complete


def test_a_callback_that_fails_leaves_the_estimator_as_it_was():
    X, y = rows()
    model = EmbeddingRegressor(**QUICK, max_epochs=2).fit(X, y)
    before, notes = model.predict(X), Notes(fails=True)
    with pytest.raises(RuntimeError, match="no space left"):
        model.fit(X, -y, callbacks=[notes])
    np.testing.assert_array_equal(model.predict(X), before)
    ((_, error),) = notes.ends
    assert str(error) == "no space left"


def test_a_callback_that_fails_at_the_start_is_the_error_that_is_seen(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard.summary", None)
    first, last = Notes(), Notes()
    with pytest.raises(ImportError, match=r"pip install 'tabemb\[tensorboard\]' brings it"):
        EmbeddingRegressor().fit(*rows(), callbacks=[first, TensorBoard(tmp_path), last])
    assert len(first.ends) == 1
    assert last.ends == []


def test_other_estimators_are_watched_too():
    pairs = pd.DataFrame({"user": list("aabbccdd") * 5, "item": list("wxyzwyxz") * 5})
    notes = Notes(last=3)
    model = PairEmbedder(dim=4, max_epochs=9, random_state=0).fit(pairs, callbacks=notes)
    assert len(model.learning_curve_["epoch"]) == len(notes.epochs) == 3
    lists = pd.DataFrame({"events": [[1, 2, 3], [2, 3, 1], [3, 1, 2]] * 20})
    notes = Notes(last=1)
    SequenceEncoder(max_epochs=4, random_state=0).fit(lists, callbacks=[notes])
    assert len(notes.epochs) == 1


@pytest.mark.parametrize("wrong", [[print], "tensorboard"])
def test_what_is_no_callback_is_refused(wrong):
    with pytest.raises(TypeError, match=r"callbacks must be a list of tabemb\.callbacks\.Callback"):
        EmbeddingRegressor().fit(*rows(), callbacks=wrong)


def test_tensorboard_shows_the_losses(tmp_path):
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    model = EmbeddingRegressor(**QUICK, max_epochs=4, early_stopping=True)
    model.fit(*rows(), callbacks=[TensorBoard(tmp_path)])
    shown = accumulators.EventAccumulator(str(tmp_path), size_guidance={"tensors": 0}).Reload()
    for name in ("train_loss", "eval_loss"):
        losses = [shown_tensor(event) for event in shown.Tensors(name)]
        expected = np.array(model.learning_curve_[name])
        np.testing.assert_allclose(losses, expected[np.isfinite(expected)], rtol=1e-6)


def shown_tensor(event):
    return event.tensor_proto.float_val[0]


@pytest.mark.filterwarnings("ignore:The ``noload`` loader")  # within MLflow
def test_mlflow_keeps_a_run(tmp_path):
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/runs.db")
    X, y = rows()
    model = EmbeddingClassifier(**QUICK, max_epochs=3, early_stopping=False)
    model.fit(X, y > 0, callbacks=[MLflow()])
    client = mlflow.MlflowClient()
    (run,) = client.search_runs(["0"])
    assert run.info.status == "FINISHED"
    assert run.data.params["estimator"] == "EmbeddingClassifier"
    assert run.data.params["max_epochs"] == "3"
    losses = [metric.value for metric in client.get_metric_history(run.info.run_id, "train_loss")]
    assert losses == pytest.approx(model.learning_curve_["train_loss"])
    with pytest.raises(RuntimeError):
        model.fit(X, y > 0, callbacks=[MLflow(), Notes(fails=True)])
    assert {run.info.status for run in client.search_runs(["0"])} == {"FINISHED", "FAILED"}
    with mlflow.start_run():
        model.fit(X, y > 0, callbacks=[MLflow()])
        assert mlflow.active_run() is not None
    assert len(client.search_runs(["0"])) == 3


@pytest.mark.parametrize("as_list", [True, False])
def test_an_eval_set_is_eval_X_and_eval_y(as_list):
    X, y = rows()
    pair = (X[200:], y[200:])
    model = EmbeddingRegressor(**QUICK, max_epochs=3)
    one = model.fit(X[:200], y[:200], eval_set=[pair] if as_list else pair).learning_curve_["eval_loss"]
    two = model.fit(X[:200], y[:200], eval_X=pair[0], eval_y=pair[1]).learning_curve_["eval_loss"]
    assert one == two


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"eval_set": [rows(), rows()]}, "must be a list of one pair .* got a list of 2"),
        ({"eval_set": rows()[0]}, "must be a list of one pair .* got a DataFrame of 300"),
        ({"eval_set": [rows()], "eval_X": rows()[0]}, "eval_set goes without eval_X"),
    ],
)
def test_an_eval_set_of_another_form_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        EmbeddingRegressor().fit(*rows(), **given)

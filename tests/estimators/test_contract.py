"""The contract of all public estimators, on small planted data with known answers."""

import copy
import itertools
import pickle
from typing import ClassVar

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score
from sklearn.neighbors import KNeighborsClassifier

import tabemb
from tabemb.training.optimizers import Optimizer

NETWORK = {"hidden": (16,), "n_members": 2, "max_epochs": 2, "batch_size": 32, "n_jobs": 1}
QUICK = {**NETWORK, "random_state": 0}
EFFECTS = {"north": -2.0, "south": 0.0, "east": 1.0, "west": 3.0}
LIBRARIES = {"polars": pl.from_pandas, "pyarrow": pa.Table.from_pandas}
YEAR = pd.Timedelta("366D")


def shops(n=240, seed=0):
    """Rows whose target is the effect of a shop and twice a number, without noise."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({"shop": rng.choice(list(EFFECTS), n), "size": rng.normal(size=n)})
    return X, (X["shop"].map(EFFECTS) + 2 * X["size"]).to_numpy()


def events(n=400, seed=0):
    """The same rows as a log of ten entities."""
    X, y = shops(n, seed)
    rng = np.random.default_rng(seed)
    who = rng.choice([f"w{i}" for i in range(10)], n)
    at = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.permutation(n), unit="h")
    return pd.DataFrame({"who": who, "at": at, "shop": X["shop"], "size": X["size"]}), y


def visits(n=120, seed=0):
    """Rows of events and their kind: visits of the first two of four pages, or of the last two."""
    rng = np.random.default_rng(seed)
    kind = np.arange(n) % 2
    pages = [["abcd"[2 * k + rng.integers(2)] for _ in range(6)] for k in kind]
    lists = [[{"page": page, "paid": rng.normal()} for page in row] for row in pages]
    return pd.DataFrame({"visits": lists}), kind


def stops(error):
    def stop(*args, **kwargs):
        raise error("stopped")

    return stop


def third_step_stops():
    """Return an optimizer step that is interrupted after the third call."""
    step, calls = Optimizer.step, itertools.count(1)

    def counted(*args):
        step(*args)
        if next(calls) == 3:
            raise KeyboardInterrupt

    return counted


def pytest_generate_tests(metafunc):
    if "fault" in metafunc.fixturenames:
        metafunc.parametrize("fault", metafunc.cls.faults)


@pytest.fixture(scope="class")
def fitted(request):
    """A model fitted on the contract's data; no test may change it."""
    contract = request.cls()
    return contract.fit(contract.make())


class Contract:
    """Tests for every estimator. A subclass defines how to make one, and its data."""

    estimator: type
    settings: ClassVar = QUICK
    """Parameters of a quick fit."""
    longer: ClassVar = {"max_epochs": 25, "learning_rate": 0.01}
    """Changed parameters with which the estimator learns its data well."""
    categories = ("shop",)
    """Categorical columns, which may contain unseen categories."""
    optional = ("shop", "size")
    """Columns whose cells may be missing."""
    tolerance: ClassVar = {"rtol": 1e-9}
    """How far the prediction of a row may depend on the other rows of the call."""
    faults: ClassVar = {
        "infinite number in the last column": ValueError,
        "interrupt in training": KeyboardInterrupt,
        "failure in the last stage": RuntimeError,
    }
    """Faults of a fit, and the errors that they raise."""
    last_stage = "tabemb.fitting.sources.RowSource.finish"
    """The last function that fit calls before it sets attributes."""

    def make(self, **changes):
        """Return an unfitted estimator with the quick settings and these changes."""
        return self.estimator(**{**self.settings, **changes})

    def rows(self):
        """Return X and y to fit on; y is None if there is no target."""
        raise NotImplementedError

    def new_rows(self):
        """Return X to predict."""
        return self.rows()[0].head(40)

    def predictions(self, model, X):
        """Return the output of a fitted estimator for each row, as numbers (n, d)."""
        return self.values(model.transform(X))

    def values(self, output):
        """Return the output of transform as numbers (n, d)."""
        return np.asarray(output, dtype=float)

    def score(self, model):
        """Return how well a fitted estimator has learned the planted answer; one is perfect."""
        raise NotImplementedError

    def with_category(self, X, name, category):
        return X.assign(**{name: category})

    def with_missing(self, X, name):
        """Yield X with a column of missing values, in every dtype for them."""
        for dtype in (X[name].dtype, X[name].convert_dtypes().dtype, object):
            yield X.assign(**{name: pd.Series([None] * len(X), X.index, dtype=dtype)})

    def with_infinity(self, X):
        X.iloc[-1, -1] = np.inf
        return X

    def fit(self, model, X=None, y=None, **arguments):
        if X is None:
            X, y = self.rows()
        return model.fit(X, **arguments) if y is None else model.fit(X, y, **arguments)

    def test_the_planted_structure_is_found(self):
        assert self.score(self.fit(self.make(**self.longer))) > 0.9

    # Copies

    def test_a_clone_has_equal_parameters_and_fits_the_same(self, fitted):
        again, X = clone(fitted), self.new_rows()
        assert repr(again.get_params()) == repr(fitted.get_params())
        with pytest.raises(NotFittedError):
            self.predictions(again, X)
        np.testing.assert_array_equal(self.predictions(self.fit(again), X), self.predictions(fitted, X))

    def test_pickle_keeps_every_prediction(self, fitted):
        X = self.new_rows()
        for model in (fitted, copy.deepcopy(fitted).set_output(transform="pandas")):
            again = pickle.loads(pickle.dumps(model))
            np.testing.assert_array_equal(self.predictions(again, X), self.predictions(fitted, X))

    def test_the_file_keeps_predictions_spaces_and_parameters(self, fitted, tmp_path):
        X = self.new_rows()
        for model in (fitted, copy.deepcopy(fitted).set_output(transform="pandas")):
            tabemb.save(model, tmp_path / "model.tabemb")
            again = tabemb.load(tmp_path / "model.tabemb")
            np.testing.assert_array_equal(self.predictions(again, X), self.predictions(fitted, X))
            assert repr(again.get_params()) == repr(fitted.get_params())
            assert list(again.get_feature_names_out()) == list(fitted.get_feature_names_out())
            assert list(again.spaces_) == list(fitted.spaces_)
            for name, space in fitted.spaces_.items():
                assert again.spaces_[name].categories.equals(space.categories)
                np.testing.assert_array_equal(again.spaces_[name].vectors, space.vectors)

    # Cells

    @pytest.mark.filterwarnings("ignore:X has many categories that training did not have")
    def test_unseen_categories_have_one_defined_answer(self, fitted):
        X = self.new_rows()
        for name in self.categories:
            one, other = (
                self.predictions(fitted, self.with_category(X, name, unseen))
                for unseen in ("mars", "pluto")
            )
            assert np.isfinite(one).all()
            np.testing.assert_array_equal(one, other)

    def test_the_order_of_levels_changes_nothing(self, fitted):
        (X, y), new = self.rows(), self.new_rows()
        for name in X.columns.intersection(self.categories):
            levels = ["unused", *sorted(X[name].unique(), reverse=True)]
            dtype = {name: pd.CategoricalDtype(levels)}
            for model in (fitted, self.fit(self.make(), X.astype(dtype), y)):
                predictions = self.predictions(model, new.astype(dtype))
                np.testing.assert_array_equal(predictions, self.predictions(fitted, new))

    def test_missing_cells_have_one_defined_answer(self, fitted):
        X = self.new_rows()
        for name in self.optional:
            first, *others = (self.predictions(fitted, rows) for rows in self.with_missing(X, name))
            assert np.isfinite(first).all()
            for other in others:
                np.testing.assert_array_equal(other, first)

    # Frames

    @pytest.mark.parametrize("library", LIBRARIES)
    def test_every_library_gives_the_same(self, fitted, library):
        (X, y), new, convert = self.rows(), self.new_rows(), LIBRARIES[library]
        expected = self.predictions(fitted, new)
        np.testing.assert_array_equal(self.predictions(fitted, convert(new)), expected)
        again = self.fit(self.make(), convert(X), y)
        np.testing.assert_array_equal(self.predictions(again, convert(new)), expected)

    def test_the_order_of_columns_and_further_ones_change_nothing(self, fitted):
        X = self.new_rows()
        turned = X[X.columns[::-1]]
        for other in (turned, turned.assign(further=1.0)[["further", *turned.columns]]):
            np.testing.assert_array_equal(self.predictions(fitted, other), self.predictions(fitted, X))

    def test_one_row_is_predicted_as_many_are(self, fitted):
        X = self.new_rows()
        together = self.predictions(fitted, X)
        order = np.random.default_rng(0).permutation(len(X))
        shuffled = self.predictions(fitted, X.iloc[order])
        np.testing.assert_allclose(shuffled, together[order], **self.tolerance)
        alone = np.concatenate([self.predictions(fitted, X.iloc[[i]]) for i in range(5)])
        np.testing.assert_allclose(alone, together[:5], **self.tolerance)

    @pytest.mark.parametrize("library", ["pandas", "polars"])
    def test_transform_gives_named_columns_in_the_chosen_library(self, fitted, library):
        X, model = self.new_rows(), copy.deepcopy(fitted)
        frame = model.set_output(transform=library).transform(X)
        assert type(frame) is {"pandas": pd.DataFrame, "polars": pl.DataFrame}[library]
        assert list(frame.columns) == list(model.get_feature_names_out())
        np.testing.assert_array_equal(self.values(frame), self.values(fitted.transform(X)))

    # Refusals

    def test_an_unknown_argument_is_refused_in_the_name_of_the_class(self):
        name = type(self.make()).__name__
        with pytest.raises(TypeError, match=rf"^{name}\b.* unexpected keyword argument 'misspelt'"):
            self.make(misspelt=1)
        with pytest.raises(TypeError, match=rf"^{name}\.fit.* unexpected keyword argument 'misspelt'"):
            self.fit(self.make(), misspelt=1)

    def faulty_fit(self, model, fault, monkeypatch):
        """Fit other rows with an additional column, so that any trace shows; the fault ends the fit."""
        X, y = self.rows()
        X, y = X[::-1].reset_index(drop=True), None if y is None else y[::-1].copy()
        X.insert(0, "further", 1.0)
        with monkeypatch.context() as patch:
            X, y = self.with_fault(X, y, fault, patch)
            with pytest.raises(self.faults[fault]):
                self.fit(model, X, y)

    def with_fault(self, X, y, fault, patch):
        if fault == "infinite number in the last column":
            X = self.with_infinity(X)
        elif fault == "interrupt in training":
            patch.setattr(Optimizer, "step", third_step_stops())
        elif fault == "failure in the last stage":
            patch.setattr(self.last_stage, stops(RuntimeError))
        return X, y

    def test_a_refused_refit_changes_nothing(self, fitted, fault, monkeypatch):
        model, X = copy.deepcopy(fitted), self.new_rows()
        self.predictions(model, X)  # this may fill caches
        attributes, pickled = dict(vars(model)), pickle.dumps(model)
        self.faulty_fit(model, fault, monkeypatch)
        assert vars(model).keys() == attributes.keys()
        assert all(vars(model)[name] is value for name, value in attributes.items())
        assert pickle.dumps(model) == pickled
        np.testing.assert_array_equal(self.predictions(model, X), self.predictions(fitted, X))

    def test_a_refused_first_fit_leaves_an_unfitted_model(self, fault, monkeypatch):
        model = self.make()
        for fit in (lambda: None, lambda: self.faulty_fit(model, fault, monkeypatch)):
            fit()
            assert vars(model).keys() == vars(self.make()).keys()
            with pytest.raises(NotFittedError):
                self.predictions(model, self.new_rows())


class Supervised(Contract):
    """Tests for estimators with a target."""

    faults: ClassVar = {"missing target": ValueError, **Contract.faults}
    rows_are_apart = True
    """Whether repeated rows are independent of each other; events are not."""

    def coded(self, y):
        """Return a target of the estimator from zeros and ones."""
        return y

    def level(self, predictions):
        """Return the mean prediction of zeros and ones."""
        return predictions.mean()

    def with_fault(self, X, y, fault, patch):
        if fault == "missing target":
            y = y.astype(object)
            y[-1] = None
        return super().with_fault(X, y, fault, patch)

    def level_of(self, X, y, weights=None):
        model = self.make().fit(X, self.coded(y), weights)
        return self.level(self.predictions(model, self.new_rows()))

    def test_a_row_of_weight_three_counts_as_three_rows(self):
        """Half of the targets are one, independent of X; weights raise their share to three quarters."""
        X, _ = self.rows()
        y = np.random.default_rng(0).permutation(np.arange(len(X)) % 2)
        weights = np.where(y == 1, 3, 1)
        assert self.level_of(X, y) == pytest.approx(1 / 2, abs=0.05)
        assert self.level_of(X, y, weights) == pytest.approx(3 / 4, abs=0.05)
        if self.rows_are_apart:
            rows = np.repeat(np.arange(len(X)), weights)
            assert self.level_of(X.iloc[rows], y[rows]) == pytest.approx(3 / 4, abs=0.05)


class Predictor(Supervised):
    """Tests for classifiers and regressors."""

    world = staticmethod(shops)
    absurd = 1e9
    """A target that must have no influence."""

    def after(self, X):
        """Return rows of fit as rows to predict."""
        return X

    @pytest.mark.filterwarnings("ignore:X has many categories that training did not have")
    def test_rows_of_weight_zero_are_exactly_as_if_absent(self):
        X, y = self.rows()
        weights = np.random.default_rng(0).uniform(1, 3, len(X))
        expected = self.fit(self.make(), X, y, sample_weight=weights)
        more = X.head(30).assign(shop="only here")
        model = self.fit(
            self.make(),
            pd.concat([more, X], ignore_index=True),
            np.concatenate([np.full(30, self.absurd), y]),
            sample_weight=np.concatenate([np.zeros(30), weights]),
        )
        for rows in (self.new_rows(), self.after(more)):
            np.testing.assert_array_equal(
                self.predictions(model, rows), self.predictions(expected, rows)
            )

    @pytest.mark.parametrize("name", ["validation_data", "cat_features", "cat_cols"])
    def test_names_of_other_libraries_get_a_hint(self, name):
        hint = "eval_X and eval_y" if name == "validation_data" else r"roles=\{column: 'categorical'\}"
        for call in (self.make, lambda **argument: self.fit(self.make(), **argument)):
            with pytest.raises(TypeError, match=rf"'{name}'\. Did you mean {hint}"):
                call(**{name: ["shop"]})


class Regressor(Predictor):
    def rows(self):
        return self.world()

    def predictions(self, model, X):
        return model.predict(X).reshape(len(X), -1)

    def score(self, model):
        X, y = self.world(seed=1)
        return r2_score(y, model.predict(self.after(X)))


class Classifier(Predictor):
    absurd = "never"

    def rows(self):
        X, y = self.world()
        return X, self.coded(y)

    def coded(self, y):
        return np.where(y > 0, "yes", "no")

    def level(self, predictions):
        return predictions[:, 1].mean()

    def predictions(self, model, X):
        return model.predict_proba(X)

    def score(self, model):
        X, y = self.world(seed=1)
        return (model.predict(self.after(X)) == self.coded(y)).mean()

    def test_probabilities_are_shares_of_the_classes(self, fitted):
        X = self.new_rows()
        probability = fitted.predict_proba(X)
        assert fitted.classes_.tolist() == ["no", "yes"]
        np.testing.assert_allclose(probability.sum(axis=1), 1, rtol=1e-6)
        np.testing.assert_array_equal(fitted.predict(X), fitted.classes_[probability.argmax(axis=1)])


class TestEmbeddingRegressor(Regressor):
    estimator = tabemb.EmbeddingRegressor


class TestEmbeddingClassifier(Classifier):
    estimator = tabemb.EmbeddingClassifier


class Events(Predictor):
    """Tests for estimators of events."""

    world = staticmethod(events)
    settings: ClassVar = {**QUICK, "entity": "who", "time": "at", "d_history": 8}
    rows_are_apart = False
    categories = ("who", "shop")
    tolerance: ClassVar = {"rtol": 1e-5, "atol": 1e-6}
    last_stage = "tabemb.network.model.TabularNetwork.advance"  # the states of the entities

    def new_rows(self):
        return self.after(events(40, seed=2)[0])

    def after(self, X):
        return X.assign(at=X["at"] + YEAR)


class TestEventRegressor(Events, Regressor):
    estimator = tabemb.EventRegressor


class TestEventClassifier(Events, Classifier):
    estimator = tabemb.EventClassifier


class TestEmbeddingEncoder(Supervised):
    estimator = tabemb.EmbeddingEncoder
    network = tabemb.EmbeddingRegressor(**NETWORK)
    settings: ClassVar = {
        "kind": "both",
        "cv": 2,
        "n_repeats": 1,
        "estimator": network,
        "random_state": 0,
    }
    longer: ClassVar = {}
    optional = ("shop",)
    last_stage = "tabemb.estimators.encoder.Columns.of"

    def rows(self):
        return shops()

    def level(self, predictions):
        return predictions[:, 1].mean()  # shop_effect, after the size

    def score(self, model):
        X, y = shops(seed=1)
        features = model.transform(X)
        return LinearRegression().fit(features, y).score(features, y)

    def test_targets_of_rows_of_weight_zero_change_nothing(self):
        X, y = self.rows()
        weights = np.r_[np.zeros(30), np.full(len(X) - 30, 2.0)]
        expected = self.make().fit_transform(X, y, sample_weight=weights)
        changed = self.make().fit_transform(X, np.where(weights, y, 1e9), sample_weight=weights)
        pd.testing.assert_frame_equal(changed, expected)


class TestSequenceEncoder(Contract):
    estimator = tabemb.SequenceEncoder
    settings: ClassVar = {"max_epochs": 2, "batch_size": 32, "n_jobs": 1, "random_state": 0}
    longer: ClassVar = {"max_epochs": 5, "learning_rate": 0.01}
    categories = ("page",)
    optional = ("page", "paid", "visits")
    tolerance: ClassVar = {"rtol": 1e-5, "atol": 1e-6}
    last_stage = "tabemb.training.best.BestWeights.restore"

    def rows(self):
        return visits()[0], None

    def score(self, model):
        (X, kind), (new, new_kind) = visits(), visits(seed=1)
        neighbors = KNeighborsClassifier(1).fit(model.transform(X), kind)
        return neighbors.score(model.transform(new), new_kind)

    def with_category(self, X, name, category):
        return X.assign(visits=[[{**event, name: category} for event in row] for row in X["visits"]])

    def with_missing(self, X, name):
        if name == "visits":
            yield from (X.assign(visits=[[]] * len(X)), X.assign(visits=[None] * len(X)))
        else:
            yield self.with_category(X, name, None)

    def with_infinity(self, X):
        return X.assign(visits=[*X["visits"][:-1], [{"page": "a", "paid": np.inf}]])


LOG = pd.DataFrame({"who": list("abaab"), "day": [3, 1, 2, 9, 5], "paid": [5.0, 1.0, 3.0, 7.0, 2.0]})
ROWS = pd.DataFrame({"who": list("aaabc"), "today": [3, 4, 99, 5, 99]})
TRUTH = np.array([[1, 3], [2, 8], [3, 15], [1, 1], [0, 0]])
"""Number of events strictly before each row's cutoff, and their sum."""


class Joiner(Contract):
    """Tests for joiners, which have no training parameters."""

    settings: ClassVar = {"log": LOG, "entity": "who", "time": "day", "cutoff": "today"}
    longer: ClassVar = {}
    categories = optional = ("who",)

    def rows(self):
        return ROWS, None

    def score(self, model):
        return float(np.array_equal(self.predictions(model, ROWS), TRUTH))

    def with_missing(self, X, name):
        yield from ((X.assign(**{name: pd.array([None] * len(X), dtype=t)})) for t in ("str", "string"))

    def test_the_file_keeps_predictions_spaces_and_parameters(self, fitted, tmp_path):
        with pytest.raises(TypeError, match=f"save takes .*; got {type(fitted).__name__}"):
            tabemb.save(fitted, tmp_path / "model.tabemb")

    def test_an_unknown_argument_is_refused_in_the_name_of_the_class(self):
        name = type(self.make()).__name__
        with pytest.raises(TypeError, match=rf"^{name}\b.* unexpected keyword argument 'misspelt'"):
            self.make(misspelt=1)


class TestHistoryJoiner(Joiner):
    estimator = tabemb.HistoryJoiner
    faults: ClassVar = {"column of the new name": ValueError}

    def values(self, output):
        column = output["history"]
        lists = column.to_pylist() if isinstance(output, pa.Table) else column.to_list()
        return np.array([[len(row), sum(event["paid"] for event in row)] for row in lists])

    def with_fault(self, X, y, fault, patch):
        return X.assign(history=1), y


class TestAggregateJoiner(Joiner):
    estimator = tabemb.AggregateJoiner
    faults: ClassVar = {"lack of the entity": ValueError}

    def values(self, output):
        return np.column_stack([output["history_count"], output["history_paid_sum"]])

    def with_fault(self, X, y, fault, patch):
        return X.drop(columns="who"), y

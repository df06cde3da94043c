from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.base import clone

from tabemb.compare import MODELS, ModelSpec, build_model
from tabemb.compare.metrics import class_probabilities, row_losses
from tabemb.compare.models import code_version
from tabemb.compare.preparation import as_numbers, as_text, datetime_numbers, sort_columns

N_TEST = 150
# small settings: the tests check whether a model learns, not how well
QUICK = {
    "embedding": {"max_epochs": 8, "n_members": 2, "batch_size": 64, "learning_rate": 0.01},
    "catboost": {"iterations": 100},
    "lightgbm_td": {"n_estimators": 100},
    "random_forest": {"n_estimators": 40},
}


def mean_loss(name, dataset):
    X, y = dataset.X, dataset.y.to_numpy()
    spec = ModelSpec(name, QUICK.get(name, {}))
    model = clone(build_model(spec, dataset.task, X.iloc[:-N_TEST], dataset.roles, seed=0, n_jobs=1))
    model.fit(X.iloc[:-N_TEST], y[:-N_TEST])
    if dataset.task == "regression":
        return row_losses("regression", y[-N_TEST:], model.predict(X.iloc[-N_TEST:])).mean()
    classes = np.unique(y)
    probabilities = class_probabilities(model, X.iloc[-N_TEST:], classes)
    assert set(model.predict(X.iloc[-N_TEST:])) <= set(classes)
    return row_losses(dataset.task, y[-N_TEST:], probabilities, classes).mean()


@pytest.mark.parametrize("task", ["regression", "binary", "multiclass"])
@pytest.mark.parametrize("name", [name for name in MODELS if name != "dummy"])
def test_every_model_takes_the_same_frame_and_learns(name, task, request):
    if name == "catboost":
        pytest.importorskip("catboost")
    dataset = request.getfixturevalue(task)
    assert mean_loss(name, dataset) < 0.85 * mean_loss("dummy", dataset)


def test_dummy_is_the_mean(regression):
    model = build_model(ModelSpec("dummy"), "regression", regression.X).fit(regression.X, regression.y)
    assert model.predict(regression.X.head(1))[0] == pytest.approx(regression.y.mean())


def test_names_and_parameters_are_checked(regression):
    with pytest.raises(ValueError, match=r"got 'xgboots' \(there are 'embedding', 'lightgbm'"):
        build_model(ModelSpec("xgboots"), "regression", regression.X)
    with pytest.raises(ValueError, match=r"has no parameter 'num_leafs' \(did you mean 'num_leaves'"):
        build_model(ModelSpec("lightgbm", {"num_leafs": 3}), "regression", regression.X)
    with pytest.raises(ValueError, match=r"RandomForestRegressor has no parameter 'trees'"):
        build_model(ModelSpec("random_forest", {"trees": 3}), "regression", regression.X)


def test_parameters_pass_through(regression):
    forest = build_model(ModelSpec("random_forest", {"n_estimators": 7}), "regression", regression.X)
    assert forest[-1].n_estimators == 7
    assert (
        build_model(ModelSpec("lightgbm", {"num_leaves": 5}), "regression", regression.X).params[
            "num_leaves"
        ]
        == 5
    )


def test_a_builder_can_be_named_by_its_path(regression):
    spec = ModelSpec("tabemb.compare.models:_dummy")
    assert type(build_model(spec, "regression", regression.X)).__name__ == "DummyRegressor"
    assert code_version("dummy").startswith("scikit-learn ")
    assert code_version("embedding").startswith("tabemb ")


def test_labels_show_what_differs():
    assert ModelSpec("svm").label == "svm"
    assert ModelSpec("svm", {"tol": 1, "C": 2}).label == "svm(C=2, tol=1)"


def test_columns_are_sorted_by_kind(regression):
    columns = sort_columns(
        regression.X.assign(wide=[f"v{i}" for i in range(len(regression.X))]), regression.roles
    )
    assert columns.few == ["city", "colour"]
    assert columns.many == ["shop", "wide"]
    assert columns.numbers == ["size", "flag", "day"]
    assert columns.datetimes == ["opened"]


def test_values_become_text_and_numbers(regression):
    text, numbers = as_text(regression.X[["shop", "city"]]), as_numbers(regression.X[["size", "flag"]])
    assert text["shop"].iloc[-1] == "7"
    assert text["city"].isna().tolist() == regression.X["city"].isna().tolist()
    assert set(numbers["flag"]) == {0.0, 1.0}
    moments = datetime_numbers(regression.X[["opened"]])
    assert moments.loc[1, "opened_year"] == regression.X["opened"][1].year
    assert np.isnan(moments.loc[0, "opened_days"])


def test_fits_are_quiet(regression):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build_model(ModelSpec("lightgbm"), "regression", regression.X, n_jobs=1).fit(
            regression.X, regression.y
        )

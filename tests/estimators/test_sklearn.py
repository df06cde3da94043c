"""scikit-learn's checks of all public estimators, and its tools used with them."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import StackingRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from tabemb import (
    AggregateJoiner,
    EmbeddingClassifier,
    EmbeddingEncoder,
    EmbeddingRegressor,
    EventClassifier,
    EventRegressor,
    HistoryJoiner,
    SequenceEncoder,
)


class Log(pd.DataFrame):
    def __repr__(self):  # in the names of the tests
        return "log"


FAST = {"hidden": (16,), "n_members": 2, "n_pairs": 0, "max_epochs": 4, "n_jobs": 1}
NETWORK = {**FAST, "learning_rate": 0.05}
# The checks pass arrays of any numbers, in any order. If one column has both the entities and the
# times, no event is earlier than the previous one.
OF_ARRAYS = {"entity": "x0", "time": "x0", "ties": "order", "d_history": 4}
LOG = Log({"x0": np.arange(20.0) % 5, "at": np.arange(20.0), "paid": np.arange(20.0)})

# Expected failures are declared by estimator, as scikit-learn does for its own.
WEIGHTS = {
    "check_sample_weight_equivalence_on_dense_data": "batches are drawn at random; "
    "test_integer_weights_agree_with_repeated_rows stands in for it"
}
OUT_OF_FOLD = {
    "check_transformer_general": "fit_transform is out-of-fold and so differs from fit().transform()",
    "check_transformer_data_not_an_array": "as check_transformer_general",
}
KEYS = {"check_estimators_pickle": "its rows have missing cells, but an entity and a time must be known"}
JOINED = {
    "check_n_features_in_after_fitting": "columns are found by name, whatever stands beside them",
    "check_transformer_general": "as check_n_features_in_after_fitting",
    "check_dtype_object": "entities are matched by value, not by type",
    "check_estimators_nan_inf": "a missing entity has no events",
    "check_transformer_preserve_dtypes": "the new columns make a frame of an array",
}
LISTS = dict.fromkeys(
    [
        "check_estimators_pickle",
        "check_fit_idempotent",
        "check_methods_sample_order_invariance",
        "check_methods_subset_invariance",
        "check_pipeline_consistency",
        "check_transformer_data_not_an_array",
    ],
    "a column of lists cannot be compared as numbers; test_contract.py compares its events",
)
CHECKED = [
    (EmbeddingClassifier(**NETWORK), WEIGHTS),
    (EmbeddingRegressor(**NETWORK), WEIGHTS),
    (EventClassifier(**NETWORK, **OF_ARRAYS), WEIGHTS | KEYS),
    (EventRegressor(**NETWORK, **OF_ARRAYS), WEIGHTS | KEYS),
    (EmbeddingEncoder(kind="prediction"), OUT_OF_FOLD),
    (
        EmbeddingEncoder(
            keep="all",
            kind="both",
            cv=2,
            n_repeats=1,
            estimator=EmbeddingRegressor(**{**FAST, "max_epochs": 1}),
        ),
        OUT_OF_FOLD | WEIGHTS,
    ),
    (HistoryJoiner(LOG, entity="x0", time="at"), JOINED | LISTS),
    (AggregateJoiner(LOG, entity="x0", time="at"), JOINED),
]


def expected_failures(estimator):
    return next(failures for checked, failures in CHECKED if checked is estimator)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(
    [estimator for estimator, _ in CHECKED], expected_failed_checks=expected_failures
)
def test_check_estimator(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    "check",
    [
        "check_estimator_cloneable",
        "check_estimator_tags_renamed",
        "check_valid_tag_types",
        "check_estimator_repr",
        "check_no_attributes_set_in_init",
        "check_mixin_order",
        "check_transformers_unfitted",
        "check_parameters_default_constructible",
        "check_get_params_invariance",
        "check_set_params",
    ],
)
def test_sequence_encoder_passes_the_checks_that_need_no_array(check):
    """The other checks pass arrays, which cannot contain a column of lists."""
    assert not SequenceEncoder().__sklearn_tags__().input_tags.two_d_array
    getattr(estimator_checks, check)("SequenceEncoder", SequenceEncoder())


@pytest.mark.slow
@pytest.mark.parametrize("effects", [False, True])
def test_integer_weights_agree_with_repeated_rows(effects):
    """Mean predictions over six seeds differ less than those of single seeds.

    With effects the limit is doubled, as they contain the targets of a row's copies in other folds.
    """
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"c": rng.choice(list("abcd"), 300)})
    heavy = rng.random(300) < 0.3
    y = X["c"].map({"a": 0, "b": 2, "c": 4, "d": 6}) + 3 * heavy + rng.normal(scale=0.3, size=300)
    weights = np.where(heavy, 4, 1)
    repeated = np.repeat(np.arange(300), weights)
    model = EmbeddingRegressor(
        hidden=(16,), n_members=2, max_epochs=50, batch_size=32, n_jobs=1, effects=effects
    )
    by_weight, by_row = [], []
    for seed in range(6):
        model.set_params(random_state=seed)
        by_weight.append(clone(model).fit(X, y, sample_weight=weights).predict(X))
        as_many_steps = clone(model).set_params(batch_size=round(32 * len(repeated) / 300))
        by_row.append(as_many_steps.fit(X.iloc[repeated], y.iloc[repeated]).predict(X))
    seed_noise = np.std(by_row, axis=0, ddof=1).mean()
    assert np.abs(np.mean(by_weight, 0) - np.mean(by_row, 0)).mean() < seed_noise * (2 if effects else 1)
    ignored = clone(model).fit(X, y).predict(X)
    assert np.abs(ignored - np.mean(by_row, 0)).mean() > 0.5  # the weights matter in this data


def test_the_scale_of_the_weights_does_not_matter_to_the_loss(small, shops):
    X, y = shops
    model = EmbeddingRegressor(**{**small, "max_epochs": 8}, trees=False, l2=0)
    ones = clone(model).fit(X, y).predict(X)
    sevens = clone(model).fit(X, y, sample_weight=np.full(len(y), 7.0)).predict(X)
    assert (
        np.abs(sevens - ones).mean() < 0.1
    )  # the spread is 3; categories are hidden slightly less often


def test_class_weights_are_sample_weights(tiny, shops):
    X, y = shops
    settings = {**tiny, "batch_size": 256, "trees": True}
    label = y > 3
    weights = np.where(label, 5.0, 1.0)
    by_class = (
        EmbeddingClassifier(**settings, class_weight={True: 5.0, False: 1.0})
        .fit(X, label)
        .predict_proba(X)
    )
    by_row = EmbeddingClassifier(**settings).fit(X, label, sample_weight=weights).predict_proba(X)
    np.testing.assert_array_equal(by_class, by_row)


@pytest.mark.slow
def test_grid_search_with_two_workers(small, shops):
    X, y = shops
    search = GridSearchCV(EmbeddingRegressor(**small), {"max_epochs": [1, 30]}, cv=2, n_jobs=2).fit(X, y)
    assert search.best_params_ == {"max_epochs": 30}
    assert search.best_score_ > 0.98


@pytest.mark.slow
def test_pipeline_columns_stacking_and_cross_validation(small, shops):
    X, y = shops
    net = EmbeddingRegressor(**small)
    columns = ColumnTransformer([("scale", StandardScaler(), ["size"])], remainder="passthrough")
    columns.set_output(transform="pandas")
    assert make_pipeline(columns, clone(net)).fit(X, y).score(X, y) > 0.98
    as_step = make_pipeline(ColumnTransformer([("net", clone(net), ["shop", "size"])]), Ridge())
    assert as_step.fit(X, y).score(X, y) > 0.98
    assert StackingRegressor([("net", clone(net))], Ridge(), cv=2).fit(X, y).score(X, y) > 0.98
    assert np.corrcoef(cross_val_predict(clone(net), X, y, cv=3), y)[0, 1] > 0.99


def test_calibration(brief, shops):
    X, y = (part[:600] for part in shops)
    calibrated = CalibratedClassifierCV(EmbeddingClassifier(**brief), cv=2).fit(X, y > 0)
    assert calibrated.score(X, y > 0) > 0.95


def test_a_target_on_a_logarithm(tiny, shops):
    X, y = (part[:200] for part in shops)
    model = TransformedTargetRegressor(EmbeddingRegressor(**tiny), func=np.log, inverse_func=np.exp)
    assert model.fit(X, np.exp(y)).regressor_.spaces_.raw["shop"].vectors.shape == (4, 4)


def test_the_columns_of_transform_are_the_last_hidden_layer(brief, shops):
    X, y = (part[:400] for part in shops)
    frame = EmbeddingRegressor(**brief).set_output(transform="pandas").fit(X, y).transform(X)
    assert list(frame) == [f"embeddingregressor{i}" for i in range(32)]
    assert Ridge().fit(frame, y).score(frame, y) > 0.98


def test_tags_names_and_display(tiny, shops):
    X, y = (part[:200] for part in shops)
    model = EmbeddingClassifier(**tiny).fit(X, y > 0)
    tags = model.__sklearn_tags__()
    assert (tags.input_tags.allow_nan, tags.input_tags.string, tags.classifier_tags.multi_label) == (
        True,
        True,
        True,
    )
    assert list(model.feature_names_in_) == ["shop", "size"]
    assert "EmbeddingClassifier" in model._repr_html_()
    assert repr(EmbeddingClassifier(dim=3, class_weight="balanced")) == (
        "EmbeddingClassifier(class_weight='balanced', dim=3)"
    )


def test_the_same_seed_gives_the_same_model_bit_for_bit(small, shops):
    X, y = shops
    small = {**small, "max_epochs": 2, "batch_size": 256}
    first, second = (EmbeddingRegressor(**small).fit(X, y) for _ in range(2))
    np.testing.assert_array_equal(first.predict(X), second.predict(X))
    assert first.learning_curve_["train_loss"] == second.learning_curve_["train_loss"]
    other = EmbeddingRegressor(**{**small, "random_state": 1}).fit(X, y)
    assert (other.predict(X) != first.predict(X)).any()

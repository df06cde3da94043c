"""Numbers, targets and weights of any magnitude: finite predictions, or a one-sentence error."""

import numpy as np
import pandas as pd
import pytest

from tabemb import EmbeddingClassifier, EmbeddingRegressor

LARGEST, SMALLEST = np.finfo(float).max, 5e-324
EXTREMES = {
    "1e300": 1e300 * np.sin(np.arange(60)),
    "the whole range": np.tile([LARGEST, -LARGEST, 1.0], 20),
    "1e-300": 1e-300 * np.sin(np.arange(60)),
    "denormals": SMALLEST * (np.arange(60) % 7),
    "every magnitude": np.logspace(-300, 300, 60),
    "a constant with noise": 1 + 1e-15 * np.sin(np.arange(60)),
    "a large constant": np.full(60, 1e308),
    "ends of int64": np.tile([2**63 - 1, -(2**63)], 30),
}


@pytest.mark.parametrize("numbers", ["piecewise", "periodic", "scale"])
@pytest.mark.parametrize("name", EXTREMES)
def test_numbers_of_any_magnitude_give_finite_predictions(small, name, numbers):
    X = pd.DataFrame({"x": EXTREMES[name], "c": list("ab") * 30})
    model = EmbeddingRegressor(**small | {"max_epochs": 2}, numbers=numbers).fit(X, np.arange(60.0))
    assert np.isfinite(model.predict(X)).all()
    far = pd.DataFrame({"x": [LARGEST, -LARGEST, SMALLEST, np.nan], "c": list("abab")})
    assert np.isfinite(model.predict(far)).all()


@pytest.mark.parametrize(
    "loss", ["squared_error", "absolute_error", "poisson", "absolute_percentage_error"]
)
@pytest.mark.parametrize("name", EXTREMES)
def test_targets_of_any_magnitude_give_finite_predictions_or_one_sentence(small, name, loss):
    y = EXTREMES[name]
    is_positive = loss in ("poisson", "absolute_percentage_error")
    y = np.abs(y.astype(float)) + SMALLEST if is_positive else y
    X = pd.DataFrame({"c": list("ab") * 30})
    model = EmbeddingRegressor(**small | {"max_epochs": 2}, loss=loss)
    if not is_positive and name in ("1e300", "the whole range", "every magnitude"):
        with pytest.raises(
            ValueError, match=r"y spreads too far to be scaled; row \d+ holds .* row \d+"
        ):
            model.fit(X, y)
    else:
        assert np.isfinite(model.fit(X, y).predict(X)).all()


@pytest.mark.parametrize("unit", [1e-300, 1e-12, 1e12, 1e150])
def test_the_unit_of_y_does_not_change_a_fit(small, shops, unit):
    X, y = shops
    small = small | {"max_epochs": 2, "batch_size": 128}
    plain, scaled = (EmbeddingRegressor(**small).fit(X, v) for v in (y, y * unit))
    np.testing.assert_allclose(scaled.predict(X) / unit, plain.predict(X), rtol=0.01, atol=0.01)


WEIGHTS = {
    "1e308": np.full(60, 1e308),
    "1e-308": np.full(60, 1e-308),
    "denormal": np.full(60, SMALLEST),
    "shares": np.full(60, 1 / 60),
    "600 decades": np.logspace(-300, 300, 60),
    "one large": np.r_[1e308, np.ones(59)],
    "largest and smallest": np.tile([1e308, SMALLEST, 0.0], 20),
}


@pytest.mark.filterwarnings("ignore:X has many categories that training did not have")
@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_of_any_magnitude_give_finite_predictions(small, name):
    X = pd.DataFrame({"c": list("abcdef") * 10, "x": np.arange(60.0)})
    y, w, settings = np.arange(60) % 5 > 2, WEIGHTS[name], small | {"max_epochs": 2}
    for stop in (False, True):
        model = EmbeddingClassifier(
            **settings, early_stopping=stop, class_weight={True: 1e308, False: 1e-308}
        )
        assert np.isfinite(model.fit(X, y, sample_weight=w).predict_proba(X)).all()
        number = EmbeddingRegressor(**settings, early_stopping=stop, loss="quantile", quantile=0.3)
        assert np.isfinite(number.fit(X, y, sample_weight=w).predict(X)).all()
    assert np.isfinite(EmbeddingClassifier(**settings).fit(X, y, w).predict_proba(X)).all()


@pytest.mark.slow
@pytest.mark.parametrize("unit", [1e-308, 1 / 1200, 1e-12])
def test_weights_that_sum_to_less_than_two_rows_compare_rows_and_hide_no_category(small, shops, unit):
    X, y = shops
    ones, shares = (
        EmbeddingRegressor(**small).fit(X, y, sample_weight=np.full(1200, w)) for w in (1.0, unit)
    )
    assert len(shares.spaces_["shop"].vectors) == 4
    np.testing.assert_allclose(shares.predict(X), ones.predict(X), atol=1e-6)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.ma.array(np.ones(10), mask=np.arange(10) == 3), "masked cells; row 3 is masked"),
        (pd.date_range("2020", periods=10), "sample_weight must hold numbers"),
        ([1.0] * 3 + [None] + [1.0] * 6, "row 3 has nan"),
    ],
)
def test_a_weight_that_is_none_is_named_with_its_row(small, weight, message):
    frame = pd.DataFrame({"n": np.arange(10.0)})
    with pytest.raises(ValueError, match=message):
        EmbeddingRegressor(**small).fit(frame, np.arange(10.0), sample_weight=weight)


def test_one_row_of_one_column_fits_and_predicts(small):
    for X in (pd.DataFrame({"c": ["a"]}), pd.DataFrame({"x": [1e300]}), pd.DataFrame({"c": [None]})):
        assert EmbeddingRegressor(**small).fit(X, [7.0]).predict(X) == pytest.approx(7.0, abs=0.1)

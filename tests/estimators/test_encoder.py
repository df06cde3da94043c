"""EmbeddingEncoder: vectors and effects as columns, out-of-fold for training rows."""

from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sklearn
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import TargetEncoder

from tabemb import EmbeddingClassifier, EmbeddingEncoder, EmbeddingRegressor, Table, load, save
from tabemb.data.pairs import PairCodes
from tabemb.data.shrinkage import shrunken_means
from tabemb.estimators.agreement import by_agreement
from tabemb.likeness.spelling import Spellings

PLAIN = {
    "hidden": (16,),
    "n_members": 1,
    "max_epochs": 10,
    "batch_size": 64,
    "learning_rate": 0.01,
    "trees": False,
    "n_jobs": 1,
}


@pytest.fixture
def net() -> EmbeddingRegressor:
    return EmbeddingRegressor(**PLAIN)


@pytest.fixture
def shops(shops) -> tuple[pd.DataFrame, pd.Series]:
    X, y = shops
    return X.head(300), y.head(300)


def test_a_linear_model_on_the_vectors_finds_the_effect_of_each_shop(shops, net):
    X, y = shops
    features = EmbeddingEncoder(estimator=net, random_state=0).fit_transform(X, y)
    assert list(features)[:2] == ["size", "shop_0"]
    assert LinearRegression().fit(features, y).score(features, y) > 0.98
    assert LinearRegression().fit(X[["size"]], y).score(X[["size"]], y) < 0.7


def test_features_of_pure_noise_do_not_leak_the_target_of_their_row(net):
    """The target is noise, with three rows per level; in-sample vectors would seem to explain it."""
    rng = np.random.default_rng(0)
    X, y = pd.DataFrame({"who": np.repeat(np.arange(150), 3).astype(str)}), rng.normal(size=450)
    for kind in ("vectors", "prediction"):
        encoder = EmbeddingEncoder(kind=kind, estimator=net.set_params(l2=1.0), random_state=0)
        out_of_fold, in_sample = encoder.fit_transform(X, y), encoder.transform(X)
        score = LinearRegression().fit(out_of_fold, y).score(out_of_fold, y)
        leaked = LinearRegression().fit(in_sample, y).score(in_sample, y)
        assert score < 0.06
        assert leaked > 0.2


def test_a_row_has_the_vectors_learned_without_its_fold(shops):
    """Changing the targets of one fold changes the effects of all rows except its own."""
    X, y = shops
    cv = list(KFold(3).split(X))
    rows = cv[1][1]
    changed = y.copy()
    changed.iloc[rows] *= -1
    encoder = EmbeddingEncoder(
        kind="prediction", keep="none", cv=cv, target_type="continuous", random_state=0
    )
    before, after = (clone(encoder).fit_transform(X, targets)["shop_effect"] for targets in (y, changed))
    np.testing.assert_array_equal(before.iloc[rows], after.iloc[rows])
    assert (np.delete(before.to_numpy(), rows) != np.delete(after.to_numpy(), rows)).all()


def test_a_row_that_is_held_out_twice_gets_the_mean_of_both(shops):
    X, y = shops
    encoder = EmbeddingEncoder(kind="prediction", keep="none", target_type="continuous", random_state=0)
    folds = [list(KFold(2, shuffle=True, random_state=seed).split(X)) for seed in (0, 1)]
    first, second = (clone(encoder).set_params(cv=cv).fit_transform(X, y) for cv in folds)
    both = clone(encoder).set_params(cv=folds[0] + folds[1]).fit_transform(X, y)
    np.testing.assert_allclose(both, (first + second) / 2, atol=1e-5)


def test_new_rows_get_the_mean_over_the_folds(shops, net):
    X, y = shops
    encoder = EmbeddingEncoder(estimator=net, keep="none", cv=5, n_repeats=1, random_state=0)
    out_of_fold, new = encoder.fit_transform(X, y), encoder.transform(X.head(4))
    of_shop = out_of_fold[X["shop"] == X["shop"][0]].drop_duplicates()  # one per fold
    assert len(of_shop) == 5
    np.testing.assert_allclose(new.iloc[0], of_shop.mean(), atol=1e-6)


def test_agreement_is_the_share_of_the_variance_that_networks_have_in_common():
    """All networks share variance 4 along one axis; each has noise of variance 1 along both axes."""
    rng = np.random.default_rng(0)
    common = 2 * rng.normal(size=(20_000, 1)) * [[0.6, 0.8]] + 5.0
    networks = [common + rng.normal(size=(20_000, 2)) for _ in range(6)]
    agreed = by_agreement(networks, np.ones(20_000), 1.0)
    np.testing.assert_allclose(agreed.agreement, [4 / 5, 0], atol=0.01)
    mean = np.mean(agreed.by_network, axis=0)
    np.testing.assert_allclose(
        np.abs(np.corrcoef(mean[:, 0], common[:, 0])[0, 1]), np.sqrt(4 / (4 + 1 / 6)), atol=0.01
    )
    np.testing.assert_allclose(mean.mean(axis=0), 0, atol=1e-6)


def test_a_code_that_no_network_saw_does_not_turn_the_axes():
    answers = np.array([[0.0, 99.0], [1.0, 0.1], [-1.0, -0.1]])
    agreed = by_agreement([answers, answers], np.array([0.0, 1.0, 1.0]), 1.0)
    lengths = np.sqrt(1.01)
    np.testing.assert_allclose(agreed.by_network[0][1:, 0], [lengths, -lengths], atol=1e-3)
    assert agreed.agreement[0] == pytest.approx(1)


def test_reliability_is_the_share_of_the_length_that_other_rows_would_give_again():
    """The signal has variance 4, each network noise of variance 9 / count, and their mean a third."""
    rng = np.random.default_rng(0)
    counts = np.repeat([1.0, 9.0, 90.0], 10_000)
    signal = 2 * rng.normal(size=30_000)
    noise = rng.normal(size=(3, 30_000)) * np.sqrt(9 / counts)
    networks = [(signal + of_network)[:, None] for of_network in noise]
    # for independent networks the variance of the mean is half of that between them
    agreed = by_agreement(networks, counts, 0.5)
    mean = np.mean(networks, axis=0)[:, 0]
    for count in (1.0, 9.0, 90.0):
        chosen = counts == count
        lengths = np.square(mean - counts @ mean / counts.sum())[chosen]
        kept = np.maximum(1 - 3 / count / lengths, 0)
        np.testing.assert_allclose(agreed.reliability[chosen], kept, atol=0.05)


def test_a_column_of_one_category_has_one_axis_of_nothing():
    agreed = by_agreement([np.ones((3, 4)), np.ones((3, 4))], np.array([0.0, 0.0, 9.0]), 2.0)
    assert agreed.by_network[0].shape == (3, 1)
    assert not np.any(agreed.by_network)
    assert agreed.agreement.tolist() == [0]
    assert agreed.reliability.tolist() == [0, 0, 0]


@pytest.mark.parametrize("is_class", [False, True])
def test_the_first_axis_is_the_effect_of_a_category_in_units_of_the_link(is_class):
    """The data have twelve categories with known log odds (or means), and a number."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"who": rng.integers(0, 12, 1200).astype(str), "size": rng.normal(size=1200)})
    effect = X["who"].astype(int) / 3 - 2
    y = effect + X["size"] + rng.normal(scale=0.3, size=1200)
    if is_class:
        y = rng.random(1200) < 1 / (1 + np.exp(-effect - X["size"]))
    make = EmbeddingClassifier if is_class else EmbeddingRegressor
    encoder = EmbeddingEncoder(estimator=make(**PLAIN), columns=["who"], random_state=0).fit(X, y)
    first = encoder.transform(X)["who_0"]
    assert np.corrcoef(first, effect)[0, 1] > (0.9 if is_class else 0.99)
    reliability = encoder.spaces_["who"].reliability
    assert reliability.shape == (12,)
    assert np.median(reliability) > (0.5 if is_class else 0.9)


def test_the_space_of_a_column_of_noise_is_unreliable(net):
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"who": rng.integers(0, 60, 300).astype(str)})
    encoder = EmbeddingEncoder(estimator=net, random_state=0).fit(X, rng.normal(size=300))
    assert encoder.spaces_["who"].reliability.mean() < 0.5


def test_a_class_that_a_fold_does_not_hold_has_no_vector_of_its_own(shops):
    """Class c has a single row: the networks of two folds know three classes, one knows only two."""
    X, _ = shops
    y = np.where(X["shop"] == X["shop"][0], "a", "b").astype(object)
    y[7] = "c"
    net = EmbeddingClassifier(**PLAIN)
    encoder = EmbeddingEncoder(estimator=net, keep="none", cv=KFold(3), random_state=0)
    first = encoder.fit_transform(X, y)["shop_0"]
    of_a, of_b = first[y == "a"], first[y == "b"]
    assert of_a.min() > of_b.max() or of_a.max() < of_b.min()


def test_columns_whose_levels_are_all_too_rare_are_constant(shops, net):
    X, y = shops
    encoder = EmbeddingEncoder(
        estimator=net.set_params(min_count=1_000), keep="none", cv=2, random_state=0
    )
    features = encoder.fit(X, y).transform(X)
    assert (features.nunique() == 1).all()
    assert (features.abs() < 10).all(axis=None)


def test_new_columns_are_the_axes_on_which_the_networks_agree(shops, net):
    X, y = shops
    encoder = EmbeddingEncoder(estimator=net, keep="none", cv=2, n_repeats=1, random_state=0)
    few, every = (clone(encoder).set_params(min_agreement=least).fit(X, y) for least in (0.999999, 0))
    names = list(every.transform(X))
    assert list(few.transform(X)) == names[:1] == ["shop_0"]
    assert len(names) == every.spaces_["shop"].vectors.shape[1] == len(every.agreement_["shop"])
    spread = every.transform(X).var().to_numpy()
    assert (np.diff(spread) <= 1e-6).all()
    np.testing.assert_allclose(few.transform(X)["shop_0"], every.transform(X)["shop_0"])


def test_a_pair_of_columns_has_an_effect_where_it_adds_to_theirs():
    """The target depends on whether two columns agree, and on a third; the two have no main effects."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({name: rng.choice(list("abc"), 900) for name in ("one", "two", "other")})
    y = (X["one"] == X["two"]) * 9.0 + (X["other"] == "a") * 3.0 + rng.normal(size=900)
    encoder = EmbeddingEncoder(kind="prediction", n_pairs=1, random_state=0)
    features = encoder.fit_transform(X, y)
    assert encoder.pairs_ == [("one", "two")]
    assert list(features) == ["one_effect", "two_effect", "other_effect", "one*two_effect"]
    assert LinearRegression().fit(features, y).score(features, y) > 0.9
    single = features.iloc[:, :3]
    assert LinearRegression().fit(single, y).score(single, y) < 0.2
    cells = y.groupby([X["one"], X["two"]]).mean()
    new = encoder.transform(X.assign(other="never seen"))
    np.testing.assert_allclose(
        new["one*two_effect"], [cells[pair] for pair in zip(X["one"], X["two"])], atol=0.1
    )
    assert encoder.transform(pd.DataFrame({"one": ["a"], "two": [None], "other": ["a"]}))[
        "one*two_effect"
    ][0] == (pytest.approx(y.mean(), abs=0.1))
    assert list(clone(encoder).set_params(n_pairs=0).fit_transform(X, y)) == [
        "one_effect",
        "two_effect",
        "other_effect",
    ]


def test_pairs_never_seen_share_a_code():
    codes = np.array([[0, 1], [2, 1], [2, 3]])
    crossed = PairCodes.from_codes(codes, [(0, 1)])
    assert crossed.sizes == [4]
    assert crossed(np.array([[0, 1], [2, 3], [0, 3], [9, 9]])).tolist() == [[0], [2], [3], [3]]


def test_vectors_of_a_column_that_matters_are_longer(net):
    """Only one column explains the target, so neighbours are rows that agree in it."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"matters": rng.choice(list("abcd"), 400), "noise": rng.choice(list("efgh"), 400)})
    y = X["matters"].map({"a": 0.0, "b": 1.0, "c": 2.0, "d": 3.0}) + rng.normal(scale=0.2, size=400)
    vectors = EmbeddingEncoder(estimator=net, random_state=0).fit(X, y).transform(X)
    matters, noise = (vectors.filter(like=name).var(ddof=0).sum() for name in ("matters", "noise"))
    assert matters + noise == pytest.approx(2, abs=1e-3)
    assert matters > 10 * noise


def test_effects_are_the_means_that_target_encoding_gives():
    """With many rows per level, nothing is shrunk, and scikit-learn's TargetEncoder agrees."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"c": rng.choice(list("abc"), 3000)})
    y = X["c"].map({"a": 1.0, "b": 2.0, "c": 4.0}) + rng.normal(scale=0.1, size=3000)
    ours = EmbeddingEncoder(kind="prediction", random_state=0).fit(X, y).transform(X)
    theirs = TargetEncoder(target_type="continuous").fit(X, y).transform(X)
    np.testing.assert_allclose(ours, theirs, atol=0.01)


def test_rare_levels_are_pulled_to_the_mean_of_all():
    codes = np.r_[np.zeros(1, int), np.repeat(np.arange(1, 40), 30)]
    truth = np.random.default_rng(0).normal(size=40)
    noise = np.random.default_rng(1).normal(size=len(codes))
    y = truth[codes] + noise
    y[0] = 10.0
    means = shrunken_means(codes, y[:, None], np.ones(len(codes)), 41)[:, 0]
    assert 2 < means[0] < 7  # one row with a target of 10, while the mean is 0
    np.testing.assert_allclose(means[1:40], [y[codes == c].mean() for c in range(1, 40)], atol=0.1)
    assert means[40] == pytest.approx(y.mean())


@pytest.mark.parametrize("make", [pl.from_pandas, pa.Table.from_pandas], ids=["polars", "arrow"])
def test_a_frame_comes_back_in_its_library(shops, net, make):
    X, y = shops
    encoder = EmbeddingEncoder(kind="prediction", target_type="continuous", random_state=0)
    expected = encoder.fit_transform(X, y)
    features = clone(encoder).fit_transform(make(X), y)
    assert type(features) is type(make(X))
    np.testing.assert_array_equal(
        np.asarray(features.to_pandas()["shop_effect"]), expected["shop_effect"]
    )


@pytest.mark.parametrize(
    "make",
    [
        pd.DataFrame,
        pl.from_pandas,
        pa.Table.from_pandas,
    ],
    ids=["pandas", "polars", "arrow"],
)
def test_no_other_column_stays(shops, make):
    X, y = shops
    encoder = EmbeddingEncoder(kind="prediction", keep="none", target_type="continuous", random_state=0)
    frame = encoder.fit_transform(make(X), y)
    assert frame.shape == (len(X), 1)
    assert list(encoder.get_feature_names_out()) == ["shop_effect"]


def test_set_output_keeps_rows_and_names(shops):
    X, y = shops
    X = X.set_index(np.arange(len(X)) + 1000)
    encoder = EmbeddingEncoder(kind="prediction", target_type="continuous", keep="all", random_state=0)
    for library in ("default", "pandas"):
        out = clone(encoder).set_output(transform=library).fit(X, y).transform(X)
        assert list(out) == ["shop", "size", "shop_effect"]
        assert out.index[0] == 1000
        assert out.dtypes.astype(str).tolist() == ["str", "float64", "float32"]
    assert type(encoder.set_output(transform="polars").fit_transform(X, y)) is pl.DataFrame


def test_columns_without_names_and_arrays():
    rng = np.random.default_rng(0)
    values = rng.integers(0, 5, (200, 2))
    y = values[:, 0] + 0.5
    encoder = EmbeddingEncoder(kind="prediction", columns=["x0"], random_state=0)
    as_array = encoder.fit_transform(values, y)
    assert as_array.shape == (200, 2)
    np.testing.assert_array_equal(as_array[:, 0], values[:, 1])
    assert list(encoder.get_feature_names_out()) == ["x1", "x0_effect"]
    as_frame = clone(encoder).fit_transform(pd.DataFrame(values), y)
    assert list(as_frame.columns) == [1, "x0_effect"]
    np.testing.assert_allclose(as_frame["x0_effect"], as_array[:, 1])


def test_whole_numbers_alone_are_categories_and_beside_text_numbers():
    X = pd.DataFrame({"zip": [53111, 50667, 40213] * 20, "city": ["Bonn", "Köln", "Düsseldorf"] * 20})
    y = np.arange(60) / 7
    names = EmbeddingEncoder(kind="prediction").fit(X[["zip"]], y).columns_
    assert names == ["zip"]
    assert EmbeddingEncoder(kind="prediction").fit(X, y).columns_ == ["city"]
    assert EmbeddingEncoder(kind="prediction", columns=["zip"]).fit(X, y).columns_ == ["zip"]
    roles = EmbeddingRegressor(roles={"zip": "categorical"})
    assert EmbeddingEncoder(kind="prediction", estimator=roles).fit(X, y).columns_ == ["zip", "city"]


def test_unknown_and_missing_levels_have_values(shops, net):
    X, y = shops
    X = X.assign(shop=X["shop"].where(np.arange(len(X)) % 7 > 0))
    encoder = EmbeddingEncoder(estimator=net, kind="both", keep="none", random_state=0).fit(X, y)
    known, missing, unknown, other = encoder.transform(
        pd.DataFrame({"shop": ["west", None, "mars", "pluto"]})
    ).values
    assert (missing != unknown).all()
    np.testing.assert_array_equal(unknown, other)
    assert known[0] > 2
    assert unknown[0] == pytest.approx(y.mean(), abs=0.05)


def test_levels_that_a_fold_never_sees_get_its_unknown_vector():
    """A level with a single row is in one fold only, so that row gets the effect of unknown levels."""
    X = pd.DataFrame({"c": ["once", *(["a", "b"] * 60)]})
    y = np.r_[5.0, np.tile([0.0, 1.0], 60) + np.random.default_rng(0).normal(scale=0.1, size=120)]
    encoder = EmbeddingEncoder(kind="prediction", keep="none", cv=KFold(3), random_state=0)
    effect = encoder.fit_transform(X, y)["c_effect"]
    assert effect[0] == pytest.approx(y[41:].mean(), abs=1e-6)


@pytest.mark.parametrize("kind", ["vectors", "prediction", "both"])
def test_inverse_transform_gives_the_categories_back(shops, net, kind):
    X, y = shops
    X = X.assign(
        open=np.tile([True, False, None], 100).astype(object), shop=X["shop"].where(X["size"] < 2)
    )
    y = y + np.tile([0.0, 1.0, 2.0], 100)
    encoder = EmbeddingEncoder(estimator=net, kind=kind, random_state=0).fit(X, y)
    back = encoder.inverse_transform(encoder.transform(X))
    assert (back.isna() == X[["shop", "open"]].isna()).all(axis=None)
    pd.testing.assert_frame_equal(
        back.fillna("-"), X[["shop", "open"]].astype(object).fillna("-"), check_dtype=False
    )


def test_classes_and_several_targets(shops):
    X, y = shops
    small = pd.cut(y, 3, labels=["low", "middle", "high"]).astype(str)
    encoder = EmbeddingEncoder(kind="prediction", keep="none", random_state=0)
    effects = encoder.fit_transform(X, small)
    assert list(effects) == [f"shop_effect_{label}" for label in ("high", "low", "middle")]
    np.testing.assert_allclose(effects.sum(axis=1), 1, atol=0.02)
    assert list(encoder.fit_transform(X, y > 0)) == ["shop_effect"]
    assert list(encoder.fit_transform(X, np.c_[y, -y])) == ["shop_effect_0", "shop_effect_1"]
    assert list(encoder.fit_transform(X, np.c_[y > 0, y > 1].astype(int))) == [
        "shop_effect_0",
        "shop_effect_1",
    ]


def test_vectors_of_classes_serve_a_logistic_regression(shops):
    X, y = shops
    vectors = EmbeddingEncoder(estimator=EmbeddingClassifier(**PLAIN), keep="none", random_state=0)
    accuracy = (
        LogisticRegression()
        .fit(vectors.fit_transform(X, y > 0), y > 0)
        .score(vectors.transform(X), y > 0)
    )
    assert accuracy > 0.7  # no model of the shop alone can pass 0.74


def test_many_whole_numbers_must_be_called_classes_or_a_quantity(shops):
    X, _ = shops
    with pytest.raises(
        ValueError, match=r"y holds 300 different whole numbers.* target_type='continuous'"
    ):
        EmbeddingEncoder().fit(X, np.arange(300))
    EmbeddingEncoder(kind="prediction", target_type="continuous").fit(X, np.arange(300))


def test_the_networks_are_those_of_the_estimator_which_stays_as_it_is(shops, net):
    X, y = shops
    plain = clone(net).set_params(effects=False, biases=False)
    encoders = [
        EmbeddingEncoder(cv=2, n_repeats=1, estimator=estimator, random_state=0)
        for estimator in (net, plain)
    ]
    first, second = (encoder.fit_transform(X, y)["shop_0"] for encoder in encoders)
    assert (first != second).any()
    assert encoders[1].estimator.get_params() == plain.get_params()


def test_columns_that_share_a_table_share_its_vectors():
    rng = np.random.default_rng(0)
    places = np.array(["Bonn", "Rome", "Oslo"])
    X = pd.DataFrame({"origin": rng.choice(places, 300), "destination": rng.choice(places, 300)})
    y = (X["origin"] == "Rome") + 0.5 * (X["destination"] == "Oslo") + 0.1 * rng.normal(size=300)
    net = EmbeddingRegressor(**PLAIN, tables={"city": Table(columns=["origin", "destination"], dim=3)})
    encoder = EmbeddingEncoder(estimator=net, min_agreement=0, random_state=0).fit(X, y)
    out = encoder.transform(pd.DataFrame({"origin": ["Rome"], "destination": ["Rome"]}))
    width = encoder.spaces_["city"].vectors.shape[1]
    assert width >= 2  # one axis as an origin, one as a destination
    assert list(out) == [f"{name}_{k}" for name in ("origin", "destination") for k in range(width)]
    np.testing.assert_array_equal(out.iloc[0, :width], out.iloc[0, width:])
    np.testing.assert_allclose(encoder.spaces_["city"]["Rome"], out.iloc[0, :width], atol=1e-6)


@pytest.mark.parametrize(
    "values",
    [
        [1, 2, 3],
        [True, False, None],
        [1.5, 2.5, None],
        list(pd.date_range("2026-01-01", periods=3)),
        [(1, 2), (3, 4), (5,)],
    ],
    ids=["integers", "booleans", "floats", "times", "tuples"],
)
def test_categories_of_any_kind(net, values):
    X = pd.DataFrame({"c": pd.Series(values * 40, dtype=object)})
    y = np.tile([0.0, 1.5, 3.0], 40)
    encoder = EmbeddingEncoder(columns=["c"], estimator=net, cv=2, n_repeats=1, random_state=0).fit(X, y)
    assert LinearRegression().fit(encoder.transform(X), y).score(encoder.transform(X), y) > 0.95


def test_in_a_pipeline_and_beside_other_transformers(shops, net):
    X, y = shops
    encoder = EmbeddingEncoder(estimator=net, cv=2, n_repeats=1, random_state=0)
    assert cross_val_score(make_pipeline(encoder, LinearRegression()), X, y, cv=2).min() > 0.98
    columns = ColumnTransformer([("shop", clone(encoder), ["shop"])], remainder="passthrough")
    assert columns.fit_transform(X, y).shape == (300, len(columns.get_feature_names_out()))
    assert columns.get_feature_names_out()[[0, -1]].tolist() == ["shop__shop_0", "remainder__size"]


def test_sample_weights(shops):
    """A row of weight zero has no influence, but has features."""
    X, y = shops
    weights = np.where(np.arange(len(X)) % 2, 1.0, 0.0)
    encoder = EmbeddingEncoder(kind="prediction", cv=KFold(2), target_type="continuous")
    features = encoder.fit_transform(X, y.where(weights > 0, 1e6), sample_weight=weights)
    assert features["shop_effect"].between(-4, 4).all()
    assert len(features) == len(X)


def test_the_unit_of_vectors_counts_a_row_of_weight_two_twice(shops, net):
    X, y = shops
    weights = np.where(X["shop"] == X["shop"].iloc[0], 30.0, 1.0)
    encoder = EmbeddingEncoder(columns=["shop"], keep="none", min_agreement=0, estimator=net, cv=2)
    features = encoder.fit(X, y, sample_weight=weights).transform(X).to_numpy(dtype=float)
    repeated = np.repeat(features, weights.astype(int), axis=0)
    assert repeated.var(axis=0).sum() == pytest.approx(1, rel=1e-3)
    assert features.var(axis=0).sum() != pytest.approx(1, rel=0.05)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_columns_in_any_number_of_processes(shops, net):
    X, y = shops
    first, second = (
        EmbeddingEncoder(estimator=net, cv=2, n_jobs=n_jobs, random_state=0).fit_transform(X, y)
        for n_jobs in (1, 2)
    )
    pd.testing.assert_frame_equal(first, second)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "vector"}, "kind must be one of 'vectors', 'prediction', 'both'; got 'vector'"),
        ({"keep": True}, "keep must be one of 'others', 'all', 'none'; got True"),
        ({"columns": ["shp"]}, r"columns names 'shp', which X does not have \(did you mean 'shop'\?\)"),
        ({"columns": "shop"}, "columns must be one of 'auto'; got 'shop'"),
        ({"n_repeats": 0}, "n_repeats must be a whole number >= 1; got 0"),
        ({"n_pairs": -1}, "n_pairs must be a whole number >= 0; got -1"),
        ({"min_agreement": 1}, "min_agreement must be a number >= 0 and < 1; got 1"),
        ({"columns": []}, "columns must name a column, or be 'auto'; got none"),
        (
            {"cv": [(np.arange(150), np.arange(150, 300))]},
            "cv must hold out each row at least once; row 0 never is",
        ),
    ],
)
def test_errors_name_the_setting_the_rule_and_the_value(shops, settings, message):
    X, y = shops
    with pytest.raises(ValueError, match=message):
        EmbeddingEncoder(**settings).fit(X, y)


def test_errors_about_columns_and_the_estimator(shops, net):
    X, y = shops
    with pytest.raises(TypeError, match="estimator must be an EmbeddingClassifier"):
        EmbeddingEncoder(estimator=LinearRegression()).fit(X, y)
    with pytest.raises(
        ValueError, match="X has a column 'shop_effect', which is the name of a new one; rename it"
    ):
        EmbeddingEncoder(kind="prediction").fit(X.assign(shop_effect=1.0), y)
    encoder = EmbeddingEncoder(kind="prediction", target_type="continuous").fit(X, y)
    with pytest.raises(ValueError, match="X lacks column 'size', which stays beside the new ones"):
        encoder.transform(X[["shop"]])
    with pytest.raises(ValueError, match="X lacks column 'shop'"):
        encoder.transform(X[["size"]])
    with pytest.raises(ValueError, match=r"X must have 1 columns, the new ones; got the shape \(2, 2\)"):
        encoder.inverse_transform(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="X lacks column 'shop_effect'"):
        encoder.inverse_transform(X)


@pytest.fixture
def grouped():
    """Rows of shops with twelve groups; vectors of a group must not be learned from its rows."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"shop": rng.choice(list("abcd"), 240), "size": rng.normal(size=240)})
    return X, X["shop"].map(dict(zip("abcd", range(4)))) + rng.normal(size=240), np.arange(240) % 12


def test_groups_reach_the_splitter_directly_and_through_a_pipeline(grouped):
    X, y, groups = grouped
    encoder = EmbeddingEncoder(cv=GroupKFold(3), kind="prediction", random_state=0)
    direct = encoder.fit_transform(X, y, groups=groups)
    folds = list(GroupKFold(3).split(X, y, groups))
    explicit = clone(encoder).set_params(cv=folds).fit_transform(X, y)
    pd.testing.assert_frame_equal(direct, explicit)
    with sklearn.config_context(enable_metadata_routing=True):
        for step in (clone(encoder), clone(encoder).set_fit_request(groups=True)):
            pipe = make_pipeline(step, Ridge()).fit(X, y, groups=groups)
            expected = Ridge().fit(direct, y)
            np.testing.assert_allclose(pipe[-1].coef_, expected.coef_)
        refused = make_pipeline(clone(encoder).set_fit_request(groups=False), Ridge())
        with pytest.raises(ValueError, match=r"needs groups; pass groups=... to fit"):
            refused.fit(X, y)


@pytest.mark.parametrize(
    ("cv", "groups", "message"),
    [
        (GroupKFold(3), None, r"cv=GroupKFold\(.* needs groups"),
        (3, np.arange(240), "groups goes with a cv that reads it"),
        (KFold(3), np.arange(240), r"such as GroupKFold\(\); got cv=KFold"),
        (GroupKFold(3), np.arange(9), r"groups must have the shape \(240,\)"),
        (GroupKFold(3), [None, *range(239)], "groups must not hold missing .* row 0, None"),
    ],
)
def test_groups_that_do_not_fit_the_folds_are_one_clear_error(grouped, cv, groups, message):
    X, y, _ = grouped
    with pytest.raises(ValueError, match=message):
        EmbeddingEncoder(cv=cv, kind="prediction").fit(X, y, groups=groups)


def test_names_of_effects_are_unique_and_safe_for_labels_of_any_type():
    X = pd.DataFrame({"c": list("uvw") * 20})
    for labels in ([1, "1", "a, b"], list(pd.interval_range(0, 3))):
        y = [labels[i % 3] for i in range(60)]
        names = EmbeddingEncoder(kind="prediction").fit(X, y).get_feature_names_out()
        assert len(set(names)) == len(names) == 3
        assert not set("[]{}:,").intersection("".join(names))


def test_decimals_that_are_not_whole_are_a_quantity_and_mixed_labels_are_classes():
    X = pd.DataFrame({"c": list("uv") * 30})
    quantity = EmbeddingEncoder(kind="prediction").fit(X, [Decimal("1.5"), Decimal("2.5")] * 30)
    assert quantity.transform(X[:2])["c_effect"].tolist() == pytest.approx([1.5, 2.5], abs=0.1)
    classes = EmbeddingEncoder(kind="prediction").fit(X, [1, "a"] * 30)
    assert classes.transform(X[:2])["c_effect"].tolist() == pytest.approx([0, 1], abs=0.1)


def test_a_linear_model_reads_the_curve_of_a_number_from_the_category_that_decides_it(net):
    """The R2 would be .60 if the latitude did not follow the zip code."""
    rng = np.random.default_rng(0)
    zipcode = rng.integers(0, 200, 2000)
    latitude = rng.uniform(size=200)[zipcode] + 0.06 * rng.normal(size=2000)
    y = np.sin(7 * latitude) + 0.1 * rng.normal(size=2000)
    X = pd.DataFrame({"zipcode": zipcode.astype(str), "latitude": latitude})
    encoder = EmbeddingEncoder(estimator=net, random_state=0, cv=2)
    by_zipcode = encoder.fit_transform(X, y)[["zipcode_0"]]
    assert LinearRegression().fit(by_zipcode, y).score(by_zipcode, y) > 0.67


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["vectors", "prediction"])
def test_new_categories_get_the_values_of_similar_ones(kind, net, tmp_path):
    """Titles consist of a job and a grade. A fifth are new; the target depends only on the job."""
    rng = np.random.default_rng(0)
    jobs = ["engineer", "nurse", "driver", "teacher", "librarian", "sheriff", "plumber", "gardener"]
    grades = ["senior", "junior", "chief", "deputy", "trainee", "assistant", "principal", "acting"]
    job, grade = rng.integers(8, size=1000), rng.integers(8, size=1000)
    X = pd.DataFrame({"title": [f"{grades[g]} {jobs[j]}" for g, j in zip(grade, job)]})
    y = np.arange(8.0)[job] + rng.normal(scale=0.3, size=1000)
    is_new = ((job + grade) % 5 == 0) & (rng.random(1000) < 2)
    errors = []
    for describe in (None, "text"):
        estimator = clone(net).set_params(tables={"title": Table(["title"], describe=describe)})
        encoder = EmbeddingEncoder(kind=kind, estimator=estimator, random_state=0)
        known = encoder.fit_transform(X[~is_new], y[~is_new])
        features = encoder.transform(X[is_new])
        model = LinearRegression().fit(known, y[~is_new])
        errors.append(np.abs(model.predict(features) - y[is_new]).mean())
    assert errors[1] < 0.7 * errors[0]
    assert [(placing.input, placing.gain > 0.5) for placing in encoder.placings_] == [(0, True)]
    save(encoder, tmp_path / "encoder.tabemb")
    loaded = load(tmp_path / "encoder.tabemb")
    pd.testing.assert_frame_equal(loaded.transform(X[is_new]), features)
    # titles that resemble no known one are unknown
    strangers = encoder.transform(pd.DataFrame({"title": ["§§§", "%%"]})).to_numpy()
    np.testing.assert_array_equal(strangers, np.stack([encoder.by_code_[0][0]] * 2))


def test_values_of_new_categories_are_the_weighted_mean_of_similar_ones(net):
    rng = np.random.default_rng(0)
    names = np.array([f"{a} {b}" for a in ("red", "blue", "green", "black", "white") for b in "abcdef"])
    code = rng.integers(30, size=600)
    X, y = pd.DataFrame({"name": names[code]}), (code // 6) + rng.normal(scale=0.2, size=600)
    encoder = EmbeddingEncoder(estimator=net, random_state=0).fit(X, y)
    (placing,) = encoder.placings_
    near, weights = Spellings(sorted(names)).nearest(["dark red"])
    values, weights = encoder.by_code_[0], placing.share * weights[0]
    expected = weights @ values[near[0] + 2] + (1 - weights.sum()) * values[0]
    new = encoder.transform(pd.DataFrame({"name": ["dark red"]})).to_numpy()[0]
    np.testing.assert_allclose(new, expected, rtol=1e-5)


def test_the_space_of_an_encoder_keeps_the_descriptions(net):
    rng = np.random.default_rng(0)
    places = pd.DataFrame({"north": rng.normal(size=40)}, index=range(40))
    code = rng.integers(30, size=300)
    X, y = pd.DataFrame({"place": code}), places["north"].to_numpy()[code]
    estimator = net.set_params(
        tables={"place": Table(["place"], describe=places)}, roles={"place": "categorical"}
    )
    encoder = EmbeddingEncoder(estimator=estimator, random_state=0).fit(X, y)
    placed = encoder.spaces_["place"].by_description(range(30, 40)).vectors[:, 0]
    assert np.corrcoef(placed, places["north"].iloc[30:])[0, 1] > 0.8
    new = encoder.transform(pd.DataFrame({"place": range(30, 40)}))["place_0"]
    assert np.corrcoef(new, places["north"].iloc[30:])[0, 1] > 0.8

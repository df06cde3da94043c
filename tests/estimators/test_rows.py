import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.metrics import mean_pinball_loss, r2_score

import tabemb
from tabemb import EmbeddingClassifier, EmbeddingRegressor, EmbeddingSpace, Table

BASE_RATE = 0.3


def by_category(n=3000, seed=0):
    """Return two classes whose rate is .05 or .55 by category, and .3 overall."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({"c": rng.integers(0, 20, n).astype(str)})
    rate = np.where(X["c"].astype(int) < 10, 0.05, 0.55)
    return X, (rng.random(n) < rate).astype(int)


def test_planted_effects_are_found_in_the_users_unit(small, shops):
    X, y = shops
    model = EmbeddingRegressor(**small, trees=False).fit(X[:1000], 1000 * y[:1000])
    assert r2_score(1000 * y[1000:], model.predict(X[1000:])) > 0.99


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_an_unseen_category_is_near_the_marginal_whatever_the_seed(small, seed):
    X, y = by_category()
    settings = {**small, "random_state": seed, "max_epochs": 10, "trees": False}
    model = EmbeddingClassifier(**settings).fit(X, y)
    seen = model.predict_proba(pd.DataFrame({"c": ["3", "13"]}))[:, 1]
    unseen, missing = model.predict_proba(pd.DataFrame({"c": ["new", None]}))[:, 1]
    assert seen == pytest.approx([0.05, 0.55], abs=0.1)
    assert unseen == pytest.approx(BASE_RATE, abs=0.08)
    assert missing == pytest.approx(BASE_RATE, abs=0.08)


@pytest.mark.slow
def test_without_hidden_cells_an_unseen_category_would_be_left_to_chance(small):
    """This is the reason for ``unknown_rate``: an untrained vector predicts far above the mean here."""
    rng = np.random.default_rng(0)
    c = np.r_[rng.choice(["a", "b"], 2000), rng.integers(0, 100, 500).astype(str)]
    y = (rng.random(2500) < np.where(np.isin(c, ["a", "b"]), 0.1, 0.9)).astype(int)
    new, X = pd.DataFrame({"c": ["new"]}), pd.DataFrame({"c": c})
    trained, untrained = (
        EmbeddingClassifier(**small, unknown_rate=rate, effects=False, trees=False, l2=3)
        .fit(X, y)
        .predict_proba(new)[0, 1]
        for rate in (0.05, 0.0)
    )
    assert abs(untrained - y.mean()) > 0.4
    assert abs(trained - y.mean()) < abs(untrained - y.mean()) - 0.1


def test_missing_numbers_and_values_are_read_from_training(brief):
    rng = np.random.default_rng(0)
    x = rng.normal(size=600)
    y = np.where(rng.random(600) < 0.2, 10.0, x)
    X = pd.DataFrame({"x": np.where(y == 10, np.nan, x), "c": np.where(y == 10, None, "a")})
    for columns in (["x"], ["c"]):
        model = EmbeddingRegressor(**brief).fit(X[columns], y)
        assert model.predict(X[columns][y == 10]).mean() == pytest.approx(10, abs=0.3)


def test_arrays_against_frames_warn_and_go_by_position(small):
    X = np.random.default_rng(0).normal(size=(100, 2))
    model = EmbeddingRegressor(**small).fit(X, X[:, 0])
    with pytest.warns(UserWarning, match="fitted without feature names"):
        named = model.predict(pd.DataFrame(X, columns=["a", "b"]))
    np.testing.assert_array_equal(named, model.predict(X))
    by_name = EmbeddingRegressor(**small).fit(pd.DataFrame(X, columns=["a", "b"]), X[:, 0])
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        by_name.predict(X)


def test_several_numbers_at_once(brief, shops):
    X, y = (part[:600] for part in shops)
    both = np.stack([y, -100 * y], axis=1)
    model = EmbeddingRegressor(**brief).fit(X, both)
    assert model.predict(X).shape == both.shape
    assert r2_score(both, model.predict(X)) > 0.98


def test_several_classes_and_labels_at_once(brief, shops):
    X, y = (part[:600] for part in shops)
    labels = np.stack([y > 0, y > 2], axis=1).astype(int)
    multilabel = EmbeddingClassifier(**brief).fit(X, labels)
    assert (multilabel.predict(X) == labels).mean() > 0.95
    assert multilabel.predict_proba(X).shape == labels.shape
    targets = np.stack([pd.cut(y, 3, labels=list("abc")), np.where(y > 0, "yes", "no")], axis=1).astype(
        object
    )
    several = EmbeddingClassifier(**brief).fit(X, targets)
    assert (several.predict(X) == targets).mean() > 0.9
    assert [p.shape[1] for p in several.predict_proba(X)] == [3, 2]
    assert [c.tolist() for c in several.classes_] == [["a", "b", "c"], ["no", "yes"]]


@pytest.mark.parametrize("labels", [["low", "high"], [7, -3], [True, False]])
def test_labels_of_any_kind_come_back(brief, shops, labels):
    X, y = (part[:300] for part in shops)
    target = np.array(labels, dtype=object)[(y > 0).astype(int)]
    model = EmbeddingClassifier(**brief).fit(X, target)
    assert sorted(model.classes_.tolist()) == sorted(labels)
    assert (model.predict(X) == target).mean() > 0.95


@pytest.mark.slow
def test_losses_aim_at_what_they_say(small):
    rng = np.random.default_rng(0)
    X, y = pd.DataFrame({"c": ["a"] * 2000}), rng.exponential(size=2000)
    at = {
        loss: EmbeddingRegressor(**{**small, "loss": loss, "quantile": level})
        .fit(X, y)
        .predict(X[:1])[0]
        for loss, level in [
            ("squared_error", None),
            ("absolute_error", None),
            ("poisson", None),
            ("quantile", 0.9),
        ]
    }
    assert at["squared_error"] == pytest.approx(y.mean(), abs=0.07)
    assert at["poisson"] == pytest.approx(y.mean(), abs=0.07)
    assert at["absolute_error"] == pytest.approx(np.median(y), abs=0.07)
    exact = mean_pinball_loss(y, np.full_like(y, np.quantile(y, 0.9)), alpha=0.9)
    assert mean_pinball_loss(y, np.full_like(y, at["quantile"]), alpha=0.9) == pytest.approx(
        exact, rel=0.02
    )


def test_counts_of_weighted_rows_may_be_fractions(small):
    X, y = pd.DataFrame({"c": ["a", "b"] * 20}), np.arange(40.0)
    model = EmbeddingRegressor(**small).fit(X, y, sample_weight=np.tile([0.5, 0.25], 20))
    np.testing.assert_allclose(
        model.spaces_["c"].counts / model.spaces_["c"].counts.sum(), [2 / 3, 1 / 3]
    )


def test_a_table_shared_by_two_columns(brief):
    rng = np.random.default_rng(0)
    value = dict(zip("abcdef", rng.normal(size=6)))
    X = pd.DataFrame(
        {"origin": rng.choice(list("abcdef"), 600), "destination": rng.choice(list("abc"), 600)}
    )
    y = X["origin"].map(value) - X["destination"].map(value)
    model = EmbeddingRegressor(**brief, tables={"city": Table(["origin", "destination"], dim=3)}).fit(
        X, y
    )
    assert list(model.spaces_) == ["city"]
    assert model.spaces_.raw["city"].vectors.shape == (6, 3)
    assert model.spaces_["city"].counts.sum() == 2 * len(X)
    assert model.spaces_["city"].counts.dtype == np.int64
    assert model.score(X, y) > 0.98
    assert np.isfinite(model.predict(pd.DataFrame({"origin": ["a"], "destination": ["f"]}))).all()


@pytest.mark.parametrize(
    "make", [dict, lambda v: pd.DataFrame(v).T, lambda v: EmbeddingSpace(list(v.values()), list(v))]
)
def test_frozen_pretrained_vectors_stay(tiny, shops, make):
    X, y = (part[:200] for part in shops)
    given = {"north": [9.0, 1.0], "west": [1.0, 9.0], "nowhere": [5.0, 5.0]}
    table = Table(["shop"], pretrained=make(given), frozen=True)
    space = EmbeddingRegressor(**tiny, tables={"shop": table}).fit(X, y).spaces_.raw["shop"]
    assert space["north"].tolist() == [9.0, 1.0]
    assert space["west"].tolist() == [1.0, 9.0]
    assert np.abs(space["east"]).max() < 3


def test_table_options_reach_the_network(tiny, shops):
    X, y = (part[:300] for part in shops)
    counts = X["shop"].value_counts()
    table = Table(
        ["shop"], dim=5, max_norm=0.5, init="uniform", l2=0.0, min_count=counts.iloc[1], sparse=True
    )
    model = EmbeddingRegressor(**tiny, tables={"shop": table}, early_stopping=False).fit(X, y)
    space = model.spaces_.raw["shop"]
    assert space.vectors.shape[1] == 5
    assert set(space.categories) == set(counts.index[:2])
    model.predict(X)
    assert np.linalg.norm(space.vectors, axis=1).max() <= 0.5 + 1e-5


def test_categories_below_min_count_are_read_as_unknown(small, shops):
    X, y = shops
    X = X.assign(street=np.where(np.arange(len(X)) < 2, "short", "long"))
    X.loc[:1, "shop"] = "pop-up"
    settings = {**small, "max_epochs": 2, "min_count": 3}
    model = EmbeddingRegressor(**settings, tables={"street": Table(["street"], min_count=2)}).fit(X, y)
    assert set(model.spaces_["shop"].categories) == {"east", "north", "south", "west"}
    assert set(model.spaces_["street"].categories) == {"long", "short"}  # the table's rule has priority
    rare, unseen = (model.predict(X.head(9).assign(shop=shop)) for shop in ("pop-up", "never seen"))
    np.testing.assert_array_equal(rare, unseen)


@pytest.mark.slow
def test_the_prior_shrinks_rare_categories_more_than_frequent_ones(small):
    rng = np.random.default_rng(0)
    c = np.r_[np.repeat("often", 1500), np.repeat("seldom", 15), np.repeat("base", 1500)]
    y = np.where(c == "base", 0.0, 1.0) + rng.normal(scale=0.1, size=len(c))
    ratios, effects = [], []
    for l2 in (0.0, 1000.0):
        model = EmbeddingRegressor(**small, l2=l2, early_stopping=False).fit(pd.DataFrame({"c": c}), y)
        space = model.spaces_.raw["c"]
        ratios.append(np.linalg.norm(space["seldom"]) / np.linalg.norm(space["often"]))
        effects.append(model.predict(pd.DataFrame({"c": ["often", "seldom"]})))
    assert ratios[1] < 0.7 * ratios[0]
    (often, seldom), (often_held, seldom_held) = effects
    assert often_held == pytest.approx(often, abs=0.02)
    assert seldom_held < seldom - 0.04


def test_early_stopping_on_given_rows_keeps_their_best_epoch(small, shops):
    X, y = shops
    model = EmbeddingRegressor(**small).fit(X[:600], y[:600], eval_X=X[600:], eval_y=y[600:])
    assert model.best_epoch_ == int(np.argmin(model.learning_curve_["eval_loss"]))
    assert len(model.spaces_["shop"]) == 4
    rmse = np.sqrt(np.mean((model.predict(X[600:]) - y[600:]) ** 2)) / y[:600].std()
    assert rmse**2 == pytest.approx(min(model.learning_curve_["eval_loss"]), rel=0.05)


def test_a_time_budget_is_kept(shops):
    X, y = shops
    model = EmbeddingRegressor(max_epochs=10**5, patience=10**5, max_time=0.5, n_jobs=1).fit(X, y)
    assert model.learning_curve_["seconds"][-1] < 2
    assert model.score(X, y) > 0.9


def test_the_bar_is_quiet_without_a_terminal_and_shows_loss_and_time_when_asked(
    tiny, shops, capsys, monkeypatch
):
    X, y = (part[:300] for part in shops)
    EmbeddingRegressor(**tiny).fit(X, y)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("tabemb.progress.BAR_DELAY", 0)
    EmbeddingRegressor(**tiny, verbose=True, early_stopping=True).fit(X, y)
    shown = capsys.readouterr().err
    assert "validation" in shown
    assert "<" in shown  # remaining time


def test_learning_curves_are_drawn(tiny, shops):
    X, y = (part[:300] for part in shops)
    model = EmbeddingRegressor(**tiny, early_stopping=True).fit(X, y)
    ax = model.plot_learning_curve()
    assert [line.get_label() for line in ax.lines][:2] == ["training rows", "validation rows"]
    assert len(ax.lines[0].get_xdata()) == len(model.learning_curve_["epoch"])


@pytest.mark.parametrize(
    "X",
    [
        pd.DataFrame({"n": [1.0, 2.0, 3.0]}),
        pd.DataFrame({"c": ["a", "b", "a"]}),
        pd.DataFrame({"c": ["a"], "n": [1.0]}),
        pd.DataFrame({"same": [1.0, np.nan, 1.0]}),
        pd.DataFrame({"empty": [None, None]}),
        pd.DataFrame({"flag": [True, False], "at": pd.to_datetime(["2020-01-01", "2021-01-01"])}),
        pd.DataFrame({"a.b": ["x", "y"], "a": [1, 2]}),
    ],
    ids=["no category", "no number", "one row", "constant with gaps", "empty", "flag and time", "dots"],
)
def test_small_and_strange_frames_fit_and_predict(small, X):
    y = np.arange(len(X), dtype=float)
    predicted = EmbeddingRegressor(**small).fit(X, y).predict(X)
    assert np.isfinite(predicted).all()


def test_nothing_is_ignored_in_silence_flags_and_times_are_used(brief):
    rng = np.random.default_rng(0)
    at = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 700, 900), unit="D")
    X = pd.DataFrame({"flag": rng.random(900) < 0.5, "at": at})
    y = 3.0 * X["flag"] + (X["at"].dt.day_of_week == 5)
    assert EmbeddingRegressor(**brief).fit(X, y).score(X, y) > 0.95


FRAME = pd.DataFrame({"c": list("ab") * 5, "n": np.arange(10.0)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": [np.nan] * 10}, "y must not hold missing .* row 0"),
        ({"y": [None, *[1.0] * 9]}, "y must not hold missing"),
        ({"y": [np.inf] * 10}, "y must not hold missing or infinite"),
        ({"y": [1.0] * 9}, "inconsistent numbers of samples"),
        ({"y": None}, "requires y to be passed"),
        ({"X": FRAME[:0], "y": []}, r"0 sample\(s\)"),
        ({"X": FRAME.assign(n=np.inf)}, "Column 'n' holds inf in row 0"),
        ({"X": pd.DataFrame(np.ones((10, 2)), columns=["a", "a"])}, "several columns named 'a'"),
        (
            {"sample_weight": -np.ones(10)},
            "sample_weight must be finite and not negative; row 0 has -1.0",
        ),
        ({"sample_weight": np.zeros(10)}, "zero in every row"),
        ({"sample_weight": np.ones(3)}, r"shape \(10,\), one a row; got \(3,\)"),
        ({"eval_X": FRAME}, "must be passed together"),
        ({"roles": {"c": "texts"}}, "role of column 'c' must be one of"),
        ({"tables": {"t": Table(["c", "n"])}}, "column 'n', which is not a categorical column"),
        (
            {"tables": {"t": Table(["c", "n"])}, "roles": {"n": "categorical"}},
            "'c' holds text, 'n' holds integer",
        ),
        ({"tables": {"c": Table(["c"], dim=3, pretrained={"a": [1.0, 2.0]})}}, "dim=3, .* width 2"),
        (
            {"tables": {"c": Table(["c"], pretrained={"a": [1.0], "b": [1, 2]})}},
            r"all have one width; got widths \[1, 2",
        ),
        ({"tables": {"c": Table(["c"], pretrained={"z": [1.0]})}}, "none of the 1 pretrained vectors"),
        (
            {"numbers": "fourier"},
            "numbers must be one of 'piecewise', 'periodic', 'scale'; got 'fourier'",
        ),
        ({"backbone": "gru"}, "backbone must be one of 'mlp'"),
        ({"loss": "hinge"}, "loss must be one of"),
        ({"loss": "quantile"}, "quantile goes with loss='quantile'"),
        ({"n_members": 0}, "n_members must be a whole number >= 1 or 'auto'; got 0"),
        ({"learning_rate": 0}, "learning_rate must be a number > 0; got 0"),
        ({"dropout": 1.0}, "dropout must be a number >= 0 and < 1; got 1.0"),
        ({"max_epochs": "many"}, "max_epochs must be"),
        ({"max_time": -1}, "max_time must be"),
        ({"dim": "large"}, "dim must be"),
        ({"X": "my.csv"}, "y must name a column of the source where X is a stream"),
        ({"y": "sales"}, "y must hold the target values, not the name of a column"),
        ({"y": pd.date_range("2020", periods=10)}, "Times .* not supported in y"),
        ({"y": np.array([1e300] * 5 + [-1e300] * 5)}, "y spreads too far"),
        ({"sample_weight": "size"}, "sample_weight must hold numbers"),
        ({"eval_X": FRAME, "eval_y": np.ones((10, 2))}, "as many columns as y"),
        ({"roles": ["c"]}, "roles must be a dict or None"),
        ({"roles": {"c": "number"}}, "Column 'c' has the role 'number', but holds 'a' in row 0"),
        ({"tables": Table(["c"])}, "tables must be a dict or None"),
        ({"tables": {"c": Table(["c"], l2=-1)}}, "Table 'c': l2 must be a number >= 0 or None; got -1"),
        ({"tables": {"c": Table(["c"], init="xavier")}}, "Table 'c': init must be"),
        ({"tables": {"c": Table(["c"], frozen=True)}}, "is frozen, but has no pretrained"),
        (
            {"tables": {"c": Table(["c"], pretrained={"a": [np.inf]})}},
            "vector of category 'a' is not finite",
        ),
        (
            {"tables": {"c": Table(["c"], pretrained=pd.DataFrame([[1.0]], index=[0]))}},
            "must be indexed by category",
        ),
        (
            {"tables": {"c": Table(["c"], pretrained=pd.DataFrame([[1.0], [2]], index=["a", "a"]))}},
            "several vectors",
        ),
        ({"hidden": 64}, "hidden must be a sequence of whole numbers >= 1 or 'auto'; got 64"),
        ({"numbers": ["scale"]}, "numbers must be one of"),
        ({"device": "gpu"}, "device must be 'auto', 'cpu', 'cuda'"),
        ({"n_jobs": 0}, "n_jobs must be a whole number but 0, or None; got 0"),
        ({"n_jobs": "all"}, "n_jobs must be"),
    ],
)
def test_bad_input_is_one_clear_error_before_any_training(monkeypatch, change, message):
    monkeypatch.setattr("tabemb.estimators.base.train", lambda *a, **k: pytest.fail("training began"))
    arguments = {"X": FRAME, "y": np.arange(10.0), "sample_weight": None, "eval_X": None, "eval_y": None}
    settings = {key: value for key, value in change.items() if key not in arguments}
    arguments |= {key: value for key, value in change.items() if key in arguments}
    with pytest.raises((ValueError, TypeError), match=message):
        EmbeddingRegressor(**settings).fit(**arguments)


def test_a_training_that_diverges_says_so(small, shops):
    with pytest.raises(ValueError, match=r"training loss became .* try a smaller learning_rate"):
        EmbeddingRegressor(**{**small, "learning_rate": 1e30, "numbers": "scale"}).fit(*shops)


@pytest.mark.parametrize(
    ("class_weight", "message"),
    [
        ({0: -1.0}, "class 0 has -1.0"),
        ({7: 1.0}, "names class 7, which y does not hold"),
        ("balance", "class_weight must be one of 'balanced'; got 'balance'"),
        ({0: 0.0}, "only one class, 1,"),
    ],
)
def test_a_wrong_class_weight_is_one_clear_error(small, class_weight, message):
    with pytest.raises(ValueError, match=message):
        EmbeddingClassifier(**small, class_weight=class_weight).fit(FRAME, [0, 1] * 5)


def test_targets_of_pandas_kinds(tiny, shops):
    X, y = (part[:200] for part in shops)
    labels = pd.DataFrame({"low": (y < 0).astype(int), "high": (y > 2).astype(int)})
    assert EmbeddingClassifier(**tiny).fit(X, labels).predict(X).shape == labels.shape
    with pytest.raises(ValueError, match="y must not hold missing"):
        EmbeddingClassifier(**tiny).fit(X, pd.array(["a", None] * 100, dtype="string"))
    nullable = pd.array(y > 0, dtype="boolean")
    assert EmbeddingClassifier(**tiny).fit(X, nullable).classes_.tolist() == [False, True]


def test_one_class_only_is_named(small):
    with pytest.raises(ValueError, match="only one class, 'yes'"):
        EmbeddingClassifier(**small).fit(FRAME, ["yes"] * 10)


def test_a_class_in_the_evaluation_rows_alone_is_named(small):
    with pytest.raises(ValueError, match="eval_y holds class 5, which y does not hold"):
        EmbeddingClassifier(**small).fit(FRAME, [0, 1] * 5, eval_X=FRAME, eval_y=[5] * 10)


def test_bad_rows_at_predict(small):
    model = EmbeddingRegressor(**small)
    with pytest.raises(NotFittedError):
        model.predict(FRAME)
    model.fit(FRAME, np.arange(10.0))
    with pytest.raises(ValueError, match=r"X lacks column 'n' .did you mean 'N'"):
        model.predict(FRAME.rename(columns={"n": "N"}))
    with pytest.raises(ValueError, match=r"Column 'c' held text values .* holds integer"):
        model.predict(FRAME.assign(c=1))
    with pytest.raises(ValueError, match="X has 3 features"):
        model.predict(np.zeros((2, 3)))


def test_a_preset_sets_what_was_left_at_its_default(shops):
    X, y = shops
    few = {"max_epochs": 1, "batch_size": 256, "random_state": 0, "n_jobs": 1}
    best = EmbeddingRegressor(preset="best", hidden=(16,), d_number=4, **few).fit(X[:200], y[:200])
    assert len(best.network_.networks) == 5
    assert best.transform(X[:9]).shape == (9, 5 * 16)  # the user's width has priority
    fast = EmbeddingRegressor(preset="fast", **few).fit(X[:200], y[:200])
    assert fast.network_.head.weight.shape[0] == 1
    assert EmbeddingRegressor(**few).fit(X, y).network_.head.weight.shape[0] == 4
    assert EmbeddingRegressor(**few, trees=False).fit(X, y).network_.head.weight.shape[0] == 8


@pytest.mark.slow
def test_several_networks_predict_their_mean(small, shops):
    X, y = shops
    model = EmbeddingRegressor(**small, n_networks=3).fit(X, y)
    whole = model.network_
    predictions = []
    for network in whole.networks:
        model.network_ = network
        predictions.append(model.predict(X))
    model.network_ = whole
    assert np.std(predictions, axis=0).min() > 0
    np.testing.assert_allclose(model.predict(X), np.mean(predictions, axis=0), rtol=1e-5, atol=1e-5)
    assert (
        model.spaces_.raw["shop"].vectors.shape[1]
        == 3 * EmbeddingRegressor(**small).fit(X, y).spaces_.raw["shop"].vectors.shape[1]
    )
    assert model.score(X, y) > 0.99


@pytest.mark.slow
def test_effects_carry_an_interaction_that_vectors_alone_learn_slowly(small):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {"a": rng.integers(0, 30, 4000).astype(str), "b": rng.integers(0, 30, 4000).astype(str)}
    )
    y = rng.normal(size=(30, 30))[X["a"].astype(int), X["b"].astype(int)]
    train, test = slice(0, 3500), slice(3500, None)
    short = {**small, "max_epochs": 10, "trees": False}
    scores = [
        EmbeddingRegressor(**short, **settings).fit(X[train], y[train]).score(X[test], y[test])
        for settings in ({}, {"n_pairs": 0}, {"effects": False})
    ]
    assert scores[0] > 0.5
    assert max(scores[1:]) < scores[0] - 0.2


@pytest.mark.slow
def test_the_number_of_epochs_on_few_rows_is_chosen_by_validation_rows():
    """A target of noise is overfitted after a few epochs; a clean one gains from many."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"c": rng.integers(0, 100, 600).astype(str), "x": rng.normal(size=600)})
    clean, noise = np.sin(3 * X["x"]), pd.Series(rng.normal(size=600))
    models = [
        EmbeddingRegressor(hidden=(32,), n_members=2, random_state=seed, n_jobs=1) for seed in range(3)
    ]
    long, short = (
        sum(len(model.fit(X, y).learning_curve_["epoch"]) for model in models) for y in (clean, noise)
    )
    assert 3 * short <= long
    encoder = models[0].encoder_
    assert encoder.vocabularies_["c"].counts.sum() == len(X)  # all rows are trained on in the end


@pytest.mark.slow
def test_more_classes_than_a_step_compares_are_learned(tmp_path, monkeypatch):
    monkeypatch.setattr("tabemb.targets.classes.MANY_CLASSES", 50)
    monkeypatch.setattr("tabemb.targets.classes.MOST_COMPARED", 50)
    monkeypatch.setattr("tabemb.targets.classes.N_DRAWN", 16)
    rng = np.random.default_rng(0)
    part = np.tile(rng.permutation(120), 10)
    X = pd.DataFrame({"part": part.astype(str), "size": rng.normal(size=len(part))})
    model = EmbeddingClassifier(
        hidden=(32,),
        n_members=2,
        dim=8,
        l2=1,
        max_epochs=18,
        batch_size=32,
        learning_rate=0.01,
        random_state=0,
        n_jobs=1,
    )
    model.fit(X, part)
    assert (model.predict(X.head(120)) == part[:120]).mean() > 0.9
    tabemb.save(model, tmp_path / "m.tabemb")
    np.testing.assert_array_equal(
        tabemb.load(tmp_path / "m.tabemb").predict(X.head(50)), model.predict(X.head(50))
    )

"""Updates of models with new rows: what a night changes, what it keeps, and what it refuses."""

import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone

import tabemb
from tabemb import EmbeddingClassifier, EmbeddingRegressor, EventClassifier
from tabemb.fitting import nights
from tabemb.fitting.recipe import Schedule
from tabemb.fitting.responses import responses_of

SMALL = {
    "hidden": (16,),
    "n_members": 2,
    "max_epochs": 6,
    "batch_size": 64,
    "learning_rate": 0.01,
    "random_state": 0,
    "n_jobs": 1,
}
EFFECTS = {"north": -2.0, "south": 0.0, "east": 1.0, "west": 3.0, "new": 5.0}


def draw(n, shops, seed=0):
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({"shop": rng.choice(shops, n), "size": rng.normal(size=n)})
    return X, X["shop"].map(EFFECTS).to_numpy() + X["size"].to_numpy() + 0.1 * rng.normal(size=n)


OLD = ["north", "south", "east", "west"]
X_OLD, Y_OLD = draw(600, OLD)
X_NEW, Y_NEW = draw(120, ["north", "south", "new"], seed=1)


@pytest.fixture(scope="module")
def first():
    return EmbeddingRegressor(**SMALL).fit(X_OLD, Y_OLD)


@pytest.fixture(scope="module")
def grown(first):
    return EmbeddingRegressor(**SMALL).fit(X_NEW, Y_NEW, start=first)


@pytest.fixture(scope="module")
def without_rows(first):
    return pickle.loads(pickle.dumps(first)).forget_rows()


def raw_sums(model, term=0):
    """Return the count and the sum of y, in the units of y, by level of a term."""
    effects, target = model.effects_, model.target_
    span = slice(effects.ends_[term], effects.ends_[term + 1])
    counts, centered = effects.counts_[span], effects.sums_[span, 0]
    scaled = centered * effects.unit_[0] + counts * effects.mean_[0]
    sums = scaled * target.scale[0] + counts * target.center[0]
    names = model.encoder_.vocabularies_["shop"].labels()[effects.keys_[span] - 2]
    return pd.DataFrame({"count": counts, "sum": sums}, index=names.astype(str)).sort_index()


def test_a_new_category_is_learned_at_night(first, grown):
    at_zero = pd.DataFrame({"shop": ["new"], "size": [0.0]})
    assert abs(first.predict(at_zero)[0] - 5) > 2
    assert abs(grown.predict(at_zero)[0] - 5) < abs(first.predict(at_zero)[0] - 5) / 2
    assert grown.n_rows_ == 720


def test_codes_stay_and_counts_are_added_up(first, grown):
    old, new = (model.encoder_.vocabularies_["shop"] for model in (first, grown))
    assert old.labels().tolist() == sorted(OLD)
    assert new.labels().tolist() == [*sorted(OLD), "new"]
    counts = pd.concat([X_OLD, X_NEW])["shop"].value_counts()
    assert dict(zip(new.labels(), new.counts[2:])) == counts.to_dict()


def test_sums_of_effects_are_those_of_all_rows_in_any_order_of_nights(first, grown):
    X, y = pd.concat([X_OLD, X_NEW]), np.concatenate([Y_OLD, Y_NEW])
    expected = pd.Series(y).groupby(X["shop"].to_numpy()).agg(["size", "sum"])
    expected = expected.rename(columns={"size": "count"})
    pd.testing.assert_frame_equal(raw_sums(grown), expected, check_dtype=False)
    halves = [(X_NEW[:50], Y_NEW[:50]), (X_NEW[50:], Y_NEW[50:])]
    for parts in (halves, halves[::-1]):
        pd.testing.assert_frame_equal(raw_sums(first_then(first, parts)), raw_sums(grown))


def first_then(model, parts):
    for X, y in parts:
        model = EmbeddingRegressor(**SMALL).fit(X, y, start=model)
    return model


def test_weights_count_as_repeated_rows(first):
    weights = np.arange(120) % 3
    weighted = EmbeddingRegressor(**SMALL).fit(X_NEW, Y_NEW, weights, start=first)
    X, y = X_NEW.loc[X_NEW.index.repeat(weights)], np.repeat(Y_NEW, weights)
    repeated = EmbeddingRegressor(**SMALL).fit(X, y, start=first)
    pd.testing.assert_frame_equal(raw_sums(weighted), raw_sums(repeated))


def test_the_start_stays_as_it_is_and_partial_fit_gives_the_same(first, grown):
    before = pickle.dumps(first)
    copy = pickle.loads(before)
    copy.partial_fit(X_NEW, Y_NEW)
    assert np.array_equal(copy.predict(X_OLD), grown.predict(X_OLD))
    again = EmbeddingRegressor(**SMALL).fit(X_NEW, Y_NEW, start=first)
    assert np.array_equal(again.predict(X_OLD), grown.predict(X_OLD))
    assert np.array_equal(pickle.loads(before).predict(X_OLD), first.predict(X_OLD))


def test_on_an_unfitted_model_partial_fit_is_fit(first):
    model = EmbeddingRegressor(**SMALL).partial_fit(X_OLD, Y_OLD)
    assert np.array_equal(model.predict(X_OLD), first.predict(X_OLD))
    assert not hasattr(clone(model), "growth_")


def test_saving_in_the_middle_changes_no_bit(first, grown, tmp_path):
    tabemb.save(first, tmp_path / "first")
    loaded = tabemb.load(tmp_path / "first").partial_fit(X_NEW, Y_NEW)
    assert np.array_equal(loaded.predict(X_OLD), grown.predict(X_OLD))
    tabemb.save(loaded, tmp_path / "second")
    loaded = tabemb.load(tmp_path / "second").partial_fit(X_OLD, Y_OLD)
    twice = EmbeddingRegressor(**SMALL).fit(X_OLD, Y_OLD, start=grown)
    assert np.array_equal(loaded.predict(X_OLD), twice.predict(X_OLD))
    assert np.array_equal(loaded.spaces_["shop"].vectors, twice.spaces_["shop"].vectors)


def test_a_table_row_without_new_rows_does_not_move_where_none_are_replayed(without_rows):
    grown = EmbeddingRegressor(**SMALL).fit(X_NEW, Y_NEW, start=without_rows)
    before, after = (model.spaces_.raw["shop"] for model in (without_rows, grown))
    for shop in ("east", "west"):
        assert np.array_equal(before[shop], after[shop])
    assert not np.array_equal(before["north"], after["north"])


def test_answers_for_categories_without_new_rows_stay(first):
    X, y = draw(400, ["south"], seed=2)
    model = first_then(first, [(X[i : i + 100], y[i : i + 100] + 3) for i in range(0, 400, 100)])
    others = X_OLD[X_OLD["shop"] != "south"]
    moved = np.abs(model.predict(others) - first.predict(others)).mean()
    south = X_OLD[X_OLD["shop"] == "south"]
    assert moved < 0.5 * (model.predict(south) - first.predict(south)).mean()


def test_a_heavy_category_is_held_by_its_rows_and_a_new_one_is_free(without_rows):
    first = without_rows
    recipe = first._recipe(
        tabemb.estimators.base.check_rows(X_NEW, Y_NEW, None, numeric=True, estimator=first),
        tabemb.estimators.growth.start_of(first, first),
        None,
    )
    encoder = recipe.fit_encoder(recipe.hold_out(rows_of(X_NEW, Y_NEW), None).rows)
    network = first.network_
    by_code = dict(zip(["unknown", "missing", *encoder.vocabularies_["shop"].labels()], range(7)))
    fitted = recipe.build(encoder, None if first.effects_ is None else first.effects_, None, 120)
    anchor = fitted.network.tables.groups[0].anchor
    pulls = anchor.strength.numpy(force=True)
    counts, prior = (
        encoder.vocabularies_["shop"].counts,
        fitted.network.tables.priors(0).numpy(force=True),
    )
    new, old = by_code["new"], by_code["north"]
    assert pulls[new] == pytest.approx(prior[new])  # all of its rows are new
    n_old, n_new = first.encoder_.vocabularies_["shop"].counts[old], (X_NEW["shop"] == "north").sum()
    strength = recipe._rows_of_prior("shop")
    expected = prior[old] * counts[old] * (1 + nights.HOLD * n_old / strength) / n_new
    assert pulls[old] == pytest.approx(expected, rel=1e-5)
    assert torch.equal(anchor.vectors[new], network.tables.vectors(0)[0])
    assert first.network_.tables.groups[0].anchor is None


def rows_of(X, y):
    return tabemb.estimators.base.check_rows(X, y, None, numeric=True, estimator=None)


def test_vectors_of_all_nights_lie_along_the_axes_of_the_first(first, grown):
    later = first_then(grown, [draw(100, ["west", "new"], seed=3)])
    axes = [model.reference_.axes["shop"] for model in (grown, later)]
    assert np.array_equal(axes[0].axes, axes[1].axes)
    again = responses_of(first._fitted, replace(first.reference_, axes=None), "shop")
    assert np.array_equal(axes[0].axes, again.axes.axes)
    assert np.array_equal(again.vectors, first.spaces_["shop"].vectors)
    assert axes[0].weights_of(5).tolist() == [*axes[0].weights, 0.0]
    assert later.spaces_["shop"].ancestry[:2] == grown.spaces_["shop"].ancestry
    assert later.spaces_["shop"].version == 2


def test_an_interrupt_leaves_yesterday(first, monkeypatch):
    model = pickle.loads(pickle.dumps(first))

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(tabemb.network.model.TabularNetwork, "forward", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.partial_fit(X_NEW, Y_NEW)
    monkeypatch.undo()
    assert np.array_equal(model.predict(X_OLD), first.predict(X_OLD))
    assert model.n_rows_ == 600


def test_a_night_of_one_row_changes_little(first):
    model = EmbeddingRegressor(**SMALL).fit(X_NEW[:1], Y_NEW[:1], start=first)
    assert np.abs(model.predict(X_OLD) - first.predict(X_OLD)).max() < 0.2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda X: X.assign(colour="red"),
            "X has the column 'colour', which the first fit did not have",
        ),
        (lambda X: X.drop(columns="size"), "X lacks column 'size'"),
        (lambda X: X.assign(shop=1), "Column 'shop' held text values when it was fitted"),
        (lambda X: X.assign(size="big"), "Column 'size'"),
    ],
)
def test_other_columns_are_refused_in_one_sentence(first, change, message):
    before = first.predict(X_OLD[:5])
    with pytest.raises(ValueError, match=message) as error:
        first.partial_fit(change(X_NEW), Y_NEW)
    assert str(error.value).endswith(".")
    assert np.array_equal(first.predict(X_OLD[:5]), before)


def test_a_number_that_is_no_category_of_whole_numbers_is_refused():
    X = pd.DataFrame({"id": [1, 2] * 20})
    model = EmbeddingRegressor(roles={"id": "categorical"}, **SMALL).fit(X, np.arange(40.0))
    with pytest.raises(ValueError, match=r"'id' held integer values .* holds 1\.5 now"):
        model.partial_fit(pd.DataFrame({"id": [1.5, 2.0]}), [1.0, 2.0])
    assert model.partial_fit(pd.DataFrame({"id": [7.0, 2.0]}), [1.0, 2.0]).n_rows_ == 42


def test_another_kind_of_start_is_refused(first):
    with pytest.raises(ValueError, match="start must be a fitted EmbeddingClassifier; got Embedding"):
        EmbeddingClassifier(**SMALL).fit(X_NEW, Y_NEW > 0, start=first)
    with pytest.raises(ValueError, match=r"n_members must be 2, as it is in start; got 3\."):
        EmbeddingRegressor(**SMALL | {"n_members": 3}).fit(X_NEW, Y_NEW, start=first)
    changed = pickle.loads(pickle.dumps(first)).set_params(hidden=(16, 16), n_members=4)
    with pytest.raises(ValueError, match="must be those of the fit"):
        changed.partial_fit(X_NEW, Y_NEW)
    with pytest.raises(ValueError, match="classes must be None, as a regressor has none"):
        EmbeddingRegressor(**SMALL).fit(X_NEW, Y_NEW, classes=[1, 2])
    old = pickle.loads(pickle.dumps(first))
    del old.growth_
    with pytest.raises(ValueError, match="saved by an earlier version of tabemb"):
        old.partial_fit(X_NEW, Y_NEW)


def test_events_say_what_to_do_instead():
    log = pd.DataFrame({"who": list("ab") * 20, "at": np.arange(40), "what": list("xyyx") * 10})
    model = EventClassifier(entity="who", time="at", **SMALL).fit(log, np.arange(40) % 2)
    assert not hasattr(model, "partial_fit")
    with pytest.raises(ValueError, match="EventClassifier cannot go on with later rows; update reads"):
        EventClassifier(entity="who", time="at", **SMALL).fit(log, np.arange(40) % 2, start=model)


QUICK = {**SMALL, "batch_size": 16, "learning_rate": 0.03}
CLASSES = np.array(["a", "b", "c"])


@pytest.fixture(scope="module")
def two_classes():
    X = pd.DataFrame({"shop": ["s", "t"] * 60})
    return EmbeddingClassifier(**QUICK).fit(X, CLASSES[np.arange(120) % 2])


def test_a_new_class_must_be_asked_for(two_classes):
    X, y = pd.DataFrame({"shop": ["u", "s"] * 30}), CLASSES[2 * (1 - np.arange(60) % 2)]
    with pytest.raises(ValueError, match="y holds class 'c' in row 0, which is none of the model"):
        EmbeddingClassifier(**QUICK).fit(X, y, start=two_classes)
    with pytest.raises(ValueError, match="it lacks 'b'"):
        EmbeddingClassifier(**QUICK).fit(X, y, start=two_classes, classes=["a", "c"])
    model = EmbeddingClassifier(**QUICK).fit(X, y, start=two_classes, classes=["c", "b", "a"])
    assert model.classes_.tolist() == ["a", "b", "c"]
    probability = model.predict_proba(pd.DataFrame({"shop": ["u", "s", "t"]}))
    assert probability[0, 2] > 0.4 > probability[2, 2]
    assert model.effects_.responses_.tolist() == [1]
    assert model.spaces_["shop"].version == 0
    later = EmbeddingClassifier(**QUICK).fit(X, y, start=model)
    assert later.spaces_["shop"].version == 1


def test_classes_of_the_first_call_may_come_later():
    X, y = pd.DataFrame({"shop": ["s", "t"] * 60}), np.array([0, 2] * 60)
    model = EmbeddingClassifier(**QUICK).partial_fit(X, y, classes=[0, 1, 2])
    assert model.predict_proba(X).shape == (120, 3)
    assert model.predict_proba(X)[:, 1].max() < 0.05
    model.partial_fit(pd.DataFrame({"shop": ["s"] * 60}), [1] * 60)
    assert model.predict_proba(X[:1])[0, 1] > 0.3


def schedule_of(model, X, y):
    rows = tabemb.estimators.base.check_rows(X, y, None, numeric=False, estimator=model)
    return model._recipe(rows, tabemb.estimators.growth.start_of(model, model), None).schedule


def test_a_night_trains_at_the_full_rate_for_a_class_that_comes_now_alone():
    X, y = pd.DataFrame({"shop": ["s", "t"] * 60}), np.array([0, 2] * 60)
    model = EmbeddingClassifier(**SMALL).partial_fit(X, y, classes=[0, 1, 2])
    comes_now = np.where(y == 2, 1, y)
    assert schedule_of(model, X, comes_now) == Schedule(6, 1.0, 1.0)
    model.forget_rows()
    assert schedule_of(model, X, y) == Schedule(6, nights.RATE, 1.0)
    assert schedule_of(model, X, comes_now) == Schedule(6, 1.0, 1.0)


def test_balanced_classes_are_refused(two_classes):
    X = pd.DataFrame({"shop": ["s", "t"] * 60})
    model = pickle.loads(pickle.dumps(two_classes)).set_params(class_weight="balanced")
    with pytest.raises(ValueError, match="class_weight must be a dict or None with start"):
        model.partial_fit(X, CLASSES[np.arange(120) % 2])


@pytest.mark.parametrize(
    "settings",
    [{"n_networks": 2}, {"effects": False}, {"biases": False}, {"preset": "fast", "n_members": 1}],
    ids=str,
)
def test_models_of_other_shapes_grow(settings):
    at_zero = pd.DataFrame({"shop": ["new"], "size": [0.0]})
    model = EmbeddingRegressor(**SMALL | settings).fit(X_OLD, Y_OLD)
    before = model.predict(at_zero)[0]
    after = model.partial_fit(X_NEW, Y_NEW).predict(at_zero)[0]
    assert before < after < 6


def test_pretrained_vectors_of_new_categories_are_used():
    vectors = pd.DataFrame(np.eye(5), index=[*OLD, "new"])
    tables = {"shop": tabemb.Table(["shop"], pretrained=vectors, frozen=True)}
    model = EmbeddingRegressor(tables=tables, **SMALL).fit(X_OLD, Y_OLD).partial_fit(X_NEW, Y_NEW)
    assert model.spaces_.raw["shop"]["new"].tolist() == [0, 0, 0, 0, 1]


@pytest.mark.parametrize("several", ["labels", "classes", "numbers"])
def test_several_targets_grow(several):
    X, y = X_OLD, np.stack([Y_OLD > 0, X_OLD["size"] > 0], axis=1)
    if several == "classes":
        y = np.where(y, ["x", "z"], ["u", "v"])
    estimator = EmbeddingRegressor if several == "numbers" else EmbeddingClassifier
    y = y.astype({"labels": int, "classes": object, "numbers": float}[several])
    model = estimator(**SMALL).fit(X[:500], y[:500])
    model.partial_fit(X[500:], y[500:])
    assert model.n_rows_ == 600
    with pytest.raises(ValueError, match="y must have 2 columns, as it had in the first fit"):
        model.partial_fit(X[500:], y[500:, 0])
    if several != "numbers":
        with pytest.raises(ValueError, match="classes must be None where y has several columns"):
            model.partial_fit(X[500:], y[500:], classes=[0, 1])


def test_validation_rows_choose_the_epoch_of_a_night(first):
    model = EmbeddingRegressor(**SMALL).fit(X_NEW, Y_NEW, start=first, eval_X=X_OLD, eval_y=Y_OLD)
    assert np.isfinite(model.learning_curve_["eval_loss"]).all()
    assert model.predict_interval(X_OLD[:3]).shape == (3, 2)


def test_a_killed_night_goes_on_from_its_checkpoint(first, grown, tmp_path):
    settings = {**SMALL, "checkpoint": tmp_path}
    cut = EmbeddingRegressor(**settings, max_time=1e-9).fit(X_NEW, Y_NEW, start=first)
    assert len(cut.learning_curve_["epoch"]) == 1
    whole = EmbeddingRegressor(**settings).fit(X_NEW, Y_NEW, start=first)
    assert np.array_equal(whole.predict(X_OLD), grown.predict(X_OLD))


def test_texts_vectors_and_lists_grow():
    rng = np.random.default_rng(0)
    words = rng.choice(["good", "bad", "fine"], (80, 3))
    X = pd.DataFrame({"text": [" ".join(row) + " day" for row in words]})
    X["tags"] = [list(row) for row in words]
    X["vector"] = list(rng.normal(size=(80, 3)))
    y = (words == "good").sum(axis=1).astype(float)
    model = EmbeddingRegressor(roles={"text": "text"}, **SMALL).fit(X[:60], y[:60])
    more = X[60:].assign(text="superb " + X["text"][60:])
    model.partial_fit(more, y[60:])
    words = model.effects_.words_[0]
    vocabulary = model.encoder_.vocabularies_[
        next(t for t in model.encoder_.vocabularies_ if "text" in t)
    ]
    assert "superb" in vocabulary.labels().tolist()
    counts = dict(zip(vocabulary.labels()[words.keys - 2], words.counts))
    assert counts["good"] == (X["text"].str.contains("good")).sum()
    assert counts["superb"] == 20


def test_min_count_holds_for_new_categories(first):
    model = EmbeddingRegressor(**SMALL, min_count=3).fit(X_OLD, Y_OLD)
    X = X_NEW.assign(shop=["rare"] * 2 + ["often"] * 118)
    model.partial_fit(X, Y_NEW)
    vocabulary = model.encoder_.vocabularies_["shop"]
    assert "often" in vocabulary.labels()
    assert "rare" not in vocabulary.labels()
    assert vocabulary.counts[0] == 2


def test_the_profile_grows_and_check_goes_on(first, grown):
    report = grown.check(X_NEW)
    assert "new" not in str(report.verdict) or not report.has_drift
    assert grown.profiles_["shop"].counts.sum() == 720
    assert grown.profiles_["size"].counts.sum() == 720
    everything = pd.concat([X_OLD, X_NEW])["size"]
    assert grown.missing_shares_["size"] == 0
    scale = first.encoder_.scales_[0]
    middle = np.median(grown.profiles_["size"].quantiles) * scale.unit + scale.center
    assert middle == pytest.approx(everything.median(), abs=0.1)

"""Summaries, effects as a frame, and importances of a fitted model."""

import pickle
import unicodedata
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.inspection import permutation_importance
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline

import tabemb
from tabemb import (
    EmbeddingClassifier,
    EmbeddingEncoder,
    EmbeddingRegressor,
    EventClassifier,
    SequenceEncoder,
    Table,
)

QUICK = {
    "hidden": (16,),
    "n_members": 2,
    "max_epochs": 1,
    "batch_size": 256,
    "random_state": 0,
    "n_jobs": 1,
}
FORMATS = sorted((Path(__file__).parents[1] / "saving").glob("format_*/*.tabemb"))


@pytest.fixture(scope="module")
def stays():
    """900 rows with a city, a day and a number; city and day also have an effect as a pair."""
    rng = np.random.default_rng(0)
    n = 900
    X = pd.DataFrame(
        {
            "city": rng.choice(["Bonn", "Rome", "Oslo", None], n),
            "day": rng.choice([1, 2, 3], n),
            "size": rng.integers(0, 30, n),
            "note": "x",
        }
    )
    pair = pd.Series(rng.normal(scale=2, size=12)).to_numpy()
    code = X["city"].map({"Bonn": 1, "Rome": 2, "Oslo": 3}).fillna(0).to_numpy(int)
    y = 100 + 5 * code + 3 * pair[code * 3 + X["day"] - 1] + X["size"] / 5 + rng.normal(size=n)
    return X, y.to_numpy()


@pytest.fixture(scope="module")
def model(stays):
    roles = {"day": "categorical", "note": "ignored"}
    return EmbeddingRegressor(**QUICK, roles=roles).fit(*stays)


def level_of(frame, term, level, level_2=None):
    rows = frame[(frame["term"] == term) & (frame["level"] == level)]
    return rows if level_2 is None else rows[rows["level_2"] == level_2]


# Effects as a frame


def test_levels_have_counts_and_means_in_the_unit_of_y(model, stays):
    X, y = stays
    frame = model.effects_frame()
    assert frame.attrs["unit"] == "y"
    for city, values in pd.Series(y).groupby(X["city"]):
        (row,) = level_of(frame, "city", city).itertuples()
        assert (row.count, row.level_2) == (len(values), None)
        assert row.mean == pytest.approx(values.mean(), rel=1e-5)
        shrunken = len(values) / (len(values) + row.strength) * (values.mean() - y.mean())
        assert row.effect == pytest.approx(shrunken, abs=1e-4)
    missing = frame[(frame["term"] == "city") & frame["level"].isna()]
    assert missing["count"].tolist() == [X["city"].isna().sum()]
    assert missing["mean"].tolist() == pytest.approx([y[X["city"].isna()].mean()], rel=1e-5)


def test_errors_are_in_the_unit_of_y(model, stays):
    X, y = stays
    groups = pd.Series(y).groupby(X["city"].fillna("none"))
    within = (groups.var() * (groups.size() - 1)).sum() / (len(y) - 4)
    for row in model.effects_frame("city").dropna(subset="level").itertuples():
        assert row.error == pytest.approx(np.sqrt(within / (row.count + row.strength)), rel=1e-3)


def test_pairs_have_two_labels_as_they_were_given(model, stays):
    X, y = stays
    frame = model.effects_frame("city*day")
    (row,) = level_of(frame, "city*day", "Rome", 2).itertuples()
    chosen = (X["city"] == "Rome") & (X["day"] == 2)
    assert row.count == chosen.sum()
    assert row.mean == pytest.approx(y[chosen].mean(), rel=1e-5)
    assert len(frame) == 12


def test_numbers_have_intervals(model, stays):
    X, y = stays
    frame = model.effects_frame("size")
    assert [level.right for level in frame["level"]][:3] == [0.0, 1.0, 2.0]
    assert (frame["level"].iloc[0].left, frame["level"].iloc[-1].right) == (-np.inf, np.inf)
    for row in frame.itertuples():
        chosen = [value in row.level for value in X["size"]]
        assert row.count == sum(chosen)
        assert row.mean == pytest.approx(y[chosen].mean(), rel=1e-5)


@pytest.mark.parametrize("factor", [1e-250, 1e-3, 1e9, 1e250])
def test_intervals_of_numbers_of_any_size(factor):
    rng = np.random.default_rng(0)
    x = rng.normal(size=2000) * factor
    model = EmbeddingRegressor(**QUICK, trees=False).fit(pd.DataFrame({"x": x}), np.sign(x))
    frame = model.effects_frame("x")
    ends = [level.right for level in frame["level"]][:-1]
    assert len(frame) == 64
    np.testing.assert_allclose(ends, np.quantile(x, np.arange(1, 64) / 64), atol=2e-2 * factor)


def test_a_bounded_number_of_a_pair_is_more_rows_away():
    """The number of further rows that a level needs is computed as on the page on explanations."""
    rng = np.random.default_rng(0)
    shop = np.repeat(np.arange(300), 12).astype(str)
    y = rng.normal(size=300)[shop.astype(int)] + 50 + 2 * rng.normal(size=3600)
    X = pd.DataFrame({"shop": shop})
    unfitted = EmbeddingRegressor(**QUICK, trees=False)
    before = unfitted.fit(X, y).effects_frame("shop").iloc[0]
    target = 0.5 / 1.96
    n_more = (before["count"] + before["strength"]) * ((before["error"] / target) ** 2 - 1)
    more = pd.DataFrame({"shop": [before["level"]] * int(np.ceil(n_more))})
    y_more = np.full(len(more), y[shop == before["level"]].mean()) + 2 * rng.normal(size=len(more))
    X, y = pd.concat([X, more]), np.concatenate([y, y_more])
    after = level_of(unfitted.fit(X, y).effects_frame(), "shop", before["level"])
    assert before["error"] > 1.5 * target
    assert after["error"].item() == pytest.approx(target, rel=0.05)


def test_classes_have_shares(stays):
    X, y = stays
    X = X.drop(columns="note")
    labels = np.where(y > 110, "high", np.where(y > 100, "middle", "low"))
    frame = EmbeddingClassifier(**QUICK).fit(X, labels).effects_frame("city")
    assert frame.attrs["unit"] == "share"
    rome = level_of(frame, "city", "Rome").set_index("class")
    shares = pd.Series(labels)[X["city"] == "Rome"].value_counts(normalize=True)
    overall = pd.Series(labels).value_counts(normalize=True)
    for label in ("high", "low", "middle"):
        count, mean, effect, error, k = rome.loc[label, ["count", "mean", "effect", "error", "strength"]]
        assert mean == pytest.approx(shares.get(label, 0))
        share = (count * mean + k * overall[label]) / (count + k)
        assert effect == pytest.approx(share - overall[label])
        assert error == pytest.approx(np.sqrt(share * (1 - share) / (count + k)))


def test_of_two_classes_the_second_is_named_and_several_targets_too(stays):
    X, y = stays
    X = X[["city", "size"]]
    binary = EmbeddingClassifier(**QUICK).fit(X, y > 110).effects_frame("city")
    assert set(binary["class"]) == {True}
    labels = EmbeddingClassifier(**QUICK).fit(X, np.column_stack([y > 110, y > 100]).astype(int))
    two = labels.effects_frame("city")
    assert two.groupby("target").size().tolist() == [4, 4]
    both = EmbeddingClassifier(**QUICK).fit(X, np.column_stack([y > 110, X["size"] // 10]).astype(str))
    parts = both.effects_frame("city")
    answers = parts[["target", "class"]].drop_duplicates().to_numpy().tolist()
    assert answers == [[0, "1"], [1, "0"], [1, "1"], [1, "2"]]
    bonn = X["city"] == "Bonn"
    (row,) = level_of(parts, "city", "Bonn").query("target == 1 and `class` == '2'").itertuples()
    assert row.mean == pytest.approx((X["size"][bonn] // 10 == 2).mean())
    numbers = EmbeddingRegressor(**QUICK).fit(X, np.column_stack([y, -10 * y])).effects_frame("city")
    first, second = (part for _, part in level_of(numbers, "city", "Bonn").groupby("target"))
    np.testing.assert_allclose(second["mean"], -10 * first["mean"], rtol=1e-5)
    np.testing.assert_allclose(second["error"], 10 * first["error"], rtol=1e-5)


def test_a_target_that_is_a_logarithm_says_so(stays):
    X, y = stays
    model = EmbeddingRegressor(**QUICK, loss="absolute_percentage_error").fit(X[["city"]], y)
    frame = model.effects_frame()
    assert frame.attrs["unit"] == "log(y)"
    bonn = np.log(y[X["city"] == "Bonn"]).mean()
    assert level_of(frame, "city", "Bonn")["mean"].item() == pytest.approx(bonn, rel=1e-5)


def test_rare_categories_have_a_label(stays):
    X, y = stays
    cities = X["city"].where(np.arange(len(X)) > 2, ["a", "b", "c"] + [None] * (len(X) - 3))
    frame = EmbeddingRegressor(**QUICK, min_count=5).fit(pd.DataFrame({"city": cities}), y)
    assert level_of(frame.effects_frame(), "city", "(rare)")["count"].tolist() == [3]


def test_terms_that_have_no_effects_are_refused(model, stays):
    with pytest.raises(ValueError, match=r"got 'cty'\. Did you mean 'city'"):
        model.effects_frame("cty")
    X, y = stays
    plain = EmbeddingRegressor(**QUICK, effects=False).fit(X[["city"]], y)
    with pytest.raises(ValueError, match="effects=False"):
        plain.effects_frame()
    noise = EmbeddingRegressor(**QUICK).fit(X[["city"]], np.zeros(len(X)))
    assert len(noise.effects_frame()) == 0
    assert list(noise.effects_frame()) == list(model.effects_frame())


# Importances


@pytest.mark.slow
def test_permuting_a_column_raises_a_squared_error_by_twice_its_variance():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {"a": rng.normal(size=4000), "b": rng.normal(size=4000), "c": rng.normal(size=4000)}
    )
    y = 2 * X["a"] + X["b"]
    settings = {**QUICK, "hidden": (64,), "max_epochs": 25, "batch_size": "auto"}
    model = EmbeddingRegressor(**settings).fit(X[:3000], y[:3000])
    frame = model.importances(X[3000:], y[3000:])
    assert frame["column"].tolist() == ["a", "b", "c"]
    # in units of the variance of y, which is 5
    np.testing.assert_allclose(frame["importance"], [8 / 5, 2 / 5, 0], atol=0.12)
    assert (frame["deviation"] < 0.1).all()
    both = model.importances(X[3000:], y[3000:], groups={"both": ["a", "b"]}, n_repeats=3)
    np.testing.assert_allclose(both.set_index("column").loc["both", "importance"], 2, atol=0.15)
    assert set(both["column"]) == {"both", "c"}


def test_importances_are_those_of_scikit_learn(stays):
    X, y = stays
    X, labels = X[["city", "size"]], y > 110
    model = EmbeddingClassifier(**{**QUICK, "max_epochs": 10}).fit(X, labels)

    def scoring(model, X, y):
        return -log_loss(y, model.predict_proba(X)[:, 1])

    ours = model.importances(X, labels, n_repeats=20).set_index("column")["importance"]
    theirs = permutation_importance(model, X, labels, scoring=scoring, n_repeats=20, random_state=1)
    np.testing.assert_allclose(ours[["city", "size"]], theirs.importances_mean, rtol=0.06)


def test_weights_count_and_the_seed_repeats(model, stays):
    X, y = stays
    weights = np.where(np.arange(len(X)) < 300, 1.0, 0.0)
    weighted = model.importances(X, y, weights, n_repeats=1)
    assert weighted.attrs["loss"] == pytest.approx(model.importances(X[:300], y[:300]).attrs["loss"])
    pd.testing.assert_frame_equal(model.importances(X, y), model.importances(X, y))
    assert not model.importances(X, y).equals(model.importances(X, y, random_state=1))


@pytest.mark.slow
def test_a_history_is_one_column():
    rng = np.random.default_rng(0)
    bags = [rng.choice(["u", "v", "w"], rng.integers(1, 5)).tolist() for _ in range(600)]
    X = pd.DataFrame({"bag": bags, "city": rng.choice(["Bonn", "Rome"], 600)})
    y = np.array([bag.count("u") for bag in bags], float)
    model = EmbeddingRegressor(**{**QUICK, "max_epochs": 20, "batch_size": "auto"}, d_history=8).fit(
        X, y
    )
    frame = model.importances(X, y).set_index("column")["importance"]
    assert list(frame.index) == ["bag", "city"]
    assert frame["bag"] > 1
    assert abs(frame["city"]) < 0.05
    with pytest.raises(AttributeError, match="histories do not have; call importances"):
        model.feature_importances_
    assert not hasattr(model, "feature_importances_")


def event_log(n=400):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {"who": rng.choice(list("abcdefgh"), n), "at": np.arange(n), "what": rng.choice(["x", "y"], n)}
    )


def test_of_events_entity_and_time_are_permuted_together():
    log = event_log(900)
    skill = dict(zip("abcdefgh", [True, False] * 4))
    y = log["who"].map(skill).to_numpy()
    model = EventClassifier(entity="who", time="at", **{**QUICK, "max_epochs": 10}, d_history=8)
    model.set_params(batch_size=32, learning_rate=0.02).fit(log[:700], y[:700])
    frame = model.importances(log[700:], y[700:]).set_index("column")["importance"]
    assert set(frame.index) == {"who, at", "what"}
    assert frame["who, at"] > 0.5
    assert abs(frame["what"]) < 0.05


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"groups": {"both": ["city", "cty"]}}, r"got 'cty' \(did you mean 'city'\?\)"),
        ({"groups": {"both": ["city", "note"]}}, "that the model reads; got 'note'"),
        ({"groups": {"both": "city"}}, "must list columns; got 'city'"),
        ({"groups": {"a": ["city"], "b": ["city", "day"]}}, "'city' is in several"),
        ({"groups": {"size": ["city", "day"]}}, "name of another column; got 'size'"),
        ({"n_repeats": 0}, "n_repeats must be a whole number >= 1; got 0"),
    ],
)
def test_importances_refuse(model, stays, arguments, message):
    with pytest.raises(ValueError, match=message):
        model.importances(*stays, **arguments)


def test_importances_refuse_classes_that_fit_did_not_see(stays):
    X, y = stays
    model = EmbeddingClassifier(**QUICK).fit(X[["city"]], np.where(y > 110, "high", "low"))
    with pytest.raises(ValueError, match=r"^y must hold classes.*class 'new'.*in row 0"):
        model.importances(X[["city"]][:2], ["new", "low"])


def test_stored_importances_are_shares_of_the_variance(stays):
    rng = np.random.default_rng(0)
    X = pd.DataFrame({name: rng.choice(["a", "b", "c", "d"], 20_000) for name in "pqrs"})
    X.insert(2, "note", "x")
    effect = {"a": -1.5, "b": -0.5, "c": 0.5, "d": 1.5}
    same = X["r"].isin(["a", "b"]) == X["s"].isin(["a", "b"])  # neither column has an effect alone
    y = X["p"].map(effect) * 2 + X["q"].map(effect) + np.where(same, 1.0, -1.0)
    model = EmbeddingRegressor(**QUICK, trees=False, roles={"note": "ignored"}).fit(X, y)
    total = 4 * 1.25 + 1.25 + 1
    expected = np.array([5, 1.25, 0, 0.5, 0.5]) / total
    np.testing.assert_allclose(model.feature_importances_, expected, atol=0.01)
    assert model.feature_importances_.sum() == pytest.approx(1)
    explained = model.summary().columns.set_index("column")["explained"]
    np.testing.assert_allclose(explained[["p", "q", "r"]], [5 / total, 1.25 / total, 0], atol=0.01)
    facts = model.summary().facts
    assert facts["pairs beyond their columns"].startswith("r*s 13.")


def test_stored_importances_need_effects(stays):
    X, y = stays
    plain = EmbeddingRegressor(**QUICK, effects=False).fit(X[["city"]], y)
    with pytest.raises(AttributeError, match="call importances"):
        plain.feature_importances_
    array = EmbeddingRegressor(**QUICK).fit(X[["day", "size"]].to_numpy(), y)
    assert array.feature_importances_.shape == (2,)
    assert EmbeddingRegressor(**QUICK).fit(X[["day"]], np.zeros(len(X))).feature_importances_ == [0]


def test_importances_are_drawn(model, stays):
    frame = model.importances(*stays, n_repeats=2)
    ax = model.plot_importances(frame, most=2)
    assert [label.get_text() for label in ax.get_yticklabels()][::-1] == frame["column"].tolist()[:2]
    assert ax.get_title() == "Importances: 2 of 3 columns"
    stored = model.plot_importances()
    widths = sorted(bar.get_width() for bar in stored.patches)
    np.testing.assert_allclose(widths, sorted(model.feature_importances_))


@pytest.mark.parametrize("wrong", ["x", {"city": 1.0}, pd.DataFrame({"term": [1]})])
def test_what_is_drawn_are_importances(model, wrong):
    pytest.importorskip("matplotlib")
    with pytest.raises(ValueError, match=r"importances must be a frame that importances\(X, y\)"):
        model.plot_importances(wrong)


# Summaries


def columns_of(model):
    return model.summary().columns.set_index("column")


def test_a_summary_has_a_line_for_each_column(model, stays):
    X, _ = stays
    columns = columns_of(model)
    assert columns.index.tolist() == list(X)
    assert columns["role"].tolist() == ["categorical", "categorical", "number", "ignored"]
    assert columns["levels"].dropna().tolist() == [3, 3]
    assert columns.loc["city", "missing"] == pytest.approx(X["city"].isna().mean())
    assert columns.loc[["day", "size"], "missing"].tolist() == [0, 0]
    assert columns.loc["city", "width"] == model.spaces_.raw["city"].vectors.shape[1]
    assert columns.loc["size", "width"] == model.network_.numbers.dim
    assert columns.loc["note"].drop("role").isna().all()
    facts = model.summary().facts
    assert (facts["rows"], facts["epochs"], facts["best epoch"]) == (900, 1, 1)
    assert 0 < facts["seconds"] < 60


def test_reliability_and_overlap_are_those_of_the_spaces():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"city": rng.choice([*"abcdefghij"], 400, p=np.arange(1, 11) / 55)})
    model = EmbeddingRegressor(**QUICK).fit(X, X["city"].map(dict(zip("abcdefghij", range(10)))))
    line, space = columns_of(model).loc["city"], model.spaces_["city"]
    expected = (space.reliability * space.counts).sum() / space.counts.sum()
    assert 0 < expected < 1
    assert line["reliability"] == pytest.approx(expected)
    assert line["overlap"] == space.overlap
    assert f"{space.overlap:.2f}" in str(model.summary())


def test_a_display_computes_no_space_but_shows_those_that_are_known(stays):
    X, y = stays
    model = EmbeddingRegressor(**QUICK).fit(X, y)
    html = model._repr_mimebundle_()["text/html"]
    assert not model.spaces_.computed
    assert ">reliability<" not in html
    assert model.summary(spaces=False).columns["reliability"].isna().all()
    known = model.spaces_["city"].reliability
    columns = model.summary(spaces=False).columns.set_index("column")
    assert columns.loc["city", "reliability"] == pytest.approx(
        np.average(known, weights=model.spaces_["city"].counts)
    )
    assert np.isnan(columns.loc["day", "reliability"])
    assert ">reliability<" in model._repr_mimebundle_()["text/html"]
    with pytest.raises(ValueError, match=r"spaces must be True or False or 'auto'; got 'yes'"):
        model.summary(spaces="yes")


def test_a_summary_computes_large_spaces_if_asked_to(model, monkeypatch):
    monkeypatch.setattr("tabemb.estimators.explained.MOST_CATEGORIES", 2)
    again = pickle.loads(pickle.dumps(model))
    assert "reliability" not in str(again.summary())
    assert again.summary(spaces=True).columns["reliability"].notna().sum() == 2


def test_spaces_without_reliability_say_so(stays):
    bags = pd.DataFrame({"bag": [["u", "v"], ["v"]] * 20})
    sequences = SequenceEncoder(max_epochs=1, random_state=0).fit(bags)
    assert repr(sequences.spaces_["bag"]).endswith("reliability not known)")
    assert columns_of(sequences)["reliability"].isna().all()
    assert "reliability" not in str(sequences.summary())


def test_facts_of_validation_rows(stays):
    X, y = stays
    model = EmbeddingRegressor(**{**QUICK, "max_epochs": 4}, early_stopping=True).fit(X[["city"]], y)
    facts, curve = model.summary().facts, model.learning_curve_
    assert facts["validation loss"] == min(curve["eval_loss"])
    assert facts["best epoch"] == int(np.argmin(curve["eval_loss"])) + 1


def test_histories_shared_tables_and_dates():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"home": rng.choice(["Bonn", "Rome"], 60), "at": pd.date_range("2020", periods=60)})
    X.loc[:5, "at"] = None
    trips = [[{"city": "Bonn", "paid": None}], [], None, [{"city": "Rome", "paid": 1.0}] * 3]
    X["trips"], X["bag"] = trips * 15, [["u"], None, ["v", None], []] * 15
    tables = {"town": Table(columns=["home", "trips.city"])}
    model = EmbeddingRegressor(**QUICK, d_history=8, tables=tables).fit(X, rng.normal(size=60))
    columns = columns_of(model)
    assert columns.index.tolist() == ["home", "at", "trips", "trips.city", "trips.paid", "bag"]
    assert columns["table"].dropna().to_dict() == {"home": "town", "trips.city": "town"}
    assert columns["levels"].dropna().to_dict() == {"home": 2, "trips.city": 2, "bag": 2}
    shares = {"home": 0, "at": 0.1, "trips": 0.5, "trips.city": 0, "trips.paid": 0.25, "bag": 0.5}
    assert columns["missing"].to_dict() == pytest.approx(shares)
    assert columns.loc["trips", "width"] == model.network_.histories[0].dim


def test_events_sequences_and_encoders_have_summaries(stays):
    log = event_log()
    model = EventClassifier(entity="who", time="at", **QUICK, d_history=8)
    columns = columns_of(model.fit(log, log["what"] == "x"))
    assert columns.loc["who", "role"] == "ignored"
    assert columns.loc["earlier", "missing"] == pytest.approx(8 / 400)
    assert columns.loc["earlier.what", "table"] == "what"
    bags = pd.DataFrame({"bag": [["u", "v"], ["v"]] * 20})
    sequences = SequenceEncoder(max_epochs=1, random_state=0).fit(bags)
    assert columns_of(sequences).loc["bag", ["levels", "width"]].tolist() == [2, 64]
    X, y = stays
    net = EmbeddingRegressor(**QUICK)
    encoder = EmbeddingEncoder(cv=2, n_repeats=1, estimator=net, random_state=0, kind="both").fit(X, y)
    columns = columns_of(encoder)
    assert columns["width"].tolist() == [values.shape[1] for values in encoder.by_code_[:2]]
    assert columns.loc["city", "missing"] == pytest.approx(X["city"].isna().mean())


def width_of(text):
    return sum(1 + (unicodedata.east_asian_width(c) in "FW") for c in text)


def test_the_text_fits_a_terminal_whatever_the_names():
    rng = np.random.default_rng(0)
    names = ["a" * 200, "\u6771\u4eac" * 40, "two\nlines", "b", "<b>", "city"]
    X = pd.DataFrame({name: rng.choice(["x", "y"], 50) for name in names})
    tables = {"t" * 90: Table(columns=names[:2])}
    labels = [f"class {i % 7} " + "long " * 30 for i in range(50)]
    text = str(EmbeddingClassifier(**QUICK, tables=tables).fit(X, labels).summary())
    lines = text.splitlines()
    assert max(map(width_of, lines)) <= 100
    table = lines[lines.index("") + 1 :]
    assert len(table) == 7
    assert len({width_of(line[: line.index("categorical")]) for line in table[1:]}) == 1
    assert "two\\nlines" in text


class Cells(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.texts.append(data)


def test_html_shows_names_and_classes_as_text():
    X = pd.DataFrame({"<b>x</b>": ["u", "v"] * 20, "<script>": range(40)})
    model = EmbeddingClassifier(**QUICK).fit(X, ["<i>", "&"] * 20)
    page = Cells(model._repr_html_())
    assert {"<b>x</b>", "<script>"} <= set(page.texts)
    assert "2 classes: '&', '<i>'" in page.texts
    assert not {"b", "script", "i"} & set(page.tags)
    assert page.texts.count(type(model).__name__) == 1


def test_a_card_has_the_summary_and_what_is_stated(model):
    results = pd.DataFrame({"model": ["a|b", "trees"], "rmse": [0.123456, 2.0]})
    text = model.summary().to_markdown(results, use="Prices of stays.")
    sections = {part.split("\n")[0]: part for part in text.split("\n## ")}
    assert text.startswith(f"# {type(model).__name__}\n")
    assert "Prices of stays." in sections["Use"]
    assert "Not stated." in sections["Training data"]
    assert "- rows: 900\n" in sections["Fit"]
    assert "| city | categorical | 3 |" in sections["Columns"]
    assert "| a\\|b | 0.1235 |\n| trees | 2 |" in sections["Results"]
    assert repr(model) in sections["Parameters"]
    assert "Not stated." in model.summary().to_markdown().split("## Results")[1]


def test_notebooks_show_the_summary_of_a_fitted_model_alone(model):
    summary = model.summary()._repr_html_()
    assert model._repr_mimebundle_() == {"text/plain": repr(model), "text/html": summary}
    assert model._repr_html_() == summary
    unfitted = EmbeddingRegressor(max_epochs=3)
    assert "tabemb-summary" not in unfitted._repr_html_()
    assert "sk-top-container" in unfitted._repr_html_()
    assert "sk-top-container" in unfitted._repr_mimebundle_()["text/html"]
    assert "tabemb-summary" not in make_pipeline(model)._repr_html_()
    with sklearn.config_context(display="text"):
        assert model._repr_mimebundle_() == {"text/plain": repr(model)}
        assert not hasattr(model, "_repr_html_")


def test_a_summary_before_fit_is_refused():
    with pytest.raises(sklearn.exceptions.NotFittedError):
        EmbeddingRegressor().summary()


def test_saved_models_explain_themselves_in_the_same_way(model, stays, tmp_path):
    tabemb.save(model, tmp_path / "m.tabemb")
    loaded = tabemb.load(tmp_path / "m.tabemb")
    assert str(loaded.summary()) == str(model.summary())
    assert loaded._repr_html_() == model._repr_html_()
    np.testing.assert_array_equal(loaded.feature_importances_, model.feature_importances_)
    pd.testing.assert_frame_equal(loaded.effects_frame(), model.effects_frame())


@pytest.mark.parametrize("path", FORMATS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_files_of_earlier_versions_show_what_they_know(path):
    model = tabemb.load(path)
    text = str(model.summary())
    assert text.startswith(type(model).__name__)
    if hasattr(model, "effects_"):
        assert "rows - " in text
        assert "seconds -" in text
        assert columns_of(model)["explained"].isna().all()
        assert not hasattr(model, "feature_importances_")
        frame = model.effects_frame()
        assert (frame["error"] > 0).all()
        assert (frame["count"] > 0).all()

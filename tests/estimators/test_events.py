import copy
import pickle
import sys
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.base import clone

import tabemb
from tabemb import EventClassifier, EventRegressor

NETWORK = {"hidden": (16,), "n_members": 2, "d_history": 8}
QUICK = {**NETWORK, "max_epochs": 2, "random_state": 0, "n_jobs": 1}
KINDS = ["gru", "lstm", "mean"]


def log(n=240, n_entities=12, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "who": rng.choice([f"w{i}" for i in range(n_entities)], n),
            "at": pd.Timestamp("2020") + pd.to_timedelta(rng.integers(0, 1000, n), unit="h"),
            "what": rng.choice(["add", "sub", "mul"], n),
            "hard": rng.normal(size=n),
            "tries": rng.integers(1, 5, n).astype(float),
        }
    )


def targets(X, seed=1):
    return np.random.default_rng(seed).random(len(X)) < 0.5


def classifier(**settings):
    return EventClassifier(
        **{"entity": "who", "time": "at", "outcome_fields": ["tries"], **QUICK, **settings}
    )


def steps(model, X, y):
    """Predict event by event in the order of time, with an update after each; return probabilities."""
    probability = np.full((len(X), 2), np.nan)
    for i in X["at"].argsort(kind="stable"):
        probability[i] = model.predict_proba(X.iloc[[i]])[0]
        model.update(X.iloc[[i]], y[[i]])
    return probability


@pytest.mark.slow
def test_a_target_that_depends_on_the_event_before_is_learned():
    rng = np.random.default_rng(0)
    n = 3000
    X = pd.DataFrame(
        {
            "who": np.repeat(np.arange(150), 20),
            "at": np.tile(np.arange(20), 150),
            "what": rng.choice(["a", "b"], n),
        }
    )
    y = (X.groupby("who")["what"].shift() == "a").to_numpy()
    known = X["who"] < 120
    model = EventClassifier(
        entity="who", time="at", hidden=(32,), n_members=1, d_history=16, max_epochs=20,
        learning_rate=0.01, random_state=0, n_jobs=1,
    )  # fmt: skip
    model.fit(X[known], y[known])
    probability = model.replay_proba(X[~known], y[~known])
    assert (model.classes_[probability.argmax(1)] == y[~known]).mean() > 0.99
    assert set(model.spaces_) == {"what", "earlier.answer"}


def test_earlier_targets_are_inputs():
    rng = np.random.default_rng(0)
    skill = np.repeat(rng.choice([0.1, 0.9], 120), 12)
    X = pd.DataFrame({"who": np.repeat(np.arange(120), 12), "at": np.tile(np.arange(12), 120)})
    y = rng.random(1440) < skill
    known = X["who"] < 90
    model = EventClassifier(
        entity="who", time="at", hidden=(32,), n_members=1, max_epochs=8, learning_rate=0.01,
        batch_size=16, random_state=0, n_jobs=1,
    )  # fmt: skip
    probability = model.fit(X[known], y[known]).replay_proba(X[~known], y[~known])[:, 1]
    late = X.loc[~known, "at"].to_numpy() >= 5
    assert np.abs(probability - skill[~known])[late].mean() < 0.08
    first = X.loc[~known, "at"].to_numpy() == 0
    assert np.ptp(probability[first]) < 1e-5  # entities without a past are alike


@pytest.mark.parametrize(("history", "n_networks"), [*((kind, 1) for kind in KINDS), ("gru", 2)])
def test_kept_states_go_on_as_if_the_whole_sequence_were_read_again(history, n_networks):
    X = log()
    y = targets(X)
    model = classifier(history=history, n_networks=n_networks, device="cpu").fit(X, y)
    fresh = copy.deepcopy(model)
    after = log(24, 16, seed=3).assign(at=lambda d: d["at"] + pd.Timedelta("100D"))
    later = targets(after, 4)
    replayed = model.replay_proba(after, later)
    np.testing.assert_allclose(steps(model, after, later), replayed, rtol=1e-5, atol=1e-6)

    whole = fresh.forget().replay_proba(pd.concat([X, after]), np.concatenate([y, later]))[len(X) :]
    np.testing.assert_allclose(whole, replayed, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("history", KINDS)
def test_order_of_rows_other_entities_and_later_events_change_no_prediction(history):
    X = log(seed=5)
    y = targets(X)
    model = classifier(history=history).fit(X, y)
    model.forget()
    whole = model.replay_proba(X, y)
    order = np.random.default_rng(0).permutation(len(X))
    untied = ~X.duplicated(["who", "at"], keep=False).to_numpy()
    np.testing.assert_allclose(
        model.replay_proba(X.iloc[order], y[order])[untied[order]],
        whole[order][untied[order]],
        rtol=1e-5,
    )
    one = (X["who"] == "w3").to_numpy()
    np.testing.assert_allclose(model.replay_proba(X[one], y[one]), whole[one], rtol=1e-5)
    early = (X["at"] < "2020-01-20").to_numpy()
    np.testing.assert_allclose(model.replay_proba(X[early], y[early]), whole[early], rtol=1e-5)


def test_an_event_does_not_see_its_own_outcome_and_later_ones_do():
    X = log()
    y = targets(X)
    model = classifier().fit(X, y)
    model.forget()
    before = model.replay_proba(X, y)
    i = int(X[X["who"] == "w1"]["at"].argsort(kind="stable").iloc[0])
    i = X[X["who"] == "w1"].index[i]
    other, flipped = X.copy(), y.copy()
    other.loc[i, "tries"], flipped[i] = 5 - X.loc[i, "tries"], ~y[i]
    after = model.replay_proba(other, flipped)
    assert after[i] == pytest.approx(before[i], rel=1e-6)
    changed = np.abs(after - before).max(1) > 1e-9
    later = (X["who"] == "w1") & (X["at"] > X.loc[i, "at"])
    assert changed[later].mean() > 0.8  # in float32, old events may fade to nothing
    assert not changed[X["who"] != "w1"].any()


def pairs(n_entities=60, n_times=20, seed=0):
    """Return two events per time of an entity, with the same answer, which nothing else predicts."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(
        {
            "who": np.repeat([f"w{i}" for i in range(n_entities)], 2 * n_times),
            "at": np.tile(np.repeat(np.arange(n_times), 2), n_entities),
            "what": rng.choice(["add", "sub"], 2 * n_times * n_entities),
            "tries": 1.0,
        }
    )
    return X, np.repeat(rng.random(n_times * n_entities) < 0.5, 2)


@pytest.mark.parametrize("encounters", [True, False])
def test_an_event_does_not_see_the_answer_of_another_at_the_same_time(encounters):
    X, y = pairs(30)
    new, theirs = pairs(30, seed=1)
    new["at"] += 100
    second = np.arange(len(new)) % 2 == 1
    settings = {"encounters": encounters, "max_epochs": 6, "learning_rate": 0.03, "n_members": 1}
    accuracy = {}
    for ties in ("hidden", "order"):
        model = classifier(**settings, ties=ties).fit(X, y)
        accuracy[ties] = (model.replay_proba(new, theirs).argmax(1) == theirs)[second].mean()
    assert accuracy["order"] > 0.95  # the other event of the time shows the answer
    assert 0.45 < accuracy["hidden"] < 0.55


@pytest.mark.parametrize("history", KINDS)
def test_answers_and_outcomes_of_one_time_reach_later_events_alone(history):
    X, y = pairs(6)
    model = classifier(history=history).fit(X, y)
    model.forget()
    before = model.replay_proba(X, y)
    i = 2 * 20 + 8  # the first of two events of w1
    other, flipped = X.copy(), y.copy()
    other.loc[i, "tries"], flipped[i] = 99.0, ~y[i]
    changed = np.abs(model.replay_proba(other, flipped) - before).max(1) > 1e-9
    own = (X["who"] == "w1").to_numpy()
    assert not changed[own & (X["at"] <= X["at"][i])].any()
    assert changed[own & (X["at"] > X["at"][i])].mean() > 0.5
    # predictions do not depend on the order of rows of one time
    swapped = np.arange(len(X)).reshape(-1, 2)[:, ::-1].ravel()
    first = (X["at"] == 0).to_numpy()
    np.testing.assert_allclose(
        model.replay_proba(X.iloc[swapped], y[swapped])[swapped][first], before[first], rtol=1e-6
    )


def test_without_ties_both_settings_give_one_model():
    X = log().drop_duplicates(["who", "at"])
    y = targets(X)
    hidden, order = (classifier(ties=ties).fit(X, y).forget() for ties in ("hidden", "order"))
    np.testing.assert_array_equal(hidden.replay_proba(X, y), order.replay_proba(X, y))


def test_a_fit_on_long_sequences_with_ties_hides_them_too(monkeypatch):
    monkeypatch.setattr("tabemb.fitting.event_source.LONGEST", 7)
    X, y = pairs(30)
    model = classifier(max_epochs=6, learning_rate=0.03, n_members=1).fit(X, y)
    assert model.learning_curve_["train_loss"][-1] > 0.6  # log(2) is the loss of a coin


def test_a_time_beyond_the_log_is_read_by_predict_and_refused_by_update():
    X = log().assign(at=lambda d: d["at"].astype("datetime64[ns]"))
    y = targets(X)
    model = classifier().fit(X, y)
    far = X.head(3).assign(at=pd.Series([pd.Timestamp(9999, 12, 31)] * 3, dtype="datetime64[us]"))
    known = model.source_.states.read(far["who"].tolist())
    gaps = known.since(model.source_.time_axis, model.source_.time_axis.read(
        pa.chunked_array([pa.array(far["at"])]), "at", any_size=True
    ))  # fmt: skip
    assert (gaps > 365 * 7900).all()
    assert np.isfinite(model.predict_proba(far)).all()
    with pytest.raises(
        ValueError, match=r"'at' holds 9999-12-31 00:00:00 in row 0, which 64 bits of 'ns'"
    ):
        model.update(far, y[:3])


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
def test_the_times_of_events_are_instants(zone):
    X = log().assign(at=lambda d: d["at"].dt.tz_localize("UTC"), seen=lambda d: d["at"])
    y = targets(X)
    model = classifier().fit(X, y)
    new = X.assign(at=X["at"] + pd.Timedelta("100D"), seen=X["at"])
    other = new.assign(at=new["at"].dt.tz_convert(zone), seen=new["seen"].dt.tz_convert(zone))
    np.testing.assert_array_equal(model.predict_proba(other), model.predict_proba(new))
    with pytest.raises(ValueError, match="'at' has no time zone, the log's times have one"):
        model.predict_proba(new.assign(at=new["at"].dt.tz_localize(None)))
    with pytest.raises(ValueError, match="'seen' has no time zone, and had the zone 'UTC'"):
        model.predict_proba(new.assign(seen=new["seen"].dt.tz_localize(None)))
    with pytest.raises(TypeError, match="'at' must hold times or numbers; it holds large_string"):
        classifier().fit(X.assign(at=X["at"].astype(str)), y)


def test_predict_needs_no_outcome_and_reads_strange_values():
    X = log()
    model = classifier().fit(X, targets(X))
    new = pd.DataFrame(
        {
            "who": ["w1", "nobody"],
            "at": pd.to_datetime(["2021-01-01"] * 2),
            "what": ["pow", None],
            "hard": [np.nan, 1e9],
        }
    )
    assert np.isfinite(model.predict_proba(new)).all()
    with_outcome = new.assign(tries=3.0)
    np.testing.assert_array_equal(model.predict_proba(with_outcome), model.predict_proba(new))


def test_entities_are_matched_by_value_and_the_states_of_all_kinds_survive_the_file(tmp_path):
    X = log().assign(who=lambda d: d["who"].str[1:].astype(int))
    y = targets(X)
    model = classifier().fit(X, y)
    new = X.assign(at=X["at"] + pd.Timedelta("100D")).head(20)
    expected = model.predict_proba(new)
    np.testing.assert_array_equal(
        model.predict_proba(new.assign(who=new["who"].astype(float))), expected
    )
    tabemb.save(model, tmp_path / "m.tabemb")
    loaded = tabemb.load(tmp_path / "m.tabemb")
    np.testing.assert_array_equal(loaded.predict_proba(new), expected)
    later = new.assign(at=new["at"] + pd.Timedelta("100D"))
    np.testing.assert_array_equal(
        loaded.update(new, y[:20]).predict_proba(later), model.update(new, y[:20]).predict_proba(later)
    )


def test_a_regressor_of_several_numbers():
    X = log()
    y = np.column_stack([X["hard"], -X["hard"]])
    model = EventRegressor(entity="who", time="at", outcome_fields=["tries"], **QUICK).fit(X, y)
    assert model.replay(X.assign(at=X["at"] + pd.Timedelta("100D")), y).shape == (240, 2)
    assert model.predict(X.assign(at=X["at"] + pd.Timedelta("100D"))).shape == (240, 2)


def test_the_defaults_hold_out_whole_entities_and_keep_the_states_of_all():
    X = log(600, 60)
    y = targets(X)
    model = EventClassifier(
        entity="who", time="at", hidden=(8,), n_members=1, patience=1, random_state=0, n_jobs=1
    )
    model.fit(X, y)
    assert np.isfinite(model.learning_curve_["eval_loss"][0])
    assert len(model.source_.states) == X["who"].nunique()
    stopped = clone(model).set_params(early_stopping=True, max_epochs=2).fit(X, y)
    assert len(stopped.source_.states) == X["who"].nunique()
    apart = (
        clone(model)
        .set_params(max_epochs=2)
        .fit(X, y, eval_X=log(100, 5, 7), eval_y=targets(log(100, 5, 7)))
    )
    assert np.isfinite(apart.learning_curve_["eval_loss"]).all()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"entity": "whom"}, r"X lacks column 'whom' \(did you mean 'who'\?\)"),
        ({"time": "when"}, "X lacks column 'when'"),
        ({"outcome_fields": ["trys"]}, r"X lacks column 'trys' \(did you mean 'tries'\?\)"),
        ({"outcome_fields": "tries"}, "outcome_fields must be a list of columns; got 'tries'"),
        ({"roles": {"watt": "number"}}, "roles names column 'watt', which X does not have"),
    ],
)
def test_a_wrong_setting_is_named(change, error):
    X = log()
    with pytest.raises(ValueError, match=error):
        classifier(**change).fit(X, targets(X))


def test_wrong_events_are_named():
    X = log()
    y = targets(X)
    with pytest.raises(
        ValueError, match="'who' must name an entity in every row; it is missing in row 2"
    ):
        classifier().fit(X.assign(who=X["who"].where(X.index != 2)), y)
    with pytest.raises(ValueError, match="X has a column 'answer', a name that is needed"):
        classifier().fit(X.assign(answer=1), y)
    model = classifier().fit(X, y)
    with pytest.raises(ValueError, match="X lacks column 'at'"):
        model.predict(X.drop(columns="at"))
    with pytest.raises(ValueError, match="X lacks column 'tries'"):
        model.update(X.drop(columns="tries"), y)
    with pytest.raises(
        ValueError, match=r"'at' holds 2019.* in row 0, but a later event of 'w1' was read before"
    ):
        model.update(X[X["who"] == "w1"].assign(at=pd.Timestamp("2019")), y[X["who"] == "w1"])


@pytest.mark.parametrize("class_vectors", [False, True])
def test_an_update_that_is_interrupted_at_any_line_is_kept_as_a_whole_or_not_at_all(class_vectors):
    """The update has new and known entities and categories, and times of another dtype."""
    X = as_hours(log(46))
    y = targets(X)
    more = X[40:].assign(hours=X["hours"][40:] + 5000.5)
    more.loc[40:41, "who"], more.loc[42:43, "what"] = "new", "div"
    make = partial(classifier, time="hours", class_vectors=class_vectors)
    model = make().fit(X[:40], y[:40])
    whole = copy.deepcopy(model)
    before, after = contents(model), contents(whole.update(more, y[40:]))
    n_lines = 0
    while interrupted(lambda: model.update(more, y[40:]), n_lines) and contents(model) == before:
        n_lines += 1
    assert n_lines > 50
    assert contents(model) == after


def as_hours(X):
    return X.assign(hours=(X["at"] - pd.Timestamp("2020")).dt.total_seconds() / 3600).drop(columns="at")


def contents(model):
    """Return everything that the source keeps of the events, as text."""
    source = model.source_
    parts = [source.states, *source.encounters.states]
    books = [part.keys for part in parts] + [source.encounters.entities, *source.encounters.categories]
    keys = [list(part.keys.code_of) for part in parts]
    entities = np.arange(len(source.states))
    seen = None if source.seen is None else [part.tolist() for part in source.seen.of(entities)]
    return (
        repr(seen)
        + repr([[past.tolist() for past in part.read(k)] for part, k in zip(parts, keys)])
        + repr([list(book.code_of.items()) for book in books] + [part.moments.dtype for part in parts])
    )


def interrupted(call, n_lines):
    """Interrupt a call in its writing functions after ``n_lines`` lines; return whether it stopped."""
    left = [n_lines]

    def trace(frame, event, _):
        if event == "call":
            return trace if frame.f_code.co_name in WRITES else None
        if event == "line" and sys.gettrace():
            left[0] -= 1
            if left[0] < 0:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(None)
    return False


WRITES = {"_keep", "write", "add", "_grow", "before"}


@pytest.mark.parametrize(
    "fault", ["infinite number", "earlier time", "missing target", "text", "interrupt"]
)
def test_a_refused_update_changes_nothing(fault, monkeypatch):
    X = log()
    y = targets(X).astype(object)
    model = classifier().fit(X, targets(X))
    pickled = pickle.dumps(model)
    later = X.assign(at=X["at"] + pd.Timedelta("100D"))
    if fault == "infinite number":
        later.loc[len(X) - 1, "hard"] = np.inf
    elif fault == "text":
        later = later.astype({"tries": object})
        later.loc[7, "tries"] = "many"
    elif fault == "earlier time":
        later.loc[len(X) - 1, "at"] = pd.Timestamp("2019")
    elif fault == "missing target":
        y[-1] = None
    else:
        monkeypatch.setattr("tabemb.network.model.TabularNetwork.advance", interrupt)
    with pytest.raises((ValueError, KeyboardInterrupt)):
        model.update(later, y)
    assert pickle.dumps(model) == pickled


@pytest.mark.parametrize("column", ["hard", "tries"])
def test_update_and_replay_refuse_a_stray_value_as_fit_does(column):
    X = log()
    model = classifier().fit(X, targets(X))
    later = X.assign(at=X["at"] + pd.Timedelta("100D")).astype({column: object})
    later.loc[7, column] = "many"
    for read in (model.update, model.replay_proba):
        with pytest.raises(ValueError, match=rf"Column '{column}' .* holds 'many' in row 7"):
            read(later, targets(X))
    model.predict(later)  # predict reads it as missing
    model.update(later.assign(**{column: later[column].replace("many", None)}), targets(X))


def interrupt(*args):
    raise KeyboardInterrupt


def test_one_column_may_name_the_entity_and_the_time():
    """Each entity then has a single time; the other columns and their earlier values stay inputs."""
    X = log()[["hard", "what"]].assign(day=lambda d: np.arange(len(d)) % 7)
    model = EventClassifier(entity="day", time="day", ties="order", **QUICK).fit(X, targets(X))
    fields = model.encoder_.schema.histories["earlier"]
    assert [field.name for field in fields.numbers] == ["earlier.hard", "earlier.gap"]
    assert [field.name for field in fields.categorical] == ["earlier.what", "earlier.answer"]
    alone = EventClassifier(entity="day", time="day", **QUICK).fit(X[["day"]], targets(X))
    assert np.isfinite(alone.predict_proba(X[["day"]])).all()


@pytest.mark.slow
def test_encounters_add_what_a_recurrent_net_has_not_learned():
    rng = np.random.default_rng(0)
    n, n_entities = 4000, 80
    X = pd.DataFrame({"who": rng.integers(n_entities, size=n).astype(str), "at": np.arange(n)})
    X["what"] = rng.integers(30, size=n).astype(str)
    taste = rng.random((n_entities, 30)) < 0.5  # by entity and category: earlier answers are repeated
    y = taste[X["who"].astype(int), X["what"].astype(int)]
    held = X["who"].astype(int).to_numpy() < 20
    seen = (X.groupby(["who", "what"]).cumcount() > 0).to_numpy()[held]
    settings = {"max_epochs": 6, "n_members": 1, "hidden": (32,), "d_history": 8, "n_pairs": 0}
    accuracy = {}
    for encounters in (True, False):
        model = classifier(**settings, outcome_fields=(), encounters=encounters).fit(X[~held], y[~held])
        right = model.replay_proba(X[held], y[held]).argmax(1) == y[held]
        accuracy[encounters] = right[seen].mean()
    assert accuracy[True] > 0.98
    assert accuracy[False] < 0.8


def test_a_name_that_encounters_need_is_refused():
    X = log().rename(columns={"tries": "what.count"})
    with pytest.raises(ValueError, match=r"X has a column 'what.count', a name that is needed"):
        EventClassifier(entity="who", time="at", max_epochs=1).fit(X, targets(X))


def walks(n_items=120, n_sessions=120, length=8, seed=0):
    """Return sessions in which each item is followed by its successor in a fixed cycle."""
    rng = np.random.default_rng(seed)
    successor = np.random.default_rng(1).permutation(n_items)
    items = np.empty((n_sessions, length), int)
    items[:, 0] = rng.integers(n_items, size=n_sessions)
    for i in range(1, length):
        items[:, i] = successor[items[:, i - 1]]
    X = pd.DataFrame(
        {"who": np.repeat(np.arange(n_sessions), length), "at": np.tile(np.arange(length), n_sessions)}
    )
    return X, np.array([f"item {i}" for i in items.ravel()])


def test_the_next_of_many_items_is_found_and_the_items_have_vectors(tmp_path, monkeypatch):
    monkeypatch.setattr("tabemb.targets.classes.MANY_CLASSES", 50)
    monkeypatch.setattr("tabemb.targets.classes.MOST_COMPARED", 50)
    monkeypatch.setattr("tabemb.targets.classes.N_DRAWN", 16)
    X, items = walks(n_items=60)
    model = EventClassifier(
        entity="who", time="at", history="mean", hidden=(64,), n_members=1, max_epochs=16,
        learning_rate=0.02, random_state=0, n_jobs=1,
    )  # fmt: skip
    model.fit(X, items)
    later, theirs = walks(n_items=60, n_sessions=60, seed=2)
    probability = model.replay_proba(later.assign(who=later["who"] + 1000), theirs)
    assert probability.shape == (480, len(model.classes_))
    guess = model.classes_[probability.argmax(1)]
    assert (guess == theirs)[later["at"] > 0].mean() > 0.9
    assert len(model.spaces_["answer"].categories) == len(model.classes_)
    tabemb.save(model, tmp_path / "m.tabemb")
    again = tabemb.load(tmp_path / "m.tabemb")
    new = X.groupby("who").tail(1).assign(at=100).head(5)
    np.testing.assert_array_equal(again.predict_proba(new), model.predict_proba(new))
    model.update(new, ["never seen"] * 5)
    assert np.isfinite(model.predict_proba(new)).all()

"""Drift of later rows: statistics by closed forms and by simulation, `check` on planted changes."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import tabemb
from tabemb import (
    EmbeddingClassifier,
    EmbeddingRegressor,
    EmbeddingSpace,
    EventClassifier,
    EventRegressor,
    InputNote,
)
from tabemb.data.clustering import Clustering, alike_answers, sizes_of
from tabemb.data.effects import Effects
from tabemb.data.moved import moved_levels
from tabemb.drift import shifts
from tabemb.drift.profiles import MISSING, N_SPECIAL, UNSEEN, Profile
from tabemb.drift.report import ALARM, drift_lines
from tabemb.drift.vectors import VectorProfile
from tabemb.estimators.moved_frames import compare_answers

QUICK = {"hidden": (8,), "n_members": 1, "max_epochs": 1, "random_state": 0, "n_jobs": 1}


# Statistics


def coded(before, now, min_count=1):
    """Return codes from a vocabulary of the first sample."""
    levels, counts = np.unique(before, return_counts=True)
    levels = levels[counts >= min_count]
    codes = [
        np.where(np.isin(v, levels), np.searchsorted(levels, v) + N_SPECIAL, UNSEEN)
        for v in (before, now)
    ]
    return *codes, len(levels) + N_SPECIAL


def shift_of(before, now, min_count=1):
    """Return the shift between two samples of categories (whole numbers) or of numbers."""
    if np.asarray(before).dtype.kind == "f":
        profile = Profile.of_numbers(before, np.ones(len(before)))
        return shifts.shift_of(profile, np.asarray(now), np.ones(len(now)))
    first, second, n_codes = coded(before, now, min_count)
    profile = Profile.of_codes(first, n_codes, np.ones(len(first)), min_count)
    return shifts.shift_of(profile, second, np.ones(len(second)))


def test_corrected_p_values_are_those_of_holm():
    corrected = shifts.holm(np.array([0.04, 0.01, np.nan, 0.03]))
    np.testing.assert_allclose(corrected, [0.06, 0.03, np.nan, 0.06])


def test_the_smallest_value_of_all_is_new_as_often_as_there_are_new_ones():
    before, now = np.arange(1.0, 100), np.array([0.5, 50.5])
    # the smallest of 101 values is one of the two later ones with probability 2 / 101, on either side
    assert shift_of(before, now).p_values["outside"] == pytest.approx(2 * 2 / 101)
    both = shift_of(before, np.array([0.5, 0.25]))
    assert both.p_values["outside"] == pytest.approx(2 * 2 / 101 * 1 / 100)
    assert both.outside == 1


def test_the_index_is_the_sum_of_its_definition():
    before, now = (
        np.repeat([0, 1, 2], [500_000, 300_000, 200_000]),
        np.repeat([0, 1, 2], [4000, 3000, 3000]),
    )
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.4, 0.3, 0.3])
    shift = shift_of(before, now)
    assert shift.psi == pytest.approx(((q - p) * np.log(q / p)).sum(), abs=3e-4)
    assert shift.psi_low < shift.psi < shift.psi_high


def test_intervals_of_the_index_hold_that_of_the_distributions():
    rng = np.random.default_rng(0)
    p, q = np.array([0.5, 0.3, 0.15, 0.05]), np.array([0.4, 0.3, 0.2, 0.1])
    true = ((q - p) * np.log(q / p)).sum()
    held = []
    for _ in range(300):
        shift = shift_of(rng.choice(4, 2000, p=p), rng.choice(4, 800, p=q))
        held.append(shift.psi_low <= true <= shift.psi_high)
    assert 0.91 <= np.mean(held) <= 0.985


def test_the_distance_of_two_normal_distributions_is_that_of_their_means():
    rng = np.random.default_rng(0)
    distance = shift_of(rng.normal(size=20_000), rng.normal(0.7, 1, 20_000)).distance
    assert distance == pytest.approx(0.7, abs=0.03)


@pytest.mark.parametrize("min_count", [1, 5])
def test_the_expected_share_of_unseen_categories_is_found(min_count):
    rng = np.random.default_rng(0)
    share = 1 / np.arange(1, 5001)
    both = rng.choice(5000, 60_000, p=share / share.sum())
    shift = shift_of(both[:10_000], both[10_000:], min_count)
    assert shift.expected_unseen == pytest.approx(shift.unseen, rel=0.05)
    assert shift.unseen > 0.05


DRAWS = {
    "few levels": lambda rng, n: rng.integers(4, size=n),
    "many levels": lambda rng, n: rng.zipf(1.3, n).clip(max=10**6),
    "ids": lambda rng, n: rng.integers(10**9, size=n),
    "numbers": lambda rng, n: rng.standard_cauchy(n),
    "whole numbers": lambda rng, n: rng.integers(6, size=n).astype(float),
    "missing": lambda rng, n: np.where(rng.random(n) < 0.1, np.nan, rng.exponential(size=n)),
}


@pytest.mark.parametrize(
    ("n_before", "n"),
    [(300, 2000), (8000, 100), pytest.param(2000, 2000, marks=pytest.mark.slow)],
)
def test_chance_alone_raises_no_more_alarms_than_stated(n_before, n):
    rng = np.random.default_rng(n)
    alarms = 0
    for _ in range(200):
        found = {}
        for name, draw in DRAWS.items():
            values = draw(rng, n_before + n)
            found[name] = shift_of(values[:n_before], values[n_before:])
        alarms += bool((drift_lines(found, ALARM)["drift"] != "").any())
    assert alarms <= stats.binom.isf(0.001, 200, ALARM)


@pytest.mark.parametrize(("n_before", "n"), [(2000, 100), (300, 3000)])
def test_shifts_of_numbers_have_uniform_p_values(n_before, n):
    rng = np.random.default_rng(0)
    draws = [rng.normal(size=n_before + n) for _ in range(400)]
    p_values = [shift_of(values[:n_before], values[n_before:]).p_values["shift"] for values in draws]
    assert 0.025 < np.mean(np.array(p_values) < 0.05) < 0.08


@pytest.mark.parametrize("are_shares", [False, True])
def test_chance_alone_moves_no_effects(are_shares):
    rng = np.random.default_rng(0)
    alarms, p_values = 0, []
    for _ in range(100):
        n, n_before, n_levels = 1500, 2000, 60
        code = rng.choice(n_levels, n + n_before, p=(w := 1 / np.arange(1, n_levels + 1)) / w.sum())
        effect = rng.normal(size=n_levels)[code]
        y = rng.random(len(code)) < 1 / (1 + np.exp(1 - effect)) if are_shares else rng.normal(effect)
        train, later = np.arange(n_before), np.arange(n_before, n_before + n)
        p = moved(code, y.astype(float)[:, None], train, later, are_shares).p_values
        p = p[~np.isnan(p)]
        alarms += p.min() * len(p) < ALARM
        p_values.append(p)
    assert alarms <= stats.binom.isf(0.001, 100, ALARM)
    assert 0.01 < np.mean(np.concatenate(p_values) < 0.05) < 0.065


def moved(code, y, train, later, are_shares):
    none = np.zeros((len(code), 0))
    effects = Effects(0, are_shares).fit(
        code[train, None] + N_SPECIAL,
        none[train],
        y[train],
        np.ones(len(train)),
        np.random.default_rng(0),
    )
    (ids,) = effects.levels_at(code[later, None] + N_SPECIAL, none[later])
    shares = effects.mean_ if are_shares else None
    return moved_levels(effects.levels_of(0), ids, effects.center(y[later]), shares)


@pytest.mark.parametrize("are_shares", [False, True])
def test_one_level_that_moves_is_found_beside_a_change_of_all(are_shares):
    rng = np.random.default_rng(0)
    code = rng.integers(12, size=6000)
    level = rng.normal(size=12)[code] + np.where(np.arange(6000) >= 3000, 1.0, 0.0)
    level += np.where((np.arange(6000) >= 3000) & (code == 7), 1.5, 0.0)
    y = rng.random(6000) < 1 / (1 + np.exp(1 - level)) if are_shares else level + rng.normal(size=6000)
    train, later = np.arange(3000), np.arange(3000, 6000)
    p = moved(code, y.astype(float)[:, None], train, later, are_shares).p_values[:, 0]
    assert p.argmin() == 7
    assert p[7] < 1e-5
    assert np.delete(p, 7).min() > 1e-4


@pytest.mark.parametrize("are_shares", [False, True])
def test_a_level_that_moves_far_does_not_move_the_others(are_shares):
    """One of four levels, with a quarter of all rows, moves by three standard deviations."""
    rng = np.random.default_rng(0)
    others = 0
    for _ in range(60):
        code, later = rng.integers(4, size=2000), np.arange(2000) >= 1000
        level = np.array([-1.0, 0, 0.5, 1])[code] + 3 * ((code == 1) & later)
        y = rng.random(2000) < 1 / (1 + np.exp(-level)) if are_shares else level + rng.normal(size=2000)
        rows = np.flatnonzero(~later), np.flatnonzero(later)
        p = moved(code, y.astype(float)[:, None], *rows, are_shares).p_values[:, 0]
        assert p[1] < 1e-5
        others += np.delete(p, 1).min() * 4 < ALARM
    assert others <= stats.binom.isf(0.001, 60, ALARM)


# Estimators


@pytest.fixture(scope="module")
def orders():
    rng = np.random.default_rng(0)
    n = 4000
    X = pd.DataFrame(
        {
            "city": rng.choice([f"city {i}" for i in range(40)], n),
            "size": rng.gamma(2, 10, n),
            "day": rng.choice(["Mon", "Tue", "Wed", None], n),
        }
    )
    late = (X["city"].str[5:].astype(int) % 3 == 0) * 1.5 + X["size"] / 30 + rng.normal(size=n) > 1.5
    return X, np.where(late, "late", "in time")


@pytest.fixture(scope="module")
def model(orders):
    X, y = orders
    return EmbeddingClassifier(**QUICK).fit(X[:2500], y[:2500])


def test_rows_of_the_same_kind_have_no_drift(model, orders):
    X, y = orders
    report = model.check(X[2500:], y[2500:])
    assert not report.has_drift
    assert report.verdict == "No drift: 1,500 rows against 2,500 training rows, 3 inputs."
    assert len(report.effects) == 0
    assert set(report.columns["column"]) == {"city", "size", "day"}


def replaced(X, column, value, share=0.4):
    rows = np.random.default_rng(1).random(len(X)) < share
    return X.assign(**{column: X[column].mask(rows, value)})


@pytest.mark.parametrize(
    ("column", "change", "kind"),
    [
        ("city", lambda X: replaced(X, "city", "city 99"), "unseen"),
        ("city", lambda X: replaced(X, "city", "city 3"), "shift"),
        ("day", lambda X: replaced(X, "day", None), "missing"),
        ("size", lambda X: replaced(X, "size", np.nan), "missing"),
        ("size", lambda X: X.assign(size=X["size"] * 1.3), "shift"),
        ("size", lambda X: replaced(X, "size", 1000.0, 0.02), "outside"),
    ],
)
def test_a_planted_change_is_found_in_its_column_alone(model, orders, column, change, kind):
    report = model.check(change(orders[0][2500:]))
    found = report.columns[report.columns["drift"] != ""]
    assert found["column"].tolist() == [column]
    assert kind in found["kinds"].iloc[0].split(", ")
    assert repr(column) in report.verdict
    assert column in str(report)
    assert column in report._repr_html_()


def test_sizes_follow_the_shares_and_the_index(model, orders):
    X = orders[0][2500:]
    sizes = [
        model.check(replaced(X, "city", "city 99", share)).columns["drift"].iloc[0]
        for share in (0.03, 0.12, 0.4)
    ]
    assert sizes == ["small", "moderate", "large"]


def test_effects_that_moved_are_named(model, orders):
    X, y = orders
    X, y = X[2500:], y[2500:].copy()
    y[(X["city"] == "city 4").to_numpy()] = "late"
    report = model.check(X, y)
    assert report.has_drift
    assert report.effects["level"].iloc[0] == "city 4"
    assert report.effects["mean_now"].iloc[0] == pytest.approx(1)
    assert report.effects["count_now"].iloc[0] == (X["city"] == "city 4").sum()
    assert set(report.effects.loc[report.effects["level_2"].isna(), "level"]) == {"city 4"}
    assert "effects" in report.verdict


def test_the_mean_of_a_number_is_in_its_unit(orders):
    X, _ = orders
    y = 100 + X["size"].to_numpy() + np.random.default_rng(0).normal(size=len(X))
    model = EmbeddingRegressor(**QUICK).fit(X[:2500], y[:2500])
    report = model.check(X[2500:], y[2500:] + 10)
    answers = report.answers.iloc[0]
    assert answers["mean"] == pytest.approx(y[:2500].mean(), abs=2)
    assert answers["mean_now"] == pytest.approx(y[2500:].mean() + 10)
    assert answers["moved"]
    assert len(report.effects) == 0  # all levels moved by the same amount
    assert report.verdict.startswith("The mean of y has moved (1,500 rows")


def test_fields_and_lengths_of_histories_are_checked():
    rng = np.random.default_rng(0)

    def rows(n, pages, mean):
        lists = [rng.choice(pages, rng.poisson(mean) + 1).tolist() for _ in range(n)]
        return pd.DataFrame({"visits": [[{"page": p} for p in part] for part in lists]})

    X = rows(600, ["a", "b", "c"], 5)
    model = EmbeddingClassifier(**QUICK, d_history=4).fit(X, rng.random(600) < 0.5)
    assert not model.check(rows(600, ["a", "b", "c"], 5)).has_drift
    other = model.check(rows(600, ["a", "b", "b"], 5)).columns
    assert other.loc[other["drift"] != "", "column"].tolist() == ["visits.page"]
    longer = model.check(rows(600, ["a", "b", "c"], 9)).columns
    assert longer.loc[longer["drift"] != "", "column"].tolist() == ["number of visits"]


def log(n_entities, share, seed=0, length=30):
    """Return events of entities that have mostly their own kind of event."""
    rng = np.random.default_rng(seed)
    kinds = rng.choice(["x", "y"], n_entities, p=[share, 1 - share])
    frame = pd.DataFrame(
        {
            "user": np.repeat([f"{seed}-{i}" for i in range(n_entities)], length),
            "time": np.tile(np.arange(float(length)), n_entities),
            "kind": np.repeat(kinds, length),
        }
    )
    frame["kind"] = frame["kind"].mask(rng.random(len(frame)) < 0.05, "z")
    return frame, rng.random(len(frame)) < 0.5


def test_events_count_by_entity():
    model = EventClassifier(entity="user", time="time", **QUICK, d_history=4).fit(*log(60, 0.5))
    # 60 entities of one kind each: counted by events, 900 against 1,080 of 1,800 would raise an alarm
    events, y = log(60, 0.6, seed=3)
    report = model.check(events)
    kinds = report.columns[report.columns["column"] == "kind"]
    assert kinds["drift"].tolist() == [""]
    found = model.check(log(60, 1.0, seed=4)[0]).columns
    assert "kind" in found.loc[found["drift"] != "", "column"].tolist()
    assert not model.check(events, y).has_drift


def clustered(rng, n_entities, n_levels, move=0.0):
    """Return entities with 1 to 40 events, whose answers vary more between entities than within."""
    sizes = rng.integers(1, 41, n_entities)
    entity = np.repeat(np.arange(n_entities), sizes)
    level = rng.integers(n_levels, size=len(entity))
    own = rng.integers(n_levels, size=n_entities)[entity]
    level = np.where(rng.random(len(entity)) < 0.5, own, level)
    effect = np.linspace(-1, 1, n_levels)[level] + move * (level == 2)
    return (
        entity,
        level,
        effect + 1.5 * rng.normal(size=n_entities)[entity] + rng.normal(size=len(level)),
    )


def compared_events(rng, are_shares, move=0.0, n_levels=8, is_clustered=True):
    """Compare later entities with training ones."""
    train, later = clustered(rng, 150, n_levels), clustered(rng, 100, n_levels, move)
    codes, answers = [], []
    for _, level, y in (train, later):
        codes.append(level[:, None] + N_SPECIAL)
        answers.append((y > 0.5 if are_shares else y).astype(float)[:, None])
    numbers = [np.zeros((len(part), 0)) for part in codes]
    rng = np.random.default_rng(0)
    effects = Effects(0, are_shares)
    effects.fit(codes[0], numbers[0], answers[0], np.ones(len(codes[0])), rng)
    alike = Clustering.of(effects, codes[0], numbers[0], effects.center(answers[0]), train[0])
    groups = (alike, later[0]) if is_clustered else ()
    return compare_answers(effects, len(codes[0]), codes[1], numbers[1], answers[1], *groups), alike


@pytest.mark.parametrize("are_shares", [False, True])
def test_answers_of_an_entity_count_as_far_as_they_differ(are_shares):
    rng = np.random.default_rng(0)
    alarms, by_rows = 0, 0
    for _ in range(100):
        seed = rng.integers(10**6)
        compared, _ = compared_events(np.random.default_rng(seed), are_shares)
        alarms += np.nanmin(np.concatenate([p.ravel() for p in compared.p_values])) < ALARM
        compared, _ = compared_events(np.random.default_rng(seed), are_shares, is_clustered=False)
        by_rows += np.nanmin(np.concatenate([p.ravel() for p in compared.p_values])) < ALARM
    assert alarms <= stats.binom.isf(0.001, 100, ALARM)
    assert by_rows > 50


@pytest.mark.parametrize("are_shares", [False, True])
def test_a_level_that_moves_among_events_is_found(are_shares):
    found = []
    for seed in range(10):
        compared, _ = compared_events(np.random.default_rng(seed), are_shares, move=2.5)
        p_values = compared.p_values[1].ravel()
        found.append(np.nanargmin(p_values) == 2 and np.nanmin(p_values) < ALARM)
    assert np.mean(found) >= 0.8


def test_the_correlation_of_answers_is_that_of_the_entities():
    rng = np.random.default_rng(0)
    alike = [compared_events(rng, False)[1].correlations for _ in range(5)]
    # within a level: variance 2.25 between entities, and 1 within
    np.testing.assert_allclose(np.mean(alike, axis=0)[0], 2.25 / 3.25, atol=0.05)
    independent = [
        alike_answers(rng.integers(5, size=900), rng.integers(90, size=900), rng.normal(size=(900, 1)))
        for _ in range(20)
    ]
    assert np.mean(independent) < 0.02
    entity = np.repeat(np.arange(90), 10)
    same = rng.normal(size=90)[entity][:, None]
    assert alike_answers(np.zeros(900, int), entity, same) == pytest.approx(1, abs=1e-9)
    sizes = sizes_of(np.array([0, 0, 0, 1, -1]), np.array([5, 5, 6, 5, 7]), 3)
    np.testing.assert_allclose(sizes, [(2 + 2 + 1) / 3, 1, 1])


def test_effects_of_events_that_moved_are_named():
    def visits(n, seed, moved):
        rng = np.random.default_rng(seed)
        frame = pd.DataFrame(
            {
                "user": np.repeat([f"{seed}-{i}" for i in range(n)], 6),
                "time": np.tile(np.arange(6.0), n),
                "page": rng.choice(list("abcd"), 6 * n),
            }
        )
        y = frame["page"].map({"a": 0.0, "b": 1.0, "c": 2.0, "d": 3.0}).to_numpy()
        y = y + moved * (frame["page"] == "b") + 0.7 * rng.normal(size=n).repeat(6)
        return frame, y + 0.3 * rng.normal(size=len(y))

    settings = QUICK | {"d_history": 4}
    model = EventRegressor(entity="user", time="time", **settings).fit(*visits(150, 0, 0))
    same = model.check(*visits(120, 1, 0))
    assert not same.has_drift
    assert len(same.effects) == 0
    events, y = visits(120, 1, 0)
    order = np.random.default_rng(0).permutation(720)
    shuffled = model.check(events.iloc[order], y[order])
    pd.testing.assert_frame_equal(shuffled.answers, same.answers)
    report = model.check(*visits(120, 2, 1.5))
    assert set(report.effects["level"]) == {"b"}
    del model.clustering_
    with pytest.raises(ValueError, match="earlier version has saved"):
        model.check(*visits(120, 1, 0))


# Vectors


@pytest.mark.parametrize(
    ("n_before", "n", "width"),
    [(300, 1000, 200), pytest.param(2000, 500, 30, marks=pytest.mark.slow), (400, 400, 3)],
)
def test_chance_alone_changes_no_vectors(n_before, n, width):
    rng = np.random.default_rng(width)
    scale = 1 / np.arange(1, width + 1) ** 0.3
    alarms = 0
    for _ in range(100):
        vectors = rng.standard_t(5, size=(n_before + n, width)) * scale
        vectors[rng.random(len(vectors)) < 0.05] = np.nan
        profile = VectorProfile.of(vectors[:n_before].astype(np.float32), np.ones(n_before))
        found = profile.shifts("v", vectors[n_before:].astype(np.float32), np.ones(n))
        assert len(found) == min(width, 6) if width > 5 else width
        alarms += bool((drift_lines(found, ALARM)["drift"] != "").any())
    assert alarms <= stats.binom.isf(0.001, 100, ALARM)


@pytest.mark.parametrize("width", [4, 40, 500])
def test_the_axes_are_those_of_largest_variance(width):
    rng = np.random.default_rng(0)
    directions = np.linalg.qr(rng.normal(size=(width, 3)))[0].T
    vectors = (rng.normal(size=(600, 3)) * [5, 4, 3]) @ directions + 0.01 * rng.normal(size=(600, width))
    profile = VectorProfile.of(vectors, np.ones(600))
    cosines = np.abs(np.einsum("id,id->i", profile.axes[:3], directions))
    assert cosines.min() > 0.9
    np.testing.assert_allclose(profile.axes @ profile.axes.T, np.eye(len(profile.axes)), atol=1e-6)
    numbers = profile.numbers(vectors)
    if width > 5:
        squares = np.square(vectors - profile.center).sum(axis=1)
        np.testing.assert_allclose(np.square(numbers).sum(axis=1), squares, rtol=1e-6)


@pytest.fixture(scope="module")
def seeing():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(1200, 12)) * np.linspace(2, 0.5, 12)
    X = pd.DataFrame({"image": list(vectors), "size": rng.normal(size=1200)})
    return EmbeddingClassifier(**QUICK).fit(X[:800], vectors[:800, 0] > 0), X[800:]


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda v: v + np.eye(12)[0], "shift"),
        (lambda v: v * 1.4, "shift"),
        (lambda v: v + 3 * np.eye(12)[11], "shift"),
        (lambda v: v[:, ::-1], "shift"),
        (lambda v: np.where(np.arange(400)[:, None] % 4, v, np.nan), "missing"),
    ],
)
def test_vectors_that_differ_are_found(seeing, change, kind, tmp_path):
    model, X = seeing
    assert not model.check(X).has_drift
    changed = change(np.stack(X["image"]))
    later = X.assign(image=[None if np.isnan(row).any() else row for row in changed])
    report = model.check(later)
    found = report.columns[report.columns["drift"] != ""]
    assert found["column"].str.startswith("image ").all()
    assert kind in set(", ".join(found["kinds"]).split(", "))
    tabemb.save(model, tmp_path / "model.tabemb")
    loaded = tabemb.load(tmp_path / "model.tabemb").check(later)
    pd.testing.assert_frame_equal(loaded.columns, report.columns)


def test_what_check_refuses(model, orders):
    X, y = orders
    with pytest.raises(ValueError, match="0 sample"):
        model.check(X[:0])
    with pytest.raises(ValueError, match=r"y must hold answers like those of fit: .* 'lost'"):
        model.check(X[:50], np.repeat(["lost"], 50))
    with pytest.raises(ValueError, match="lacks column 'city'"):
        model.check(X[["size", "day"]])
    without = EmbeddingClassifier(**QUICK, effects=False).fit(X[:300], y[:300])
    with pytest.raises(ValueError, match="y needs a model with effects"):
        without.check(X[300:400], y[300:400])
    del without.profiles_
    with pytest.raises(ValueError, match=r"files of tabemb 0\.2 lack"):
        without.check(X[300:400])


def test_rows_of_weight_zero_are_no_training_rows(orders):
    X, y = orders
    more = pd.concat([X[:500], X[:500].assign(city="city 99")])
    weights = np.repeat([1.0, 0.0], 500)
    model = EmbeddingClassifier(**QUICK).fit(more, np.tile(y[:500], 2), sample_weight=weights)
    assert not model.check(X[500:1000]).has_drift


def test_a_loaded_model_checks_as_before(model, orders, tmp_path):
    tabemb.save(model, tmp_path / "model.tabemb")
    X = replaced(orders[0][2500:], "city", "city 3")
    loaded = tabemb.load(tmp_path / "model.tabemb").check(X)
    pd.testing.assert_frame_equal(loaded.columns, model.check(X).columns)


def test_predictions_of_many_unseen_categories_warn_once(model, orders):
    X = orders[0][2500:]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.predict_proba(replaced(X, "city", "city 99", 0.1))
        assert not caught
        model.predict_proba(replaced(X, "city", "city 99", 0.5).assign(day="Sun"))
    assert [w.category for w in caught] == [InputNote]
    assert "'city' (5" in str(caught[0].message)
    assert "'day' (100% unseen, 0% expected)" in str(caught[0].message)


def test_a_column_of_missing_values_may_get_values(orders):
    X, y = orders
    X = X.assign(empty=np.nan)
    model = EmbeddingClassifier(**QUICK, roles={"empty": "number"}).fit(X[:500], y[:500])
    found = model.check(X[500:900]).columns
    assert (found["drift"] == "").all()
    changed = model.check(X[500:900].assign(empty=1.0)).columns
    assert not changed["p_value"].isna().any()


def test_a_space_checks_categories():
    rng = np.random.default_rng(0)
    cities = np.array(["Bonn", "Oslo", "Rome"])
    space = EmbeddingSpace(np.eye(3), cities, counts=[500, 300, 200], name="city")
    same = space.check(rng.choice(cities, 400, p=[0.5, 0.3, 0.2]))
    assert not same.has_drift
    other = space.check([*rng.choice(cities, 300), *["Cairo"] * 100, None])
    assert other.columns["kinds"].tolist() == ["unseen, shift"]
    assert other.columns["unseen"].iloc[0] == pytest.approx(100 / 401)
    assert other.columns["missing"].iloc[0] == pytest.approx(1 / 401)
    with pytest.raises(ValueError, match="needs the counts"):
        EmbeddingSpace(np.eye(3), cities).check(["Bonn"])
    with pytest.raises(ValueError, match="categories has none"):
        space.check([])


def test_the_picture_has_a_bar_for_each_input(model, orders):
    pytest.importorskip("matplotlib").use("Agg")
    report = model.check(orders[0][2500:].assign(size=1e5))
    ax = report.plot()
    assert [text.get_text() for text in ax.get_yticklabels()][-1] == "size"
    assert len(ax.patches) == 3
    assert len(report.plot(most=1).patches) == 1


def test_the_missing_level_is_the_same_in_profiles_and_vocabularies():
    from tabemb.data import vocabulary

    assert (UNSEEN, MISSING, N_SPECIAL) == (vocabulary.UNKNOWN, vocabulary.MISSING, vocabulary.N_SPECIAL)

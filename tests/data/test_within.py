"""Numbers that are scaled and binned within the levels of a category."""

import numpy as np
import pandas as pd
import pytest

from tabemb.data.encoding import Encoder
from tabemb.data.frames import to_arrow
from tabemb.data.scales import Scale
from tabemb.data.schema import infer_schema
from tabemb.data.vocabulary import MISSING, UNKNOWN
from tabemb.data.within import MIN_SHARE, GroupedValues, Within, between_share, find_within

CODES = np.repeat([2, 3], 200)


def within_of(codes, values, n_codes, weights=None):
    values = np.asarray(values, float)
    weights = np.ones(len(values)) if weights is None else weights
    groups = GroupedValues(codes, values, weights, n_codes)
    return Within.from_values("what", 1.0, groups, Scale.from_values(values, None, 8))


def labs(n=400, seed=0):
    """Return rows with events of three kinds, whose values differ by orders of magnitude."""
    rng = np.random.default_rng(seed)
    kinds = {"pH": (7.4, 0.05), "HR": (90.0, 15.0), "platelets": (2e5, 5e4)}
    rows = []
    for _ in range(n):
        names = rng.choice(list(kinds), rng.integers(1, 6))
        rows.append(
            [{"what": w, "value": rng.normal(*kinds[w]), "age": rng.normal(60, 9)} for w in names]
        )
    return rows


def encoder_of(rows, **options):
    table = to_arrow(pd.DataFrame({"events": rows}))
    return Encoder(infer_schema(table), n_bins=8, min_count=1, **options).fit(table)


def encode(encoder, rows):
    (history,) = encoder.transform(to_arrow(pd.DataFrame({"events": rows}))).histories
    schema = encoder.inputs_[1].schema
    codes = {f.name: history.codes[:, i] for i, f in enumerate(schema.categorical)}
    return codes | {f.name: history.numbers[:, i] for i, f in enumerate(schema.numbers)}


# Whether scales within categories are needed


@pytest.mark.parametrize("first", [10, 200, 390])
def test_the_share_is_one_where_levels_do_not_overlap_and_zero_where_they_are_the_same(first):
    codes = np.where(np.arange(400) < first, 2, 3)
    values = np.random.default_rng(0).permutation(np.arange(400.0))
    assert between_share(values, codes, np.ones(400), 4) < 0.1
    assert between_share(np.arange(400.0), codes, np.ones(400), 4) > 0.95


def test_levels_of_one_median_and_other_spreads_have_a_share():
    values = np.random.default_rng(0).normal(size=400) * np.where(CODES == 2, 1, 1000)
    assert between_share(values, CODES, np.ones(400), 4) > MIN_SHARE


def test_chance_is_taken_off():
    """With five values per level, a fifth of the variance is between levels by chance."""
    shares = [
        between_share(
            rng.normal(size=500), rng.permutation(np.repeat(np.arange(100), 5)), np.ones(500), 100
        )
        for rng in map(np.random.default_rng, range(20))
    ]
    assert np.mean(shares) < 0.1


def test_weights_count_as_rows_and_their_unit_does_not():
    rng = np.random.default_rng(0)
    values, codes, weights = rng.normal(size=300), rng.integers(2, 5, 300), rng.integers(0, 3, 300)
    values = values + 3 * codes
    repeated = np.repeat(np.arange(300), weights)
    a = find_within(values, {"c": (codes, 5)}, weights / 7, Scale.from_values(values, weights, 8))
    b = find_within(
        values[repeated], {"c": (codes[repeated], 5)}, None, Scale.from_values(values, weights, 8)
    )
    np.testing.assert_allclose(a.centers, b.centers, rtol=0.02)
    np.testing.assert_allclose(a.units, b.units, rtol=0.05)
    assert a.share == pytest.approx(b.share, abs=0.05)


def test_the_field_that_explains_most_is_chosen():
    rng = np.random.default_rng(0)
    fine, other = rng.integers(2, 8, 900), rng.integers(2, 8, 900)
    codes = {"other": (other, 8), "coarse": (fine // 2 + 1, 8), "fine": (fine, 8)}
    values = 10.0**fine * (1 + 0.1 * rng.normal(size=900))
    assert find_within(values, codes, None, Scale.from_values(values, None, 8)).by == "fine"


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(0).normal(size=400),  # the same distribution in both levels
        np.where(CODES == 2, 5.0, 9.0),  # the level alone determines the value
        np.where(np.arange(400) % 10 == 0, np.arange(400.0), np.nan),  # few values
        np.full(400, np.nan),
    ],
)
def test_nothing_is_scaled_without_need(values):
    common = Scale.from_values(values, None, 8)
    assert find_within(values, {"c": (CODES, 4)}, None, common) is None


def test_levels_of_few_values_have_no_scale_of_their_own():
    """List prices of 400 products with three purchases each: the variation per product is unknown."""
    codes = np.repeat(np.arange(400), 3) + 2
    values = np.exp(codes / 50) * (1 + 0.1 * np.random.default_rng(0).normal(size=1200))
    common = Scale.from_values(values, None, 8)
    assert find_within(values, {"product": (codes, 402)}, None, common) is None
    few = {"product": (codes, 402), "group": (codes // 50 + 2, 12)}
    assert find_within(values, few, None, common).by == "group"


# Scales


def test_each_level_has_its_median_and_quartiles_as_scale():
    values = np.concatenate([np.arange(200.0), 1e6 + 1000 * np.arange(200.0)])
    within = within_of(CODES, values, 4)
    np.testing.assert_allclose(within.centers[2:], [99, 1e6 + 99_000], rtol=1e-2)
    assert within.units[2] < 150
    assert within.units[3] > 80_000
    scaled = within.scaled(CODES, values)
    assert np.abs(scaled).max() < 1.1
    assert np.ptp(scaled[:200]) > 1


def test_unknown_and_missing_categories_have_the_common_scale():
    values = np.concatenate([np.arange(200.0), 1e6 + np.arange(200.0)])
    within, common = within_of(CODES, values, 5), Scale.from_values(values, None, 8)
    for code in (UNKNOWN, MISSING, 4):  # 4: a category without values
        np.testing.assert_array_equal(within.scaled(np.full(400, code), values), common.apply(values))


def test_a_rare_level_leans_on_the_common_unit():
    rng = np.random.default_rng(0)
    codes = np.concatenate([np.full(500, 2), np.full(500, 3), [4, 4]])
    values = np.concatenate([rng.normal(0, 10, 500), rng.normal(100, 10, 500), [100.0, 100.001]])
    within, common = within_of(codes, values, 5), Scale.from_values(values, None, 8)
    np.testing.assert_allclose(within.units[2:4], 13.5, rtol=0.2)
    assert 0.1 < within.units[4] < common.unit  # its two values alone would give .001


def test_a_rare_level_leans_on_the_common_median_where_chance_explains_the_distance():
    codes = np.concatenate([np.full(500, 2), [3, 4]])
    values = np.concatenate([np.arange(500.0), [300.0, 1e6]])
    centers = within_of(codes, values, 5).centers
    assert centers[3] == pytest.approx(249, abs=1)  # one unit from the common median is chance
    assert centers[4] == pytest.approx(1e6, rel=1e-3)


def test_a_constant_level_is_at_zero_on_the_common_unit():
    values = np.concatenate([np.full(200, 7.0), np.arange(200.0) + 100])
    within = within_of(CODES, values, 4)
    assert within.units[2] == Scale.from_values(values, None, 8).unit
    assert abs(within.scaled(np.array([2]), np.array([7.0]))[0]) < 0.01


def test_a_level_that_is_nearly_always_zero_has_half_its_range_as_unit():
    values = np.concatenate([[0.0] * 180 + [10.0] * 20, 1e3 + np.arange(200.0)])
    assert within_of(CODES, values, 4).units[2] == pytest.approx(5, rel=0.2)


def test_a_level_of_huge_values_crushes_no_other():
    values = np.concatenate([np.arange(200.0), 1e300 * (1 + np.arange(200.0) / 1e3)])
    scaled = within_of(CODES, values, 4).scaled(CODES, values)
    assert np.isfinite(scaled).all()
    for of_level in (scaled[:200], scaled[200:]):
        assert len(np.unique(of_level.astype(np.float32))) == 200
        assert 0.5 < np.ptp(of_level) < 3
    both = np.concatenate([np.full(200, -1.7e308), np.full(200, 1.7e308)])
    assert np.isfinite(within_of(CODES, both, 4).scaled(CODES, both)).all()


# Bins


def test_bins_hold_equal_shares_of_each_level_and_their_names_say_which():
    rows = labs()
    encoder = encoder_of(rows)
    codes = encode(encoder, rows)["events.what x value"]
    vocabulary = encoder.vocabularies_["events.what x value"]
    names = vocabulary.labels()
    np.testing.assert_array_equal(vocabulary.counts, np.bincount(codes, minlength=len(vocabulary)))
    assert len(names) == 3 * 8
    events = [event for row in rows for event in row]
    for event, code in zip(events, codes):
        level, _, interval = names[code - 2].partition(" ")
        assert level == event["what"]
        low, high = _ends(interval)
        assert low * (1 - 1e-4) < event["value"] <= high * (1 + 1e-4)
    for what in ("pH", "HR", "platelets"):
        counts = vocabulary.counts[2:][names.str.startswith(f"{what} ")]
        np.testing.assert_allclose(counts, counts.mean(), rtol=0.02, atol=1)


def test_a_bin_holds_its_upper_edge():
    rows = [[{"what": w, "value": v + 1000 * (w == "b")}] for w in "ab" for v in range(9)] * 20
    encoder = encoder_of(rows)
    names = encoder.vocabularies_["events.what x value"].labels()
    for (event,), code in zip(rows, encode(encoder, rows)["events.what x value"]):
        low, high = _ends(names[code - 2].split(" ", 1)[1])
        assert low < event["value"] <= high


def _ends(interval):
    if interval.startswith("<="):
        return -np.inf, float(interval[2:])
    if interval.startswith(">"):
        return float(interval[1:]), np.inf
    return tuple(map(float, interval.strip("(]").split(",")))


def test_a_level_of_few_or_equal_values_has_no_bins():
    codes = np.concatenate([np.full(200, 2), np.full(39, 3), np.full(41, 4), np.full(200, 5)])
    values = np.concatenate([np.arange(200.0), np.arange(80.0), np.full(200, 5.0)])
    within = within_of(codes, values, 6)
    bins = within.bins(codes, values)
    assert len(np.unique(bins[:200])) == 8
    assert set(bins[200:239]) == {UNKNOWN} == set(bins[280:])
    assert len(np.unique(bins[239:280])) == 2
    assert within.n_codes == 2 + 8 + 2 == bins.max() + 1


def test_values_that_are_nearly_the_same_have_names_of_their_own():
    rows = [[{"what": w, "value": v + 1e7}] for w in "ab" for v in np.arange(100) / 100 + (w == "b") * 5]
    labels = encoder_of(rows).vocabularies_["events.what x value"].labels()
    assert labels.is_unique
    assert len(labels) == 10


# In an encoder


def test_a_number_without_need_and_rows_without_events_have_no_new_features():
    rows = labs()
    features = encoder_of(rows).inputs_[1].schema
    assert [f.name for f in features.numbers] == [
        "events.value",
        "events.age",
        "events.value within what",
    ]
    assert [f.name for f in features.categorical] == ["events.what", "events.what x value"]
    flat = to_arrow(pd.DataFrame([event for row in rows for event in row]))
    plain = Encoder(infer_schema(flat), n_bins=8, min_count=1).fit(flat)
    assert len(plain.inputs_[0].schema.numbers) == 2
    assert not plain.inputs_[0].within


def test_missing_values_and_unseen_categories():
    encoder = encoder_of(labs())
    strange = [
        {"what": "pH", "value": None, "age": 1.0},
        {"what": None, "value": 90.0, "age": 1.0},
        {"what": "lactate", "value": 90.0, "age": 1.0},
        {"what": "HR", "value": 90.0, "age": 1.0},
    ]
    arrays = encode(encoder, [strange])
    assert arrays["events.what x value"][:3].tolist() == [MISSING, UNKNOWN, UNKNOWN]
    scaled = arrays["events.value within what"]
    assert np.isnan(scaled[0])
    assert scaled[1] == scaled[2]
    assert abs(scaled[3]) < 0.2
    common = encoder.inputs_[1].within["events.value"]
    assert common.centers[UNKNOWN] == encoder.inputs_[1].scales[0].center


def test_new_names_do_not_collide_with_fields():
    rows = [
        [{**event, "value within what": 1.0, "what x value": "a"} for event in row] for row in labs()
    ]
    encoder = encoder_of(rows)
    names = [f.name for f in encoder.inputs_[1].schema.numbers + encoder.inputs_[1].schema.categorical]
    assert len(set(names)) == len(names) == 7
    assert "events.what x value_" in encoder.schema.tables


@pytest.mark.parametrize("clock", ["left", "counted"])
def test_a_clock_means_the_same_in_any_category(clock):
    """Times differ between kinds of events, but a time needs no scale within its kind."""
    rows = labs()
    for row in rows:
        row.sort(key=lambda event: event["what"])
        for i, event in enumerate(row):
            late = ["HR", "pH", "platelets"].index(event["what"])
            event["left"] = 300.0 - 100 * late - i
            event["counted"] = 100.0 * late + i
    rows = [[{k: v for k, v in e.items() if k in ("what", clock)} for e in row] for row in rows]
    assert not encoder_of(rows).inputs_[1].within
    shuffled = [row[::-1] if i % 2 else row for i, row in enumerate(rows)]
    assert encoder_of(shuffled).inputs_[1].within

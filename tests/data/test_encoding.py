import itertools

import numpy as np
import pandas as pd
import pytest

from tabemb.data.encoding import Encoder
from tabemb.data.frames import to_arrow
from tabemb.data.histories import Events
from tabemb.data.scales import Scale, bin_edges
from tabemb.data.schema import infer_schema


def encoder_of(frame, roles=None, **kwargs):
    table = to_arrow(frame)
    return Encoder(infer_schema(table, roles), n_bins=8, min_count=1).fit(table, **kwargs)


def numbers(encoder, frame):
    return encoder.transform(to_arrow(frame)).numbers


def test_numbers_are_centred_on_the_median_in_units_of_the_quartiles():
    frame = pd.DataFrame({"x": [0.0, 1.0, 2.0, 3.0, 4.0, np.nan]})
    assert numbers(encoder_of(frame), frame)[:5, 0].tolist() == [-1, -0.5, 0, 0.5, 1]
    assert np.isnan(numbers(encoder_of(frame), frame)[5, 0])


@pytest.mark.parametrize("values", [[3.0], [4.0, 4.0, 3.0], [-1.0, np.nan]])
def test_numbers_of_new_rows_have_the_scale_of_training_rows(values):
    encoder = encoder_of(pd.DataFrame({"x": [0.0, 1.0, 2.0, 3.0, 4.0]}))
    scaled = numbers(encoder, pd.DataFrame({"x": values}))[:, 0]
    np.testing.assert_array_equal(scaled, [(value - 2) / 2 for value in values])


def test_a_number_that_is_nearly_always_zero_is_scaled_by_its_range():
    scale = Scale.from_values(np.array([0.0] * 9 + [10.0]), None, 8)
    assert (scale.center, scale.unit) == (0.0, 5.0)


def test_bins_do_not_collapse_where_one_value_is_frequent():
    values = np.concatenate([np.zeros(920), np.arange(1, 81)])
    assert len(bin_edges(values, None, 48)) > 20


def test_a_weight_of_two_is_a_repeated_row():
    frame = pd.DataFrame({"x": [1.0, 5.0, 9.0, 20.0], "c": list("abca")})
    twice = frame.loc[[0, 1, 1, 2, 3, 3, 3]]
    weighted, repeated = encoder_of(frame, weights=np.array([1.0, 2, 1, 3])), encoder_of(twice)
    assert weighted.scales_[0].center == repeated.scales_[0].center
    assert weighted.scales_[0].unit == repeated.scales_[0].unit
    assert weighted.vocabularies_["c"].counts.tolist() == repeated.vocabularies_["c"].counts.tolist()


def test_constant_empty_and_huge_numbers_stay_finite():
    frame = pd.DataFrame(
        {"constant": [3.0] * 4, "empty": [np.nan] * 4, "huge": [1.0, 1.0, 1.0 + 1e-12, 1.0]}
    )
    encoder = encoder_of(frame)
    extreme = pd.DataFrame({"constant": [1e300], "empty": [1e300], "huge": [1e300]})
    assert np.isfinite(numbers(encoder, extreme)).all()


def test_an_infinite_number_is_an_error_that_names_column_row_and_value():
    with pytest.raises(ValueError, match="Column 'x' holds inf in row 1"):
        encoder_of(pd.DataFrame({"x": [1.0, np.inf]}))


def test_text_in_a_number_names_the_value():
    with pytest.raises(ValueError, match=r"Column 'x' has the role 'number'.*'n/a'"):
        encoder_of(pd.DataFrame({"x": ["1", "n/a"]}), {"x": "number"})


def test_times_are_elapsed_days_whatever_the_unit_or_zone():
    at = pd.to_datetime(["2020-01-01", "2020-01-02", "2020-01-05"])
    for times in (
        at,
        at.as_unit("s"),
        at.as_unit("ns"),
        at.tz_localize("Asia/Tokyo"),
        at.strftime("%Y-%m-%d"),
    ):
        encoder = encoder_of(pd.DataFrame({"at": times}), {"at": "datetime"})
        rows = Events.single(to_arrow(pd.DataFrame({"at": times})))
        days = encoder.inputs_[0]._number(encoder.schema.numbers[0], rows)
        assert days.tolist() == [0, 1, 4]


def test_the_calendar_of_a_datetime_is_that_of_its_time_zone():
    at = (
        pd.to_datetime(["2019-12-31 20:00", "2020-02-01 20:00"])
        .tz_localize("UTC")
        .tz_convert("Asia/Tokyo")
    )
    encoder = encoder_of(pd.DataFrame({"at": at}))
    assert encoder.vocabularies_["at.month"].labels().tolist() == [1, 2]


def test_a_date_that_cannot_be_read_names_column_value_and_row():
    with pytest.raises(ValueError, match=r"Column 'at' .* holds 'soon' in row 1"):
        infer_schema(to_arrow(pd.DataFrame({"at": ["2020-01-01", "soon"]})), {"at": "datetime"})


def test_columns_are_matched_by_name_and_new_ones_are_ignored():
    frame = pd.DataFrame({"a.b": ["x", "y"], "n": [1.0, 2.0]})
    encoder = encoder_of(frame)
    turned = frame.assign(extra=1)[["n", "extra", "a.b"]]
    for expected, actual in zip(encoder.transform(to_arrow(frame)), encoder.transform(to_arrow(turned))):
        np.testing.assert_array_equal(actual, expected)


def test_a_missing_column_is_named():
    encoder = encoder_of(pd.DataFrame({"a": ["x"], "n": [1.0]}))
    with pytest.raises(ValueError, match="X lacks column 'n'"):
        encoder.transform(to_arrow(pd.DataFrame({"a": ["x"]})))


@pytest.mark.parametrize(
    ("max_events", "kept"),
    [
        (None, [["a", "b", "c"], [], [], ["d"], ["e", "f"]]),
        (3, [["a", "b", "c"], [], [], ["d"], ["e", "f"]]),
        (2, [["b", "c"], [], [], ["d"], ["e", "f"]]),
        (1, [["c"], [], [], ["d"], ["f"]]),
    ],
)
def test_the_newest_events_of_each_row_stay(max_events, kept):
    rows = [["a", "b", "c"], [], None, ["d"], ["e", "f"]]
    bags = to_arrow(pd.DataFrame({"bag": rows}))["bag"]
    structs = to_arrow(pd.DataFrame({"seen": [row and [{"what": v} for v in row] for row in rows]}))
    for events, name in (
        (Events.of(bags, "bag", max_events), "bag"),
        (Events.of(structs["seen"], "seen", max_events), "seen.what"),
    ):
        values = events.frame[name].to_pylist()
        assert [values[start:end] for start, end in itertools.pairwise(events.offsets)] == kept

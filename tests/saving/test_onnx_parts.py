"""The parts of an ONNX graph, each compared with the code that it replaces."""

import lightgbm as lgb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tabemb.data import pairs
from tabemb.data.effects import Effects
from tabemb.data.times import CALENDAR
from tabemb.fitting.tree_texts import without_sizes
from tabemb.fitting.trees import Trees
from tabemb.saving.onnx import effects as onnx_effects
from tabemb.saving.onnx.calendar import calendar_part, clock_changes
from tabemb.saving.onnx.columns import Columns
from tabemb.saving.onnx.effects import effect_features
from tabemb.saving.onnx.forest import steps
from tabemb.saving.onnx.graph import Graph
from tabemb.saving.onnx.trees import scores

pytest.importorskip("onnx", reason="onnx is not installed: pip install tabemb[onnx]")
ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: tabemb[onnx]")


def run(graph, output, dtype, dims, **arrays):
    name = graph.output(output, "result", dtype, dims)
    model = graph.model("", {})
    return ort.InferenceSession(model.SerializeToString()).run([name], arrays)[0]


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kolkata"])
@pytest.mark.parametrize("part", CALENDAR)
def test_calendar_parts_are_those_of_arrow(part, zone):
    rng = np.random.default_rng(0)
    spread = rng.integers(-(2**61), 2**61, 2000) if zone is None else np.zeros(0, np.int64)
    modern = rng.integers(-2_000_000_000, 4_000_000_000, 4000) * 10**6
    changes = np.zeros(0, np.int64) if zone is None else clock_changes(zone)[0] * 10**6
    times = np.concatenate([spread, modern, changes, changes - 1, changes + 1, [0, -1]])
    graph = Graph(["t"])
    graph.input("t", np.int64, ["rows"])
    given = run(graph, calendar_part(graph, "t", part, zone), np.int64, ["rows"], t=times)
    arrow = pa.chunked_array([pa.array(times, pa.timestamp("us", zone))])
    np.testing.assert_array_equal(given, CALENDAR[part](arrow).to_numpy())


def test_steps_change_above_their_bounds_and_are_zero_at_nan():
    bounds = np.array([-1.0, 0.0, 2.5], np.float32)
    graph = Graph(["x"])
    graph.input("x", np.float32, ["rows", 2])
    found = steps(graph, "x", [(1, bounds, np.array([5, 6, 7, 8]))])
    x = np.array([-1, np.nextafter(np.float32(-1), np.float32(0)), 0, 2.5, 3, np.nan], np.float32)
    given = run(graph, found, np.float32, ["rows", 1], x=np.stack([np.zeros(6, np.float32), x], 1))
    assert given[:, 0].tolist() == [5, 6, 6, 7, 8, 0]


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("n_levels", [3, 50, 400])
def test_scores_of_trees_are_those_of_lightgbm(n_levels, missing):
    rng = np.random.default_rng(0)
    codes = rng.integers(2, n_levels + 2, (4000, 2))
    numbers = rng.normal(size=(4000, 2)).astype(np.float32)
    if missing:
        numbers[rng.random(numbers.shape) < 0.2] = np.nan
    y = rng.normal(size=n_levels + 2)[codes[:, 0]] * (codes[:, 1] % 2) + np.nan_to_num(numbers[:, 0])
    matrix = np.concatenate([codes, numbers], axis=1, dtype=np.float64)
    settings = {"verbose": -1, "num_threads": 1, "seed": 0, "min_data_per_group": 5}
    texts = []
    for target in (y, numbers[:, 0] > codes[:, 1] % 3):
        data = lgb.Dataset(matrix, target, categorical_feature=[0, 1])
        texts.append(without_sizes(lgb.train(settings, data, 60).model_to_string()))
    known = np.ones(2, bool), np.arange(2)
    sizes = [n_levels + 9, n_levels + 9]
    trees = Trees(
        tuple(texts),
        np.array([-6.0, 0.5]),
        np.array([0.1, 2.0]),
        np.zeros(4, bool),
        np.array(sizes),
        *known,
    )
    codes = np.concatenate([codes, rng.integers(0, n_levels + 9, (500, 2))])
    later = rng.normal(size=(500, 2)).astype(np.float32)
    later[:200, 0], later[100:300, 1] = np.nan, np.nan
    numbers = np.concatenate([numbers, later])
    graph = Graph(["c", "x"])
    graph.input("c", np.int64, ["rows", 2])
    graph.input("x", np.float32, ["rows", 2])
    found = scores(graph, trees, sizes, Columns("c", "x", None))
    given = run(graph, found, np.float32, ["rows", 2], c=codes, x=numbers)
    np.testing.assert_allclose(given, trees(codes, numbers), rtol=1e-6, atol=1e-6)


def test_trees_read_what_no_training_row_held_as_unknown():
    rng = np.random.default_rng(0)
    codes, numbers = rng.integers(2, 5, (300, 1)), rng.normal(size=(300, 1)).astype(np.float32)
    codes[:50] = 0
    matrix = np.concatenate([codes, numbers], axis=1, dtype=np.float64)
    data = lgb.Dataset(matrix, numbers[:, 0] + codes[:, 0], categorical_feature=[0])
    settings = {"verbose": -1, "num_threads": 1, "min_data_per_group": 5}
    text = without_sizes(lgb.train(settings, data, 5).model_to_string())
    known = np.array([4]), np.zeros(1, bool), np.zeros(1, int)
    trees = Trees((text,), np.zeros(1), np.ones(1), np.ones(2, bool), *known)
    codes = np.array([[2], [0], [1], [4], [5]])
    numbers = np.full((5, 1), 0.5, np.float32)
    graph = Graph(["c", "x"])
    graph.input("c", np.int64, ["rows", 1])
    graph.input("x", np.float32, ["rows", 1])
    found = scores(graph, trees, [6], Columns("c", "x", None))
    given = run(graph, found, np.float32, ["rows", 1], c=codes, x=numbers)[:, 0]
    assert given[0] != given[1]
    assert (given[1:] == given[1]).all()
    np.testing.assert_allclose(given, trees(codes, numbers)[:, 0], rtol=1e-6)


@pytest.mark.parametrize("bits", [21, 2])
@pytest.mark.parametrize("most_keys", [2**62, 20_000])
def test_effects_of_combinations_are_found_by_one_number(bits, most_keys, monkeypatch):
    """This includes levels with more bits than fit into a key, and keys that need several look-ups."""
    for module in (pairs, onnx_effects):
        monkeypatch.setattr(module, "key_bits", lambda n: 32 if n == 2 else min(bits, 63 // n))
    monkeypatch.setattr(onnx_effects, "MOST_KEYS", most_keys)
    rng = np.random.default_rng(0)
    codes, numbers = rng.integers(1, 6, (3000, 3)), rng.normal(size=(3000, 2)).astype(np.float32)
    numbers[::7, 1] = np.nan
    y = rng.normal(size=(6, 6, 6))[*codes.T] + 0.1 * np.nan_to_num(numbers[:, 1])
    fitted = Effects(n_pairs=30, are_shares=False).fit(
        codes, numbers, y[:, None], np.ones(3000), rng, explained=np.full((3000, 1), y.mean())
    )
    assert max(map(len, fitted.terms_)) > 2
    later = rng.integers(0, 9, (2000, 3))
    later_numbers = rng.normal(size=(2000, 2)).astype(np.float32)
    graph = Graph(["c", "x"])
    graph.input("c", np.int64, ["rows", 3])
    graph.input("x", np.float32, ["rows", 2])
    found = effect_features(graph, fitted, [9, 9, 9], Columns("c", "x", None), {})
    given = run(graph, found, np.float32, ["rows", *fitted.shape], c=later, x=later_numbers)
    np.testing.assert_array_equal(given, fitted.transform(later, later_numbers))


def test_offsets_of_clocks_hold_from_the_second_of_their_change():
    moments, offsets = clock_changes("Europe/Berlin")
    at = np.searchsorted(moments, pd.Timestamp("2024-03-31 01:00", tz="UTC").timestamp())
    assert moments[at] == pd.Timestamp("2024-03-31 01:00", tz="UTC").timestamp()
    assert offsets[at : at + 2].tolist() == [3600, 7200]

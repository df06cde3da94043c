"""Rules of parameters and their wording, presets, and the meaning of "auto" on this machine."""

import numpy as np
import pytest
import torch

from tabemb import EmbeddingClassifier, EmbeddingEncoder, EmbeddingRegressor, EventRegressor
from tabemb.estimators.base import RowEstimator
from tabemb.fitting import settings
from tabemb.fitting.settings import (
    FLAG,
    MAPPING,
    N_JOBS,
    SECONDS,
    VERBOSE,
    WIDTHS,
    RowSettings,
    check_parameters,
    one_of,
    real,
    whole,
)

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("rule", "words", "right", "wrong"),
    [
        (whole(1), "a whole number >= 1", [1, 7, np.int64(3)], [0, -1, 2.0, "2", None, True, NAN]),
        (whole(0).or_("auto"), "a whole number >= 0 or 'auto'", [0, "auto"], [-1, "all", None]),
        (whole(1).or_(None), "a whole number >= 1 or None", [1, None], [0, "None", False]),
        (real(0), "a number >= 0", [0, 0.5, np.float32(2)], [-1e-9, NAN, INF, "0", None, True]),
        (real(0, 1), "a number >= 0 and < 1", [0, 0.999], [1, 1.5, -0.1]),
        (real(0, open_low=True), "a number > 0", [1e-9, 5], [0, -1]),
        (real(0, 0.5, open_low=True), "a number > 0 and < 0.5", [0.1], [0, 0.5]),
        (real(0, 1).or_("auto"), "a number >= 0 and < 1 or 'auto'", [0.5, "auto"], ["none", 1]),
        (one_of(("gru", "mean")), "one of 'gru', 'mean'", ["gru"], ["GRU", None, ["gru"], 1]),
        (FLAG, "True or False", [True, np.False_], [1, 0, "yes", None]),
        (MAPPING, "a dict or None", [{}, {"a": 1}, None], [[], "a", ("a",)]),
        (WIDTHS, "a sequence of whole numbers >= 1", [(8,), [8, 4], np.array([8])], [(), 8, "8", (0,)]),
        (SECONDS, "a number > 0 of seconds, or None", [0.5, 60, None], [0, -1, "60", INF]),
        (N_JOBS, "a whole number but 0, or None", [1, -1, None], [0, 1.0, "all"]),
        (VERBOSE, "True, False or None", [True, 0, 1, None], ["yes", 0.5]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_rule_says_in_words_which_values_hold(rule, words, right, wrong):
    for value in right:
        rule.check("k", value)
    for value in wrong:
        with pytest.raises(ValueError, match=r"^k must be ") as error:
            rule.check("k", value)
        assert str(error.value) == f"k must be {words}; got {value!r}."


def test_the_choices_are_those_of_the_registry_at_the_time_of_the_check():
    registry = {"gru": 1}
    rule = one_of(registry)
    with pytest.raises(ValueError, match="k must be one of 'gru'; got 'tcn'"):
        rule.check("k", "tcn")
    registry["tcn"] = 2
    rule.check("k", "tcn")
    assert rule.words() == "one of 'gru', 'tcn'"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_members": 0}, "n_members must be a whole number >= 1 or 'auto'; got 0"),
        ({"dim": "large"}, "dim must be"),
        (
            {"device": "gpu"},
            "device must be 'auto', 'cpu', 'cuda' or another device of torch; got 'gpu'",
        ),
    ],
)
def test_the_parameters_of_an_estimator_are_checked_one_by_one(parameters, message):
    check_parameters(EmbeddingRegressor(), EmbeddingRegressor.rules)
    with pytest.raises(ValueError, match=message):
        check_parameters(EmbeddingRegressor(**parameters), EmbeddingRegressor.rules)


@pytest.mark.parametrize("cls", [EmbeddingClassifier, EmbeddingRegressor, EventRegressor])
def test_every_rule_is_of_a_parameter_whose_default_holds(cls):
    of_log = {"entity": "who", "time": "at"} if cls is EventRegressor else {}
    model = cls(**of_log)
    parameters = model.get_params()
    for name, rule in cls.rules.items():
        rule.check(name, getattr(model, name))
    free = {"dim", "device", "random_state", "class_weight", "quantile", *of_log, "outcome_fields"}
    assert set(parameters) - set(cls.rules) <= free  # these are checked elsewhere


def test_estimators_share_the_rules_of_their_shared_parameters():
    assert EmbeddingRegressor.rules.items() >= RowEstimator.rules.items()
    assert EventRegressor.rules.items() >= EmbeddingRegressor.rules.items()
    assert EmbeddingEncoder.rules["n_pairs"].words() == RowEstimator.rules["n_pairs"].words()


def differences(**parameters):
    """Return the settings that these parameters change, compared with the defaults."""
    plain, other = (vars(RowSettings.of(EmbeddingRegressor(**p))) for p in ({}, parameters))
    return {name: value for name, value in other.items() if value != plain[name]}


def test_a_preset_replaces_defaults_alone():
    assert differences(preset="default") == {}
    one_network = {"n_members": 1, "n_pairs": 6, "hidden": (64, 64)}
    fast = {"trees": False, "max_epochs": 8, **one_network}
    assert differences(preset="fast") == fast
    best = {"hidden": (256, 256), "n_members": 8, "n_networks": 5, "d_number": 32}
    assert differences(preset="best") == best
    assert differences(preset="best", hidden=(16,), n_members=2) == {
        **best,
        "hidden": (16,),
        "n_members": 2,
    }
    more = {"n_members": 6, "n_pairs": 0}
    assert differences(preset="fast", **more) == {**fast, **more}


def test_a_preset_sees_the_defaults_of_each_class():
    event = EventRegressor(entity="who", time="at", preset="fast", n_pairs=3)
    assert (RowSettings.of(event).n_members, RowSettings.of(event).n_pairs) == (1, 3)


def test_settings_are_a_copy_that_the_estimator_does_not_see():
    model = EmbeddingRegressor(preset="best")
    RowSettings.of(model)
    assert model.get_params()["n_networks"] == 1
    assert RowSettings.of(model.set_params(n_networks=2)).n_networks == 2


def test_precision_follows_the_processor_unless_it_is_given(monkeypatch):
    for is_fast in (True, False):
        monkeypatch.setattr(settings, "is_fast_in_bfloat16", lambda device, is_fast=is_fast: is_fast)
        assert RowSettings.of(EmbeddingRegressor()).in_bfloat16 is is_fast
        assert RowSettings.of(EmbeddingRegressor(precision="bfloat16")).in_bfloat16
        assert not RowSettings.of(EmbeddingRegressor(precision="float32")).in_bfloat16


def test_the_bar_is_never_shown_inside_a_worker_unless_it_is_wished(monkeypatch):
    for is_nested in (True, False):
        monkeypatch.setattr(settings, "is_nested", lambda is_nested=is_nested: is_nested)
        shown = [RowSettings.of(EmbeddingRegressor(verbose=v)).show for v in (None, True, False)]
        assert shown == [False if is_nested else None, True, False]


def test_the_device_is_that_of_torch(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert settings.torch_device("auto") == torch.device("cpu")
    assert settings.torch_device(torch.device("meta")) == torch.device("meta")
    with pytest.raises(ValueError, match="device is 'cuda', but this machine has no CUDA device"):
        settings.torch_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert settings.torch_device("auto") == torch.device("cuda")

"""Unknown arguments are refused, with a hint at the one that was probably meant."""

import inspect
import re

import pandas as pd
import pytest

from tabemb import (
    EmbeddingClassifier,
    EmbeddingEncoder,
    EmbeddingRegressor,
    EventRegressor,
    SequenceEncoder,
)
from tabemb.hints import ELSEWHERE, did_you_mean
from tabemb.saving.packing import ESTIMATORS

FRAME = pd.DataFrame({"c": list("ab") * 5})


def message_of(call, *args, **arguments):
    with pytest.raises(TypeError) as error:
        call(*args, **arguments)
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("hiden", " Did you mean hidden?"),
        ("n_member", " Did you mean n_members or numbers?"),
        ("eval_set", " Did you mean eval_set of fit?"),
        ("validation_data", " Did you mean eval_X and eval_y of fit?"),
        ("sample_weigth", " Did you mean sample_weight of fit?"),
        ("cat_features", " Did you mean roles={column: 'categorical'}?"),
        ("cat_cols", " Did you mean roles={column: 'categorical'}?"),
        ("seed", " Did you mean random_state?"),
        ("loss_function", " Did you mean loss?"),
        ("zzz", ""),
    ],
)
def test_a_constructor_names_the_class_and_the_argument(name, hint):
    message = message_of(EmbeddingRegressor, **{name: 1})
    assert message == f"EmbeddingRegressor() got an unexpected keyword argument {name!r}.{hint}"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("validation_data", " Did you mean eval_X and eval_y?"),
        ("X_val", " Did you mean eval_X?"),
        ("sample_weigth", " Did you mean sample_weight?"),
        ("cat_features", " Did you mean roles={column: 'categorical'} of the constructor?"),
        ("cat_cols", " Did you mean roles={column: 'categorical'} of the constructor?"),
        ("hiden", " Did you mean hidden of the constructor?"),
        ("zzz", ""),
    ],
)
def test_fit_names_the_class_and_the_argument(name, hint):
    message = message_of(EmbeddingClassifier().fit, FRAME, [0, 1] * 5, **{name: 1})
    assert message == f"EmbeddingClassifier.fit() got an unexpected keyword argument {name!r}.{hint}"


def test_a_hint_names_only_what_the_class_has():
    assert message_of(EmbeddingEncoder, cat_features=1).endswith("'cat_features'. Did you mean columns?")
    assert message_of(EmbeddingEncoder, eval_set=1).endswith("'eval_set'.")
    for method in (EmbeddingEncoder().fit, EmbeddingEncoder().fit_transform):
        assert message_of(method, FRAME, [0, 1] * 5, eval_set=1).endswith("'eval_set'.")
    assert message_of(SequenceEncoder, hidden=1).endswith("'hidden'.")


def test_a_known_name_of_another_library_comes_before_a_near_name():
    places = {"": ["weight_decay", "validation_fraction"], " of fit": ["sample_weight", "eval_X"]}
    assert did_you_mean("weights", places) == " Did you mean sample_weight of fit?"
    assert did_you_mean("weight_decy", places) == " Did you mean weight_decay?"
    assert did_you_mean("quantum", places) == ""


def test_every_translation_leads_to_an_argument_that_exists():
    methods = [method for cls in ESTIMATORS.values() for method in (cls.__init__, cls.fit)]
    known = {name for method in methods for name in inspect.signature(method).parameters}
    for name, hints in ELSEWHERE.items():
        assert name not in known
        for hint in re.split(" or | and ", hints):
            assert re.split(r"\W", hint)[0] in known


def test_right_names_pass_and_positions_are_left_to_python():
    assert EmbeddingRegressor(hidden=(8,)).hidden == (8,)
    with pytest.raises(TypeError, match="takes 1 positional argument but 2 were given"):
        EmbeddingRegressor((8,))
    with pytest.raises(
        TypeError, match="missing 2 required keyword-only arguments: 'entity' and 'time'"
    ):
        EventRegressor()

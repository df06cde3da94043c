"""Hints in errors: names similar to an unknown one, and names of arguments in other libraries."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self

CATEGORICAL = "roles={column: 'categorical'} or columns"
ELSEWHERE = {
    "validation_data": "eval_X and eval_y",
    "X_val": "eval_X",
    "y_val": "eval_y",
    "weight": "sample_weight",
    "weights": "sample_weight",
    "cat_features": CATEGORICAL,
    "cat_cols": CATEGORICAL,
    "cat_idxs": CATEGORICAL,
    "categorical_feature": CATEGORICAL,
    "categorical_features": CATEGORICAL,
    "cat_col_names": CATEGORICAL,
    "embedding_dim": "dim",
    "emb_dim": "dim",
    "emb_size": "dim",
    "embedding_size": "dim",
    "cat_emb_dim": "dim",
    "epochs": "max_epochs",
    "n_epochs": "max_epochs",
    "iterations": "max_epochs",
    "n_estimators": "max_epochs",
    "lr": "learning_rate",
    "eta": "learning_rate",
    "layers": "hidden",
    "hidden_layer_sizes": "hidden",
    "hidden_dims": "hidden",
    "seed": "random_state",
    "random_seed": "random_state",
    "n_threads": "n_jobs",
    "thread_count": "n_jobs",
    "num_threads": "n_jobs",
    "early_stopping_rounds": "patience",
    "objective": "loss",
    "loss_function": "loss",
    "offsets": "biases",
    "recurrences": "encounters",
    "vector_size": "dim",
    "sg": "skip_gram",
    "hs": "n_negatives",
    "negative": "n_negatives",
    "ns_exponent": "negative_exponent",
    "sample": "subsample",
    "workers": "n_jobs",
}
"""From the name of an argument in other libraries or earlier versions to its name here."""


def did_you_mean(name: str, places: Mapping[str, Sequence[str]]) -> str:
    """Return " Did you mean …?" for an unknown argument, or "" if no name is similar.

    Parameters
    ----------
    name : str
    places : mapping
        The known arguments, by the words that say where they belong: "" for the call itself.
    """
    for candidates in (_translations, _near_names):
        for place, known in places.items():
            names = candidates(name, known)
            if names:
                return f" Did you mean {' or '.join(names)}{place}?"
    return ""


def _translations(name: str, known: Sequence[str]) -> list[str]:
    hints = ELSEWHERE.get(name, "").split(" or ")
    return [hint for hint in hints if re.split(r"\W", hint)[0] in known]


def _near_names(name: str, known: Sequence[str]) -> list[str]:
    return [name] if name in known else similar(name, known, n=2)


def refuse_unknown(estimator: Any, method: str, unknown: Mapping[str, Any]) -> None:
    """Raise TypeError if a method was called with arguments that it does not have."""
    for name in unknown:
        cls = type(estimator)
        places = {"": _arguments(getattr(cls, method)), " of the constructor": _arguments(cls.__init__)}
        raise TypeError(
            f"{cls.__name__}.{method}() got an unexpected keyword argument {name!r}."
            f"{did_you_mean(name, places)}"
        )


def _arguments(function: Callable[..., Any]) -> list[str]:
    """Return the names of the arguments of a method, without ``self`` and ``**unknown``."""
    parameters = list(inspect.signature(function).parameters.values())[1:]
    return [parameter.name for parameter in parameters if parameter.kind != parameter.VAR_KEYWORD]


class NamesMisspelt:
    """Mixin of estimators: an error for a misspelt parameter suggests the one that was meant."""

    fit: Callable[..., Any]

    def __new__(cls, *args: Any, **params: Any) -> Self:
        """Check the names before ``__init__`` sees them."""
        known = _arguments(cls.__init__)
        for name in params:
            if name not in known:
                places = {"": known, " of fit": _arguments(cls.fit)}
                raise TypeError(
                    f"{cls.__name__}() got an unexpected keyword argument {name!r}."
                    f"{did_you_mean(name, places)}"
                )
        return super().__new__(cls)


def similar(name: object, known: Iterable[object], n: int = 3) -> list[str]:
    """Return up to ``n`` known names that are spelled like ``name``, the most similar first.

    Case is ignored.

    Examples
    --------
    >>> similar("Prize", ["price", "zip"])
    ['price']
    """
    by_folded = {str(candidate).casefold(): str(candidate) for candidate in known}
    return [by_folded[key] for key in difflib.get_close_matches(str(name).casefold(), by_folded, n=n)]

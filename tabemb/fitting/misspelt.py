"""Arguments that a constructor or ``fit`` does not have: say so, and which one was probably meant."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any, Self

from tabemb.hints import similar

ELSEWHERE = {
    "eval_set": "eval_X and eval_y",
    "validation_data": "eval_X and eval_y",
    "X_val": "eval_X",
    "y_val": "eval_y",
    "weight": "sample_weight",
    "weights": "sample_weight",
    "cat_features": "roles={column: 'categorical'}",
    "cat_cols": "roles={column: 'categorical'}",
    "cat_idxs": "roles={column: 'categorical'}",
    "categorical_feature": "roles={column: 'categorical'}",
    "categorical_features": "roles={column: 'categorical'}",
    "cat_col_names": "roles={column: 'categorical'}",
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
}
"""What other libraries, and earlier versions of this one, call an argument: its name here."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean …?" for a name that is not known, or nothing where no name is near."""
    known = list(known)
    here = ELSEWHERE.get(name, "")
    if here and any(word in here for word in known):
        return f" Did you mean {here}?"
    near = similar(name, known, n=2)
    return f" Did you mean {' or '.join(near)}?" if near else ""


def refuse_unknown(estimator: Any, method: str, unknown: Mapping[str, Any]) -> None:
    """Raise TypeError if a method was called with arguments that it does not have."""
    for name in unknown:
        known = [
            *inspect.signature(getattr(estimator, method)).parameters,
            *estimator.get_params(deep=False),
        ]
        raise TypeError(
            f"{type(estimator).__name__}.{method}() got an unexpected keyword argument {name!r}."
            f"{did_you_mean(name, known)}"
        )


class NamesMisspelt:
    """Mixin of estimators whose constructors say which argument was probably meant."""

    def __new__(cls, *args: Any, **params: Any) -> Self:
        """Check the names before ``__init__`` sees them."""
        known = inspect.signature(cls.__init__).parameters
        for name in params:
            if name not in known:
                raise TypeError(
                    f"{cls.__name__}() got an unexpected keyword argument {name!r}."
                    f"{did_you_mean(name, list(known)[1:])}"
                )
        return super().__new__(cls)

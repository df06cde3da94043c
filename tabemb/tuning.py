"""Search spaces of the estimators' parameters, for Optuna."""

from __future__ import annotations

from typing import Any, NamedTuple

from tabemb.extras import need
from tabemb.fitting.settings import PRESETS, defaults_of

__all__ = ["space"]


class Values(NamedTuple):
    """Values of a parameter that a search tries: a range, or choices."""

    low: float = 0
    high: float = 0
    is_log: bool = False
    choices: tuple[Any, ...] = ()


SPACE: dict[str, Values] = {
    "learning_rate": Values(1e-3, 1e-2, is_log=True),
    "table_rate": Values(0.3, 3.0, is_log=True),
    "weight_decay": Values(1e-3, 0.3, is_log=True),
    "dropout": Values(0.0, 0.4),
    "l2": Values(20.0, 2000.0, is_log=True),
    "unknown_rate": Values(0.0, 0.05),
    "n_pairs": Values(choices=(0, 12, 36, 72)),
    "n_bins": Values(choices=(16, 32, 48, 96)),
    "d_number": Values(choices=(8, 16, 24, 32)),
    "biases": Values(choices=(True, False)),
    "d_history": Values(choices=(32, 64, 128)),
    "max_events": Values(choices=(50, 200, 500, 1000)),
}
"""Values around each default, which is among them; parameters of histories are only for events."""
OF_EVENTS = ("d_history", "max_events")


def space(estimator: Any) -> dict[str, Any]:
    """Return a search space of Optuna for a classifier or regressor (extra ``optuna``).

    Parameters
    ----------
    estimator : EmbeddingClassifier, EmbeddingRegressor, EventClassifier or EventRegressor
        Parameters that differ from their defaults were chosen by hand and are left out; so are those
        that the preset sets.

    Returns
    -------
    dict of str -> optuna distribution
        Pass it to ``Study.ask``, and ``trial.params`` to ``set_params``.

    Raises
    ------
    TypeError
        There is no search space for this estimator.

    Examples
    --------
    >>> import tabemb
    >>> space = tabemb.tuning.space(tabemb.EmbeddingClassifier(preset="fast", dropout=0.2))
    >>> [name for name in space if name.startswith("n_")]
    ['n_bins']
    """
    cls: Any = type(estimator)
    params, defaults = estimator.get_params(deep=False), defaults_of(cls)
    if "table_rate" not in params:
        raise TypeError(
            f"tuning.space is for classifiers and regressors of rows or events; got {cls.__name__}."
        )
    preset, out = PRESETS[params["preset"]], () if "entity" in params else OF_EVENTS
    return {
        name: _distribution(values)
        for name, values in SPACE.items()
        if name in params and name not in (*preset, *out) and params[name] == defaults[name]
    }


def _distribution(values: Values) -> Any:
    distributions: Any = need("optuna.distributions", "optuna")
    if values.choices:
        return distributions.CategoricalDistribution(values.choices)
    return distributions.FloatDistribution(values.low, values.high, log=values.is_log)

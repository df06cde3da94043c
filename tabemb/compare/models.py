"""The models of the comparison by name, each with the preprocessing it deserves.

Every one takes the same frame: text, numbers, booleans, moments, missing values, categories never seen in training.
"""

from __future__ import annotations

import difflib
import hashlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline

from tabemb.compare import preparation
from tabemb.compare.preparation import Columns

# LightGBM's "tuned defaults" of Holzmueller, Grinsztajn, Steinwart 2024, arXiv 2407.04491
_TUNED = {
    "classes": {"learning_rate": 0.04, "subsample": 0.75, "num_leaves": 50, "min_child_samples": 40},
    "numbers": {"learning_rate": 0.05, "subsample": 0.7, "num_leaves": 100, "min_child_samples": 3},
}
_TUNED_BOTH = {"n_estimators": 1000, "subsample_freq": 1, "min_child_weight": 1e-7}


@dataclass(frozen=True)
class ModelSpec:
    """A model of the registry with its own settings.

    Parameters
    ----------
    name : str
        A name of `MODELS`, or `"package.module:function"` of a builder with the same arguments.
    params : mapping, optional
        Constructor arguments that differ from the model's defaults here.
    """

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The name with whatever differs from the defaults, as reports show it."""
        changed = ", ".join(f"{key}={value}" for key, value in sorted(self.params.items()))
        return f"{self.name}({changed})" if changed else self.name


@dataclass(frozen=True)
class Model:
    """How a model of the registry is built, and what its results depend on.

    Parameters
    ----------
    build : callable
        `build(task, columns, seed, n_jobs, **params)` returns an estimator.
    package : str
        The distribution whose version stands for the model's code.
    seeded : bool
        Whether its result depends on the seed; if not, one seed is enough.
    """

    build: Callable[..., BaseEstimator]
    package: str = "scikit-learn"
    seeded: bool = True


def build_model(
    spec: ModelSpec,
    task: str,
    X: pd.DataFrame,
    roles: Mapping[str, str] | None = None,
    seed: int = 0,
    n_jobs: int | None = None,
) -> BaseEstimator:
    """Build an unfitted estimator for a training frame.

    Parameters
    ----------
    spec : ModelSpec
        Which model, with which settings.
    task : {"binary", "multiclass", "regression"}
        What is predicted.
    X : DataFrame of shape (n_rows, n_columns)
        The training frame: its columns' kinds and numbers of levels decide the preprocessing.
    roles : mapping, optional
        `"categorical"` or `"number"` for columns whose dtype does not tell.
    seed : int
        Seed of everything random.
    n_jobs : int, optional
        Threads.

    Returns
    -------
    estimator
        With fit and predict, and predict_proba where classes are predicted.

    Raises
    ------
    ValueError
        If there is no such model, or it has no such parameter.
    """
    columns = preparation.sort_columns(X, roles)
    return find_model(spec.name).build(task, columns, seed, n_jobs, **dict(spec.params))


def find_model(name: str) -> Model:
    """Look a model up by name, or import its builder from `"package.module:function"`.

    Raises
    ------
    ValueError
        If there is no such model; the message lists those there are.
    """
    if ":" in name:
        return Model(pkgutil.resolve_name(name), package=name.split(".")[0].split(":")[0])
    if name not in MODELS:
        raise ValueError(
            f"model must be one of {', '.join(MODELS)}, or 'package.module:function', got {name!r}"
        )
    return MODELS[name]


def code_version(name: str) -> str:
    """Tell which code a model's results stand for: the package's version, for the net here a hash of its sources.

    Results measured with other code are not reused.
    """
    package = find_model(name).package
    if package == "tabemb":
        return f"tabemb {_own_sources()}"
    try:
        return f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return f"{package} not installed"


@cache
def _own_sources() -> str:
    root = Path(__file__).parents[1]
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(p for p in root.rglob("*.py") if "compare" not in p.relative_to(root).parts):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _construct(
    model: Callable[..., BaseEstimator], defaults: Mapping[str, Any], params: Mapping[str, Any]
) -> BaseEstimator:
    """Call a constructor; a misspelled argument is an error even where `**kwargs` would swallow it."""
    _check_params(model, params)
    return model(**{**defaults, **params})


def _check_params(model: Callable[..., Any], params: Mapping[str, Any]) -> None:
    known = [name for name in inspect.signature(model).parameters if name not in ("kwargs", "self")]
    for name in params:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else f"it takes {', '.join(known)}"
            raise ValueError(
                f"params: {getattr(model, '__name__', model)} has no parameter {name!r}; {hint}"
            )


def _embedding(
    task: str, columns: Columns, seed: int, n_jobs: int | None, **params: Any
) -> BaseEstimator:
    import tabemb

    model = tabemb.EmbeddingRegressor if task == "regression" else tabemb.EmbeddingClassifier
    return _construct(
        model, {"roles": dict(columns.roles) or None, "random_state": seed, "n_jobs": n_jobs}, params
    )


def _lightgbm(
    task: str, columns: Columns, seed: int, n_jobs: int | None, **params: Any
) -> BaseEstimator:
    return _trees_of_lightgbm(task, columns, seed, n_jobs, {}, None, params)


def _lightgbm_td(
    task: str, columns: Columns, seed: int, n_jobs: int | None, **params: Any
) -> BaseEstimator:
    tuned = _TUNED_BOTH | _TUNED["numbers" if task == "regression" else "classes"]
    return _trees_of_lightgbm(task, columns, seed, n_jobs, tuned, 100, params)


def _trees_of_lightgbm(
    task: str,
    columns: Columns,
    seed: int,
    n_jobs: int | None,
    tuned: Mapping[str, Any],
    patience: int | None,
    params: Mapping[str, Any],
) -> BaseEstimator:
    import lightgbm

    from tabemb.compare.boosting import LightGBMClassifier, LightGBMRegressor

    _check_params(lightgbm.LGBMModel, params)
    merged = {"verbose": -1, "n_jobs": n_jobs, "random_state": seed, **tuned, **params}
    return (LightGBMRegressor if task == "regression" else LightGBMClassifier)(
        columns, merged, patience, seed
    )


def _catboost(
    task: str, columns: Columns, seed: int, n_jobs: int | None, **params: Any
) -> BaseEstimator:
    import catboost

    from tabemb.compare.boosting import CatBoostClassifier, CatBoostRegressor

    _check_params(catboost.CatBoostClassifier, params)
    defaults = {
        "iterations": 2000,
        "verbose": 0,
        "thread_count": n_jobs or -1,
        "random_seed": seed,
        "allow_writing_files": False,
    }
    model = CatBoostRegressor if task == "regression" else CatBoostClassifier
    return model(columns, {**defaults, **params}, patience=100, seed=seed)


def _hist_gradient_boosting(
    task: str, columns: Columns, seed: int, n_jobs: int | None, **params: Any
) -> BaseEstimator:
    """Build scikit-learn's boosted trees: native categories up to 255 levels, out-of-fold level means above."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor if task == "regression" else HistGradientBoostingClassifier
    native = list(range(len(columns.few))) or None
    trees = _construct(model, {"categorical_features": native, "random_state": seed}, params)
    return make_pipeline(preparation.tree_inputs(columns, task, seed), trees)


def _random_forest(
    task: str, columns: Columns, seed: int, n_jobs: int | None, **params: Any
) -> BaseEstimator:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    defaults: dict[str, Any] = {"n_estimators": 200, "random_state": seed, "n_jobs": n_jobs}
    if task != "regression":
        # pure leaves would answer with probabilities of 0 and 1, which log loss punishes without end
        defaults["min_samples_leaf"] = 5
    model = RandomForestRegressor if task == "regression" else RandomForestClassifier
    return make_pipeline(
        preparation.tree_inputs(columns, task, seed), _construct(model, defaults, params)
    )


def _nearest_neighbors(
    task: str, columns: Columns, seed: int, n_jobs: int | None, **params: Any
) -> BaseEstimator:
    """Build nearest neighbours over level means; votes are calibrated, as no votes would be a probability of zero."""
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

    inputs = preparation.dense_inputs(columns, task, seed)
    # trees of rows do not pay in as many dimensions as a table has columns
    defaults = {"algorithm": "brute", "n_jobs": n_jobs}
    if task == "regression":
        return make_pipeline(
            inputs, _construct(KNeighborsRegressor, {"n_neighbors": 20, **defaults}, params)
        )
    return make_pipeline(
        inputs, _calibrated(_construct(KNeighborsClassifier, {"n_neighbors": 50, **defaults}, params))
    )


def _linear(task: str, columns: Columns, seed: int, n_jobs: int | None, **params: Any) -> BaseEstimator:
    from sklearn.linear_model import LogisticRegression, Ridge

    inputs = preparation.sparse_inputs(columns)
    if task == "regression":
        return make_pipeline(inputs, _construct(Ridge, {"random_state": seed}, params))
    return make_pipeline(
        inputs, _construct(LogisticRegression, {"max_iter": 1000, "random_state": seed}, params)
    )


def _svm(task: str, columns: Columns, seed: int, n_jobs: int | None, **params: Any) -> BaseEstimator:
    """Build a linear support vector machine on 300 features of a Gaussian kernel: time linear in the rows."""
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.kernel_approximation import Nystroem
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC, LinearSVR

    inputs = make_pipeline(
        preparation.dense_inputs(columns, task, seed), Nystroem(n_components=300, random_state=seed)
    )
    if task == "regression":
        defaults = {"loss": "squared_epsilon_insensitive", "dual": False, "random_state": seed}
        scaled = TransformedTargetRegressor(
            _construct(LinearSVR, defaults, params), transformer=StandardScaler()
        )
        return make_pipeline(inputs, scaled)
    return make_pipeline(
        inputs, _calibrated(_construct(LinearSVC, {"dual": False, "random_state": seed}, params))
    )


def _calibrated(classifier: BaseEstimator) -> BaseEstimator:
    from sklearn.calibration import CalibratedClassifierCV

    return CalibratedClassifierCV(classifier, method="sigmoid", cv=3, ensemble=False)


def _dummy(task: str, columns: Columns, seed: int, n_jobs: int | None, **params: Any) -> BaseEstimator:
    """Build the constant answer: the mean, or how common each class is."""
    from sklearn.dummy import DummyClassifier, DummyRegressor

    return _construct(DummyRegressor if task == "regression" else DummyClassifier, {}, params)


MODELS: dict[str, Model] = {
    "embedding": Model(_embedding, package="tabemb"),
    "lightgbm": Model(_lightgbm, package="lightgbm", seeded=False),
    "lightgbm_td": Model(_lightgbm_td, package="lightgbm"),
    "catboost": Model(_catboost, package="catboost"),
    "hist_gradient_boosting": Model(_hist_gradient_boosting),
    "random_forest": Model(_random_forest),
    "nearest_neighbors": Model(_nearest_neighbors),
    "linear": Model(_linear, seeded=False),
    "svm": Model(_svm),
    "dummy": Model(_dummy, seeded=False),
}

"""The models of the comparison by name, each with the preprocessing that suits it.

All of them accept the same frame: text, numbers, booleans, dates, missing values, and new rows with
categories that are not in the training rows.
"""

from __future__ import annotations

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
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline

from tabemb.compare import preparation
from tabemb.compare.hints import did_you_mean
from tabemb.compare.preparation import Columns
from tabemb.extras import need

STOPPING = "early_stopping_rounds"
"""Parameter of boosted trees: rounds without improvement on validation rows before they stop."""

# LightGBM's "tuned defaults" of Holzmueller, Grinsztajn, Steinwart 2024, arXiv 2407.04491
_TUNED = {
    "classes": {"learning_rate": 0.04, "subsample": 0.75, "num_leaves": 50, "min_child_samples": 40},
    "numbers": {"learning_rate": 0.05, "subsample": 0.7, "num_leaves": 100, "min_child_samples": 3},
}
_TUNED_BOTH = {"n_estimators": 1000, "subsample_freq": 1, "min_child_weight": 1e-7}


@dataclass(frozen=True)
class ModelSpec:
    """A model and the settings that differ from its defaults.

    Parameters
    ----------
    name : str
        A name of `MODELS`, or `"package.module:function"` of a builder with the arguments of
        `Model.build`.
    params : mapping, optional
        Constructor arguments. LightGBM and CatBoost also take `early_stopping_rounds`, with a tenth
        of the training rows as validation rows.
    """

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The name with the settings that differ from the defaults, as reports show it."""
        changed = ", ".join(f"{key}={value}" for key, value in sorted(self.params.items()))
        return f"{self.name}({changed})" if changed else self.name


@dataclass(frozen=True)
class Model:
    """A model of the registry: how it is built, and the package and seed that its results depend on.

    Parameters
    ----------
    build : callable
        `build(task, columns, seed, n_jobs, **params)` returns an estimator; `columns` is None where the
        inputs are already prepared.
    package : str
        The distribution with the model's code; its version is part of a result's identity.
    seeded : bool
        Whether its result depends on the seed; if not, one seed is enough.
    """

    build: Callable[..., BaseEstimator]
    package: str = "scikit-learn"
    seeded: bool = True


def build_model(
    spec: ModelSpec,
    task: str,
    X: pd.DataFrame | None = None,
    roles: Mapping[str, str] | None = None,
    seed: int = 0,
    n_jobs: int | None = None,
) -> BaseEstimator:
    """Build an unfitted estimator for a training frame, or for inputs that are already prepared.

    Parameters
    ----------
    spec : ModelSpec
        The model and its settings.
    task : {"binary", "multiclass", "regression"}
        The kind of the target.
    X : DataFrame of shape (n_rows, n_columns), optional
        The training frame: the kinds of its columns and their numbers of levels determine the
        preprocessing. Without it there is no preprocessing: the model takes a dense or sparse matrix,
        and boosted trees also any frame that their library accepts (pandas categoricals are native
        categories).
    roles : mapping, optional
        `"categorical"` or `"number"` for columns whose dtype does not show it.
    seed : int
        Seed of all random draws.
    n_jobs : int, optional
        Threads.

    Returns
    -------
    estimator
        With `fit` and `predict`, and `predict_proba` for classes. The `fit` of LightGBM and
        CatBoost also takes `eval_X` and `eval_y`, validation rows for early stopping.

    Raises
    ------
    ValueError
        If there is no such model, or it has no such parameter.

    Examples
    --------
    >>> import numpy as np
    >>> spec = ModelSpec("lightgbm", {"n_estimators": 9, "early_stopping_rounds": 3})
    >>> trees = build_model(spec, "binary")
    >>> X = np.arange(200.0)[:, None]
    >>> trees.fit(X, X[:, 0] > 99).predict(X[:1]).shape
    (1,)
    """
    # only the kinds of the columns are used: fit prepares the inputs from the rows it gets
    columns = None if X is None else preparation.sort_columns(X, roles)
    return find_model(spec.name).build(task, columns, seed, n_jobs, **dict(spec.params))


def find_model(name: str) -> Model:
    """Look a model up by name, or import its builder from `"package.module:function"`.

    Raises
    ------
    ValueError
        If there is no such model; the message names similar ones.
    """
    if ":" in name:
        return Model(_import_builder(name), package=name.split(".")[0].split(":")[0])
    if name not in MODELS:
        raise ValueError(
            "models must be names of tabemb.compare.MODELS or 'package.module:function'; "
            f"got {name!r} ({did_you_mean(name, MODELS, lists_all=True)})."
        )
    return MODELS[name]


def _import_builder(name: str) -> Callable[..., BaseEstimator]:
    try:
        builder: Callable[..., BaseEstimator] = pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"models: {name!r} cannot be imported ({error}).") from None
    return builder


def code_version(name: str) -> str:
    """Return the code that results depend on: the package's version, or a hash of tabemb's sources.

    Results measured with other code are not reused.
    """
    package = find_model(name).package
    # the version of a checkout does not change with its code
    if package == "tabemb":
        return f"tabemb {_sources_hash()}"
    return _with_version(package, "not installed")


def package_version(name: str) -> str:
    """Return a model's package and version to be shown; `code_version` decides about reuse."""
    package = find_model(name).package
    if package == "tabemb":
        return f"tabemb {tabemb_version()}"
    return _with_version(package, "without a version")


def _with_version(package: str, otherwise: str) -> str:
    try:
        return f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return f"{package} {otherwise}"


def tabemb_version() -> str:
    """Return the version of the running tabemb; the installed package may have another one."""
    import tabemb

    return tabemb.__version__


@cache
def _sources_hash() -> str:
    """Hash the sources that a fit can use; the comparison itself does not change predictions."""
    root = Path(__file__).parents[1]
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(root.rglob("*.py")):
        if path.relative_to(root).parts[0] not in ("compare", "__main__.py"):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _construct(
    model: Callable[..., BaseEstimator], defaults: Mapping[str, Any], params: Mapping[str, Any]
) -> BaseEstimator:
    """Call a constructor; refuse a misspelled argument even if `**kwargs` would accept it."""
    _check_params(model, params)
    return model(**{**defaults, **params})


def _check_params(model: Callable[..., Any], params: Mapping[str, Any], *more: str) -> None:
    """Refuse a parameter that is neither in the model's signature nor among `more`."""
    signature = inspect.signature(model).parameters
    known = [*(name for name in signature if name not in ("kwargs", "self")), *more]
    for name in params:
        if name not in known:
            hint = did_you_mean(name, known, "it takes", lists_all=True)
            raise ValueError(
                f"params: {getattr(model, '__name__', model)} has no parameter {name!r} ({hint})."
            )


def _pipeline(inputs: ColumnTransformer | None, *steps: BaseEstimator) -> BaseEstimator:
    """Put the preparation of a frame, if there is one, before a model."""
    return make_pipeline(*(step for step in (inputs, *steps) if step is not None))


def _embedding(
    task: str, columns: Columns | None, seed: int, n_jobs: int | None, **params: Any
) -> BaseEstimator:
    import tabemb

    model = tabemb.EmbeddingRegressor if task == "regression" else tabemb.EmbeddingClassifier
    roles = dict(columns.roles) or None if columns else None
    return _construct(model, {"roles": roles, "random_state": seed, "n_jobs": n_jobs}, params)


def _lightgbm(
    task: str, columns: Columns | None, seed: int, n_jobs: int | None, **params: Any
) -> BaseEstimator:
    import lightgbm

    from tabemb.compare.boosting import LightGBMClassifier, LightGBMRegressor

    _check_params(lightgbm.LGBMModel, params, STOPPING)
    rounds = params.pop(STOPPING, None)
    merged = {"verbose": -1, "n_jobs": n_jobs, "random_state": seed, **params}
    model = LightGBMRegressor if task == "regression" else LightGBMClassifier
    return model(columns, merged, rounds, seed)


def _lightgbm_td(
    task: str, columns: Columns | None, seed: int, n_jobs: int | None, **params: Any
) -> BaseEstimator:
    tuned = _TUNED_BOTH | _TUNED["numbers" if task == "regression" else "classes"]
    # the defaults were tuned with early stopping
    return _lightgbm(task, columns, seed, n_jobs, **{STOPPING: 100, **tuned, **params})


def _catboost(
    task: str, columns: Columns | None, seed: int, n_jobs: int | None, **params: Any
) -> BaseEstimator:
    catboost = need("catboost", "catboost")
    from tabemb.compare.boosting import CatBoostClassifier, CatBoostRegressor

    _check_params(catboost.CatBoostClassifier, params)
    rounds = params.pop(STOPPING, 100)
    defaults = {
        "iterations": 2000,
        "verbose": 0,
        "thread_count": n_jobs or -1,
        "random_seed": seed,
        "allow_writing_files": False,
    }
    model = CatBoostRegressor if task == "regression" else CatBoostClassifier
    return model(columns, {**defaults, **params}, rounds, seed)


def _hist_gradient_boosting(
    task: str, columns: Columns | None, seed: int, n_jobs: int | None, **params: Any
) -> BaseEstimator:
    """Build boosted trees: native categories up to 255 levels, out-of-fold level means above."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor if task == "regression" else HistGradientBoostingClassifier
    defaults: dict[str, Any] = {"random_state": seed}
    if columns is None:
        return _construct(model, defaults, params)
    defaults["categorical_features"] = list(range(len(columns.few))) or None
    return _pipeline(preparation.tree_inputs(columns, task, seed), _construct(model, defaults, params))


def _random_forest(
    task: str, columns: Columns | None, seed: int, n_jobs: int | None, **params: Any
) -> BaseEstimator:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    inputs = preparation.tree_inputs(columns, task, seed) if columns else None
    defaults: dict[str, Any] = {"n_estimators": 200, "random_state": seed, "n_jobs": n_jobs}
    if task != "regression":
        # pure leaves would give probabilities of 0 and 1, where the log loss is unbounded
        defaults["min_samples_leaf"] = 5
    model = RandomForestRegressor if task == "regression" else RandomForestClassifier
    return _pipeline(inputs, _construct(model, defaults, params))


def _nearest_neighbors(
    task: str, columns: Columns | None, seed: int, n_jobs: int | None, **params: Any
) -> BaseEstimator:
    """Build nearest neighbours on level means; votes are calibrated, as no vote would mean 0."""
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

    inputs = preparation.dense_inputs(columns, task, seed) if columns else None
    # tree-based search does not pay off with as many dimensions as a frame has columns
    defaults = {"algorithm": "brute", "n_jobs": n_jobs}
    if task == "regression":
        return _pipeline(
            inputs, _construct(KNeighborsRegressor, {"n_neighbors": 20, **defaults}, params)
        )
    votes = _construct(KNeighborsClassifier, {"n_neighbors": 50, **defaults}, params)
    return _pipeline(inputs, calibrated(votes))


def _linear(
    task: str, columns: Columns | None, seed: int, n_jobs: int | None, **params: Any
) -> BaseEstimator:
    from sklearn.linear_model import LogisticRegression, Ridge

    inputs = preparation.sparse_inputs(columns) if columns else None
    if task == "regression":
        return _pipeline(inputs, _construct(Ridge, {"random_state": seed}, params))
    defaults = {"max_iter": 1000, "random_state": seed}
    return _pipeline(inputs, _construct(LogisticRegression, defaults, params))


def _svm(
    task: str, columns: Columns | None, seed: int, n_jobs: int | None, **params: Any
) -> BaseEstimator:
    """Build a linear SVM on 300 features of a Gaussian kernel: its time is linear in the rows."""
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.kernel_approximation import Nystroem
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC, LinearSVR

    inputs = preparation.dense_inputs(columns, task, seed) if columns else None
    # time and memory of an exact Gaussian kernel grow with the square of the rows
    kernel = Nystroem(n_components=300, random_state=seed)
    defaults: dict[str, Any] = {"dual": False, "random_state": seed}
    if task == "regression":
        defaults["loss"] = "squared_epsilon_insensitive"
        machine = TransformedTargetRegressor(
            _construct(LinearSVR, defaults, params), transformer=StandardScaler()
        )
    else:
        machine = calibrated(_construct(LinearSVC, defaults, params))
    return _pipeline(inputs, kernel, machine)


def calibrated(classifier: BaseEstimator) -> BaseEstimator:
    """Add probabilities to a classifier: a sigmoid (Platt) of its out-of-fold scores in three folds."""
    from sklearn.calibration import CalibratedClassifierCV

    return CalibratedClassifierCV(classifier, method="sigmoid", cv=3, ensemble=False)


def _dummy(
    task: str, columns: Columns | None, seed: int, n_jobs: int | None, **params: Any
) -> BaseEstimator:
    """Build the constant prediction: the mean, or the share of each class."""
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

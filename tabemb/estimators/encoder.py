"""EmbeddingEncoder: what is known of categories as columns for any other model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from joblib import Parallel, delayed
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.metrics import pairwise_distances_argmin
from sklearn.model_selection import RepeatedKFold, RepeatedStratifiedKFold, check_cv
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_is_fitted

from tabemb.data.encoding import Encoder, to_floats
from tabemb.data.frames import beside, feature_names, is_frame, select, to_arrow
from tabemb.data.pairs import PairCodes, choose_pairs, tried_rows
from tabemb.data.schema import Schema, Table, infer_schema, near, roles_of
from tabemb.data.shrinkage import shrunken_means
from tabemb.data.vocabulary import MISSING, N_SPECIAL, Vocabulary
from tabemb.estimators.crossfit import Learned, aligned, by_agreement, learned_by
from tabemb.estimators.inputs import (
    Rows,
    align_columns,
    check_target,
    check_weights,
    frame_tags,
    remember_columns,
)
from tabemb.estimators.networks import space_of
from tabemb.estimators.rows import EmbeddingClassifier, EmbeddingRegressor
from tabemb.estimators.settings import RULES, check_choice, check_rule
from tabemb.network.tables import table_dim
from tabemb.spaces.space import EmbeddingSpace
from tabemb.targets import class_target

VECTORS = {"effects": False, "offsets": False}
"""Settings of the nets: what a category says must stand in its vector, as nothing else leaves the net."""
START = 0.01
"""Standard deviation of the start vectors of the encoder's own tables."""
LEAST_UNIT = 1e-9
"""A standard deviation below is one of rounding errors."""
MOST_CLASSES = 100
"""Whole numbers with more distinct values are not taken for classes without a word."""


class EmbeddingEncoder(TransformerMixin, BaseEstimator):
    """Turns categorical columns into numbers that any model can read: vectors learned by a net, shrunken effects.

    A net that predicts y learns a vector for each category (entity embeddings, Guo & Berkhahn 2016). One net is
    trained for each fold, without the rows of the fold, and its vectors are turned on to those of the others
    (orthogonal Procrustes, Schoenemann 1966). `fit_transform` gives each row the vectors that were learned
    without it, `transform` the mean over the folds. The new columns of a category are the principal axes of its vectors
    on which the nets agree, the one of most variance first: the others hold noise. All vectors have one unit, in which
    those of a column vary by one on average, as a standardised number does: columns that say more of y have longer
    ones. To scale each new column apart would hide that from neighbours and regularised models.

    .. note::
       ``fit_transform(X, y)`` is not ``fit(X, y).transform(X)``: with the latter the rows that taught the vectors carry
       their own answers, and the next model trusts the vectors more than it should. Pipelines call the former.

    Parameters
    ----------
    columns : sequence of str or "auto", default="auto"
        The columns to encode. "auto": those that are categorical by their type or by the roles of ``estimator``; if
        there are none, all of them. The nets read the others too, and `transform` needs the former alone.
    kind : {"vectors", "prediction", "both"}, default="vectors"
        What stands for a category: its vector (``{column}_0``, ...), the mean of the answers of its rows, pulled to the
        mean of all the more the fewer they are (``{column}_effect``; of three classes or more one for each), or both.
        No net is trained for "prediction".
    n_pairs : int, default=36
        Most pairs of columns that have an effect of their own (``{column}*{column}_effect``), with the kinds that have
        effects: those that add most to what the effects of the two columns say. 0: none.
    min_agreement : float, default=0.5
        Share of the variance along an axis that nets of different folds have in common, from 0 to 1; axes with less
        are left out, but for the first. 0 keeps all, as many as ``dim``: linear models gain some percent, trees and
        neighbours nothing, for several times as many columns.
    keep : {"others", "all", "none"}, default="others"
        Which columns of X stay, before the new ones: those that are not encoded, all, or none.
    target_type : {"auto", "continuous", "classes"}, default="auto"
        What y holds. "auto": floats that are not whole are continuous; whole numbers, text and booleans are classes.
    cv : int, splitter or iterable of (learn, held out) positions, default=3
        The folds. An int shuffles, and keeps the shares of classes. A row that is held out several times gets the mean
        of what the nets without it say.
    n_repeats : int, default=2
        How often the folds of an int are drawn anew. More nets make vectors surer: 3 for half as much time more.
    estimator : EmbeddingClassifier or EmbeddingRegressor, optional
        The net, with its settings, such as roles, shared tables, ``dim``; None: one of ``preset="fast"``. Its
        ``effects`` and ``offsets`` are turned off, so that all that a category says is in its vector.
    n_jobs : int, optional
        Folds that are learned at the same time.
    random_state : int, RandomState or None, default=None
        Of the folds and of the nets.

    Attributes
    ----------
    spaces_ : dict of table name -> EmbeddingSpace
        The vectors by category, along all axes; `transform` gives those on which the nets agree.
    agreement_ : dict of table name -> ndarray of shape (n_axes,)
        How far nets of different folds agree along each axis.
    columns_ : list of str
        The columns that are encoded.
    pairs_ : list of (str, str)
        The pairs of them that have an effect, best first.
    encoder_ : Encoder
        Their vocabularies.
    by_code_ : list of ndarray of shape (n_codes, width), float32
        What stands for each code of each column; codes 0 and 1 are unknown and missing. Those of the pairs follow.

    Examples
    --------
    >>> import pandas as pd
    >>> X = pd.DataFrame({"city": ["Bonn", "Rome", "Oslo", None] * 25, "size": range(100)})
    >>> encoder = EmbeddingEncoder(random_state=0)
    >>> features = encoder.fit_transform(X, [1.5, 2.5, 3.5, 4.5] * 25)
    >>> features.columns[:2].tolist()
    ['size', 'city_0']
    >>> encoder.inverse_transform(encoder.transform(X.head(2)))["city"].tolist()
    ['Bonn', 'Rome']
    """

    def __init__(
        self,
        *,
        columns: Sequence[str] | str = "auto",
        kind: str = "vectors",
        n_pairs: int = 36,
        min_agreement: float = 0.5,
        keep: str = "others",
        target_type: str = "auto",
        cv: Any = 3,
        n_repeats: int = 2,
        estimator: EmbeddingClassifier | EmbeddingRegressor | None = None,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.columns = columns
        self.kind = kind
        self.n_pairs = n_pairs
        self.min_agreement = min_agreement
        self.keep = keep
        self.target_type = target_type
        self.cv = cv
        self.n_repeats = n_repeats
        self.estimator = estimator
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X, y, sample_weight=None):
        """Learn what stands for each category.

        Parameters
        ----------
        X : frame or array-like of shape (n_rows, n_columns)
        y : array-like of shape (n_rows,) or (n_rows, n_targets)
        sample_weight : array-like of shape (n_rows,), optional

        Returns
        -------
        self
        """
        self._learn(X, y, sample_weight)
        return self

    def fit_transform(self, X, y, sample_weight=None):
        """Learn, and give each row of X what the rows outside its fold say of its categories.

        Parameters
        ----------
        X : frame or array-like of shape (n_rows, n_columns)
        y : array-like of shape (n_rows,) or (n_rows, n_targets)
        sample_weight : array-like of shape (n_rows,), optional

        Returns
        -------
        frame of the library of X, or ndarray for an array
            Columns as `get_feature_names_out` names them.
        """
        codes, held, by_fold = self._learn(X, y, sample_weight)
        features = np.zeros((len(codes), len(self._new_names)), np.float32)
        for rows, by_code in zip(held, by_fold):
            features[rows] += _read(by_code, codes[rows])
        times = np.bincount(np.concatenate(held), minlength=len(codes))
        return self._joined(X, features / times[:, None].astype(np.float32))

    def transform(self, X):
        """Put vectors or effects in the place of categories.

        Parameters
        ----------
        X : frame or array-like of shape (n_rows, n_columns)
            Categories that were not in the training rows get what was learned for those that a net did not know.

        Returns
        -------
        frame of the library of X, or ndarray for an array
        """
        check_is_fitted(self)
        return self._joined(X, _read(self.by_code_, self._codes(align_columns(self, X))))

    def inverse_transform(self, X):
        """The categories whose vectors lie nearest.

        Parameters
        ----------
        X : frame or array-like of shape (n_rows, n_features)
            New columns as `transform` gives them: a frame by their names, an array all of them in their order.

        Returns
        -------
        pandas.DataFrame of shape (n_rows, len(columns_))
            None where a missing value lies nearest.
        """
        check_is_fitted(self)
        features = self._features(X)
        ends = np.cumsum([own.shape[1] for own in self.by_code_])
        parts = zip(self.columns_, self._vocabularies, self.by_code_, np.split(features, ends, axis=1))
        return pd.DataFrame({name: _nearest(own, by_code, part) for name, own, by_code, part in parts})

    def get_feature_names_out(self, input_features=None) -> np.ndarray:
        """Names of the columns of `transform`: those of X that stay, then the new ones of each column encoded."""
        check_is_fitted(self)
        return np.asarray([*self.kept_columns_, *self._new_names], dtype=object)

    @property
    def spaces_(self) -> dict[str, EmbeddingSpace]:
        """The vectors of each table by category."""
        check_is_fitted(self)
        vocabularies = self.encoder_.vocabularies_
        return {
            table: space_of(table, vocabularies[table], vectors)
            for table, vectors in self.vectors_.items()
        }

    @property
    def pairs_(self) -> list[tuple[str, str]]:
        """The pairs of columns that have an effect."""
        check_is_fitted(self)
        return [(self.columns_[a], self.columns_[b]) for a, b in self.crossed_.pairs]

    # Learning

    def _learn(
        self, X: Any, y: Any, sample_weight: Any
    ) -> tuple[np.ndarray, list[np.ndarray], list[list[np.ndarray]]]:
        """Learn fold by fold: gives the rows' codes, the rows of each fold, and what the others say of each code."""
        self._check_settings()
        frame = to_arrow(X, self)
        rows = self._check_rows(frame, y, sample_weight)
        remember_columns(self, X, frame)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        net = self._net(seed)
        net.set_params(roles=self._roles(frame, net.roles))
        self._learn_vocabularies(net, rows)
        codes, folds = self.encoder_.transform(frame).codes, self._folds(rows.y, seed)
        vectors = self._learn_vectors(net, rows, folds, codes)
        codes, effects = self._learn_effects(rows, codes, folds, np.random.default_rng(seed))
        by_fold = [self._by_column(*learned) for learned in zip(vectors, effects)]
        self.by_code_ = [np.mean(own, axis=0) for own in zip(*by_fold)]
        self._remember_names(frame)
        return codes, [held for _, held in folds], by_fold

    def _check_settings(self) -> None:
        check_choice("kind", self.kind, ("vectors", "prediction", "both"))
        check_choice("keep", self.keep, ("others", "all", "none"))
        check_choice("target_type", self.target_type, ("auto", "continuous", "classes"))
        for name in ("n_repeats", "n_pairs", "min_agreement"):
            check_rule(name, getattr(self, name), RULES[name])
        if self.estimator is not None and type(self.estimator) not in (
            EmbeddingClassifier,
            EmbeddingRegressor,
        ):
            raise TypeError(
                f"estimator must be an EmbeddingClassifier, an EmbeddingRegressor or None; got {self.estimator!r:.60}."
            )

    def _check_rows(self, frame: pa.Table, y: Any, sample_weight: Any) -> Rows:
        """All rows, those of weight zero too: they teach nothing, but have an answer."""
        self.is_continuous_ = self._is_continuous(y)
        answers = check_target(y, "y", self.is_continuous_)
        check_consistent_length(np.empty(frame.num_rows), answers)
        return Rows(frame, answers, check_weights(sample_weight, frame.num_rows))

    def _is_continuous(self, y: Any) -> bool:
        if self.estimator is not None:
            return isinstance(self.estimator, EmbeddingRegressor)
        if self.target_type != "auto":
            return self.target_type == "continuous"
        values = check_target(y, "y", numeric=False)
        kind = type_of_target(values, input_name="y")
        n_distinct = len(np.unique(values)) if kind == "multiclass" and values.dtype.kind in "iuf" else 0
        if n_distinct > MOST_CLASSES:
            raise ValueError(
                f"y holds {n_distinct} different whole numbers; say whether they are classes or a quantity by "
                "target_type='classes' or target_type='continuous'."
            )
        return kind.startswith("continuous")

    def _net(self, seed: int) -> EmbeddingClassifier | EmbeddingRegressor:
        default = EmbeddingRegressor if self.is_continuous_ else EmbeddingClassifier
        net = default(preset="fast") if self.estimator is None else clone(self.estimator)
        return net.set_params(**VECTORS, random_state=seed)

    def _roles(self, frame: pa.Table, roles: Any) -> dict[str | int, str]:
        """Roles under which the columns to encode are categorical."""
        names, given = frame.schema.names, dict(roles or {})
        if not isinstance(self.columns, str):
            if not len(self.columns):
                raise ValueError("columns must name a column, or be 'auto'; got none.")
            for name in self.columns:
                if name not in names:
                    raise ValueError(
                        f"columns names {name!r}, which X does not have{near(str(name), names)}."
                    )
            return given | dict.fromkeys(self.columns, "categorical")
        check_choice("columns", self.columns, ("auto",))
        has_some = "categorical" in roles_of(frame, given).values()
        return given if has_some else dict.fromkeys(names, "categorical") | given

    def _learn_vocabularies(self, net: EmbeddingClassifier | EmbeddingRegressor, rows: Rows) -> None:
        """Vocabularies of the columns to encode, which are all that `transform` reads."""
        schema = infer_schema(rows.frame, net.roles, net.tables)
        encoded = [f for f in schema.categorical if f.part is None and self._is_encoded(f.name)]
        reads = schema.tables_of(encoded)
        roles = dict.fromkeys((f.name for f in encoded), "categorical")
        own = Schema(roles, encoded, tables={name: schema.tables[name] for name in dict.fromkeys(reads)})
        self.encoder_ = Encoder(own, n_bins=2, min_count=net.min_count).fit(rows.frame, rows.weights)
        self.columns_ = [f.name for f in encoded]

    def _is_encoded(self, name: str) -> bool:
        return isinstance(self.columns, str) or name in self.columns

    def _folds(self, y: np.ndarray, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Positions to learn from and those held out, fold by fold."""
        cv = self.cv
        if isinstance(cv, (int, np.integer)):
            even = (
                not self.is_continuous_
                and y.ndim == 1
                and np.unique(y, return_counts=True)[1].min() >= cv
            )
            repeated = RepeatedStratifiedKFold if even else RepeatedKFold
            cv = repeated(n_splits=int(cv), n_repeats=self.n_repeats, random_state=seed)
        folds = list(check_cv(cv).split(np.zeros((len(y), 1)), y))
        times = np.bincount(np.concatenate([held for _, held in folds]), minlength=len(y))
        if not times.all():
            raise ValueError(
                f"cv must hold each row out at least once; row {int(times.argmin())} never is."
            )
        for k, (learn, _) in enumerate(folds):
            if not self.is_continuous_ and y.ndim == 1 and len(np.unique(y[learn])) < 2:
                raise ValueError(
                    f"y holds only one class, {y[learn].tolist()[0]!r}, outside fold {k} of cv; take fewer folds."
                )
        return folds

    def _learn_vectors(
        self, net: EmbeddingClassifier | EmbeddingRegressor, rows: Rows, folds: list, codes: np.ndarray
    ) -> list[dict[str, np.ndarray]]:
        """Vectors by table from the rows outside each fold, all along the same axes and in one unit."""
        self.agreement_: dict[str, np.ndarray] = {}
        self.vectors_: dict[str, np.ndarray] = {}
        if self.kind == "prediction":
            return [{} for _ in folds]
        vocabularies = self.encoder_.vocabularies_
        net.set_params(tables=self._tables(net))
        learned = Parallel(self.n_jobs)(
            delayed(_learn_fold)(net, rows.take(np.asarray(learn)), vocabularies) for learn, _ in folds
        )
        turned = {}
        for name in vocabularies:
            nets = [own[name] for own in learned]
            counts = np.mean([own.counts for own in nets], axis=0)
            turned[name], self.agreement_[name] = by_agreement(aligned(nets), counts)
        means = {name: np.mean(own, axis=0) for name, own in turned.items()}
        unit = self._unit(means, codes)
        self.vectors_ = {name: mean / unit for name, mean in means.items()}
        return [{name: own[k] / unit for name, own in turned.items()} for k in range(len(folds))]

    def _unit(self, vectors: dict[str, np.ndarray], codes: np.ndarray) -> float:
        """The unit in which a column's vectors vary by one over the rows, on average over the columns.

        One unit for all columns: those that matter more to the answers keep longer vectors, so that distances between
        rows count what matters.
        """
        tables = self.encoder_.schema.table_names
        variances = [vectors[name][own].var(axis=0).sum() for name, own in zip(tables, codes.T)]
        unit = float(np.mean(variances)) ** 0.5
        return unit if unit > LEAST_UNIT else 1.0  # below it every row has the same codes

    def _tables(self, net: EmbeddingClassifier | EmbeddingRegressor) -> dict[str, Table]:
        """Tables of one width in all folds, whose vectors start near zero: what stays of a start is noise."""
        given, tables = net.tables or {}, self.encoder_.schema.tables
        own = {
            name: table if name in given else replace(table, init=START)
            for name, table in tables.items()
        }
        return {**given, **{name: self._with_width(name, table, net.dim) for name, table in own.items()}}

    def _with_width(self, name: str, table: Table, dim: int | str) -> Table:
        n_categories = len(self.encoder_.vocabularies_[name].categories)
        given = table.pretrained is not None
        return (
            table
            if given
            else replace(table, dim=table_dim(dim if table.dim is None else table.dim, n_categories))
        )

    def _learn_effects(
        self, rows: Rows, codes: np.ndarray, folds: list, generator: np.random.Generator
    ) -> tuple[np.ndarray, list[list[np.ndarray]]]:
        """Codes of columns and pairs, and by fold what the other rows say of each code, (n_codes, n_responses)."""
        if self.kind == "vectors":
            self.effect_names_: list[str] = []
            self.crossed_ = PairCodes([], [])
            return codes, [[np.zeros((size, 0)) for size in self._sizes] for _ in folds]
        responses = self._responses(rows)
        weights = np.ones(len(rows)) if rows.weights is None else rows.weights
        self._learn_pairs(codes, responses, weights, generator)
        codes = np.hstack([codes, self.crossed_(codes)])
        return codes, [
            self._effects(codes[learn], responses[learn], weights[learn]) for learn, _ in folds
        ]

    def _effects(
        self, codes: np.ndarray, responses: np.ndarray, weights: np.ndarray
    ) -> list[np.ndarray]:
        """What these rows say of each code of each column and pair."""
        return [shrunken_means(own, responses, weights, size) for own, size in zip(codes.T, self._sizes)]

    def _learn_pairs(
        self,
        codes: np.ndarray,
        responses: np.ndarray,
        weights: np.ndarray,
        generator: np.random.Generator,
    ) -> None:
        tried = tried_rows(len(codes), generator)
        mean = np.average(responses, axis=0, weights=weights)
        pairs = choose_pairs([*codes[tried].T], responses[tried] - mean, weights[tried], self.n_pairs)
        self.crossed_ = PairCodes.from_codes(codes, pairs)

    def _responses(self, rows: Rows) -> np.ndarray:
        """Answers whose means say something, (n_rows, n_responses): numbers, or indicators of classes."""
        if self.is_continuous_:
            responses = rows.y.reshape(len(rows), -1)
        else:
            target = class_target(rows.y).fit(rows.y, rows.weights)
            responses = target.responses(rows.y)
        has_labels = (
            rows.y.ndim == 1 and not self.is_continuous_ and len(target.classes_) == responses.shape[1]
        )
        labels = target.classes_ if has_labels else range(responses.shape[1])
        self.effect_names_ = (
            ["effect"] if responses.shape[1] == 1 else [f"effect_{label}" for label in labels]
        )
        return responses

    def _by_column(self, vectors: dict[str, np.ndarray], effects: list[np.ndarray]) -> list[np.ndarray]:
        """What stands for each code of each column and pair, float32 (n_codes, width)."""
        parts = [[effect] for effect in effects]
        for own, name in zip(parts, self.encoder_.schema.table_names):
            own += [vectors[name][:, self._is_agreed(name)]] if vectors else []
        return [np.hstack(own).astype(np.float32) for own in parts]

    def _is_agreed(self, table: str) -> np.ndarray:
        """Which axes of a table the new columns hold: bool (n_axes,)."""
        agreement = self.agreement_[table]
        return (agreement >= self.min_agreement) | (np.arange(len(agreement)) == 0)

    # Columns

    @property
    def _vocabularies(self) -> list[Vocabulary]:
        """The vocabulary of each column that is encoded."""
        return self.encoder_.vocabularies_of(self.encoder_.inputs_[0])

    @property
    def _sizes(self) -> list[int]:
        """Number of codes of each column and pair."""
        return [*map(len, self._vocabularies), *self.crossed_.sizes]

    def _codes(self, frame: pa.Table) -> np.ndarray:
        """Codes of the columns, then of the pairs."""
        codes = self.encoder_.transform(frame).codes
        return np.hstack([codes, self.crossed_(codes)])

    def _remember_names(self, frame: pa.Table) -> None:
        names = frame.schema.names
        others = [name for name in names if name not in self.columns_]
        self.kept_columns_ = {"others": others, "all": names, "none": []}[self.keep]
        self.kept_positions_ = [names.index(name) for name in self.kept_columns_]
        taken = set(self.kept_columns_).intersection(self._new_names)
        if taken:
            raise ValueError(
                f"X has a column {min(taken)!r}, which is the name of a new one; rename it."
            )

    @property
    def _new_names(self) -> list[str]:
        n_effects = len(self.effect_names_)
        names = [*self.columns_, *(f"{a}*{b}" for a, b in self.pairs_)]
        return [
            f"{name}_{end}"
            for name, own in zip(names, self.by_code_)
            for end in [*self.effect_names_, *range(own.shape[1] - n_effects)]
        ]

    def _joined(self, X: Any, features: np.ndarray) -> Any:
        """The columns that stay and the new ones, as a frame where X is one."""
        if is_frame(X):
            new = pa.table([pa.array(column) for column in features.T], names=self._new_names)
            return beside(select(X, self._own_names(X)), new)
        kept = np.asarray(X)[:, self.kept_positions_]
        return np.hstack([kept, features]) if self.kept_columns_ else features

    def _own_names(self, X: Any) -> list:
        """The columns that stay, as a frame calls them: one without names of text has them by position."""
        names = feature_names(X)
        if names is None:
            return [list(X.columns)[position] for position in self.kept_positions_]
        for name in self.kept_columns_:
            if name not in names:
                raise ValueError(
                    f"X lacks column {name!r}, which stays beside the new ones{near(name, names)}."
                )
        return self.kept_columns_

    def _features(self, X: Any) -> np.ndarray:
        """The new columns, (n_rows, n_features)."""
        n_features = len(self._new_names)
        if not is_frame(X):
            values = np.asarray(X, dtype=np.float64)
            if values.ndim != 2 or values.shape[1] != n_features:
                raise ValueError(
                    f"X must have {n_features} columns, the new ones; got the shape {values.shape}."
                )
            return values
        frame = to_arrow(X, self)
        for name in self._new_names:
            if name not in frame.schema.names:
                raise ValueError(f"X lacks column {name!r}{near(name, frame.schema.names)}.")
        return np.column_stack([to_floats(frame[name], name) for name in self._new_names])

    def __sklearn_tags__(self) -> Any:
        return frame_tags(super().__sklearn_tags__())


def _learn_fold(net: Any, rows: Rows, vocabularies: dict[str, Vocabulary]) -> dict[str, Learned]:
    net = clone(net).fit(rows.frame, rows.y, sample_weight=rows.weights)
    return learned_by(net, vocabularies)


def _read(by_code: list[np.ndarray], codes: np.ndarray) -> np.ndarray:
    return np.hstack([own[column] for own, column in zip(by_code, codes.T)])


def _nearest(vocabulary: Vocabulary, by_code: np.ndarray, features: np.ndarray) -> np.ndarray:
    """The category whose numbers lie nearest; None stands for the missing value where training rows had one."""
    first = MISSING if vocabulary.counts[MISSING] else N_SPECIAL
    labels = np.array([None, *vocabulary.labels()], dtype=object)[first - MISSING :]
    return labels[pairwise_distances_argmin(features, by_code[first:])]

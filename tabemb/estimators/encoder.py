"""EmbeddingEncoder: vectors and effects of categories as columns for any other model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any, ClassVar, Never, Self

import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.validation import check_is_fitted

from tabemb.data.encoding import Encoder
from tabemb.data.frames import beside, feature_names, is_frame, select, to_arrow
from tabemb.data.pairs import PairCodes
from tabemb.data.schema import ROW_ROLES, Schema, infer_schema, near, roles_of
from tabemb.data.vocabulary import Vocabulary
from tabemb.estimators.by_code import (
    Placer,
    Placing,
    column_placings,
    features_in,
    nearest_categories,
    place_values,
    read_values,
)
from tabemb.estimators.cross_fitting import (
    Fold,
    FoldEffects,
    FoldVectors,
    answers_of_rows,
    fit_effects,
    fit_vectors,
    make_folds,
    new_names,
    no_effects,
    reads_groups,
    times_held_out,
    values_by_fold,
)
from tabemb.estimators.explained import ExplainedEncoder
from tabemb.estimators.rows import EmbeddingClassifier, EmbeddingRegressor
from tabemb.fitting.checks import Columns, Rows, align_columns, check_groups, check_target, frame_tags
from tabemb.fitting.memory import memory_checked
from tabemb.fitting.networks import space_of
from tabemb.fitting.placing import with_descriptions
from tabemb.fitting.reading import reads_streams
from tabemb.fitting.settings import N_JOBS, Rule, check_parameters, one_of, real, store, whole
from tabemb.fitting.target_values import is_quantity
from tabemb.fitting.weights import check_weights
from tabemb.hints import NamesMisspelt, refuse_unknown
from tabemb.spaces.space import EmbeddingSpace
from tabemb.training.threads import threads
from tabemb.training.workers import check_alone


class EmbeddingEncoder(NamesMisspelt, ExplainedEncoder, TransformerMixin, BaseEstimator):
    """Transformer that replaces categorical columns by learned vectors, shrunken effects, or both.

    The vector of a category contains the answers of a network that predicts y. One network is trained
    for each fold, on the rows outside it. To get the answers, the category is put into a few reference
    rows, which are the same for all networks: the answers are the outputs (logits for classes) minus
    their mean over the categories, so they contain effects and interactions. `fit_transform` gives each
    row the answers of networks that were trained without it, `transform` the mean over the folds.

    The new columns are the principal axes of the answers on which the networks agree, by falling
    variance. The first one is close to the effect of the category given the other columns; a larger
    value means a larger output. All vectors have one unit, in which the vectors of a column vary by one
    on average: columns that matter more to y have longer vectors. Scaling each new column to unit
    variance would hide this from nearest neighbours and regularised models.

    .. note::
       ``fit_transform(X, y)`` differs from ``fit(X, y).transform(X)``: the latter gives a training row
       vectors that were fitted on its own target, which the next model trusts too much. Pipelines call
       ``fit_transform``.

    Parameters
    ----------
    columns : sequence of str or "auto", default="auto"
        The columns to encode. "auto": those that are categorical by type or by the roles of
        ``estimator``; if there are none, all columns. The networks also read the other columns;
        `transform` needs only the encoded columns and those that ``keep`` keeps.
    kind : {"vectors", "prediction", "both"}, default="vectors"
        The new columns. "vectors": the vector of the category (``{column}_0``, ...). "prediction": its
        effect (``{column}_effect``, or one for each class if there are three or more), the mean target
        of its rows, shrunken towards the mean of all rows, the more the fewer rows it has; no network is
        trained. "both": both. Characters that boosted trees refuse in a name become underscores.
    n_pairs : int, default=36
        Largest number of pairs of columns that get an effect (``{column}*{column}_effect``), if ``kind``
        has effects: the pairs that add most to the effects of their two columns. 0: none.
    min_agreement : float, default=0.5
        Share of the variance along an axis that the networks of different folds must have in common,
        from 0 to 1. Axes with less are left out, except the first. 0 keeps all axes, up to 32 for each
        column: several times as many columns, and worse for trees and nearest neighbours.
    keep : {"others", "all", "none"}, default="others"
        The columns of X that are kept, in front of the new ones: those not encoded, all, or none.
    target_type : {"auto", "continuous", "classes"}, default="auto"
        Kind of y. "auto": floats that are not whole are continuous; whole numbers, text and booleans are
        classes.
    cv : int, splitter or iterable of (train, test) positions, default=3
        The folds. An int means shuffled folds, stratified for classes. A row that is held out several
        times gets the mean of its out-of-fold vectors.
    n_repeats : int, default=1
        How often the folds are drawn if ``cv`` is an int. Each repeat trains ``cv`` more networks, and
        makes the vectors less noisy.
    estimator : EmbeddingClassifier or EmbeddingRegressor, optional
        The network with its settings, such as roles and shared tables. None: a network with four members
        and at most 18 pairs. Its ``max_time`` limits all folds together; with less than 15 seconds, they
        run in one process.
    n_jobs : int, optional
        Number of folds fitted at the same time.
    random_state : int, RandomState or None, default=None
        Seed of the folds and of the networks.

    Attributes
    ----------
    spaces_ : dict of table name -> EmbeddingSpace
        The vectors by category, along all axes; `transform` uses the axes on which the networks agree.
        The reliability comes from the differences between the folds.
    agreement_ : dict of table name -> ndarray of shape (n_axes,)
        How far networks of different folds agree along each axis.
    columns_ : list of str
        The columns that are encoded.
    pairs_ : list of (str, str)
        The pairs of encoded columns that have an effect, best first.
    encoder_ : Encoder
        The vocabularies of the encoded columns.
    by_code_ : list of ndarray of shape (n_codes, width), float32
        New values of each code, for each column, whose codes 0 and 1 are unknown and missing, then for
        each pair.
    placings_ : list of Placing
        The columns whose new categories get values from similar ones: ``input`` is the position of the
        column, ``share`` the weight of the similar categories, and ``gain`` the share of the variance of
        known effects that this predicts.

    Examples
    --------
    >>> import pandas as pd
    >>> X = pd.DataFrame({"city": ["Bonn", "Rome", "Oslo", None] * 10, "size": range(40)})
    >>> encoder = EmbeddingEncoder(random_state=0)
    >>> features = encoder.fit_transform(X, [1.5, 2.5, 3.5, 4.5] * 10)
    >>> features.columns[:2].tolist()
    ['size', 'city_0']
    >>> encoder.inverse_transform(encoder.transform(X.head(2)))["city"].tolist()
    ['Bonn', 'Rome']
    """

    rules: ClassVar[Mapping[str, Rule]] = {
        "kind": one_of(("vectors", "prediction", "both")),
        "n_pairs": whole(0),
        "min_agreement": real(0, 1),
        "keep": one_of(("others", "all", "none")),
        "target_type": one_of(("auto", "continuous", "classes")),
        "n_repeats": whole(1),
        "n_jobs": N_JOBS,
    }

    columns: Sequence[str] | str
    kind: str
    n_pairs: int
    min_agreement: float
    keep: str
    target_type: str
    cv: Any
    n_repeats: int
    estimator: EmbeddingClassifier | EmbeddingRegressor | None
    n_jobs: int | None
    random_state: int | np.random.RandomState | None

    encoder_: Encoder
    columns_: list[str]
    vectors_: dict[str, np.ndarray]
    agreement_: dict[str, np.ndarray]
    reliability_: dict[str, np.ndarray]
    pair_codes_: PairCodes
    effect_names_: list[str]
    by_code_: list[np.ndarray]
    placings_: list[Placing]
    kept_columns_: list[str]
    kept_positions_: list[int]

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
        n_repeats: int = 1,
        estimator: EmbeddingClassifier | EmbeddingRegressor | None = None,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        store(self, locals())

    @memory_checked
    @reads_streams
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None, **unknown: Never
    ) -> Self:
        """Fit the vectors and effects of the categories.

        A refused or interrupted call leaves the encoder as it was.

        Parameters
        ----------
        X : frame or array-like of shape (n_rows, n_columns), or a stream
            A stream, as in `EmbeddingClassifier.fit`, is read as a frame.
        y : array-like of shape (n_rows,) or (n_rows, n_targets), or str
        sample_weight : array-like of shape (n_rows,), optional
        groups : array-like of shape (n_rows,), optional
            Groups that a ``cv`` such as `GroupKFold` holds out as a whole. A pipeline passes them on
            with ``sklearn.set_config(enable_metadata_routing=True)``.

        Returns
        -------
        self
        """
        refuse_unknown(self, "fit", unknown)
        self._fit(X, y, sample_weight, groups)
        return self

    @memory_checked
    @reads_streams
    def fit_transform(
        self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None, **unknown: Never
    ) -> Any:
        """Fit, and replace the categories of each row by values that were fitted without the row.

        Parameters
        ----------
        X, y, sample_weight, groups
            As in `fit`.

        Returns
        -------
        frame of the library of X, or ndarray for an array
            Columns as `get_feature_names_out` names them.
        """
        refuse_unknown(self, "fit_transform", unknown)
        codes, folds, by_fold = self._fit(X, y, sample_weight, groups)
        features = np.zeros((len(codes), len(self._new_names)), np.float32)
        for fold, by_code in zip(folds, by_fold):
            features[fold.held_out] += read_values(by_code, codes[fold.held_out])
        times = times_held_out(folds, len(codes))
        return self._joined(X, features / times[:, None].astype(np.float32))

    @memory_checked
    def transform(self, X: Any) -> Any:
        """Replace categories by their vectors or effects.

        Parameters
        ----------
        X : frame or array-like of shape (n_rows, n_columns)
            Categories without training rows get the mean values of the ten most similar ones, by text or
            ``Table(describe=...)``, if this predicts the effects of known categories. Otherwise they get
            the values of the unknown category.

        Returns
        -------
        frame of the library of X, or ndarray for an array
        """
        check_is_fitted(self)
        frame = align_columns(self, X)
        codes = self._codes(frame)
        features = read_values(self.by_code_, codes)
        placings = getattr(self, "placings_", [])  # encoders saved by earlier versions have none
        place_values(features, self.by_code_, codes, frame, Placer(self.encoder_, placings))
        return self._joined(X, features)

    @memory_checked
    def inverse_transform(self, X: Any) -> pd.DataFrame:
        """Return the categories whose vectors are nearest.

        Parameters
        ----------
        X : frame or array-like of shape (n_rows, n_features)
            New columns as from `transform`. A frame is read by name; an array must have all of them, in
            their order.

        Returns
        -------
        pandas.DataFrame of shape (n_rows, n_encoded_columns)
            None where a missing value is nearest.
        """
        check_is_fitted(self)
        ends = np.cumsum([by_code.shape[1] for by_code in self.by_code_])
        parts = np.split(features_in(X, self._new_names, self), ends, axis=1)
        nearest = map(nearest_categories, self._vocabularies, self.by_code_, parts)
        with threads(None):  # scikit-learn computes distances in parallel
            return pd.DataFrame(dict(zip(self.columns_, nearest)))

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the columns of `transform`: the kept columns of X, then the new ones."""
        check_is_fitted(self)
        return np.asarray([*self.kept_columns_, *self._new_names], dtype=object)

    @property
    def spaces_(self) -> dict[str, EmbeddingSpace]:
        """The vectors of each table by category."""
        check_is_fitted(self)
        vocabularies, spaces = self.encoder_.vocabularies_, {}
        reliability = getattr(self, "reliability_", {})  # encoders saved by earlier versions have none
        for name, vectors in self.vectors_.items():
            codes = vocabularies[name].kept
            of_table = reliability[name][codes] if name in reliability else None
            space = space_of(name, vocabularies[name], vectors[codes], of_table)
            spaces[name] = with_descriptions(space, self.encoder_.schema.tables[name])
        return spaces

    @property
    def pairs_(self) -> list[tuple[str, str]]:
        """The pairs of columns that have an effect."""
        check_is_fitted(self)
        return [(self.columns_[a], self.columns_[b]) for a, b in self.pair_codes_.pairs]

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, groups: Any
    ) -> tuple[np.ndarray, list[Fold], list[list[np.ndarray]]]:
        """Fit, and return the rows' codes, the folds, and the new values of each code by fold."""
        check_parameters(self, self.rules)
        check_alone(self)
        self._check_estimator()
        frame = to_arrow(X, self)
        is_continuous, rows = self._check_rows(frame, y, sample_weight)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        net = self._net(frame, is_continuous, seed)
        encoder = self._fit_vocabularies(net, rows)
        codes = encoder.transform(frame).codes
        groups = check_groups(groups, len(rows))
        folds = make_folds(self.cv, self.n_repeats, rows.y, is_continuous, seed, groups)
        generator = np.random.default_rng(seed)
        placings = column_placings(encoder, codes, *answers_of_rows(rows, is_continuous), generator)
        placer = Placer(encoder, placings)
        vectors = self._fit_vectors(net, rows, folds, placer, codes)
        effects = self._fit_effects(rows, is_continuous, folds, placer, codes, seed)
        by_fold = values_by_fold(vectors, effects, encoder.schema.table_names, self.min_agreement)
        by_code = [np.mean(values, axis=0) for values in zip(*by_fold)]
        names = [feature.name for feature in encoder.schema.categorical]
        self._check_free(frame, names, new_names(names, effects.pair_codes, effects.names, by_code))
        fitted = copy(self)
        Columns.of(X, frame).remember(fitted)
        fitted.encoder_, fitted.columns_, fitted.by_code_ = encoder, names, by_code
        fitted.vectors_, fitted.agreement_ = vectors.mean, vectors.agreement
        fitted.reliability_, fitted.placings_ = vectors.reliability, placings
        fitted.pair_codes_, fitted.effect_names_ = effects.pair_codes, effects.names
        fitted.kept_columns_ = self._kept(frame, names)
        fitted.kept_positions_ = [frame.schema.names.index(name) for name in fitted.kept_columns_]
        self.__dict__ = fitted.__dict__  # in one step, so that an interrupt leaves all or nothing
        return np.hstack([codes, effects.pair_codes(codes)]), folds, by_fold

    def _check_estimator(self) -> None:
        classes = (EmbeddingClassifier, EmbeddingRegressor)
        if self.estimator is not None and type(self.estimator) not in classes:
            raise TypeError(
                "estimator must be an EmbeddingClassifier, an EmbeddingRegressor or None; "
                f"got {self.estimator!r:.60}."
            )

    def _check_rows(self, frame: pa.Table, y: Any, sample_weight: Any) -> tuple[bool, Rows]:
        """Return whether y is continuous, and all rows: rows of weight zero get values too."""
        is_continuous = self._is_continuous(y)
        target = check_target(y, "y", is_continuous)
        check_consistent_length(np.empty(frame.num_rows), target)
        return is_continuous, Rows(frame, target, check_weights(sample_weight, frame.num_rows))

    def _is_continuous(self, y: Any) -> bool:
        if self.estimator is not None:
            return isinstance(self.estimator, EmbeddingRegressor)
        if self.target_type != "auto":
            return self.target_type == "continuous"
        return is_quantity(check_target(y, "y", numeric=False))

    def _net(
        self, frame: pa.Table, is_continuous: bool, seed: int
    ) -> EmbeddingClassifier | EmbeddingRegressor:
        """Return the estimator to fit on each fold, with the columns to encode as categorical."""
        default = EmbeddingRegressor if is_continuous else EmbeddingClassifier
        net: EmbeddingClassifier | EmbeddingRegressor = (
            default(n_members=4, n_pairs=18) if self.estimator is None else clone(self.estimator)
        )
        net.set_params(random_state=seed, roles=self._roles(frame, net.roles))
        return net

    def _roles(self, frame: pa.Table, roles: Any) -> dict[str | int, str]:
        names, given = frame.schema.names, dict(roles or {})
        if isinstance(self.columns, str):
            one_of(("auto",)).check("columns", self.columns)
            roles = roles_of(frame, given)
            if "categorical" in roles.values():
                return given
            return {name: "categorical" for name in names if roles[name] not in ROW_ROLES} | given
        if not len(self.columns):
            raise ValueError("columns must name a column, or be 'auto'; got none.")
        for name in self.columns:
            if name not in names:
                raise ValueError(
                    f"columns names {name!r}, which X does not have{near(str(name), names)}."
                )
        return given | dict.fromkeys(self.columns, "categorical")

    def _fit_vocabularies(self, net: EmbeddingClassifier | EmbeddingRegressor, rows: Rows) -> Encoder:
        """Fit the vocabularies of the columns to encode; `transform` reads no other columns."""
        schema = infer_schema(rows.frame, net.roles, net.tables)
        is_encoded = (lambda name: True) if isinstance(self.columns, str) else self.columns.__contains__
        features = [f for f in schema.categorical if f.part is None and is_encoded(f.name)]
        if not features:
            raise ValueError("X has no column to encode; name some in columns, or give them roles.")
        roles = dict.fromkeys((f.name for f in features), "categorical")
        tables = {name: schema.tables[name] for name in dict.fromkeys(schema.tables_of(features))}
        encoder = Encoder(Schema(roles, features, tables=tables), n_bins=2, min_count=net.min_count)
        return encoder.fit(rows.frame, rows.weights)

    def _fit_vectors(
        self,
        net: EmbeddingClassifier | EmbeddingRegressor,
        rows: Rows,
        folds: list[Fold],
        placer: Placer,
        codes: np.ndarray,
    ) -> FoldVectors:
        if self.kind == "prediction":
            return FoldVectors([{} for _ in folds])
        return fit_vectors(net, rows, folds, placer, codes, self.n_jobs)

    def _fit_effects(
        self,
        rows: Rows,
        is_continuous: bool,
        folds: list[Fold],
        placer: Placer,
        codes: np.ndarray,
        seed: int,
    ) -> FoldEffects:
        encoder = placer.encoder
        sizes = [len(vocabulary) for vocabulary in encoder.vocabularies_of(encoder.inputs_[0])]
        if self.kind == "vectors":
            return no_effects(sizes, len(folds))
        generator = np.random.default_rng(seed)
        return fit_effects(rows, is_continuous, folds, codes, sizes, self.n_pairs, generator, placer)

    def _kept(self, frame: pa.Table, encoded: Sequence[str]) -> list[str]:
        names = frame.schema.names
        others = [name for name in names if name not in encoded]
        kept: dict[str, list[str]] = {"others": others, "all": names, "none": []}
        return kept[self.keep]

    def _check_free(self, frame: pa.Table, encoded: Sequence[str], new_names: Sequence[str]) -> None:
        taken = set(self._kept(frame, encoded)).intersection(new_names)
        if taken:
            raise ValueError(
                f"X has a column {min(taken)!r}, which is the name of a new one; rename it."
            )

    @property
    def _vocabularies(self) -> list[Vocabulary]:
        """The vocabulary of each column that is encoded."""
        return self.encoder_.vocabularies_of(self.encoder_.inputs_[0])

    @property
    def _new_names(self) -> list[str]:
        return new_names(self.columns_, self.pair_codes_, self.effect_names_, self.by_code_)

    def _codes(self, frame: pa.Table) -> np.ndarray:
        """Return the codes of the columns, then of the pairs."""
        codes = self.encoder_.transform(frame).codes
        return np.hstack([codes, self.pair_codes_(codes)])

    def _joined(self, X: Any, features: np.ndarray) -> Any:
        """Return the kept columns and the new ones, as a frame if X is one."""
        if is_frame(X):
            new = pa.table([pa.array(column) for column in features.T], names=self._new_names)
            return beside(select(X, self._kept_names(X)), new)
        kept = np.asarray(X)[:, self.kept_positions_]
        return np.hstack([kept, features]) if self.kept_columns_ else features

    def _kept_names(self, X: Any) -> list[Any]:
        """Return the kept columns by their names in a frame; by position if its names are not text."""
        names = feature_names(X)
        if names is None:
            return [list(X.columns)[position] for position in self.kept_positions_]
        for name in self.kept_columns_:
            if name not in names:
                raise ValueError(
                    f"X lacks column {name!r}, which stays beside the new ones{near(name, names)}."
                )
        return self.kept_columns_

    def get_metadata_routing(self) -> Any:
        """Return the metadata request, which contains the groups if ``cv`` reads them."""
        request = super().get_metadata_routing()
        if reads_groups(self.cv) and request.fit.requests["groups"] is None:
            request.fit.add_request(param="groups", alias=True)
        return request

    def __sklearn_tags__(self) -> Any:
        return frame_tags(super().__sklearn_tags__())

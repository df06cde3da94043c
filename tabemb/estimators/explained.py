"""Explanations of a fitted estimator: its summary, its effects, its importances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn import get_config
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from tabemb.data.encoding import Encoder
from tabemb.estimators.columns import ColumnLines, scaled_within
from tabemb.estimators.effect_levels import effects_frame, term_names
from tabemb.estimators.importances import (
    groups_of,
    pair_shares,
    permuted_importances,
    stored_importances,
)
from tabemb.estimators.memory_frame import memory_fact, memory_frame, share_hashed
from tabemb.estimators.summary import Summary
from tabemb.fitting.checks import align_columns, check_target
from tabemb.fitting.memory import memory_checked
from tabemb.fitting.networks import D_EVENT_NUMBER
from tabemb.fitting.settings import FLAG, RowSettings, whole
from tabemb.fitting.weights import check_weights
from tabemb.network.numbers import NUMBER_ENCODINGS
from tabemb.network.randomness import Building
from tabemb.spaces.collection import Spaces
from tabemb.spaces.space import EmbeddingSpace
from tabemb.targets import (
    ClassTarget,
    CountTarget,
    MultilabelTarget,
    MultioutputClassTarget,
    NumberTarget,
    RelativeTarget,
    Target,
)
from tabemb.training.threads import threads

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_NAMED = 5
"""Largest number of classes that a summary names."""
MOST_CATEGORIES = 1000
"""Most categories of a space that `summary` computes with ``spaces="auto"``."""
MOST_PAIRS = 3
"""Largest number of pairs of columns that a summary names."""
AT_LEAST_ONE = whole(1)


class Summarised:
    """Mixin of estimators with a summary, which notebooks display after the fit."""

    encoder_: Encoder
    spaces_: Any

    def summary(self, spaces: bool | str = "auto") -> Summary:
        """Return how the estimator reads its columns, and how the fit went.

        Print it, or let a notebook display it; ``summary().columns`` is a frame and ``facts`` a dict.

        Parameters
        ----------
        spaces : bool or "auto", default="auto"
            Whether to compute spaces that have not been read from ``spaces_`` yet, for their
            ``reliability`` and ``overlap``. "auto": those of up to 1,000 categories, which take about a
            second each. Notebooks use False.

        Returns
        -------
        Summary
            ``columns`` has a row for each column of X and for each field of histories: ``column``,
            ``role``, ``table`` (if its name differs from the column), ``levels`` (categories of the
            table), ``missing`` (share of the rows or events), ``width`` of the vector, ``explained``
            (share of the variance of y that the effects of the column explain, out of sample),
            ``reliability`` (of the vectors in ``spaces_``, from 0 to 1, averaged over the rows) and
            ``overlap`` (share of the five nearest categories that a model of other rows would have too).
            Values that are unknown, or meaningless for a column, are missing. If a number of events is
            scaled within a category, its table is that of its bins within the category, and the fact
            "numbers scaled" names both.

            ``memory`` has a row for each table: its ``rows`` (categories, unknown, missing and hashed
            ones), their ``bytes`` in the model (vectors, priors, categories and counts; not the index
            that looks categories up), ``bytes_training`` (with the average, the moments and the copy of
            the best epoch that training keeps), and both divided by the rows: ``bytes_a_level`` and
            ``bytes_training_a_level``. It is None for `EmbeddingEncoder`, which has no tables.
        """
        check_is_fitted(self)
        FLAG.or_("auto").check("spaces", spaces)
        sizes = {name: len(v.categories) for name, v in self.encoder_.vocabularies_.items()}
        most = MOST_CATEGORIES if spaces == "auto" else np.inf if spaces else -1
        columns = self._columns_frame(self._spaces_of([t for t, n in sizes.items() if n <= most]))
        facts, scaled = self._facts(), scaled_within(self.encoder_)
        if scaled:
            facts["numbers scaled"] = ", ".join(scaled)
        memory, hashed = self._memory(), self._hashed()
        if memory is not None and len(memory):
            facts["tables"] = memory_fact(memory)
        if hashed:
            facts["hashed"] = ", ".join(hashed)
        return Summary(type(self).__name__, facts, columns, repr(self), memory)

    def _hashed(self) -> list[str]:
        """Describe each table with hashed rows: the hashed share of its cells, and the hashed rows."""
        return [
            f"{share_hashed(vocabulary):.0%} of {name!r} in {vocabulary.n_hashed:,} rows"
            for name, vocabulary in self.encoder_.vocabularies_.items()
            if vocabulary.n_hashed
        ]

    def _memory(self) -> pd.DataFrame | None:
        """Return the memory of the tables; None without a network."""
        network = getattr(self, "network_", None)
        if network is None:
            return None
        losses = getattr(self, "learning_curve_", {}).get("eval_loss", [])
        return memory_frame(self.encoder_, network.networks, bool(np.isfinite(losses).any()))

    def _spaces_of(self, tables: Sequence[str]) -> Mapping[str, EmbeddingSpace]:
        """Return the spaces of these tables, and those that are computed already."""
        spaces: Mapping[str, EmbeddingSpace] = self.spaces_
        return spaces

    def _facts(self) -> dict[str, Any]:
        """Return the facts of the fit; None stands for an unknown one."""
        raise NotImplementedError

    def _columns_frame(self, spaces: Mapping[str, EmbeddingSpace]) -> pd.DataFrame:
        raise NotImplementedError

    def _repr_html_inner(self) -> str:
        return str(self._repr_mimebundle_()["text/html"])

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        """Return what notebooks display: scikit-learn's diagram before the fit, then the summary."""
        try:
            check_is_fitted(self)
            shows = get_config()["display"] == "diagram"
        except NotFittedError:
            shows = False
        if not shows:
            bundle: dict[str, str] = super()._repr_mimebundle_(**kwargs)  # type: ignore[misc]
            return bundle
        return {"text/plain": repr(self), "text/html": self.summary(spaces=False)._repr_html_()}


def curve_facts(estimator: Any) -> dict[str, Any]:
    """Return the facts of a learning curve: epochs, and the last or the best losses."""
    curve = estimator.learning_curve_
    facts: dict[str, Any] = {"epochs": len(curve["epoch"])}
    best = getattr(estimator, "best_epoch_", None)
    if best is None:
        return facts | {"training loss": curve["train_loss"][-1]}
    return facts | {"best epoch": best + 1, "validation loss": curve["eval_loss"][best]}


def target_fact(target: Target) -> str:
    """Return y in a few words: its classes, or the mean and spread of its numbers."""
    if isinstance(target, ClassTarget):
        named = ", ".join(map(repr, target.classes_[:MOST_NAMED].tolist()))
        more = ", …" if len(target.classes_) > MOST_NAMED else ""
        return f"{len(target.classes_):,} classes: {named}{more}"
    if isinstance(target, MultilabelTarget):
        return f"{target.n_outputs} labels"
    if isinstance(target, MultioutputClassTarget):
        return f"{len(target.targets)} targets of classes"
    assert isinstance(target, NumberTarget)
    if target.n_outputs > 1:
        return f"{target.n_outputs} numbers"
    center, scale = float(target.center[0]), float(target.scale[0])
    if isinstance(target, RelativeTarget):
        return f"a number, geometric mean {np.exp(min(center, 700)):.4g}"
    if isinstance(target, CountTarget):
        return f"a number, mean {scale:.4g}"
    return f"a number, mean {center:.4g}, standard deviation {scale:.4g}"


class ExplainedEncoder(Summarised):
    """Mixin of `EmbeddingEncoder`: its summary."""

    if TYPE_CHECKING:
        columns_: list[str]
        by_code_: list[np.ndarray]
        kept_columns_: list[str]

        @property
        def pairs_(self) -> list[tuple[str, str]]: ...
        @property
        def _new_names(self) -> list[str]: ...

    def _facts(self) -> dict[str, Any]:
        return {
            "columns": len(self.columns_),
            "pairs": len(self.pairs_),
            "new columns": len(self._new_names),
            "columns that stay": len(self.kept_columns_),
        }

    def _columns_frame(self, spaces: Mapping[str, EmbeddingSpace]) -> pd.DataFrame:
        widths = {name: values.shape[1] for name, values in zip(self.columns_, self.by_code_)}
        return ColumnLines(self.encoder_, None, None, spaces).frame(lambda table, column: widths[column])


class ExplainedRows(Summarised):
    """Mixin of the estimators of rows: summary, effects and importances.

    Attributes
    ----------
    n_rows_ : int
        Number of rows of ``fit``, without rows of weight zero. Models of tabemb 0.2 lack all three.
    fit_seconds_ : float
    missing_shares_ : dict of column -> float
        Share of the training rows that lack a value; for a field, share of the events; for a history,
        share of the rows without events.
    """

    if TYPE_CHECKING:
        effects_: Any
        target_: Target
        source_: Any
        network_: Any
        n_features_in_: int
        n_jobs: int | None
        _numeric_target: ClassVar[bool]
        _raw_outputs: Any
        n_rows_: int
        fit_seconds_: float
        missing_shares_: dict[str, float]

    def _spaces_of(self, tables: Sequence[str]) -> Mapping[str, EmbeddingSpace]:
        spaces: Spaces = self.spaces_
        return spaces.computed | {table: spaces[table] for table in tables if table in spaces}

    def _facts(self) -> dict[str, Any]:
        facts = {"rows": getattr(self, "n_rows_", None), "y": target_fact(self.target_)}
        facts |= curve_facts(self) | {"seconds": getattr(self, "fit_seconds_", None)}
        if self.effects_ is not None and any(len(term) > 1 for term in self.effects_.terms_):
            facts["pairs beyond their columns"] = self._pairs_fact()
        return facts

    def _pairs_fact(self) -> str | None:
        """Return the pairs of columns that explain most beyond the effects of their two columns."""
        if not hasattr(self.effects_, "gains_"):
            return None
        names = term_names(self.encoder_, self.effects_)
        shares = {names[t]: share for t, share in pair_shares(self.effects_).items()}
        most = sorted(shares, key=lambda name: -shares[name])
        more = ", …" if len(most) > MOST_PAIRS else ""
        return ", ".join(f"{name} {100 * shares[name]:.1f} %" for name in most[:MOST_PAIRS]) + more

    def _columns_frame(self, spaces: Mapping[str, EmbeddingSpace]) -> pd.DataFrame:
        settings, network = RowSettings.of(self), self.network_.networks[0]
        missing = getattr(self, "missing_shares_", None)
        lines = ColumnLines(self.encoder_, missing, self.effects_, spaces)
        return lines.frame(
            lambda table, column: table_width(self.encoder_, network, table),
            partial(number_width, self.encoder_, settings.numbers, settings.d_number),
            lambda i: network.histories[i].dim,
        )

    def effects_frame(self, term: str | None = None) -> pd.DataFrame:
        """Return the effect of each level of a column or combination of columns, with a standard error.

        The effect of a level with n rows is their mean target minus the mean of all rows, multiplied by
        n / (n + strength), as if ``strength`` rows at the mean of all rows were added. ``error`` is the
        standard deviation of its normal error, if the levels are drawn from one distribution: 95 % of
        the intervals effect +- 1.96 * error contain the effect that very many rows would show. With m
        more rows, the squared error is multiplied by (n + strength) / (n + strength + m).

        Parameters
        ----------
        term : str, optional
            A column, or a combination such as "city*product". None: all that have effects. The levels of
            a text column are its words; those of "review*review" are its pairs of neighbouring words.

        Returns
        -------
        DataFrame
            Columns ``term``, ``level`` and ``level_2`` (of the second column of a pair; ``level_3`` and
            ``level_4`` if terms have more), ``target`` and ``class`` if y has several (only the second
            of two classes; of many classes, the 16 whose shares vary most), ``count`` and ``mean`` (of
            weighted rows, the sum of weights and the weighted mean), ``effect``, ``error`` and
            ``strength``. A level is a category as it was passed, an interval of numbers, None for
            missing values, or "(rare)" for categories below ``min_count``.
            ``attrs["unit"]`` is the unit of mean, effect and error: "y", "log(y)" with
            ``loss="absolute_percentage_error"``, or "share" of the rows that have the class.

        Raises
        ------
        ValueError
            The model was fitted with ``effects=False``, or the term has no effects.
        """
        check_is_fitted(self)
        if self.effects_ is None:
            raise ValueError("effects_frame needs a model with effects; this one has effects=False.")
        return effects_frame(self.encoder_, self.effects_, self.target_, term)

    @property
    def feature_importances_(self) -> np.ndarray:
        """The share of each column in the variance of y that effects explain; the shares sum to one.

        It is known from the fit and needs no rows. A column counts the variance that its effects explain
        out of sample, and an equal part of the variance that each of its combinations explains beyond
        its columns. Each column is measured alone, so two redundant columns both count in full;
        `importances` measures how the network uses the columns. Models with histories, texts or vectors,
        which have no such effects, or with ``effects=False`` lack this attribute.
        """
        check_is_fitted(self)
        schema = self.encoder_.schema
        if schema.histories or schema.vectors:
            raise AttributeError(
                "feature_importances_ come from effects of columns, which vectors, texts and histories "
                "do not have; call importances(X, y)."
            )
        if not hasattr(self.effects_, "gains_"):
            raise AttributeError(
                "feature_importances_ come from effects as tabemb 0.3 fits them, which this model does "
                "not have; call importances(X, y)."
            )
        shares = stored_importances(self.encoder_, self.effects_)
        return np.array([shares.get(name, 0.0) for name in self._column_names()])

    def _column_names(self) -> list[str]:
        names = getattr(self, "feature_names_in_", None)
        return [f"x{i}" for i in range(self.n_features_in_)] if names is None else list(names)

    @memory_checked
    def importances(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        groups: Mapping[str, Sequence[str]] | None = None,
        n_repeats: int = 5,
        random_state: int | np.random.RandomState | None = 0,
    ) -> pd.DataFrame:
        """Return how much worse the model predicts rows when a column is permuted (Breiman 2001).

        Do not pass training rows: the model knows more about them than about new rows. All rows are
        predicted once for each column and repeat; a sample of some thousand rows is enough. A column of
        histories is one column. Redundant columns replace one another, so each seems unimportant:
        permute them together, as a group. In event estimators, entity and time are always one group:
        permuting it gives each event the earlier events of another one.

        Parameters
        ----------
        X : frame or array-like of shape (n_rows, n_columns)
        y : array-like of shape (n_rows,) or (n_rows, n_targets)
        sample_weight : array-like of shape (n_rows,), optional
        groups : dict of name -> list of columns, optional
            Columns to permute together; every other column is permuted alone.
        n_repeats : int, default=5
            Permutations of each column.
        random_state : int, RandomState or None, default=0
            Seed of the permutations.

        Returns
        -------
        DataFrame
            Columns ``column`` (or group), ``importance`` and ``deviation``: mean and standard deviation,
            over the repeats, of the increase of the loss that ``fit`` minimises; largest first.
            ``attrs["loss"]`` is the loss without permutation.
        """
        check_is_fitted(self)
        AT_LEAST_ONE.check("n_repeats", n_repeats)
        frame, answers = align_columns(self, X), check_target(y, "y", self._numeric_target)
        check_consistent_length(np.empty(frame.num_rows), answers)
        weights = check_weights(sample_weight, frame.num_rows)

        def loss(rows: pa.Table) -> float:
            outputs = self._raw_outputs(rows)
            losses = self.target_.loss(outputs, encoded.to(outputs.device))[:, 0]
            return float(np.average(losses.double().numpy(force=True), weights=weights))

        keys = [name for name in self.source_.keys if name in frame.schema.names]
        permuted = groups_of(frame, self.encoder_, keys, groups)
        seed = int(check_random_state(random_state).randint(2**31 - 1))
        with threads(self.n_jobs):
            encoded = _encoded(self.target_, answers)
            generator = np.random.default_rng(seed)
            return permuted_importances(frame, permuted, loss, int(n_repeats), generator)

    def plot_importances(
        self, importances: pd.DataFrame | None = None, ax: Axes | None = None, *, most: int = 20
    ) -> Axes:
        """Draw the importances of the columns as bars.

        Parameters
        ----------
        importances : DataFrame, optional
            From `importances`, with their deviations; ``feature_importances_`` when None.
        ax : matplotlib Axes, optional
            A new figure when None.
        most : int, default=20
            Largest number of bars; the title says how many columns are left out.

        Returns
        -------
        matplotlib Axes
        """
        check_is_fitted(self)
        AT_LEAST_ONE.check("most", most)
        from tabemb.estimators.plots import draw_importances  # matplotlib is optional

        if importances is None:
            shares = {"column": self._column_names(), "importance": self.feature_importances_}
            importances = pd.DataFrame(shares)
            label = "share of the variance that effects explain"
        elif not {"column", "importance"} <= set(getattr(importances, "columns", ())):
            raise ValueError(
                "importances must be a frame that importances(X, y) returned, or None; got "
                f"{importances!r:.60}."
            )
        else:
            label = "rise of the loss when permuted"
        return draw_importances(importances, label, most, ax)


def _encoded(target: Target, y: np.ndarray) -> Tensor:
    try:
        return target.encode(y)
    except ValueError as error:
        reason = str(error).replace("eval_y", "y of importances").replace("which y ", "which y of fit ")
        raise ValueError(f"y must hold classes that fit saw: {reason.removesuffix('.')}.") from error


def table_width(encoder: Encoder, network: Any, table: str) -> int:
    """Return the width of the vectors of a table in one network."""
    return int(network.tables.vectors(list(encoder.schema.tables).index(table)).shape[1])


def number_width(encoder: Encoder, numbers: str, d_number: int, part: int, i: int) -> int:
    """Return the width of the encoding of one number of the rows (part 0) or of a history's events."""
    width = D_EVENT_NUMBER if part else d_number
    edges = encoder.inputs_[part].scales[i].edges
    with Building():  # the encoding draws initial weights
        return int(NUMBER_ENCODINGS[numbers]([edges], width).dim)

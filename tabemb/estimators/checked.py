"""The method `check`: whether later rows are still like the training rows."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.utils.validation import check_is_fitted

from tabemb.data.clustering import Clustering
from tabemb.data.effects import Effects
from tabemb.data.notes import InputNote
from tabemb.data.vocabulary import UNKNOWN
from tabemb.drift.profiles import Profile
from tabemb.drift.report import ALARM, DriftReport, drift_lines
from tabemb.drift.shifts import expected_unseen
from tabemb.drift.vectors import VectorProfile
from tabemb.estimators.moved_frames import compare_answers, moved_frames
from tabemb.estimators.unseen import UnseenCells, collected
from tabemb.fitting.checks import align_columns, check_rows
from tabemb.fitting.profiles import row_weights, shifts_of
from tabemb.network.inputs import RowInputs
from tabemb.training.threads import threads

MIN_ROWS = 20
"""Fewest rows of a prediction that warns of unseen categories."""
MANY_UNSEEN = 0.2
"""A prediction warns if the share of unseen categories is above the expected share by more than this."""


class LaterRows(NamedTuple):
    """Later rows as the user passed them and as the network reads them, and their targets if known."""

    frame: pa.Table
    inputs: RowInputs
    y: np.ndarray | None


class CheckedRows:
    """Mixin of the estimators of rows: `check`, and the profiles of the training rows.

    Attributes
    ----------
    profiles_ : dict of input -> Profile
        Distribution of the values of each input over the training rows. Models of tabemb 0.2 have none.
    vector_profiles_ : dict of column -> VectorProfile
        The same for columns of vectors.
    clustering_ : Clustering or None
        How similar the targets of one entity are, if rows are events.
    """

    if TYPE_CHECKING:
        _fitted: Any
        encoder_: Any
        effects_: Effects | None
        target_: Any
        source_: Any
        n_jobs: int | None
        n_rows_: int
        _numeric_target: ClassVar[bool]
        profiles_: dict[str, Profile]
        vector_profiles_: dict[str, VectorProfile]
        clustering_: Clustering | None

    def check(self, X: Any, y: Any = None) -> DriftReport:
        """Compare rows with the training rows: unseen and missing values, shifts, moved effects.

        If nothing has changed, one of twenty samples of rows has drift in its report: differences count
        only beyond what chance explains, over all inputs together. Rows must be independent, so the
        events of a log are counted by entity.

        Parameters
        ----------
        X : frame or array-like of shape (n_rows, n_columns)
            Later rows; for an estimator of events, later events.
        y : array-like of shape (n_rows,) or (n_rows, n_targets), optional
            Their targets. If passed, the report also lists the effects that have moved. The more alike
            the targets of one entity of a log are, the less they count.

        Returns
        -------
        DriftReport
            Print it, or use ``has_drift``, ``verdict``, ``columns``, ``answers``, ``effects`` and
            ``plot()``.

        Raises
        ------
        ValueError
            A column is invalid, there are no rows, or y is passed to a model without effects.

        Examples
        --------
        >>> import numpy as np, pandas as pd
        >>> from tabemb import EmbeddingClassifier
        >>> rng = np.random.default_rng(0)
        >>> X = pd.DataFrame({"city": rng.choice(["Oslo", "Rome", "Bonn"], 500)})
        >>> y = (X["city"] == "Rome") & (rng.random(500) < 0.8)
        >>> model = EmbeddingClassifier(max_epochs=2, random_state=0).fit(X[:300], y[:300])
        >>> model.check(X[300:]).verdict
        'No drift: 200 rows against 300 training rows, 1 inputs.'
        >>> model.check(X[300:].replace("Bonn", "Cairo")).verdict
        "Drift in 1 of 1 inputs: 'city' (large: unseen, shift) (200 rows against 300 training rows)."
        """
        check_is_fitted(self)
        profiles = self._known_profiles()
        fitted = self._fitted
        frame = align_columns(self, X)
        y = None if y is None else self._known_answers(X, y)
        with threads(self.n_jobs):
            later = self._later(frame, y)
            groups = fitted.source.groups(later.frame)
            weights = row_weights(None, groups, frame.num_rows)
            of_vectors = getattr(self, "vector_profiles_", {})  # earlier files have none
            shifts = shifts_of(profiles, fitted.encoder, later.inputs, weights, of_vectors)
            alarm = ALARM if y is None else ALARM / 2
            columns = drift_lines(shifts, alarm)
            answers, moved = self._moved(later, groups, alarm) if y is not None else (None, None)
        return DriftReport(frame.num_rows, self.n_rows_, columns, answers, moved)

    def _known_answers(self, X: Any, y: Any) -> np.ndarray:
        """Return the later targets; raise ValueError if they cannot be compared."""
        if self.effects_ is None:
            raise ValueError("y needs a model with effects; this one has effects=False.")
        if self.source_.keys and getattr(self, "clustering_", None) is None:
            raise ValueError(
                "y must be None for a model of events that an earlier version has saved, as it has not "
                "noted how alike the answers of one entity are; fit the model again."
            )
        return check_rows(X, y, None, numeric=self._numeric_target, estimator=self).y

    def _later(self, frame: pa.Table, y: np.ndarray | None) -> LaterRows:
        """Return later rows as the network reads them; events with targets are read as sequences."""
        source = self.source_
        if y is None or not source.keys:
            return LaterRows(frame, source.encode_new(self.encoder_, frame), y)
        events, y, _ = source.after_kept(frame, y, self.target_)
        return LaterRows(events, source.encode_sequences(self.encoder_, events), y)

    def _weights_of(self, frame: pa.Table) -> np.ndarray:
        """Return weights of rows that sum to the number of independent rows."""
        return row_weights(None, self._fitted.source.groups(frame), frame.num_rows)

    def _known_profiles(self) -> dict[str, Profile]:
        if not hasattr(self, "profiles_"):
            raise ValueError(
                "check needs the profiles of the training rows, which files of tabemb 0.2 lack; fit the "
                "model again."
            )
        return self.profiles_

    def _moved(
        self, later: LaterRows, groups: np.ndarray | None, alarm: float
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return the mean targets before and now, and the levels whose effects have moved."""
        assert self.effects_ is not None
        try:
            responses = self.target_.responses(later.y)
        except ValueError as error:
            reason = str(error).removesuffix(".")
            raise ValueError(f"y must hold answers like those of fit: {reason}.") from error
        codes, numbers = (p.numpy(force=True) for p in (later.inputs.codes, later.inputs.numbers))
        rows = codes, numbers, responses
        clustering = getattr(self, "clustering_", None)
        compared = compare_answers(self.effects_, self.n_rows_, *rows, clustering, groups)
        return moved_frames(self.encoder_, self.effects_, self.target_, compared, alarm)

    def _warn_of_unseen(self, inputs: RowInputs, frame: pa.Table) -> None:
        """Warn of many unseen categories; only count them if the rows are a part of a larger input."""
        cells = collected()
        is_unseen = (inputs.codes == UNKNOWN).numpy(force=True)
        if cells is not None:
            cells.add(is_unseen, self._weights_of(frame))
        elif len(is_unseen) >= MIN_ROWS and is_unseen.any():
            cells = UnseenCells()
            cells.add(is_unseen, self._weights_of(frame))
            self.note_unseen(cells, stacklevel=5)

    def note_unseen(self, cells: UnseenCells, stacklevel: int = 3) -> None:
        """Warn if far more categories are unseen than is expected from the training rows.

        Parameters
        ----------
        cells : UnseenCells
        stacklevel : int
            Number of calls between the line of the user and the warning.
        """
        if cells.n_rows < MIN_ROWS or not hasattr(self, "profiles_"):
            return
        many = []
        features = self.encoder_.inputs_[0].schema.categorical
        for feature, share in zip(features, cells.shares):
            profile = self.profiles_.get(feature.name)
            if profile is None or not profile.has_values:
                continue
            expected = expected_unseen(profile)
            if share > expected + MANY_UNSEEN:
                many.append(f"{feature.name!r} ({share:.0%} unseen, {expected:.0%} expected)")
        if many:
            warnings.warn(
                f"X has many categories that training did not have, in {', '.join(many[:5])}; "
                "check(X) says what else differs.",
                InputNote,
                stacklevel=stacklevel,
            )

"""The report of `check`: how later rows differ from the training rows, as text, frames and a plot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tabemb.drift.shifts import Shift, holm

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ALARM = 0.05
"""Probability of any alarm if nothing has changed, over all inputs and answers together."""
SIZES = ("small", "moderate", "large")
PSI_BOUNDS = (0.1, 0.25)
"""Bounds between small, moderate and large shifts of a distribution, from credit scoring."""
SHARE_BOUNDS = (0.05, 0.2)
"""Bounds between small, moderate and large increases of shares: unseen, missing, outside."""
N_SHOWN = 20
NUMBERS = [field for field in Shift._fields if field != "p_values"]
SHARES = {"unseen", "expected_unseen", "missing", "missing_before", "outside"}
TITLES = {
    "column": "column",
    "unseen": "unseen",
    "expected_unseen": "expected",
    "missing": "missing",
    "missing_before": "before",
    "outside": "outside",
    "psi": "PSI",
    "drift": "drift",
}


@dataclass(frozen=True, repr=False)
class DriftReport:
    """How rows differ from the training rows; print it, display it in a notebook, or use its frames.

    Parameters
    ----------
    n_rows, n_training_rows : int
    columns : DataFrame
        One line per input, the largest drift first: ``column``; ``unseen`` and ``expected_unseen``, the
        share of rows whose category was not in training, and the share that was to be expected;
        ``missing`` and ``missing_before``; ``outside``, the share below the smallest or above the
        largest training number; ``psi``, ``psi_low`` and ``psi_high``, the population stability index
        with a 95 % interval; ``distance``, the mean distance of the quantiles in interquartile ranges;
        ``p_value``, corrected for the number of tests (Holm 1979); ``kinds``, the kinds of difference;
        ``drift``, their size: "", "small", "moderate" or "large".
    answers : DataFrame, optional
        The mean of y in training and in the rows, for each class or target; None without y.
    effects : DataFrame, optional
        The levels whose mean answer has moved, as in `effects_frame`, with ``count_now``, ``mean_now``
        and ``p_value``. The change of the mean of all rows is left out.
    """

    n_rows: int
    n_training_rows: int
    columns: pd.DataFrame
    answers: pd.DataFrame | None = None
    effects: pd.DataFrame | None = None

    @property
    def has_drift(self) -> bool:
        """Whether anything differs by more than chance."""
        return bool((self.columns["drift"] != "").any()) or self.n_moved > 0 or self._mean_moved

    @property
    def n_moved(self) -> int:
        """Number of levels whose mean answer has moved."""
        return 0 if self.effects is None else len(self.effects)

    @property
    def _mean_moved(self) -> bool:
        return self.answers is not None and bool(self.answers["moved"].any())

    @property
    def verdict(self) -> str:
        """One sentence on whether anything has changed, and what changed most."""
        compared = f"{self.n_rows:,} rows against {self.n_training_rows:,} training rows"
        drifted = self.columns[self.columns["drift"] != ""]
        parts = []
        if len(drifted):
            first = drifted.head(3).itertuples()
            named = [f"{row.column!r} ({row.drift}: {row.kinds})" for row in first]
            rest = f" and {len(drifted) - 3} more" if len(drifted) > 3 else ""
            of = f"{len(drifted)} of {len(self.columns)} inputs"
            parts.append(f"drift in {of}: {', '.join(named)}{rest}")
        if self._mean_moved:
            parts.append("the mean of y has moved")
        if self.effects is not None and self.n_moved:
            by_term = self.effects["term"].value_counts().head(3)
            listed = ", ".join(f"{name!r} ({n})" for name, n in by_term.items())
            parts.append(f"the effects of {self.n_moved} levels have moved: {listed}")
        if not parts:
            return f"No drift: {compared}, {len(self.columns)} inputs."
        text = "; ".join(parts)
        return f"{text[0].upper()}{text[1:]} ({compared})."

    def __str__(self) -> str:
        shown = self.columns.head(N_SHOWN)
        lines = [self.verdict, "", *_as_text(shown).to_string(index=False).splitlines()]
        if len(self.columns) > N_SHOWN:
            lines.append(f"... and {len(self.columns) - N_SHOWN} more inputs, see .columns")
        for title, frame in (("y", self.answers), ("moved levels", self.effects)):
            if frame is not None and len(frame):
                text = frame.head(N_SHOWN).to_string(index=False, float_format="{:.4g}".format)
                rest = f", {N_SHOWN} of {len(frame)}" if len(frame) > N_SHOWN else ""
                lines += ["", f"{title}{rest}:", *text.splitlines()]
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        parts = [f"<p>{escape(self.verdict)}</p>", _as_text(self.columns).to_html(index=False, border=0)]
        for title, frame in (("y", self.answers), ("moved levels", self.effects)):
            if frame is not None and len(frame):
                shown = frame.head(N_SHOWN)
                table = shown.to_html(index=False, border=0, float_format="{:.4g}".format)
                rest = f": {len(shown)} of {len(frame)}" if len(shown) < len(frame) else ""
                parts += [f"<p>{title}{rest}</p>", table]
        return "".join(parts)

    def plot(self, ax: Axes | None = None, most: int = N_SHOWN) -> Axes:
        """Draw the population stability index of the inputs, with intervals.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            A new figure when None.
        most : int, default=20
            Largest number of inputs; those with the largest drift are drawn.

        Returns
        -------
        matplotlib Axes
        """
        from tabemb.drift.plot import draw_drift  # matplotlib is optional and slow to import

        return draw_drift(self.columns, PSI_BOUNDS, most, ax)


def _as_text(columns: pd.DataFrame) -> pd.DataFrame:
    """Return the columns for display, as text."""

    def text(name: str, value: Any) -> str:
        if isinstance(value, float):
            if np.isnan(value):
                return ""
            return f"{100 * value:.1f} %" if name in SHARES else f"{value:.3f}"
        return str(value)

    frame = pd.DataFrame({TITLES[n]: [text(n, v) for v in columns[n]] for n in TITLES})
    sizes = zip(columns["drift"], columns["kinds"])
    frame["drift"] = [f"{size} ({kinds})" if size else "-" for size, kinds in sizes]
    return frame


def drift_lines(shifts: Mapping[str, Shift], alarm: float) -> pd.DataFrame:
    """Return one line per input, the largest drift first.

    Parameters
    ----------
    shifts : mapping of name -> Shift
    alarm : float
        Probability of any alarm over all inputs, if nothing has changed.
    """
    tests = [(name, kind, p) for name, shift in shifts.items() for kind, p in shift.p_values.items()]
    corrected = holm(np.array([p for *_, p in tests]))
    by_test = {(name, kind): p for (name, kind, _), p in zip(tests, corrected)}
    lines = []
    for name, shift in shifts.items():
        p_values = {kind: by_test[name, kind] for kind in shift.p_values}
        kinds = [kind for kind, p in p_values.items() if p < alarm]
        line = {"column": name, **{field: getattr(shift, field) for field in NUMBERS}}
        line["p_value"] = min(p_values.values())
        line["kinds"], line["drift"] = ", ".join(kinds), _size(shift, kinds)
        lines.append(line)
    columns = ["column", *NUMBERS, "p_value", "kinds", "drift"]
    frame = pd.DataFrame(lines, columns=columns)
    rank = frame["drift"].map(("", *SIZES).index)
    order = np.lexsort([-frame["psi"].fillna(0), frame["p_value"], -rank])
    return frame.iloc[order].reset_index(drop=True)


def _size(shift: Shift, kinds: list[str]) -> str:
    """Return the size of the largest difference."""
    measured = {
        "unseen": (shift.unseen - shift.expected_unseen, SHARE_BOUNDS),
        "missing": (abs(shift.missing - shift.missing_before), SHARE_BOUNDS),
        "outside": (shift.outside, SHARE_BOUNDS),
        "shift": (shift.psi, PSI_BOUNDS),
    }
    ranks = [np.searchsorted(bounds, value) for value, bounds in (measured[kind] for kind in kinds)]
    return SIZES[max(ranks)] if ranks else ""

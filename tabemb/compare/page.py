"""The results as one HTML page that needs no network, and as HTML for a notebook."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from string import Template
from typing import TYPE_CHECKING, Any

import pandas as pd

from tabemb.compare.metrics import OTHER_METRICS
from tabemb.compare.statistics import RankTest, paired_differences, rank_test
from tabemb.compare.table import GAINS, choose_reference, describe, formatted_rows, headers
from tabemb.extras import need

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CLASSES = {"better": "better", "worse": "worse", "no difference": "none", "failed": "failed"}
_MEASUREMENTS = {
    "fit_seconds": "fit s",
    "fit_cpu_seconds": "fit CPU s",
    "predict_seconds": "predict s",
    "fit_memory_mib": "MiB",
    "runs": "folds x seeds",
}
_NOTE = (
    "Errors: smaller is better. Brackets hold {confidence:.0%} intervals: over folds with the variance "
    "of Nadeau and Bengio (2003), over test rows (as if drawn independently) where there is one fold. "
    "Each interval stands for itself; none is widened for the number of models. Gains are in percent "
    "of the other model's error, above zero where the reference is better. Seconds and MiB are medians "
    "over fits; memory is the peak above the start of the fit."
)
# the colours must be readable on light and on dark notebooks
_NOTEBOOK_STYLE = (
    ".tabemb .wide { overflow-x: auto; } .tabemb td { white-space: nowrap; }"
    " .tabemb td, .tabemb th { text-align: right; padding: .2em .6em; }"
    " .tabemb td:first-child, .tabemb th:first-child, .tabemb td.text { text-align: left; }"
    " .tabemb tr.best td:first-child, .tabemb tr.best td.main { font-weight: bold; }"
    " .tabemb .better { color: #1f9d5c; } .tabemb .worse, .tabemb .failed { color: #d4503e; }"
)


def render_html(
    results: pd.DataFrame,
    reference: str | None = None,
    title: str = "Comparison",
    config: str = "",
    sections: Sequence[tuple[str, str]] = (),
    confidence: float = 0.95,
) -> str:
    """Render one self-contained page of verdicts, tables, figures and the configuration.

    Parameters
    ----------
    results : DataFrame
        Cells as returned by `run`; several data sets may be stacked.
    reference : str, optional
        The model that the others are compared with; the embedding net by default.
    title : str
        Heading of the page.
    config : str
        The resolved configuration, shown at the end.
    sections : sequence of (str, str)
        Further sections, each a heading and HTML, shown after the data sets; see `figure_html` for
        figures.
    confidence : float
        Coverage of the intervals.

    Returns
    -------
    str

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    reference = choose_reference(results, reference)
    parts = [
        _dataset_section(cells, reference, confidence)
        for _, cells in results.groupby("dataset", sort=False)
    ]
    ranks = rank_test(results)
    parts += [_rank_section(ranks, reference)] if ranks is not None else []
    parts += [f"<h2>{escape(heading)}</h2>\n{html}" for heading, html in sections]
    parts += [f"<h2>How to read this</h2><p class='note'>{_NOTE.format(confidence=confidence)}</p>"]
    parts += [f"<h2>Configuration</h2><pre>{escape(config)}</pre>"] if config else []
    page = resources.files("tabemb.compare").joinpath("page.html").read_text(encoding="utf-8")
    return Template(page).substitute(title=escape(title), body="\n".join(parts))


def notebook_html(results: pd.DataFrame, reference: str, confidence: float = 0.95) -> str:
    """Render the table and the verdicts of one data set for a notebook; it needs no matplotlib.

    Parameters are as in `render_html`.

    Returns
    -------
    str
    """
    table = _score_table(results, reference, confidence)
    differences = paired_differences(results, reference, confidence)
    return (
        f"<div class='tabemb'><style>{_NOTEBOOK_STYLE}</style><p>{escape(describe(results))}</p>"
        f"{table}<p>{escape(GAINS.capitalize())}.</p>{_verdict_list(differences)}</div>"
    )


def figure_html(figure: Figure, caption: str = "") -> str:
    """Turn a figure into HTML that holds its data.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    caption : str
        Text below it, also read aloud in its place.

    Returns
    -------
    str
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg")
    data = base64.b64encode(buffer.getvalue()).decode()
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return (
        f'<figure><img alt="{escape(caption)}" src="data:image/svg+xml;base64,{data}">{below}</figure>'
    )


def _dataset_section(cells: pd.DataFrame, reference: str, confidence: float) -> str:
    parts = [f"<h2>{escape(str(cells['dataset'].iloc[0]))}</h2>", _facts(cells), _input_notes(cells)]
    differences = paired_differences(cells, reference, confidence)
    parts += ["<h3>Verdicts</h3>", _verdict_list(differences)] if len(differences) else []
    parts += ["<h3>Scores</h3>", _score_table(cells, reference, confidence)]
    return "\n".join([*parts, *_figures(cells, reference, confidence)])


def _figures(cells: pd.DataFrame, reference: str, confidence: float) -> list[str]:
    need("matplotlib", "compare")
    need("matplotlib.figure", "compare")  # lists the fonts
    from tabemb.compare import figures

    parts = []
    if (cells["status"] == "ok").any():
        scores = figures.plot_scores(cells, reference, confidence)
        scale = "Errors with their intervals; an arrow stands for an error beyond the scale."
        parts += [figure_html(scores, scale), "<h3>Time against error</h3>"]
        parts += [figure_html(figures.plot_time(cells, reference), "Down and to the left is better.")]
    curves = figures.plot_curves(cells)
    if curves is not None:
        parts += ["<h3>Learning curves</h3>", figure_html(curves, "Loss by epoch, a line for each fit.")]
    return parts


def _facts(cells: pd.DataFrame) -> str:
    first, codes = cells.iloc[0], cells.groupby("model", sort=False)["code"].first()
    counts = f"{first['n_train']:,} training and {first['n_test']:,} test rows in fold {first['fold']}"
    folds, seeds, threads = (_listed(cells[name]) for name in ("fold", "seed", "n_jobs"))
    facts = {
        "target": f"{first['target']} ({first['task']}), error {first['metric']}",
        "rows": f"{counts}, {first['n_columns']} columns",
        "protocol": f"{first['protocol']}; folds {folds}; seeds {seeds}; threads {threads}",
        "data": f"fingerprint {first['fingerprint']}",
        "models": ", ".join(f"{model} ({code})" for model, code in zip(codes.index, codes)),
    }
    items = (f"<dt>{key}</dt><dd>{escape(value)}</dd>" for key, value in facts.items())
    return f"<dl>{''.join(items)}</dl>"


def _input_notes(cells: pd.DataFrame) -> str:
    """Return how doubtful inputs were read, as a list; empty where nothing was in doubt."""
    # results of tabemb 0.2 have no notes
    texts = "\n".join(cells["notes"].dropna()) if "notes" in cells else ""
    notes = dict.fromkeys(note for note in texts.split("\n") if note)
    items = "".join(f"<li>{escape(note[:1].upper() + note[1:])}</li>" for note in notes)
    return f"<h3>How the inputs were read</h3><ul>{items}</ul>" if items else ""


def _listed(values: pd.Series) -> str:
    return ", ".join(str(value) for value in sorted(values.unique()))


def _verdict_list(differences: pd.DataFrame) -> str:
    items = (
        f"<li class='{_CLASSES[row['outcome']]}'>{escape(row['verdict'])}</li>"
        for row in differences.to_dict("records")
    )
    return f"<ul class='verdicts'>{''.join(items)}</ul>"


def _score_table(cells: pd.DataFrame, reference: str, confidence: float) -> str:
    first = cells.iloc[0]
    others = OTHER_METRICS[first["task"]]
    names = ("model", *headers(first["metric"], reference, confidence), *others, *_MEASUREMENTS.values())
    keys = ("mean", "interval", "against", *others, *_MEASUREMENTS)
    rows = formatted_rows(cells, reference, confidence)
    return _table(names, "".join(_table_row(row, keys, row["model"] == reference) for row in rows))


def _table(names: Sequence[str], body: str) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    return f"<div class='wide'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _table_row(row: Mapping[str, Any], keys: Sequence[str], is_reference: bool) -> str:
    name = f"<td>{escape(row['model'])}</td>"
    if row["failed"]:
        error = f"<td class='text' colspan='{len(keys)}'>failed: {escape(row['failed'])}</td>"
        return f"<tr class='failed'>{name}{error}</tr>"
    classes = {"mean": "main", "against": _CLASSES[row["outcome"]]}
    values = "".join(f"<td class='{classes.get(key, '')}'>{escape(row[key])}</td>" for key in keys)
    return f"<tr class='{'best ' * row['best']}{'reference' * is_reference}'>{name}{values}</tr>"


def _rank_section(ranks: RankTest, reference: str) -> str:
    models = list(ranks.ranks.index)
    p_values = ranks.pairwise[reference].to_dict() if reference in models else {}
    names = ("model", "mean rank", *([f"p against {reference}"] if p_values else []))
    body = ""
    for model in models:
        p_value = "" if model == reference or not p_values else f"{p_values[model]:.3f}"
        cells = [f"<td>{text}</td>" for text in (escape(model), f"{ranks.ranks[model]:.2f}", p_value)]
        body += f"<tr>{''.join(cells[: len(names)])}</tr>"
    test = "Friedman's test over all, Nemenyi's for each pair"
    if len(models) == 2:
        test = "Wilcoxon's signed-rank test"
    folds = " Folds of one data set share training rows: small p-values say less there."
    note = f"<p class='note'>p-values: {test}.{folds if ranks.block == 'fold' else ''}</p>"
    return f"<h2>Ranks</h2><p>{escape(ranks.sentence)}</p>{_table(names, body)}{note}"

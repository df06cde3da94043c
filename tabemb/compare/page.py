"""The results as one HTML page that needs no network, and as HTML for a notebook."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib import resources
from string import Template
from typing import TYPE_CHECKING, Any

import pandas as pd

from tabemb.compare.html_tables import Cell, Row, bullets, html_table
from tabemb.compare.metrics import OTHER_METRICS
from tabemb.compare.statistics import RankTest, paired_differences, rank_test
from tabemb.compare.table import GAINS, choose_reference, describe, formatted_rows, headers
from tabemb.extras import need

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CLASSES = {"better": "better", "worse": "worse", "no difference": "none", "failed": "failed"}
_TIMES = {
    "fit_seconds": "fit, s",
    "fit_cpu_seconds": "fit, CPU s",
    "predict_seconds": "predict, s",
    "fit_memory_mib": "memory, MiB",
    "runs": "folds x seeds",
}
_HOW_TO_READ = (
    "Every error is of test rows, which no model was fitted on; smaller is better.",
    "Units: {units}",
    "Brackets hold {confidence:.0%} intervals.",
    "With several folds they are those of the mean over folds, wider by the variance of Nadeau and "
    "Bengio (2003), as the training rows of folds overlap.",
    "With one fold they are those of the mean over test rows, as if these were drawn independently.",
    "Each interval stands for itself; none is widened for the number of models.",
    "Gains are in percent of the other model's error, above zero where the reference is better.",
    "Seconds and MiB are medians over fits; memory is the peak above the start of the fit.",
)
_UNITS = {
    "regression": "rmse and mae have the unit of the target, mse its square; mape is a share of the "
    "target, and r2 the share of its variance that is explained (1 is best).",
    "classes": "log_loss is minus the mean logarithm of the probability of the true class; roc_auc and "
    "accuracy are shares (1 is best).",
}
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
    need("matplotlib", "compare")
    need("matplotlib.figure", "compare")  # its import lists the fonts
    reference = choose_reference(results, reference)
    parts = [
        _dataset_section(cells, reference, confidence, f"d{number}")
        for number, (_, cells) in enumerate(results.groupby("dataset", sort=False))
    ]
    ranks = rank_test(results)
    parts += [_rank_section(ranks, reference)] if ranks is not None else []
    parts += [f"<h2>{escape(heading)}</h2>\n{html}" for heading, html in sections]
    parts += [f"<h2>How to read this</h2>{bullets(_how_to_read(results, confidence))}"]
    parts += [f"<h2>Configuration</h2><pre>{escape(config)}</pre>"] if config else []
    page = resources.files("tabemb.compare").joinpath("page.html").read_text(encoding="utf-8")
    return Template(page).substitute(title=escape(title), body="\n".join(parts))


def _how_to_read(results: pd.DataFrame, confidence: float) -> Iterator[str]:
    kinds = {"regression" if task == "regression" else "classes" for task in results["task"]}
    units = " ".join(text for kind, text in _UNITS.items() if kind in kinds)
    for sentence in _HOW_TO_READ:
        yield sentence.format(confidence=confidence, units=units)


def notebook_html(results: pd.DataFrame, reference: str, confidence: float = 0.95) -> str:
    """Render the table and the verdicts of one data set for a notebook; it needs no matplotlib.

    Parameters are as in `render_html`.

    Returns
    -------
    str
    """
    table = _notebook_table(results, reference, confidence)
    differences = paired_differences(results, reference, confidence)
    return (
        f"<div class='tabemb'><style>{_NOTEBOOK_STYLE}</style><p>{escape(describe(results))}</p>"
        f"{table}<p>{escape(GAINS.capitalize())}.</p>{_verdict_list(differences)}</div>"
    )


def figure_html(figure: Figure, caption: str = "") -> str:
    """Turn a figure into HTML that needs no other file.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    caption : str
        Text below it, which screen readers read instead of it.

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


def _dataset_section(cells: pd.DataFrame, reference: str, confidence: float, name: str) -> str:
    from tabemb.compare import sections

    differences = paired_differences(cells, reference, confidence)
    parts = [f"<h2>{escape(str(cells['dataset'].iloc[0]))}</h2>", _facts(cells)]
    parts += ["<h3>Verdicts</h3>", _verdict_list(differences)] if len(differences) else []
    parts += ["<h3>Errors</h3>", _error_table(cells, reference, confidence)]
    parts += _figures(cells, reference, confidence, name)
    parts += [
        sections.rarity_section(cells, reference, name),
        sections.importance_section(cells),
        sections.calibration_section(cells, reference, name),
        sections.curve_section(cells, name),
        sections.column_section(cells),
        sections.input_notes(cells),
    ]
    return "\n".join(parts)


def _figures(cells: pd.DataFrame, reference: str, confidence: float, name: str) -> list[str]:
    from tabemb.compare.figures import plot_scores, plot_time
    from tabemb.compare.themes import page_figure

    if not (cells["status"] == "ok").any():
        return []
    scores = page_figure(
        lambda width: plot_scores(cells, reference, confidence, width),
        f"{name}-scores",
        "Errors with their intervals; an arrow stands for an error beyond the scale.",
    )
    times = page_figure(
        lambda width: plot_time(cells, reference, width),
        f"{name}-time",
        "Seconds of a fit against the error: down and to the left is better.",
    )
    return [scores, "<h3>Time against error</h3>", times, _time_table(cells, reference, confidence)]


def _facts(cells: pd.DataFrame) -> str:
    first = cells.iloc[0]
    counts = f"{first['n_train']:,} training and {first['n_test']:,} test rows in fold {first['fold']}"
    folds, seeds, threads = (_listed(cells[name]) for name in ("fold", "seed", "n_jobs"))
    facts = {
        "target": f"{first['target']} ({first['task']}), error {first['metric']}",
        "rows": f"{counts}, {first['n_columns']} columns",
        "protocol": f"{first['protocol']}; folds {folds}; seeds {seeds}; threads {threads}",
        "versions": ", ".join(dict.fromkeys(_versions(cells).values())),
    }
    items = (f"<dt>{key}</dt><dd>{escape(value)}</dd>" for key, value in facts.items())
    return f"<dl>{''.join(items)}</dl>"


def _versions(cells: pd.DataFrame) -> dict[str, str]:
    """Return the package of each model with its version; older cells have a hash instead."""
    first = cells.groupby("model", sort=False)
    codes = first["code"].first()
    packages = codes.where(~codes.str.startswith("tabemb "), "tabemb")
    versions = first["version"].first().dropna() if "version" in cells else pd.Series(dtype=object)
    return packages.to_dict() | versions.to_dict()


def _listed(values: pd.Series) -> str:
    return ", ".join(str(value) for value in sorted(values.unique()))


def _error_table(cells: pd.DataFrame, reference: str, confidence: float) -> str:
    first = cells.iloc[0]
    others = OTHER_METRICS[first["task"]]
    names = ["model", *headers(first["metric"], reference, confidence), *others]
    keys = ("mean", "interval", "against", *others)
    rows = formatted_rows(cells, reference, confidence)
    return html_table(names, [_model_row(row, keys, reference) for row in rows])


def _time_table(cells: pd.DataFrame, reference: str, confidence: float) -> str:
    versions = _versions(cells)
    finished = [row for row in formatted_rows(cells, reference, confidence) if not row["failed"]]
    keys = (*_TIMES, "version")
    rows = [_model_row({**row, "version": versions[row["model"]]}, keys, reference) for row in finished]
    return html_table(["model", *_TIMES.values(), "version"], rows)


def _model_row(row: Mapping[str, Any], keys: Sequence[str], reference: str) -> Row:
    if row["failed"]:
        return Row(
            row["model"], [Cell(f"failed: {row['failed']}", "text", n_columns=len(keys))], "failed"
        )
    kinds = {"mean": "main", "against": _CLASSES[row["outcome"]]}
    kind = f"{'best ' * row['best']}{'reference' * (row['model'] == reference)}"
    return Row(row["model"], [Cell(row[key], kinds.get(key, "")) for key in keys], kind)


def _verdict_list(differences: pd.DataFrame) -> str:
    # a failed reference is mentioned once, not for each model
    sentences = {row["verdict"]: row["outcome"] for row in differences.to_dict("records")}
    items = (f"<li class='{_CLASSES[kind]}'>{escape(text)}</li>" for text, kind in sentences.items())
    return f"<ul class='verdicts'>{''.join(items)}</ul>"


def _notebook_table(cells: pd.DataFrame, reference: str, confidence: float) -> str:
    first = cells.iloc[0]
    others = OTHER_METRICS[first["task"]]
    names = ("model", *headers(first["metric"], reference, confidence), *others, *_TIMES.values())
    keys = ("mean", "interval", "against", *others, *_TIMES)
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
    names = ["model", "mean rank", *([f"p against {reference}"] if p_values else [])]
    rows = []
    for model in models:
        p_value = "" if model == reference or not p_values else f"{p_values[model]:.3f}"
        rows.append(Row(model, [Cell(f"{ranks.ranks[model]:.2f}"), Cell(p_value)][: len(names) - 1]))
    test = "Friedman's test over all, Nemenyi's for each pair"
    if len(models) == 2:
        test = "Wilcoxon's signed-rank test"
    folds = " Folds of one data set share training rows: small p-values say less there."
    note = f"<p class='note'>p-values: {test}.{folds if ranks.block == 'fold' else ''}</p>"
    return f"<h2>Ranks</h2><p>{escape(ranks.sentence)}</p>{html_table(names, rows)}{note}"

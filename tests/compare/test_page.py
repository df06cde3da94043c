"""The page of a comparison: its content, its layout at three widths, and pages for old cells."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest

import tabemb
from tabemb.compare import Protocol, compare, details, render_html, run
from tabemb.compare.figures import plot_curves
from tabemb.compare.themes import SERIES, VARIABLES, page_figure

NEW_COLUMNS = ["version", "columns", "rarity", "calibration", "importances"]
LONG = "embedding(learning_rate=0.003, max_epochs=40, n_members=4, preset=quality)"
CURVE = {
    "epoch": [0, 1, 2, 3],
    "train_loss": [90.0, 1.2, 1.1, 1.0],
    "eval_loss": [80.0, 1.3, 1.2, 1.25],
    "best_epoch": 2,
    "loss": "squared error, of y's variance",
}


@pytest.fixture(scope="module")
def wide_results(tmp_path_factory):
    """Two folds of four models, one of which failed, on a table of 28 columns with long names."""
    rng = np.random.default_rng(0)
    n = 400
    X = pd.DataFrame({f"a_column_with_a_long_name_{i}": rng.normal(size=n) for i in range(26)})
    X["shop"] = [f"s{i}" for i in rng.zipf(1.5, n) % 90]
    X["a" * 60] = rng.choice(["x", "y"], n)
    y = 1e5 * (3 + X["a_column_with_a_long_name_0"] + (X["shop"] == "s1"))
    dataset = tabemb.compare.dataset_from_frame(X.assign(y=y), "y", "table")
    options = {"isolate": False, "progress": False, "n_jobs": 1}
    models = ["linear", "lightgbm", "dummy"]
    folder = tmp_path_factory.mktemp("cells")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(details, "MAX_REPEATS", 1)
        cells = run(dataset, models, Protocol("kfold", folds=2), folder, **options)
    lost = dict.fromkeys(("rmse", "rarity", "importances", "calibration", "learning_curve"))
    error = "ValueError: column 'shop' must hold no 'x'" + " and no more" * 20 + "."
    gone = cells[cells["model"] == "dummy"].assign(model="gone", status="failed", error=error, **lost)
    cells.loc[cells["model"] == "lightgbm", "learning_curve"] = json.dumps(CURVE)
    cells["model"] = cells["model"].replace("lightgbm", LONG)
    return pd.concat([cells, gone.astype(cells.dtypes)], ignore_index=True)


def table_of(page, heading):
    """Return the rows of the first table below a heading, as lists of texts."""
    html = page.split(f"<h3>{heading}</h3>")[1].split("<h3>")[0]
    rows = re.findall("<tr[^>]*>(.*?)</tr>", html.split("</table>")[0])
    return [re.findall(r"<t[dh][^>]*>(?:<span>)?(.*?)(?:</span>.*?)?</t[dh]>", row) for row in rows]


def test_sections_hold_what_the_cells_say(undrawn, wide_results):
    page = render_html(wide_results, "linear")
    versions = re.search("<dt>versions</dt><dd>(.*?)</dd>", page)[1]
    assert f"tabemb {tabemb.__version__}" not in versions  # no model is from tabemb
    assert re.fullmatch(r"(scikit-learn|lightgbm) [\d.]+, (scikit-learn|lightgbm) [\d.]+", versions)
    assert wide_results["fingerprint"].iloc[0] not in page
    names, *rows = table_of(page, "Which columns the models need")
    assert names == ["column", "linear", LONG, "dummy"]
    assert rows[0][0] == "a_column_with_a_long_name_0"
    assert page.count("columns that matter less") == 1
    names, *rows = table_of(page, "Error by rarest category")
    assert [row[0] for row in rows] == ["linear", LONG, "dummy"]
    counts = [int(re.search(r"\((\d+) rows\)", name)[1]) for name in names[1:]]
    assert sum(counts) == 400
    names, *rows = table_of(page, "Calibration")
    assert names == ["model", "mean gap", "gap by chance alone"]
    assert page.count("All 28 columns") == 1
    assert "<h3>How to read" not in page
    assert "All errors" not in page
    assert page.count("must hold no") == 2  # the verdict and the table


def test_numbers_have_four_significant_digits(undrawn, wide_results):
    page = render_html(wide_results, "linear")
    for heading in ("Which columns the models need", "Error by rarest category", "Calibration"):
        _, *rows = table_of(page, heading)
        for text in (text for row in rows for text in row[1:] if text not in ("0", "")):
            digits = text.replace(",", "").lstrip("-").split("e")[0].replace(".", "").lstrip("0")
            assert len(digits.rstrip("0")) <= 4 <= max(len(digits), 4)


@pytest.mark.slow
def test_cells_of_earlier_versions_still_make_a_page(wide_results):
    old = wide_results.drop(columns=NEW_COLUMNS)
    old = old.assign(
        code=["tabemb 3f2a9c" if m == LONG else c for m, c in zip(old["model"], old["code"])]
    )
    page = render_html(old, "linear")
    headings = re.findall("<h3>(.*?)</h3>", page)
    assert headings == ["Verdicts", "Errors", "Time against error", "Learning curves"]
    assert "3f2a9c" not in page
    # a folder may contain both
    both = pd.concat([old.assign(model=old["model"] + " old"), wide_results], ignore_index=True)
    page = render_html(both, "linear")
    assert "tabemb, " in re.search("<dt>versions</dt><dd>(.*?)</dd>", page)[1] + ", "
    assert "Calibration" in re.findall("<h3>(.*?)</h3>", page)


def test_a_curve_marks_the_kept_epoch_on_a_readable_scale(wide_results):
    (axes,) = plot_curves(wide_results, width=4).axes
    assert axes.get_ylabel() == "squared error, of y's variance"
    low, high = axes.get_ylim()
    # the first epoch, with losses of 80 and 90, would flatten all others
    assert 0.5 < low < 1.0
    assert 1.3 < high < 2
    kept = [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 2]
    assert kept == [3, 3]
    without = {key: value for key, value in CURVE.items() if key not in ("best_epoch", "loss")}
    old = wide_results.assign(
        learning_curve=[json.dumps(without) if text else "" for text in wide_results["learning_curve"]]
    )
    (axes,) = plot_curves(old).axes
    assert [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 2] == [3, 3]


def test_the_class_whose_probability_is_shown_is_named(undrawn, binary, tmp_path):
    cells = run(binary, ["dummy"], Protocol(), tmp_path, isolate=False, progress=False, n_jobs=1)
    assert "sorted by the probability of y = yes and cut into tenths" in render_html(cells)
    assert "the probability of the second class" in render_html(cells.drop(columns="columns"))


def test_the_net_stores_its_kept_epoch_and_its_loss(undrawn, shops, small):
    X, y = shops
    spec = tabemb.compare.ModelSpec("embedding", {**small, "max_epochs": 2, "n_jobs": 1})
    spec = tabemb.compare.ModelSpec(
        "embedding", {k: v for k, v in spec.params.items() if k[0] not in "rn"}
    )
    found = compare(X.assign(y=y).head(300), "y", spec, isolate=False, progress=False, n_jobs=1)
    curve = json.loads(found.cells["learning_curve"].item())
    assert (curve["best_epoch"], curve["loss"]) == (1, "squared error, of y's variance")
    assert found.cells["version"].item() == f"tabemb {tabemb.__version__}"
    assert f"tabemb {tabemb.__version__}" in render_html(found.cells)


def test_figures_take_the_colours_of_the_page():
    from matplotlib.figure import Figure

    def draw(width):
        figure = Figure(figsize=(width, 3))
        axes = figure.subplots()
        axes.plot([1, 2], color=SERIES[0], label="a & b")
        axes.set_title("bold", weight="bold")
        return figure

    html = page_figure(draw, "first", "A & B")
    assert html.count("<svg") == 2
    for colour in VARIABLES:
        assert colour not in html
    assert "stroke: var(--series-0)" in html
    assert "#ffffff" not in html  # transparent
    assert "DejaVu" not in html
    assert "xmlns" not in html
    assert html.count('aria-label="A &amp; B"') == 2
    ids = re.findall(r'\bid="(.*?)"', html)
    assert all(name.startswith("first-on-") for name in ids)
    assert set(re.findall(r'(?:href="#|url\(#)(.*?)["\)]', html)) <= set(ids)
    assert page_figure(draw, "first", "A & B") == html


CUT = """() => [...document.querySelectorAll("main *")].filter(e => {
  if (e.closest("svg") && e.tagName !== "text") return false;
  const box = e.getBoundingClientRect();
  if (!box.width) return false;
  const svg = e.closest("svg"), frame = svg ? svg.getBoundingClientRect() : {left: 0, right: innerWidth};
  const wide = e instanceof HTMLElement && e.clientWidth && e.scrollWidth > e.clientWidth + 1;
  return wide || box.left < frame.left - 2 || box.right > frame.right + 2;
}).map(e => e.tagName + ": " + e.textContent.slice(0, 60))"""


WIDTHS = """() => [...document.querySelectorAll("figure")].map(f => [
  f.clientWidth, ...[...f.querySelectorAll("svg")].map(s => s.getBoundingClientRect().width)])"""
LETTERS = """() => [...document.querySelectorAll("svg text")].map(t => {
  const svg = t.ownerSVGElement;
  const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
  return parseFloat(getComputedStyle(t).fontSize) * scale; })"""


@pytest.fixture(scope="module")
def wide_page(wide_results, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(render_html(wide_results, "linear", config="key: " + "value" * 90), encoding="utf-8")
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_at_any_width(wide_page, browser, scheme):
    path = wide_page
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    requests, faults = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: faults.append(message.text))
    for width in (1400, 1000, 390):
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(path.as_uri())
        page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(CUT) == []
        # figures are as wide as the text, and one of each pair is shown
        sizes = page.evaluate(WIDTHS)
        assert len(sizes) == 5
        for full, *drawings in sizes:
            assert sorted(drawings) == pytest.approx([0, full], abs=1)
        # letters are readable: 9 pixels or more
        heights = page.evaluate(LETTERS)
        assert min(h for h in heights if h) > 9
    assert set(requests) == {path.as_uri()}
    assert faults == []
    ink = page.evaluate("getComputedStyle(document.querySelector('figcaption')).color")
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    lightness = [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in (ink, paper)]
    assert (lightness[0] > lightness[1]) == (scheme == "dark")
    assert page.evaluate("getComputedStyle(document.querySelector('figure svg')).filter") == "none"
    context.close()

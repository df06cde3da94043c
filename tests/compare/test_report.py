from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser

import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from rich.console import Console

from tabemb import InputNote
from tabemb.compare import (
    Dataset,
    Protocol,
    compare,
    details,
    figure_html,
    print_report,
    render_html,
    run,
    verdicts,
    write_report,
)
from tabemb.compare.figures import draw_time, plot_curves
from tabemb.compare.table import choose_reference, decimals, plain_table, score_table
from tests.compare.conftest import planted_frame

PROTOCOL = Protocol("kfold", folds=3)


@pytest.fixture(scope="module")
def cells_of_three_models(tmp_path_factory):
    frame, signal = planted_frame()
    planted = Dataset("planted", frame, pd.Series(signal), "regression", {"shop": "categorical"})
    models, folder = ["lightgbm", "linear", "dummy"], tmp_path_factory.mktemp("cells")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(details, "MAX_REPEATS", 1)
        return run(planted, models, PROTOCOL, folder, isolate=False, progress=False, n_jobs=1)


@pytest.fixture
def results(cells_of_three_models):
    cells = cells_of_three_models.copy()
    gone = cells[cells["model"] == "dummy"].assign(
        model="gone", status="failed", error="ValueError: <no>", rmse=None
    )
    curves = '{"epoch": [0, 1, 2], "train_loss": [3, 2, 1], "eval_loss": [3, 2.5, 2.7]}'
    cells.loc[cells["model"] == "lightgbm", "learning_curve"] = curves
    return pd.concat([cells, gone.astype(cells.dtypes)], ignore_index=True)


def test_the_terminal_shows_scores_losses_and_failures(results):
    console = Console(record=True, width=160, file=io.StringIO())
    print_report(results, reference="dummy", console=console)
    text = console.export_text()
    assert re.search(r"linear \* +│ +\d+\.\d+ │ +\[-?\d+\.\d+, \d+\.\d+\] │ +-\d+", text)
    assert "dummy is worse than lightgbm by" in text
    assert text.count("gone failed on planted in all of 3 fits: ValueError: <no>.") == 1
    assert re.search(r"gone +│ failed", text)
    assert "Mean ranks over 3 folds" in text
    assert "Without gone: not finished everywhere." in text


@pytest.mark.parametrize("width", [140, 100, 80, 50])
def test_the_table_fits_its_width_and_cuts_nothing(results, width):
    long = "embedding(max_epochs=40, n_members=4)"
    results = results.assign(model=results["model"].replace("lightgbm", long))
    console = Console(record=True, width=width, file=io.StringIO())
    console.print(score_table(results, long, width=width))
    text = console.export_text()
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    assert "…" not in text
    head = next(line for line in lines if "┃ model" in line)
    full = score_table(results, long)
    whole = {
        str(column.header): [str(column.header), *map(str, column.cells)] for column in full.columns
    }
    names = [name.strip() for name in head.split("┃")[1:-1]]
    left_out = re.findall(r"without (.*)", " ".join(lines[-4:]))
    omitted = [name.strip() for name in re.sub(" +", " ", left_out[0]).split(",")] if left_out else []
    assert sorted([*names, *omitted]) == sorted(whole)
    # the least important columns are dropped first, and no more than necessary
    order = ["predict s", "folds x seeds", "MiB", "CPU s", "fit s", "95% interval"]
    assert set(omitted) == set(order[: len(omitted)])
    if omitted:
        widest = max(len(cell) for cell in whole[order[len(omitted) - 1]])
        assert len(head.rstrip()) + widest + 3 > width
    # every model has its full name, on one line if the width allows
    column = "".join(line.split("│")[1].strip() for line in lines if line.startswith("│"))
    for model in set(results["model"]):
        assert model.replace(" ", "") in column.replace(" ", "")
    plain = plain_table(results, long, width=width)
    if width > 50:
        table = [
            line
            for line in plain.splitlines()
            if line.split("  ")[0] in ("model", long, "dummy", "linear *")
        ]
        assert len(table) == 4
        assert max(map(len, table)) <= width


def test_a_reference_that_failed_is_said_once(undrawn, results):
    told = verdicts(results, "gone")
    assert told == ["gone failed on planted in all of 3 fits: ValueError: <no>."]
    page = render_html(results, "gone")
    assert re.search("<ul class='verdicts'>(.*?)</ul>", page)[1].count("<li") == 1
    # a failed model is the reference only on request
    net = results.assign(model=results["model"].replace("gone", "embedding"))
    assert choose_reference(net) == "lightgbm"
    assert choose_reference(net, "embedding") == "embedding"


def test_the_page_is_self_contained_and_tells_everything(results):
    picture = Figure()
    picture.subplots().plot([1, 2])
    page = render_html(
        results, "linear", "A & B", "dataset: {}\n", [("Map", figure_html(picture, "a map"))]
    )
    HTMLParser().feed(page)
    outside = re.sub(r"data:image/svg\+xml;base64,[A-Za-z0-9+/=]+", "", page)
    assert not re.search(r"https?://|<script|<link|@import|url\((?!#)|href=\"(?!#)", outside)
    assert "<title>A &amp; B</title>" in page
    for verdict in verdicts(results, "linear"):
        assert verdict.replace("<no>", "&lt;no&gt;") in page
    assert "failed: ValueError: &lt;no&gt;" in page
    assert page.count("data:image/svg+xml;base64,") == 1  # the caller's figure
    # each figure is drawn for wide and for narrow windows
    assert page.count("<svg") == 2 * len(re.findall("<figcaption>", page)) - 2 == 10
    assert all(
        heading in page
        for heading in (
            "Verdicts",
            "Learning curves",
            "Ranks",
            "<h2>Map</h2>",
            "dataset: {}",
            "Calibration",
        )
    )
    assert "prefers-color-scheme: dark" in page
    svg = re.search(r"base64,([A-Za-z0-9+/=]+)", page)
    assert b"<svg" in base64.b64decode(svg.group(1))


def test_the_page_says_how_doubtful_inputs_were_read(undrawn, tmp_path):
    days = pd.date_range("2020-01-01", periods=200).strftime("%d.%m.%Y")
    prices = [f"{i % 90},5" for i in range(200)]
    frame = pd.DataFrame({"<sold>": days, "price": prices, "y": [float(i % 7) for i in range(200)]})
    frame.to_csv(tmp_path / "shop.csv", index=False, sep=";")
    quick = {"progress": False, "isolate": False, "importances": False}
    with pytest.warns(InputNote) as caught:
        result = compare(tmp_path / "shop.csv", "y", ["linear", "dummy"], **quick)
    assert len(caught) == 2
    page = render_html(result.cells)
    assert page.count("<h3>How the inputs were read</h3>") == 1
    notes = re.search(r"inputs were read</h3><ul>(.*?)</ul>", page)[1]
    assert notes.count("<li>") == 2  # independent of the number of cells
    assert "<li>Numbers were read so: &#x27;10,5&#x27; in column &#x27;price&#x27; is 10.5" in notes
    assert "<li>Column &#x27;&lt;sold&gt;&#x27; holds text that looks like dates" in notes
    assert "datetimes=[&#x27;&lt;sold&gt;&#x27;] reads them as what they look like" in notes
    assert "inputs were read" not in render_html(result.cells.drop(columns="notes"))  # as in tabemb 0.2
    assert "inputs were read" not in render_html(result.cells.assign(notes=""))


def test_the_folder_holds_page_picture_and_figures(undrawn, results, tmp_path):
    results = results.assign(dataset="a/b", target="=1+1")
    page = write_report(tmp_path / "out", results)
    assert page.name == "report.html"
    assert sorted(path.name for path in page.parent.iterdir()) == [
        "a_b.png",
        "report.html",
        "results.parquet",
        "summary.csv",
    ]
    assert len(pd.read_parquet(page.parent / "results.parquet")) == len(results)
    summary = pd.read_csv(page.parent / "summary.csv")
    assert summary["model"].iloc[0] == "linear"
    assert "=1+1" not in summary.to_numpy()


def test_a_report_of_failures_only_is_still_a_report(results, tmp_path):
    failed = results[results["status"] == "failed"]
    page = write_report(tmp_path / "out", failed)
    assert "failed: ValueError" in page.read_text()
    print_report(failed, console=Console(quiet=True))


def test_labels_cover_neither_points_nor_each_other_and_stay_inside():
    means, seconds = [1.0, 1.001, 1.002, 1.1, 1.2, 9.0], [1, 1.01, 1.02, 5, 30, 0.01]
    summary = pd.DataFrame(
        {"mean": means, "low": 0.9, "high": 1.1, "fit_seconds": seconds, "metric": "rmse"}
    )
    summary["model"] = [f"model number {i}" for i in range(6)]
    figure = Figure(layout="constrained")
    axes = figure.subplots()
    draw_time(axes, summary, "model number 1")
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(text) for text in axes.texts]
    points = axes.transData.transform([line.get_xydata()[0] for line in axes.lines])
    assert len(boxes) == len(points) == 6
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i])
        assert not any(box.contains(*point) for point in points)
        assert axes.bbox.contains(box.x0, box.y0)
        assert axes.bbox.contains(box.x1, box.y1)
    assert axes.texts[-1].get_text() == "model number 5 (9.000)"


@pytest.mark.parametrize(
    ("seconds", "n_least"), [([0.1, 0.11, 0.3], 2), ([2, 2.1, 2.2], 1), ([0.001, 1, 900], 3)]
)
def test_seconds_have_few_and_plain_names(seconds, n_least):
    summary = pd.DataFrame({"mean": [1.0, 1.1, 1.2], "low": 0.9, "high": 1.1, "metric": "rmse"})
    figure = Figure(figsize=(5, 3), layout="constrained")
    axes = figure.subplots()
    draw_time(axes, summary.assign(fit_seconds=seconds, model=list("abc")), "a")
    figure.draw_without_rendering()
    low, high = axes.get_xlim()
    shown = [
        tick.label1.get_text() for tick in axes.xaxis.get_major_ticks() if low <= tick.get_loc() <= high
    ]
    assert n_least <= len(shown) <= 8
    assert all(re.fullmatch(r"[\d.]+", text) for text in shown)
    assert not any(tick.label1.get_text() for tick in axes.xaxis.get_minor_ticks())


def test_curves_only_where_they_were_kept(results):
    assert plot_curves(results[results["model"] == "dummy"]) is None
    (axes,) = plot_curves(results).axes
    losses = [line for line in axes.lines if len(line.get_xdata()) == 3]
    kept = [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 2]
    assert len(losses) == 6
    # epochs count from 1; the second has the smallest validation loss
    assert [list(line.get_xdata()) for line in losses] == [[1, 2, 3]] * 6
    assert kept == [2, 2, 2]


@pytest.mark.parametrize(
    ("mean", "half", "expected"),
    [(0.2791, 0.0035, 4), (1.457, 0.02, 3), (120.0, 3.0, 1), (12345.0, 300.0, 0), (0.0155, 0.001, 5)],
)
def test_decimals_fit_the_error_and_its_interval(mean, half, expected):
    assert (
        decimals(pd.DataFrame({"mean": [mean], "low": [mean - half], "high": [mean + half]})) == expected
    )


def test_the_reference_is_the_net_where_there_is_one(results):
    assert choose_reference(results) == "lightgbm"
    assert (
        choose_reference(results.replace({"model": {"linear": "embedding(dim=3)"}}))
        == "embedding(dim=3)"
    )
    with pytest.raises(ValueError, match="reference must be a model of the comparison; got 'net'"):
        choose_reference(results, "net")

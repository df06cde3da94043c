"""The page is opened in a real browser without a network, which must not log any error."""

import base64
import csv
import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from functools import partial
from importlib import resources

import numpy as np
import pandas as pd
import pytest

from tabemb.spaces import EmbeddingSpace, atlas

HOSTILE = '</script><img src=x onerror="window.hurt=1">'
GROUPS = ["north", "south", "west"]
N_EACH = 20


@pytest.fixture
def space():
    """Three groups of directions; names are numbered within a group, and later ones are rarer."""
    rng = np.random.default_rng(0)
    vectors = np.repeat(np.eye(8)[[0, 3, 5]] * 4, N_EACH, axis=0) + rng.normal(size=(3 * N_EACH, 8))
    names = [f"{group} {i}" for group in GROUPS for i in range(N_EACH)]
    return EmbeddingSpace(
        vectors, names, counts=[2 * (N_EACH - i) for _ in GROUPS for i in range(N_EACH)], name="place"
    )


def lattice(space, columns=N_EACH):
    """Return coordinates without overlapping points: for `space`, one line of points per group."""
    i = np.arange(len(space))
    return pd.DataFrame({"x": i % columns, "y": 3.0 * (i // columns)}, index=space.categories)


@pytest.fixture
def metadata(space):
    index = pd.Index(list(space)[::-1])  # not in the order of the space
    group = [name.split()[0] for name in index]
    height = [float(name.split()[1]) / 4 for name in index]
    return pd.DataFrame(
        {"group": group, "height": height, "note": [f"note, on {name}" for name in index]}, index=index
    )


PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "device_scale_factor": 2}


@pytest.fixture(scope="module")
def contexts(browser):
    """Browser contexts of different readers, shared by all tests, as each takes half a second."""
    kinds = {"desk": {}, "phone": PHONE, "dark": {"color_scheme": "dark"}}
    return {
        kind: browser.new_context(reduced_motion="reduce", **settings)
        for kind, settings in kinds.items()
    }


@pytest.fixture(scope="module")
def tabs():
    """Open tabs by the kind of reader, shared by all tests, as each takes half a second."""
    return {}


@pytest.fixture
def visit(contexts, tabs, tmp_path):
    """Write an atlas, open it, and check at the end that it loaded nothing and logged no errors."""

    @contextmanager
    def visit(space, *args, reader="desk", refused=0, **arguments):
        path = space.atlas(tmp_path / "page.html", *args, **{"coordinates": lattice(space), **arguments})
        requests, faults = [], []
        listeners = {
            "console": lambda message: faults.append(message.text),
            "pageerror": lambda error: faults.append(str(error)),
            "request": lambda request: requests.append(request.url),
        }
        page = tabs.pop(reader, None) or contexts[reader].new_page()
        page.mouse.move(0, 0)
        for event, listener in listeners.items():
            page.on(event, listener)
        page.goto(path.as_uri())
        page.wait_for_function("window.atlas && atlas.drawn > 0")
        yield page
        assert len(faults) == refused, faults
        assert requests == [path.as_uri()]
        assert page.evaluate("performance.getEntriesByType('resource').length") == 0
        for event, listener in listeners.items():
            page.remove_listener(event, listener)
        page.goto("about:blank")
        tabs[reader] = page  # not after a failure, where the next visit gets a new tab

    return visit


def search(page, text):
    page.keyboard.press("/")
    page.locator("#query").fill(text)
    page.keyboard.press("Enter")


def click(page, name, tap=False):
    at = page.evaluate("name => atlas.at(name)", name)
    (page.touchscreen.tap if tap else page.mouse.click)(at["x"], at["y"])


def listed(page, within="#details"):
    rows = page.locator(f"{within} .neighbours button").all()
    return [
        (row.locator(".name").inner_text(), float(row.locator("data").get_attribute("value")))
        for row in rows
    ]


def pixels(page):
    return page.evaluate("document.getElementById('points').toDataURL()")


def settled(page):
    """Wait until the requested frame is drawn."""
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return page.evaluate("atlas.drawn")


def assert_nearest(page, space, category, k=10):
    wanted = space.nearest(category, k=k)
    found = listed(page)
    assert [name for name, _ in found] == list(wanted["category"])
    np.testing.assert_allclose([similarity for _, similarity in found], wanted["similarity"], atol=5e-5)


# In the browser


def test_every_point_is_drawn_and_a_drag_moves_them(visit, space):
    with visit(space) as page:
        assert page.evaluate("atlas.drawn") == len(space)
        colors = page.evaluate(
            "() => { const c = document.getElementById('points'), d = new Uint32Array(c.getContext('2d')"
            ".getImageData(0, 0, c.width, c.height).data.buffer); return new Set(d).size }"
        )
        assert colors > 2  # background, points and their borders
        before, at = pixels(page), page.evaluate("atlas.at('north 3')")
        page.mouse.move(at["x"], at["y"] + 60)
        page.mouse.down()
        page.mouse.move(at["x"] + 30, at["y"] + 80, steps=3)
        page.mouse.up()
        settled(page)
        after = page.evaluate("atlas.at('north 3')")
        assert (after["x"] - at["x"], after["y"] - at["y"]) == pytest.approx((30, 20))
        assert pixels(page) != before


def test_a_click_lists_the_nearest_of_the_space(visit, space):
    with visit(space) as page:
        click(page, "south 4")
        assert page.locator("#details h2").inner_text() == "south 4"
        assert_nearest(page, space, "south 4")
        page.get_by_text("Show more").click()
        assert_nearest(page, space, "south 4", k=25)
        page.locator(".neighbours button").nth(2).click()
        assert_nearest(page, space, space.nearest("south 4")["category"][2])


@pytest.fixture
def unsure(space):
    """The space with every other category being little more than noise."""
    reliability = [0.9 - 0.004 * i if i % 2 else 0.02 + 0.001 * i for i in range(len(space))]
    return EmbeddingSpace(space.vectors, space.categories, space.counts, "place", reliability)


def test_the_page_lists_the_nearest_by_reliability_as_the_space_does(visit, space, unsure):
    with visit(unsure) as page:
        click(page, "south 5")
        assert_nearest(page, unsure, "south 5")
        assert [name for name, _ in listed(page)] != list(space.nearest("south 5")["category"])
        page.get_by_text("Compare with").click()
        search(page, "south 7")
        shown = float(page.locator(".similarity output").inner_text())
        assert shown == pytest.approx(unsure.similarity("south 5", "south 7"), abs=6e-4)


def looks(page, names):
    """Return the colour distance of points from the background, and their areas in pixels."""
    return page.evaluate(
        """names => {
          const canvas = document.getElementById('points'), box = canvas.getBoundingClientRect();
          const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
          const distance = (x, y) => Math.hypot(
            ...[0, 1, 2].map(c => data[4 * (y * canvas.width + x) + c] - data[c]));
          const all = [...Array(29).keys()];
          return names.map(atlas.at).map(at => [at.x - box.left, at.y - box.top].map(Math.round))
            .map(([x, y]) => [distance(x, y), all.flatMap(
              dx => all.map(dy => distance(x + dx - 14, y + dy - 14))).filter(d => d > 8).length]);
        }""",
        names,
    )


@pytest.mark.parametrize("reader", ["desk", "dark"])
def test_points_fade_and_shrink_with_reliability(visit, space, reader):
    reliability = np.tile(np.linspace(1, 0, N_EACH), 3)
    graded = EmbeddingSpace(space.vectors, space.categories, name="place", reliability=reliability)
    names = [f"south {i}" for i in range(N_EACH)]
    spread = lattice(space, 10) * [1.0, 0.5]
    with visit(graded, reader=reader, coordinates=spread) as page:
        distances, areas = np.transpose(looks(page, names))
    assert (np.diff(distances) <= 0).all()
    assert (np.diff(areas) <= 0).all()
    assert len(set(distances)) > 12  # gradual, not just two kinds
    assert 10 < distances[-1] < 0.4 * distances[0]
    assert areas[-1] < 0.6 * areas[0]


def test_what_is_unsure_can_be_hidden_and_the_legend_says_what_it_is(visit, space, unsure):
    with visit(unsure) as page:
        legend = page.locator("#reliability-field").inner_text()
        assert "faint: few rows or no effect, mostly noise" in legend
        assert f"a model of other rows would share {unsure.overlap:.0%}." in legend
        labels = page.evaluate("atlas.labels.map(label => label.text)")
        assert {int(label.split()[1]) % 2 for label in labels[:10]} == {1}  # most reliable first
        page.locator("#surest").focus()
        for _ in range(5):
            page.keyboard.press("PageUp")
        least = float(page.locator("#surest-value").inner_text().split()[-1])
        assert settled(page) == (unsure.reliability >= least).sum() == 30
        assert page.locator("#summary").inner_text() == "30 of 60 categories"
        search(page, "south 4")  # hidden, but requested by name
        assert settled(page) == 60
        assert page.locator("#surest-value").inner_text() == "at least 0.00"
    with visit(space, others={"sure": (unsure, lattice(unsure))}) as page:
        assert page.locator("#reliability-field").is_hidden()
        page.select_option("#space", "sure")
        assert page.locator("#reliability-field").is_visible()


def test_cards_lists_colours_and_csv_have_the_reliability(visit, unsure):
    with visit(unsure, color="reliability") as page:
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        assert page.locator("#color").input_value() == "reliability"
        search(page, "south 4")
        assert page.locator("dl").inner_text().split("\n")[-2:] == ["reliability", "0.044"]
        assert "its neighbours are mostly chance" in page.locator(".doubtful").inner_text()
        search(page, "south 5")
        assert page.locator(".doubtful").count() == 0
        shown = [float(text) for text in page.locator(".neighbours .sure").all_inner_texts()]
        with_reliability = unsure.nearest("south 5")["reliability"]
        np.testing.assert_allclose(shown, with_reliability, atol=0.0051)
        page.get_by_text("Select these 11").click()
        page.get_by_text("Copy as CSV").click()
        page.locator("#copy", has_text="Copied").wait_for()
        copied = pd.read_csv(io.StringIO(page.evaluate("navigator.clipboard.readText()")))
        assert list(copied.columns) == ["category", "count", "reliability"]
        np.testing.assert_allclose(copied["reliability"][1:], with_reliability, atol=1e-6)


def test_a_column_of_metadata_may_be_called_reliability(visit, unsure):
    own = {"reliability": dict.fromkeys(unsure, "as told")}
    with visit(unsure, own) as page:
        search(page, "south 5")
        assert page.locator("dl").inner_text().split("\n")[-2:] == ["reliability", "as told"]


def test_search_suggests_and_enter_picks(visit, space):
    with visit(space) as page:
        page.keyboard.press("/")
        page.keyboard.type("TH 1")
        suggested = [
            row.inner_text().split("\n")[0] for row in page.locator("#suggestions [role=option]").all()
        ]
        assert suggested[:2] == ["north 1", "south 1"]  # the most frequent first
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        assert page.locator("#details h2").inner_text() == "south 1"
        assert page.locator("#live").inner_text().startswith("south 1. Nearest: ")
        page.keyboard.press("/")
        page.keyboard.type("nothing like it")
        assert page.locator("#suggestions").inner_text() == "No category contains this text."


def test_search_reads_over_accents_and_prefers_the_start(visit):
    space = EmbeddingSpace(
        np.eye(4), ["a the café", "the Café", "Cafe Noir", "decaf"], counts=[9, 8, 7, 6]
    )
    with visit(space) as page:
        page.keyboard.press("/")
        page.keyboard.type("café")
        found = [
            row.inner_text().split("\n")[0] for row in page.locator("#suggestions [role=option]").all()
        ]
        assert found == ["Cafe Noir", "a the café", "the Café"]


def test_the_count_filter_hides_the_rare_and_the_frequent(visit, space):
    with visit(space) as page:
        page.locator("#least").focus()
        for _ in range(7):
            page.keyboard.press("PageUp")
        least = int(page.locator("#count-range").inner_text().split()[0])
        assert settled(page) == (space.counts >= least).sum() < 40
        page.locator("#most").fill("900")
        most = int(page.locator("#count-range").inner_text().split()[-1])
        assert settled(page) == ((space.counts >= least) & (space.counts <= most)).sum() > 0
        assert (
            page.locator("#summary").inner_text() == f"{page.evaluate('atlas.drawn')} of 60 categories"
        )
        click(page, "north 19")  # hidden: nothing there to click
        assert page.locator("#details h2").count() == 0
        search(page, "north 19")  # shown, as it is requested by name
        assert page.locator("#details h2").inner_text() == "north 19"
        assert page.locator("#summary").inner_text() == "60 categories, 8 dimensions"


def test_colours_have_a_legend_whose_classes_can_be_switched(visit, space, metadata):
    with visit(space, metadata, color="group") as page:
        entries = page.locator(".entry")
        assert [text.split("\n") for text in entries.all_inner_texts()] == [
            [group, "20"] for group in GROUPS
        ]
        by_group = pixels(page)
        entries.nth(1).click()
        assert settled(page) == 40
        assert entries.nth(1).get_attribute("aria-pressed") == "false"
        page.get_by_label("Show only west").click()
        assert settled(page) == 20
        page.get_by_text("Show all classes").click()
        assert settled(page) == 60
        page.select_option("#color", "height")
        settled(page)
        assert page.locator(".ends span").all_inner_texts() == ["0", "2.375", "4.75"]
        assert entries.count() == 0
        assert pixels(page) != by_group
        assert page.locator("#color option").all_inner_texts() == [
            "None",
            "count",
            "group",
            "height",
        ]  # "note" is a text column


def test_the_rarest_classes_share_an_entry_and_missing_ones_have_theirs(visit):
    space = EmbeddingSpace(np.eye(24), range(24))
    classes = {i: f"class {i // 2}" for i in range(20)}  # ten classes of two each
    with visit(space, {"kind": classes}, color="kind") as page:
        entries = [text.split("\n")[0] for text in page.locator(".entry").all_inner_texts()]
        assert entries == [*(f"class {i}" for i in range(7)), "3 others", "missing"]


def test_two_categories_are_compared(visit, space):
    a, b = "west 2", "west 7"
    with visit(space) as page:
        search(page, a)
        page.get_by_text("Compare with").click()
        search(page, b)
        shown = page.locator(".similarity output").inner_text()
        assert float(shown) == pytest.approx(space.similarity(a, b), abs=6e-4)
        lists = [listed(page, f".columns > div:nth-child({i})") for i in (1, 2)]
        nearest = [set(space.nearest(name)["category"]) for name in (a, b)]
        assert [{name for name, _ in rows} for rows in lists] == nearest
        shared = nearest[0] & nearest[1]
        assert {row.inner_text() for row in page.locator(".shared .name").all()} == shared
        assert (
            page.locator(".similarity")
            .inner_text()
            .endswith(f"{len(shared)} of the 10 nearest are shared")
        )
        page.keyboard.press("Escape")
        assert page.locator("#details").inner_text() == ""


def drag_around(page, names, gap=12):
    """Drag a rectangle around the points with these names."""
    places = [page.evaluate("name => atlas.at(name)", name) for name in names]
    (left, right), (top, bottom) = (
        (min(v) - gap, max(v) + gap) for v in zip(*((p["x"], p["y"]) for p in places))
    )
    page.mouse.move(left, top)
    page.mouse.down()
    page.mouse.move(right, bottom, steps=3)
    page.mouse.up()


def test_a_rectangle_selects_and_copies_csv(visit, space, metadata):
    with visit(space, metadata) as page:
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.get_by_label("Drag a rectangle to select").click()
        drag_around(page, ["south 3", "south 6"])
        page.get_by_text("Copy as CSV").click()
        page.locator("#copy", has_text="Copied").wait_for()
        copied = pd.read_csv(
            io.StringIO(page.evaluate("navigator.clipboard.readText()")), index_col="category"
        )
        names = [f"south {i}" for i in (3, 4, 5, 6)]
        assert list(copied.columns) == ["count", "group", "height", "note"]
        pd.testing.assert_frame_equal(
            copied.drop(columns="count"), metadata.loc[names], check_names=False
        )
        assert list(copied["count"]) == [34, 32, 30, 28]


def test_a_lasso_selects_what_lies_inside(visit, space):
    with visit(space) as page:
        corners = [
            page.evaluate("name => atlas.at(name)", name) for name in ("north 5", "north 9", "south 7")
        ]
        page.get_by_label("Drag around points to select").click()
        page.mouse.move(corners[0]["x"] - 9, corners[0]["y"] + 9)  # higher places have a smaller y
        page.mouse.down()
        page.mouse.move(corners[1]["x"] + 9, corners[1]["y"] + 9)
        page.mouse.move(corners[2]["x"], corners[2]["y"] - 12)
        page.mouse.up()
        chosen = page.locator(".chosen button").all_inner_texts()
        assert chosen == [
            "north 5",
            "north 6",
            "north 7",
            "south 7",
            "north 8",
            "north 9",
        ]  # the most frequent first


def test_without_a_clipboard_the_text_and_a_file_are_offered(visit, space):
    with visit(space) as page:
        page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
        search(page, "north 0")
        page.get_by_text("Select these 11").click()
        page.get_by_text("Copy as CSV").click()
        text = page.locator("#export-text").input_value()
        names = pd.read_csv(io.StringIO(text))["category"]
        assert list(names) == ["north 0", *space.nearest("north 0")["category"]]
        with page.expect_download() as download:
            page.locator("#export-save").click()
        assert download.value.suggested_filename == "selection.csv"
        assert download.value.path().read_text() == text
        page.locator("#export-close").click()
        assert not page.locator("#export").is_visible()


def test_the_reader_changes_between_spaces(visit, space):
    rng = np.random.default_rng(1)
    other = EmbeddingSpace(
        rng.normal(size=(30, 5)), [*list(space)[:25], *(f"new {i}" for i in range(5))]
    )
    with visit(space, others={"walks": (other, lattice(other))}) as page:
        assert page.locator("#space option").all_inner_texts() == ["place", "walks"]
        search(page, "north 4")
        page.select_option("#space", "walks")
        assert settled(page) == 30
        assert_nearest(page, other, "north 4")
        assert page.locator("#count-field").is_hidden()
        search(page, "new 2")
        assert_nearest(page, other, "new 2")
        page.select_option("#space", "place")
        assert page.locator("#details").inner_text().split("\n\n") == [
            "new 2",
            "Not a category of place.",
        ]


def test_an_address_shows_what_it_names(visit, space, metadata):
    other = EmbeddingSpace(space.vectors[::-1], space.categories[::-1])
    arguments = {"others": {"walks": (other, lattice(other))}}
    with visit(space, metadata, **arguments) as page:
        assert page.evaluate("location.hash") == ""
        page.select_option("#space", "walks")
        page.select_option("#color", "group")
        search(page, "north 4")
        page.get_by_role("button", name="Compare with").click()
        search(page, "south 2")
        address = page.evaluate("location.hash")
        shown = page.locator("#details").inner_text()
        assert "Similarity" in shown
    with visit(space, metadata, **arguments) as page:
        page.evaluate("hash => { location.hash = hash; }", address)
        page.wait_for_function("document.querySelector('#details').innerText.includes('Similarity')")
        assert page.locator("#details").inner_text() == shown
        assert page.locator("#space").input_value() == "walks"
        assert page.locator("#color").input_value() == "group"
        page.evaluate("location.hash = '#category=nowhere&space=none'")
        page.wait_for_function("document.querySelector('#details').innerText === ''")
        assert page.locator("#space").input_value() == "place"


def test_crowded_points_are_smaller_until_one_zooms_in(visit):
    """Half of a hundred points are within a thousandth of the map."""
    rng = np.random.default_rng(0)
    xy = np.concatenate([rng.uniform(0, 1, (50, 2)), rng.uniform(0.5, 0.501, (50, 2))])
    space = EmbeddingSpace(rng.normal(size=(100, 3)), [f"p{i}" for i in range(100)], np.ones(100))
    places = pd.DataFrame(xy, columns=["x", "y"], index=space.categories)
    with visit(space, coordinates=places) as page:
        alone, crowded = (page.evaluate("name => atlas.radius(name)", name) for name in ("p3", "p80"))
        assert crowded < 0.5 * alone
        page.evaluate("for (let i = 0; i < 12; i++) document.getElementById('zoom-in').click()")
        settled(page)
        alone, crowded = (page.evaluate("name => atlas.radius(name)", name) for name in ("p3", "p80"))
        assert crowded > 0.8 * alone


def test_a_further_space_keeps_its_own_order(visit, space):
    order = np.random.default_rng(2).permutation(len(space))
    other = EmbeddingSpace(space.vectors[order], space.categories[order])
    with visit(space, others={"shuffled": (other, lattice(other))}) as page:
        search(page, "west 5")
        page.select_option("#space", "shuffled")
        assert_nearest(page, other, "west 5")


def test_hostile_names_stay_text(visit):
    odd = [
        HOSTILE,
        "<b>bold</b>",
        "&amp; $title ${data} \\u003c",
        "'\"`",
        "مرحبا بالعالم",
        "x" * 3000,
        "line\nbreak\x00",
    ]
    space = EmbeddingSpace(np.random.default_rng(0).normal(size=(len(odd), 4)), odd, name=HOSTILE)
    with visit(
        space, {HOSTILE: dict.fromkeys(odd, HOSTILE)}, color=HOSTILE, others={"<i>": space}
    ) as page:
        assert page.title() == HOSTILE
        assert page.locator("h1").inner_text() == HOSTILE
        assert page.locator(".entry span").inner_text() == HOSTILE
        for name in odd:
            search(page, name.split("\n")[0])
            assert page.locator("#details h2").text_content() == name
        assert page.locator("img").count() == 0
        assert page.evaluate("window.hurt") is None


def test_code_that_is_not_of_the_page_does_not_run(visit, space):
    with visit(space, refused=1) as page:
        page.evaluate("document.body.setAttribute('onclick', 'window.hurt = 1'), document.body.click()")
        assert page.evaluate("window.hurt") is None


def test_labels_do_not_overlap_and_more_appear_as_one_zooms_in(visit):
    rng = np.random.default_rng(0)
    names = [f"category {'x' * rng.integers(1, 15)} {i}" for i in range(800)]
    space = EmbeddingSpace(rng.normal(size=(800, 3)), names, counts=np.arange(800, 0, -1))
    spread = pd.DataFrame(rng.normal(size=(800, 2)), index=names, columns=["x", "y"])
    with visit(space, coordinates=spread) as page:
        share = []
        for _ in range(3):
            settled(page)
            labels, drawn = page.evaluate("[atlas.labels, atlas.drawn]")
            boxes = np.array(
                [[label[side] for side in ("left", "top", "right", "bottom")] for label in labels]
            )
            overlap = ((boxes[:, None, :2] < boxes[:, 2:]) & (boxes[:, None, 2:] > boxes[:, :2])).all(
                axis=2
            )
            np.testing.assert_array_equal(overlap, np.eye(len(boxes), dtype=bool))
            share.append(len(labels) / drawn)
            if len(share) == 1:
                ranks = [int(label["text"].split()[-1]) for label in labels]
                assert len(labels) > 15
                assert ranks[0] == 0
                assert np.mean(ranks) < 300  # of 800: the frequent first
            for _ in range(3):
                page.get_by_label("Zoom in").click()
        assert share == sorted(share)
        assert share[-1] > 2 * share[0]


def region_labels(page):
    settled(page)
    return sorted(label["text"] for label in page.evaluate("atlas.labels") if label["id"] is None)


def test_words_name_the_regions_of_a_map(visit, space, metadata):
    middles = np.repeat([[0, 0], [9, 0], [4, 7]], N_EACH, axis=0)
    clumps = pd.DataFrame(
        middles + np.random.default_rng(0).normal(size=middles.shape),
        columns=["x", "y"],
        index=space.categories,
    )
    with visit(space, metadata, coordinates=clumps, color="group") as page:
        assert region_labels(page) == GROUPS
        assert page.locator("#regions").is_visible()
        page.locator(".entry").nth(1).click()
        assert region_labels(page) == ["north", "west"]
        click(page, "north 3")
        assert region_labels(page) == []


def test_everything_can_be_done_with_keys(visit, space, metadata):
    with visit(space, metadata, color="group") as page:
        named = "(e => e.id || e.getAttribute('aria-label') || e.textContent)(document.activeElement)"
        reached = set()
        for _ in range(24):
            page.keyboard.press("Tab")
            reached.add(page.evaluate(named))
        assert {"marks", "zoom-in", "zoom-out", "fit", "query", "color", "least", "most"} <= reached
        assert {"Drag around points to select", "Show only north", "north20"} <= reached
        page.locator("#marks").focus()
        before = page.evaluate("atlas.view")
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("+")
        assert page.evaluate("atlas.view.k") == pytest.approx(1.4 * before["k"])
        page.keyboard.press("-")
        assert page.evaluate("atlas.view.x") == pytest.approx(before["x"] + 70)
        page.keyboard.press("0")
        assert page.evaluate("atlas.view") == pytest.approx(before)
        search(page, "west 3")
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")  # the second control of the card: compare
        assert page.locator(".prompt").is_visible()
        assert page.evaluate("document.activeElement.tagName") == "H2"  # the keyboard focus is not lost
        page.keyboard.press("Escape")
        assert page.locator("#details").inner_text() == ""


def test_every_control_has_a_name(visit, space, metadata):
    with visit(space, metadata, color="group") as page:
        search(page, "west 3")
        unnamed = page.evaluate(
            "[...document.querySelectorAll('button, input, select, textarea, canvas[tabindex]')]"
            ".filter(e => !(e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.length))"
            ".map(e => e.outerHTML)"
        )
        assert unnamed == []


def test_the_wheel_zooms_around_the_pointer(visit, space):
    with visit(space) as page:
        at, k = page.evaluate("[atlas.at('south 9'), atlas.view.k]")
        page.mouse.move(at["x"], at["y"])
        page.mouse.wheel(0, -400)
        page.wait_for_function("k => atlas.view.k > 1.5 * k", arg=k, timeout=3000)
        assert page.evaluate("atlas.at('south 9')") == pytest.approx(at, abs=0.5)


def test_on_a_phone_the_panel_is_a_sheet_and_fingers_work(visit, space, metadata):
    with visit(space, metadata, reader="phone", color="group") as page:
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        closed = page.locator("#panel").bounding_box()
        assert closed["width"] == 390
        assert closed["y"] > 600
        click(page, "south 9", tap=True)
        assert page.locator("#details h2").inner_text() == "south 9"
        assert_nearest(page, space, "south 9")
        assert 150 < page.locator("#panel").bounding_box()["y"] < 450
        page.locator("#grip").tap()
        before = page.evaluate("atlas.view")
        touch = page.context.new_cdp_session(page)
        for kind, spread in (
            ("touchStart", 40),
            ("touchMove", 60),
            ("touchMove", 80),
            ("touchEnd", None),
        ):
            points = (
                [] if spread is None else [{"x": 195 - spread, "y": 200}, {"x": 195 + spread, "y": 200}]
            )
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        settled(page)
        after = page.evaluate("atlas.view")
        assert after["k"] == pytest.approx(2 * before["k"], rel=0.05)
        for axis, middle in (("x", 195), ("y", 200)):  # the point between the fingers does not move
            assert (middle - after[axis]) / after["k"] == pytest.approx(
                (middle - before[axis]) / before["k"], abs=0.01
            )


def test_it_is_dark_where_the_reader_wants_it_dark(visit, space):
    ground = "getComputedStyle(document.body).backgroundColor"
    with visit(space) as page:
        light, points = page.evaluate(ground), pixels(page)
    with visit(space, reader="dark") as page:
        assert page.evaluate(ground) != light
        assert pixels(page) != points


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_few_categories_are_an_atlas_too(visit, n):
    space = EmbeddingSpace(np.eye(3)[:n], ["a", "b", "c"][:n], counts=[0] * n)
    with visit(space, coordinates=None) as page:
        assert page.evaluate("atlas.drawn") == n
        search(page, "a")
        assert_nearest(page, space, "a")


def test_categories_of_any_kind_and_vectors_of_zero(visit):
    names = [None, 1, "1", (1, 2), False, 2.5, pd.Timestamp("2020-02-02")]
    space = EmbeddingSpace([[0, 0], [1, 0], [1, 1], [0, 1], [-1, 0], [2, 2], [1, 0]], names)
    with visit(space, {"size": {1: 10, (1, 2): 30}}, coordinates=None) as page:
        shown = page.evaluate("JSON.parse(document.getElementById('data').textContent)")
        assert shown["texts"] == ["(missing)", "1", "1", "(1, 2)", "False", "2.5", "2020-02-02 00:00:00"]
        assert shown["columns"][0]["values"] == [None, 10, None, 30, None, None, None]
        search(page, "(missing)")
        assert [similarity for _, similarity in listed(page)] == [0] * 6
        search(page, "2.5")
        assert listed(page)[0] == ("1", pytest.approx(1, abs=5e-5))


# Without a browser


def given_of(path):
    """Return the data of a page, read from its text."""
    (data,) = re.findall(
        r'<script type="application/json" id="data">(.*?)</script>', path.read_text(), re.DOTALL
    )
    return json.loads(data)


@pytest.fixture
def write(tmp_path, space):
    return partial(space.atlas, tmp_path / "page.html")


def test_the_path_is_returned_and_the_page_is_whole(write, space, tmp_path):
    path = write(coordinates=lattice(space))
    assert path == tmp_path / "page.html"
    text = path.read_text()
    assert "$" not in re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)  # every place is filled
    assert not re.search(r"https?:", re.sub(r"http://www\.w3\.org/2000/svg", "", text))
    (script,) = re.findall(r'<script type="module">(.*?)</script>', text, re.DOTALL)
    assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in text


def test_a_page_needs_no_plotting_package(write, space, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert given_of(write(coordinates=lattice(space)))["scale"][0] == "#440154"


def test_coordinates_are_those_of_the_space_by_default(write, space):
    (packed,) = given_of(write())["spaces"]
    xy = np.frombuffer(base64.b64decode(packed["xy"]), "<f4").reshape(-1, 2)
    np.testing.assert_allclose(xy, space.coordinates().to_numpy(), rtol=1e-6)


def test_similarities_are_right_to_four_digits():
    rng = np.random.default_rng(0)
    for d in (2, 8, 32, 200):
        vectors = rng.normal(size=(400, d)) ** 3 * rng.lognormal(
            size=(400, 1)
        )  # heavy tails, all lengths
        codes, scales = atlas.quantised(vectors)
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        rough = codes.astype(float) * scales[:, None]
        assert np.abs(rough @ rough.T - unit @ unit.T).max() < 5e-5
        assert codes.dtype == np.int16


def test_columns_by_their_kind(write, space):
    index = pd.Index(["south 0", "north 0", "north 1", "north 2"])
    frame = pd.DataFrame(
        {
            "whole": pd.array([1, None, 3, 4], dtype="Int64"),
            "share": [0.25, np.nan, 1.0, 2.0],
            "day": pd.to_datetime(["2020-01-02", None, "1970-01-01", "1970-01-02"]),
            "open": [True, False, True, None],
            "size": pd.Categorical(["s", "l", "s", None], categories=["l", "s", "xl"]),
            "odd": pd.Series(["\ud800", {"a": 1}, None, "\ud800"], index=index, dtype=object),
        },
        index=index,
    )
    columns = {c["name"]: c for c in given_of(write(frame, coordinates=lattice(space)))["columns"]}
    first = {name: [*c["values"][:3], c["values"][20]] for name, c in columns.items()}
    assert {name: c["kind"] for name, c in columns.items()} == {
        "whole": "number",
        "share": "number",
        "day": "date",
        "open": "class",
        "size": "class",
        "odd": "class",
    }
    assert first["whole"] == [None, 3, 4, 1]
    assert first["share"] == [None, 1, 2, 0.25]
    assert first["day"] == [None, 0, 86_400_000, 1577923200000]
    assert (columns["open"]["levels"], first["open"]) == (["True", "False"], [1, 0, -1, 0])
    assert (columns["size"]["levels"], first["size"]) == (["s", "l"], [1, 0, -1, 0])
    assert (columns["odd"]["levels"], first["odd"]) == (["?", "{'a': 1}"], [1, -1, 0, 0])


def test_37000_categories_are_some_megabytes(tmp_path):
    rng = np.random.default_rng(0)
    names = [f"a title of twenty or so {i}" for i in range(37_000)]
    space = EmbeddingSpace(rng.normal(size=(37_000, 32)), names, counts=rng.integers(1, 999, 37_000))
    frame = pd.DataFrame(
        {"year": rng.integers(1900, 2026, 37_000), "kind": rng.choice(list("abc"), 37_000)}, index=names
    )
    assert (
        space.atlas(tmp_path / "page.html", frame, coordinates=lattice(space, 200)).stat().st_size < 6e6
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"metadata": {"a": {"west 1": np.inf}}},
            "metadata must be finite; column 'a' holds an infinite number",
        ),
        (
            {"metadata": pd.DataFrame({"a": [1, 2]})},
            r"metadata must be indexed by category, such as 'north 0'; its index starts with 0\.",
        ),
        (
            {"metadata": pd.DataFrame({"a": [1]}, index=[["u"], ["v"]])},
            r"such as 'north 0'; its index starts with \('u', 'v'\)",
        ),
        (
            {"metadata": pd.DataFrame({"a": 1}, index=["west 1"] * 2)},
            "each category once; 'west 1' occurs more than once",
        ),
        ({"metadata": {"a": 1}}, "metadata must be a DataFrame, or a mapping .*; got {'a': 1}"),
        ({"others": ["new"]}, "others must map names to spaces; got list"),
        ({"color": "size"}, "color must name a column of metadata .* got 'size'"),
        ({"color": "coumt"}, "did you mean 'count'"),
        ({"color": "reliability"}, "'reliability' where the space has them; got 'reliability'"),
        ({"others": {"place": None}}, "others must not use the name of the space itself; got 'place'"),
        (
            {"others": {"new": EmbeddingSpace(np.empty((0, 2)), [])}},
            "at least one category; 'new' has none",
        ),
        (
            {"others": {"new": 3}},
            "others must map names to spaces, or to pairs .*; 'new' is neither",
        ),
    ],
)
def test_arguments_that_do_not_fit(write, space, arguments, message):
    with pytest.raises(ValueError, match=message):
        write(**{"coordinates": lattice(space), **arguments})


def test_coordinates_that_do_not_fit(write, space):
    fitting = lattice(space)
    for wrong, message in [
        (fitting.to_numpy(), "coordinates of 'place' must be a frame with the columns x and y"),
        (
            fitting.rename(columns={"x": "u"}),
            "coordinates of 'place' must be a frame with the columns x and y",
        ),
        (fitting.iloc[1:], "coordinates of 'place' must have 60 rows; got 59"),
        (
            fitting.reset_index(drop=True),
            "coordinates of 'place' must be indexed by its categories, each once",
        ),
        (fitting.assign(x=np.nan), "coordinates of 'place' must be finite"),
    ]:
        with pytest.raises(ValueError, match=message):
            write(coordinates=wrong)
    shuffled = given_of(write(coordinates=fitting[::-1]))["spaces"][0]["xy"]
    assert (
        shuffled == given_of(write(coordinates=fitting))["spaces"][0]["xy"]
    )  # by category, not by place


def test_too_many_categories(tmp_path):
    space = EmbeddingSpace(np.ones((200_001, 1)), range(200_001), name="id")
    with pytest.raises(
        ValueError, match="at most 200,000 categories; 'id' has 200,001, so pass a smaller space"
    ):
        space.atlas(tmp_path / "page.html")


def test_a_path_that_cannot_be_written(space, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"path must lie in an existing folder; got .*nowhere"):
        space.atlas(tmp_path / "nowhere" / "page.html")
    with pytest.raises(IsADirectoryError, match="path must name a file"):
        space.atlas(tmp_path)


def test_formulas_in_the_csv_are_text_for_a_spreadsheet():
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    script = resources.files("tabemb.spaces").joinpath("atlas_page/cards.js").read_text()
    script = script[script.index("// Spreadsheets") : script.index("async function copyChosen")]
    formulas = ["=1+1", "+A1", "-A1", "@x", "\t=1", "\r=1", "=HYPERLINK(1,2)", "\uff1d1"]
    plain = ["-1", "+1.5", "-.5e-3", -2, 0, None, "a=1", "", "x, y"]
    script += f"console.log(JSON.stringify({json.dumps(formulas + plain)}.map(cell)))"
    run = subprocess.run([node, "-e", script], capture_output=True, text=True, check=True)
    cells = [next(csv.reader(io.StringIO(cell, newline="")), [""])[0] for cell in json.loads(run.stdout)]
    assert cells[: len(formulas)] == ["'" + text for text in formulas]
    assert cells[len(formulas) :] == ["" if text is None else str(text) for text in plain]

"""The atlas in Firefox: what test_atlas.py checks in Chromium in detail works there too."""

import numpy as np
import pandas as pd
import pytest

from tabemb.spaces import EmbeddingSpace
from tests.spaces import firefox

GROUPS = ["north", "south", "west"]
N_EACH = 20
ENTER = "\ue007"


@pytest.fixture(scope="module")
def space():
    rng = np.random.default_rng(0)
    vectors = np.repeat(np.eye(8)[[0, 3, 5]] * 4, N_EACH, axis=0) + rng.normal(size=(3 * N_EACH, 8))
    names = [f"{group} {i}" for group in GROUPS for i in range(N_EACH)]
    return EmbeddingSpace(vectors, names, counts=[*range(N_EACH, 0, -1)] * 3, name="place")


@pytest.fixture(scope="module")
def page(space, tmp_path_factory):
    """A tab of a running Firefox, and the address of an atlas of three clumps."""
    path = firefox.program()
    if path is None:
        pytest.skip("Firefox is not installed")
    pytest.importorskip("websockets", reason="websockets is not installed")
    folder = tmp_path_factory.mktemp("atlas")
    middles = np.repeat([[0, 0], [9, 0], [4, 7]], N_EACH, axis=0)
    places = middles + np.random.default_rng(0).normal(size=middles.shape)
    clumps = pd.DataFrame(places, columns=["x", "y"], index=space.categories)
    written = space.atlas(folder / "page.html", coordinates=clumps)
    with firefox.running(path, str(tmp_path_factory.mktemp("profile"))) as page:
        yield page, written.as_uri()


@pytest.fixture
def opened(page):
    """The page as it opens; no error may be logged."""
    page, address = page
    page.open("about:blank", 1300, 800)
    page.open(address, 1300, 800)
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    yield page
    assert page.faults == []


def neighbours(page):
    return page.evaluate(
        "[...document.querySelectorAll('#details .neighbours .name')].map(name => name.innerText)"
    )


def test_points_and_the_words_of_their_regions_are_drawn(opened):
    assert opened.evaluate("atlas.drawn") == 3 * N_EACH
    words = opened.evaluate("atlas.labels.filter(label => label.id === null).map(label => label.text)")
    assert sorted(words) == GROUPS
    colours = opened.evaluate(
        "(() => { const c = document.getElementById('points'), d = new Uint32Array(c.getContext('2d')"
        ".getImageData(0, 0, c.width, c.height).data.buffer); return new Set(d).size })()"
    )
    assert colours > 2


def test_a_click_and_a_search_list_the_nearest(opened, space):
    at = opened.evaluate("atlas.at('south 0')")
    opened.click(at["x"], at["y"])
    assert neighbours(opened) == list(space.nearest("south 0")["category"])
    opened.keys("/west 7" + ENTER)
    assert neighbours(opened) == list(space.nearest("west 7")["category"])


def test_the_wheel_zooms(opened):
    before = opened.evaluate("atlas.view.k")
    opened.wheel(800, 400, -300)
    assert opened.evaluate("atlas.view.k") > 1.3 * before


def test_an_address_shows_its_category(opened, space):
    opened.evaluate("void (location.hash = '#category=north+4')")
    opened.evaluate("new Promise(done => setTimeout(done, 50))")
    assert neighbours(opened) == list(space.nearest("north 4")["category"])

import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib import colormaps
from matplotlib.colors import to_hex

from tabemb.spaces import EmbeddingSpace, maps, palette, plane


def clusters(n_each=20, seed=0):
    """Two groups of directions in eight dimensions, far apart."""
    rng = np.random.default_rng(seed)
    centres = np.eye(8)[[0, 3]] * 5
    vectors = np.vstack([centre + rng.normal(scale=0.3, size=(n_each, 8)) for centre in centres])
    names = [f"{group} {i}" for group in ("first", "second") for i in range(n_each)]
    return EmbeddingSpace(vectors, names, counts=rng.integers(1, 1000, 2 * n_each), name="thing")


def labels_of(figure):
    return figure.axes[0].texts


def boxes_of(figure):
    figure.canvas.draw()
    return [text.get_window_extent().extents for text in labels_of(figure)]


def test_pca_keeps_the_distances_of_points_in_a_plane():
    flat = np.random.default_rng(0).normal(size=(30, 2))
    turned = flat @ np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))[0][:2]
    placed = plane.pca(turned)
    np.testing.assert_allclose(
        np.linalg.norm(placed[:, None] - placed, axis=2),
        np.linalg.norm(flat[:, None] - flat, axis=2),
        atol=1e-9,
    )
    assert placed[:, 0].var() > placed[:, 1].var()


@pytest.mark.parametrize(
    "dpi", [60, *(pytest.param(dpi, marks=pytest.mark.slow) for dpi in (100, 150)), 220]
)
def test_labels_never_overlap_and_stay_inside(dpi):
    rng = np.random.default_rng(0)
    names = [f"category {'x' * rng.integers(1, 15)} {i}" for i in range(150)]
    space = EmbeddingSpace(
        rng.normal(size=(150, 2)), names, counts=rng.integers(1, 99, 150), name="crowd"
    )
    figure = space.map(method="pca", metric="euclidean")
    figure.set_dpi(dpi)  # text widths are hinted, so they change a little with the resolution
    boxes = np.array(boxes_of(figure))
    assert 30 < len(boxes) < 150  # some were dropped, many were kept
    overlap = ((boxes[:, None, :2] < boxes[:, 2:]) & (boxes[:, None, 2:] > boxes[:, :2])).all(axis=2)
    np.testing.assert_array_equal(overlap, np.eye(len(boxes), dtype=bool))
    frame = figure.axes[0].bbox.extents
    assert (boxes[:, :2] >= frame[:2] - 1).all()
    assert (boxes[:, 2:] <= frame[2:] + 1).all()


def test_neighbouring_labels_keep_some_air():
    rng = np.random.default_rng(0)
    figure = EmbeddingSpace(rng.normal(size=(300, 2)), range(300)).map(method="pca", metric="euclidean")
    boxes = np.array(boxes_of(figure)) + np.array([-1.5, 0, 1.5, 0])
    overlap = ((boxes[:, None, :2] < boxes[:, 2:]) & (boxes[:, None, 2:] > boxes[:, :2])).all(axis=2)
    np.testing.assert_array_equal(overlap, np.eye(len(boxes), dtype=bool))


def test_labels_do_not_cover_other_points():
    rng = np.random.default_rng(3)
    space = EmbeddingSpace(rng.normal(size=(120, 2)), [f"place {i}" for i in range(120)])
    figure = space.map(method="pca", metric="euclidean")
    boxes = np.array(boxes_of(figure))
    dots = figure.axes[0].transData.transform(plane.pca(space.vectors))
    covered = ((dots[:, None] > boxes[:, :2]) & (dots[:, None] < boxes[:, 2:])).all(axis=2)
    assert not covered.any()


def test_of_two_labels_in_one_place_the_frequent_category_wins():
    # around nine equal points there are eight places: the rarest has no label
    names = [f"quite a long name {i}" for i in range(20)]
    space = EmbeddingSpace(np.ones((20, 2)), names, counts=np.arange(1, 21))
    written = {text.get_text() for text in labels_of(space.map(method="pca"))}
    assert names[19] in written
    assert names[0] not in written


def test_a_frequent_category_in_a_crowd_is_labelled_at_the_end_of_a_line():
    rng = np.random.default_rng(0)
    crowd = np.vstack(
        [[0, 0], rng.normal(scale=0.02, size=(150, 2)), [[-1, -1], [1, 1], [-1, 1], [1, -1]]]
    )
    names = ["the middle", *(f"one of many {i}" for i in range(154))]
    figure = EmbeddingSpace(crowd, names, counts=[1000] + [1] * 154).map(
        method="pca", metric="euclidean"
    )
    boxes = dict(zip((text.get_text() for text in labels_of(figure)), boxes_of(figure)))
    axes = figure.axes[0]
    lines = [axes.transData.transform(line.get_xydata()) for line in axes.lines]
    middle = axes.transData.transform(axes.collections[0].get_offsets()[0])
    (end,) = (line[1] for line in lines if np.allclose(line[0], middle))
    left, bottom, right, top = boxes["the middle"]
    assert left - 9 < end[0] < right + 9
    assert bottom - 9 < end[1] < top + 9


def test_lines_cross_no_label():
    rng = np.random.default_rng(1)
    crowds = np.vstack(
        [centre + rng.normal(scale=0.08, size=(40, 2)) for centre in rng.uniform(-1, 1, size=(6, 2))]
    )
    figure = EmbeddingSpace(crowds, [f"one of many {i}" for i in range(240)]).map(
        method="pca", metric="euclidean"
    )
    boxes, axes = boxes_of(figure), figure.axes[0]
    lines = [axes.transData.transform(line.get_xydata()) for line in axes.lines]
    assert len(lines) > 20
    along = np.vstack([line[0] + np.linspace(0, 1, 99)[:, None] * (line[1] - line[0]) for line in lines])
    inside = np.array(
        [((along > box[:2] + 1) & (along < box[2:] - 1)).all(axis=1).any() for box in boxes]
    )
    assert not inside.any()


def test_many_points_are_smaller_and_the_legend_is_not():
    few, many = (
        EmbeddingSpace(np.random.default_rng(0).normal(size=(n, 2)), range(n)) for n in (500, 2000)
    )
    pictures = [space.map(["class"] * len(space), method="pca", n_labels=0) for space in (few, many)]
    areas = [picture.axes[0].collections[-1].get_sizes()[0] for picture in pictures]
    assert areas[1] == areas[0] / 2
    handles = [picture.axes[0].get_legend().legend_handles[0].get_sizes()[0] for picture in pictures]
    assert handles[0] == handles[1]


def test_a_highlighted_category_has_a_label_even_in_a_crowd():
    side = np.linspace(-1, 1, 81)
    crowd = np.stack(np.meshgrid(side, side), axis=2).reshape(-1, 2)
    crowd = crowd[np.linalg.norm(crowd, axis=1) < 0.3]  # no label fits between the points
    points = np.vstack([crowd, [[-1, -1], [-1, 1], [1, -1], [1, 1]]])
    space = EmbeddingSpace(points, [f"name {i}" for i in range(len(points))])
    middle = str(space.categories[len(crowd) // 2])
    figure = space.map(method="pca", metric="euclidean", highlight=[middle])
    assert labels_of(figure)[0].get_text() == middle


def test_highlighted_categories_come_first_and_in_bold():
    names = [f"quite a long name {i}" for i in range(20)]
    space = EmbeddingSpace(np.ones((20, 2)), names, counts=np.arange(1, 21))
    texts = labels_of(space.map(method="pca", highlight=[names[0]]))
    assert [text.get_text() for text in texts if text.get_fontweight() == "bold"] == [names[0]]
    with pytest.raises(KeyError, match="did you mean 'quite a long name 0'"):
        space.map(highlight=["quite a long nam 0"])


def test_labels_may_be_chosen_and_limited():
    space = EmbeddingSpace(np.eye(3), ["a", "b", "c"])
    figure = space.map(label={"a": "here", "c": "$x^"}, method="pca")
    assert sorted(text.get_text() for text in labels_of(figure)) == ["$x^", "here"]
    assert not labels_of(space.map(n_labels=0, method="pca"))
    long = EmbeddingSpace(np.eye(2), ["n" * 80, "line\nbreak"]).map(method="pca")
    assert {text.get_text() for text in labels_of(long)} == {"n" * 31 + "…", "line break"}


def test_rare_categories_are_smaller():
    space = EmbeddingSpace(np.eye(3), ["rare", "some", "many"], counts=[1, 30, 900])
    sizes = space.map(method="pca").axes[0].collections[0].get_sizes()
    assert sizes[0] < sizes[1] < sizes[2]


def test_numbers_get_a_named_scale_and_missing_ones_are_grey():
    color = pd.Series({"a": 1.0, "b": 3.0}, name="price")
    figure = EmbeddingSpace(np.eye(3), ["a", "b", "c"]).map(color, method="pca")
    grey, dots = figure.axes[0].collections
    assert len(grey.get_offsets()) == 1
    np.testing.assert_array_equal(dots.get_array(), [1, 3])
    assert figure.axes[1].get_ylabel() == "price"


def test_classes_get_a_legend_and_the_rarest_share_one_entry():
    classes = [f"class {i}" for i in [0, 0, *range(10)]]
    figure = EmbeddingSpace(np.eye(12), range(12)).map(classes, method="pca")
    entries = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert entries == [f"class {i}" for i in range(7)] + ["3 others"]


@pytest.mark.parametrize(
    ("argument", "values", "message"),
    [
        ("color", [1, 2], "color must hold 3 values, one for each category; got 2"),
        (
            "label",
            {"z": "x"},
            "label must map categories to values; none of its keys is a category, the first is 'z'",
        ),
        (
            "color",
            pd.Series([1, 2], index=["a", "a"]),
            "color must be indexed by unique categories; its index repeats one",
        ),
    ],
)
def test_values_that_do_not_fit(argument, values, message):
    with pytest.raises(ValueError, match=message):
        EmbeddingSpace(np.eye(3), ["a", "b", "c"]).map(**{argument: values})


def test_map_of_an_empty_space_is_an_empty_picture():
    assert not labels_of(EmbeddingSpace(np.empty((0, 2)), []).map())


def test_without_matplotlib_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    message = r"matplotlib is not installed; pip install 'tabemb\[maps\]' brings it\."
    with pytest.raises(ImportError, match=message):
        EmbeddingSpace(np.eye(3), ["a", "b", "c"]).map(method="pca")


def test_the_colours_of_numbers_are_those_of_viridis():
    steps = np.linspace(0, 1, len(palette.SCALE))
    assert list(palette.SCALE) == [to_hex(color) for color in colormaps["viridis"](steps)]


def test_dollars_and_underscores_are_drawn_as_they_are():
    space = clusters()
    classes = pd.Series(["$x^", "_hidden"] * 20, index=space.categories, name="in $ and 100$")
    figure = space.map(color=classes, method="pca", title="$y^")
    figure.canvas.draw()
    legend = figure.axes[0].get_legend()
    texts = [legend.get_title(), *legend.get_texts()]
    assert [text.get_text() for text in texts] == ["in $ and 100$", "$x^", "_hidden"]
    numbers = pd.Series(range(40), index=space.categories, name="$z^")
    figure = space.map(color=numbers, method="pca")
    figure.canvas.draw()
    texts.append(figure.axes[1].yaxis.label)
    assert texts[-1].get_text() == "$z^"
    assert not any(text.get_parse_math() for text in texts)


# Reliability


def unsure(n=40, **changed):
    """Return spread points; the last is the most reliable, independent of the counts."""
    vectors = np.random.default_rng(0).normal(size=(n, 3))
    names = [f"a name as long as {i}" for i in range(n)]
    return EmbeddingSpace(vectors, names, reliability=np.linspace(0, 1, n), name="thing", **changed)


def looks_of(figure):
    """Return the opacities and the areas of all points, by position on the map."""
    dots = [c for c in figure.axes[0].collections if len(c.get_offsets())]
    places = np.vstack([c.get_offsets() for c in dots])
    opacity = np.concatenate([np.broadcast_to(c.get_alpha(), len(c.get_offsets())) for c in dots])
    sizes = np.concatenate([c.get_sizes() for c in dots])
    order = np.lexsort(places.T)
    return opacity[order], sizes[order]


def kinds(space, missing=()):
    return [None if i in missing else "abc"[i % 3] for i in range(len(space))]


def heights(space, missing=()):
    return [np.nan if i in missing else i / 7 for i in range(len(space))]


@pytest.mark.parametrize("color", [None, kinds, heights])
def test_points_fade_and_shrink_with_reliability(color):
    space = unsure(counts=[7] * 40)
    color = None if color is None else color(space, missing=[3, 4])
    figure = space.map(color, method="pca")
    figure.canvas.draw()
    by_place = np.lexsort(space.coordinates("pca").to_numpy().T)
    opacity, sizes = (np.empty(40), np.empty(40))
    opacity[by_place], sizes[by_place] = looks_of(figure)
    assert (np.diff(opacity) > 0).all()
    assert (np.diff(sizes) > 0).all()
    assert opacity[[0, -1]] == pytest.approx([maps.FAINTEST, maps.OPACITY])
    assert sizes[0] == pytest.approx(maps.LEAST_SHARE * sizes[-1])


@pytest.mark.parametrize("color", [None, kinds, heights])
def test_a_space_without_reliability_is_drawn_as_one_that_is_sure_without_the_notes(color):
    plain = clusters()
    sure = EmbeddingSpace(plain.vectors, plain.categories, plain.counts, reliability=np.ones(40))
    drawn = [
        looks_of(space.map(color and color(space), method="pca", n_labels=0)) for space in (plain, sure)
    ]
    np.testing.assert_array_equal(*drawn)
    np.testing.assert_array_equal(drawn[0][0], maps.OPACITY)
    figure = plain.map(color and color(plain), method="pca")
    assert not figure.legends
    assert figure.axes[0].get_xlabel() == (
        "Near points have similar vectors; the axes have no unit. Larger points stand for more rows."
    )


def test_the_map_says_what_faint_points_are_and_what_another_model_would_share():
    space = unsure()
    figure = space.map(method="pca", figsize=(5, 4))
    figure.canvas.draw()
    (legend,) = figure.legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts[-1] == "faint: few rows or no effect, mostly noise"
    opacity = [handle.get_alpha() for handle in legend.legend_handles]
    assert opacity == sorted(opacity, reverse=True)
    note = figure.axes[0].xaxis.label
    assert note.get_text().split("\n")[1] == (
        f"Of five neighbours, a model of other rows would share {space.overlap:.0%}."
    )
    boxes = [part.get_window_extent().extents for part in (legend, note, figure.axes[0], figure)]
    assert boxes[0][1] >= 0  # the whole legend is in the picture
    assert boxes[0][2] <= boxes[3][2]
    assert boxes[0][3] <= boxes[1][1]  # the legend does not cover the note
    assert boxes[1][3] <= boxes[2][1]  # the note covers no point
    few = unsure(4).map(method="pca")
    assert "\n" not in few.axes[0].get_xlabel()  # too few for an overlap


def test_labels_go_to_the_sure_first_and_are_paler_where_unsure():
    names = [f"quite a long name {i}" for i in range(20)]
    reliability = np.linspace(0, 1, 20)
    space = EmbeddingSpace(np.ones((20, 2)), names, np.arange(20, 0, -1), reliability=reliability)
    texts = labels_of(space.map(method="pca", metric="euclidean"))  # all points are equal
    written = [text.get_text() for text in texts]
    assert names[19] in written
    assert names[0] not in written
    limited = unsure().map(method="pca", n_labels=5)
    assert {int(text.get_text().split()[-1]) for text in labels_of(limited)} <= set(range(35, 40))
    alphas = {text.get_text(): text.get_alpha() for text in labels_of(unsure().map(method="pca"))}
    ordered = sorted(alphas, key=lambda name: int(name.split()[-1]))
    assert [alphas[name] for name in ordered] == sorted(alphas.values())
    assert alphas[ordered[-1]] == 1


def test_of_equally_sure_categories_the_frequent_is_labelled_first():
    names = [f"quite a long name {i}" for i in range(20)]
    space = EmbeddingSpace(
        np.ones((20, 2)), names, np.arange(1, 21), reliability=np.linspace(0.94, 0.92, 20)
    )
    texts = labels_of(space.map(method="pca", metric="euclidean"))
    written = {text.get_text() for text in texts}
    assert names[19] in written
    assert names[0] not in written

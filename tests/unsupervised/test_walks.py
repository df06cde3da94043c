"""Random walks: known stationary distribution, return rates by hand, weights, directions, ends."""

import itertools

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tabemb import random_walks
from tabemb.unsupervised.walks import Graph


def edges_of(pairs, **columns):
    sources, targets = zip(*pairs)
    return pd.DataFrame({"source": sources, "target": targets, **columns})


def steps_of(walks):
    """Return all steps of all walks as pairs."""
    return [pair for walk in walks["walk"].to_pylist() for pair in itertools.pairwise(walk)]


def shares(values):
    return pd.Series(values).value_counts(normalize=True).to_dict()


# a kite: a triangle a, b, c with a tail c, d, e
KITE = edges_of([("a", "b"), ("b", "c"), ("c", "a"), ("c", "d"), ("d", "e")])


@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 3.0, 4.0, 5.0]], ids=["plain", "weighted"])
def test_uniform_walks_visit_nodes_in_proportion_to_their_degree(weights):
    edges = KITE if weights is None else KITE.assign(w=weights)
    name = None if weights is None else "w"
    walks = random_walks(edges, weight=name, n_walks=200, length=400, random_state=0)
    late = [node for walk in walks["walk"].to_pylist() for node in walk[50:]]
    w = np.ones(5) if weights is None else np.array(weights)
    degrees = (
        pd.concat([pd.Series(w, KITE["source"]), pd.Series(w, KITE["target"])]).groupby(level=0).sum()
    )
    for node, share in (degrees / degrees.sum()).items():
        assert shares(late)[node] == pytest.approx(share, abs=0.004)


def second_order(edges, p, q, directed=False, weight=None, **more):
    """Measure how often each node follows each pair of nodes."""
    walks = random_walks(
        edges,
        p=p,
        q=q,
        n_walks=500,
        length=30,
        directed=directed,
        weight=weight,
        random_state=0,
        **more,
    )
    triples = [
        (*walk[i : i + 2], walk[i + 2])
        for walk in walks["walk"].to_pylist()
        for i in range(len(walk) - 2)
    ]
    frame = pd.DataFrame(triples, columns=["before", "here", "next"])
    return frame.groupby(["before", "here"])["next"].value_counts(normalize=True)


@pytest.mark.parametrize(("p", "q"), [(0.25, 4.0), (4.0, 0.25), (0.1, 0.5), (2.0, 1.0), (1.0, 1.0)])
def test_p_and_q_change_the_next_node_as_computed_by_hand(p, q):
    rates = second_order(KITE, p, q)
    # from a to c: back to a, to b (a neighbour of a), or to d (none)
    total = 1 / p + 1 + 1 / q
    assert rates["a", "c", "a"] == pytest.approx(1 / p / total, abs=0.02)
    assert rates["a", "c", "b"] == pytest.approx(1 / total, abs=0.02)
    assert rates["a", "c", "d"] == pytest.approx(1 / q / total, abs=0.02)
    # from c to d: back to c, or to e
    assert rates["c", "d", "c"] == pytest.approx(1 / p / (1 / p + 1 / q), abs=0.02)
    # from d to e: only back
    assert rates["d", "e", "d"] == 1


@pytest.mark.parametrize(("p", "q"), [(0.2, 3.0), (3.0, 0.2)])
def test_p_and_q_multiply_the_weights(p, q):
    edges = KITE.assign(w=[1.0, 2.0, 3.0, 4.0, 5.0])  # a-b 1, b-c 2, c-a 3, c-d 4, d-e 5
    rates = second_order(edges, p, q, weight="w")
    total = 3 / p + 2 + 4 / q
    assert rates["a", "c", "a"] == pytest.approx(3 / p / total, abs=0.02)
    assert rates["a", "c", "b"] == pytest.approx(2 / total, abs=0.02)
    assert rates["a", "c", "d"] == pytest.approx(4 / q / total, abs=0.02)


def test_directed_walks_follow_the_direction_and_end():
    edges = edges_of([("a", "b"), ("b", "c"), ("b", "a"), ("c", "b"), ("b", "end")])
    walks = random_walks(edges, directed=True, n_walks=300, length=20, random_state=0)
    assert set(steps_of(walks)) == {("a", "b"), ("b", "c"), ("b", "a"), ("c", "b"), ("b", "end")}
    rows = walks["walk"].to_pylist()
    assert all("end" not in walk[:-1] for walk in rows)
    assert rows.count(["end"]) == 300
    assert {len(walk) for walk in rows if walk[-1] != "end"} == {20}
    # from a to b: back to a with p; neither c nor end has an edge from a
    rates = second_order(edges, 0.5, 2.0, directed=True)
    assert rates["a", "b", "a"] == pytest.approx(2 / (2 + 0.5 + 0.5), abs=0.02)
    # a leads to d, but not to c, though c leads to a
    distant = edges_of([("a", "b"), ("a", "d"), ("b", "c"), ("b", "d"), ("c", "a"), ("d", "a")])
    rates = second_order(distant, 1.0, 4.0, directed=True)
    assert rates["a", "b", "d"] == pytest.approx(1 / (1 + 1 / 4), abs=0.02)
    # if no edge leads back, p has no effect
    cycle = edges_of([("a", "b"), ("b", "c"), ("c", "a"), ("b", "d"), ("d", "a")])
    rates = second_order(cycle, 0.01, 1.0, directed=True)
    assert rates["a", "b", "c"] == pytest.approx(0.5, abs=0.02)


def test_walks_start_at_each_node_in_random_order_and_isolated_nodes_stay():
    walks = random_walks(KITE, nodes=["a", "lonely"], n_walks=3, length=5, random_state=0)
    rows = walks["walk"].to_pylist()
    assert shares([walk[0] for walk in rows]) == pytest.approx(
        dict.fromkeys([*"abcde", "lonely"], 1 / 6)
    )
    assert rows.count(["lonely"]) == 3
    assert all(len(walk) == 5 for walk in rows if walk != ["lonely"])
    starts = [walk[0] for walk in rows]
    assert starts != sorted(starts)
    assert starts[:6] != starts[6:12]


def test_a_walk_only_takes_edges():
    rng = np.random.default_rng(0)
    edges = edges_of(rng.integers(300, size=(900, 2)).tolist())
    allowed = set(zip(edges["source"], edges["target"]))
    for settings in ({}, {"p": 0.3, "q": 3.0}, {"directed": True}):
        steps = set(steps_of(random_walks(edges, n_walks=3, length=10, random_state=0, **settings)))
        both = allowed if settings.get("directed") else allowed | {(t, s) for s, t in allowed}
        assert steps <= both
        assert len(steps) > 0.9 * len(both)


def test_weights_of_repeated_edges_add_and_a_weight_of_zero_is_no_edge():
    edges = edges_of([("a", "b"), ("a", "b"), ("b", "a"), ("a", "c"), ("a", "d")], w=[1, 1, 1, 1, 0])
    walks = random_walks(edges, weight="w", n_walks=2000, length=2, random_state=0)
    following = shares([walk[1] for walk in walks["walk"].to_pylist() if walk[0] == "a"])
    assert following == pytest.approx({"b": 0.75, "c": 0.25}, abs=0.03)
    assert ["d"] in walks["walk"].to_pylist()
    plain = random_walks(edges.head(4), n_walks=2000, length=2, random_state=0)
    again = shares([walk[1] for walk in plain["walk"].to_pylist() if walk[0] == "a"])
    assert again == pytest.approx({"b": 0.75, "c": 0.25}, abs=0.03)


def test_a_loop_is_one_arc():
    graph = Graph.of(np.array([0, 0]), np.array([0, 1]), None, 2, directed=False)
    assert graph.offsets.tolist() == [0, 2, 3]
    assert graph.targets.tolist() == [0, 1, 0]
    assert graph.weights is None


def test_nodes_keep_their_type_and_frames_may_be_of_any_library():
    pairs = [(1, 2), (2, 3)]
    arrow = pa.table({"source": [1, 2], "target": [2, 3]})
    polars = pytest.importorskip("polars", reason="polars is not installed").from_arrow(arrow)
    expected = random_walks(edges_of(pairs), n_walks=2, length=3, random_state=0)["walk"].to_pylist()
    assert isinstance(expected[0][0], int)
    for edges in (arrow, polars):
        assert random_walks(edges, n_walks=2, length=3, random_state=0)["walk"].to_pylist() == expected
    renamed = arrow.rename_columns(["from", "to"])
    walks = random_walks(renamed, source="from", target="to", n_walks=2, length=3, random_state=0)
    assert walks["walk"].to_pylist() == expected
    other = random_walks(arrow, n_walks=2, length=3, random_state=1)["walk"].to_pylist()
    assert other != expected


def test_walks_feed_the_embedder():
    """In two cliques with one bridge, the nodes of a clique have near vectors."""
    pytest.importorskip("gensim", reason="gensim is not installed")
    from tabemb import ItemEmbedder

    pairs = [(a, b) for clique in (range(8), range(8, 16)) for a in clique for b in clique if a < b]
    odd = {i: ("node", i) for i in range(16)}  # nodes without an Arrow type
    edges = pd.DataFrame({"source": [odd[a] for a, _ in pairs], "target": [odd[b] for _, b in pairs]})
    edges.loc[len(edges)] = [odd[0], odd[8]]
    for settings in ({}, {"p": 0.5, "q": 2.0}):
        walks = random_walks(edges, n_walks=20, length=20, random_state=0, **settings)
        space = ItemEmbedder(dim=8, max_epochs=3, random_state=0).fit(walks).space_
        near = space.neighbors(k=5)
        same = [(a[1] < 8) == (b[1] < 8) for a, b in zip(near["category"], near["neighbor"])]
        assert np.mean(same) > 0.95


REFUSED = {
    "a column": (KITE, {"source": "form"}, r"edges lacks column 'form'"),
    "one column twice": (
        KITE,
        {"source": "target"},
        r"source and target must be different columns; both are 'target'",
    ),
    "a missing node": (
        KITE.assign(target=["b", None, "a", "d", "e"]),
        {},
        r"Column 'target' must hold a node in each row; it is missing in row 1\.",
    ),
    "a negative weight": (
        KITE.assign(w=[1, 1, -2, 1, 1]),
        {"weight": "w"},
        r"Column 'w' must hold finite weights of at least 0; row 2 has -2\.0\.",
    ),
    "a missing weight": (KITE.assign(w=[1, np.nan, 2, 1, 1]), {"weight": "w"}, r"row 1 has nan\."),
    "a text as weight": (
        KITE,
        {"weight": "source"},
        r"Column 'source' must hold numbers, as weight names it",
    ),
    "no step": (KITE, {"length": 0}, r"length must be a whole number >= 1; got 0\."),
    "p of zero": (KITE, {"p": 0}, r"p must be a number > 0; got 0\."),
    "two kinds": (
        KITE.assign(target=range(5)),
        {},
        r"must hold values of one kind; 'source' holds text",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_walked_is_refused_in_one_sentence(name):
    edges, settings, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        random_walks(edges, **settings)

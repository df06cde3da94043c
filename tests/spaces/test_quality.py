import numpy as np
import pandas as pd
import pytest

from tabemb.spaces import EmbeddingSpace, agreement, lengths_by_count, stability


def random_space(n, seed, d=5):
    return EmbeddingSpace(np.random.default_rng(seed).normal(size=(n, d)), [f"c{i}" for i in range(n)])


def test_a_turned_space_is_perfectly_stable():
    space = random_space(100, seed=0)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 5)))[0]
    order = np.random.default_rng(2).permutation(100)
    turned = EmbeddingSpace((space.vectors @ turn * 3)[order], space.categories[order])
    assert stability([space, turned], k=7) == (1, 7 / 99, 100)


def test_unrelated_spaces_are_as_stable_as_chance():
    found = stability([random_space(400, seed) for seed in range(3)], k=20)
    assert found.chance == 20 / 399
    assert found.overlap == pytest.approx(found.chance, rel=0.1)


def test_overlap_is_the_share_of_common_neighbours():
    one = EmbeddingSpace([[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9]], list("abcd"))
    other = EmbeddingSpace(
        [[1, 0], [0.9, 0.1], [0, 1], [0.8, 0.2]], list("abcd")
    )  # only d has another nearest neighbour
    assert stability([one, other], k=1).overlap == 0.75
    assert stability([one, other], k=3).overlap == 1


def test_stability_is_over_shared_categories():
    one, other = random_space(30, seed=0), random_space(30, seed=0)
    wider = EmbeddingSpace(np.vstack([other.vectors, one.vectors]), [*other, *range(30)])
    assert stability([one, wider]) == stability([one, other])
    assert stability([one, wider]).n_categories == 30


@pytest.mark.parametrize(
    ("spaces", "k", "message"),
    [
        ([random_space(9, 0)], 2, "spaces must hold at least two spaces; got 1"),
        (
            [random_space(9, 0), random_space(3, 0)],
            3,
            "k must be less than the number of categories shared by the spaces, 3; got 3",
        ),
        ([random_space(9, 0), random_space(9, 0)], 0, "k must be an integer of at least 1"),
    ],
)
def test_stability_of_too_little(spaces, k, message):
    with pytest.raises(ValueError, match=message):
        stability(spaces, k)


FAN = EmbeddingSpace([[1, 0], [1, 0.5], [1, 1], [0, 1]], ["a", "b", "c", "d"])


def test_agreement_with_the_cosines_themselves_is_one_and_with_their_opposite_minus_one():
    cosines = pd.DataFrame(
        [[FAN.similarity(a, b) for b in FAN] for a in FAN], index=list(FAN), columns=list(FAN)
    )
    assert agreement(FAN, cosines) == (1, 6)
    assert agreement(FAN, -(cosines**3)) == (-1, 6)


def test_agreement_of_known_ranks():
    # cosines decrease in this order; Spearman's rho of ranks 1, 2, 3 and 1, 3, 2 is 1 - 6 * 2 / (3 * 8)
    pairs = [
        ("a", "b", 9.0),
        ("a", "c", 3.0),
        ("a", "d", 5.0),
        ("a", "zzz", 1.0),
        ("b", "b", 1.0),
        ("b", "c", np.nan),
    ]
    assert agreement(FAN, pairs) == (pytest.approx(0.5), 3)


def test_a_frame_may_hold_categories_that_the_space_lacks():
    frame = pd.DataFrame(1.0, index=list("abxc"), columns=list("abxc"))
    frame.loc["a", "b"] = frame.loc["b", "a"] = 2.0
    frame.loc["a", "c"] = frame.loc["c", "a"] = np.nan
    assert agreement(FAN, frame).n_pairs == 2


@pytest.mark.parametrize(
    ("similarities", "message"),
    [
        (pd.DataFrame(np.eye(2), index=["a", "b"], columns=["a", "c"]), "must be a symmetric frame"),
        (
            pd.DataFrame([[1, 2], [3, 1]], index=["a", "b"], columns=["a", "b"]),
            "must be a symmetric frame",
        ),
        ([("a", "b", 1.0)], "at least two pairs of categories of .*; got 1"),
        ([], "at least two pairs of categories of .*; got 0"),
        ([("a", "b", 1.0), ("a", "c", 1.0)], "all pairs are equally similar"),
    ],
)
def test_similarities_that_cannot_be_compared(similarities, message):
    with pytest.raises(ValueError, match=message):
        agreement(FAN, similarities)


def test_lengths_by_count():
    counts = np.array([0, 1, 2, 3, 9.5, 10, 29, 1000])
    vectors = np.zeros((8, 2))
    vectors[:, 0] = [0, 1, 3, 4, 6, 8, 10, -20]
    found = lengths_by_count(EmbeddingSpace(vectors, range(8), counts))
    expected = {
        "from": [0, 1, 3, 10, 1000],
        "to": [1, 3, 10, 30, 3000],
        "n_categories": [1, 2, 2, 2, 1],
        "median_length": [0.0, 2.0, 5.0, 9.0, 20.0],
    }
    pd.testing.assert_frame_equal(found, pd.DataFrame(expected), check_dtype=False)
    with pytest.raises(ValueError, match=r"space must have counts; .* has none"):
        lengths_by_count(FAN)

"""One contract for all recommenders, and known answers for each."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge

import tabemb
from tabemb.fitting import recommending as module
from tabemb.unsupervised.baselines import ALS, BPR, EASE, ItemKNN, Popularity, RandomItems
from tabemb.unsupervised.interactions import Lists, read_interactions
from tabemb.unsupervised.pairs import PairEmbedder
from tabemb.unsupervised.ranking import evaluate
from tabemb.unsupervised.splits import split_users


def blocks(n_users=80, n_items=40, n_groups=4, n=10, seed=0):
    """Return users who like only items of their own group, which is the user's number modulo 4."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(n_users):
        liked = np.arange(user % n_groups, n_items, n_groups)
        rows += [(f"u{user}", f"i{item}") for item in rng.choice(liked, min(n, len(liked)) - 3, False)]
    return pd.DataFrame(rows, columns=["user", "item"])


def group(label):
    return int(label[1:]) % 4


class RecommenderContract:
    """Tests for every recommender; the idea is from the package implicit."""

    knows = True
    """Whether it finds the groups of `blocks`."""

    def model(self, **params):
        raise NotImplementedError

    @pytest.fixture
    def fitted(self):
        if "_fitted" not in vars(type(self)):
            type(self)._fitted = self.model().fit(blocks())
        return self._fitted

    def test_recommends_what_the_user_likes(self, fitted):
        table = fitted.recommend(k=3)
        right = table["user"].map(group) == table["item"].map(group)
        assert right.mean() > (0.95 if self.knows else 0)

    def test_frame_has_k_items_of_falling_score(self, fitted):
        table = fitted.recommend(k=5)
        assert list(table.columns) == ["user", "rank", "item", "score"]
        assert table["rank"].tolist() == [1, 2, 3, 4, 5] * 80
        assert (table.groupby("user")["score"].diff().dropna() <= 1e-6).all()
        assert not table.duplicated(["user", "item"]).any()

    def test_seen_items_are_excluded_or_not(self, fitted):
        seen = set(map(tuple, blocks().to_numpy()))
        table = fitted.recommend(k=40)
        assert not seen & set(zip(table["user"], table["item"]))
        assert len(table) + len(seen) == 80 * 40
        everything = fitted.recommend(k=50, exclude_seen=False)
        assert len(everything) == 80 * 40

    def test_answer_does_not_depend_on_who_is_asked_for_beside(self, fitted, monkeypatch):
        whole = fitted.recommend(k=4).set_index(["user", "rank"])["item"]
        monkeypatch.setattr(module, "MOST_SCORES", 50)  # one user at a time
        users = ["u7", "u3", "u3"]
        part = fitted.recommend(users, k=4)
        assert part["user"].tolist() == [user for user in users for _ in range(4)]
        assert part["item"].tolist() == [whole[user, rank] for user in users for rank in range(1, 5)]

    def test_predict_is_the_score_of_recommend(self, fitted):
        table = fitted.recommend(k=4).sample(frac=1, random_state=0)
        scores = fitted.predict(table[["user", "item"]])
        np.testing.assert_allclose(scores, table["score"], rtol=1e-4, atol=1e-5)

    def test_unknown_user_and_unknown_item(self, fitted):
        table = fitted.recommend(["nobody", "u1"], k=3)
        assert table["user"].tolist() == ["nobody"] * 3 + ["u1"] * 3
        scores = fitted.predict(pd.DataFrame({"user": ["nobody", "u1"], "item": ["i1", "nothing"]}))
        assert np.isfinite(scores).all()

    def test_no_user_no_row(self, fitted):
        assert fitted.recommend([]).empty
        assert list(fitted.recommend([]).columns) == ["user", "rank", "item", "score"]

    def test_order_of_rows_and_library_do_not_matter(self, fitted):
        again = self.model().fit(pl.from_pandas(blocks()))
        pd.testing.assert_frame_equal(again.recommend(k=3), fitted.recommend(k=3))

    def test_same_seed_same_answer_and_clone(self, fitted):
        again = clone(fitted).fit(blocks())
        pd.testing.assert_frame_equal(again.recommend(k=3), fitted.recommend(k=3))

    def test_other_types_of_labels(self):
        frame = blocks()
        numbers = pd.DataFrame({name: frame[name].str[1:].astype(int) for name in frame})
        table = self.model().fit(numbers).recommend([5], k=2)
        assert table["item"].dtype.kind == "i"
        assert table["user"].tolist() == [5, 5]

    def test_more_columns_need_names(self):
        frame = blocks().assign(stars=5)
        with pytest.raises(ValueError, match="user and item must name"):
            self.model().fit(frame)
        named = self.model(user="user", item="item").fit(frame)
        pd.testing.assert_frame_equal(named.recommend(k=2), self.model().fit(blocks()).recommend(k=2))

    def test_wrong_input_is_refused(self, fitted):
        before = fitted.recommend(k=2)
        hole = blocks()
        hole.loc[3, "item"] = None
        with pytest.raises(ValueError, match=r"Column 'item'.*first is row 3"):
            fitted.fit(hole)
        with pytest.raises(ValueError, match="lacks column 'usr'"):
            self.model(user="usr", item="item").fit(blocks().assign(more=1))
        with pytest.raises(ValueError, match="k must be a whole number"):
            fitted.recommend(k=0)
        with pytest.raises(TypeError, match="unexpected keyword"):
            fitted.fit(blocks(), groups=3)
        pd.testing.assert_frame_equal(fitted.recommend(k=2), before)

    def test_saved_and_loaded_it_answers_the_same(self, fitted, tmp_path):
        tabemb.save(fitted, tmp_path / "model")
        loaded = tabemb.load(tmp_path / "model")
        pd.testing.assert_frame_equal(loaded.recommend(k=3), fitted.recommend(k=3))
        unknown = ["nobody", "u1"]
        pd.testing.assert_frame_equal(loaded.recommend(unknown), fitted.recommend(unknown))

    def test_not_fitted(self):
        with pytest.raises(NotFittedError):
            self.model().recommend(["u1"])
        with pytest.raises(NotFittedError):
            self.model().predict(blocks())

    def test_evaluates(self, fitted):
        train, test = split_users(blocks(), "user", 0.3, random_state=0)
        table = evaluate(self.model().fit(train), test, k=5, metrics=["recall", "coverage"])
        assert table.loc["recall", "n_users"] == 80
        assert table.loc["recall", "value"] > (0.6 if self.knows else 0.05)


class Baseline(RecommenderContract):
    def test_y_is_refused(self):
        with pytest.raises(ValueError, match="y must be None"):
            self.model().fit(blocks(), [1.0] * len(blocks()))


class TestPopularity(Baseline):
    knows = False

    def model(self, **params):
        return Popularity(**params)

    def test_counts_users_or_weights(self):
        frame = pd.DataFrame({"user": list("aab"), "item": list("xxy")})
        assert Popularity().fit(frame).popularity_.tolist() == [1.0, 1.0]
        assert Popularity().fit(frame, sample_weight=[1, 2, 4]).popularity_.tolist() == [3.0, 4.0]


class TestRandomItems(Baseline):
    knows = False

    def model(self, **params):
        return RandomItems(random_state=0, **params)

    def test_users_get_different_items(self, fitted):
        assert fitted.recommend(k=1)["item"].nunique() > 20


class FromHistory(Baseline):
    def test_new_users_get_what_they_would_have_got_in_fit(self, fitted):
        new = blocks().query("user in ['u4', 'u9', 'u11']")
        renamed = new.assign(user="v" + new["user"])
        after = fitted.extend(renamed)
        for user in ("u4", "u9", "u11"):
            old, now = fitted.recommend([user], k=5), after.recommend(["v" + user], k=5)
            assert old["item"].tolist() == now["item"].tolist()
            np.testing.assert_allclose(old["score"], now["score"], rtol=1e-5)
        pd.testing.assert_frame_equal(after.recommend(["u5"]), fitted.recommend(["u5"]))
        with pytest.raises(ValueError, match="holds integer, but held text"):
            fitted.extend(pd.DataFrame({"user": [1], "item": ["i1"]}))


class TestItemKNN(FromHistory):
    def model(self, **params):
        return ItemKNN(**params)

    def test_similarity_by_hand(self):
        # x and y share 2 users of 3 and 2; y and z share 1 of 2 and 1
        frame = pd.DataFrame({"user": list("abcabb"), "item": list("xxxyyz")})
        model = ItemKNN(shrinkage=0.5).fit(frame)
        scores = model.predict(pd.DataFrame({"user": ["c", "c"], "item": ["y", "z"]}))
        expected = [2 / (np.sqrt(6) + 0.5), 1 / (np.sqrt(3) + 0.5)]
        np.testing.assert_allclose(scores, expected, rtol=1e-6)

    def test_only_the_nearest_are_kept(self):
        model = ItemKNN(n_neighbors=2).fit(blocks())
        assert (np.diff(model.neighbors_[0]) <= 2).all()

    def test_blocks_of_items_change_nothing(self, fitted, monkeypatch):
        from tabemb.unsupervised import baselines

        monkeypatch.setattr(baselines, "MOST_SCORES", 1)
        again = ItemKNN().fit(blocks())
        for first, second in zip(again.neighbors_, fitted.neighbors_):
            np.testing.assert_array_equal(first, second)


class TestEASE(FromHistory):
    def model(self, **params):
        return EASE(l2=5, **params)

    def test_is_the_ridge_regression_of_each_item_on_the_others(self, fitted):
        matrix = read_interactions(blocks(), None, None).matrix().toarray()
        for item in (0, 7, 33):
            others = np.delete(np.arange(40), item)
            ridge = Ridge(alpha=5, fit_intercept=False).fit(matrix[:, others], matrix[:, item])
            np.testing.assert_allclose(fitted.weights_[others, item], ridge.coef_, atol=1e-5)
            assert fitted.weights_[item, item] == 0


implicit = pytest.mark.skipif(
    not pytest.importorskip("importlib.util").find_spec("implicit"), reason="needs implicit"
)


@implicit
class TestALS(Baseline):
    def model(self, **params):
        return ALS(dim=8, n_jobs=1, random_state=0, **params)

    def test_weight_is_confidence(self):
        heavy = ALS(dim=8, n_jobs=1, random_state=0).fit(blocks(), sample_weight=[40.0] * len(blocks()))
        alpha = ALS(dim=8, alpha=40, n_jobs=1, random_state=0).fit(blocks())
        np.testing.assert_allclose(heavy.item_vectors_, alpha.item_vectors_, rtol=1e-4, atol=1e-5)


@implicit
class TestBPR(Baseline):
    def model(self, **params):
        return BPR(dim=8, n_jobs=1, random_state=0, learning_rate=0.05, **params)

    def test_weights_are_refused(self):
        with pytest.raises(ValueError, match="sample_weight must be None for BPR"):
            self.model().fit(blocks(), sample_weight=[2.0] * len(blocks()))


class TestPairEmbedder(RecommenderContract):
    def model(self, **params):
        fast = {"max_epochs": 15, "batch_size": 64, "learning_rate": 0.06}
        return PairEmbedder(dim=16, l2=1.0, **fast, n_jobs=1, random_state=0, **params)


class TestPairEmbedderOfNumbers(RecommenderContract):
    knows = False  # all ratings are one

    def model(self, **params):
        class Numbers(PairEmbedder):
            def fit(self, X, y=None, **more):
                numbers = np.ones(len(X)) if isinstance(X, (pd.DataFrame, pl.DataFrame)) else None
                return super().fit(X, numbers, **more)

        return Numbers(dim=4, max_epochs=2, n_jobs=1, random_state=0, **params)

    test_saved_and_loaded_it_answers_the_same = None  # files must not contain this class


@pytest.mark.parametrize("cls", [ALS, BPR])
def test_without_implicit_the_extra_is_named(cls, monkeypatch):
    import sys

    for name in ("implicit", "implicit.als", "implicit.bpr"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"tabemb\[recommend\]"):
        cls().fit(blocks())


def test_equal_scores_go_by_popularity():
    frame = pd.DataFrame({"user": list("abcd"), "item": list("xyyz")})
    assert ItemKNN().fit(frame).recommend(["nobody"], k=3)["item"].tolist() == ["y", "x", "z"]


def test_lists():
    lists = Lists.of(np.array([2, 0, 2, 2]), np.array([5, 1, 3, 5]), n_users=3)
    assert lists[2].tolist() == [3, 5]
    assert lists[1].tolist() == []
    rows, values = lists.cells(np.array([2, -1, 0]))
    assert (rows.tolist(), values.tolist()) == ([0, 0, 2], [3, 5, 1])
    found = lists.contain(np.array([2, 2, 0, -1]), np.array([5, 4, 1, 1]), n_items=6)
    assert found.tolist() == [True, False, True, False]

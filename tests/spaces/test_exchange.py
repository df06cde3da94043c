import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import tabemb
from tabemb.spaces import EmbeddingSpace


@pytest.fixture
def space():
    vectors = np.random.default_rng(0).normal(size=(4, 3)) * [1, 1e-9, 1e9]
    return EmbeddingSpace(
        vectors, ["oslo", "наука", "$x</script>", 'a "b"'], counts=[7, 2, 5, 0], name="city"
    )


@pytest.fixture
def sure(space):
    """Return the space with a reliability for each category."""
    return EmbeddingSpace(space.vectors, space.categories, space.counts, "city", [1, 0.1, 1 / 3, 0])


def assert_same(read, space, names=None):
    assert list(read) == list(space if names is None else names)
    np.testing.assert_array_equal(read.vectors, space.vectors)


@pytest.mark.parametrize("binary", [False, True])
def test_word2vec_round_trip(tmp_path, space, binary):
    space.to_word2vec(tmp_path / "city.vec", binary, counts_path=tmp_path / "counts")
    read = EmbeddingSpace.from_word2vec(tmp_path / "city.vec", binary, counts_path=tmp_path / "counts")
    assert_same(read, space, ["oslo", "наука", "$x</script>", 'a_"b"'])
    np.testing.assert_array_equal(read.counts, space.counts)
    assert read.name == "city"
    assert EmbeddingSpace.from_word2vec(tmp_path / "city.vec", binary).counts is None


@pytest.mark.parametrize("binary", [False, True])
def test_gensim_opens_what_is_written_and_the_reverse(tmp_path, space, binary):
    keyed_vectors = pytest.importorskip("gensim.models", reason="gensim is not installed").KeyedVectors
    ours, counts, theirs = (str(tmp_path / name) for name in ("ours", "counts", "theirs"))
    space.to_word2vec(ours, binary, counts)
    opened = keyed_vectors.load_word2vec_format(ours, fvocab=counts, binary=binary)
    names = ["oslo", "наука", "$x</script>", 'a_"b"']
    assert opened.index_to_key == names
    np.testing.assert_array_equal(opened.vectors, space.vectors)
    assert [opened.get_vecattr(name, "count") for name in names] == [7, 2, 5, 0]
    opened.save_word2vec_format(theirs, fvocab=counts, binary=binary)
    read = EmbeddingSpace.from_word2vec(theirs, binary, counts)
    assert list(read) == sorted(names, key=lambda name: -opened.get_vecattr(name, "count"))
    for name, original in zip(names, space):
        np.testing.assert_array_equal(read[name], space[original])


def test_binary_files_of_the_first_word2vec_end_vectors_with_a_newline(tmp_path):
    vectors = np.array([[1, 2], [3, 4]], dtype="<f4")
    rows = [f"{word} ".encode() + vector.tobytes() + b"\n" for word, vector in zip("ab", vectors)]
    (tmp_path / "c").write_bytes(b"2 2\n" + b"".join(rows))
    read = EmbeddingSpace.from_word2vec(tmp_path / "c", binary=True)
    assert list(read) == ["a", "b"]
    np.testing.assert_array_equal(read.vectors, vectors)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "2 2\na 1 2\nb 1 2 3\n",
            r"Line 3 of .* must hold a word without spaces and 2 numbers, .* it holds 3 numbers",
        ),
        ("1 2\nnew york 1 2\n", "Line 2 of .* it holds 3 numbers"),
        ("3 2\na 1 2\n", "must hold the 3 words that its first line states; it holds 1"),
        ("1 2\na 1 2\nb 1 2\n", "must hold the 1 words that its first line states; it holds more"),
        ("1 2\na 1 x\n", "Line 2 of .* must hold a word and numbers: could not convert"),
        ("a 1 2\n", "whose first line holds two numbers, words and width; .*x.txt' is not one"),
        ("2 1\na 1\na 2\n", "categories must be unique; 'a'"),
    ],
)
def test_text_that_is_not_word2vec(tmp_path, text, message):
    (tmp_path / "x.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        EmbeddingSpace.from_word2vec(tmp_path / "x.txt")


def test_text_read_as_binary_and_binary_read_as_text(tmp_path, space):
    space.to_word2vec(tmp_path / "text")
    with pytest.raises(ValueError, match=r"it (holds more|ends before).*a text file needs binary=False"):
        EmbeddingSpace.from_word2vec(tmp_path / "text", binary=True)
    space.to_word2vec(tmp_path / "bytes", binary=True)
    with pytest.raises(ValueError, match=r"binary=True|must hold a word and numbers"):
        EmbeddingSpace.from_word2vec(tmp_path / "bytes")


def test_counts_that_are_missing(tmp_path, space):
    with pytest.raises(
        ValueError, match=r"counts_path must be None for a space without counts; .* has none"
    ):
        EmbeddingSpace(np.eye(2), list("ab")).to_word2vec(
            tmp_path / "x", counts_path=tmp_path / "counts"
        )
    space.to_word2vec(tmp_path / "x")
    (tmp_path / "counts").write_text("oslo 7\n")
    with pytest.raises(ValueError, match="must hold a count for each word; 'наука' has none"):
        EmbeddingSpace.from_word2vec(tmp_path / "x", counts_path=tmp_path / "counts")


@pytest.mark.parametrize(
    ("categories", "message"),
    [
        ([1, "1"], "1 and '1' would both be written as '1', so rename one of them"),
        (["a\tb", "a b"], "would both be written as"),
        ([None, "nan"], "nan and 'nan' would both be written as 'nan'"),
    ],
)
def test_categories_that_become_the_same_text(tmp_path, categories, message):
    space = EmbeddingSpace(np.eye(2), categories)
    with pytest.raises(ValueError, match=message):
        space.to_word2vec(tmp_path / "x")
    with pytest.raises(ValueError, match=message):
        space.to_projector(tmp_path)


def test_projector_round_trip(tmp_path, space):
    space.to_projector(tmp_path / "new" / "folder")
    read = EmbeddingSpace.from_projector(tmp_path / "new" / "folder")
    assert_same(read, space)
    np.testing.assert_array_equal(read.counts, space.counts)
    assert read.name == "city"


def test_projector_files_are_as_tensorboard_reads_them(tmp_path):
    space = EmbeddingSpace([[0.5, 1], [2, 3]], ["a\tb\nc", 7], name='my "space"')
    space.to_projector(tmp_path)
    assert (tmp_path / "vectors.tsv").read_text() == "0.5\t1.0\n2.0\t3.0\n"
    assert (tmp_path / "metadata.tsv").read_text() == "a b c\n7\n"  # one column: without a header
    config = (tmp_path / "projector_config.pbtxt").read_text()
    assert (
        'tensor_name: "my \\"space\\""\n  tensor_path: "vectors.tsv"\n  metadata_path: "metadata.tsv"'
        in config
    )
    read = EmbeddingSpace.from_projector(tmp_path)
    assert list(read) == ["a b c", "7"]
    assert read.name == 'my "space"'
    metadata = pd.DataFrame({"land": ["no\nrway", "x"], "size": [1.5, 2]}, index=[7, "elsewhere"])
    space.to_projector(tmp_path, metadata)
    assert (
        tmp_path / "metadata.tsv"
    ).read_text() == "category\tland\tsize\na b c\t\t\n7\tno rway\t1.5\n"
    assert list(EmbeddingSpace.from_projector(tmp_path)) == ["a b c", "7"]


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (
            pd.DataFrame({"x": [1]}, index=["z"]),
            "metadata must be indexed by category; none of its index is a category",
        ),
        (
            pd.DataFrame({"x": [1, 2]}, index=["a", "a"]),
            "metadata must be indexed by unique categories; its index repeats one",
        ),
        (pd.DataFrame({"category": [1]}, index=["a"]), "metadata must not have a column 'category'"),
        (pd.DataFrame({"reliability": [1]}, index=["a"]), "must not have a column 'reliability'"),
    ],
)
def test_metadata_that_does_not_fit(tmp_path, metadata, message):
    with pytest.raises(ValueError, match=message):
        EmbeddingSpace(np.eye(2), ["a", "b"]).to_projector(tmp_path, metadata)


def test_projector_files_that_do_not_fit(tmp_path):
    EmbeddingSpace(np.eye(3), list("abc")).to_projector(tmp_path)
    (tmp_path / "metadata.tsv").write_text("a\n")
    with pytest.raises(ValueError, match="a line for each of the 3 vectors; it holds 1"):
        EmbeddingSpace.from_projector(tmp_path)
    (tmp_path / "vectors.tsv").write_text("1\t2\n3\n")
    with pytest.raises(ValueError, match="must hold vectors of one width"):
        EmbeddingSpace.from_projector(tmp_path)


@pytest.mark.parametrize(
    "categories", [["a", None], [2**60, 3], pd.to_datetime(["2020-01-01", "2021-01-01"])]
)
def test_duckdb_round_trip(tmp_path, categories):
    pytest.importorskip("duckdb", reason="duckdb is not installed: pip install tabemb[duckdb]")
    space = EmbeddingSpace([[1.25, -3, 0], [0.1, 0, 7]], categories, counts=[3, 4])
    space.to_duckdb(tmp_path / "spaces.db", 'my "table"')
    read = EmbeddingSpace.from_duckdb(str(tmp_path / "spaces.db"), 'my "table"')
    np.testing.assert_array_equal(read.vectors, space.vectors)
    np.testing.assert_array_equal(read.counts, [3, 4])
    assert read.name == 'my "table"'
    for category in space:
        np.testing.assert_array_equal(read[category], space[category])


def test_duckdb_compares_the_vectors_itself(space):
    duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed: pip install tabemb[duckdb]")
    with duckdb.connect() as connection:
        space.to_duckdb(connection, "city")
        distance = "array_cosine_distance(a.vector, b.vector)"
        others = "FROM city a, city b WHERE a.category = 'oslo' AND b.category != 'oslo'"
        found = dict(connection.sql(f"SELECT b.category, 1 - {distance} {others}").fetchall())
        exact = space.nearest("oslo").set_index("category")["similarity"]
        assert found == pytest.approx(exact.to_dict(), abs=1e-5)


def test_duckdb_replaces_no_table_and_names_a_missing_one(tmp_path, space):
    duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed: pip install tabemb[duckdb]")
    with duckdb.connect() as connection:
        space.to_duckdb(connection, "city")
        with pytest.raises(
            ValueError,
            match="the database has a table 'city' already, so drop it or choose another name",
        ):
            space.to_duckdb(connection, "city")
        with pytest.raises(ValueError, match="must be one of the database; it has no table 'shop'"):
            EmbeddingSpace.from_duckdb(connection, "shop")
        connection.sql("CREATE TABLE other AS SELECT 1 AS category")
        with pytest.raises(
            ValueError, match="table 'other' is not an embedding space; it has no column 'vector'"
        ):
            EmbeddingSpace.from_duckdb(connection, "other")
        connection.sql(
            "CREATE TABLE ragged AS"
            " SELECT * FROM (VALUES (1, [1.5, 2]), (2, [3])) AS t(category, vector)"
        )
        with pytest.raises(
            ValueError,
            match="table 'ragged' is not an embedding space; column 'vector' must hold lists",
        ):
            EmbeddingSpace.from_duckdb(connection, "ragged")
    with pytest.raises(FileNotFoundError, match=r"database must name an existing file; got .*none\.db'"):
        EmbeddingSpace.from_duckdb(tmp_path / "none.db", "city")


def test_frame_round_trip(space):
    read = EmbeddingSpace.from_frame(space.to_frame(), space.counts)
    assert_same(read, space)
    np.testing.assert_array_equal(read.counts, space.counts)
    assert read.name == "city"
    assert EmbeddingSpace.from_frame(EmbeddingSpace(np.eye(2), list("ab")).to_frame()).name == ""


def test_reliability_is_kept_where_counts_are(tmp_path, sure, space):
    pytest.importorskip("duckdb", reason="duckdb is not installed: pip install tabemb[duckdb]")

    def copies(space):
        space.to_parquet(tmp_path / f"{id(space)}.parquet")
        space.to_projector(tmp_path / f"{id(space)}")
        space.to_duckdb(tmp_path / f"{id(space)}.db", "city")
        yield EmbeddingSpace.from_parquet(tmp_path / f"{id(space)}.parquet")
        yield EmbeddingSpace.from_projector(tmp_path / f"{id(space)}")
        yield EmbeddingSpace.from_duckdb(tmp_path / f"{id(space)}.db", "city")
        yield EmbeddingSpace.from_frame(space.to_frame(), space.counts, space.reliability)

    for copy in copies(sure):
        assert_same(copy, sure)
        np.testing.assert_array_equal(copy.counts, sure.counts)
        np.testing.assert_array_equal(copy.reliability, sure.reliability)
        pd.testing.assert_frame_equal(copy.nearest("oslo"), sure.nearest("oslo"), check_dtype=False)
    assert [copy.reliability for copy in copies(space)] == [None] * 4


def test_reliability_is_read_by_other_tools(tmp_path, sure):
    duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed: pip install tabemb[duckdb]")
    sure.to_projector(tmp_path)
    metadata = pd.read_csv(tmp_path / "metadata.tsv", sep="\t", index_col="category")
    assert metadata["reliability"].tolist() == [1, 0.1, 1 / 3, 0]
    with duckdb.connect() as connection:
        sure.to_duckdb(connection, "city")
        kept = connection.sql("SELECT category FROM city WHERE reliability >= 0.3").fetchall()
    assert kept == [("oslo",), ("$x</script>",)]


def test_reliability_of_files_that_is_not_from_0_to_1(tmp_path, sure):
    sure.to_projector(tmp_path)
    text = (tmp_path / "metadata.tsv").read_text()
    (tmp_path / "metadata.tsv").write_text(text.replace("0.1", "1.1"))
    with pytest.raises(ValueError, match=r"reliability must be from 0 to 1; 'наука' has 1\.1\."):
        EmbeddingSpace.from_projector(tmp_path)
    with pytest.raises(ValueError, match=r"reliability must have shape \(4,\)"):
        EmbeddingSpace.from_frame(sure.to_frame(), reliability=[1, 1])


def test_large_counts_are_read_from_the_projector_as_they_are(tmp_path):
    EmbeddingSpace(np.eye(2), ["a", "b"], counts=[2**24 + 1, 2**40 + 1]).to_projector(tmp_path)
    assert EmbeddingSpace.from_projector(tmp_path).counts.tolist() == [2**24 + 1, 2**40 + 1]


def test_empty_spaces_keep_their_width(tmp_path):
    pytest.importorskip("duckdb", reason="duckdb is not installed: pip install tabemb[duckdb]")
    empty = EmbeddingSpace(np.empty((0, 3)), [])
    empty.to_word2vec(tmp_path / "text")
    empty.to_word2vec(tmp_path / "binary", binary=True)
    empty.to_duckdb(tmp_path / "db", "t")
    read = [
        EmbeddingSpace.from_word2vec(tmp_path / "text"),
        EmbeddingSpace.from_word2vec(tmp_path / "binary", True),
    ]
    read += [
        EmbeddingSpace.from_duckdb(tmp_path / "db", "t"),
        EmbeddingSpace.from_frame(empty.to_frame()),
    ]
    assert [space.vectors.shape for space in read] == [(0, 3)] * 4


def test_a_frame_that_holds_no_numbers():
    frame = pd.DataFrame({"x": [1.0], "land": ["no"]}, index=["oslo"])
    with pytest.raises(ValueError, match="frame must hold numbers only; column 'land' has dtype"):
        EmbeddingSpace.from_frame(frame)


def test_a_space_imports_no_optional_or_slow_package():
    # a stand-in for the package, which would import torch and scikit-learn for the estimators
    code = f"""
import sys, types
sys.modules["tabemb"] = types.ModuleType("tabemb")
sys.modules["tabemb"].__path__ = {list(tabemb.__path__)}
import tabemb.spaces
optional = {{"umap", "openTSNE", "usearch", "duckdb", "gensim", "matplotlib"}}
print(sorted((optional | {{"sklearn", "torch"}}) & set(sys.modules)))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def test_without_duckdb_the_error_names_the_extra(monkeypatch, space, tmp_path):
    monkeypatch.setitem(sys.modules, "duckdb", None)
    message = r"duckdb is not installed; pip install 'tabemb\[duckdb\]' brings it\."
    with pytest.raises(ImportError, match=message):
        space.to_duckdb(tmp_path / "spaces.db", "city")
    with pytest.raises(ImportError, match=message):
        EmbeddingSpace.from_duckdb(tmp_path / "spaces.db", "city")

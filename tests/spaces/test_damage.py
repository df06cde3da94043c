"""Damaged files of a space are refused in one sentence before another library reads them."""

import json
import random
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tabemb.spaces import EmbeddingSpace
from tests.fuzz import trials

OLD = Path(__file__).resolve().parents[1] / "saving" / "format_2"


@pytest.fixture
def space():
    vectors = np.random.default_rng(0).normal(size=(40, 3))
    names = [f"city {i}" for i in range(40)]
    space = EmbeddingSpace(vectors, names, counts=range(40), name='a "sha256": "b')
    space.coordinates(method="pca")
    return space


def write(space, kind, path):
    if kind == "index":
        pytest.importorskip("usearch")
        space.index(path)
    else:
        space.to_parquet(path)


def refusal(space, kind, path):
    """Open the file and return the error, or None if it was not refused."""
    try:
        space.open_index(path) if kind == "index" else EmbeddingSpace.from_parquet(path)
    except ValueError as error:
        text = str(error)
    else:
        return None
    assert text.endswith(".")
    assert "\n" not in text
    return text


@pytest.mark.parametrize("kind", ["parquet", "index"])
def test_a_flipped_bit_is_refused(kind, space, tmp_path):
    write(space, kind, tmp_path / "whole")
    assert refusal(space, kind, tmp_path / "whole") is None
    content, draw = (tmp_path / "whole").read_bytes(), random.Random(kind)
    for _ in range(trials(50, 1000)):
        damaged = bytearray(content)
        damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
        (tmp_path / "damaged").write_bytes(damaged)
        assert refusal(space, kind, tmp_path / "damaged")


@pytest.mark.parametrize("kind", ["parquet", "index"])
def test_a_file_that_is_cut_or_longer_is_refused(kind, space, tmp_path):
    write(space, kind, tmp_path / "whole")
    content, draw = (tmp_path / "whole").read_bytes(), random.Random(kind)
    sizes = [0, 1, 20, 100, *(draw.randrange(len(content)) for _ in range(trials(10, 200)))]
    for damaged in [*(content[:size] for size in sizes), content + b"\0", content * 2]:
        (tmp_path / "damaged").write_bytes(damaged)
        if damaged != content * 2 or kind == "parquet":
            assert refusal(space, kind, tmp_path / "damaged")


def test_an_index_without_a_checksum_is_refused(space):
    pytest.importorskip("usearch")
    with pytest.raises(ValueError, match=r"ends with a checksum, so build it again with index\(path\)"):
        space.open_index(OLD / "space.usearch")


def test_damage_of_a_parquet_file_without_checksum_does_not_crash(space, tmp_path):
    content, draw = (OLD / "space.parquet").read_bytes(), random.Random(0)
    for _ in range(trials(50, 1000)):
        damaged = bytearray(content)
        damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
        (tmp_path / "damaged").write_bytes(damaged)
        refusal(space, "parquet", tmp_path / "damaged")


def test_files_of_other_tools_are_read_and_checked(tmp_path):
    vectors = pa.array([[1.0, 2.0], [3.0, 4.0]])
    pq.write_table(pa.table({"category": ["a", "b"], "vector": vectors}), tmp_path / "other.parquet")
    assert EmbeddingSpace.from_parquet(tmp_path / "other.parquet")["b"].tolist() == [3, 4]
    pq.write_table(pa.table({"category": ["a"], "vector": [None]}), tmp_path / "other.parquet")
    with pytest.raises(ValueError, match="column 'vector' must hold lists of one width"):
        EmbeddingSpace.from_parquet(tmp_path / "other.parquet")
    zeros = pa.array(np.zeros(3 * 10**7))
    pq.write_table(pa.table({"category": zeros, "vector": zeros}), tmp_path / "small.parquet")
    with pytest.raises(ValueError, match=r"it has more than \d+ bytes of values in \d+ bytes"):
        EmbeddingSpace.from_parquet(tmp_path / "small.parquet")


def test_a_forged_description_is_refused(space, tmp_path):
    space.to_parquet(tmp_path / "a.parquet")
    table = pq.read_table(tmp_path / "a.parquet")
    for description in ({"maps": {"vector": ["pca", "cosine", 0]}}, {"maps": {"no": []}}, [], "a"):
        metadata = {b"tabemb": json.dumps(description).encode()}
        pq.write_table(table.replace_schema_metadata(metadata), tmp_path / "b.parquet")
        assert refusal(space, "parquet", tmp_path / "b.parquet")


@pytest.mark.parametrize("binary", [False, True])
def test_a_word2vec_file_takes_no_more_memory_than_it_fills(binary, tmp_path):
    (tmp_path / "huge").write_bytes(b"99999999999 99999\nword 1 2")
    with pytest.raises(ValueError, match="as its first line states; it has 26 bytes, too few"):
        EmbeddingSpace.from_word2vec(tmp_path / "huge", binary)


@pytest.mark.parametrize(("counts", "reason"), [("a x\nb 1\n", "'a' has 'x'"), ("a\nb 1\n", "'a' has")])
def test_counts_that_are_none(counts, reason, tmp_path):
    EmbeddingSpace([[1], [2]], ["a", "b"]).to_word2vec(tmp_path / "v")
    (tmp_path / "counts").write_text(counts)
    with pytest.raises(ValueError, match=reason):
        EmbeddingSpace.from_word2vec(tmp_path / "v", counts_path=tmp_path / "counts")


@pytest.mark.parametrize("name", ["vectors.tsv", "metadata.tsv"])
def test_projector_files_that_hold_no_numbers_or_no_text(name, space, tmp_path):
    for damage in (lambda content: content.replace(b"0", b"x"), lambda content: content + b"\xff"):
        space.to_projector(tmp_path)
        (tmp_path / name).write_bytes(damage((tmp_path / name).read_bytes()))
        with pytest.raises(ValueError, match=r"must hold.*\.$"):
            EmbeddingSpace.from_projector(tmp_path)


FORMULAS = ["=1+1", "+A1", "-A1", "@x", "'=1", "＝1", "--1", "=1 | x"]
PLAIN = ["-1", "+1.5", "-.5e-3", "a=1", "'a", "", "1-2"]


def test_formulas_in_projector_files_are_text_for_a_spreadsheet(tmp_path):
    categories = [*FORMULAS, *PLAIN]
    space = EmbeddingSpace(np.eye(len(categories)), categories)
    metadata = pd.DataFrame({"=note": categories}, index=categories)
    space.to_projector(tmp_path, metadata)
    header, *lines = (tmp_path / "metadata.tsv").read_text().splitlines()
    assert header == "category\t'=note"
    assert lines == [f"{cell}\t{cell}" for cell in [*("'" + text for text in FORMULAS), *PLAIN]]
    assert list(EmbeddingSpace.from_projector(tmp_path)) == categories


@pytest.mark.parametrize("method", ["to_parquet", "to_word2vec", "to_projector", "atlas"])
def test_a_full_disk_leaves_the_old_file(method, space, tmp_path, monkeypatch):
    def full(handle):
        raise OSError(28, "No space left on device")

    path = tmp_path / "space"
    getattr(space, method)(path)
    files = sorted(file for file in tmp_path.rglob("*") if file.is_file())
    before = {file: file.read_bytes() for file in files}
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        getattr(space.subset(space.categories[:9]), method)(path)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before

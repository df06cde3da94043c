import numpy as np
import pytest
import torch
from torch import nn

from tabemb.network.tables import DIM_RULES, SPARSE_ROWS, Tables, TableSpec, table_dim


def spec(n_rows, dim, **kwargs):
    return TableSpec(n_rows, dim, **{"prior": np.zeros(n_rows), **kwargs})


def test_packed_tables_read_like_one_embedding_each():
    tables = Tables([spec(5, 2), spec(9, 4), spec(3, 2)], table_of=[0, 1, 2, 0])
    codes = torch.tensor([[4, 8, 2, 0], [1, 0, 0, 3]])
    vectors, _ = tables(codes)
    plain = [nn.Embedding.from_pretrained(tables.vectors(t)) for t in (0, 1, 2)]
    by_column = [plain[table](codes[:, c]) for c, table in enumerate([0, 1, 2, 0])]
    grouped = [by_column[c] for c in (0, 2, 3, 1)]  # tables of equal width are grouped
    torch.testing.assert_close(vectors, torch.cat(grouped, dim=1))
    assert len(tables.groups) == 2
    assert tables.dim == vectors.shape[1] == 10


def test_the_prior_is_the_whole_tables_in_expectation():
    counts = np.array([1.0, 1, 2, 4])
    tables = Tables([spec(4, 3, prior=2 / counts)], table_of=[0])
    codes = torch.tensor([[2], [2], [3], [3], [3], [3]])
    _, penalty = tables(codes)
    vectors = tables.vectors(0)
    # each category counts once, however many rows it has
    expected = 2 * vectors[2:].square().sum() / 6
    torch.testing.assert_close(penalty.detach().mean(), expected)
    assert not tables.eval()(codes)[1].any()


def test_pretrained_vectors_are_where_training_starts_and_frozen_ones_stay():
    given = np.full((4, 2), np.nan)
    given[3] = [5.0, 6.0]
    tables = Tables([spec(4, 2, vectors=given, frozen=True)], table_of=[0])
    optimizer = torch.optim.SGD(tables.parameters(), lr=1.0)
    before = tables.vectors(0).clone()
    tables(torch.tensor([[2], [3]]))[0].sum().backward()
    optimizer.step()
    assert tables.vectors(0)[3].tolist() == [5.0, 6.0]
    assert (tables.vectors(0)[2] != before[2]).all()


def test_max_norm_holds_for_rows_that_were_read():
    tables = Tables([spec(6, 3, init=5.0, max_norm=1.0, norm_type=1.0)], table_of=[0])
    read = tables(torch.arange(6).unsqueeze(1))[0]
    assert read.abs().sum(1).max() <= 1 + 1e-5


def test_gradients_divided_by_frequency():
    tables = Tables([spec(4, 1, scale_grad_by_freq=True)], table_of=[0])
    tables(torch.tensor([[2], [2], [2], [3]]))[0].sum().backward()
    assert tables.groups[0].weight.grad[:, 0].tolist() == [0, 0, 1, 1]


def test_large_tables_and_those_that_ask_for_it_have_sparse_gradients():
    tables = Tables([spec(SPARSE_ROWS + 1, 1), spec(9, 1, sparse=True), spec(9, 1)], table_of=[0, 1, 2])
    tables(torch.zeros(2, 3, dtype=torch.long))[0].sum().backward()
    assert [group.weight.grad.is_sparse for group in tables.groups] == [True, False]


def test_start_vectors_follow_init():
    normal = Tables([spec(4000, 4, init=0.5)], [0]).vectors(0)
    uniform = Tables([spec(4000, 4, init="uniform")], [0]).vectors(0)
    assert abs(normal.std() - 0.5) < 0.02
    assert uniform.abs().max() <= 0.5
    assert uniform.abs().max() > 0.49


@pytest.mark.parametrize(
    ("rule", "n", "dim"),
    [("fastai", 100, 21), ("fourth_root", 10_000, 10), ("half", 7, 4), (3, 7, 3), ("auto", 7, 4)],
)
def test_dimension_rules(rule, n, dim):
    assert table_dim(rule, n) == dim


def test_the_default_rule_grows_and_stops():
    dims = [DIM_RULES["auto"](n) for n in (0, 1, 2, 10, 100, 10_000_000)]
    assert dims == sorted(dims)
    assert (dims[0], dims[-1]) == (2, 16)


@pytest.mark.parametrize("rule", [0, 1.5, "cubic", True])
def test_a_wrong_dimension_names_the_rules(rule):
    with pytest.raises(ValueError, match="dim must be a whole number >= 1 or one of auto, fastai"):
        table_dim(rule, 10)

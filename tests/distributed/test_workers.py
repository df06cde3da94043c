"""Several workers train as one process does: same batches, same steps, same weights."""

import numpy as np
import pandas as pd
import pytest
import torch

from tabemb import (
    EmbeddingClassifier,
    EmbeddingEncoder,
    EmbeddingRegressor,
    EventClassifier,
    ItemEmbedder,
    PairEmbedder,
    SequenceEncoder,
    Table,
)
from tabemb.fitting.sharing import check_same_terms
from tabemb.network.inputs import Kept
from tabemb.network.randomness import Random
from tabemb.training import checkpoints
from tabemb.training.batches import Batches
from tabemb.training.workers import ProcessGroup, Workers, current
from tests.distributed.together import together

N_ROWS = 1203
PLAIN = {
    # no randomness in training: effects would be drawn per part of an epoch
    "dropout": 0,
    "unknown_rate": 0,
    "effects": False,
    "precision": "float32",
    "random_state": 0,
    "n_jobs": 1,
    "hidden": (16,),
    "batch_size": 100,
    "max_epochs": 4,
}
"""Four epochs of 13 steps; no number of workers divides the batches."""


def table():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"city": rng.choice(list("abcdef"), N_ROWS), "size": rng.normal(size=N_ROWS)})
    X["item"] = [f"i{i}" for i in rng.integers(0, 200, N_ROWS)]
    X["user"], X["time"] = rng.integers(0, 40, N_ROWS), np.arange(N_ROWS)
    log_odds = 2 * X["size"] + 2 * (X["city"] == "a")
    X["tags"] = [list(rng.choice(list("uvwxyz"), rng.integers(0, 5))) for _ in range(N_ROWS)]
    return X, (rng.random(N_ROWS) < 1 / (1 + np.exp(-log_odds))).astype(int), log_odds


X, Y, LOG_ODDS = table()
ROWS = X[["city", "size", "item"]]
SPARSE = {"item": Table(["item"], sparse=True)}
CASES = {
    "classes": lambda: (EmbeddingClassifier(**PLAIN, trees=False), ROWS, Y),
    "numbers": lambda: (EmbeddingRegressor(**PLAIN, trees=False), ROWS, LOG_ODDS),
    "a sparse table": lambda: (EmbeddingRegressor(**PLAIN, trees=False, tables=SPARSE), ROWS, LOG_ODDS),
    "trees and validation rows": lambda: (
        EmbeddingClassifier(**PLAIN, early_stopping=True, patience=9),
        ROWS,
        Y,
    ),
    "lists": lambda: (EmbeddingClassifier(**PLAIN, trees=False), X[["city", "tags"]], Y),
    "events": lambda: (EventClassifier(**PLAIN, entity="user", time="time"), X.drop(columns="tags"), Y),
    "batches of two rows": lambda: (
        EmbeddingClassifier(**{**PLAIN, "batch_size": 2, "max_epochs": 1}, trees=False),
        ROWS[:101],
        Y[:101],
    ),
}


NAMES = [*CASES, "rows that come later"]


def weights_of(model):
    return np.concatenate([weight.detach().numpy().ravel() for weight in model.network_.parameters()])


def of_later_rows():
    model = EmbeddingClassifier(**PLAIN, trees=False).fit(ROWS[:600], Y[:600])
    return model.partial_fit(ROWS[600:], Y[600:])


def fit_all(workers):
    results = {}
    for name in NAMES:
        if name in CASES:
            model, frame, y = CASES[name]()
            model.fit(frame, y)
        else:
            model = of_later_rows()
        assert (getattr(model, "trees_", None) is not None) == name.startswith("trees")
        curves = [model.learning_curve_[f"{part}_loss"] for part in ("train", "eval")]
        results[name] = weights_of(model), np.array(curves)
    return results


@pytest.fixture(scope="module")
def alone():
    return fit_all(current())


@pytest.fixture(scope="module", params=[2, 3])
def shared(request, tmp_path_factory):
    return together(fit_all, request.param, tmp_path_factory.mktemp("workers"))


@pytest.mark.slow
@pytest.mark.parametrize("case", NAMES)
def test_a_step_of_several_workers_is_that_of_one_on_the_whole_batch(case, alone, shared):
    weights, curves = alone[case]
    for result in shared:
        np.testing.assert_allclose(result[case][0], weights, rtol=0, atol=1e-5)
        np.testing.assert_allclose(result[case][1], curves, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("case", NAMES)
def test_the_workers_stay_equal_bit_for_bit(case, shared):
    for result in shared[1:]:
        np.testing.assert_array_equal(result[case][0], shared[0][case][0])
        np.testing.assert_array_equal(result[case][1], shared[0][case][1])


class Few(Workers):
    """Workers that do not communicate."""

    def __init__(self, rank, size):
        self.rank, self.size = rank, size

    piece = ProcessGroup.piece


@pytest.mark.parametrize("n_workers", [2, 3, 7])
@pytest.mark.parametrize("with_groups", [False, True])
def test_the_pieces_of_the_workers_are_the_batches(n_workers, with_groups):
    lengths = torch.randint(0, 9, (100,), generator=torch.Generator().manual_seed(0))
    groups = torch.arange(100) // 4 if with_groups else None

    def batches(workers):
        rows = Kept(torch.zeros(100, 1), torch.arange(100))
        made = Batches(rows, 16, torch.Generator().manual_seed(0), groups=groups)
        if groups is None:
            made.lengths = lengths
        made.workers = workers
        return [batch.counts for batch in made]

    whole = batches(Workers())
    pieces = [batches(Few(rank, n_workers)) for rank in range(n_workers)]
    assert {len(of_worker) for of_worker in pieces} == {len(whole)}
    for batch, of_batch in zip(whole, zip(*pieces)):
        n_parts = len(batch) if groups is None else len(batch) // 4
        if n_parts < n_workers:
            assert all(torch.equal(piece, batch) for piece in of_batch)
            continue
        assert torch.equal(torch.cat(of_batch).sort().values, batch.sort().values)
        if groups is None:
            assert max(map(len, of_batch)) - min(map(len, of_batch)) <= 1
        else:
            assert all(
                (torch.unique_consecutive(piece // 4, return_counts=True)[1] == 4).all()
                for piece in of_batch
            )


WITH_EFFECTS = PLAIN | {"dropout": 0.5, "effects": True}


def titles():
    """Return rows whose target depends on the words of a title, so new titles are predictable."""
    rng = np.random.default_rng(0)
    kinds, places = ["nurse", "driver", "engineer"], ["bonn", "rome", "oslo", "kyiv", "lima", "york"]
    kind, place = rng.integers(3, size=N_ROWS), rng.integers(60, size=N_ROWS)
    title = [f"{kinds[k]} {places[p % 6]} {p // 6}" for k, p in zip(kind, place)]
    return ROWS.assign(title=title), LOG_ODDS + 3 * kind


def draws(workers):
    frame, y = titles()
    first = EmbeddingRegressor(**WITH_EFFECTS).fit(frame, y)
    assert first.effects_.expected_
    seedless = EmbeddingClassifier(**{**PLAIN, "random_state": None, "max_epochs": 1}).fit(X, Y)
    random = Random(0)
    random.draw_as(workers.rank)
    drawn = torch.rand(4, generator=random.on(torch.device("cpu")))
    return weights_of(first), first.score(frame, y), weights_of(seedless), drawn.tolist()


def test_workers_draw_other_numbers_and_keep_the_same_weights(tmp_path):
    first, second = together(draws, 2, tmp_path)
    assert first[3] != second[3]
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[2], second[2])  # random_state=None: workers share a seed
    frame, y = titles()
    alone = EmbeddingRegressor(**WITH_EFFECTS).fit(frame, y)
    assert first[1] == pytest.approx(alone.score(frame, y), abs=0.02)


def test_workers_that_chose_other_effects_are_stopped(monkeypatch):
    check_same_terms([(0,), (1,)])
    monkeypatch.setattr(Workers, "gathered", lambda self, value: [value, "[(0,), (2,)]"])
    with pytest.raises(RuntimeError, match=r"^The workers have chosen other effects of the same rows"):
        check_same_terms([(0,), (1,)])


def limited(workers, seconds):
    model = EmbeddingClassifier(**PLAIN, trees=False, max_time=seconds[workers.rank])
    return len(model.fit(ROWS, Y).learning_curve_["epoch"])


def test_the_clock_is_that_of_the_first_worker(tmp_path):
    for name, seconds, expected in (("a", (1e6, 1e-6), 4), ("b", (1e-6, 1e6), 1)):
        (tmp_path / name).mkdir()
        assert together(limited, 2, tmp_path / name, seconds) == [expected, expected]


def diverging(workers):
    with pytest.raises(ValueError, match=r"The training loss became (nan|inf)"):
        EmbeddingRegressor(**PLAIN | {"learning_rate": 1e30}, trees=False).fit(ROWS, LOG_ODDS)
    frame = ROWS.assign(city=None) if workers.rank == 0 else ROWS
    with pytest.raises(OSError, match="the first worker alone"):
        workers.shared(lambda: (_ for _ in ()).throw(OSError("the first worker alone")))
    return workers.shared(lambda: frame["city"].isna().all())


def test_an_error_of_the_first_worker_is_that_of_all(tmp_path):
    assert together(diverging, 2, tmp_path) == [True, True]


def resumed(workers, folder):
    kept = folder if workers.rank == 0 else folder / "not seen by the first"
    model = EmbeddingClassifier(**{**PLAIN, "dropout": 0.2}, trees=False, checkpoint=kept)
    original, checkpoints.PAUSE = checkpoints.Checkpoints.write, 0.0

    def stopped(self, state, is_cut):
        original(self, state, is_cut)
        if len(state()["curve"]["epoch"]) == 2:
            raise InterruptedError

    checkpoints.Checkpoints.write = stopped
    with pytest.raises(InterruptedError):
        model.fit(ROWS, Y)
    checkpoints.Checkpoints.write = original
    files = [path.name for path in folder.rglob("*.checkpoint")]
    ended = weights_of(model.fit(ROWS, Y))
    whole = weights_of(model.set_params(checkpoint=None).fit(ROWS, Y))
    return files, ended, whole


def test_the_first_worker_keeps_the_checkpoint_of_all(tmp_path):
    (tmp_path / "kept").mkdir()
    for files, ended, whole in together(resumed, 2, tmp_path, tmp_path / "kept"):
        assert len(files) == 1
        np.testing.assert_array_equal(ended, whole)


def refusals(workers):
    lists = X[["tags"]]
    pairs = X[["user", "item"]]
    said = []
    for fit in (
        lambda: EmbeddingEncoder(random_state=0).fit_transform(ROWS, Y),
        lambda: SequenceEncoder().fit(lists),
        lambda: PairEmbedder().fit(pairs),
        lambda: ItemEmbedder().fit(lists["tags"]),
        lambda: EmbeddingClassifier(tables={"t": Table(["city"], max_norm=1.0)}).fit(ROWS, Y),
        lambda: EmbeddingClassifier(tables={"t": Table(["city"], scale_grad_by_freq=True)}).fit(ROWS, Y),
    ):
        with pytest.raises(ValueError, match=r"\.$") as error:
            fit()
        said.append(str(error.value))
    return said


def test_what_workers_cannot_share_is_refused(tmp_path):
    first, second = together(refusals, 2, tmp_path)
    assert first == second
    names = ["EmbeddingEncoder", "SequenceEncoder", "PairEmbedder", "ItemEmbedder"]
    for name, text in zip(names, first):
        assert text.startswith(
            f"{name} must be fitted by one process, outside of distributed.workers; 2 "
        )
    assert first[4].startswith("max_norm of the table 't' must be None where several workers train")
    assert first[5].startswith("scale_grad_by_freq of the table 't' must be False where several workers")

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from experiments.events.comparison import compare, show
from experiments.events.metrics import ranks
from experiments.events.models import MODELS, suitable_models
from experiments.events.problems import find_problem
from experiments.events.streams import read_questions
from experiments.shared.settings import CONFIG_FOLDER

QUICK = {"max_epochs": 1, "hidden": [8], "n_members": 1, "d_history": 4}


@pytest.fixture
def data(tmp_path):
    """Small frames with the columns of the public data sets."""
    rng = np.random.default_rng(0)
    n = 60
    cases = pd.DataFrame(
        {
            "application": [f"a{i}" for i in range(n)],
            "amount_requested": rng.integers(1000, 9000, n).astype(float),
            "registered": pd.Timestamp("2011-10-01") + pd.to_timedelta(np.arange(n), unit="h"),
            "outcome": [["approved", "declined", "cancelled"][i % 3] for i in range(n)],
        }
    )
    days = [0, 1, 2, 3, 30]
    what = ["A_SUBMITTED", "W_call", "W_call", "O_SENT", "A_DECLINED"]
    log = pd.DataFrame(
        {
            "application": np.repeat(cases["application"], 5),
            "activity": np.tile(what, n),
            "transition": "COMPLETE",
            "resource": rng.choice(["112", None], 5 * n),
            "time": np.repeat(cases["registered"], 5) + pd.to_timedelta(np.tile(days, n), unit="D"),
        }
    )
    log.loc[log["application"].isin(["a0", "a1"]) & (log["activity"] == "A_DECLINED"), "time"] = (
        pd.Timestamp("2011-10-02")
    )
    cases.to_parquet(tmp_path / "bpic2012_cases.parquet")
    log.to_parquet(tmp_path / "bpic2012_events.parquet")
    answers = pd.DataFrame(
        {
            "student": np.repeat([f"s{i}" for i in range(20)], 12),
            "step": np.tile(np.arange(12), 20),
            "problem": np.tile(np.repeat([f"p{i}" for i in range(6)], 2), 20),
            "skill": np.tile(["add", "sub"], 120),
            "correct": np.repeat(rng.integers(0, 2, 120), 2),
            "fold": np.repeat(np.arange(20) % 5 + 1, 12),
        }
    )
    answers.to_parquet(tmp_path / "assist2009_answers.parquet")
    clicks = pd.DataFrame(
        {
            "session": np.repeat(np.arange(40), 4),
            "time": np.arange(160.0),
            "item": np.tile([7, 8, 9, 7], 40),
            "split": np.repeat(["train", "test"], [120, 40]),
        }
    )
    clicks.to_parquet(tmp_path / "yoochoose_clicks.parquet")
    return tmp_path


def settings(folder, **changes):
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        config = OmegaConf.to_container(compose("events"), resolve=True)
    return {
        **config,
        "folder": str(folder / "out"),
        "net": QUICK,
        "seeds": [0],
        "folds": [1],
        "n_sequences": 200,
        **changes,
    }


@pytest.mark.slow
def test_every_model_runs_on_every_kind_of_problem_and_a_finished_cell_is_kept(data, capsys):
    tasks = ["pattern", "applications after 3 events", "next answer"]
    chosen = settings(data, tasks=tasks)
    cells = compare(chosen, data)
    assert len(cells) == 2 * (len(MODELS) - 1) + len(suitable_models("next answer"))
    assert cells["auc"].between(0, 1).all()
    pd.testing.assert_frame_equal(compare(chosen, data), cells)
    show(cells)
    assert "gru" in capsys.readouterr().out


def test_measurements_of_patients_are_aggregated_by_parameter_and_their_folds_are_tests(data):
    find_problem.cache_clear()
    rng, n = np.random.default_rng(0), 50
    log = pd.DataFrame(
        {
            "stay": np.repeat(np.arange(n), 6),
            "minute": np.tile([0, 0, 5, 5, 9, 9], n),
            "Parameter": np.tile(["HR", "Temp"], 3 * n),
            "Value": rng.normal(size=6 * n),
        }
    )
    log.to_parquet(data / "icu_events.parquet")
    pulse = log[log["Parameter"] == "HR"].groupby("stay")["Value"]
    death, fold = (pulse.last() > 0).astype(int), np.arange(n) % 5
    pd.DataFrame({"stay": np.arange(n), "death": death, "fold": fold}).to_parquet(
        data / "icu_stays.parquet"
    )
    problem = find_problem("icu", data, 2, 0)
    assert problem.is_test.tolist() == (fold == 1).tolist()
    last = problem.aggregates["history_Parameter_HR_Value_last"]
    assert last.tolist() == pytest.approx(pulse.last().tolist())
    chosen = settings(data, tasks=["icu"], folds=[1, 2], seeds=[0, 1])
    cells = compare(chosen, data)
    assert cells["model"].value_counts().to_dict() == dict.fromkeys(suitable_models("icu"), 2)


def test_the_next_event_is_predicted_by_a_chain_and_by_a_network(data, capsys):
    find_problem.cache_clear()
    chosen = settings(data, tasks=["next item", "next activity"], models=["markov chain", "gru"])
    cells = compare(chosen, data).set_index(["task", "model"])
    assert (
        cells.loc[("next item", "markov chain"), "mrr_20"] == 1
    )  # in 7, 8, 9, 7 each item determines the next one
    assert cells.loc[("next activity", "markov chain"), "accuracy"] > 0.7
    assert cells["recall_20"].dropna().eq(1).all()
    show(cells.reset_index())
    assert "MRR@20" in capsys.readouterr().out


def test_ranks_count_the_better_classes_and_a_new_class_has_no_rank():
    proba = np.array([[0.1, 0.6, 0.3], [0.5, 0.2, 0.3], [0.2, 0.2, 0.6]])
    assert ranks(np.array(["c", "a", "new"]), proba, np.array(["a", "b", "c"])).tolist() == [
        2,
        1,
        np.inf,
    ]


def test_applications_that_were_decided_before_the_cutoff_are_left_out(data):
    find_problem.cache_clear()
    problem = find_problem("applications after 7 days", data, 0, 0)
    assert len(problem.y) == 58
    activities = [event["activity"] for row in problem.histories["history"] for event in row]
    assert set(activities) == {"A_SUBMITTED", "W_call", "O_SENT"}


def test_a_question_of_two_skills_is_one_row(data):
    questions = read_questions(data / "assist2009_answers.parquet")
    assert len(questions) == 120
    assert questions["skills"].unique().tolist() == ["add|sub"]


def test_a_problem_that_does_not_exist_is_named():
    with pytest.raises(SystemExit, match=r"tasks must be among pattern, .*, next item; got 'x'"):
        find_problem("x", None, 0, 0)
    with pytest.raises(SystemExit, match="TABEMB_DATA must name the folder"):
        find_problem("buys again", None, 0, 0)

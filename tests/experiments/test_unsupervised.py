"""The table of the experiments without a target."""

import pandas as pd

from experiments.unsupervised import ranking
from experiments.unsupervised.__main__ import with_verdicts
from experiments.unsupervised.score import Score
from tabemb.unsupervised.baselines import EASE, Popularity
from tabemb.unsupervised.splits import split_users


def test_a_model_that_loses_to_ease_says_so():
    scores = [
        Score("films", "EASE", "ndcg", 0.4, "", 1.0),
        Score("films", "new", "ndcg", 0.39, "", 1.0),
        Score("films", "newer", "ndcg", 0.41, "", 1.0),
        Score("films", "EASE", "RMSE", 0.9, "", 1.0),
        Score("films", "new", "RMSE", 0.8, "", 1.0),
        Score("books", "new", "ndcg", 0.1, "", 1.0),
    ]
    verdicts = with_verdicts(scores)["verdict"].tolist()
    assert verdicts == ["", "loses to EASE", "above EASE", "", "above EASE", ""]


def test_models_are_tuned_on_training_pairs_alone():
    rows = [(f"u{u}", f"i{i}") for u in range(40) for i in range(u % 3, 60, 3) if (u * i) % 4]
    train, test = split_users(pd.DataFrame(rows, columns=["user", "item"]), "user", random_state=0)
    models = {"popularity": (Popularity(), {}), "EASE": (EASE(), {"l2": (1.0, 100.0)})}
    scores = ranking.measure("t", train, test, "user", k=5, reach={"ndcg": "1"}, models=models)
    by_name = {(score.model, score.metric): score for score in scores}
    assert by_name["EASE", "ndcg@5"].value > by_name["popularity", "ndcg@5"].value
    assert by_name["EASE", "ndcg@5"].reach == "1"

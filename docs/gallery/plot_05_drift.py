"""
Is tomorrow still like today?
=============================

``check`` compares later rows with the training rows: new categories, missing values, shifts, and
effects that have moved. Here three changes are planted, and one column stays as it was.
"""

import numpy as np
import pandas as pd

from tabemb import EmbeddingClassifier

rng = np.random.default_rng(0)


def orders(n, cities, mean, missing):
    X = pd.DataFrame(
        {
            "city": rng.choice(cities, n),
            "amount": rng.normal(mean, 10, n),
            "channel": rng.choice(["web", "shop"], n),
            "weight": np.where(rng.random(n) < missing, np.nan, rng.gamma(2, 1, n)),
        }
    )
    return X, (X["city"] == "Oslo") & (rng.random(n) < 0.8)


cities = ["Bonn", "Oslo", "Rome", "Turin"]
model = EmbeddingClassifier(max_epochs=10, random_state=0).fit(*orders(2000, cities, 50, 0.02))

# %%
# Later rows have a new city, amounts that are half a standard deviation larger, and three times as many
# missing weights.

report = model.check(*orders(1000, [*cities, "Cairo"], 55, 0.06))
axes = report.plot()

# %%
# The report in words and figures:

report

"""
A model that grows every night
==============================

New rows come every night, some with categories that no row had before. ``partial_fit`` updates the
model with the new rows alone. Here a new city opens on the third night.
"""

import warnings

import numpy as np
import pandas as pd

from tabemb import EmbeddingRegressor, InputNote

rng = np.random.default_rng(0)
prices = pd.Series(rng.normal(20, 6, 30), index=[f"city {i}" for i in range(30)])
prices["new city"] = 45.0


def sales(cities, n):
    X = pd.DataFrame({"city": rng.choice(cities, n), "size": rng.normal(size=n)})
    return X, X["city"].map(prices) + 2 * X["size"] + rng.normal(size=n)


old = list(prices.index[:-1])
model = EmbeddingRegressor(trees=False, max_epochs=20, random_state=0).fit(*sales(old, 2000))
first_day = model.spaces_["city"]

# %%
# Eight nights have 100 rows each. The test rows stay the same.

X_old, y_old = sales(old, 500)
X_new, y_new = sales(["new city"], 500)
warnings.simplefilter("ignore", InputNote)  # it says that the new city is unseen at first


def error(X, y):
    return float(np.sqrt(np.mean((model.predict(X) - y) ** 2)))


nights = [{"night": 0, "old cities": error(X_old, y_old), "the new city": error(X_new, y_new)}]
for night in range(1, 9):
    open_cities = old if night < 3 else [*old, *["new city"] * 3]
    model.partial_fit(*sales(open_cities, 100))
    nights.append(
        {"night": night, "old cities": error(X_old, y_old), "the new city": error(X_new, y_new)}
    )
table = pd.DataFrame(nights).set_index("night")
print(table.round(2))

# %%
# The error on the new city falls as soon as it has rows, and the old cities are not forgotten. The
# noise has a standard deviation of 1.

import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
table.plot(ax=axes, marker="o", logy=True)
axes.axvline(2.5, color="0.6", linestyle=":")
axes.annotate("the city opens", (2.5, table.max().max()), (4, -8), textcoords="offset points")
axes.set(ylabel="RMSE on new rows")
axes.legend(frameon=False)

# %%
# The vectors of all nights have the axes of the first day, so they can be compared.

change = model.spaces_["city"].compare(first_day)
print(change["change"].value_counts().to_string())

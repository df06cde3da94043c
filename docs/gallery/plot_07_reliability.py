"""
Neighbours, and how far to trust them
=====================================

Even a category that was seen twice has a vector. Its reliability says how much of the vector is more
than noise. Here 60 cities belong to three groups, which are known because the data are simulated.
"""

import numpy as np
import pandas as pd

from tabemb import EmbeddingClassifier

rng = np.random.default_rng(0)
kinds = np.array(["harbour", "market", "mine"])
kind = pd.Series(kinds[np.arange(60) % 3], index=[f"city {i}" for i in range(60)])
counts = np.geomspace(3, 300, 60).round().astype(int)
buys = {"harbour": [0.5, 0.25, 0.25], "market": [0.25, 0.5, 0.25], "mine": [0.25, 0.25, 0.5]}
X = pd.DataFrame({"city": np.repeat(kind.index, counts)})
y = np.array([rng.choice(["fish", "fruit", "tools"], p=buys[k]) for k in kind[X["city"]]])

model = EmbeddingClassifier(trees=False, max_epochs=30, random_state=0).fit(X, y)
cities = model.spaces_["city"]
print(cities)

# %%
# City 58 is a market with 280 rows. ``nearest`` shows the count and the reliability of each neighbour.

cities.nearest("city 58", k=5).assign(kind=lambda frame: frame["category"].map(kind))

# %%
# How many of the five nearest neighbours are of the same kind? The share is lower for cities with few
# rows, and their reliability is low too.

import matplotlib.pyplot as plt

neighbours = cities.neighbors(k=5)
same = neighbours["neighbor"].map(kind).to_numpy() == neighbours["category"].map(kind).to_numpy()
share = pd.Series(same).groupby(neighbours["category"].to_numpy()).mean()[list(cities.categories)]
figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
points = axes.scatter(cities.counts, share, c=cities.reliability, cmap="viridis", edgecolor="0.3", s=60)
axes.axhline(1 / 3, color="0.5", linestyle=":")
axes.annotate("chance", (cities.counts.max(), 1 / 3), (0, -12), textcoords="offset points", ha="right")
axes.set(xscale="log", xlabel="rows of the city", ylabel="share of the five nearest of the same kind")
bar = figure.colorbar(points, label="reliability")

"""
Effects of levels with their errors
===================================

The effect of a level is the mean target of its rows minus the mean of all rows, shrunken towards zero.
The fewer rows a level has, the stronger the shrinkage. ``effects_frame`` lists effects with standard
errors. The data are simulated, so the true effects are known.
"""

import numpy as np
import pandas as pd

from tabemb import EmbeddingRegressor

rng = np.random.default_rng(0)
shops = [f"shop {i}" for i in range(25)]
truth = pd.Series(rng.normal(0, 8, 25), index=shops)
counts = np.geomspace(2, 300, 25).round().astype(int)
sales = pd.DataFrame({"shop": np.repeat(shops, counts), "price": rng.normal(20, 3, counts.sum())})
sold = 100 + sales["shop"].map(truth) - 2 * sales["price"] + rng.normal(0, 15, len(sales))

model = EmbeddingRegressor(max_epochs=10, trees=False, random_state=0).fit(sales, sold)
effects = model.effects_frame("shop").set_index("level").loc[shops]
print(effects[["count", "mean", "effect", "error"]].iloc[[0, 8, 16, 24]].round(2))

# %%
# Shops with few rows have effects near zero and long bars. Of 100 bars of 1.96 standard errors, 95
# should contain the effect that very many rows would show.

import matplotlib.pyplot as plt

mean = sold.mean()
true_effect = 100 + truth - 2 * sales.groupby("shop")["price"].mean()[shops] - mean
figure, axes = plt.subplots(figsize=(8, 4.2), layout="constrained")
places = np.arange(25)
axes.axhline(0, color="0.7", linewidth=0.8)
axes.errorbar(
    places, effects["effect"], 1.96 * effects["error"], fmt="o", capsize=2, label="effect, 95 % interval"
)
axes.plot(places, true_effect, "x", color="tab:red", label="truth")
axes.plot(places, effects["mean"] - mean, ".", color="0.6", label="plain mean")
axes.set_xticks(places, effects["count"].astype(int), rotation=90)
axes.set(xlabel="rows of the shop", ylabel="difference from the mean of all rows")
axes.legend(frameon=False)

covered = (effects["effect"] - true_effect).abs() <= 1.96 * effects["error"]
print(f"{covered.sum()} of 25 intervals hold the true effect")

"""
Prediction intervals that know rare categories
==============================================

``predict_interval`` returns bounds that contain the target of, say, 80 % of new rows. The width depends
on how often the row's category was seen in training. So the coverage holds among rows of rare categories
too, and not only on average.
"""

import numpy as np
import pandas as pd

from tabemb import EmbeddingRegressor

rng = np.random.default_rng(0)
n = 6000
products = np.arange(1500)
shares = 1 / (1 + products) ** 0.8
X = pd.DataFrame(
    {"product": rng.choice(products, n, p=shares / shares.sum()).astype(str), "size": rng.normal(size=n)}
)
worth = pd.Series(rng.normal(0, 3, 1500), index=products.astype(str))
y = X["product"].map(worth) + X["size"] + rng.normal(0, 1, n)
train, test = slice(0, 4000), slice(4000, n)

model = EmbeddingRegressor(trees=False, random_state=0).fit(X[train], y[train])
low, high = model.predict_interval(X[test], coverage=0.8).T

# %%
# Test rows by the count of their product in the training rows:

counts = X["product"][test].map(X["product"][train].value_counts()).fillna(0)
bucket = pd.cut(counts, [-1, 0, 2, 9, 99, np.inf], labels=["unseen", "1-2", "3-9", "10-99", "100+"])
held = (y[test] >= low) & (y[test] <= high)
by_bucket = pd.DataFrame({"held": held, "width": high - low, "rows": 1}).groupby(bucket, observed=True)
table = by_bucket.agg({"held": "mean", "width": "mean", "rows": "sum"})
print(table.round(2))

# %%
# The intervals of unseen products are widest, because only the spread of all products is known. There
# are 400 validation rows, so the shares of single buckets vary by a few points from fit to fit.

import matplotlib.pyplot as plt

figure, (left, right) = plt.subplots(1, 2, figsize=(8.5, 3.4), layout="constrained")
left.bar(table.index, table["held"], color="tab:blue")
left.axhline(0.8, color="0.4", linestyle=":")
left.set(ylabel="share of targets in their interval", xlabel="training rows of the product", ylim=(0, 1))
right.bar(table.index, table["width"], color="tab:orange")
right.set(ylabel="mean width", xlabel="training rows of the product")

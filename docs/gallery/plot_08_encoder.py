"""
Vectors as inputs of other models
=================================

``EmbeddingEncoder`` replaces categories by learned vectors, out-of-fold for the rows that it was fitted on. Here a linear model
reads them, beside scikit-learn's encoders. The made target depends on an interaction: what a season means differs from
product to product.
"""

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, TargetEncoder

from tabemb import EmbeddingEncoder

rng = np.random.default_rng(0)
n = 3000
X = pd.DataFrame(
    {
        "product": rng.choice([f"product {i}" for i in range(150)], n),
        "season": rng.choice(["spring", "summer", "autumn", "winter"], n),
        "price": rng.normal(20, 4, n),
    }
)
level = pd.Series(rng.normal(0, 2, 150), index=[f"product {i}" for i in range(150)])
y = X["product"].map(level) * (1 + (X["season"] == "summer")) - 0.2 * X["price"] + rng.normal(0, 1, n)
train, test = slice(0, 2000), slice(2000, n)

# %%
# The same linear model on four kinds of inputs:

texts = ["product", "season"]
encoders = {
    "one-hot": make_column_transformer((OneHotEncoder(handle_unknown="ignore"), texts), remainder="passthrough"),
    "target encoder": make_column_transformer((TargetEncoder(random_state=0), texts), remainder="passthrough"),
    "vectors": EmbeddingEncoder(random_state=0),
    "vectors and effects": EmbeddingEncoder(kind="both", random_state=0),
}
errors = {}
for name, encoder in encoders.items():
    model = make_pipeline(encoder, RidgeCV(np.logspace(-3, 3, 13))).fit(X[train], y[train])
    errors[name] = float(np.sqrt(np.mean((model.predict(X[test]) - y[test]) ** 2)))
print({name: round(error, 3) for name, error in errors.items()})

# %%
# The noise has a deviation of 1, so no model has a smaller error.

import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(7, 2.8), layout="constrained")
axes.barh(list(errors)[::-1], list(errors.values())[::-1], color="tab:blue")
axes.axvline(1, color="0.4", linestyle=":")
axes.set(xlabel="RMSE of a linear model on new rows (dotted: the noise)")

"""
Vectors as inputs of other models
=================================

``EmbeddingEncoder`` replaces categories by learned vectors, out-of-fold for the rows that it was
fitted on. Here a linear model and nearest neighbours use these vectors, compared with scikit-learn's
encoders. The simulated target depends on an interaction: the effect of a season differs by product.
"""

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.linear_model import RidgeCV
from sklearn.neighbors import KNeighborsRegressor
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
# An encoder computes vectors of the categories and, with ``kind="both"``, also effects of columns and of
# pairs of columns. ``fit_transform`` is out-of-fold: a row is encoded by networks that were not trained
# on it.

both = EmbeddingEncoder(kind="both", random_state=0)
Z, Z_test = both.fit_transform(X[train], y[train]), both.transform(X[test])
print(list(Z.columns))

# %%
# The same two models on four kinds of inputs:

texts = ["product", "season"]
one_hot = make_column_transformer(
    (OneHotEncoder(handle_unknown="ignore"), texts), remainder="passthrough"
)
means = make_column_transformer((TargetEncoder(), texts), remainder="passthrough")
vectors = [name for name in Z.columns if not name.endswith("_effect")]
inputs = {
    "one-hot": (one_hot.fit_transform(X[train]), one_hot.transform(X[test])),
    "target encoder": (means.fit_transform(X[train], y[train]), means.transform(X[test])),
    "vectors": (Z[vectors], Z_test[vectors]),
    "vectors and effects": (Z, Z_test),
}
models = {"linear": RidgeCV(np.logspace(-3, 3, 13)), "20 neighbours": KNeighborsRegressor(20)}
errors = pd.DataFrame(
    {
        name: {
            kind: np.sqrt(np.mean((model.fit(A, y[train]).predict(B) - y[test]) ** 2))
            for kind, (A, B) in inputs.items()
        }
        for name, model in models.items()
    }
)
print(errors.round(3))

# %%
# The noise has a standard deviation of 1, so no model can have a smaller error. A linear model adds up
# its inputs, so it needs the effect of the pair to represent the interaction.


axes = errors[::-1].plot.barh(figsize=(7.5, 3.6), color=["tab:blue", "tab:orange"])
axes.axvline(1, color="0.4", linestyle=":")
axes.set(xlabel="RMSE on new rows (dotted: the noise)")
axes.legend(frameon=False)
axes.figure.tight_layout()

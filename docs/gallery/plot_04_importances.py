"""
Importances and partial dependence
==================================

Which columns does a model use, and how does its prediction depend on one of them? The diabetes data
from scikit-learn have ten measurements of 442 patients, and the progress of the disease a year later.
"""

from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

from tabemb import EmbeddingRegressor

X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
X["sex"] = X["sex"].map({1.0: "one", 2.0: "two"})
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, random_state=0)
model = EmbeddingRegressor(random_state=0).fit(X_train, y_train)
print(f"R2 {model.score(X_test, y_test):.2f}")

# %%
# The permutation importance of a column is how much the loss on test rows rises when the column is
# permuted. Columns with the same information can replace each other, so the six measurements of blood
# serum are permuted as one group here.

blood = {"blood serum": ["s1", "s2", "s3", "s4", "s5", "s6"]}
importances = model.importances(X_test, y_test, groups=blood)
axes = model.plot_importances(importances)

# %%
# scikit-learn's tools work on the model. The prediction rises with the body mass index and the blood
# pressure.

import matplotlib.pyplot as plt
from sklearn.inspection import PartialDependenceDisplay

figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained", sharey=True)
display = PartialDependenceDisplay.from_estimator(
    model, X_test, ["bmi", "bp"], grid_resolution=20, ax=axes
)

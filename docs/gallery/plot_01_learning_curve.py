"""
Learning curve of a fit
=======================

A fit holds out validation rows, which choose the best epoch. After that, all rows train for half as many epochs
more. The learning curve shows both.
"""

# %%
# The number of births per woman by country and year (World Bank, shipped by statsmodels): one column of 210 categories
# and a number.

import statsmodels.api as sm

from tabemb import EmbeddingRegressor

wide = sm.datasets.fertility.load_pandas().data.rename(columns={"Country Name": "country"})
years = [str(year) for year in range(1960, 2012)]
births = wide.melt("country", years, "year", "births").dropna().astype({"year": int})

model = EmbeddingRegressor(trees=False, max_epochs=30, early_stopping=True, random_state=0)
model.fit(births[["country", "year"]], births["births"])
axes = model.plot_learning_curve()

# %%
# ``learning_curve_`` has the numbers: one entry for each epoch.

import pandas as pd

curve = pd.DataFrame(model.learning_curve_).set_index("epoch")
print(curve.iloc[[0, 1, 2, model.best_epoch_]].round(4))

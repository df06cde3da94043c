"""
Learning curve of a fit
=======================

A fit holds out validation rows, which choose the best epoch. After that, all rows train for half as
many epochs more. The learning curve shows both.
"""

# %%
# 3,000 rows of the births per woman by country and year (World Bank, shipped by statsmodels): one
# column of 210 categories and a number.

import statsmodels.api as sm

from tabemb import EmbeddingRegressor

wide = sm.datasets.fertility.load_pandas().data.rename(columns={"Country Name": "country"})
years = [str(year) for year in range(1960, 2012)]
births = wide.melt("country", years, "year", "births").dropna().astype({"year": int})
births = births.sample(3000, random_state=0)

model = EmbeddingRegressor(random_state=0)
model.fit(births[["country", "year"]], births["births"])
axes = model.plot_learning_curve()

# %%
# ``learning_curve_`` has the numbers: one entry for each epoch. There is no validation loss once the
# validation rows train.

import pandas as pd

curve = pd.DataFrame(model.learning_curve_).astype({"epoch": int}).set_index("epoch")
print(curve.iloc[[0, 1, model.best_epoch_, -1]].round(4))

"""
Learning curve of a fit
=======================

A fit holds out validation rows to choose the best epoch. After that, it trains on all rows for half as
many more epochs. The learning curve shows both parts.
"""

# %%
# The data are 3,000 rows of births per woman by country and year (World Bank, shipped by statsmodels):
# one column of 210 categories and one number.

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
# ``learning_curve_`` has one entry for each epoch. Epochs that train on the validation rows have no
# validation loss.

import pandas as pd

curve = pd.DataFrame(model.learning_curve_).astype({"epoch": int}).set_index("epoch")
print(curve.iloc[[0, 1, model.best_epoch_, -1]].round(4))

"""
Map of a space
==============

Two categories are near in a space if the model makes similar predictions for them. This map shows 210
countries and groups of countries, placed by a model of births per woman. The model has seen names and
years, but no geography.
"""

# %%
# The model predicts births per woman by country and year (World Bank, shipped by statsmodels).

import statsmodels.api as sm

from tabemb import EmbeddingRegressor

wide = sm.datasets.fertility.load_pandas().data.rename(columns={"Country Name": "country"})
years = [str(year) for year in range(1960, 2012)]
births = wide.melt("country", years, "year", "births").dropna().astype({"year": int})
model = EmbeddingRegressor(trees=False, max_epochs=10, random_state=0)
model.fit(births[["country", "year"]], births["births"])
countries = model.spaces_["country"]

# %%
# Points are coloured by the births in 2011. Countries with unsure vectors are drawn fainter and smaller.
# The sentence below the map says how far to trust single neighbours.

latest = births[births["year"] == 2011].set_index("country")["births"]
figure = countries.map(
    color=latest.rename("births per woman, 2011"),
    highlight=["Germany", "India", "Kenya"],
    n_labels=70,
    figsize=(9, 6.5),
)

# %%
# ``countries.atlas("page.html")`` writes the map as a page with search, neighbours and filters.

"""Products in baskets: held-out pairs, and the neighbours of six products."""

from __future__ import annotations

import time

import pandas as pd

from experiments.shared.settings import data_folder
from experiments.unsupervised.score import Score
from tabemb import ItemEmbedder

PRODUCTS = (
    "WHITE HANGING HEART T-LIGHT HOLDER",
    "REGENCY CAKESTAND 3 TIER",
    "JUMBO BAG RED RETROSPOT",
    "PARTY BUNTING",
    "ALARM CLOCK BAKELIKE RED",
    "PAPER CHAIN KIT 50'S CHRISTMAS",
)
K = 10


def run(seed: int = 0) -> list[Score]:
    lines = pd.read_parquet(data_folder() / "online_retail.parquet")
    lines = lines[(lines["Quantity"] > 0) & lines["Description"].notna()]
    lines = lines.assign(Description=lines["Description"].str.strip())
    is_test = lines["InvoiceDate"] >= lines["InvoiceDate"].quantile(0.9)
    start = time.perf_counter()
    embedder = ItemEmbedder(
        mode="set", item="Description", entity="InvoiceNo", dim=64, window=10, random_state=seed
    ).fit(lines[~is_test])
    quality = embedder.evaluate(lines[is_test], k=K)
    seconds = time.perf_counter() - start
    print(quality.to_string())
    assert embedder.context_space_ is not None
    for product in PRODUCTS:
        near = embedder.space_.nearest(product, k=5, min_count=20)
        beside = embedder.context_space_.nearest(
            embedder.space_[product], k=6, metric="dot", min_count=20
        )
        print(f"{product}\n  like it: {', '.join(near['category'])}")
        print(f"  beside it: {', '.join(beside['category'])}")
    return [
        Score("online_retail", str(way), f"hit rate@{K} of pairs", row["hit_rate"], "", seconds)
        for way, row in quality.iterrows()
    ]

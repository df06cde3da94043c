"""Colours of maps and atlas pages, kept as text so that a page needs no plotting package."""

CLASSES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#8C6D1F")
"""Colours of classes, from the palette of Okabe and Ito: colour-blind readers can separate them."""

SCALE = tuple(
    "#" + color
    for color in """
    440154 46075a 470d60 471365 48186a 481d6f 482374 482878 472d7b 46327e 453781 443b84 424086 404588
    3e4989 3d4e8a 3a538b 38588c 365c8d 34608d 32648e 31688e 2f6c8e 2d708e 2c738e 2a778e 297b8e 277f8e
    26828e 24868e 238a8d 218e8d 20928c 1f968b 1f9a8a 1f9e89 1fa187 21a585 23a983 26ad81 2ab07f 2fb47c
    35b779 3bbb75 42be71 4ac16d 52c569 5ac864 65cb5e 6ece58 77d153 81d34d 8bd646 95d840 a0da39 aadc32
    b5de2b c0df25 cae11f d5e21a dfe318 eae51a f4e61e fde725
    """.split()  # noqa: SIM905 (one colour a line would take 64)
)
"""Colours of numbers from low to high: 64 steps of matplotlib's viridis."""

"""Parts of neural networks, built from plain sizes: tables, number encodings, backbones, models."""

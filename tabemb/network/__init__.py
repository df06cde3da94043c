"""Networks built from plain numbers: embedding tables, number encodings, backbones. They know no frame."""

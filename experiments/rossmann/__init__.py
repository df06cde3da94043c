"""Repeat the table of Guo & Berkhahn 2016 (arXiv 1604.06737) on their protocol."""

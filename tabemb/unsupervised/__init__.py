"""Vectors learned without a target column: of items in lists, of nodes in graphs, of pairs."""

"""Aggregates of histories: counts, means and trends, which boosted trees read in place of the events.

Each file imports only files above it in this list::

    segments.py   events in groups that lie end to end, and reductions over each group
    fields.py     the aggregates of times, of a number and of a category
    within.py     which numbers are aggregated within which levels, and their columns
    joiner.py     AggregateJoiner
"""

from tabemb.data.aggregates.joiner import AggregateJoiner

__all__ = ["AggregateJoiner"]

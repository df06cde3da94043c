"""Compare a recurrent network over events with boosted trees on aggregates of them, and with both together."""

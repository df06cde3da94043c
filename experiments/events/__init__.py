"""Compare a recurrent network over events, boosted trees on aggregates of them, and both together."""

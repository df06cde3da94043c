"""Compare a recurrent network on events, boosted trees on aggregates of them, and both together."""

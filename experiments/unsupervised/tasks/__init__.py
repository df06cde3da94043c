"""One file per task, with a function `run` that returns scores."""

"""One file a task, with a function `run` that returns scores."""

"""Settings, data, problems and models that several experiments share; none of them is an experiment."""

"""Settings, data, problems and models that several experiments share; this folder holds no experiment."""

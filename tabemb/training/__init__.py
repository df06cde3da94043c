"""The training loop and its parts, which depend on no model and no frame."""

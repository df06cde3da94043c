"""The training loop and its parts. They know no model and no frame."""

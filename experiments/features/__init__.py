"""Compare vectors as inputs of other models with one-hot columns, target means and native categories."""

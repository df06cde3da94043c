"""Compare vectors as model inputs with one-hot columns, target means and native categories."""

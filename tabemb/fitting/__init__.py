"""From rows to a trained network: the one place where a fit is described."""

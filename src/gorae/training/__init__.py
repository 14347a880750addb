"""One fold: fit, evaluate, losses, optimiser, checkpoints."""

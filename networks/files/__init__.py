"""Networks in files: weights, checkpoints, official weights, graphs."""

"""Synthetic brains for training: many anatomies with many labels, made from the ICBM152 tissue maps."""

"""Synthetic brains to train on: many anatomies with many labels, made from the ICBM152 tissue maps."""

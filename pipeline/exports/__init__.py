"""Exports of a trained network for other software."""

"""Trained networks: what is known about each, and those that come with the package."""

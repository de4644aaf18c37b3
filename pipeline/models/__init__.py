"""Trained networks with information about their training, and the models that come with the package."""

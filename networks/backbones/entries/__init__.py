"""The registry entries of the backbones, one per file. They load no torch."""

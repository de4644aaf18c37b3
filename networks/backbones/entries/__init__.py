"""Backbones, one a file; each adds its entry and loads no torch."""

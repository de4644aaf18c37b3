"""Grids in world coordinates, and displacement fields on them."""

"""Additions of another package to smoothmorph, one entry per file. They import public names only."""

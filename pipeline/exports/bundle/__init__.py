"""MONAI bundles of trained networks."""

from .write import write_bundle

__all__ = ["write_bundle"]

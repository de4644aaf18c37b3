"""Export of trained networks as MONAI bundles."""

from .write import write_bundle

__all__ = ["write_bundle"]

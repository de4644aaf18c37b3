"""smoothmorph: a MONAI-native laboratory for smoothness regularization in learned deformable registration.

Import from its sub-packages: ``smoothmorph.transforms``, ``.networks``, ``.pipeline`` and ``.experiments``.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    """Read ``__version__`` from the installation only when it is asked for, so that the import stays instant."""
    if name == "__version__":
        from importlib.metadata import version

        return version("smoothmorph")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

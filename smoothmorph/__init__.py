"""smoothmorph: a MONAI-native laboratory for smoothness regularization in learned deformable registration.

Import from its parts: ``smoothmorph.transforms``, ``.networks``, ``.pipeline`` and ``.experiments``.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    """``__version__``, read from the installation when it is asked for: importing stays instant."""
    if name == "__version__":
        from importlib.metadata import version

        return version("smoothmorph")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

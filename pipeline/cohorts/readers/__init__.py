"""Readers of cohorts: each turns a folder into a cohort without opening its images. Reading them loads no torch.

What they share, :mod:`..listings`, can be imported from here too.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    if name in ("file_cohort", "label_names", "read_label_table"):
        from .. import listings

        return getattr(listings, name)
    raise AttributeError(f"module {__name__} has no attribute {name}")

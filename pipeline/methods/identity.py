"""The method that leaves the images as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..settings.vocabulary import METHODS, MethodEntry
from .without_training import Displace

if TYPE_CHECKING:
    from ..settings.schema import TrialSettings

METHODS.add(
    MethodEntry(
        name="identity",
        title="No registration",
        meaning="the images before registration, from which every method starts",
        target=f"{__name__}:by_identity",
        how="no registration: the displacement is 0",
        registers=False,
        place=1,
    )
)


def by_identity(settings: TrialSettings) -> Displace:
    """Return the displacement 0 for every pair."""
    return lambda moving, fixed, spacing: np.zeros((fixed.ndim, *fixed.shape), np.float32)

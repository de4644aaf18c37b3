"""The numbers of the published study, for tables that set them beside ours."""

from typing import NamedTuple


class PublishedNumber(NamedTuple):
    """One row of the study's tables.

    ``val_loss`` is MSE + λ · 2 · penalty; ``fraction`` (0..1) counts non-positive Jacobian determinants of the
    half-resolution velocity, with the last weights.
    """

    group: str
    penalty: str
    weight: float
    val_loss: float
    fraction: float


PUBLISHED = (
    PublishedNumber("regularizers", "l2", 0.01, 0.003223, 0.002898),
    PublishedNumber("regularizers", "l1", 0.01, 0.004653, 0.006790),
    PublishedNumber("regularizers", "bending-pure", 0.01, 0.002645, 0.006456),
    PublishedNumber("sweep", "l2", 0.001, 0.002215, 0.041256),
    PublishedNumber("sweep", "l2", 0.005, 0.002860, 0.006947),
    PublishedNumber("sweep", "l2", 0.01, 0.002964, 0.002130),
    PublishedNumber("sweep", "l2", 0.05, 0.004402, 0.000355),
    PublishedNumber("sweep", "l2", 0.1, 0.004930, 0.0),
    PublishedNumber("sweep", "l2", 0.5, 0.006041, 0.0),
)
CORRECTED = ("mse", "mse_before", "dice", "dice_before", "displacement_nonpositive_percent", "displacement_sdlogj")
"""Our measures that stand beside them."""
VALIDATION_EVERY = 20
"""The study looked at its validation subjects in epochs 1, 21, 41, ... and kept the lowest loss."""

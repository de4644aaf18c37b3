"""The penalties and similarities that a study can name. Reading them loads neither torch nor MONAI."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ...transforms.basics.registry import Entry, Registry

if TYPE_CHECKING:
    from torch import nn

    from .losses import Penalty


@dataclass(frozen=True, kw_only=True)
class PenaltyEntry(Entry):
    """A smoothness penalty: the target is a function of a field (B, D, *spatial), voxels, and ``spacing``: (B,)."""

    def __call__(self, **options: Any) -> "Penalty":
        """The penalty as a loss, with its ``spacing``, ``multiplier`` and ``reduction``."""
        from .losses import Penalty

        return Penalty(self, **options)


@dataclass(frozen=True, kw_only=True)
class SimilarityEntry(Entry):
    """A similarity of images: the target is the class of a loss of (warped, fixed), lower is more alike.

    Attributes:
        of_dims: whether the class takes ``spatial_dims``.
        sign: the measure that rows report is the loss times this.
        better: which values of that measure are better.
        unit: of the measure; ``a.u.`` are the intensity's own units.
        always: it is measured in every trial; otherwise in the trials that minimize it.
    """

    of_dims: bool = False
    sign: Literal[1, -1] = 1
    better: Literal["lower", "higher"] = "lower"
    unit: str = ""
    always: bool = False

    def __call__(self, spatial_dims: int) -> "nn.Module":
        """The loss for images of so many axes."""
        return self.load()(**({"spatial_dims": spatial_dims} if self.of_dims else {}), **self.arguments)


PENALTIES: Registry[PenaltyEntry] = Registry(
    "penalty", "smoothmorph.penalties", package="smoothmorph.networks.objective.penalties"
)
SIMILARITIES: Registry[SimilarityEntry] = Registry(
    "similarity",
    "smoothmorph.similarities",
    (
        SimilarityEntry(
            name="mse",
            title="MSE",
            meaning="mean squared difference of the warped and the fixed image",
            target="torch.nn:MSELoss",
            unit="a.u.²",
            always=True,
            place=0,
        ),
        SimilarityEntry(
            name="ncc",
            title="NCC",
            meaning="mean squared local correlation of the warped and the fixed image in windows of 9 voxels",
            source="Avants et al., Medical Image Analysis 2008, Eq. 5",
            target="smoothmorph.networks.objective.similarities:LocalNCCLoss",
            of_dims=True,
            sign=-1,
            better="higher",
            always=True,
            place=1,
        ),
    ),
)

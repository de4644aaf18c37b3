"""The registries of penalties and similarities. Reading them loads neither torch nor MONAI."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ...transforms.basics.registry import Entry, Registry

if TYPE_CHECKING:
    from torch import nn

    from .losses import Penalty


@dataclass(frozen=True, kw_only=True)
class PenaltyEntry(Entry):
    """The registry entry of a smoothness penalty.

    ``target`` is a function of a field (B, D, *spatial) in voxels, and of ``spacing``. It returns (B,) values >= 0.
    The penalty becomes a metric, too: it is measured on the displacement and on the velocity of every test pair.
    """

    def __call__(self, **options: Any) -> "Penalty":
        """Return the penalty as a loss; ``options`` are ``spacing``, ``multiplier`` and ``reduction``."""
        from .losses import Penalty

        return Penalty(self, **options)


@dataclass(frozen=True, kw_only=True)
class SimilarityEntry(Entry):
    """The registry entry of an image similarity.

    ``target`` is a loss class. Its instances are called with (warped, fixed) and return less for more similar images.

    Attributes:
        of_dims: whether the class takes ``spatial_dims``.
        sign: the reported measure is ``sign`` times the loss.
        better: whether lower or higher values of the measure are better.
        best: the best possible value of the measure, if there is one.
        unit: the unit of the measure; ``a.u.`` stands for the images' own intensity units.
        form: the format of the measure in a terminal.
        always: true: every trial measures it; false: only the trials that minimize it.
        required: rows without it are damaged, because every version measured it; false for another package's entry.
        minimized: the loss in words; default: made from title and meaning.
    """

    of_dims: bool = False
    sign: Literal[1, -1] = 1
    better: Literal["lower", "higher"] = "lower"
    best: float | None = None
    unit: str = ""
    form: str = ".3f"
    always: bool = False
    required: bool = False
    minimized: str = ""

    @property
    def loss(self) -> str:
        """The name of the loss: the title if ``sign`` is 1 (``MSE``), otherwise with "loss" added (``NCC loss``)."""
        return self.title if self.sign == 1 else f"{self.title} loss"

    @property
    def loss_in_words(self) -> str:
        """The name of the loss and its definition."""
        return self.minimized or f"{self.loss} ({'minus the ' if self.sign == -1 else ''}{self.definition})"

    def __call__(self, spatial_dims: int) -> "nn.Module":
        """Return the loss for 2-D or 3-D images."""
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
            best=0.0,
            unit="a.u.²",
            form=".5f",
            always=True,
            required=True,
            minimized="MSE",
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
            best=1.0,
            always=True,
            required=True,
            minimized="NCC loss (minus the mean squared local correlation, windows of 9 voxels)",
            place=1,
        ),
    ),
)

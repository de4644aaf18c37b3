"""The registries of penalties and similarities. Reading them loads neither torch nor MONAI."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from ...transforms.basics.registry import Entry
from .sums import SumRegistry, weighted

if TYPE_CHECKING:
    from torch import nn

    from .losses import Penalty


@dataclass(frozen=True, kw_only=True)
class PenaltyEntry(Entry):
    """The registry entry of a smoothness penalty.

    ``target`` is a function of a field (B, D, *spatial) in voxels, and of ``spacing``. It returns (B,) values >= 0.
    The penalty becomes a metric, too: it is measured on the displacement and on the velocity of the test pairs.

    Attributes:
        always: true: every trial measures it; false: only the trials whose objective contains it.
        field: the field that it always acts on; empty: the field that ``objective.acts_on`` names.
        both_directions: whether the target takes the displacements of both directions: moving to fixed, and fixed to
            moving.
    """

    always: bool = True
    field: Literal["displacement", ""] = ""
    both_directions: bool = False

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

    def __call__(self, spatial_dims: int, reduction: Literal["mean", "none"] = "mean") -> "nn.Module":
        """Return the loss for 2-D or 3-D images. It gives a scalar, or with ``none`` one number per sample (B,)."""
        loss = partial(self.load(), **({"spatial_dims": spatial_dims} if self.of_dims else {}), **self.arguments)
        if reduction == "mean":
            return loss()
        from .similarities import PerSample

        return PerSample(loss)


def _sum_of_penalties(text: str, members: Sequence[tuple[PenaltyEntry, float]]) -> PenaltyEntry:
    return PenaltyEntry(
        name=text,
        title=" + ".join(weighted(entry.title, weight) for entry, weight in members),
        meaning=" + ".join(weighted(f"({entry.definition})", weight) for entry, weight in members),
        both_directions=any(entry.both_directions for entry, _ in members),
        target="smoothmorph.networks.objective.losses:sum_of_penalties",
        arguments={"members": tuple((entry.name, weight) for entry, weight in members)},
    )


def _sum_of_similarities(text: str, members: Sequence[tuple[SimilarityEntry, float]]) -> SimilarityEntry:
    units = {entry.unit for entry, _ in members}
    return SimilarityEntry(
        name=text,
        title=" + ".join(weighted(entry.loss, weight) for entry, weight in members),
        meaning="the sum of " + " and ".join(weighted(entry.loss_in_words, weight) for entry, weight in members),
        target="smoothmorph.networks.objective.similarities:SumOfSimilarities",
        arguments={"members": tuple((entry.name, weight) for entry, weight in members)},
        of_dims=True,
        unit=units.pop() if len(units) == 1 else "",
        minimized=" + ".join(weighted(entry.loss_in_words, weight) for entry, weight in members),
    )


PENALTIES: SumRegistry[PenaltyEntry] = SumRegistry(
    "penalty",
    "smoothmorph.penalties",
    package="smoothmorph.networks.objective.penalties",
    total=_sum_of_penalties,
)
SIMILARITIES: SumRegistry[SimilarityEntry] = SumRegistry(
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
        SimilarityEntry(
            name="gradient-mse",
            title="Gradient MSE",
            meaning="mean squared difference of the warped and the fixed image's gradients, summed over axes; forward "
            "differences of neighbouring voxels",
            source="after the gradient constancy of Brox et al., ECCV 2004, Eq. 3",
            target="smoothmorph.networks.objective.similarities:GradientMSELoss",
            best=0.0,
            unit="a.u.²",
            form=".5f",
            place=2,
        ),
        SimilarityEntry(
            name="charbonnier",
            title="Charbonnier",
            meaning="mean sqrt(d² + ε²) - ε of the difference d of the warped and the fixed image, ε = 0.02",
            source="Charbonnier et al., ICIP 1994",
            target="smoothmorph.networks.objective.similarities:CharbonnierLoss",
            best=0.0,
            unit="a.u.",
            form=".4f",
            place=3,
        ),
        SimilarityEntry(
            name="mutual-information",
            title="Mutual information",
            meaning="mutual information of the warped and the fixed image's intensities, in 23 soft bins each",
            source="Viola and Wells, IJCV 1997",
            target="smoothmorph.networks.objective.similarities:MutualInformationLoss",
            sign=-1,
            better="higher",
            unit="nats",
            place=4,
        ),
    ),
    total=_sum_of_similarities,
)

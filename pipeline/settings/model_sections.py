"""The sections of how a pair is registered: ``model``, and those of methods that train nothing."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from ...networks import BACKBONES
from ...transforms.basics.bounds import MOST_CHANNELS, MOST_SQUARINGS
from .base import Settings
from .vocabulary import METHODS

Method = Annotated[str, AfterValidator(METHODS.check)]
Backbone = Annotated[str, AfterValidator(BACKBONES.check)]
Widths = tuple[Annotated[int, Field(ge=1, le=MOST_CHANNELS)], ...]


class ModelSettings(Settings):
    """The network, or a method without training. Such a method uses none of the other settings here.

    ``integration_steps=0`` gives the displacement model, any other number the diffeomorphic model.
    """

    method: Method = Field(
        default="voxelmorph", description="voxelmorph trains a network; the other methods need no training"
    )
    backbone: Backbone = Field(default="voxelmorph", description="the part of the network that predicts the field")
    channels: Widths | None = Field(default=None, description="channels of the backbone's layers; null: its default")
    final_channels: Widths | None = Field(
        default=None, description="voxelmorph: channels of the convolutions after its U-Net; null: its default"
    )
    symmetric: bool | None = Field(
        default=None, description="pyramid: swapping the images gives exactly the negated field; null: true"
    )
    radius: int | None = Field(
        default=None, ge=0, description="pyramid: radius of the correlation, in voxels of each level; null: 1"
    )
    convolutions: int | None = Field(
        default=None, ge=1, description="pyramid: number of convolutions per level; null: 2"
    )
    repeats: int | None = Field(
        default=None, ge=1, description="pyramid: number of applications of the finest level; null: 3"
    )
    residual: bool | None = Field(
        default=None, description="pyramid: add the input of a level's convolutions to their output; null: false"
    )
    integration_steps: int = Field(
        default=7,
        ge=0,
        le=MOST_SQUARINGS,
        description="scaling-and-squaring steps that integrate the velocity field; 0: the field is a displacement",
    )
    integration_downsize: Literal[1, 2] = Field(
        default=2, description="2: integrate the velocity field at half resolution; 1: at full resolution"
    )
    padding_mode: Literal["zeros", "border"] = Field(
        default="zeros", description="values beyond the border of the moving image: 0, or those at the border"
    )

    @property
    def trains(self) -> bool:
        """Whether the method trains a network."""
        return METHODS[self.method].trains

    @property
    def has_objective(self) -> bool:
        """Whether the method minimizes the objective, with or without training."""
        return METHODS[self.method].has_objective

    @property
    def options(self) -> dict[str, Any]:
        """The options given for the backbone, checked."""
        return BACKBONES[self.backbone].check_settings({name: getattr(self, name) for name in BACKBONE_OPTIONS})

    @property
    def kind(self) -> str:
        if not self.has_objective:
            return self.method
        return "diffeomorphic" if self.integration_steps else "displacement"


BACKBONE_OPTIONS = (
    *("channels", "final_channels"),
    *("symmetric", "radius", "convolutions", "repeats", "residual"),
)
"""Model settings that only some backbones have."""


class BaselineSettings(Settings):
    """Settings of the methods without training. Networks do not use them."""

    iterations: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        default=(100, 100, 50), min_length=1, description="syn: maximum number of iterations per level, coarse to fine"
    )
    metric: Literal["cross-correlation", "mutual-information"] = Field(
        default="cross-correlation",
        description="syn: what it maximizes; in 3-D, mutual information takes less than a third of the time",
    )
    update_variance: float = Field(
        default=3.0, ge=0, description="syn: variance of the Gaussian that smooths each update, in voxels²"
    )
    total_variance: float = Field(
        default=0.0, ge=0, description="syn: variance of the Gaussian that smooths the total field, in voxels²"
    )
    grid_spacing: float = Field(
        default=6.0, ge=1, description="elastix: distance of the control points on the finest level, in voxels"
    )
    bending_weight: float = Field(
        default=5.0, ge=0, description="elastix: weight of the bending energy; the similarity has weight 1"
    )


class OptimizationSettings(Settings):
    """How the method ``optimization`` finds the field of a test pair: L-BFGS, from coarse images to fine ones."""

    levels: int = Field(default=3, ge=1, le=8, description="resolutions; each doubles the voxels along an axis")
    steps: int = Field(default=300, ge=1, description="evaluations of the objective on each level, at most")
    tolerance: float = Field(
        default=1e-3, ge=0, description="a pair is done on a level when its objective falls by no more than this share"
    )
    window: int = Field(default=10, ge=1, description="evaluations over which that share is measured")
    batch_size: int = Field(
        default=8,
        ge=1,
        description="pairs that are optimized together; for speed (rounding may lead to another local minimum)",
    )


class FieldSettings(Settings):
    """Where the method ``fields`` finds displacement fields that another tool wrote."""

    folder: str | None = Field(default=None, description="folder of the files, relative to the data folder")
    file: str = Field(
        default="MOVING_to_FIXED.nii.gz",
        pattern="MOVING|FIXED",
        description="name of a pair's file: MOVING and FIXED stand for the ids. Its ending tells the format",
    )


class PretrainedSettings(Settings):
    """Which network the method ``pretrained`` takes. The trial's penalty and λ must be ones that it was trained for.

    A network that was trained for many λ is taken at the trial's penalty and λ.
    """

    model: str = Field(
        default="brain-2d",
        min_length=1,
        description="a trial's folder or a .safetensors file, relative to the current folder, or a shipped model",
    )
    digest: str | None = Field(
        default=None,
        pattern="^[0-9a-f]{12}$",
        description="first 12 hexadecimal digits of the sha256 of the model's file, which must match; null: any file",
    )

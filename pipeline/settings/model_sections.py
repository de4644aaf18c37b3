"""The sections of how a pair is registered: ``model``, and those of methods that train nothing."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from ...networks import BACKBONES
from ...transforms.basics.bounds import MOST_SQUARINGS
from .base import MOST, MOST_IN_BATCH, Digest, InWords, Settings, matching
from .vocabulary import METHODS
from .with_options import WithOptions

Method = Annotated[str, AfterValidator(METHODS.check)]
Backbone = Annotated[str, AfterValidator(BACKBONES.check)]
Padding = Annotated[Literal["zeros", "border"], InWords({"zeros": "0", "border": "the value at the border"})]
Downsize = Annotated[Literal[1, 2], InWords({1: "full", 2: "half"})]
PairFile = Annotated[str, matching("MOVING|FIXED", "MOVING or FIXED in the name, in the place of the ids")]


class ModelSettings(WithOptions):
    """The network, or a method without training. Such a method uses none of the other settings here.

    ``integration_steps=0`` gives the displacement model, any other number the diffeomorphic model. An option of a
    backbone has its name before the meaning.
    """

    section = "model"
    registry = BACKBONES

    method: Method = Field(
        default="voxelmorph", description="voxelmorph trains a network; the other methods need no training"
    )
    backbone: Backbone = Field(default="voxelmorph", description="the part of the network that predicts the field")
    integration_steps: int = Field(
        default=7,
        ge=0,
        le=MOST_SQUARINGS,
        description="scaling-and-squaring steps that integrate the velocity field; 0: the field is a displacement",
    )
    integration_downsize: Downsize = Field(
        default=2, description="2: integrate the velocity field at half resolution; 1: at full resolution"
    )
    padding_mode: Padding = Field(
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
        entry = BACKBONES[self.backbone]
        options = self.options_of(entry)
        entry.check_options(options)
        return options

    @property
    def kind(self) -> str:
        if not self.has_objective:
            return self.method
        return "diffeomorphic" if self.integration_steps else "displacement"


class BaselineSettings(WithOptions):
    """Settings of the methods without training, each named before its meaning. Networks do not use them."""

    section = "baseline"
    registry = METHODS


class OptimizationSettings(Settings):
    """How the method ``optimization`` finds the field of a test pair: L-BFGS, from coarse images to fine ones."""

    levels: int = Field(default=3, ge=1, le=8, description="resolutions; each doubles the voxels along an axis")
    steps: int = Field(default=300, ge=1, le=MOST, description="evaluations of the objective on each level, at most")
    tolerance: float = Field(
        default=1e-3, ge=0, description="a pair is done on a level when its objective falls by no more than this share"
    )
    window: int = Field(default=10, ge=1, description="evaluations over which that share is measured")
    batch_size: int = Field(
        default=8,
        ge=1,
        le=MOST_IN_BATCH,
        description="pairs that are optimized together; for speed (rounding may lead to another local minimum)",
    )


class FieldSettings(Settings):
    """Where the method ``fields`` finds displacement fields that another tool wrote."""

    folder: str | None = Field(default=None, description="folder of the files, relative to the data folder")
    file: PairFile = Field(
        default="MOVING_to_FIXED.nii.gz",
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
    digest: Digest | None = Field(
        default=None,
        description="first 12 hexadecimal digits of the sha256 of the model's file, which must match; null: any file",
    )

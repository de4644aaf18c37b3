"""The sections of a trial's configuration: each setting with its type, bounds, default and description."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)

from ...networks import BACKBONES, PENALTIES, SIMILARITIES
from ...transforms.basics.bounds import MOST_CHANNELS, MOST_SQUARINGS
from ...transforms.basics.errors import InputError, quoted
from .vocabulary import METHODS, READERS

Penalty = Annotated[str, BeforeValidator(PENALTIES.read), AfterValidator(PENALTIES.check)]
Similarity = Annotated[str, BeforeValidator(SIMILARITIES.read), AfterValidator(SIMILARITIES.check)]
Reader = Annotated[str, AfterValidator(READERS.check)]
Method = Annotated[str, AfterValidator(METHODS.check)]
Backbone = Annotated[str, AfterValidator(BACKBONES.check)]
Widths = tuple[Annotated[int, Field(ge=1, le=MOST_CHANNELS)], ...]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]  # MONAI takes seeds modulo 2**32


class Settings(BaseModel):
    """Base class of all settings: immutable, without unknown keys, NaN or infinity."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_by_name=True, validate_by_alias=True
    )


class CohortSettings(Settings):
    """The subjects of the study, and how their images are prepared."""

    reader: Reader = Field(default="phantom", description="source of the subjects; phantom is built in, without files")
    spatial_dims: Literal[2, 3] = Field(default=2, description="number of axes of the images")
    labels: str | None = Field(
        default=None, description="neurite-oasis: label set (seg4, seg24 or seg35); table: file of label names"
    )
    file: str | None = Field(default=None, description="table: CSV file of the subjects, relative to the data root")
    subjects: int | None = Field(
        default=None,
        ge=2,
        description="phantom, synthetic: number of subjects; other readers: use only the first N subjects",
    )
    seed: Seed = Field(default=0, description="phantom, synthetic: random seed of the anatomies")
    intensity: Literal["none", "minmax", "percentile"] = Field(
        default="none", description="scale each image to 0..1, by its minimum and maximum or 1st and 99th percentile"
    )
    spacing: float | None = Field(
        default=None, gt=0, description="synthetic: voxel size in mm; 3-D: 2 (default) or 1, 2-D: 1"
    )
    size: tuple[int, ...] | None = Field(
        default=None, description="image size in voxels; images are padded or cropped around their centre"
    )
    align: Literal["none", "centre", "affine"] = Field(
        default="none", description="resample images onto the reference's grid, by image centres or affine registration"
    )
    reference: str | None = Field(
        default=None, description="align: id of the reference subject; null: the first training subject"
    )
    exclude: tuple[str, ...] = Field(default=(), description="ids of subjects to leave out")


class SplitSettings(Settings):
    """The subjects for training, validation and test. A group (repeat scans of one person) is never split."""

    source: Literal["fractions", "files", "declared", "published"] = Field(
        default="fractions",
        description="how to split the subjects: at random, by lists of ids, by the table's column, or as published",
    )
    train: float | str = Field(
        default=0.6, description="training subjects: a fraction, or for `files` a text file of subject ids"
    )
    validation: float | str = Field(default=0.2, description="validation subjects, given as for train")
    test: float | str | None = Field(
        default=0.2,
        description="test subjects, as for train; null: the validation subjects; published: a fraction of those",
    )
    seed: Seed = Field(default=0, description="random seed of the split")


def _columns(value: Any) -> tuple[tuple[str, str], ...]:
    """``{"phase": "es"}`` as sorted pairs, which can be hashed."""
    found = dict(value) if isinstance(value, tuple) else value
    if not isinstance(found, Mapping) or not all(
        isinstance(key, str) and isinstance(text, str | int | float) and not isinstance(text, bool)
        for key, text in found.items()
    ):
        raise ValueError("expected columns of the table with a text each, such as {phase: es}")
    return tuple(sorted((key, str(text)) for key, text in found.items()))


Columns = Annotated[
    tuple[tuple[str, str], ...],
    BeforeValidator(_columns),
    PlainSerializer(dict, return_type=dict[str, str]),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": ["string", "number"]}}),
]
"""Columns of the table of subjects, each with the text that a scan must have there."""


class PairSettings(Settings):
    """Which scans are registered to each other, in training, validation and test.

    A pair has an order: one scan moves, the other one is fixed. Validation and test pairs are drawn at random once for
    all trials. Training draws new pairs in every epoch. Both scans of a pair are in the same part of the split; only
    an atlas is fixed in all parts.
    """

    validation: int = Field(default=32, ge=1, description="number of validation pairs; all pairs if there are fewer")
    test: int = Field(default=100, ge=1, description="number of test pairs; all pairs if there are fewer")
    seed: Seed = Field(default=0, description="random seed of the pairs")
    source: Literal["across", "within", "atlas", "file"] = Field(
        default="across",
        description="any two scans, two scans of one group, every scan onto one atlas, or the pairs of a file",
    )
    match: tuple[str, ...] = Field(
        default=(), description="across, within: columns of the table that must have the same value for both scans"
    )
    moving: Columns = Field(
        default=(), description="not for file: values in the table that the moving scan must have, e.g. {phase: es}"
    )
    fixed: Columns = Field(
        default=(), description="across, within: values in the table that the fixed scan must have, e.g. {phase: ed}"
    )
    atlas: str | None = Field(default=None, description="atlas: the id of the subject that is fixed in every pair")
    file: str | None = Field(
        default=None, description="file: a CSV file or a Learn2Reg JSON of pairs, relative to the data root"
    )

    @property
    def chosen(self) -> bool:
        """Whether there is a rule for pairs; without one, any two scans of a part of the split are a pair."""
        return self.source != "across" or bool(self.match or self.moving or self.fixed)

    def check(self) -> None:
        """Raise InputError for a setting of another source, and for an atlas or a file that is missing."""
        for name in PAIR_OPTIONS:
            if getattr(self, name) and name not in OF_SOURCE[self.source]:
                value = quoted(self.model_dump(mode="json")[name])
                raise InputError(
                    f"pairs.{name} is {value}, but pairs.source is {self.source}, which has none; leave one of them out"
                )
        if self.source in ("atlas", "file") and not getattr(self, self.source):
            needed = "the id of a subject" if self.source == "atlas" else "a CSV or JSON file relative to the data root"
            raise InputError(f"pairs.source is {self.source}, which needs pairs.{self.source}, {needed}")


PAIR_OPTIONS = ("match", "moving", "fixed", "atlas", "file")
"""Settings of pairs that only some sources have."""
OF_SOURCE = {
    "across": ("match", "moving", "fixed"),
    "within": ("match", "moving", "fixed"),
    "atlas": ("atlas", "moving"),
    "file": ("file",),
}


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


class WeightMapSettings(Settings):
    """λ as a field: factors of λ inside and outside of chosen structures of the fixed image.

    Without ``labels``, λ is the same everywhere.
    """

    labels: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        default=(), description="label values of the chosen structures in the fixed image; empty: no weight map"
    )
    inside: float = Field(default=1.0, ge=0, description="factor of λ inside the structures")
    outside: float = Field(default=1.0, ge=0, description="factor of λ outside of the structures")


class ObjectiveSettings(Settings):
    """The loss of training: similarity + λ · multiplier · penalty(field).

    The similarity and the penalty can be weighted sums, written as text or as a list. ``similarities`` and
    ``penalties`` are alternative names of these keys.
    """

    similarity: Similarity = Field(
        default="mse",
        description="similarity of the warped and the fixed image; a sum is written `mse+0.5*gradient-mse`",
    )
    penalty: Penalty = Field(
        default="l2", description="smoothness penalty on the field; a sum is written `0.01*l2+folding`"
    )
    weight: float = Field(
        default=0.01,
        ge=0,
        alias="lambda",
        description="λ, the weight of the penalty; for a sum of penalties, a common factor with default 1",
    )
    acts_on: Literal["velocity", "displacement"] = Field(default="velocity", description="the field that is penalized")
    multiplier: float = Field(
        default=1.0, gt=0, description="constant factor of the penalty; the published study had a hidden factor of 2.0"
    )
    weight_map: WeightMapSettings = WeightMapSettings()

    @property
    def field_in_words(self) -> str:
        """The penalized field in words, with the factors of λ if there is a weight map."""
        fields = {term.name: PENALTIES[term.name].field or self.acts_on for term in PENALTIES.terms(self.penalty)}
        words = f"the {self.acts_on}" if self.acts_on in fields.values() else f"the {next(iter(fields.values()))}"
        if len(set(fields.values())) > 1:
            others = [PENALTIES.title(name) for name, field in fields.items() if field != self.acts_on]
            words += f", {' and '.join(others)} on the displacement"
        if labels := self.weight_map.labels:
            inside, outside = self.weight_map.inside, self.weight_map.outside
            words += (
                f"; λ times {inside:g} in the structures {', '.join(map(str, labels))}, times {outside:g} elsewhere"
            )
        return words

    def arguments(self) -> dict[str, Any]:
        """The arguments of :class:`~smoothmorph.networks.Objective`, without ``spatial_dims``."""
        return self.model_dump(exclude={"weight_map"})

    @model_validator(mode="before")
    @classmethod
    def _sums(cls, values: Any) -> Any:
        """Replace alternative names, and set the default λ of a sum."""
        if not isinstance(values, Mapping):
            return values
        values = dict(values)
        for other, key in OTHER_NAMES.items():
            if other in values and key in values:
                raise ValueError(f"{key} and {other} are one setting; keep one of them")
            if other in values:
                values[key] = values.pop(other)
        if not {LAMBDA, "weight"} & set(values) and PENALTIES.is_sum(values.get("penalty")):
            values[LAMBDA] = LAMBDA_OF_SUM
        return values


OTHER_NAMES = {"similarities": "similarity", "penalties": "penalty"}
"""Alternative names of keys of the objective, for lists."""
LAMBDA, LAMBDA_OF_SUM = "lambda", 1.0
"""The name of λ, and its default for a sum of penalties, whose members have their own weights."""


class RefinementSettings(Settings):
    """Refinement of a trained network's field on every test pair, by Adam. One training gives rows without and with it.

    The objective is that of the training, with what is given here in its place.
    """

    steps: int = Field(default=0, ge=0, description="steps of refinement; 0: no rows of refinement")
    learning_rate: float = Field(default=0.05, gt=0, description="Adam's, in voxels of the field's grid")
    similarity: Similarity | None = Field(default=None, description="similarity; null: as in the training")
    penalty: Penalty | None = Field(default=None, description="penalty; null: as in the training")
    weight: float | None = Field(default=None, ge=0, alias="lambda", description="λ; null: as in the training")


class AugmentSettings(Settings):
    """One random transform of training pairs and its arguments, such as ``{transform: RandFlipd, keys: [moving]}``.

    :mod:`.augmentation` says which transforms can be named.
    """

    model_config = ConfigDict(extra="allow")
    transform: str


class TrainingSettings(Settings):
    """The training by Adam, on random ordered pairs of training subjects."""

    epochs: int = Field(default=100, ge=1, description="number of epochs; each ends with the validation loss")
    steps_per_epoch: int = Field(default=100, ge=1, description="number of batches per epoch")
    batch_size: int = Field(default=1, ge=1, description="number of pairs per batch")
    learning_rate: float = Field(default=1e-4, gt=0, description="Adam's learning rate; with one-cycle, its maximum")
    schedule: Literal["constant", "one-cycle"] = Field(default="constant", description="learning-rate schedule")
    penalty_warmup: float = Field(
        default=0.0, ge=0, le=1, description="fraction of the steps over which λ grows linearly from 0"
    )
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32", description="floating-point precision of the convolutions"
    )
    selection: Literal["best", "last"] = Field(
        default="best", description="weights to keep: of the epoch with the lowest validation loss, or of the last"
    )
    augment: tuple[AugmentSettings, ...] = Field(
        default=(), description="random MONAI transforms of the training pairs"
    )
    both_directions: bool = Field(
        default=False, description="each step also registers its pairs in the other direction, fixed to moving"
    )
    gradient_clipping: float | None = Field(
        default=None, gt=0, description="maximum norm of the gradient over all weights; null: no limit"
    )
    weight_averaging: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="decay per step of a moving average of the weights; the average is validated and kept; null: none",
    )


class ComputeSettings(Settings):
    """The device and threads to compute with. They are not part of a trial's identity."""

    device: str = Field(
        default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto: the first GPU, or the CPU without one"
    )
    threads: int | None = Field(
        default=None, ge=1, description="CPU threads per trial; null: the workers share the cores"
    )

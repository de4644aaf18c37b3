"""The sections of a trial's configuration: every setting with its type, bounds, default and a description."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from ...networks import BACKBONES, PENALTIES, SIMILARITIES
from ...transforms.basics.bounds import MOST_CHANNELS, MOST_SQUARINGS
from ...transforms.basics.errors import InputError, quoted
from .vocabulary import METHODS, READERS

Penalty = Annotated[str, AfterValidator(PENALTIES.check)]
Similarity = Annotated[str, AfterValidator(SIMILARITIES.check)]
Reader = Annotated[str, AfterValidator(READERS.check)]
Method = Annotated[str, AfterValidator(METHODS.check)]
Backbone = Annotated[str, AfterValidator(BACKBONES.check)]
Widths = tuple[Annotated[int, Field(ge=1, le=MOST_CHANNELS)], ...]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]  # MONAI takes seeds modulo 2**32


class Settings(BaseModel):
    """Base of all configuration: frozen, no unknown keys, no NaN or infinity."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_by_name=True, validate_by_alias=True
    )


class CohortSettings(Settings):
    """Which subjects, and how an image becomes a tensor."""

    reader: Reader = Field(
        default="phantom", description="where the subjects come from; phantom is embedded and needs no data"
    )
    spatial_dims: Literal[2, 3] = Field(default=2, description="axes of the images")
    labels: str | None = Field(default=None, description="label set, e.g. seg4, seg24 or seg35 for neurite-oasis")
    file: str | None = Field(default=None, description="table: the CSV file, relative to the data root")
    subjects: int | None = Field(default=None, ge=2, description="phantom: how many to make; others: the first so many")
    seed: Seed = Field(default=0, description="phantom: seed of the anatomies")
    intensity: Literal["none", "minmax", "percentile"] = Field(
        default="none", description="scale each image to 0..1: by its range, or its 1st and 99th percentile"
    )
    size: tuple[int, ...] | None = Field(default=None, description="centre-pad or crop every image to these voxels")
    align: Literal["none", "centre", "affine"] = Field(
        default="none", description="images onto the axes and voxels of one subject: by their middles, or affinely"
    )
    reference: str | None = Field(default=None, description="align: that subject; by default the first that trains")
    exclude: tuple[str, ...] = Field(default=(), description="subject ids to leave out")


class SplitSettings(Settings):
    """Which subjects train, validate and test. Groups (repeat scans of one person) are never divided."""

    source: Literal["fractions", "files", "declared", "published"] = Field(
        default="fractions", description="drawn, from lists of ids, from the table's column, or the published study's"
    )
    train: float | str = Field(default=0.6, description="a fraction, or for `files` a text file of subject ids")
    validation: float | str = Field(default=0.2, description="likewise")
    test: float | str | None = Field(
        default=0.2, description="null: the validation subjects; published: a share of them"
    )
    seed: Seed = Field(default=0, description="fractions: of the draw")


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
    """Which scans are registered to which, in training, validation and test.

    Pairs are ordered, moving onto fixed. Those of validation and test are drawn once from a seed and then frozen;
    training draws anew in every epoch. Both scans of a pair are on one side of the split; only an atlas is on all.
    """

    validation: int = Field(default=32, ge=1, description="how many; all, where there are fewer")
    test: int = Field(default=100, ge=1, description="how many; all, where there are fewer")
    seed: Seed = Field(default=0, description="of the draw")
    source: Literal["across", "within", "atlas", "file"] = Field(
        default="across",
        description="any two scans of a side, two of one group, every scan onto one atlas, or the pairs of a file",
    )
    match: tuple[str, ...] = Field(
        default=(), description="across, within: columns of the table in which both scans must agree, e.g. slice"
    )
    moving: Columns = Field(
        default=(), description="not file: only scans with these values in the table move, e.g. {phase: es}"
    )
    fixed: Columns = Field(
        default=(), description="across, within: only scans with these values are fixed, e.g. {phase: ed}"
    )
    atlas: str | None = Field(default=None, description="atlas: the id of the subject that is fixed in every pair")
    file: str | None = Field(
        default=None, description="file: a CSV file or a Learn2Reg JSON of pairs, relative to the data root"
    )

    @property
    def chosen(self) -> bool:
        """Whether not any two scans of a side make a pair."""
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
    """The network, or a method that trains nothing and has none of the other settings here.

    ``integration_steps=0`` is the displacement model, otherwise the diffeomorphic one.
    """

    method: Method = Field(default="voxelmorph", description="voxelmorph trains a network; the others train nothing")
    backbone: Backbone = Field(default="voxelmorph", description="of the network: what gives the field")
    channels: Widths | None = Field(default=None, description="widths of the backbone; null: its own")
    final_channels: Widths | None = Field(default=None, description="voxelmorph: widths after its U-Net; null: its own")
    integration_steps: int = Field(
        default=7, ge=0, le=MOST_SQUARINGS, description="squarings of the velocity; 0: the field is a displacement"
    )
    integration_downsize: Literal[1, 2] = Field(default=2, description="2: integrate at half resolution")
    padding_mode: Literal["zeros", "border"] = Field(default="zeros", description="of warping, beyond the image")

    @property
    def trains(self) -> bool:
        """Whether a network is trained; otherwise the method trains nothing."""
        return METHODS[self.method].trains

    @property
    def options(self) -> dict[str, Any]:
        """What is given of the backbone's own options."""
        return BACKBONES[self.backbone].check_settings({name: getattr(self, name) for name in BACKBONE_OPTIONS})

    @property
    def kind(self) -> str:
        if not self.trains:
            return self.method
        return "diffeomorphic" if self.integration_steps else "displacement"


BACKBONE_OPTIONS = ("channels", "final_channels")
"""Settings of the model that only some backbones have."""


class BaselineSettings(Settings):
    """Of the methods that train nothing; a network has none of it."""

    iterations: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        default=(100, 100, 50), min_length=1, description="syn: at most, on each level, coarse to fine"
    )
    grid_spacing: float = Field(default=6.0, ge=1, description="elastix: voxels between control points, at the end")
    bending_weight: float = Field(default=5.0, ge=0, description="elastix: of the bending energy, beside the metric")


class ObjectiveSettings(Settings):
    """similarity + λ · multiplier · penalty(field)."""

    similarity: Similarity = Field(default="mse", description="of the warped and the fixed image")
    penalty: Penalty = Field(default="l2", description="on the smoothness of the field")
    weight: float = Field(default=0.01, ge=0, alias="lambda", description="λ, weight of the penalty")
    acts_on: Literal["velocity", "displacement"] = Field(default="velocity", description="the field that is penalized")
    multiplier: float = Field(default=1.0, gt=0, description="2.0 is the hidden factor of the published study")


class AugmentSettings(Settings):
    """A random transform of training pairs, by its name, and its arguments: ``{transform: RandFlipd, keys: [moving]}``.

    See :mod:`.augmentation` for those that can be named.
    """

    model_config = ConfigDict(extra="allow")
    transform: str


class TrainingSettings(Settings):
    """The optimization: Adam on random ordered pairs of training subjects."""

    epochs: int = Field(default=100, ge=1, description="after each, the validation pairs are measured")
    steps_per_epoch: int = Field(default=100, ge=1, description="batches of an epoch")
    batch_size: int = Field(default=1, ge=1, description="pairs of a batch")
    learning_rate: float = Field(default=1e-4, gt=0, description="of Adam; with one-cycle its highest")
    schedule: Literal["constant", "one-cycle"] = Field(default="constant", description="of the learning rate")
    penalty_warmup: float = Field(default=0.0, ge=0, le=1, description="share of the steps in which λ grows from 0")
    precision: Literal["float32", "bfloat16"] = Field(default="float32", description="of the convolutions")
    selection: Literal["best", "last"] = Field(
        default="best", description="the epoch kept: least validation loss, or last"
    )
    augment: tuple[AugmentSettings, ...] = Field(default=(), description="random MONAI transforms of the pairs")


class ComputeSettings(Settings):
    """Where to compute. Not part of a trial's identity."""

    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto: a GPU if there is one")
    threads: int | None = Field(default=None, ge=1, description="of a trial; null: workers share the cores")

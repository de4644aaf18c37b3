"""The sections ``cohort``, ``split`` and ``pairs``: each setting with its type, bounds, default and description."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema

from ...transforms.basics.errors import InputError, quoted
from .base import InWords, Seed, Settings
from .intensities import INTENSITIES
from .vocabulary import READERS
from .with_options import WithOptions

Reader = Annotated[str, AfterValidator(READERS.check)]
Intensity = Annotated[str, AfterValidator(INTENSITIES.check)]
Alignment = Annotated[
    Literal["none", "centre", "affine"],
    InWords(
        {
            "none": "",
            "centre": "aligned by the centres of the images",
            "affine": "affinely aligned by intensities",
        }
    ),
]
SplitSource = Annotated[
    Literal["fractions", "files", "declared", "published"],
    InWords(
        {
            "fractions": "drawn at random with a seed",
            "files": "from files of subject ids",
            "declared": "as declared by the data",
            "published": "that of the published study",
        }
    ),
]
PairSource = Annotated[
    Literal["across", "within", "atlas", "file"],
    InWords(
        {
            "across": "any two scans",
            "within": "two scans of one group",
            "atlas": "every scan onto {atlas}",
            "file": "of the file {file}",
        }
    ),
]

SMALLEST = 6
"""Minimum number of voxels per axis: second differences at half resolution need three."""


class CohortSettings(WithOptions):
    """The subjects of the study, and how their images are prepared."""

    section = "cohort"
    registry = READERS

    reader: Reader = Field(default="phantom", description="source of the subjects; phantom is built in, without files")
    spatial_dims: Literal[2, 3] = Field(default=2, description="number of axes of the images")
    subjects: int | None = Field(
        default=None,
        ge=2,
        description="readers of files: use only the first N subjects; others: number of subjects",
    )
    seed: Seed = Field(default=0, description="readers without files: random seed of the anatomies")
    intensity: Intensity = Field(default="none", description="how the intensities of each image are scaled")
    size: tuple[int, ...] | None = Field(
        default=None, description="image size in voxels; images are padded or cropped around their centre"
    )
    align: Alignment = Field(
        default="none", description="resample images onto the reference's grid, by image centres or affine registration"
    )
    reference: str | None = Field(
        default=None, description="align: id of the reference subject; null: the first training subject"
    )
    exclude: tuple[str, ...] = Field(default=(), description="ids of subjects to leave out")


class SplitSettings(Settings):
    """The subjects for training, validation and test. A group (repeat scans of one person) is never split."""

    source: SplitSource = Field(
        default="fractions",
        description="how to split the subjects: at random, by lists of ids, by the table's column, or as published",
    )
    train: float | str = Field(
        default=0.6,
        description="training subjects: a fraction, or for `files` a text file of subject ids; 0 if no trial trains",
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
    source: PairSource = Field(
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

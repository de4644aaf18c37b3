"""The sections of what is minimized, and how: ``objective``, ``refinement``, ``training``, and ``compute``."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from ...networks import PENALTIES, SIMILARITIES
from ...networks.conditional.ranges import MOST_WIDTH, Kind, LambdaRanges, check_range
from ...transforms.basics.errors import InputError
from .base import MOST, MOST_IN_BATCH, Digest, InWords, Settings, matching
from .device import DEVICE, DEVICES

Penalty = Annotated[str, BeforeValidator(PENALTIES.read), AfterValidator(PENALTIES.check)]
Similarity = Annotated[str, BeforeValidator(SIMILARITIES.read), AfterValidator(SIMILARITIES.check)]
Schedule = Annotated[
    Literal["constant", "one-cycle"],
    InWords(
        {
            "constant": "Adam at {learning_rate:g}",
            "one-cycle": "Adam; the learning rate rises to {learning_rate:g} in the first 10 % of the steps, then "
            "falls to 0",
        }
    ),
]
Precision = Annotated[
    Literal["float32", "bfloat16"],
    InWords({"float32": "", "bfloat16": "convolutions in bfloat16; warping and losses in float32"}),
]
Selection = Annotated[
    Literal["best", "last"],
    InWords({"best": "from the epoch with the lowest validation loss", "last": "from the last epoch"}),
]
Device = Annotated[str, matching(DEVICE, DEVICES)]


class WeightMapSettings(Settings):
    """λ as a field: factors of λ inside and outside of chosen structures of the fixed image.

    Without ``labels``, λ is the same everywhere.
    """

    labels: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        default=(), description="label values of the chosen structures in the fixed image; empty: no weight map"
    )
    inside: float = Field(default=1.0, ge=0, description="factor of λ inside the structures")
    outside: float = Field(default=1.0, ge=0, description="factor of λ outside of the structures")

    @model_validator(mode="after")
    def _belongs_to_labels(self) -> "WeightMapSettings":
        if "labels" not in self.model_fields_set and (self.inside, self.outside) != (1, 1):
            raise ValueError("it has factors but no labels; list the labels of the structures")
        return self


Range = tuple[float, float]


def read_ranges(value: Any) -> Any:
    """Check the form of a range of λ, or of one per penalty; ValueError in a sentence if it is another one."""
    for name, bounds in value.items() if isinstance(value, Mapping) else [("every penalty", value)]:
        if value is not None:
            check_range(name, bounds)
    return value


class ConditionSettings(Settings):
    """One network for every λ of several penalties. Without ``penalties``, a network is trained for one of them.

    Each training step draws a penalty and a λ, and the network sees both. Trials that differ in ``objective.penalty``
    and ``objective.lambda`` alone share the training: each of them measures the network at its own penalty and λ.
    """

    penalties: tuple[Annotated[str, AfterValidator(PENALTIES.check)], ...] = Field(
        default=(), description="penalties that the network is trained for; empty: an ordinary network"
    )
    ranges: Annotated[Range | dict[str, Range] | None, BeforeValidator(read_ranges)] = Field(
        default=None,
        alias="lambda",
        description="range of λ, [low, high], or one for each penalty: `{l1: [0.006, 0.07], l2: [0.003, 0.4]}`",
    )
    mixtures: float = Field(
        default=0.0, ge=0, le=1, description="fraction of the steps with a random mixture of the penalties"
    )
    kind: Kind = Field(
        default="modulation",
        description="modulation: λ scales and shifts features; weights: λ moves all weights along learned directions",
    )
    width: int = Field(default=64, ge=1, le=MOST_WIDTH, description="hidden units between λ and the weights")

    @model_validator(mode="after")
    def _belongs_to_penalties(self) -> "ConditionSettings":
        given = "penalties" in self.model_fields_set  # an empty list turns off what the base of a study sets
        if not given and (self.ranges is not None or self.mixtures):
            name = "mixtures" if self.ranges is None else "lambda"
            raise ValueError(f"it has {name} but no penalties; list the penalties that the network is trained for")
        return self

    @property
    def of_each(self) -> LambdaRanges | None:
        """The range of λ of each penalty; None without penalties.

        Raises:
            InputError: a range is missing, bad, or of a penalty that is not listed.
        """
        if not self.penalties:
            return None
        if self.ranges is None:
            raise InputError("objective.condition has penalties but no lambda; give the range of λ, [low, high]")
        given = self.ranges if isinstance(self.ranges, dict) else dict.fromkeys(self.penalties, self.ranges)
        if set(given) != set(self.penalties):
            other = next(iter(set(given) ^ set(self.penalties)))
            where = "penalties" if other in given else "lambda"
            raise InputError(f"objective.condition.{where} lacks {other}, expected the same penalties in both")
        return LambdaRanges({name: given[name] for name in self.penalties})


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
    condition: ConditionSettings = ConditionSettings()

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
        return self.model_dump(exclude={"weight_map", "condition"})

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
    """Refinement of a trained network's field on every test pair. One training gives rows without and with it.

    The objective is that of the training, with what is given here in its place.
    """

    steps: int = Field(default=0, ge=0, le=MOST, description="steps of refinement, at most; 0: no rows of refinement")
    tolerance: float | None = Field(
        default=None,
        ge=0,
        description="ends a pair earlier, when its objective fell by no more than this share over 10 steps; `register "
        "--refine auto` is steps 100 and tolerance 0.005",
    )
    similarity: Similarity | None = Field(default=None, description="similarity; null: as in the training")
    penalty: Penalty | None = Field(default=None, description="penalty; null: as in the training")
    weight: float | None = Field(default=None, ge=0, alias="lambda", description="λ; null: as in the training")


class AugmentSettings(Settings):
    """One random transform of training pairs and its arguments, such as ``{transform: RandFlipd, keys: [moving]}``.

    :mod:`.augmentation_steps` says which transforms can be named: MONAI's, and those of :mod:`.random_transforms`.
    """

    model_config = ConfigDict(extra="allow")
    transform: str


class TrainingSettings(Settings):
    """The training by Adam, on random ordered pairs of training subjects."""

    start: str | None = Field(
        default=None,
        min_length=1,
        description="the trained network whose weights the training starts from: a trial's folder or a .safetensors "
        "file, relative to the current folder, or a shipped model; null: random weights",
    )
    start_digest: Digest | None = Field(
        default=None,
        description="first 12 hexadecimal digits of the sha256 of that file, which must match; null: any file",
    )
    epochs: int = Field(default=100, ge=1, le=MOST, description="number of epochs; each ends with the validation loss")
    steps_per_epoch: int = Field(default=100, ge=1, le=MOST, description="number of batches per epoch")
    batch_size: int = Field(default=1, ge=1, le=MOST_IN_BATCH, description="number of pairs per batch")
    learning_rate: float = Field(default=1e-4, gt=0, description="Adam's learning rate; with one-cycle, its maximum")
    schedule: Schedule = Field(default="constant", description="learning-rate schedule")
    penalty_warmup: float = Field(
        default=0.0, ge=0, le=1, description="fraction of the steps over which λ grows linearly from 0"
    )
    precision: Precision = Field(default="float32", description="floating-point precision of the convolutions")
    selection: Selection = Field(
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

    device: Device = Field(default="auto", description="auto: the first GPU, or the CPU without one")
    threads: int | None = Field(
        default=None,
        ge=1,
        description="CPU threads per trial; null: the workers share the cores (at most OMP_NUM_THREADS each)",
    )

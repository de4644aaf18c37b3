"""One trial as a typed, immutable configuration. It holds everything that decides the result, and the id covers it."""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from ...networks import BACKBONES, PENALTIES, SIMILARITIES
from ...transforms.basics.errors import InputError, quoted
from ...transforms.basics.options import names
from ...transforms.basics.registry import Registry, packages_of
from ..files.strict_yaml import read_yaml, to_yaml
from .base import Seed, Settings
from .data_sections import PAIR_OPTIONS, CohortSettings, PairSettings, SplitSettings
from .intensities import INTENSITIES
from .model_sections import (
    BaselineSettings,
    FieldSettings,
    ModelSettings,
    OptimizationSettings,
    PretrainedSettings,
)
from .parsing import parse
from .random_transforms import RANDOM_TRANSFORMS
from .training_sections import LAMBDA, ComputeSettings, ObjectiveSettings, RefinementSettings, TrainingSettings
from .vocabulary import METHODS, READERS
from .with_options import Offered, WithOptions

ADDED_LATER: dict[str, Any] = {
    **{"cohort.align": "none", "cohort.reference": None},
    **{"model.method": "voxelmorph", "model.backbone": "voxelmorph"},
    **{"training.augment": [], "training.both_directions": False},
    **{"training.gradient_clipping": None, "training.weight_averaging": None, "training.start": None},
    **{"training.start_digest": None},
    "objective.weight_map": {"labels": [], "inside": 1.0, "outside": 1.0},
    "objective.condition": {"penalties": [], "lambda": None, "mixtures": 0.0, "kind": "modulation", "width": 64},
    **{"pairs.source": "across", "pairs.match": [], "pairs.moving": {}, "pairs.fixed": {}},
    **{"pairs.atlas": None, "pairs.file": None},
}
"""Keys (``section.name``) that were added after results were committed, each with the value of the earlier behaviour.

A key with that value is left out of a trial's identity, so that finished trials keep their ids."""

WITH_OPTIONS: tuple[type[WithOptions], ...] = (CohortSettings, ModelSettings, BaselineSettings)
"""Sections to which registries add options."""


def options_of_all() -> tuple[Offered, ...]:
    """The options of all sections; they grow when an entry is added to a registry."""
    return tuple(section.offered() for section in WITH_OPTIONS)


def left_out() -> dict[str, Any]:
    """``ADDED_LATER`` and the options at their defaults, but for the oldest: what a trial's id does not cover."""
    options = {f"{own.section}.{name}": value for own in WITH_OPTIONS for name, value in own.defaults().items()}
    return {**ADDED_LATER, **options}


def of_other_packages() -> dict[str, Any]:
    """The options that only entries of other packages have, with their defaults.

    Files leave them out at their defaults, so that they can be read without these packages.
    """
    return {f"{own.section}.{name}": value for own in WITH_OPTIONS for name, value in own.defaults_of_others().items()}


REFINEMENT, REFINEMENT_STEPS = "refinement", "refinement.steps"
SHARED = "networks"
"""The folder of networks that trials share, beside the folders of the trials."""
_NOT_OF_TRAINING = {"compute", "baseline", "optimization", "fields", "pretrained"}


class TrialSettings(Settings):
    """All settings of one trial."""

    cohort: CohortSettings = Field(default_factory=CohortSettings)
    split: SplitSettings = SplitSettings()
    pairs: PairSettings = PairSettings()
    model: ModelSettings = Field(default_factory=ModelSettings)
    objective: ObjectiveSettings = ObjectiveSettings()
    training: TrainingSettings = TrainingSettings()
    refinement: RefinementSettings = RefinementSettings()
    baseline: BaselineSettings = Field(default_factory=BaselineSettings)
    optimization: OptimizationSettings = OptimizationSettings()
    fields: FieldSettings = FieldSettings()
    pretrained: PretrainedSettings = PretrainedSettings()
    compute: ComputeSettings = ComputeSettings()
    seed: Seed = Field(default=0, description="random seed of the initial weights, training pairs and augmentation")

    @model_validator(mode="after")
    def _size_matches_axes(self) -> "TrialSettings":
        size, axes = self.cohort.size, self.cohort.spatial_dims
        if size is not None and (len(size) != axes or min(size) < 1):
            raise ValueError(f"cohort.size {list(size)} needs {axes} positive numbers for spatial_dims {axes}")
        return self

    @model_validator(mode="after")
    def _backbone_has_its_options(self) -> "TrialSettings":
        if self.model.trains:
            self.model.options  # noqa: B018 (reading the property checks the options)
        return self

    @model_validator(mode="after")
    def _pairs_have_their_options(self) -> "TrialSettings":
        self.pairs.check()
        return self

    @model_validator(mode="after")
    def _training_has_subjects(self) -> "TrialSettings":
        empty = [side for side in ("train", "validation") if getattr(self.split, side) == 0]
        if self.model.trains and empty:
            raise ValueError(f"split.{empty[0]} is 0, but model.method {self.model.method} trains a network")
        return self

    @model_validator(mode="after")
    def _condition_holds_the_objective(self) -> "TrialSettings":
        if (ranges := self.objective.condition.of_each) is None:
            return self
        if not self.model.trains:
            raise ValueError(f"objective.condition needs a network to train, but model.method is {self.model.method}")
        ranges.locate(self.objective.penalty, self.objective.weight)
        return self

    @model_validator(mode="after")
    def _field_files_have_a_folder(self) -> "TrialSettings":
        if METHODS[self.model.method].reads_files and self.fields.folder is None:
            raise ValueError("model.method reads field files: give their folder as fields.folder")
        return self

    @model_validator(mode="after")
    def _augment_can_be_made(self) -> "TrialSettings":
        if self.training.augment:
            from .augmentation import Augmentation  # here, because it loads MONAI

            Augmentation([step.model_dump() for step in self.training.augment], self.seed)
        return self

    def columns(self) -> dict[str, Any]:
        """The settings that every row contains; tables and figures group by them."""
        objective = self.objective
        settings: dict[str, Any] = {
            "penalty": objective.penalty,
            "lambda": objective.weight,
            "model": self.model.kind,
            "method": self.model.method,
            "similarity": objective.similarity,
            "acts_on": objective.acts_on,
            "multiplier": objective.multiplier,
            "seed": self.seed,
        }
        if not self.model.has_objective:  # such a method does not use the objective
            settings |= {"penalty": "none", "lambda": 0.0, "similarity": None, "acts_on": None, "multiplier": math.nan}
            settings |= {"method": None}  # its name is its model
        return settings

    def concerns(self, key: str) -> bool:
        """Whether this trial's method uses the setting with this dotted key, such as ``training.epochs``."""
        section, _, name = key.partition(".")
        if section == "pairs" and name in PAIR_OPTIONS and not getattr(self.pairs, name):
            return False
        if section == REFINEMENT and not self.refinement.steps and key != REFINEMENT_STEPS:
            return False
        if self.model.trains:
            own = names(BACKBONES[self.model.backbone].options)
            foreign = section == "model" and name in ModelSettings.option_names() and name not in own
            return section not in _NOT_OF_TRAINING and not foreign
        if key.startswith("objective.condition."):  # it says what a training draws
            return False
        counts = METHODS[self.model.method].included().get(section, ())
        return counts is True or name in counts

    def identity(self) -> dict[str, Any]:
        """The settings that decide the result, as plain JSON types.

        Keys in :func:`left_out` that have the value given there are left out.
        """
        method = METHODS[self.model.method]
        counts: Any = {"exclude": _NOT_OF_TRAINING} if method.trains else {"include": method.included()}
        identity = self.model_dump(mode="json", by_alias=True, **counts)
        if not self.refinement.steps:
            identity.pop(REFINEMENT, None)
        _leave_out(identity, left_out())
        return {section: own for section, own in identity.items() if own != {}}

    def at(self, penalty: str, weight: float) -> "TrialSettings":
        """The same settings with another penalty and λ."""
        objective = self.objective.model_copy(update={"penalty": penalty, "weight": weight})
        return self.model_copy(update={"objective": objective})

    def is_at(self, penalty: str, weight: float) -> bool:
        """Whether the trial's method has an objective, with this penalty and λ."""
        return self.model.has_objective and (self.objective.penalty, self.objective.weight) == (penalty, weight)

    def training_id(self, fingerprint: str) -> str:
        """The id of a training that trials share, see :meth:`shared_identity`."""
        return f"conditional_{self.model.kind}_s{self.seed}_{_hashed(self.shared_identity(), fingerprint)}"

    def shared_identity(self) -> dict[str, Any]:
        """What trials that share a training have in common: neither the penalty and λ of each, nor refinement."""
        identity = self.identity()
        identity["objective"] = {k: v for k, v in identity["objective"].items() if k not in ("penalty", LAMBDA)}
        identity.pop(REFINEMENT, None)
        return identity

    def training_identity(self) -> dict[str, Any]:
        """The settings that decide the training: of a shared training, those that its trials have in common."""
        return self.identity() if self.objective.condition.of_each is None else self.shared_identity()

    def trial_id(self, fingerprint: str) -> str:
        """The trial's id: a readable name and a hash of the configuration and of the data's fingerprint."""
        return f"{self.readable}_{_hashed(self.identity(), fingerprint)}"

    @property
    def takes_every_weight(self) -> bool:
        """Whether the trial's network may be one for many λ: such a network can be used between two tested λ."""
        return self.objective.condition.of_each is not None or METHODS[self.model.method].reads_network

    @property
    def readable(self) -> str:
        """The readable part of the id."""
        if not self.model.has_objective:
            return self.model.method
        penalty = "+".join(term.name for term in PENALTIES.terms(self.objective.penalty))
        end = f"s{self.seed}" if self.model.trains else self.model.method
        return f"{penalty}_{self.objective.weight:g}_{self.model.kind}_{end}"

    def check_id(self, name: str, where: str) -> str:
        """Return ``name`` if it can be this trial's id on some data. Only such a name may become a folder name.

        Raises:
            InputError: the name is not such an id; it is ``../../elsewhere``, for example, or another trial's id.
        """
        if re.fullmatch(re.escape(self.readable) + "_[0-9a-f]{10}", name):
            return name
        raise InputError(
            f"{where} has the trial id {quoted(name)}, expected {self.readable}_ and ten hexadecimal digits."
        )

    def packages(self) -> list[str]:
        """The packages, besides smoothmorph, that the entries named in this trial need."""
        method = METHODS[self.model.method]
        named: list[tuple[Registry, str]] = [(READERS, self.cohort.reader), (INTENSITIES, self.cohort.intensity)]
        named += [(METHODS, method.name)]
        if method.trains:
            named += [(BACKBONES, self.model.backbone)]
            named += [(RANDOM_TRANSFORMS, step.transform) for step in self.training.augment]
        if method.has_objective:
            named += [(PENALTIES, term.name) for term in PENALTIES.terms(self.objective.penalty)]
            named += [(SIMILARITIES, term.name) for term in SIMILARITIES.terms(self.objective.similarity)]
        return list(dict.fromkeys([*([method.package] if method.package else []), *packages_of(named)]))

    def to_yaml(self) -> str:
        values = self.model_dump(mode="json", by_alias=True)
        _leave_out(values, of_other_packages())
        return to_yaml(values)


def _leave_out(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Remove the keys ``section.name`` of ``defaults`` that have the value given there."""
    for key, before in defaults.items():
        section, _, name = key.partition(".")
        if name in (own := values.get(section, {})) and own[name] == before:
            del own[name]


def _hashed(identity: Mapping[str, Any], fingerprint: str) -> str:
    canonical = json.dumps({"trial": identity, "data": fingerprint}, sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:10]


def from_identity(identity: Mapping[str, Any], where: str) -> TrialSettings:
    """The settings with this :meth:`TrialSettings.identity`; a missing key gets its value in :func:`left_out`.

    Raises:
        InputError: as :func:`parse`.
    """
    values = json.loads(json.dumps(identity))
    for key, before in left_out().items() if isinstance(values, dict) else ():  # `parse` refuses anything else
        section, _, name = key.partition(".")
        if isinstance(own := values.setdefault(section, {}), dict):
            own.setdefault(name, before)
    return parse(TrialSettings, values, where)


def read_trial(path: Path) -> TrialSettings:
    """Read ``trial.yaml``.

    Raises:
        InputError: the file does not exist, is not YAML or is not a trial.
    """
    return parse(TrialSettings, read_yaml(path), str(path))

"""Studies: a YAML file (or a built-in study) becomes typed, immutable trials, the union of grids over dotted keys."""

import difflib
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field

from ...networks import PENALTIES
from ...pipeline.files.strict_yaml import parse_yaml, read_yaml, to_yaml
from ...pipeline.settings.schema import Settings, TrialSettings, of_other_packages, parse
from ...pipeline.settings.vocabulary import without_objective
from ...transforms.basics.bounds import LONGEST_NAME, MOST_SETTINGS, MOST_TRIALS
from ...transforms.basics.errors import InputError, quoted
from .published_numbers import PublishedNumbers, read_numbers
from .setting_keys import check_key, flatten, nest, one_text, unite, varying_keys

BUILT_IN = Path(__file__).parents[1] / "studies"


class GroupFile(Settings):
    """One grid of a study file: fixed settings, and axes with the values that vary."""

    name: str
    set: dict[str, Any] = Field(default_factory=dict)
    axes: dict[str, list[Any]] | None = None


class StudyFile(Settings):
    """The content of a study file. ``axes`` without ``groups`` is short for one group."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=LONGEST_NAME)
    title: str = ""
    question: str = ""
    base: dict[str, Any] = Field(default_factory=dict)
    axes: dict[str, list[Any]] | None = None
    groups: list[GroupFile] | None = None
    trials: list[str] = Field(
        default_factory=list, description="identifiers of the trials; a run writes them, reading a study ignores them"
    )


@dataclass(frozen=True)
class Group:
    """A grid: its trials are the product of ``axes``; all of them have the ``settings`` (dotted keys)."""

    name: str
    settings: Mapping[str, Any]
    axes: Mapping[str, tuple[Any, ...]]


@dataclass(frozen=True)
class Study:
    """A question and the trials that answer it. ``numbers``: published numbers of this study."""

    name: str
    title: str
    question: str
    base: Mapping[str, Any]
    groups: tuple[Group, ...]
    numbers: PublishedNumbers | None = None

    def group_trials(self, name: str) -> tuple[TrialSettings, ...]:
        """The trials of one group, the last axis varying fastest; empty if there is no such group."""
        return tuple(trial for group in self.groups if group.name == name for trial in self._expand(group))

    @cached_property
    def trials(self) -> tuple[TrialSettings, ...]:
        """Every trial once, even if several groups hold it."""
        unique: dict[str, TrialSettings] = {}
        for group in self.groups:
            for trial in self._expand(group):
                unique.setdefault(json.dumps(trial.identity(), sort_keys=True), trial)
        return tuple(unique.values())

    def _expand(self, group: Group) -> list[TrialSettings]:
        where = f"study {self.name}, group {group.name}"
        points = itertools.product(*group.axes.values())
        settings = [{**self.base, **group.settings, **dict(zip(group.axes, point, strict=True))} for point in points]
        return [parse(TrialSettings, nest(leaves), where) for leaves in settings]

    def varying(self) -> list[str]:
        """The dotted keys in which the trials differ, in the order of the settings."""
        return varying_keys(self.trials)

    def override(self, key: str, value: Any) -> "Study":
        """Set ``key`` to ``value`` in every trial; an axis over this key shrinks to this one value."""
        groups = tuple(
            replace(
                group,
                settings={name: held for name, held in group.settings.items() if name != key},
                axes={axis: (value,) if axis == key else values for axis, values in group.axes.items()},
            )
            for group in self.groups
        )
        return replace(self, base={**self.base, key: value}, groups=groups)

    def to_yaml(self, trials: Sequence[str] = ()) -> str:
        """A study file with every setting written out. ``trials``: identifiers to write into it."""
        defaults = default_settings()
        if any(PENALTIES.is_sum(trial.objective.penalty) for trial in self.trials):
            del defaults["objective.lambda"]  # a sum has another default
        groups = [
            {"name": g.name}
            | ({"set": dict(g.settings)} if g.settings else {})
            | ({"axes": {key: list(values) for key, values in g.axes.items()}} if g.axes else {})
            for g in self.groups
        ]
        content = {"name": self.name, "title": self.title, "question": self.question}
        content |= {"base": nest({**defaults, **self.base}), "groups": groups}
        content |= {"trials": [*trials]} if trials else {}
        return to_yaml(content, allow_unicode=True, width=110)


def default_settings() -> dict[str, Any]:
    """The default of every setting, by dotted keys."""
    values = flatten(TrialSettings.model_validate({}).model_dump(mode="json", by_alias=True), "defaults")
    others = of_other_packages()
    return {key: value for key, value in values.items() if key not in others}


def built_in_studies() -> list[str]:
    """The names of the studies in this package."""
    return sorted(path.stem for path in BUILT_IN.glob("*.yaml") if "." not in path.stem)


def load_study(name_or_path: str, overrides: Sequence[str] = ()) -> Study:
    """Read a study and check every trial in it.

    Args:
        name_or_path: a built-in name, or a YAML file.
        overrides: ``"dotted.key=value"`` with values in YAML; they apply to every trial and replace axes.

    Raises:
        InputError: no such study, or a mistake in it: unknown key, wrong type, empty axis, value out of range.
    """
    path, where = _find(name_or_path)
    study = _build(parse(StudyFile, read_yaml(path), where), where)
    # an older run has no such file beside its study.yaml
    study = replace(study, numbers=read_numbers(path) or read_numbers(BUILT_IN / f"{study.name}.yaml"))
    for key, value in parse_overrides(overrides).items():
        study = study.override(key, value)
    len(study.trials)  # expanding them validates them
    return study


def _find(name_or_path: str) -> tuple[Path, str]:
    names = built_in_studies()
    if name_or_path in names:
        return BUILT_IN / f"{name_or_path}.yaml", f"study {name_or_path}"
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        return path, str(path)
    close = difflib.get_close_matches(name_or_path, names, n=1)
    hint = f"did you mean {close[0]}? The" if close else "the"
    raise InputError(
        f"unknown study {quoted(name_or_path)}; {hint} built-in studies are {', '.join(names)}; "
        "or give the path of a .yaml file."
    )


def _build(file: StudyFile, where: str) -> Study:
    if file.axes is not None and file.groups is not None:
        raise InputError(f"{where}: found both axes and groups, expected one of them; move axes into a group.")
    groups = file.groups if file.groups is not None else [GroupFile(name="grid", axes=file.axes)]
    names = [group.name for group in groups]
    if not groups or len(set(names)) < len(names):
        found = quoted(names)
        raise InputError(f"{where}: expected one or more groups with different names, found {found}.")
    study = Study(
        name=file.name,
        title=file.title or file.name,
        question=file.question,
        base=flatten(file.base, where),
        groups=tuple(_group(group, f"{where}, group {group.name}") for group in groups),
    )
    _check_size(study, where)
    return study


def _check_size(study: Study, where: str) -> None:
    """Refuse more trials than anybody runs, before they are created."""
    trials = settings = 0
    for group in study.groups:
        points = math.prod(map(len, group.axes.values()))
        leaves = (*study.base.values(), *group.settings.values(), *(max(v, key=_items) for v in group.axes.values()))
        trials, settings = trials + points, settings + points * sum(map(_items, leaves))
    if trials > MOST_TRIALS:
        raise InputError(
            f"{where}: the axes make {trials:,} trials, expected at most {MOST_TRIALS:,}; shorten an axis."
        )
    if settings > MOST_SETTINGS:
        raise InputError(f"{where}: {trials:,} trials with {settings:,} settings are too many; shorten the lists.")


def _items(value: Any) -> int:
    return sum(map(_items, value)) + 1 if isinstance(value, list) else 1


def _group(group: GroupFile, where: str) -> Group:
    if group.axes is not None and not group.axes:
        raise InputError(f"{where}: axes is empty; name at least one key with a list of values, or leave axes out.")
    axes: dict[str, tuple[Any, ...]] = {}
    for name, values in (group.axes or {}).items():
        key = check_key(name, where)
        if not values:
            raise InputError(f"{where}: axis {key} is empty; give it at least one value.")
        if len(values) > MOST_TRIALS:
            raise InputError(f"{where}: axis {key} has {len(values):,} values, expected at most {MOST_TRIALS:,}.")
        if key.startswith("compute."):
            raise InputError(f"{where}: {key} cannot be an axis, because it does not change the result of a trial.")
        for value in values:
            flatten({key: value}, where)
        axes = unite(axes, {key: tuple(one_text(key, value, where) for value in values)}, where)
    settings = flatten(group.set, where)
    unite(settings, axes, where)  # refuses a key that is both fixed and varied
    return Group(group.name, settings, axes)


def parse_overrides(texts: Sequence[str]) -> dict[str, Any]:
    """Read texts ``"dotted.key=value"``, with values in YAML, into ``{dotted key: value}``. A later text wins.

    Raises:
        InputError: no ``=``, an unknown key, or a value that is not YAML.
    """
    leaves: dict[str, Any] = {}
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not key:
            raise InputError(f"--set {quoted(text)}: expected key=value, for example training.epochs=3.")
        where = f"--set {quoted(text)[1:-1]}"
        leaves |= flatten({key: parse_yaml(value, f"{where}: the value")}, where)
    return leaves


def data_settings(reader: str, overrides: Sequence[str] = ()) -> tuple[TrialSettings, bool]:
    """The settings of data: a reader, and texts ``"key=value"`` with keys of cohort, split and pairs.

    Returns:
        A trial with these settings, and whether one of the texts is about the split or the pairs.

    Raises:
        InputError: unknown reader or key, or a value out of range.
    """
    leaves = {"cohort.reader": reader, **parse_overrides(overrides)}
    untrained = {"model.method": without_objective()[0]}  # the data may have no training side
    strange = [key for key in leaves if key.partition(".")[0] not in ("cohort", "split", "pairs")]
    if strange:
        raise InputError(
            f"--set {strange[0]}: this command only takes keys of cohort, split and pairs, such as cohort.labels."
        )
    return parse(TrialSettings, nest({**leaves, **untrained}), "data"), any(
        not key.startswith("cohort.") for key in leaves
    )

"""Dotted keys of a trial's settings, such as ``objective.lambda``: check, read and assign them."""

import difflib
import json
from collections.abc import Container, Hashable, Iterator, Mapping, Sequence
from functools import cache
from types import NoneType
from typing import Any, get_args

from pydantic.fields import FieldInfo

from ...networks.objective.sums import SumRegistry
from ...pipeline.settings.schema import Settings, TrialSettings, options_of_all
from ...pipeline.settings.training_sections import OTHER_NAMES
from ...pipeline.settings.with_options import WithOptions
from ...transforms.basics.errors import InputError, quoted
from ...transforms.basics.registry import Registry

OTHER_KEYS = {
    "objective.weight": "objective.lambda",
    "refinement.weight": "refinement.lambda",
    **{f"objective.{other}": f"objective.{name}" for other, name in OTHER_NAMES.items()},
}
"""Second names of settings."""


def known_keys() -> tuple[str, ...]:
    """Every dotted key of a trial, in order: ``cohort.reader`` ... ``seed``."""
    return tuple(_fields(options_of_all()))


def truths() -> frozenset[str]:
    """The dotted keys that take true or false."""
    fields = _fields(options_of_all())
    return frozenset(key for key, field in fields.items() if _takes_truth(field.annotation))


def _takes_truth(kind: Any) -> bool:
    return kind is bool or any(map(_takes_truth, get_args(kind)))


@cache
def _fields(options: Hashable) -> Mapping[str, FieldInfo]:
    """The definition of each dotted key; ``options``, which are read again, tell when the vocabulary has grown."""
    return dict(_fields_within(TrialSettings, ""))


def _fields_within(schema: type[Settings], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    for key, field, section in fields_of(schema):
        if section:
            yield from _fields_within(section, f"{prefix}{key}.")
        else:
            yield prefix + key, field


def fields_of(schema: type[Settings]) -> Iterator[tuple[str, FieldInfo, type[Settings] | None]]:
    """Each field: its name in files, its definition, and its class of settings if it is a section (else None)."""
    options = schema.options_model().model_fields if issubclass(schema, WithOptions) else {}
    for name, field in {**schema.model_fields, **options}.items():
        inner = field.annotation
        yield field.alias or name, field, inner if isinstance(inner, type) and issubclass(inner, Settings) else None


def registry_of(field: FieldInfo) -> Registry[Any] | None:
    """The registry whose names a setting takes; None if it takes other values."""
    parts = get_args(field.annotation)
    kinds = [field, *(parts if NoneType in parts else ())]  # `Penalty | None` has its marks inside
    marks = [mark for kind in kinds for mark in getattr(kind, "metadata", getattr(kind, "__metadata__", ()))]
    owners = (getattr(getattr(mark, "func", None), "__self__", None) for mark in marks)
    return next((owner for owner in owners if isinstance(owner, Registry)), None)


def registry_at(key: str) -> Registry[Any] | None:
    """The registry whose names the setting with this dotted key takes; None if it takes other values or is unknown."""
    field = _fields(options_of_all()).get(key)
    return None if field is None else registry_of(field)


def check_key(key: str, where: str) -> str:
    """Return ``key`` in its canonical spelling (``objective.weight`` is ``objective.lambda``, see ``OTHER_KEYS``).

    Raises:
        InputError: unknown key; the sentence names the nearest ones.
    """
    keys = known_keys()
    key = OTHER_KEYS.get(key, key)
    if key in keys:
        return key
    by_leaf = [known for known in keys if known.rsplit(".", 1)[-1] == key.rsplit(".", 1)[-1]]
    close = by_leaf or difflib.get_close_matches(key, keys, n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(close)}?" if close else _beside(key, keys)
    raise InputError(f"{where}: unknown key {quoted(key)}; {hint}")


def _beside(key: str, keys: Sequence[str]) -> str:
    """The keys of the section that ``key`` names, or the sections if it names none of them."""
    section = key.partition(".")[0]
    own = [known.removeprefix(f"{section}.") for known in keys if known.startswith(f"{section}.")]
    if own:
        return f"the section {section} has {', '.join(own)}."
    return f"known are {', '.join(dict.fromkeys(known.partition('.')[0] for known in keys))}."


def flatten(values: Mapping[str, Any], where: str, prefix: str = "") -> dict[str, Any]:
    """Turn nested or dotted settings into ``{dotted key: value}``; every key is checked.

    Raises:
        InputError: an unknown key, one key in two spellings, a value in place of a section (or the reverse), or
            true/false in place of a number.
    """
    leaves: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and key not in known_keys():
            leaves = unite(leaves, flatten(value, where, key + "."), where)
        elif any(known.startswith(key + ".") for known in known_keys()):
            raise InputError(
                f"{where}: {key} is a section of settings, found the value {quoted(value)}; set one of its keys."
            )
        elif _holds_truth(value) and key not in truths():  # pydantic would read true and false as 1 and 0
            raise InputError(f"{where}: {key} is {quoted(value)}; expected a number or a word, not true or false.")
        else:
            key = check_key(key, where)
            leaves = unite(leaves, {key: one_text(key, value, where)}, where)
    return leaves


def one_text(key: str, value: Any, where: str) -> Any:
    """The value of a setting; a sum of penalties or similarities in form of a list becomes a text.

    Raises:
        InputError: the list is not such a sum.
    """
    try:
        registry = registry_at(key)
        return registry.read(value) if isinstance(registry, SumRegistry) else value
    except InputError as fault:
        raise InputError(f"{where}: {key}: {fault}.") from None


def _holds_truth(value: Any) -> bool:
    return any(isinstance(item, bool) for item in (value if isinstance(value, list) else [value]))


def unite(some: Mapping[str, Any], more: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Merge two sets of settings that have no key in common.

    Raises:
        InputError: a key is in both, perhaps in two spellings (objective.weight and objective.lambda).
    """
    for key in more:
        if key in some:
            raise InputError(f"{where}: {key} is given twice; keep one of them.")
    return {**some, **more}


def nest(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `flatten`: ``{"a.b": 1}`` becomes ``{"a": {"b": 1}}``."""
    tree: dict[str, Any] = {}
    for key, value in leaves.items():
        *sections, leaf = key.split(".")
        place = tree
        for section in sections:
            place = place.setdefault(section, {})
        place[leaf] = value
    return tree


def leaves_of(settings: TrialSettings) -> dict[str, Any]:
    """A trial's settings as ``{dotted key: plain value}`` without ``compute``; every trial has the same keys."""
    return dict(_walk(settings.model_dump(mode="json", by_alias=True, exclude={"compute"}), frozenset(known_keys())))


def value_in_words(value: Any) -> Any:
    """A plain value for a column of a table: numbers stay numbers, others become texts. Different values differ."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {own}" for key, own in value.items()) or "any"
    if isinstance(value, list) and all(isinstance(item, Mapping) for item in value):
        return " + ".join(map(_step_in_words, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    return value if isinstance(value, int | float) else str(value)


def _step_in_words(step: Mapping[str, Any]) -> str:
    """What is named first, and its arguments: ``RandFlipd (keys moving, prob 0.5)``."""
    name, *arguments = step.items()
    listed = ((key, " ".join(map(str, own)) if isinstance(own, list) else own) for key, own in arguments)
    return f"{name[1]} ({', '.join(f'{key} {own}' for key, own in listed)})"


def varying_keys(trials: Sequence[TrialSettings]) -> list[str]:
    """The dotted keys in which trials differ, in the order of the configuration."""
    leaves = [leaves_of(trial) for trial in trials]
    return [key for key in leaves[0] if len({json.dumps(trial[key]) for trial in leaves}) > 1]


def _walk(tree: Mapping[str, Any], known: Container[str], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping) and prefix + name not in known:
            yield from _walk(value, known, f"{prefix}{name}.")
        else:
            yield prefix + name, value

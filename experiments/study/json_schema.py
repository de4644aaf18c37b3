"""The JSON schema of study files, generated from the settings. Editors use it to complete and check YAML."""

import re
from collections.abc import Iterator
from types import NoneType
from typing import Any, get_args

from ...networks.objective.sums import SumRegistry
from ...pipeline.settings.schema import Settings, TrialSettings
from ...pipeline.settings.with_options import WithOptions
from ...transforms.basics.registry import Registry
from .setting_keys import OTHER_KEYS, fields_of, registry_of
from .study import StudyFile

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def study_schema() -> dict[str, Any]:
    """The schema. ``base`` and ``set`` take nested settings or dotted keys; ``axes`` takes dotted keys only."""
    given = {"$ref": "#/$defs/settings"}
    axes = {key: {"type": "array", "minItems": 1, "items": leaf} for key, leaf in leaves()}
    schema = StudyFile.model_json_schema()
    group = schema["$defs"]["GroupFile"]
    group["properties"]["set"] = given
    for part in (schema, group):
        part["properties"]["axes"] = {"$ref": "#/$defs/axes"}
    schema["properties"]["base"] = given
    schema["properties"]["groups"] = {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/GroupFile"}}
    schema["$defs"] |= {
        "settings": {**_section(TrialSettings), "properties": _section(TrialSettings)["properties"] | dict(leaves())},
        "axes": {"type": "object", "minProperties": 1, "additionalProperties": False, "properties": axes},
    }
    return {"$schema": DIALECT, **schema, "title": "smoothmorph study"}


def leaves(settings: type[Settings] = TrialSettings, prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every setting of a trial: its dotted key, and its type, bounds, default and meaning as JSON schema."""
    schema = settings.model_json_schema()
    if issubclass(settings, WithOptions):
        schema["properties"] |= settings.options_model().model_json_schema().get("properties", {})
    for key, field, section in fields_of(settings):
        if section:
            yield from leaves(section, f"{prefix}{key}.")
            continue
        leaf = {word: value for word, value in _whole(schema["properties"][key], schema).items() if word != "title"}
        if (registry := registry_of(field)) is not None:
            meanings = "\n".join(f"- `{name}`: {entry.meaning}" for name, entry in registry.items())
            names = _names(registry)
            if NoneType in get_args(field.annotation):
                names = {"anyOf": [*names.get("anyOf", [names]), {"type": "null"}]}
            leaf = {**leaf, **names, "markdownDescription": meanings}
            leaf = {word: value for word, value in leaf.items() if word != "type" or "anyOf" not in leaf}
        yield prefix + key, leaf
        yield from ((other, leaf) for other, name in OTHER_KEYS.items() if name == prefix + key)


def _names(registry: Registry[Any]) -> dict[str, Any]:
    """The schema of a setting that takes a name of this registry, or a sum of penalties or similarities."""
    one: dict[str, Any] = {"enum": list(registry)}
    if not isinstance(registry, SumRegistry):
        return one
    member = f"([0-9.eE+-]+\\*)?({'|'.join(re.escape(name) for name in registry)})"
    term = {"properties": {"name": one, "weight": {"type": "number", "exclusiveMinimum": 0}}, "required": ["name"]}
    text = {"type": "string", "pattern": f"^{member}( *\\+ *{member})*$", "description": "a sum of them"}
    terms = {"type": "array", "minItems": 1, "items": {"type": "object", "additionalProperties": False, **term}}
    return {"anyOf": [one, text, {**terms, "description": "a list of name and weight"}]}


def _section(settings: type[Settings]) -> dict[str, Any]:
    """The schema of one section of settings, with its sections inside."""
    own = {key: _section(section) for key, _, section in fields_of(settings) if section}
    own |= {key: leaf for key, leaf in leaves(settings) if "." not in key}
    return {"type": "object", "description": settings.__doc__, "additionalProperties": False, "properties": own}


def _whole(part: Any, schema: dict[str, Any]) -> Any:
    """A part of a schema in which every reference is replaced by its definition."""
    if isinstance(part, list):
        return [_whole(item, schema) for item in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        return _whole(schema["$defs"][part["$ref"].rpartition("/")[2]], schema)
    return {word: _whole(value, schema) for word, value in part.items()}

"""Settings from plain values, and the faults of these values in a sentence."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic import ValidationError

from ...transforms.basics.errors import InputError, did_you_mean, quoted
from .base import EXPECTED, Settings
from .with_options import WithOptions

MOST_FAULTS = 5
"""An error message lists this many faults and only counts the others."""


def parse(settings: type[Settings], values: Mapping[str, Any], where: str) -> Any:
    """Validate ``values``. One error message names every faulty field.

    Raises:
        InputError: a key is unknown, or a value has the wrong type or is out of range.
    """
    try:
        return settings.model_validate(values)
    except ValidationError as error:
        faults = [_sentence(fault, settings) for fault in error.errors()[:MOST_FAULTS]]
        more = error.error_count() - len(faults)
        raise InputError(f"{where}: {'; '.join(faults)}{f'; and {more} more faults' if more else ''}.") from None


def _sentence(fault: Any, settings: type[Settings]) -> str:
    field = re.sub(r"(?<=augment)\.(\d+)", r"[\1]", ".".join(str(part) for part in fault["loc"]))
    message = fault["msg"].removeprefix("Value error, ").removesuffix(".")  # `parse` ends the sentence
    if fault["type"] == "extra_forbidden":
        *section, name = fault["loc"]
        known = _keys_of(settings, section)
        hint = did_you_mean(name, known).strip() or f"known are {', '.join(known)}"
        return f"unknown key {quoted(field)} ({hint})"
    if fault["type"] == "missing":
        return f"{field} is missing"
    if not field:  # a validator of the whole configuration names the field itself
        return message
    if fault["type"] == "string_pattern_mismatch" and fault["ctx"]["pattern"] in EXPECTED:
        message = f"expected {EXPECTED[fault['ctx']['pattern']]}"
    message = message.replace("valid tuple", "list").replace("valid dictionary", "mapping of keys to values")
    message = re.sub(r" or instance of \w+", "", message)
    return f"{field} = {quoted(fault['input'])}: {message}"


def _keys_of(settings: type[Settings], section: Sequence[str | int]) -> list[str]:
    """The keys that can be given in a section of settings, or in an item of a list of them."""
    for part in section:
        if isinstance(part, str):
            inner = settings.model_fields[part].annotation if part in settings.model_fields else None
            kinds = [inner, *get_args(inner), *(kind for own in get_args(inner) for kind in get_args(own))]
            sections = (kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Settings))
            settings = next(sections, settings)
    options = settings.option_names() if issubclass(settings, WithOptions) else frozenset()
    return [*(field.alias or name for name, field in settings.model_fields.items()), *sorted(options)]

"""YAML in, as strict as the rest: no key twice, no value within itself, one sentence for every fault."""

from pathlib import Path
from typing import Any

import yaml

from ..transforms.errors import InputError, one_line
from .files import read_text


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping with :func:`parse_yaml`.

    Raises:
        InputError: missing or empty file, invalid YAML, or something other than a mapping.
    """
    values = parse_yaml(read_text(path), str(path))
    if not isinstance(values, dict):
        found = "is empty" if values is None else f"holds {type(values).__name__}"
        raise InputError(f"{path} {found}, expected a mapping of keys to values.")
    return values


def parse_yaml(text: str, where: str) -> Any:
    """The value of a YAML text.

    Raises:
        InputError: invalid YAML, a key that stands twice in one mapping, or a value that contains itself.
    """
    try:
        return yaml.load(text, _StrictLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date such as 2026-02-30
        raise InputError(f"{where} is not valid YAML: {one_line(error)}.") from None


class _StrictLoader(yaml.SafeLoader):
    """The safe loader without two liberties of PyYAML: of two equal keys it keeps the last, and values may be loops."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self.deep_construct = True  # finishes each value before it is used, so that a loop is noticed

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            first = lines.get((key.tag, str(key.value)))
            if first is not None:
                raise yaml.YAMLError(f"key {key.value!r} is given twice, in lines {first} and {line}; keep one of them")
            lines[key.tag, str(key.value)] = line
        return node

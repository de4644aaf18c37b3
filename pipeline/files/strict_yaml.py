"""Strict reading and writing of YAML: no key twice, no value that contains itself, a one-sentence error for each fault.

Unquoted words follow the core schema of YAML 1.2, not PyYAML's YAML 1.1: ``1e3`` is a number, ``0x1F`` and ``0o17`` are
31 and 15, and ``yes``, ``190:20:30``, ``1_000`` and ``2026-02-30`` are text. There is one exception: ``0777``, which is
511 in YAML 1.1 and 777 in 1.2, is text, too. So a numeric setting reads it as 777, and a name keeps its zeros.
"""

import re
from pathlib import Path
from typing import Any

import yaml
from yaml.reader import Reader

from ...transforms.basics.bounds import DEEPEST, LONGEST_YAML, MOST_DIGITS, MOST_NODES
from ...transforms.basics.errors import InputError, one_line, quoted
from .text import read_text

_TAG = "tag:yaml.org,2002:"
_PLAIN: dict[str, tuple[str, list[str]]] = {  # tag -> pattern of an unquoted word, and its possible first characters
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?(?:0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    "float": (
        r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    "merge": ("<<", ["<"]),
}
_PATTERNS = {tag: re.compile(rf"(?:{pattern})\Z") for tag, (pattern, _) in _PLAIN.items()}


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping with :func:`parse_yaml`.

    Raises:
        InputError: the file is missing, empty, too long, invalid YAML or not a mapping.
    """
    values = parse_yaml(read_text(path, LONGEST_YAML), str(path))
    if not isinstance(values, dict):
        found = "is empty" if values is None else f"holds {type(values).__name__}"
        raise InputError(f"{path} {found}, expected a mapping of keys to values.")
    return values


def parse_yaml(text: str, where: str) -> Any:
    """Parse a YAML text.

    Raises:
        InputError: the YAML is invalid, a key occurs twice in one mapping, a value contains itself, there is a tag such
            as ``!!set``, or levels, values or digits exceed the limits in `transforms.basics.bounds`.
    """
    try:
        return yaml.load(text, _StrictLoader)
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the last two for "\UFFFFFFFF", not a character
        raise InputError(f"{where} is not valid YAML: {one_line(error)}.") from None


def to_yaml(content: Any, **options: Any) -> str:
    """The YAML of plain values in their order, with the same meaning for `parse_yaml` and for YAML 1.1 readers."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, **options)


class _StrictLoader(yaml.SafeLoader):
    """PyYAML's safe loader for YAML 1.2 with limits, which are checked during parsing, before values are built."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (a name of PyYAML)
    yaml_constructors: dict[Any, Any] = {None: yaml.SafeLoader.construct_undefined}  # noqa: RUF012 (refuses other tags)

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._depth = self._nodes = 0
        self._sizes: dict[yaml.Node, int] = {}  # number of values in each finished node, with aliases expanded

    def compose_node(self, parent: Any, index: Any) -> yaml.Node:
        alias, before = self.check_event(yaml.AliasEvent), self._nodes
        self._depth += 1
        if self._depth > DEEPEST:
            raise yaml.YAMLError(f"more than {DEEPEST} levels of lists and mappings; a study has about 5")
        node: Any = super().compose_node(parent, index)
        self._depth -= 1
        if alias and node not in self._sizes:
            raise yaml.YAMLError(f"a value contains itself by the alias in line {self._line(node)}; write it out")
        self._nodes += self._sizes[node] if alias else 1
        if self._nodes > MOST_NODES:
            raise yaml.YAMLError(f"more than {MOST_NODES:,} values, where every use of an alias counts")
        self._sizes[node] = self._nodes - before
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            line = self._line(key)
            first = lines.get((key.tag, str(key.value)))
            if first is not None:
                twice = f"key {quoted(key.value)} is given twice, in lines {first} and {line}; keep one of them"
                raise yaml.YAMLError(twice)
            lines[key.tag, str(key.value)] = line
        return node

    def number(self, node: Any, kind: str) -> int | float:
        text = str(self.construct_scalar(node))
        if len(text) > MOST_DIGITS:
            raise yaml.YAMLError(f"the number in line {self._line(node)} has {len(text)} digits, at most {MOST_DIGITS}")
        if not _PATTERNS[kind].match(text):
            raise yaml.YAMLError(f"{quoted(text)} in line {self._line(node)} is not a valid {kind} in YAML 1.2")
        return int(text, 0) if kind == "int" else float(re.sub(r"\.(?=[a-z])", "", text.lower()))

    def truth(self, node: Any) -> bool:
        return str(self.construct_scalar(node)).lower() == "true"

    def text(self, node: Any) -> str:
        text = str(self.construct_scalar(node))
        if strange := Reader.NON_PRINTABLE.search(text):  # from an escape in double quotes
            where = f"the text in line {self._line(node)}"
            raise yaml.YAMLError(f"{where} holds {strange[0]!r}, which YAML does not allow in text")
        return text

    @staticmethod
    def _line(node: Any) -> int:
        return node.start_mark.line + 1


class _Dumper(yaml.SafeDumper):
    """Quotes every text that YAML 1.1 or 1.2 would read as something else."""


for _name, (_, _first) in _PLAIN.items():
    _StrictLoader.add_implicit_resolver(_TAG + _name, _PATTERNS[_name], _first)
    _Dumper.add_implicit_resolver(_TAG + _name, _PATTERNS[_name], _first)
for _name, _construct in {
    "null": yaml.SafeLoader.construct_yaml_null,
    "bool": _StrictLoader.truth,
    "int": lambda loader, node: loader.number(node, "int"),
    "float": lambda loader, node: loader.number(node, "float"),
    "str": _StrictLoader.text,
    "seq": yaml.SafeLoader.construct_yaml_seq,
    "map": yaml.SafeLoader.construct_yaml_map,
}.items():
    _StrictLoader.add_constructor(_TAG + _name, _construct)

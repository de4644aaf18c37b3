"""Make the page of all study settings, with type, default and meaning."""

import json
from typing import Any

from smoothmorph.experiments.study.json_schema import leaves
from smoothmorph.experiments.study.setting_keys import OTHER_KEYS
from smoothmorph.pipeline.settings.schema import Settings, TrialSettings

INTRO = """\
# Study settings

A study file has a `name`, a `base` with settings of every trial, and `axes`, whose values are combined to trials.
`groups` are several grids in one study. `title` and `question` appear in the report.

```yaml
name: mine
base:
  cohort: {reader: table, file: subjects.csv, spatial_dims: 3}
axes:
  objective.penalty: [l1, l2]
  objective.lambda: [0.01, 0.1]
```

Each setting below can be given in `base` (nested or with dots), as an axis, or after `--set` on the command line:
`--set training.epochs=3`. `smoothmorph show STUDY --yaml` prints a study with all its settings.

Editors complete and check a study with its JSON schema: `smoothmorph schema --out study.schema.json`, and
`# yaml-language-server: $schema=study.schema.json` as the first line of the study.
"""


def pages() -> dict[str, str]:
    """Make the page, with a table for each section."""
    sections: dict[str, list[str]] = {}
    for key, leaf in leaves():
        if key not in OTHER_KEYS:
            sections.setdefault(key.rpartition(".")[0], []).append(_row(key, leaf))
    lines = [INTRO]
    for section, rows in sections.items():
        about = (_model(section).__doc__ or "") if section else ""
        lines += [f"## {section or 'trial'}", "", about.strip().replace("\n    ", "\n"), ""]
        lines += ["| setting | type | default | meaning |", "|---|---|---|---|", *rows, ""]
    return {"reference/settings.md": "\n".join(lines)}


def _model(section: str) -> type[Settings]:
    """The settings of a section, also of one within another: ``objective.weight_map``."""
    model: Any = TrialSettings
    for name in section.split("."):
        model = model.model_fields[name].annotation
    return model


def _row(key: str, leaf: dict[str, Any]) -> str:
    default = json.dumps(leaf["default"], ensure_ascii=False) if "default" in leaf else "none"
    meaning = leaf.get("description", "")
    return f"| <a id='{key}'></a>`{key}` | {_type(leaf)} | `{default}` | {meaning} |"


def _type(leaf: dict[str, Any]) -> str:
    """A type in words: `an integer ≥ 1`, or the words that can be given."""
    if "enum" in leaf:
        return ", ".join(f"`{json.dumps(value).strip(chr(34))}`" for value in leaf["enum"])
    if "anyOf" in leaf:
        return " or ".join(part.get("description") or _type(part) for part in leaf["anyOf"])
    if "const" in leaf:
        return f"`{leaf['const']}`"
    if leaf.get("type") == "array":
        return f"list of {_type(leaf.get('items', {}))}"
    names = {"integer": "integer", "number": "number", "string": "text", "null": "null", "object": "mapping"}
    names["boolean"] = "true or false"
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {leaf[word]:g}" for word, sign in signs.items() if word in leaf and abs(leaf[word]) < 1e9]
    return " ".join([names.get(leaf.get("type", ""), "any"), *bounds])

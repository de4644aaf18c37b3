"""Make the page of all registry entries, with formula and source."""

from importlib import import_module
from pathlib import Path
from typing import Any

import smoothmorph.experiments
import smoothmorph.networks
import smoothmorph.pipeline
import smoothmorph.transforms
from smoothmorph.transforms.basics.registry import Registry

ROOMS = (smoothmorph.transforms, smoothmorph.networks, smoothmorph.pipeline, smoothmorph.experiments)
INTRO = """\
# Registry entries

This page lists everything that a study file can name. Each entry is defined in one file of the package that computes
it. Settings, tables, figures and reports read it from there. Another package can add entries: see
[Add a part of your own](../howto/extend.md).
"""


def registries() -> list[Registry[Any]]:
    """Find all registries in the modules called ``vocabulary``, which load neither torch nor MONAI."""
    found: dict[int, Registry[Any]] = {}
    for room in ROOMS:
        folder = Path(str(room.__file__)).parent
        for file in sorted(folder.rglob("vocabulary.py")):
            parts = file.relative_to(folder).with_suffix("").parts
            module = import_module(".".join((room.__name__, *parts)))
            found |= {id(value): value for value in vars(module).values() if isinstance(value, Registry)}
    return list(found.values())


def pages() -> dict[str, str]:
    """Make the page, with a section for each registry."""
    lines = [INTRO]
    for registry in registries():
        kind = registry.kind
        plural = f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"
        lines += [f"## {plural.capitalize()}", "", f"Entry points of other packages: `{registry.group}`.", ""]
        lines += ["| name | title | meaning | source |", "|---|---|---|---|"]
        lines += [_row(entry) for entry in registry.values()]
        lines += [""]
    return {"reference/registry.md": "\n".join(lines)}


def _row(entry: Any) -> str:
    unit, better = getattr(entry, "unit", ""), getattr(entry, "better", "")
    notes = [f"unit {unit}" if unit else "", f"{better} is better" if better else ""]
    meaning = "; ".join([entry.meaning, *filter(None, [entry.symbol, *notes])])
    cells = (f"`{entry.name}`", entry.title, meaning, entry.source)
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

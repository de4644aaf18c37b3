"""Copy the packages as in an installation, for the tool that reads docstrings: it cannot follow an editable one."""

import re
import shutil
from pathlib import Path

PACKAGES = ("smoothmorph", "transforms", "networks", "pipeline", "experiments")
ROLE = re.compile(r":(?:func|class|meth|mod|attr):`~?([\w.]+)`")


def write(root: Path, target: Path) -> None:
    """Copy every module to ``target/smoothmorph``, and turn reStructuredText roles into code."""
    shutil.rmtree(target, ignore_errors=True)
    for package in PACKAGES:
        for file in sorted((root / package).rglob("*.py*")):
            if file.suffix in (".py", ".pyi"):
                inside = file.relative_to(root)
                place = target / inside if package == "smoothmorph" else target / "smoothmorph" / inside
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(plain(file.read_text(encoding="utf-8")), encoding="utf-8")


def plain(text: str) -> str:
    """Convert docstrings to Markdown: ``:func:`~a.b.c``` becomes ```c```, and ``::`` at a line's end a colon."""
    text = ROLE.sub(lambda role: f"`{role[1].rpartition('.')[2]}`", text)
    return re.sub(r"(?<=\w)::$", ":", text, flags=re.MULTILINE)

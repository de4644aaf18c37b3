"""Access to the project's own files, for tests of the project as a whole."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("transforms", "networks", "pipeline", "experiments")
_MADE = {"__pycache__", "build", "dist", "runs"}


def project_files() -> list[Path]:
    """All files that are committed or not ignored, relative to the root; in an unpacked sdist, all files."""
    if (ROOT / ".git").exists():
        command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, capture_output=True, text=True)
        if listed.returncode == 0:
            return sorted(Path(name) for name in set(listed.stdout.split("\0")) - {""} if (ROOT / name).is_file())
    found = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if not _is_made(name)]
        found += [Path(folder, name).relative_to(ROOT) for name in files if not _is_made(name)]
    return sorted(found)


def code_blocks(text: str) -> list[tuple[str, str]]:
    """The fenced code blocks of a Markdown text: (language, code)."""
    fences = re.findall(r"^```([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)  # in order, without overlap
    return [(words.partition(" ")[0], code) for words, code in fences]


def copy_project(target: Path) -> Path:
    """Copy the project, so that a build leaves no files in the original."""
    for file in project_files():
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / file, target / file)
    return target


def build(kind: str, source: Path, target: Path) -> Path:
    """Build the ``sdist`` or ``wheel`` of the project in ``source`` into the folder ``target``."""
    call = f"import sys, setuptools.build_meta as backend; print(backend.build_{kind}(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", call, str(target)], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return target / done.stdout.splitlines()[-1]


def copy_as_installed(target: Path) -> Path:
    """Copy the four packages as a regular installation has them, to ``target/smoothmorph/``, and the tests next to it.

    Tools that read source code cannot follow the mapping of an editable installation.
    """
    for file in project_files():
        if file.suffix in {".py", ".pyi", ".typed", ".toml"}:
            place = target / ("smoothmorph" if file.parts[0] in PACKAGES else "") / file
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / file, place)
    return target


def _is_made(name: str) -> bool:
    hidden = name.startswith(".") and name not in {
        ".ci",
        ".gitignore",
        ".github",
        ".dockerignore",
        ".pre-commit-config.yaml",
    }
    return hidden or name in _MADE or name.endswith(".egg-info")

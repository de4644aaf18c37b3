"""Style, types and layers of the whole project, by the tools that pyproject.toml configures."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from checkout import ROOT, copy_as_installed, project_files

_TEXT = {".py", ".toml", ".yaml", ".yml", ".md", ".txt", ".cff", ".in", ".csv", ".ipynb", ".svg", ".j2", ""}


def _run(*command: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    # Without the variable, pyright looks for a newer version of itself on the internet.
    environment = os.environ | {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1", "NO_COLOR": "1"}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment)


def _python(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return _run(sys.executable, *arguments, cwd=cwd)


def _check(done: subprocess.CompletedProcess[str], folder: Path = ROOT) -> None:
    if done.returncode:
        pytest.fail((done.stdout + done.stderr).replace(f"{folder}{os.sep}", ""), pytrace=False)


def _lint_imports(cwd: Path) -> subprocess.CompletedProcess[str]:
    command = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return _python("-c", command, "--no-cache", "--no-logo", cwd=cwd)


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    return copy_as_installed(tmp_path_factory.mktemp("installed"))


def test_ruff_finds_nothing():
    _check(_python("-m", "ruff", "check", "--no-cache", "--output-format=concise", "."))


def test_the_code_is_formatted():
    _check(_python("-m", "ruff", "format", "--no-cache", "--check", "."))


def test_pyright_finds_nothing(installed):
    _check(_python("-m", "pyright", "--pythonpath", sys.executable, cwd=installed), installed)


def test_imports_point_down_the_layers(installed):
    done = _lint_imports(installed)
    _check(done)
    assert "5 kept, 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("transforms/basics/bad.py", "from ...networks import VoxelMorph"),
        ("networks/files/bad.py", "def f():\n    from smoothmorph.pipeline import train\n"),
        ("pipeline/images/bad.py", "import smoothmorph.experiments"),
        ("pipeline/images/bad.py", "from ..cohorts import loading"),
        ("experiments/rows/bad.py", "from ..figures import style"),
        ("pipeline/bad.py", "# no layer is named for it\n"),
    ],
)
def test_an_import_up_the_layers_is_found(tmp_path, module, line):
    copy_as_installed(tmp_path)
    (tmp_path / "smoothmorph" / module).write_text(line)
    done = _lint_imports(tmp_path)
    assert done.returncode == 1
    assert ", 1 broken" in done.stdout or "smoothmorph.pipeline.bad" in done.stdout


def test_nothing_is_left_to_do_and_no_path_of_one_machine_is_named():
    unwanted = re.compile("TO" + "DO|FIX" + r"ME|(?<![\w.}])/(home|root|work|tmp|Users)/\w|\b[A-Z]:\\Users\\")
    found = []
    for file in project_files():
        if file.suffix in _TEXT:
            lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
            found += [f"{file}:{number}: {line}" for number, line in enumerate(lines, 1) if unwanted.search(line)]
    assert not found, "\n".join(found)


def _raised(function: ast.FunctionDef) -> set[str]:
    """The names of the exceptions that a function raises itself: classes, which begin with a capital letter."""
    found, left = set(), list[ast.AST](function.body)
    while left:
        node = left.pop()
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name):
            found.add(node.exc.func.id)
        if not isinstance(node, ast.FunctionDef | ast.ClassDef):
            left += ast.iter_child_nodes(node)
    return {name for name in found if name[0].isupper()}


def _untold(path: Path) -> Iterator[str]:
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef):
            functions = [one for one in node.body if isinstance(one, ast.FunctionDef)]
        else:
            functions = [node] if isinstance(node, ast.FunctionDef) else []
        for function in functions:
            public = not function.name.startswith("_") or function.name in ("__init__", "__post_init__", "__call__")
            told = f"{ast.get_docstring(node)} {ast.get_docstring(function)}"
            if public and not getattr(node, "name", "").startswith("_"):
                yield from (f"{path}: {function.name}: {name}" for name in _raised(function) if name not in told)


def test_docstrings_of_public_functions_name_the_errors_that_these_raise():
    rooms = ("transforms", "networks", "pipeline", "experiments")
    files = [path for room in rooms for path in (ROOT / room).rglob("*.py") if path.parent.name != "commands"]
    assert len(files) > 200
    assert not [line for path in files for line in _untold(path)]  # the docstrings of commands are their help

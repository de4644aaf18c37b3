"""Packaging: the files with dependencies agree, wheel and sdist are complete, and the conda environment resolves."""

import ast
import importlib
import importlib.metadata
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from checkout import PACKAGES, ROOT, build, copy_project, project_files

tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
UNREACHABLE = re.compile(
    r"NewConnectionError|ConnectTimeoutError|ReadTimeoutError|ProxyError|Failed to establish a new connection"
    r"|Temporary failure in name resolution|Network is unreachable"
)


def _requirements(*extras: str) -> list[Requirement]:
    optional = PROJECT["optional-dependencies"]
    lines = PROJECT["dependencies"] + [line for extra in extras or optional for line in optional[extra]]
    return [Requirement(line) for line in lines]


def _names(requirements: list[Requirement]) -> set[str]:
    return {canonicalize_name(requirement.name) for requirement in requirements}


def _constraints() -> list[Requirement]:
    lines = (line.split("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines())
    return [Requirement(line) for line in lines if line]


def _environment() -> tuple[dict[str, str], list[str]]:
    """The conda packages of environment.yml as {name: version}, and the lines of its pip section."""
    dependencies = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    (pip,) = (part["pip"] for part in dependencies if isinstance(part, dict))
    conda = (part.partition("=") for part in dependencies if isinstance(part, str))
    return {name: version for name, _, version in conda}, pip


# The files that list dependencies


def test_every_direct_dependency_has_a_tested_version_and_nothing_else_has():
    assert _names(_constraints()) == _names(_requirements())


@pytest.mark.parametrize("python", PYTHONS)
def test_the_tested_versions_are_single_and_satisfy_what_the_project_asks_for(python):
    versions: dict[str, str] = {}
    for constraint in _constraints():
        if constraint.marker is None or constraint.marker.evaluate({"python_version": python}):
            (pin,) = constraint.specifier
            assert pin.operator == "=="
            assert canonicalize_name(constraint.name) not in versions, f"{constraint.name} is constrained twice"
            versions[canonicalize_name(constraint.name)] = pin.version
    for asked in _requirements():
        version = versions[canonicalize_name(asked.name)]
        assert asked.specifier.contains(version), f"{asked} does not allow the tested {version}"


def test_the_classifiers_name_the_supported_pythons():
    prefix = "Programming Language :: Python :: 3."
    named = [line.removeprefix(prefix) for line in PROJECT["classifiers"] if line.startswith(prefix)]
    assert [f"3.{minor}" for minor in named] == list(PYTHONS)
    assert all(SpecifierSet(PROJECT["requires-python"]).contains(python) for python in PYTHONS)


def test_environment_yml_installs_the_project_with_the_same_constraints():
    conda, pip = _environment()
    assert set(conda) == {"python", "pip"}
    assert SpecifierSet(PROJECT["requires-python"]).contains(conda["python"])
    constraint, project = pip
    assert constraint == "-c constraints.txt"
    assert re.fullmatch(r"-e \.(\[\w+(,\w+)*\])?", project)
    extras = re.findall(r"\w+", project.removeprefix("-e"))
    assert set(extras) <= set(PROJECT["optional-dependencies"])


@pytest.mark.network
def test_the_pip_section_of_environment_yml_resolves(tmp_path):
    """Like conda: write the lines of the section to a requirements file next to environment.yml, and run pip there."""
    _, pip = _environment()
    folder = copy_project(tmp_path)
    (folder / "condaenv.txt").write_text("\n".join(pip) + "\n")
    command = [sys.executable, "-m", "pip", "--retries=1", "--timeout=30", "--disable-pip-version-check"]
    command += ["install", "-U", "-r", "condaenv.txt", "--exists-action=b", "--dry-run"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode and (reason := UNREACHABLE.search(done.stdout + done.stderr)):
        pytest.skip(f"the package index is unreachable ({reason[0]})")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert re.search(rf"Would install .*\bsmoothmorph-{PROJECT['version']}\b", done.stdout), done.stdout[-2000:]


def _imported(file: Path) -> set[str]:
    """The top-level names in a module's absolute imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names


def _provided(name: str) -> set[str]:
    """The import names of a distribution; its own name if it is not installed or is a meta-package (itk)."""
    try:
        files = importlib.metadata.files(name) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    return {name} | {file.parts[0].partition(".")[0] for file in files}


@pytest.mark.parametrize(
    ("folders", "extras"),
    [(PACKAGES, ("distributed", "baselines")), (("tests", "benchmarks"), ("dev",))],
    ids=["packages", "tests"],
)
def test_what_is_imported_is_declared(folders, extras):
    declared = set().union(*(_provided(requirement.name) for requirement in _requirements(*extras)))
    files = [file for file in project_files() if file.parts[0] in folders and file.suffix == ".py"]
    own = [file for file in files if file.parts[0] not in PACKAGES]
    known = sys.stdlib_module_names | {"smoothmorph"} | {name for file in own for name in (file.stem, file.parent.name)}
    for file in files:
        missing = _imported(file) - known - declared
        assert not missing, f"{file} imports {', '.join(missing)}, which pyproject.toml does not ask for"


def test_imports_within_the_packages_are_relative():
    for file in project_files():
        if file.parts[0] in PACKAGES and file.suffix == ".py":
            assert not _imported(file) & {"smoothmorph", *PACKAGES}, f"{file}: import relatively"


# Wheel and sdist


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[Path, Path]:
    """The sdist, and the wheel that is built from the sdist only."""
    folder = tmp_path_factory.mktemp("built")
    sdist = build("sdist", copy_project(folder / "checkout"), folder)
    with tarfile.open(sdist) as archive:
        safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # not before Python 3.11.4
        archive.extractall(folder, **safely)
    return sdist, build("wheel", folder / sdist.name.removesuffix(".tar.gz"), folder)


def test_the_wheel_has_the_four_packages_and_nothing_else(built):
    with zipfile.ZipFile(built[1]) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        (entry_points,) = (wheel.read(name).decode() for name in wheel.namelist() if name.endswith("entry_points.txt"))
        assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel.namelist())
    files = [file for file in project_files() if file.parts[0] in PACKAGES]
    own = {f"smoothmorph/{file.as_posix()}" for file in files if file.parts[1] != "results"}
    assert names == {"smoothmorph/__init__.py", *own}
    assert all(f"smoothmorph/{package}/{name}" in names for package in PACKAGES for name in ("__init__.py", "py.typed"))
    assert "smoothmorph = smoothmorph.experiments.cli:app" in entry_points


def test_the_sdist_has_what_a_checkout_has(built):
    with tarfile.open(built[0]) as sdist:
        names = {PurePosixPath(*PurePosixPath(name).parts[1:]).as_posix() for name in sdist.getnames()}
    files = project_files()
    folders = {*PACKAGES, "tests", "notebooks", "benchmarks"}
    missing = {file.as_posix() for file in files if file.parts[0] in folders} - names
    assert not missing
    assert {"environment.yml", "constraints.txt", "Makefile", "LICENSE", "CITATION.cff", ".ci/run"} <= names
    assert {"mkdocs.yml", "CHANGELOG.md", "docs/generate/hooks.py", ".github/workflows/ci.yml"} <= names
    assert not any("__pycache__" in name for name in names)


def test_the_wheel_is_found_from_any_folder(built, tmp_path):
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    with zipfile.ZipFile(built[1]) as wheel:
        wheel.extractall(site)
    call = (
        "import sys; from importlib.resources import files; from importlib.util import find_spec;"
        "print(*(find_spec('smoothmorph.' + name).origin for name in sys.argv[1:]), sep='\\n');"
        "print(*sorted(file.name for file in files('smoothmorph.experiments').joinpath('studies').iterdir()))"
    )
    command = [sys.executable, "-c", call, *PACKAGES]
    environment = os.environ | {"PYTHONPATH": str(site)}
    done = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    *origins, studies = done.stdout.splitlines()
    assert [Path(origin) for origin in origins] == [site / "smoothmorph" / name / "__init__.py" for name in PACKAGES]
    assert {"demo.yaml", "published.yaml"} <= set(studies.split())


# Citation and licence


def test_the_citation_names_what_the_project_stands_on():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors", "version", "license"} <= set(citation)
    assert citation["title"].startswith("smoothmorph")
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"] == "Apache-2.0"
    assert all({"type", "title", "authors"} <= set(reference) for reference in citation["references"])
    titles = " / ".join(reference["title"] for reference in citation["references"])
    for work in ("VoxelMorph Smoothness Study", "VoxelMorph: A Learning Framework", "MONAI", "OASIS", "HyperMorph"):
        assert work in titles


def test_the_licence_is_the_full_text():
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text

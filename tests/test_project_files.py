"""Project files: version, changelog, workflows, templates, hooks, container image and packages."""

import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import smoothmorph
from checkout import ROOT, build, copy_project
from smoothmorph.experiments.cli import app

tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def parsed(file: str):
    return yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))


def test_the_version_is_told_by_package_command_and_changelog():
    assert smoothmorph.__version__ == PROJECT["version"]
    assert CliRunner().invoke(app, ["--version"]).output == f"smoothmorph {PROJECT['version']}\n"
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## (\S+)", changelog, re.MULTILINE)
    assert versions[0] == "Unreleased" or versions[0] == PROJECT["version"]
    assert PROJECT["version"] in versions
    assert "### Changed in results" in changelog


def test_another_attribute_of_the_package_is_refused():
    with pytest.raises(AttributeError, match="no attribute 'versio'"):
        smoothmorph.versio  # noqa: B018


def test_the_workflow_runs_every_supported_python_on_linux_and_macos():
    matrix = parsed(".github/workflows/ci.yml")["jobs"]["test"]["strategy"]["matrix"]
    prefix = "Programming Language :: Python :: 3."
    supported = [line.replace(prefix, "3.") for line in PROJECT["classifiers"] if line.startswith(prefix)]
    assert matrix["python"] == supported
    assert [name.partition("-")[0] for name in matrix["os"]] == ["ubuntu", "macos"]


def test_the_targets_and_extras_that_workflows_and_hooks_call_exist():
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    files = [
        *(ROOT / ".github" / "workflows").glob("*.yml"),
        ROOT / ".pre-commit-config.yaml",
        ROOT / "CONTRIBUTING.md",
    ]
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    called = set(re.findall(r"^\s*(?:- run: |run: |entry: )?make ([a-z-]+)", text, re.MULTILINE))
    assert {"test", "package", "lint", "install-dev"} <= called <= targets
    assert set(re.findall(r"'\.\[(\w+)\]'", text)) <= set(PROJECT["optional-dependencies"])


def test_the_hooks_run_what_the_tests_of_style_run():
    (repository,) = parsed(".pre-commit-config.yaml")["repos"]
    entries = {hook["id"]: hook["entry"] for hook in repository["hooks"]}
    assert entries["style"] == "make lint"
    for words in (entries["ruff-check"], entries["ruff-format"]):
        done = subprocess.run([sys.executable, *words.split()[1:], "smoothmorph/__init__.py"], cwd=ROOT)
        assert done.returncode == 0


@pytest.mark.parametrize("name", ["bug", "question", "idea"])
def test_an_issue_template_asks(name):
    template = parsed(f".github/ISSUE_TEMPLATE/{name}.yml")
    assert template["name"]
    assert template["description"]
    assert any(part.get("validations", {}).get("required") for part in template["body"])


def test_the_docs_extra_is_part_of_the_dev_extra():
    extras = PROJECT["optional-dependencies"]
    assert set(extras["docs"]) <= set(extras["dev"])


def test_wheel_and_sdist_pass_the_check_of_the_package_index(tmp_path):
    pytest.importorskip("twine", reason="twine is not installed")
    source = copy_project(tmp_path / "source")
    made = [build(kind, source, tmp_path) for kind in ("sdist", "wheel")]
    command = [sys.executable, "-m", "twine", "check", "--strict", *map(str, made)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASSED") == 2


def _docker_works() -> bool:
    if shutil.which("docker") is None:
        return False
    try:
        return subprocess.run(["docker", "info"], capture_output=True, timeout=30).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


@pytest.mark.network
def test_the_container_is_built_and_runs():
    if not _docker_works():
        pytest.skip("there is no docker here")
    built = subprocess.run(["docker", "build", "--quiet", "-t", "smoothmorph-test", "."], cwd=ROOT, capture_output=True)
    assert built.returncode == 0, built.stderr[-2000:]
    done = subprocess.run(["docker", "run", "--rm", "smoothmorph-test", "show", "demo"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "5 trials" in done.stdout


def test_what_the_container_copies_is_what_it_needs():
    """The build in the image reads only files that .dockerignore does not exclude."""
    left_out = (ROOT / ".dockerignore").read_text().split()
    needed = ["pyproject.toml", "constraints.txt", "README.md", "LICENSE", *(f"{name}/" for name in ("smoothmorph",))]
    assert all((ROOT / name).exists() for name in needed)
    assert not set(left_out) & {Path(name).name for name in needed}

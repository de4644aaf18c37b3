"""A name that a study can give stands in the file of its entry, and nowhere else: all others read the registry."""

import ast
from functools import cache
from pathlib import Path

import pytest

from checkout import PACKAGES, ROOT
from smoothmorph.networks import BACKBONES
from smoothmorph.pipeline.settings.vocabulary import METHODS, READERS
from smoothmorph.transforms.basics.registry import Registry

REGISTRIES: tuple[tuple[Registry, str], ...] = (
    (READERS, "pipeline/cohorts/readers"),
    (METHODS, "pipeline/methods"),
    (BACKBONES, "networks/backbones/entries"),
)
EXCEPTIONS = {
    ("pipeline/settings/sections.py", "phantom"): "the default of a study's reader",
    ("pipeline/settings/sections.py", "voxelmorph"): "the default of method and backbone",
    ("pipeline/settings/schema.py", "voxelmorph"): "what older trials were made by",
    ("networks/voxelmorph.py", "voxelmorph"): "the default of the class, and what older files were made by",
    ("pipeline/cohorts/phantom/cohort.py", "phantom"): "the name of the cohort that it makes",
    ("transforms/field_files/__init__.py", "voxelmorph"): "the module of its field files",
    ("pipeline/training/checkpoint.py", "identity"): "the settings that decide a result, in a checkpoint",
    ("experiments/study/published_numbers.py", "table"): "a column",
    ("experiments/report/blocks.py", "table"): "a kind of block",
}


@cache
def quoted_names() -> frozenset[tuple[str, str]]:
    """(file, name) of every string that is the name of an entry."""
    names = {name for registry, _ in REGISTRIES for name in registry}
    return frozenset(
        (path.relative_to(ROOT).as_posix(), node.value)
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in names
    )


@pytest.mark.parametrize(("registry", "folder"), REGISTRIES, ids=lambda value: getattr(value, "kind", ""))
def test_each_entry_has_one_file(registry, folder):
    found = {(file, name) for file, name in quoted_names() if Path(file).parent.as_posix() == folder}
    assert sorted(name for _, name in found) == sorted(registry)
    assert len({file for file, _ in found}) == len(registry)


def test_no_other_file_names_them():
    folders = {folder for _, folder in REGISTRIES}
    found = {(file, name) for file, name in quoted_names() if Path(file).parent.as_posix() not in folders}
    assert found - set(EXCEPTIONS) == set(), "read the registry instead, or say here why not"
    assert set(EXCEPTIONS) - found == set(), "these exceptions are no longer needed"

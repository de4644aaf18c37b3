"""Each name that a study can use occurs only in the file of its registry entry; other code reads the registry."""

import ast
from functools import cache
from pathlib import Path

import pytest

from checkout import PACKAGES, ROOT
from outside import elastic, jaccard
from smoothmorph.networks import BACKBONES, PENALTIES, SIMILARITIES
from smoothmorph.pipeline import INTENSITIES, METHODS, METRICS, READERS
from smoothmorph.transforms.basics.errors import InputError
from smoothmorph.transforms.basics.registry import REGISTRIES, Registry, Vocabulary

KINDS: tuple[Registry, ...] = (PENALTIES, SIMILARITIES, METRICS, READERS, INTENSITIES, METHODS, BACKBONES)
FOLDERS = {
    READERS.kind: "pipeline/cohorts/readers",
    METHODS.kind: "pipeline/methods",
    BACKBONES.kind: "networks/backbones/entries",
}
ORDINARY = {"loss", "seconds", "none"}
"""Names that are also columns of a training history, and ordinary words."""
DEFAULTS = "the defaults of a trial's settings, which are part of its identity"
EXCEPTIONS = {
    "experiments/report/blocks.py": ({"table"}, "a kind of block"),
    "experiments/study/published_numbers.py": (
        {"table", "mse", "dice", "displacement_nonpositive_percent", "displacement_sdlogj"},
        "the rows and columns of one published table",
    ),
    "networks/objective/losses.py": ({"l1", "l2"}, "two classes that are the losses of two entries by name"),
    "networks/objective/objective.py": ({"l2", "mse"}, "the defaults of a trial, for who uses the objective alone"),
    "networks/refine_transform.py": ({"l2", "mse"}, "the same defaults, for who refines without a study"),
    "networks/voxelmorph.py": ({"voxelmorph"}, "the default of the class, and what older files were made by"),
    "pipeline/cohorts/phantom/cohort.py": ({"phantom"}, "the name of the cohort that it makes"),
    "pipeline/evaluation/metrics/regularity.py": ({"folding"}, "the title of a metric, a word"),
    "pipeline/methods/elastix.py": ({"elastix"}, "its title is its name"),
    "pipeline/methods/optimization.py": ({"optimization"}, "its title is its name, and a section of the settings"),
    "pipeline/settings/schema.py": (
        {"fields", "optimization", "pretrained", "voxelmorph"},
        "sections of the settings; what older trials were made by",
    ),
    "pipeline/settings/data_sections.py": ({"phantom"}, DEFAULTS),
    "pipeline/methods/syn.py": ({"mutual-information"}, "what ANTs maximizes, which is no similarity of this package"),
    "pipeline/settings/model_sections.py": ({"voxelmorph"}, DEFAULTS),
    "pipeline/settings/training_sections.py": ({"l2", "mse"}, DEFAULTS),
    "pipeline/training/checkpoint.py": ({"identity"}, "the settings that decide a result, in a checkpoint"),
    "transforms/field_files/__init__.py": ({"voxelmorph"}, "a kind of field file"),
}


def names_in(text: str) -> tuple[set[str], set[str]]:
    """The names of entries in quotes: those of entries defined in ``text``, and all others."""
    tree = ast.parse(text)
    made = [
        word.value
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("Entry")
        for word in call.keywords
        if word.arg == "name" and isinstance(word.value, ast.Constant)
    ]
    words = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and node not in made]
    known = {name for registry in KINDS for name in registry} - ORDINARY
    others = {node.value for node in words if isinstance(node.value, str) and node.value in known}
    return {str(word.value) for word in made}, others


@cache
def of_sources() -> dict[str, tuple[set[str], set[str]]]:
    """The result of `names_in` for each file."""
    files = [path for room in PACKAGES for path in sorted((ROOT / room).rglob("*.py"))]
    return {path.relative_to(ROOT).as_posix(): names_in(path.read_text(encoding="utf-8")) for path in files}


def test_no_name_of_an_entry_is_in_quotes_outside_its_own_file():
    found = {file: others for file, (_, others) in of_sources().items() if others}
    allowed = {file: names for file, (names, _) in EXCEPTIONS.items()}
    assert found == allowed, "read the registry, or import the name from the entry's own file"


def test_the_search_finds_a_name_and_not_that_of_its_entry():
    own, others = names_in('METRICS.add(MetricEntry(name="tre"))\nx = ["dice", "dicey", dict(name="hd95")]')
    assert (own, others) == ({"tre"}, {"dice", "hd95"})
    assert names_in('METRICS.add(MetricEntry(name="dice"))\nx = ["dice"]') == ({"dice"}, {"dice"})


@pytest.mark.parametrize("registry", [READERS, METHODS, BACKBONES], ids=lambda registry: registry.kind)
def test_each_entry_has_one_file(registry):
    files = [own for file, (own, _) in of_sources().items() if Path(file).parent.as_posix() == FOLDERS[registry.kind]]
    assert sorted(name for own in files for name in own) == sorted(registry)
    assert max(map(len, files)) == 1


@pytest.fixture
def without_additions():
    """Restore the registries after the test."""
    before = {group: dict(registry._known()) for group, registry in REGISTRIES.items()}
    yield
    for group, registry in REGISTRIES.items():
        registry._entries = before.get(group, registry._entries)


@pytest.mark.usefixtures("without_additions")
def test_a_penalty_that_is_added_is_measured_of_both_fields():
    assert "displacement_elastic" not in METRICS
    PENALTIES.add(elastic.ENTRY)
    assert METRICS["velocity_elastic"].title == "Linear elastic, velocity"
    assert METRICS.of_column("displacement_elastic").range[0] == 0


@pytest.mark.usefixtures("without_additions")
def test_another_process_learns_what_was_added_here():
    METRICS.add(jaccard.ENTRY)
    told = Vocabulary.here()
    del METRICS._entries["jaccard"]
    told.learn()
    told.learn()  # a second time changes nothing
    assert METRICS["jaccard"] == jaccard.ENTRY
    assert METRICS.of_role("accuracy") == ["dice", "tre", "jaccard"]  # the main metric stays first


def test_a_name_that_no_registry_knows_is_its_own_title():
    assert METRICS.title("assd") == SIMILARITIES.title("assd") == "assd"
    with pytest.raises(InputError, match="there is no metric 'dise'; did you mean dice"):
        METRICS.check("dise")


@pytest.mark.parametrize(
    ("column", "name"),
    [("dice_before/left", "dice"), ("dice/left", "dice"), ("tre_before", "tre"), ("velocity_l2", "velocity_l2")],
)
def test_a_column_of_rows_belongs_to_a_metric(column, name):
    assert METRICS.of_column(column).name == name
    assert METRICS.of_column("moving") is None


def test_a_name_is_taken_once():
    registry = Registry("metric", "smoothmorph.tests", [jaccard.ENTRY])
    registry.add(jaccard.ENTRY)
    with pytest.raises(ValueError, match="there is already a metric 'jaccard'"):
        registry.add(type(jaccard.ENTRY)(name="jaccard", title="J", meaning="another", target="a:b"))
    del REGISTRIES["smoothmorph.tests"]

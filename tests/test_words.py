"""One place for each word: what a study can name is written down in its own file, and read everywhere else."""

import ast

import pytest

from checkout import PACKAGES, ROOT
from outside import elastic, jaccard
from smoothmorph.networks import PENALTIES, SIMILARITIES
from smoothmorph.pipeline.evaluation.vocabulary import METRICS
from smoothmorph.transforms.basics.errors import InputError
from smoothmorph.transforms.basics.registry import REGISTRIES, Registry, Vocabulary

REGISTERED = {name for registry in (PENALTIES, SIMILARITIES, METRICS) for name in registry}
ORDINARY = {"loss", "seconds"}
"""Also columns of a training's history, and words."""
EXCEPTIONS = {
    "published_numbers.py": "the rows and columns of one published table",
    "sections.py": "the defaults of a trial's settings, which are part of its identity",
    "objective.py": "the same defaults, for who uses the objective alone",
    "refine_transform.py": "the same defaults, for who refines without a study",
    "losses.py": "two classes that are the losses of two entries by name",
}


def sources():
    return [path for room in PACKAGES for path in sorted((ROOT / room).rglob("*.py"))]


def quoted_names(text):
    """The registered names in quotes, but for that of the entry itself: (line, name)."""
    tree = ast.parse(text)
    own = {id(word.value) for word in ast.walk(tree) if isinstance(word, ast.keyword) and word.arg == "name"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in REGISTERED - ORDINARY and id(node) not in own:
            yield node.lineno, node.value


def test_no_name_of_an_entry_is_in_quotes_outside_its_own_file():
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name!r}"
        for path in sources()
        if path.name not in EXCEPTIONS
        for line, name in quoted_names(path.read_text(encoding="utf-8"))
    ]
    assert not found, "read the registry, or import the name from the entry's own file:\n" + "\n".join(found)


def test_every_exception_is_needed():
    of_exceptions = [path for path in sources() if path.name in EXCEPTIONS]
    needed = {path.name for path in of_exceptions if list(quoted_names(path.read_text(encoding="utf-8")))}
    assert needed == set(EXCEPTIONS)


def test_the_search_finds_a_name_and_not_that_of_its_entry():
    assert list(quoted_names('METRICS.add(MetricEntry(name="dice"))\nx = ["dice", "dicey"]')) == [(2, "dice")]


@pytest.fixture
def without_additions():
    """The registries as they were, after the test."""
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
    told.learn()  # twice is once
    assert METRICS["jaccard"] == jaccard.ENTRY
    assert METRICS.of_role("accuracy") == ["dice", "tre", "jaccard"]  # the main one stays


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
    with pytest.raises(ValueError, match="there is a metric 'jaccard' already"):
        registry.add(type(jaccard.ENTRY)(name="jaccard", title="J", meaning="another", target="a:b"))
    del REGISTRIES["smoothmorph.tests"]

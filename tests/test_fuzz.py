"""Hostile inputs: every reader accepts or refuses each in one sentence, and any other behaviour is found."""

import sys

import pytest

from fuzz import faulty
from fuzz.readers import FAMILIES, READERS
from fuzz.run import Pool, summary, tasks

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the children's limits are Linux's")
INPUTS = 200
"""Number of inputs for each family of readers."""


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    with Pool(tmp_path_factory.mktemp("kept")) as pool:
        yield pool


@pytest.fixture(scope="module")
def faults(tmp_path_factory):
    """The outcomes of the readers in :mod:`fuzz.faulty`, by name."""
    with Pool(tmp_path_factory.mktemp("kept"), readers="fuzz.faulty", seconds=1) as pool:
        return {ended.reader: ended for ended in pool.read(tasks(len(faulty.READERS), 0, faulty.READERS))}


@pytest.mark.parametrize("family", FAMILIES)
def test_hostile_inputs_are_accepted_or_refused_in_one_sentence(pool, family):
    readers = [name for name, reader in READERS.items() if reader.family == family]
    found = list(pool.read(tasks(INPUTS, 0, readers)))
    kinds = {ended.kind for ended in found}
    assert "fault" not in kinds, summary(found)
    assert kinds == {"accepted", "refused"}  # if all changes were detected, or none, the test would show nothing


@pytest.mark.parametrize("name", faulty.FAULTS)
def test_a_fault_is_found(faults, name):
    begins, _ = faulty.FAULTS[name]
    assert faults[name].kind == "fault"
    assert faults[name].told.startswith(begins)
    assert (faults[name].folder / "0").read_bytes() == b"content"  # so that it can be read again


@pytest.mark.parametrize("name", faulty.GOOD)
def test_what_is_right_is_no_fault(faults, name):
    begins, _ = faulty.GOOD[name]
    assert faults[name].kind == ("refused" if begins else "accepted")
    assert faults[name].told.startswith(begins)


def test_one_seed_makes_the_same_inputs(pool):
    asked = tasks(40, 3, ["study", "field.npz", "archive.tar", "model"])
    first, second = ([(ended.kind, ended.told) for ended in pool.read(asked)] for _ in range(2))
    assert first == second

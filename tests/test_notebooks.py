"""The notebooks run from top to bottom on the built-in cohort, and their outputs are committed."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from checkout import ROOT
from smoothmorph.experiments.run.runner import run_study
from smoothmorph.experiments.study.study import load_study

FOLDER = ROOT / "notebooks"
NAMES = ("01_cohorts_and_transforms", "02_train_and_look", "03_explore_a_study", "04_choose_lambda")
SHORTER = {"02_train_and_look": "EPOCHS = 1", "04_choose_lambda": "WEIGHTS, EPOCHS = [0.02, 0.5], 1"}
LARGEST = 1.5 * 2**20
"""Maximum size of a notebook in bytes."""


def read(name: str):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def execute(name: str, parameters: str = "") -> None:
    """Run a notebook in a kernel of this Python; ``parameters`` override the notebook's parameters."""
    notebook = read(name)
    if parameters:
        (place,) = (k for k, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", []))
        notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(parameters))
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(FOLDER)}}
    ).execute()


@pytest.fixture(scope="session")
def embedded_run(tmp_path_factory) -> Path:
    """The demo study with a very short training."""
    out = tmp_path_factory.mktemp("run")
    words = ["training.epochs=1", "training.steps_per_epoch=3", "pairs.test=6", "cohort.subjects=12"]
    assert run_study(load_study("demo", words), out, workers=1).exit_code == 0
    return out


def test_these_are_all_notebooks():
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == list(NAMES)


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("03")])
def test_it_runs(name):
    execute(name, SHORTER.get(name, ""))


def test_a_finished_study_is_explored(embedded_run):
    execute("03_explore_a_study", f"RUN = {str(embedded_run)!r}")


def test_the_committed_study_is_explored():
    execute("03_explore_a_study")


@pytest.mark.parametrize("name", NAMES)
def test_it_is_committed_as_it_ran(name):
    code = [cell for cell in read(name).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 2
    assert (FOLDER / f"{name}.ipynb").stat().st_size < LARGEST

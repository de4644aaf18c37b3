"""The README is short and correct: its commands run, its numbers are in committed results, its links exist."""

import re
import shlex
import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from checkout import ROOT, code_blocks
from smoothmorph.experiments.cli import app
from smoothmorph.experiments.outputs.tables import collect
from smoothmorph.experiments.store.run_folder import open_run
from smoothmorph.pipeline.cohorts.opening import read_cohort
from smoothmorph.pipeline.settings.schema import CohortSettings

README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = ROOT / "experiments" / "results"
MOST_WORDS = 700


def blocks(language: str) -> list[str]:
    """The code blocks in a language; ``""`` for blocks without a language."""
    return [code for found, code in code_blocks(README) if found == language]


def commands() -> list[str]:
    """Every smoothmorph command, with continued lines joined."""
    lines = "\n".join(blocks("")).replace("\\\n", " ").splitlines()
    return [" ".join(line.split("  #")[0].split()) for line in lines if line.startswith("smoothmorph ")]


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """Ten subjects of the built-in cohort as files; the first two also have the names used in the README."""
    folder = tmp_path_factory.mktemp("images")
    cohort = read_cohort(CohortSettings(reader="phantom", subjects=10))
    for number, subject in enumerate(cohort.subjects):
        sample = cohort.load(subject)
        for kind, dtype, ending in (("image", np.float32, ""), ("label", np.uint8, "_seg")):
            names = [Path(f"{kind}s", f"{subject.id}.nii.gz")]
            names += [Path(f"{('moving', 'fixed')[number]}{ending}.nii.gz")] if number < 2 else []
            for name in names:
                (folder / name).parent.mkdir(exist_ok=True)
                nib.save(nib.Nifti1Image(sample[kind][0].numpy().astype(dtype), np.eye(4)), folder / name)
    return folder


def call(command: str, folder: Path, monkeypatch, *more: str) -> str:
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(app, [*shlex.split(command)[1:], *more])
    assert done.exit_code == 0, done.output
    return done.output


def test_it_is_read_to_its_end():
    assert len(README.split()) <= MOST_WORDS


def test_its_links_lead_to_files_of_the_checkout():
    links = [link for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", README) if "://" not in link]
    assert len(links) > 10
    assert not [link for link in links if not (ROOT / link).exists()]


def test_its_two_commands_are_targets_of_make():
    (block,) = [block for block in blocks("") if block.startswith("make ")]
    targets = [line.split()[1] for line in block.splitlines()]
    assert targets == ["study", "test"]
    for target in targets:
        done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_it_registers_with_the_numbers_that_it_shows(images, monkeypatch):
    (command,) = [command for command in commands() if command.startswith("smoothmorph register")]
    printed = call(command, images, monkeypatch, "--device", "cpu")
    (table,) = [block for block in blocks("") if block.lstrip().startswith("MSE")]
    assert table.splitlines()[0].split() == next(row for row in printed.splitlines() if "Dice" in row).split()
    for line in table.splitlines()[1:]:
        name, *shown = line.split()
        (found,) = [row.split() for row in printed.splitlines() if row.startswith(f"{name} ")]
        digits = [10.0 ** -len(value.partition(".")[2]) for value in shown]
        for ours, theirs, digit in zip(map(float, found[1:]), map(float, shown), digits, strict=True):
            assert ours == pytest.approx(theirs, abs=6 * digit, rel=0.02), line
    assert (images / "warped-labels.nii.gz").stat().st_size
    assert (images / "field.h5").stat().st_size


def test_its_study_goes_the_whole_way(images, monkeypatch):
    """The study runs with one short training instead of nine."""
    study = blocks("yaml")[0]
    assert len(study.splitlines()) <= 10
    (images / "mine.yaml").write_text(study, encoding="utf-8")
    pairs = ["pairs.test=3", "pairs.validation=1", "objective.penalty=l2", "objective.lambda=0.2"]
    short = [f"--set={setting}" for setting in (*pairs, "training.epochs=1", "training.steps_per_epoch=2")]
    own = [command for command in commands() if not command.startswith("smoothmorph register")]
    assert [command.split()[1] for command in own] == ["data", "run", "report", "recommend"]
    for command in own:
        call(command, images, monkeypatch, *(short if " run " in command else ()))
    rows = pd.read_parquet(images / "runs" / "mine" / "tables" / "rows.parquet")
    assert len(rows) == 2  # pairs of two test subjects
    assert (images / "runs" / "mine" / "report.html").stat().st_size > 1e5


def test_its_study_asks_what_it_says():
    axes = yaml.safe_load(blocks("yaml")[0])["axes"]
    assert len(axes["objective.penalty"]) * len(axes["objective.lambda"]) == 9


def test_its_python_runs(capsys):
    (code,) = blocks("python")
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
    assert "tensor([0.])" in capsys.readouterr().out  # the field of an untrained network does not fold


def _means(result, which):
    return collect(open_run(RESULTS / result)).query(which).mean(numeric_only=True)


def test_its_numbers_are_in_the_committed_results():
    matched = pd.read_csv(RESULTS / "optimum-2d" / "tables" / "matched.csv")
    at = matched.query("model == 'diffeomorphic' and matched_in == 'displacement_sdlogj' and metric == 'dice'")
    smooth = at[np.isclose(at["at"], 0.24)].set_index("penalty")["mean"]
    syn = _means("baselines", "model == 'syn'")
    of_hearts = _means("cardiac-baselines", "model == 'syn' and `baseline.total_variance` == 0")
    network, of_heart = (
        _means(
            f"conditional-pyramid-{name}", f"penalty == '{penalty}' and `lambda` == {weight} and refinement_steps == 0"
        )
        for name, penalty, weight in (("2d", "linear-elasticity", 0.0019), ("cardiac", "bending-hessian", 0.02))
    )
    (pairs,) = pd.read_csv(RESULTS / "optimum-2d" / "tables" / "means.csv")["n_pairs"].unique()
    text = " ".join(README.split())
    for sentence in (
        f"linear elasticity is best of twelve regularizers, then L2: 2-D Neurite-OASIS, {pairs} test pairs",
        f"At SDlogJ 0.24 their Dice is {smooth['linear-elasticity']:.3f} and {smooth['l2']:.3f}",
        f"that of L1 {smooth['l1']:.3f} and of bending energy {smooth['bending-hessian']:.3f}",
        f"SyN reaches {syn['dice']:.3f} at SDlogJ {syn['displacement_sdlogj']:.2f}",
        f"reaches {network['dice']:.3f} at SDlogJ {network['displacement_sdlogj']:.2f} in one pass",
        f"`cardiac-2d` reaches {of_heart['dice']:.3f} on the heart, SyN {of_hearts['dice']:.3f}",
    ):
        assert sentence in text
    assert len(smooth) == 12
    better = at.pivot(index="at", columns="penalty", values="mean")
    assert (better.max(axis=1) == better["linear-elasticity"]).all()
    assert (better.drop(columns="linear-elasticity").max(axis=1) - better["l2"] < 1e-3).all()  # folding beside L2


def test_the_kinds_of_figures_are_as_many_as_it_says():
    names = {file.stem for file in RESULTS.glob("*/figures/*.png")}
    kinds = {re.sub(r"_(diffeomorphic|displacement)_model$", "", name) for name in names}
    assert len(kinds) == 18
    assert "eighteen kinds of figures" in " ".join(README.split())

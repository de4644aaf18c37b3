"""The committed results are complete, match the shipped studies, and suffice to make every table and figure."""

import shutil
import time
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from checkout import ROOT
from smoothmorph.experiments.report import write_report
from smoothmorph.experiments.run.runner import identifiers
from smoothmorph.experiments.store.run_folder import open_run, states
from smoothmorph.experiments.study.study import load_study
from smoothmorph.pipeline.cohorts.preparation import find_data
from smoothmorph.pipeline.evaluation import REFINED
from smoothmorph.pipeline.settings.schema import TrialSettings

RESULTS = ROOT / "experiments" / "results"
STUDIES = {
    "ablation": ("neurite-oasis-2d", 125),
    "brain-3d": ("", 24),
    "brain-3d-further": ("", 24),
    "brain-3d-longer": ("", 24),
    "brain-3d-repeats": ("", 24),
    "brain-3d-scans": ("brain-3d-2mm", 24),
    "brain-baselines": ("brain-3d-2mm", 24),
    "baseline-curves": ("neurite-oasis-2d", 125),
    "baselines": ("neurite-oasis-2d", 125),
    "cardiac": ("acdc-2d", 120),
    "cardiac-baselines": ("acdc-2d", 120),
    "conditional-cardiac": ("acdc-2d", 120),
    "conditional-2d": ("neurite-oasis-2d", 125),
    "conditional-regularizers": ("neurite-oasis-2d", 125),
    "conditional-pyramid-2d": ("neurite-oasis-2d", 125),
    "conditional-pyramid-cardiac": ("acdc-2d", 120),
    "conditional-pyramid-hippocampus": ("Task04_Hippocampus", 60),
    "hippocampus": ("Task04_Hippocampus", 60),
    "hippocampus-baselines": ("Task04_Hippocampus", 60),
    "optimum-2d": ("neurite-oasis-2d", 125),
    "optimum-2d-converged": ("neurite-oasis-2d", 125),
    "optimum-cardiac": ("acdc-2d", 120),
    "optimum-hippocampus": ("Task04_Hippocampus", 60),
    "published": ("neurite-oasis-2d", 166),
    "pyramid-brain-2d": ("neurite-oasis-2d", 125),
    "pyramid-brain-3d": ("", 24),
    "pyramid-cardiac": ("acdc-2d", 120),
    "pyramid-hippocampus": ("Task04_Hippocampus", 60),
    "regularizers": ("neurite-oasis-2d", 125),
}
QUIET = Console(quiet=True)


def fingerprint(settings: TrialSettings, root: Path | None, _) -> str:
    """The fingerprint of the data, without loading and aligning every image."""
    return find_data(settings.cohort, settings.split, root, settings.pairs)[0].fingerprint()


def test_these_are_all_results():
    assert sorted(path.name for path in RESULTS.iterdir() if path.is_dir()) == sorted(STUDIES)


@pytest.mark.parametrize("name", STUDIES)
def test_the_shipped_study_is_complete(name):
    run = open_run(RESULTS / name)
    assert [trial.identity() for trial in run.trials.values()] == [t.identity() for t in load_study(name).trials]
    assert {state.state for state in states(run).values()} == {"complete"}


@pytest.mark.parametrize("name", STUDIES)
def test_a_run_on_the_real_data_finds_it_there(name, real_data):
    folder, _ = STUDIES[name]
    root = real_data / folder if folder else None  # synthetic brains need no data
    found = identifiers(load_study(name), root, fingerprint, QUIET)
    assert found == list(open_run(RESULTS / name).trials)


@pytest.mark.parametrize("name", STUDIES)
def test_the_report_is_made_again_from_the_rows(name, tmp_path):
    committed, copy = RESULTS / name, tmp_path / name
    shutil.copytree(committed, copy, ignore=shutil.ignore_patterns("tables", "figures", "report.html"))
    begin = time.monotonic()
    assert write_report(copy).stat().st_size > 3e5
    assert time.monotonic() - begin < 120
    for kind in ("tables", "figures"):
        there = {path.name for path in (committed / kind).iterdir() if path.suffix != ".parquet"}
        assert there == {path.name for path in (copy / kind).iterdir() if path.suffix != ".parquet"}
    for table in (committed / "tables").glob("*.csv"):
        pd.testing.assert_frame_equal(pd.read_csv(copy / "tables" / table.name), pd.read_csv(table), rtol=1e-3)
    rows = pd.read_parquet(copy / "tables" / "rows.parquet")
    keys = ["trial", *({REFINED} & {*rows})]
    assert (rows.groupby(keys).size() == STUDIES[name][1]).all()

"""A study from the command line to its figures, with real training on the tiny cohort."""

import pandas as pd
import yaml
from typer.testing import CliRunner

from smoothmorph.experiments.cli import app

STUDY = {
    "name": "tiny",
    "base": {
        "cohort": {"reader": "table", "file": "subjects.csv"},
        "split": {"train": 0.5, "validation": 0.25, "test": 0.25},
        "pairs": {"validation": 2, "test": 3},
        "training": {"epochs": 2, "steps_per_epoch": 4, "learning_rate": 1e-3},
        "compute": {"device": "cpu", "threads": 1},
    },
    "groups": [
        {"name": "sound", "axes": {"objective.penalty": ["l1", "l2"], "model.integration_steps": [0, 7]}},
        {"name": "diverging", "set": {"training.learning_rate": 1e18}, "axes": {"objective.penalty": ["l2"]}},
    ],
}
FIGURES = {"loss_by_epoch", "similarity_by_epoch", "penalty_by_epoch", "similarity_vs_folding", "pareto_front"}
FIGURES |= {"similarity_vs_lambda", "folding_vs_lambda", "dice_vs_lambda", "sdlogj_by_lambda"}
FIGURES |= {"determinants_by_lambda", "dice_per_structure"}
FIGURES |= {
    f"{kind}_{model}_model" for kind in ("flow_fields", "warped_grids") for model in ("diffeomorphic", "displacement")
}


def test_a_study_with_a_diverging_trial(tiny_cohort, tmp_path):
    study = tmp_path / "tiny.yaml"
    study.write_text(yaml.safe_dump(STUDY))
    out = tmp_path / "run"
    command = ["run", str(study), "--data-root", str(tiny_cohort(2)), "--workers", "1", "--out", str(out)]
    result = CliRunner().invoke(app, command)

    assert result.exit_code == 1  # one trial failed, and the others went on
    assert "4 of 5 trials complete" in result.output
    assert "failed" in result.output
    assert "training diverged" in result.output
    rows = pd.read_parquet(out / "tables" / "rows.parquet")
    assert rows.groupby("trial").size().tolist() == [3] * 4
    assert (out / "tables" / "summary.csv").is_file()
    assert {path.stem for path in (out / "figures").glob("*.png")} == FIGURES
    assert {path.stem for path in (out / "figures").glob("*.svg")} == FIGURES

    before = {path: path.stat().st_mtime_ns for path in out.glob("*_s0_*/pairs.parquet")}
    assert CliRunner().invoke(app, command).exit_code == 1
    assert {path: path.stat().st_mtime_ns for path in out.glob("*_s0_*/pairs.parquet")} == before

    other = CliRunner().invoke(app, [*command, "--set", "training.epochs=3"])
    assert other.exit_code == 2
    assert "training.epochs" in other.output

"""A study with entries of another package, from the first command to the last. `test_drills` runs it as a program.

All commands write to the given folder; ``told.json`` gets the output of each. Entry points add the penalty and the
metric. The public call adds the similarity, which workers must learn about.
"""

import json
import os
import sys
from pathlib import Path

STUDY = """
name: drill
title: A drill
question: Does what another package adds go all the way?
base:
  cohort: {reader: phantom, subjects: 8}
  split: {train: 0.5, validation: 0.25, test: 0.25}
  pairs: {validation: 1, test: 2}
  objective: {similarity: mi}
  training: {epochs: 1, steps_per_epoch: 3, learning_rate: 1.0e-2, selection: last}
  compute: {device: cpu}
groups:
  - name: penalties
    axes: {objective.penalty: [l2, elastic], objective.lambda: [0.01, 100.0]}
"""


def main(folder: Path) -> None:
    import nibabel as nib
    import numpy as np
    from typer.testing import CliRunner

    from outside import mutual_information
    from smoothmorph.experiments import figures
    from smoothmorph.experiments.cli import app
    from smoothmorph.experiments.figures import style
    from smoothmorph.networks import SIMILARITIES

    SIMILARITIES.add(mutual_information.ENTRY)
    style.RC["svg.fonttype"] = "none"  # so that the text of a figure can be read
    (folder / "study.yaml").write_text(STUDY, encoding="utf-8")
    for name, shift in (("moving", 1), ("fixed", 0)):
        distances = np.hypot(*np.meshgrid(np.arange(64) - 31 - shift, np.arange(64) - 31, indexing="ij"))
        image = np.clip(20 - distances, 0, 8).astype(np.float32)
        nib.save(nib.Nifti1Image(image, np.eye(4)), folder / f"{name}.nii.gz")
    told = {}

    def command(name: str, *arguments: object) -> None:
        result = CliRunner().invoke(app, [name, *map(str, arguments)])
        told[name] = result.output
        if result.exit_code:
            raise SystemExit(f"{name}: {result.output}") from result.exception

    run, draw = folder / "run", figures.draw_figures
    figures.draw_figures = lambda *_: []  # `report` draws figures, too
    command("run", folder / "study.yaml", "--out", run, "--workers", 2)
    figures.draw_figures = draw
    trial = next(run.glob("elastic_0.01_*"))
    command("report", run)
    command("recommend", run, "--max-sdlogj", 1e6, "--accuracy", "jaccard")
    images = folder / "moving.nii.gz", folder / "fixed.nii.gz"
    command("register", *images, "--model", trial, "--refine", 2, "--report", folder / "overview.svg")
    command("export", trial, "bundle", folder / "bundle")
    (folder / "told.json").write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    os.environ["COLUMNS"] = "250"
    main(Path(sys.argv[1]))

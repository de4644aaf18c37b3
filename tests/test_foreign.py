"""The wheel together with plain MONAI, in an environment without the checkout."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
import torch

from checkout import build, copy_project
from smoothmorph.networks import VoxelMorph
from smoothmorph.pipeline.exports.bundle import write_bundle
from smoothmorph.pipeline.models.trained_model import Trained
from smoothmorph.pipeline.models.training_images import TrainingImages


@pytest.fixture(scope="module")
def clean(tmp_path_factory) -> Path:
    """The folder of an environment with the wheel. Its other packages come from this environment's site-packages.

    A ``.pth`` file lists them, so that no ``.pth`` file in them, such as that of an editable installation, is used.
    """
    folder = tmp_path_factory.mktemp("clean")
    wheel = build("wheel", copy_project(folder / "checkout"), folder)
    place = folder / "environment"
    venv.create(place, with_pip=False, symlinks=os.name != "nt")
    (site,) = place.glob("Lib/site-packages" if os.name == "nt" else "lib/python*/site-packages")
    others = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (site / "others.pth").write_text("\n".join(others))
    command = [sys.executable, "-m", "pip", "--python", str(python(place)), "--disable-pip-version-check"]
    command += ["install", "--quiet", "--no-deps", "--no-index", "--force-reinstall", str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return place


def python(environment: Path) -> Path:
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def run(environment: Path, *arguments: str, cwd: Path) -> str:
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([python(environment), *arguments], cwd=cwd, env=inherited, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def test_a_foreign_project_uses_two_transforms_and_a_loss(clean, tmp_path):
    script = Path(__file__).with_name("foreign_project.py")
    told = json.loads(run(clean, str(script), str(tmp_path), cwd=tmp_path).splitlines()[-1])
    assert all(Path(file).is_relative_to(clean) for file in told["modules"])
    assert np.isfinite(told["losses"]).all()
    assert np.mean(told["losses"][-2:]) < np.mean(told["losses"][:2])
    assert told["tracked"]
    assert told["determinant"] > 0
    assert told["labels"] == [0, 1]
    assert told["moved"] > 0.1
    assert told["affines"] == [[-2, -2, 3, 1]] * 2  # as in the files: reorientation and deformation are undone
    assert told["left"] == [0, 0]


def test_a_bundle_runs_in_its_folder(clean, tmp_path):
    torch.manual_seed(0)
    network = VoxelMorph(2).eval()
    torch.nn.init.normal_(network.unet.convolutions[-1].weight, std=2.0)
    bundle = tmp_path / "bundle"
    write_bundle(Trained(network, bundle, images=TrainingImages((32, 48))), bundle)
    run(clean, "-m", "monai.bundle", "run", "--config_file", "configs/inference.json", cwd=bundle)
    written = {path.name for path in (bundle / "eval").rglob("*.nii.gz")}
    assert written == {"sample_warped.nii.gz", "sample_displacement.nii.gz"}

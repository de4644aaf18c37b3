"""The λ of a conditional network is chosen for a pair: given, or found for a limit on roughness."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from knob_model import knob_model, write_knob
from smoothmorph.experiments.cli import app
from smoothmorph.networks import ConditionalVoxelMorph, save_model
from smoothmorph.pipeline.images.volumes import read_volume, write_volume
from smoothmorph.pipeline.lambda_search import HALVINGS, lowest_weight
from smoothmorph.pipeline.models.trained_model import about, open_trained
from smoothmorph.pipeline.models.training_images import TrainingImages
from smoothmorph.transforms import Geometry
from world_cases import blobs

SPREAD = 10.0
"""Of the network's last weights: enough for fields of some voxels."""


def test_the_lowest_lambda_within_a_limit_is_found():
    asked: list[float] = []

    def roughness(weight: float) -> float:
        asked.append(weight)
        return 0.1 / weight

    found = lowest_weight(roughness, 0.01, 1.0, limit=0.5)  # 0.2 is the answer
    assert found is not None
    assert 0.2 <= found.weight <= 0.2 * 100 ** (2**-HALVINGS)
    assert found.value == pytest.approx(0.1 / found.weight)
    assert found.monotone
    assert len(asked) == HALVINGS + 2


def test_a_limit_that_every_lambda_keeps_takes_the_lowest_and_one_that_none_keeps_is_told():
    assert lowest_weight(lambda weight: 0.1 / weight, 0.01, 1.0, limit=100) == (0.01, 10, True)
    assert lowest_weight(lambda weight: 0.1 / weight, 0.01, 1.0, limit=0.01) is None


def test_roughness_that_rises_with_lambda_is_noticed():
    found = lowest_weight(lambda weight: 1 + np.sin(20 * weight), 0.01, 1.0, limit=1.95)
    assert found is not None
    assert not found.monotone


@pytest.fixture
def files(tmp_path, monkeypatch) -> ConditionalVoxelMorph:
    """Two images, and the file of a network whose field gets larger, the lower λ is."""
    monkeypatch.chdir(tmp_path)
    geometry = Geometry((40, 36), np.diag([-1.0, -1, 1]))
    for seed, name in enumerate(("moving", "fixed")):
        write_volume(tmp_path / f"{name}.nii.gz", blobs(geometry.shape, seed)[None].astype(np.float32), geometry)
    write_knob(tmp_path / "knob.safetensors", spread=SPREAD)
    return knob_model(spread=SPREAD)


def register(*words: object):
    return CliRunner().invoke(
        app, ["register", "moving.nii.gz", "fixed.nii.gz", "-m", "knob.safetensors", *map(str, words)]
    )


def sdlogj(output: str) -> float:
    """The SDlogJ of the last line of the table."""
    lines = [line.split() for line in output.splitlines() if line and not line.startswith(("notice", "wrote"))]
    heading = re.split(r"\s{2,}", output.splitlines()[0].strip())
    place = next(place for place, name in enumerate(heading) if name.startswith("SDlogJ"))
    return float([line for line in lines if line[0] == "network"][-1][place + 1])


@pytest.mark.usefixtures("files")
def test_a_lower_lambda_gives_a_rougher_field_and_none_the_recommended_one():
    values = [sdlogj(register("--lambda", weight).output) for weight in (0.01, 0.1, 0.9)]
    assert values == sorted(values, reverse=True)
    assert sdlogj(register().output) == sdlogj(register("--lambda", 0.2).output)
    assert sdlogj(register("--penalty", "l1", "--lambda", 0.3).output) == sdlogj(register("--lambda", 0.1).output)


@pytest.mark.usefixtures("files")
def test_a_limit_finds_lambda_for_this_pair_and_tells_it():
    limit = (sdlogj(register("--lambda", 0.01).output) + sdlogj(register("--lambda", 0.9).output)) / 2
    found = register("--max-sdlogj", limit)
    assert found.exit_code == 0, found.output
    told = re.search(
        r"notice: λ is ([\d.]+) \(l2\), the lowest whose SDlogJ is at most [\d.]+ here \(([\d.]+)\)\.", found.output
    )
    assert told is not None
    assert float(told[2]) <= limit
    assert sdlogj(found.output) <= limit + 5e-4
    assert sdlogj(register("--lambda", float(told[1]) * 0.9).output) > limit


@pytest.mark.usefixtures("files")
def test_refinement_takes_the_lambda_that_was_found():
    from smoothmorph.experiments.commands.register import _objective

    model = open_trained(Path("knob.safetensors")).at("l1", 0.4)
    objective = _objective(model, {"similarity": "ncc"})
    assert ([entry.name for entry in objective.entries], objective.weight, objective.minimizes) == (["l1"], 0.4, "ncc")
    refined = register("--max-sdlogj", 0.5, "--refine", 2)
    assert refined.exit_code == 0, refined.output
    assert "refined" in refined.output


@pytest.mark.usefixtures("files")
def test_a_limit_that_refinement_exceeds_is_told():
    limit = (sdlogj(register("--lambda", 0.01).output) + sdlogj(register("--lambda", 0.9).output)) / 2
    refined = register("--max-sdlogj", limit, "--refine", 30, "--similarity", "100*mse")
    expected = r"notice: after refinement, SDlogJ is ([\d.]+), above the limit of [\d.]+; leave out"
    told = re.search(expected, refined.output)
    assert told is not None
    assert float(told[1]) > limit
    assert "after refinement, SDlogJ" not in register("--max-sdlogj", limit).output


@pytest.mark.usefixtures("files")
def test_voxels_outside_the_moving_image_have_the_background():
    given = register("--lambda", 0.01, "--warped", "w.nii.gz", "--background", -1000)
    expected = r"notice: ([\d.]+) % of the voxels map outside of moving.nii.gz; they are set to -1000. Its darkest"
    told = re.search(expected, given.output)
    assert told is not None
    outside = read_volume(Path("w.nii.gz")).values == -1000
    assert 100 * float(outside.double().mean()) == pytest.approx(float(told[1]), rel=1e-2)
    darkest = float(read_volume(Path("moving.nii.gz")).values.min())
    assert "map outside" not in register("--lambda", 0.01, "--warped", "w.nii.gz", "--background", darkest).output
    assert "the background is inf, expected a number" in register("--warped", "w.nii.gz", "--background", "inf").output


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--lambda 0", "λ = 0.0: expected a number above 0; the network takes l2 from 0.01 to 1, l1 from 0.1 to 0.9"),
        ("--refine 1000000", "--refine 1000000: expected a number of steps up to 999999, or auto."),
        ("--lambda 3", "knob.safetensors: λ = 3 of l2 is out of the trained range; the highest is 1"),
        ("--penalty curvature", "knob.safetensors: the network knows the penalties l2, l1, but not curvature"),
        ("--penalty l3", "there is no penalty 'l3'; did you mean l2?"),
    ],
)
def test_what_the_network_was_not_trained_for_is_one_sentence(words, sentence):
    found = register(*words.split())
    assert found.exit_code == 2
    assert found.output.startswith("error: ")
    assert sentence in found.output
    assert len(found.output.strip().splitlines()) == 1


def test_a_limit_that_no_lambda_keeps_is_one_sentence(files):
    with torch.no_grad():
        files.conditioning.head.bias.zero_()
    settings = open_trained(Path("knob.safetensors")).settings
    assert settings is not None
    save_model(Path("knob.safetensors"), files, about("trial", settings, TrainingImages(shape=(40, 36))))
    found = register("--max-sdlogj", 0.001)
    assert found.exit_code == 2
    assert re.fullmatch(
        r"error: no λ of knob.safetensors keeps SDlogJ at most 0.001 for this pair: the highest, 1, gives 0[.]\d+. "
        r"Choose a higher limit.\n",
        found.output,
    )

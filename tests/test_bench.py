"""The benchmark on tiny grids: both implementations run and agree. `make bench` measures the times."""

import json

import pytest
import torch
from typer.testing import CliRunner

import bench
from speed.cases import CASES
from speed.sides import TOLERANCE, Place

HERE = Place(torch.device("cpu"), threads=1, quick=True)


def _bench(*arguments):
    return CliRunner().invoke(bench.app, list(map(str, arguments)))


@pytest.mark.parametrize("name", ["step-2d", "step-2d-fast", "step-3d", "forward-3d", "evaluation-3d", "loading"])
def test_both_sides_compute_the_same(name):
    case = CASES[name]
    differences = case.differences(HERE)
    assert differences is not None
    assert set(differences) == {"float64", case.precision}
    assert all(difference <= TOLERANCE[precision] for precision, difference in differences.items())
    assert (differences[case.precision] > differences["float64"]) == (name != "loading")
    sides = case.sides(HERE)
    for side in (sides.official, sides.ours):
        side()


def test_an_epoch_is_its_steps_and_little_more():
    sides = CASES["epoch"].sides(HERE)
    whole, steps = sides.official(), sides.ours()
    assert 0 < steps < whole


@pytest.mark.parametrize("name", ["step-modulation", "step-weights"])
def test_a_step_of_a_network_for_every_lambda_has_a_penalty_of_its_own(name):
    case = CASES[name]
    assert case.differences(HERE) is None
    sides = case.sides(HERE)
    ordinary, conditional = ([side(), side()] for side in (sides.official, sides.ours))
    assert ordinary[0].loss > ordinary[1].loss  # one objective, on the same two images
    assert conditional[0].penalty != conditional[1].penalty


def test_the_command_writes_a_table_and_a_file(tmp_path):
    out = tmp_path / "bench.json"
    shown = _bench("step-2d", "--quick", "--threads", 1, "--out", out)
    assert shown.exit_code == 0, shown.output
    assert CASES["step-2d"].title in " ".join(shown.output.split())
    results = json.loads(out.read_text())
    assert results["environment"]["threads"] == 1
    assert results["cases"]["step-2d"]["ratio"] > 0


def test_a_quick_look_leaves_the_measured_results_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "RESULTS", tmp_path)
    assert _bench("evaluation-3d", "--quick", "--threads", 1).exit_code == 0
    assert [file.name for file in tmp_path.iterdir()] == ["bench_quick.json"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("step-4d",), ("step-4d", "step-2d")),
        (("step-2d", "--device", "tpu"), ("--device", "tpu", "cuda")),
        (("step-2d", "--out", "notes.json"), ("notes.json", "--out")),
        (("step-2d", "--out", "bench.txt"), ("bench.txt", ".json")),
    ],
)
def test_a_mistake_is_told_in_a_sentence(arguments, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.json").write_text('{"cases": [')
    shown = _bench(*arguments)
    assert shown.exit_code == 2
    assert all(word in shown.output for word in told)
    assert shown.output.count("\n") == 1

"""The benchmark on tiny grids: both sides run and agree. What they take is measured by `make bench`, not here."""

import json

import pytest
from typer.testing import CliRunner

from smoothmorph.experiments.bench_cases import CASES
from smoothmorph.experiments.cli import app


@pytest.mark.parametrize("name", ["step-2d", "step-2d-fast", "step-3d", "forward-3d", "evaluation-3d"])
def test_both_sides_compute_the_same(name):
    case = CASES[name]
    sides = case.prepare(case, "cpu", 1, quick=True)
    assert sides.difference is not None
    assert sides.difference <= case.tolerance
    sides.official(), sides.ours()


def test_an_epoch_is_its_steps_and_little_more():
    case = CASES["epoch"]
    sides = case.prepare(case, "cpu", 1, quick=True)
    whole, steps = sides.official(), sides.ours()
    assert 0 < steps < whole


def test_the_command_writes_a_table_and_a_file(tmp_path):
    out = tmp_path / "bench.json"
    shown = CliRunner().invoke(app, ["bench", "step-2d", "--quick", "--threads", "1", "--out", str(out)])
    assert shown.exit_code == 0, shown.output
    assert CASES["step-2d"].title in " ".join(shown.output.split())
    results = json.loads(out.read_text())
    assert results["environment"]["threads"] == 1
    assert results["cases"]["step-2d"]["ratio"] > 0


def test_an_unknown_case_is_told(tmp_path):
    shown = CliRunner().invoke(app, ["bench", "step-4d", "--out", str(tmp_path / "bench.json")])
    assert shown.exit_code == 2
    assert "step-4d" in shown.output
    assert "step-2d" in shown.output

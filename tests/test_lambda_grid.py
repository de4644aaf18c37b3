"""λ are placed by smoothness: each penalty spans the same range of SDlogJ."""

import pytest
from typer.testing import CliRunner

from smoothmorph.experiments.cli import app
from smoothmorph.pipeline.lambda_grid import NEAR, grid


def test_the_grid_hits_the_wanted_smoothness():
    tried: list[float] = []

    def sdlogj(weight: float) -> float:
        tried.append(weight)
        return 0.03 / weight**0.5

    found = grid(sdlogj, 0.5, [0.06, 0.2, 0.45])
    assert list(found) == pytest.approx([(0.03 / value) ** 2 for value in (0.45, 0.2, 0.06)], rel=0.15)
    assert list(found.values()) == pytest.approx([0.45, 0.2, 0.06], rel=NEAR)
    assert len(tried) == len(set(tried)) < 16


def test_a_range_that_no_lambda_reaches_ends_where_the_search_ends():
    found = grid(lambda weight: min(0.2, 0.03 / weight**0.5), 0.5, [0.06, 0.45])
    assert max(found.values()) == 0.2
    assert min(found.values()) == pytest.approx(0.06, rel=NEAR)


STUDY = """
name: placed
base:
  cohort: {reader: phantom, spatial_dims: 2, subjects: 8}
  split: {train: 0.5, validation: 0.25, test: 0.25}
  pairs: {validation: 4, test: 2}
  model: {padding_mode: border}
  optimization: {levels: 1, steps: 30}
  compute: {device: cpu}
axes: {objective.penalty: [l2, l1], objective.lambda: [0.01, 0.1]}
"""


@pytest.fixture
def command(tmp_path):
    (tmp_path / "placed.yaml").write_text(STUDY)
    words = ["lambda-grid", str(tmp_path / "placed.yaml")]
    return lambda *more: CliRunner().invoke(app, [*words, *more])


def test_the_command_prints_a_line_for_each_penalty(command):
    found = command("--count", "2", "--pairs", "1", "--low", "0.1", "--high", "0.2")
    assert found.exit_code == 0, found.output
    lines = [line for line in found.output.splitlines() if "#" in line]
    assert [line.partition(":")[0] for line in lines] == ["l2, diffeomorphic", "l1, diffeomorphic"]
    for line in lines:
        weights, reached = (part.strip() for part in line.partition(":")[2].split("#"))
        low, high = map(float, weights.strip("[]").split(","))
        assert low < high
        values = list(map(float, reached.removeprefix("SDlogJ").split(",")))
        assert values == pytest.approx([0.2, 0.1], rel=0.15)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--penalty", "curvature"], "study placed has no trial with the penalty curvature; it has l2, l1."),
        (["--penalty", "l3"], "there is no penalty 'l3'"),
        (["--low", "0.5", "--high", "0.2"], "--low 0.5 must be below --high 0.2."),
        (["--device", "gpu"], "the device is 'gpu'; expected auto"),
        (["--set", "model.method=identity"], "study placed has no trial with a penalty."),
    ],
)
def test_a_mistake_is_one_sentence(command, words, sentence):
    found = command(*words)
    assert found.exit_code == 2
    assert found.output.startswith(f"error: {sentence}")

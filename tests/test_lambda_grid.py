"""λ are placed by smoothness: each penalty spans the same range of SDlogJ."""

import pytest
from typer.testing import CliRunner

from smoothmorph.experiments.cli import app
from smoothmorph.experiments.run.placement import with_lambda
from smoothmorph.experiments.study.study import load_study
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


KNOB = """
name: placed
base:
  objective: {condition: {penalties: [l2, l1], lambda: {l2: [0.1, 1.0], l1: [0.2, 0.9]}}}
groups:
  - name: l2
    set: {objective.penalty: l2, model.integration_steps: 7}
    axes: {objective.lambda: [0.1, 1.0], seed: [0, 1]}
  - {name: both, axes: {model.integration_steps: [0, 7], objective.penalty: [l2, l1], objective.lambda: [0.3]}}
  - {name: syn, set: {model.method: syn, objective.condition.penalties: []}}
"""


def test_a_study_with_these_lambda_has_them_in_every_curve_and_range(tmp_path):
    (tmp_path / "knob.yaml").write_text(KNOB)
    found = {("l2", "diffeomorphic"): [0.02, 0.5], ("l1", "displacement"): [0.3, 2.0, 4.0]}
    (tmp_path / "again.yaml").write_text(with_lambda(load_study(str(tmp_path / "knob.yaml")), found).to_yaml())
    study = load_study(str(tmp_path / "again.yaml"))
    points = [
        (group.name, trial.objective.penalty, trial.model.kind, trial.objective.weight, trial.seed)
        for group in study.groups
        for trial in study.group_trials(group.name)
    ]
    assert points == [
        *[("l2", "l2", "diffeomorphic", weight, seed) for seed in (0, 1) for weight in (0.02, 0.5)],
        ("both, l2, displacement", "l2", "displacement", 0.3, 0),
        *[("both, l1, displacement", "l1", "displacement", weight, 0) for weight in (0.3, 2.0, 4.0)],
        *[("both, l2, diffeomorphic", "l2", "diffeomorphic", weight, 0) for weight in (0.02, 0.5)],
        ("both, l1, diffeomorphic", "l1", "diffeomorphic", 0.3, 0),
        ("syn", "l2", "syn", 0.01, 0),
    ]
    ranges = {trial.model.kind: trial.objective.condition.ranges for trial in study.trials}
    assert ranges["diffeomorphic"] == {"l2": (0.02, 0.5), "l1": (0.2, 0.9)}
    assert ranges["displacement"] == {"l2": (0.1, 1.0), "l1": (0.3, 4.0)}


@pytest.fixture
def command(tmp_path):
    (tmp_path / "placed.yaml").write_text(STUDY)
    words = ["lambda-grid", str(tmp_path / "placed.yaml")]
    return lambda *more: CliRunner().invoke(app, [*words, *more])


def test_the_command_prints_a_line_for_each_penalty_and_writes_the_study(command, tmp_path):
    out = tmp_path / "new.yaml"
    found = command("--count", "2", "--pairs", "1", "--low", "0.1", "--high", "0.2", "--out", str(out))
    assert found.exit_code == 0, found.output
    lines = [line for line in found.output.splitlines() if "#" in line]
    assert [line.partition(":")[0] for line in lines] == ["l2, diffeomorphic", "l1, diffeomorphic"]
    for line in lines:
        weights, reached = (part.strip() for part in line.partition(":")[2].split("#"))
        low, high = map(float, weights.strip("[]").split(","))
        assert low < high
        values = list(map(float, reached.removeprefix("SDlogJ").split(",")))
        assert values == pytest.approx([0.2, 0.1], rel=0.15)
        penalty = line.partition(",")[0]
        trials = [trial for trial in load_study(str(out)).trials if trial.objective.penalty == penalty]
        assert [trial.objective.weight for trial in trials] == [low, high]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--penalty", "curvature"], "study placed has no trial with the penalty curvature; it has l2, l1."),
        (["--penalty", "l3"], "there is no penalty 'l3'"),
        (["--low", "0.5", "--high", "0.2"], "--low 0.5 must be below --high 0.2."),
        (["--out", "new.txt"], "new.txt has none of the endings"),
        (["--device", "gpu"], "the device is 'gpu'; expected auto"),
        (["--set", "model.method=identity"], "study placed has no trial with a penalty."),
    ],
)
def test_a_mistake_is_one_sentence(command, words, sentence):
    found = command(*words)
    assert found.exit_code == 2
    assert found.output.startswith(f"error: {sentence}")

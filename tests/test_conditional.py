"""A conditional network is one network per penalty and λ, and trials share its training."""

import math
from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st
from typer.testing import CliRunner

from smoothmorph.experiments.cli import app
from smoothmorph.experiments.report.protocol import protocol
from smoothmorph.experiments.run.runner import run_study
from smoothmorph.experiments.store.run_folder import Run
from smoothmorph.experiments.study.study import load_study
from smoothmorph.networks import ConditionalVoxelMorph, LambdaRanges, VoxelMorph, load_model, read_model, save_model
from smoothmorph.networks.conditional.ranges import KINDS
from smoothmorph.networks.files.weights import check_weights
from smoothmorph.pipeline.models.trained_model import open_trained
from smoothmorph.pipeline.settings.schema import SHARED, TrialSettings, parse
from smoothmorph.pipeline.training.conditions import Conditions, impose
from smoothmorph.pipeline.training.parts import build_objective, build_training_objective
from smoothmorph.pipeline.trial import run_trial
from smoothmorph.transforms import InputError

RANGES = {"l2": (0.01, 1.0), "l1": (0.1, 0.9)}
SMALL = {"channels": (4, 4, 4, 4), "final_channels": (4,)}


@pytest.fixture(params=[(2, "voxelmorph"), (3, "voxelmorph"), (2, "pyramid"), (3, "pyramid")], ids=str)
def network(request) -> VoxelMorph:
    dims, backbone = request.param
    torch.manual_seed(0)
    options = SMALL if backbone == "voxelmorph" else {"channels": (4, 4, 4)}
    return VoxelMorph(dims, backbone=backbone, padding_mode="border", **options)


def trained(network: VoxelMorph, kind="modulation") -> ConditionalVoxelMorph:
    """A conditional network whose weights depend on the condition, as after training."""
    model = ConditionalVoxelMorph(network, RANGES, kind, width=8)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


def pair(dims: int) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.rand(2, 1, 1, *[16] * dims, generator=torch.Generator().manual_seed(1))
    return images[0], images[1]


def test_a_level_is_halfway_in_log_lambda():
    condition = LambdaRanges(RANGES).locate("l2", 0.1)
    assert condition.mixture == (1, 0)
    assert condition.level == pytest.approx(0.5)
    assert LambdaRanges(RANGES).weight_at("l1", 0.5) == pytest.approx(0.3)


@given(st.floats(0.001, 0.999), st.floats(0.05, 0.95))
@profile(max_examples=50, deadline=None)
def test_every_condition_is_found_again_from_its_factors(level, share):
    ranges = LambdaRanges(RANGES)
    condition = ranges.locate("l2", 0.1)._replace(mixture=(share, 1 - share), level=level)
    first, second = ranges.coefficients(condition)
    found = ranges.locate(f"{first!r}*l2+{second!r}*l1", 1.0)
    assert found.level == pytest.approx(level, abs=1e-9)
    assert found.mixture == pytest.approx(condition.mixture)


@pytest.mark.parametrize("penalty", ["l2", "l1", "0.5*l2+2*l1"])
def test_the_bounds_are_the_ends_of_the_levels(penalty):
    ranges = LambdaRanges(RANGES)
    low, high = ranges.bounds(penalty)
    assert ranges.locate(penalty, low).level == pytest.approx(0, abs=1e-6)
    assert ranges.locate(penalty, high).level == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("penalty", "weight", "sentence"),
    [
        ("l2", 2.0, "λ = 2 of l2 is out of the trained range; the highest is 1"),
        ("l1", 0.01, "λ = 0.01 of l1 is out of the trained range; the lowest is 0.1"),
        ("0.5*l2+2*l1", 9.0, "λ = 9 of 0.5*l2+2*l1 is out of the trained range; the highest is 0.3673"),
        ("curvature", 0.1, "the network knows the penalties l2, l1, but not curvature"),
        ("l3", 0.1, "there is no penalty 'l3'; did you mean l2?"),
        ("l2", math.nan, "λ = nan: expected a number above 0"),
        ("l2", 0.0, "λ = 0.0: expected a number above 0"),
    ],
)
def test_what_it_was_not_trained_for_is_one_sentence(penalty, weight, sentence):
    with pytest.raises(InputError) as error:
        LambdaRanges(RANGES).locate(penalty, weight)
    assert str(error.value).startswith(sentence)


@pytest.mark.parametrize("kind", KINDS)
def test_the_plain_network_is_the_conditional_one_at_its_condition(network, kind):
    model, images = trained(network, kind).double(), [image.double() for image in pair(network.spatial_dims)]
    for penalty, weight in (("l2", 0.02), ("l1", 0.8), ("l2+0.1*l1", 0.3)):
        plain = model.at(penalty, weight)
        assert type(plain) is VoxelMorph
        code = model.code(model.ranges.locate(penalty, weight))
        for ours, theirs in zip(plain(*images)[:3], model(*images, code)[:3], strict=True):
            torch.testing.assert_close(ours, theirs)
    assert not torch.equal(model.at("l2", 0.02)(*images).displacement, model.at("l2", 0.9)(*images).displacement)


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_network_is_the_same_at_every_condition_and_learns_to_differ(network, kind):
    model, images = ConditionalVoxelMorph(network, RANGES, kind, width=8), pair(network.spatial_dims)
    check_weights(model.at("l2", 0.02).state_dict(), network.state_dict())
    for name, weight in model.at("l1", 0.5).state_dict().items():
        assert torch.equal(weight, network.state_dict()[name])
    model.register_both(*images, model.code()).warped.square().mean().backward()
    own = model.conditioning.head.weight if kind == "modulation" else model.conditioning.directions
    assert own.grad is not None
    assert own.grad.abs().max() > 0


def test_swapping_the_images_of_a_symmetric_pyramid_still_negates_the_field():
    model = trained(VoxelMorph(2, backbone="pyramid", channels=(4, 4, 4), padding_mode="border"))
    moving, fixed = pair(2)
    torch.testing.assert_close(model(moving, fixed).velocity, -model(fixed, moving).velocity)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_keeps_the_network_for_every_condition(network, kind, tmp_path):
    model = trained(network, kind)
    save_model(tmp_path / "model.safetensors", model, {"trial": "x"})
    read, about = read_model(tmp_path / "model.safetensors")
    assert isinstance(read, ConditionalVoxelMorph)
    assert about == {"trial": "x"}
    assert read.config == model.config
    assert read.ranges.names == model.ranges.names  # in this order, which the code has
    images = pair(network.spatial_dims)
    assert torch.equal(read.at("l1", 0.2)(*images).displacement, model.at("l1", 0.2)(*images).displacement)
    for ours, theirs in zip(read.state_dict().values(), model.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"kind": "magic"}, "kind must be modulation or weights, got 'magic'"),
        ({"width": 0}, "width must be a whole number from 1 to 1024, got 0"),
        ({"recommended": ("l2", 7.0)}, "λ = 7 of l2 is out of the trained range"),
        ({"ranges": {}}, "a condition needs at least one penalty"),
        ({"ranges": {"l2": (1.0, 0.5)}}, "the range of λ of l2 is 1 to 0.5; expected 0 < low < high"),
        ({"ranges": {"l2": (1.0,)}}, "the range of λ of l2 is (1.0,); expected two numbers, [low, high]"),
        ({"ranges": {"l2+l1": (0.1, 1.0)}}, "'l2+l1' is a sum; a condition names single penalties"),
    ],
)
def test_a_bad_argument_is_one_sentence(change, sentence):
    with pytest.raises(ValueError) as error:  # noqa: PT011 (the sentence is checked)
        ConditionalVoxelMorph(VoxelMorph(2, **SMALL), **{"ranges": RANGES, **change})
    assert str(error.value).startswith(sentence)


# --- training


def condition(**changes) -> dict:
    return {"penalties": ["l2", "l1"], "lambda": {name: list(ends) for name, ends in RANGES.items()}, **changes}


def trial(**sections) -> TrialSettings:
    values = {
        "cohort": {"reader": "table", "file": "subjects.csv", "spatial_dims": 2},
        "split": {"train": 0.5, "validation": 0.25, "test": 0.25},
        "pairs": {"validation": 2, "test": 2},
        "objective": {"lambda": 0.1, "condition": condition(mixtures=0.5)},
        "training": {"epochs": 2, "steps_per_epoch": 4, "learning_rate": 1e-3},
        "compute": {"device": "cpu", "threads": 1},
    }
    for section, changes in sections.items():
        values[section] = {**values.get(section, {}), **changes}
    return parse(TrialSettings, values, "test")


def test_a_step_minimizes_exactly_the_objective_of_its_condition():
    settings = trial()
    conditions = Conditions.of(settings)
    assert conditions is not None
    model = ConditionalVoxelMorph(VoxelMorph(2, **SMALL), RANGES)
    objective = build_training_objective(settings)
    moving, fixed = pair(2)
    registration = VoxelMorph(2, **SMALL).register_with(torch.randn(1, 2, 8, 8), moving)
    for weight in (0.02, 0.7):
        impose(conditions.ranges.locate("l2", weight), model, objective)
        own = build_objective(settings.at("l2", weight))
        torch.testing.assert_close(objective(registration, fixed).loss, own(registration, fixed).loss)


def test_the_conditions_repeat_and_cover_their_ranges():
    conditions, pure = Conditions(LambdaRanges(RANGES), 0.5, seed=3), Conditions(LambdaRanges(RANGES), 0.0, seed=3)
    drawn = [conditions.of_step(step) for step in range(400)]
    assert drawn == [conditions.of_step(step) for step in range(400)]
    assert drawn != [Conditions(LambdaRanges(RANGES), 0.5, seed=4).of_step(step) for step in range(400)]
    levels = sorted(each.level for each in drawn)
    assert max(abs(level - place / 400) for place, level in enumerate(levels)) < 0.1
    assert all(sum(each.mixture) == pytest.approx(1) for each in drawn)
    assert 0.4 < sum(max(each.mixture) < 1 for each in drawn) / 400 < 0.6
    assert {each.mixture for each in map(pure.of_step, range(50))} == {(1, 0), (0, 1)}
    of_pairs = [conditions.of_pair(place) for place in range(8)]
    for mixture in ((1, 0), (0, 1)):  # few validation pairs cover the range of each penalty, too
        own = sorted(each.level for each in of_pairs if each.mixture == mixture)
        assert len(own) == 4
        assert own[0] < 0.3
        assert own[-1] > 0.7


STUDY = """
name: knob
base:
  cohort: {reader: table, file: subjects.csv, spatial_dims: 2}
  split: {train: 0.5, validation: 0.25, test: 0.25}
  pairs: {validation: 2, test: 2}
  objective: {condition: {penalties: [l2, l1], lambda: {l2: [0.01, 1.0], l1: [0.1, 0.9]}}}
  training: {epochs: 2, steps_per_epoch: 4, learning_rate: 1.0e-3}
  compute: {threads: 1, device: cpu}
groups:
  - name: l2
    set: {objective.penalty: l2}
    axes: {objective.lambda: [0.01, 1.0], seed: [0, 1]}
  - name: l1
    set: {objective.penalty: l1}
    axes: {objective.lambda: [0.3], seed: [0, 1]}
"""


@pytest.fixture
def one_thread():
    """As many threads as the trials of ``STUDY`` have: with others, products are rounded differently."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("no_figures", "one_thread")
def test_the_trials_of_a_study_share_a_training_per_seed(tiny_cohort, tmp_path):
    (tmp_path / "knob.yaml").write_text(STUDY)
    study = load_study(str(tmp_path / "knob.yaml"))
    result = run_study(study, tmp_path / "run", tiny_cohort(2), workers=2)
    assert len(result.complete) == 6
    networks = sorted((tmp_path / "run" / SHARED).iterdir())
    assert len(networks) == 2
    for name in result.complete:
        settings, folder = result.run.trials[name], tmp_path / "run" / name
        own = next(path for path in networks if f"_s{settings.seed}_" in path.name)
        shared = load_model(own / "model.safetensors")
        assert isinstance(shared, ConditionalVoxelMorph)
        plain = load_model(folder / "model.safetensors")
        expected = shared.at(settings.objective.penalty, settings.objective.weight).state_dict()
        assert all(torch.equal(weight, expected[key]) for key, weight in plain.state_dict().items())
        history = pd.read_parquet(folder / "history.parquet")
        pd.testing.assert_frame_equal(history, pd.read_parquet(own / "history.parquet"))
    again = run_study(study, tmp_path / "run", tiny_cohort(2), workers=1)
    assert len(again.complete) == 6
    assert not again.failed
    of_first = [name for name, settings in result.run.trials.items() if settings.seed == 0]
    check_shared_export(networks[0], [tmp_path / "run" / name for name in of_first], tmp_path)


def check_shared_export(shared: Path, trials: list[Path], place: Path) -> None:
    """The export keeps every λ, recommends the one that was asked for, and its card has the rows of all its trials."""
    (place / "note.md").write_text("λ was chosen by a toss.\n")
    chosen = ["--penalty", "l2", "--lambda", "1", "--note", str(place / "note.md")]
    done = CliRunner().invoke(app, ["export", str(shared), "model", str(place / "knob.safetensors"), *chosen])
    assert done.exit_code == 0, done.output
    model = open_trained(place / "knob.safetensors")
    assert model.conditional is not None
    assert model.conditional.recommended == ("l2", 1.0)
    rows = pd.concat([pd.read_parquet(trial / "pairs.parquet") for trial in trials])
    card = (place / "knob.md").read_text(encoding="utf-8")
    assert "| L1 (`l1`) | 0.1 | 0.9 |" in card
    assert "takes L2 at λ = 1." in card
    assert "λ was chosen by a toss." in card
    for penalty, weight in (("l2", 0.01), ("l2", 1.0), ("l1", 0.3)):
        own = rows[(rows["penalty"] == penalty) & (rows["lambda"] == weight)]
        assert len(own) == 2
        mean = float(f"{own['mse'].mean():.4g}")
        assert f"| {penalty.upper()} | {weight:g} | {mean} |" in card
    assert "Means over 2 test pairs" in card
    assert "with L2 at λ = 1:" in card


def test_a_killed_training_goes_on_from_its_last_epoch_bit_for_bit(tiny_cohort, tmp_path):
    settings = trial(training={"epochs": 3})
    run_trial(settings, tmp_path / "whole" / "trial", tiny_cohort(2))

    class Killed(Exception):  # noqa: N818
        pass

    def kill(progress) -> None:
        if progress.stage == "training" and progress.done == 7:  # in the second epoch
            raise Killed

    with pytest.raises(Killed):
        run_trial(settings, tmp_path / "killed" / "trial", tiny_cohort(2), kill)
    assert len(pd.read_parquet(tmp_path / "killed" / "trial" / "history.parquet")) == 1  # `status` shows it
    # the next trial to train may be another one that shares the network
    sibling = settings.at("l1", 0.5)
    assert sibling.training_identity() == settings.training_identity()
    run_trial(sibling, tmp_path / "killed" / "sibling", tiny_cohort(2))
    one, other = (next((tmp_path / name / SHARED).iterdir()) for name in ("whole", "killed"))
    ours, theirs = (load_model(folder / "model.safetensors").state_dict() for folder in (one, other))
    assert all(torch.equal(weight, theirs[name]) for name, weight in ours.items())


def test_a_model_with_a_knob_is_opened_at_what_it_recommends_and_turned(tiny_cohort, tmp_path):
    run_trial(trial(), tmp_path / "trial", tiny_cohort(2))
    file = next((tmp_path / SHARED).iterdir()) / "model.safetensors"
    model = open_trained(file)
    assert model.settings is not None
    assert (model.settings.objective.penalty, model.settings.objective.weight) == ("l2", pytest.approx(0.1))
    turned = model.at("l1", 0.5)
    assert turned.settings is not None
    assert (turned.settings.objective.penalty, turned.settings.objective.weight) == ("l1", 0.5)
    assert turned.conditional is not None
    expected = turned.conditional.at("l1", 0.5).state_dict()
    assert all(torch.equal(weight, expected[name]) for name, weight in turned.network.state_dict().items())
    same_level = model.at("l1").settings
    assert same_level is not None
    assert same_level.objective.weight == pytest.approx(0.3)
    with pytest.raises(
        InputError, match=r"model.safetensors: λ = 3 of l2 is out of the trained range; the highest is 1"
    ):
        model.at("l2", 3.0)
    with pytest.raises(InputError, match="is a network for one λ"):
        open_trained(tmp_path / "trial").at("l2", 0.1)


@pytest.mark.parametrize(
    ("objective", "sentence"),
    [
        ({"condition": {"penalties": ["l2"]}}, "test: objective.condition has penalties but no lambda"),
        (
            {"condition": {"lambda": [0.1, 1]}},
            "test: objective.condition = {'lambda': [0.1, 1]}: it has lambda but no penalties; list",
        ),
        (
            {"condition": {"mixtures": 0.3}},
            "test: objective.condition = {'mixtures': 0.3}: it has mixtures but no penalties; list",
        ),
        (
            {"weight_map": {"inside": 10}},
            "test: objective.weight_map = {'inside': 10}: it has factors but no labels; list the labels",
        ),
        ({"condition": condition(penalties=["l2"])}, "test: objective.condition.penalties lacks l1"),
        (
            {"condition": condition(penalties=["l2", "l1", "curvature"])},
            "test: objective.condition.lambda lacks curvat",
        ),
        (
            {"condition": {"penalties": ["l2"], "lambda": [0.2, 0.1]}},
            "test: objective.condition.lambda = [0.2, 0.1]: t",
        ),
        (
            {"condition": {"penalties": ["l2"], "lambda": {"l2": [1]}}},
            "test: objective.condition.lambda = {'l2': [1]}:",
        ),
        ({"condition": {"penalties": ["l7"], "lambda": [0.1, 1]}}, "test: objective.condition.penalties.0 = 'l7': the"),
        ({"lambda": 5}, "test: λ = 5 of l2 is out of the trained range; the highest is 1."),
        (
            {"penalty": "curvature"},
            "test: the network knows the penalties l2, l1, but not curvature; choose one of them.",
        ),
        ({"condition": condition(mixtures=2)}, "test: objective.condition.mixtures = 2: "),
    ],
)
def test_a_mistake_in_a_condition_is_one_sentence(objective, sentence):
    with pytest.raises(InputError) as error:
        trial(objective=objective)
    assert str(error.value).startswith(sentence)


def test_a_condition_needs_a_network():
    with pytest.raises(
        InputError, match=r"objective\.condition needs a network to train, but model.method is optimization"
    ):
        trial(model={"method": "optimization"})


def test_the_report_says_that_it_is_one_network(tmp_path):
    (tmp_path / "knob.yaml").write_text(STUDY)
    study = load_study(str(tmp_path / "knob.yaml"), ["objective.condition.mixtures=0.25"])
    run = Run(tmp_path, study, {str(place): trial for place, trial in enumerate(study.trials)})
    words = dict(protocol(run))["Network"]
    assert words.endswith(
        "; one network for many λ (modulation), which the trials share: each step draws a penalty and λ (L2 0.01 to 1, "
        "L1 0.1 to 0.9), in 25 % of the steps a mixture of them"
    )

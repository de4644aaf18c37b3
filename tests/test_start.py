"""A training starts from the weights of a trained network, or says in one sentence why it cannot."""

from pathlib import Path

import pytest
import torch

from knob_model import write_knob
from smoothmorph.experiments.run.runner import run_study
from smoothmorph.experiments.study.study import load_study
from smoothmorph.networks import load_model
from smoothmorph.pipeline import prepare
from smoothmorph.pipeline.models.suitability import digest_of
from smoothmorph.pipeline.models.trained_model import open_trained
from smoothmorph.pipeline.settings.schema import TrialSettings, parse
from smoothmorph.pipeline.training.parts import build_model
from smoothmorph.pipeline.training.start import take_start
from smoothmorph.pipeline.trial import run_trial
from smoothmorph.transforms import InputError
from test_training import assert_same, settings_of

CONDITION = {"penalties": ["l2", "l1"], "lambda": {"l2": [0.01, 1.0], "l1": [0.1, 0.9]}, "width": 8}
MODEL = {"channels": (4, 4, 4, 4), "final_channels": (4,), "integration_steps": 0, "integration_downsize": 1}


def begun(start: object, **sections) -> TrialSettings:
    model = {**MODEL, **sections.pop("model", {})}
    objective = {"penalty": "l2", "lambda": 0.2, **sections.pop("objective", {})}
    return settings_of(training={"start": str(start)}, model=model, objective=objective, **sections)


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(weight, theirs[name]) for name, weight in one.state_dict().items())


def test_a_training_begins_with_the_weights_of_the_network(tiny_cohort, tmp_path):
    """With a learning rate so small that single precision cannot change a weight by it."""
    first, root = settings_of(model=MODEL, training={"learning_rate": 1e-2}), tiny_cohort(2)
    run_trial(first, tmp_path / "first", root)
    further = settings_of(model=MODEL, training={"learning_rate": 1e-30, "start": str(tmp_path / "first")}, seed=1)
    run_trial(further, tmp_path / "further", root)
    ours, before = (load_model(tmp_path / name / "model.safetensors") for name in ("further", "first"))
    assert same(ours, before)
    assert not same(ours, build_model(further))
    told = (tmp_path / "further" / "log.txt").read_text()
    assert f"starts from {tmp_path / 'first' / 'model.safetensors'}, sha256 " in told
    assert "notice" not in told


def test_it_resumes_bit_for_bit_without_the_file(tiny_cohort, tmp_path, monkeypatch):
    root, start = tiny_cohort(2), tmp_path / "start"
    run_trial(settings_of(model=MODEL), start, root)
    settings = settings_of(model=MODEL, training={"start": str(start)})
    run_trial(settings, tmp_path / "whole", root)

    def stop(progress):
        if progress.stage == "training" and progress.done == 5:  # in the second epoch
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_trial(settings, tmp_path / "stopped", root, stop)
    (start / "model.safetensors").unlink()
    run_trial(settings, tmp_path / "stopped", root)
    assert_same(tmp_path / "whole", tmp_path / "stopped")


def test_a_network_for_many_lambda_gives_all_its_weights_or_those_for_one(tmp_path):
    file = write_knob(tmp_path / "knob.safetensors")
    many = begun(file, objective={"condition": CONDITION})
    take_start(many, model := build_model(many), None)
    assert same(model, open_trained(file).whole)
    for penalty, weight in (("l2", 0.05), ("l1", 0.5)):
        one = begun(file, objective={"penalty": penalty, "lambda": weight})
        take_start(one, model := build_model(one), None)
        assert same(model, open_trained(file).at(penalty, weight).network)


FAULTS = {
    "channels": ({"model": {"channels": (4, 4, 4, 8)}}, r"model.channels \[4, 4, 4, 4\], but the trial has"),
    "backbone": (
        {"model": {"backbone": "pyramid", "channels": (4, 4), "final_channels": None}},
        "model.backbone 'voxelmorph', but the trial has 'pyramid'",
    ),
    "axes": ({"cohort": {"spatial_dims": 3}}, "cohort.spatial_dims 2, but the trial has 3"),
    "order of the penalties": (
        {"objective": {"condition": {**CONDITION, "penalties": ["l1", "l2"]}}},
        "objective.condition.penalties l2, l1, but the trial has l1, l2",
    ),
    "width": ({"objective": {"condition": {**CONDITION, "width": 4}}}, "condition.width 8, but the trial has 4"),
    "λ": ({"objective": {"lambda": 5.0}}, "λ"),
    "penalty": ({"objective": {"penalty": "curvature"}}, "curvature"),
}


def test_the_digest_of_the_file_can_be_given(tmp_path):
    file = write_knob(tmp_path / "knob.safetensors")
    settings = begun(file)
    take_start(replaced(settings, digest_of(file)), build_model(settings), None)
    with pytest.raises(InputError, match=r"but training\.start_digest is 000000000000: it is another network"):
        take_start(replaced(settings, "0" * 12), build_model(settings), None)


def replaced(settings: TrialSettings, digest: str) -> TrialSettings:
    training = settings.training.model_copy(update={"start_digest": digest})
    return settings.model_copy(update={"training": training})


def test_what_differs_from_the_first_training_is_told(tmp_path, tiny_cohort):
    settings = begun(
        write_knob(tmp_path / "knob.safetensors"),
        model={"integration_steps": 7},
        objective={"condition": {**CONDITION, "lambda": {"l2": [0.02, 1.0], "l1": [0.1, 0.9]}}},
        cohort={"intensity": "percentile"},
    )
    told: list[str] = []
    take_start(settings, build_model(settings), prepare(settings, tiny_cohort(2)), told.append)
    assert told[0].startswith("starts from ")
    assert told[1] == (
        "notice: model.integration_steps is 7, but 0 in the first training: it was trained for another kind of field"
    )
    assert told[2].startswith("notice: model.padding_mode is zeros, but border in the first training")
    assert told[3].startswith("notice: the ranges of λ differ")
    assert "notice: cohort.intensity is percentile, but the network was trained with none" in told


def test_a_backbone_says_which_options_its_weights_do_not_depend_on(tiny_cohort, tmp_path):
    """A pyramid that applies its finest level twice has the weights of one that applies it once."""
    model = {"backbone": "pyramid", "channels": (4, 4), "final_channels": None, "integration_steps": 0}
    run_trial(settings_of(model={**MODEL, **model, "repeats": 1}), tmp_path / "once", tiny_cohort(2))
    settings = begun(tmp_path / "once", model={**model, "repeats": 2})
    own, told = build_model(settings), []
    take_start(settings, own, None, told.append)
    assert same(own, load_model(tmp_path / "once" / "model.safetensors"))
    assert own.config["repeats"] == 2
    assert told[1:] == ["notice: model.repeats is 2, but 1 in the first training: its weights were used in another way"]


def test_a_missing_start_is_told_before_anything_is_trained(tmp_path):
    (tmp_path / "study.yaml").write_text("name: mine\nbase: {training.start: nowhere, cohort.subjects: 4}\n")
    study = load_study(str(tmp_path / "study.yaml"))
    with pytest.raises(InputError, match="no model at nowhere; give the folder of a trial that trained a network"):
        run_study(study, tmp_path / "out", workers=1, fingerprint=lambda *_: "data")


@pytest.mark.parametrize("fault", FAULTS)
def test_another_network_is_refused_in_one_sentence(fault, tmp_path):
    changes, message = FAULTS[fault]
    settings = begun(write_knob(tmp_path / "knob.safetensors"), **changes)
    with pytest.raises(InputError, match=message) as error:
        take_start(settings, build_model(settings), None)
    assert "\n" not in str(error.value)


def test_one_lambda_does_not_make_a_network_for_many(tiny_cohort, tmp_path):
    run_trial(settings_of(model=MODEL), tmp_path / "plain", tiny_cohort(2))
    settings = begun(tmp_path / "plain", objective={"condition": CONDITION})
    with pytest.raises(InputError, match=r"has one λ, but the trial has objective\.condition"):
        take_start(settings, build_model(settings), None)


def test_a_missing_model_is_named():
    settings = begun(Path("nowhere"))
    with pytest.raises(InputError, match="no model at nowhere; give the folder of a trial that trained a network"):
        take_start(settings, build_model(settings), None)


def test_only_a_given_start_changes_the_id():
    def identity(**training):
        return parse(TrialSettings, {"training": training}, "test").trial_id("data")

    assert identity(start=None) == identity()
    assert identity(start="brain-2d") != identity()

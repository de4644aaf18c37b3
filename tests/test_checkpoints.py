"""Training resumes from its own checkpoint and refuses any other content of that file."""

import copy
import io
import os
import pickle
import random
import re
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from smoothmorph.networks import VoxelMorph
from smoothmorph.networks.files.weights import read_torch
from smoothmorph.pipeline.settings.schema import TrialSettings, parse
from smoothmorph.pipeline.training.checkpoint import COLUMNS, TrainingState
from smoothmorph.pipeline.training.handlers import WeightAveragingHandler
from smoothmorph.pipeline.training.parts import build_optimizer, build_schedule
from smoothmorph.transforms import InputError

EPOCHS, STEPS = 2, 3
LOSSES = [0.5, 0.75]
FLOW = "unet.net.1.final_conv_out.conv.bias"
SETTINGS = parse(
    TrialSettings,
    {"training": {"epochs": 5, "steps_per_epoch": STEPS, "learning_rate": 1e-3, "schedule": "one-cycle"}},
    "test",
)


def fresh() -> tuple[VoxelMorph, dict[str, Any]]:
    torch.manual_seed(0)
    model = VoxelMorph(2, channels=(2, 2), final_channels=(2,))
    optimizer = build_optimizer(SETTINGS, model)
    return model, {"optimizer": optimizer, "schedule": build_schedule(SETTINGS, optimizer)}


@pytest.fixture
def written(tmp_path) -> tuple[TrainingState, VoxelMorph, dict[str, Any]]:
    """A checkpoint after two epochs, of which the first is the best."""
    model, optimization = fresh()
    state = TrainingState()
    for epoch, loss in enumerate(LOSSES, 1):
        for _ in range(STEPS):
            model.unet(*torch.ones(2, 1, 1, 4, 4)).square().mean().backward()
            optimization["optimizer"].step()
            optimization["schedule"].step()
        row = dict.fromkeys(("train_loss", "train_similarity", "train_penalty", "seconds"), 1.0)
        state.history.append({"epoch": epoch, **row, "validation_loss": loss, "validation_similarity": 0.0})
        state.history[-1]["validation_penalty"] = 0.0
        state.epoch = epoch
        if epoch == 1:
            state.best, state.best_loss, state.best_epoch = copy.deepcopy(model.state_dict()), loss, 1
        state.save(tmp_path, SETTINGS, model, optimization)
    return state, model, optimization


def resume(folder: Path) -> tuple[TrainingState, VoxelMorph, dict[str, Any]]:
    model, optimization = fresh()
    return TrainingState.resume(folder, SETTINGS, model, optimization), model, optimization


def plain(value: Any) -> Any:
    """A state with tensors as lists, so that it can be compared."""
    if torch.is_tensor(value):
        return value.tolist()
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def content(found: tuple[TrainingState, VoxelMorph, dict[str, Any]]) -> Any:
    state, model, optimization = found
    return plain([vars(state), model.state_dict(), {name: part.state_dict() for name, part in optimization.items()}])


def sentence(folder: Path) -> str:
    """The error message of a checkpoint that is refused."""
    with pytest.raises(InputError) as told:
        resume(folder)
    assert "\n" not in str(told.value)
    assert "weights_only" not in str(told.value)
    assert len(str(told.value)) < 300 + len(str(folder))
    return str(told.value)


def test_it_goes_on_where_it_was(written, tmp_path):
    assert content(resume(tmp_path)) == content(written)


def test_a_flipped_bit_is_noticed_or_changes_nothing(written, tmp_path):
    path, expected, chance = tmp_path / "checkpoint.pt", content(written), random.Random(0)
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        numbers = [whole.index(archive.read(member)) for member in archive.infolist() if "/data/" in member.filename]
    refused = 0
    for bit in [8 * start + chance.randrange(32) for start in numbers] + chance.sample(range(8 * len(whole)), 150):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            found = content(resume(tmp_path))
        except InputError:
            refused += 1
            assert "checkpoint.pt is damaged (" in sentence(tmp_path)
        else:
            assert found == expected
    assert refused >= len(numbers)


def change(*keys: Any, to: Any) -> Any:
    """A function that sets the value at ``keys`` to ``to``, or to ``to(old value)`` if ``to`` is a function."""

    def edit(saved: dict[str, Any]) -> None:
        place: Any = saved
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = to(place[keys[-1]]) if callable(to) else to

    return edit


NAN = float("nan")
EDITS = {
    "NaN in the last weights": (change("last", FLOW, to=lambda weight: weight * NAN), "not finite as float32"),
    "infinity in the best weights": (change("best", FLOW, to=lambda weight: weight / 0), "not finite as float32"),
    "complex weights": (change("last", FLOW, to=lambda weight: weight + 1j), "holds more than tensors"),
    "weights as integers": (change("last", FLOW, to=lambda weight: weight.int()), "not a dense tensor of real"),
    "weights of another shape": (change("best", FLOW, to=torch.zeros(3)), "has shape (3,), expected (2,)"),
    "another weight": (change("best", "x", to=torch.zeros(3)), "weight 'x' is not a weight of this network"),
    "weights that are text": (change("last", to="x"), "there is 'x' instead of weights"),
    "the epoch x": (change("epoch", to="x"), "its epoch is 'x' of 5"),
    "the epoch -3": (change("epoch", to=-3), "its epoch is -3 of 5"),
    "the epoch NaN": (change("epoch", to=NAN), "its epoch is nan of 5"),
    "the epoch 3": (change("epoch", to=3), "its history has 2 rows"),
    "the epoch True": (change("epoch", to=True), "its epoch is True of 5"),
    "too many epochs": (lambda saved: saved.update(epoch=6, history=saved["history"] * 3), "its epoch is 6 of 5"),
    "a history that is text": (change("history", to="x"), "its history is not a list"),
    "an epoch twice": (change("history", 1, "epoch", to=1), "row 2 of its history"),
    "a NaN loss": (change("history", 0, "train_loss", to=NAN), "row 1 of its history"),
    "a loss that is text": (change("history", 1, "seconds", to="1"), "row 2 of its history"),
    "another column": (change("history", 1, "x", to=1), "row 2 of its history"),
    "the best epoch 7": (change("best_epoch", to=7), "its best epoch"),
    "the best loss NaN": (change("best_loss", to=NAN), "its best epoch"),
    "NaN moments": (change("optimizer", "state", 3, "exp_avg", to=lambda m: m * NAN), "weight 'exp_avg' holds"),
    "moments of one number": (change("optimizer", "state", 2, "exp_avg_sq", to=torch.ones(1)), "has shape (1,)"),
    "another count of steps": (
        change("optimizer", "state", 1, "step", to=torch.tensor(9.0)),
        "did not take the 6 steps",
    ),
    "no moments": (change("optimizer", "state", to={}), "its optimizer has"),
    "a NaN rate": (change("optimizer", "param_groups", 0, "lr", to=NAN), "its learning rate is nan"),
    "a rate above the trial's": (change("optimizer", "param_groups", 0, "lr", to=0.1), "its learning rate is 0.1"),
    "a rate of text": (change("optimizer", "param_groups", 0, "lr", to="x"), "its learning rate is 'x'"),
    "a schedule elsewhere": (change("schedule", "last_epoch", to=0), "did not take the 6 steps"),
    "another part": (change("x", to=1), "does not have the parts"),
    "no epoch": (lambda saved: saved.pop("epoch"), "does not have the parts"),
    "no optimizer": (lambda saved: saved.pop("optimizer"), "does not have the parts"),
    "an optimizer that is text": (change("optimizer", to="x"), "its optimizer has"),
    "steps that are text": (change("optimizer", "state", 0, "step", to="x"), "its optimizer has"),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_state_that_no_training_has_is_refused_and_nothing_is_loaded(name, written, tmp_path):
    edit, words = EDITS[name]
    path = tmp_path / "checkpoint.pt"
    saved = torch.load(path, weights_only=True)
    edit(saved)
    torch.save(saved, path)
    (tmp_path / "history.parquet").unlink()
    told = sentence(tmp_path)
    assert "checkpoint.pt is damaged (" in told
    assert words in told
    assert told.endswith("delete it to train this trial from the beginning.")
    assert not (tmp_path / "history.parquet").exists()
    model, optimization = fresh()
    with pytest.raises(InputError):
        TrainingState.resume(tmp_path, SETTINGS, model, optimization)
    assert content((TrainingState(), model, optimization)) == content((TrainingState(), *fresh()))


@pytest.mark.parametrize("schedule", ["constant", "one-cycle"])
@pytest.mark.parametrize("steps", [1, 3, 10, 11])
def test_a_trial_killed_after_its_last_step_goes_on(schedule, steps, tmp_path):
    """A one-cycle schedule has a negative learning rate in the step after the last."""
    training = {"epochs": 1, "steps_per_epoch": steps, "schedule": schedule}
    settings = parse(TrialSettings, {"training": training}, "test")
    model = VoxelMorph(2, channels=(2, 2), final_channels=(2,))
    optimizer = build_optimizer(settings, model)
    optimization = {"optimizer": optimizer, "schedule": build_schedule(settings, optimizer)}
    for _ in range(steps):
        model.unet(*torch.ones(2, 1, 1, 4, 4)).square().mean().backward()
        optimizer.step(), optimization["schedule"].step()
    row = dict.fromkeys(COLUMNS, 1.0) | {"epoch": 1}
    state = TrainingState(1, [row], 1.0, 1, model.state_dict(), model.state_dict())
    state.save(tmp_path, settings, model, optimization)
    assert TrainingState.resume(tmp_path, settings, model, optimization).epoch == 1


def test_what_the_settings_decide_is_not_taken_from_the_file(written, tmp_path):
    path = tmp_path / "checkpoint.pt"
    saved = torch.load(path, weights_only=True)
    saved["optimizer"]["param_groups"][0].update(betas=(NAN, 2), max_lr=1e9)
    saved["schedule"].update(total_steps="x", base_lrs=[NAN])
    torch.save(saved, path)
    assert content(resume(tmp_path)) == content(written)


def averaged() -> tuple[TrialSettings, VoxelMorph, dict[str, Any]]:
    """As `fresh`, of a trial whose weights are averaged."""
    training = {**SETTINGS.training.model_dump(), "weight_averaging": 0.5}
    model, optimization = fresh()
    settings = parse(TrialSettings, {"training": training}, "test")
    return settings, model, {**optimization, "average": WeightAveragingHandler(model, 0.5)}


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (None, ""),
        (change("average", FLOW, to=lambda weight: weight * NAN), "not finite as float32"),
        (change("average", FLOW, to=torch.zeros(3)), "has shape (3,), expected (2,)"),
        (change("average", to="x"), "there is 'x' instead of weights"),
        (lambda saved: saved.pop("average"), "does not have the parts"),
    ],
)
def test_the_average_of_the_weights_goes_on_or_is_refused(edit, words, tmp_path):
    settings, model, optimization = averaged()
    for _ in range(STEPS):
        model.unet(*torch.ones(2, 1, 1, 4, 4)).square().mean().backward()
        optimization["optimizer"].step(), optimization["schedule"].step()
    optimization["average"](SimpleNamespace(state=SimpleNamespace(iteration=1)))
    average = optimization["average"].state_dict()
    state = TrainingState(1, [dict.fromkeys(COLUMNS, 1.0) | {"epoch": 1}], 1.0, 1, average)
    state.save(tmp_path, settings, model, optimization)
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    if edit:
        edit(saved)
        torch.save(saved, tmp_path / "checkpoint.pt")
    _, other, again = averaged()
    if not edit:
        TrainingState.resume(tmp_path, settings, other, again)
        assert content((state, other, again)) == content((state, model, optimization))
        assert plain(again["average"].state_dict()) != plain(other.state_dict())
        return
    with pytest.raises(InputError, match=re.escape(words)):
        TrainingState.resume(tmp_path, settings, other, again)
    assert plain(again["average"].state_dict()) == plain(fresh()[0].state_dict())


class Stranger:
    """A file that only a loader that runs code could read."""


@pytest.mark.parametrize("write", [pickle.dumps, None], ids=["pickle", "torch"])
def test_a_pickle_is_refused_without_advice_to_run_it(write, tmp_path):
    held = {"identity": Stranger()}
    if write is None:
        torch.save(held, tmp_path / "checkpoint.pt")
    else:
        (tmp_path / "checkpoint.pt").write_bytes(write(held))
    assert "checkpoint.pt is damaged (it" in sentence(tmp_path)


class TestFilesOfTorch:
    def test_those_of_old_versions_are_read(self, tmp_path):
        torch.save({"a": torch.arange(3.0), "b": [1, "x"]}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
        found = read_torch(tmp_path / "old.pt")
        assert found["a"].tolist() == [0, 1, 2]
        assert found["b"] == [1, "x"]

    def test_memory_that_only_a_file_claims_is_not_taken(self, tmp_path, monkeypatch):
        """A pickle that allocates a stated number of bytes, and a member with a thousandth of its stated length."""
        claims = b"\x80\x02cbuiltins\nbytearray\n\x8a\x05\0\0\0\0\x10\x85R."  # bytearray(2**36)
        honest = io.BytesIO()
        torch.save({"a": torch.zeros(1 << 20)}, honest)
        for name, packed in (("claims", zipfile.ZIP_STORED), ("packed", zipfile.ZIP_DEFLATED)):
            with zipfile.ZipFile(honest) as source, zipfile.ZipFile(tmp_path / name, "w", packed) as target:
                for member in source.namelist():
                    data = source.read(member)
                    target.writestr(member, claims if name == "claims" and member.endswith("data.pkl") else data)
        monkeypatch.setattr(torch, "load", None)  # it must not be called
        for name, words in (("claims", "more than tensors"), ("packed", "differs from its checksums")):
            with pytest.raises(InputError, match=words):
                read_torch(tmp_path / name)

    def test_a_file_larger_than_any_network_is_not_read(self, tmp_path):
        with open(tmp_path / "large.pt", "wb") as file:
            file.truncate(1 << 40)
        with pytest.raises(InputError, match="1,099,511,627,776 bytes"):
            read_torch(tmp_path / "large.pt")


def test_what_is_no_file_is_told(tmp_path):
    assert content(resume(tmp_path)) == content((TrainingState(), *fresh()))
    os.mkfifo(tmp_path / "checkpoint.pt")  # opening it would wait for ever
    assert "checkpoint.pt is damaged (it is not a file)" in sentence(tmp_path)


def test_a_view_cannot_claim_a_shape_that_is_not_in_the_file(written, tmp_path):
    path = tmp_path / "checkpoint.pt"
    saved = torch.load(path, weights_only=True)
    saved["last"][FLOW] = torch.zeros(1).expand(1 << 40)
    torch.save(saved, path)
    assert f"has shape ({1 << 40},), expected (2,)" in sentence(tmp_path)

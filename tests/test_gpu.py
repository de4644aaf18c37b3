"""On a GPU, if there is one: equal results, steps without synchronization, and trials that change the device."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from smoothmorph.experiments.cli import app
from smoothmorph.networks import PENALTIES, FieldModel, Objective, Schedule, VoxelMorph, optimize
from smoothmorph.pipeline.training.cuda_graph import WARM_UP, GraphedStep
from smoothmorph.pipeline.training.parts import build_model, build_objective, build_optimizer
from smoothmorph.pipeline.training.step import autocast, build_step, training_step
from smoothmorph.pipeline.trial import run_trial
from smoothmorph.transforms import invert, jacobian_statistics
from test_training import results, settings_of

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
GPU = torch.device("cuda")


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    """Convolutions in full float32 as on a CPU, without TensorFloat-32."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def images(dims, count=2):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, 1, *(48, 32, 32)[:dims], generator=generator).to(GPU)


def on_gpu(**sections):
    return settings_of(compute={"device": "cuda"}, **sections)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("steps", [0, 7])
def test_registration_is_that_of_the_cpu(dims, steps):
    network = VoxelMorph(dims, steps)
    torch.nn.init.normal_(network.unet.convolutions[-1].weight, std=0.1)
    moving, fixed = images(dims).split(1)
    here = network(moving.cpu(), fixed.cpu(), inverse=True)
    there = network.to(GPU)(moving, fixed, inverse=True)
    for name, part in here._asdict().items():
        torch.testing.assert_close(getattr(there, name).cpu(), part, atol=2e-4, rtol=2e-4, msg=name)


@pytest.mark.parametrize("dims", [2, 3])
def test_measures_are_those_of_the_cpu(dims):
    field = 3 * torch.randn(1, dims, *(24, 20, 16)[:dims], generator=torch.Generator().manual_seed(0))
    for name, value in jacobian_statistics(field.to(GPU)).items():
        torch.testing.assert_close(value.cpu(), jacobian_statistics(field)[name], rtol=1e-4, atol=1e-4)
    for entry in PENALTIES.values():
        given = (field, -field) if entry.both_directions else (field,)
        torch.testing.assert_close(entry()(*(part.to(GPU) for part in given)).cpu(), entry()(*given))
    torch.testing.assert_close(invert(0.05 * field.to(GPU)).cpu(), invert(0.05 * field), atol=1e-3, rtol=0)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("penalty", ["l2", "l2+gradicon"])
def test_fields_are_optimized_as_on_the_cpu(dims, penalty):
    """Rounding can lead the two apart, but not to another minimum."""
    moving, fixed = (smooth(part) for part in images(dims, 4).split(2))
    reached = []
    for device in (torch.device("cpu"), GPU):
        objective = Objective(dims, "mse", penalty, 0.01, reduction="none").to(device)
        weights = torch.ones_like(fixed)
        pairs = (part.to(device) for part in (moving, fixed))
        found = optimize(FieldModel(), objective, *pairs, Schedule(levels=2, steps=30), weights.to(device))
        assert found.registration.displacement.device.type == device.type
        reached.append(found.values.cpu())
    torch.testing.assert_close(*reached, rtol=0.02, atol=1e-6)


def smooth(image):
    """Noise as blobs of some voxels, which can be registered."""
    coarse = torch.nn.functional.adaptive_avg_pool2d if image.ndim == 4 else torch.nn.functional.adaptive_avg_pool3d
    mode = "bilinear" if image.ndim == 4 else "trilinear"
    return torch.nn.functional.interpolate(coarse(image, 4), size=image.shape[2:], mode=mode)


RECIPE = {"both_directions": True, "gradient_clipping": 0.03}
PYRAMID = {"backbone": "pyramid", "padding_mode": "border"}


@pytest.mark.parametrize("backbone", ["voxelmorph", "pyramid"])
@pytest.mark.parametrize("similarity", ["mse", "ncc"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("dims", [2, 3])
def test_a_recorded_step_is_the_step(dims, precision, similarity, backbone):
    """20 steps, each with another λ and learning rate, differ no more than two runs on a GPU."""
    settings = on_gpu(
        dims=dims,
        training={"precision": precision, "learning_rate": 1e-3},
        objective={"similarity": similarity, "penalty": "bending-hessian"},
        model=PYRAMID if backbone == "pyramid" else {},
    )
    options = RECIPE if backbone == "pyramid" else {}
    moving, fixed = images(dims).split(1)
    losses = []
    for recorded in (True, False):
        model = build_model(settings).to(GPU)
        objective, optimizer = build_objective(settings).to(GPU), build_optimizer(settings, model)
        step = partial(training_step, model, objective, optimizer, autocast(settings, GPU), **options)
        take = GraphedStep(step, objective, optimizer) if recorded else step
        taken = []
        for number in range(20):
            objective.weight, optimizer.param_groups[0]["lr"] = 0.1 * number, 1e-3 / (1 + number)
            taken.append(torch.stack(list(take(moving, fixed))).clone())
        assert isinstance(objective.weight, float)
        assert isinstance(optimizer.param_groups[0]["lr"], float)
        losses.append(torch.stack(taken).cpu())
    torch.testing.assert_close(*losses, rtol=0.02 if precision == "bfloat16" else 1e-3, atol=1e-4)
    assert losses[0][-1, 1] < losses[0][0, 1]  # the network learns


@pytest.mark.parametrize("sections", [{}, {"model": PYRAMID, "training": RECIPE}], ids=["voxelmorph", "pyramid"])
def test_a_step_does_not_wait_for_the_gpu(sections):
    settings = on_gpu(**sections)
    model = build_model(settings).to(GPU)
    objective, optimizer = build_objective(settings).to(GPU), build_optimizer(settings, model)
    step = build_step(settings, model, objective, optimizer)
    assert isinstance(step, GraphedStep)
    moving, fixed = images(2).split(1)
    for _ in range(WARM_UP):
        step(moving, fixed)
    torch.cuda.set_sync_debug_mode("error")
    try:
        step.step(moving, fixed)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    step(moving, fixed)
    torch.cuda.set_sync_debug_mode("error")
    try:
        step(moving, fixed)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_volumes_train_as_on_a_cpu(tiny_cohort, tmp_path):
    """Beyond the maximum learning rate, in bfloat16, with the loss that once was wrong on a GPU."""
    sections = {
        "dims": 3,
        "training": {"epochs": 4, "steps_per_epoch": 50, "schedule": "one-cycle", "precision": "bfloat16"},
        "objective": {"similarity": "ncc", "lambda": 1.0},
    }
    for device in ("cpu", "cuda"):
        run_trial(settings_of(compute={"device": device}, **sections), tmp_path / device, tiny_cohort(3))
    here, there = (pd.read_parquet(tmp_path / device / "history.parquet") for device in ("cpu", "cuda"))
    np.testing.assert_allclose(there["train_loss"], here["train_loss"], rtol=0.05)


@pytest.mark.parametrize(("first", "then"), [("cpu", "cuda"), ("cuda", "cpu"), ("cuda", "cuda")])
def test_a_trial_goes_on_where_there_is_room(first, then, tiny_cohort, tmp_path):
    """A trial can resume on one device from a checkpoint of the other."""

    def stop(progress):
        if progress.stage == "training" and progress.done == 30:
            raise KeyboardInterrupt

    training = {"epochs": 4, "steps_per_epoch": 10, "schedule": "one-cycle", "penalty_warmup": 0.6}
    with pytest.raises(KeyboardInterrupt):
        run_trial(settings_of(compute={"device": first}, training=training), tmp_path / "part", tiny_cohort(2), stop)
    run_trial(settings_of(compute={"device": then}, training=training), tmp_path / "part", tiny_cohort(2))
    run_trial(settings_of(compute={"device": "cpu"}, training=training), tmp_path / "whole", tiny_cohort(2))
    part, whole = (results(tmp_path / name)[1] for name in ("part", "whole"))
    np.testing.assert_allclose(part["validation_loss"], whole["validation_loss"], rtol=5e-3)


def test_register_computes_there(tiny_cohort, tmp_path):
    root = tiny_cohort(2)
    run_trial(on_gpu(training={"epochs": 2, "steps_per_epoch": 40}), tmp_path / "trial", root)
    for device in ("cpu", "cuda"):
        words = ["register", root / "image0.nii.gz", root / "image1.nii.gz", "--model", tmp_path / "trial"]
        words += ["--refine", "5", "--warped", tmp_path / f"{device}.nii.gz", "--device", device]
        done = CliRunner().invoke(app, list(map(str, words)))
        assert done.exit_code == 0, done.output
    import nibabel as nib

    here, there = (np.asarray(nib.load(tmp_path / f"{device}.nii.gz").dataobj) for device in ("cpu", "cuda"))
    np.testing.assert_allclose(here, there, atol=5e-3)


def test_bfloat16_registers_as_float32(tiny_cohort, tmp_path):
    for precision in ("float32", "bfloat16"):
        training = {"epochs": 4, "steps_per_epoch": 60, "learning_rate": 2e-3, "precision": precision}
        run_trial(on_gpu(training=training, pairs={"test": 6}), tmp_path / precision, tiny_cohort(2))
    full, half = (results(tmp_path / precision)[0] for precision in ("float32", "bfloat16"))
    assert half["dice"].mean() == pytest.approx(full["dice"].mean(), abs=0.03)
    assert half["dice"].mean() > half["dice_before"].mean() + 0.05


@pytest.mark.parametrize("kind", ["modulation", "weights"])
def test_a_conditional_network_trains_as_on_a_cpu(kind, tiny_cohort, tmp_path):
    condition = {"penalties": ["l2", "l1"], "lambda": [0.01, 0.1], "mixtures": 0.5, "kind": kind}
    sections = {"objective": {"lambda": 0.03, "condition": condition}, "training": {"epochs": 2, "steps_per_epoch": 20}}
    run_trial(settings_of(**sections), tmp_path / "cpu" / "trial", tiny_cohort(2))
    run_trial(on_gpu(**sections), tmp_path / "cuda" / "trial", tiny_cohort(2))
    here, there = (results(tmp_path / device / "trial")[1] for device in ("cpu", "cuda"))
    np.testing.assert_allclose(here["train_loss"], there["train_loss"], rtol=5e-3)

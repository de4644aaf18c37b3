"""A complete trial repeats and resumes bit for bit, learns, and fails with one sentence."""

import itertools
import multiprocessing
import random
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from ignite.engine import Engine, Events

from smoothmorph.networks import PENALTIES, SIMILARITIES, Objective, VoxelMorph, load_model
from smoothmorph.pipeline.evaluation.rows import by_network
from smoothmorph.pipeline.settings.schema import TrialSettings, parse
from smoothmorph.pipeline.training.handlers import PenaltyWarmUpHandler, WeightAveragingHandler
from smoothmorph.pipeline.training.parts import build_model, build_objective, build_optimizer, build_schedule
from smoothmorph.pipeline.training.step import autocast, build_step, training_step
from smoothmorph.pipeline.trial import TrialFailed, TrialProgress, prepare, run_trial
from smoothmorph.transforms import InputError

ROWS = ["pairs.parquet", "history.parquet"]


def settings_of(dims=2, **sections) -> TrialSettings:
    """A trial on the tiny cohort that takes about a second."""
    values = {
        "cohort": {"reader": "table", "file": "subjects.csv", "spatial_dims": dims},
        "split": {"train": 0.5, "validation": 0.25, "test": 0.25},
        "pairs": {"validation": 2, "test": 2},
        "training": {"epochs": 3, "steps_per_epoch": 4, "learning_rate": 1e-3},
        "compute": {"device": "cpu", "threads": 1},
    }
    for section, changes in sections.items():
        values[section] = {**values.get(section, {}), **changes} if isinstance(changes, dict) else changes
    return parse(TrialSettings, values, "test")


def results(folder: Path) -> list[pd.DataFrame]:
    """Rows and history without times."""
    return [pd.read_parquet(folder / name).drop(columns="seconds") for name in ROWS]


def assert_same(one: Path, other: Path) -> None:
    for ours, theirs in zip(results(one), results(other), strict=True):
        pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
    a, b = load_model(one / "model.safetensors"), load_model(other / "model.safetensors")
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("steps", [0, 7])
def test_a_trial_repeats_bit_for_bit(dims, steps, tiny_cohort, tmp_path):
    settings = settings_of(dims, model={"integration_steps": steps})
    for name in ("one", "two"):
        run_trial(settings, tmp_path / name, tiny_cohort(dims))
    assert_same(tmp_path / "one", tmp_path / "two")


@pytest.mark.parametrize("dims", [2, 3])
def test_rows_have_every_measure_once_per_test_pair(dims, tiny_cohort, tmp_path):
    settings = settings_of(dims)
    run_trial(settings, tmp_path, tiny_cohort(dims))
    rows = pd.read_parquet(tmp_path / "pairs.parquet")
    prepared = prepare(settings, tiny_cohort(dims))
    assert list(zip(rows["moving"], rows["fixed"], strict=True)) == list(prepared.test_pairs)
    names = ["mse", "ncc", "dice", "hd95", "dice/label 1"]
    fields = ["nonpositive_percent", "nondiffeomorphic_percent", "sdlogj", "sdlogj_l2r", "det_p50", "magnitude"]
    fields += ["l1", "l2", "bending-hessian", "bending-laplacian", "bending-pure"]
    expected = [*names, *(name.replace("/", "_before/") if "/" in name else f"{name}_before" for name in names)]
    expected += [f"{field}_{name}" for field in ("displacement", "velocity") for name in fields]
    assert rows[expected].notna().all(axis=None)
    assert (rows["trial"] == settings.trial_id(prepared.fingerprint)).all()
    assert rows["loss"].to_numpy() == pytest.approx((rows["mse"] + 0.01 * rows["velocity_l2"]).to_numpy(), rel=1e-5)
    with np.load(tmp_path / "examples.npz", allow_pickle=False) as examples:
        assert examples["warped"].shape[0] == len(examples["moving_id"]) == 2
        assert examples["displacement"].shape[1] == examples["velocity"].shape[1] == 2


@pytest.mark.parametrize("penalty", ["l1", "l2", "bending-hessian"])
def test_training_registers(penalty, tiny_cohort, tmp_path):
    """Discs at different positions are made to overlap: the loss improves, and so do metrics not used in training."""
    settings = settings_of(
        objective={"penalty": penalty, "lambda": 0.002},
        training={"epochs": 4, "steps_per_epoch": 60, "learning_rate": 2e-3},
        pairs={"validation": 2, "test": 6},
    )
    run_trial(settings, tmp_path, tiny_cohort(2))
    rows, history = results(tmp_path)
    assert history["train_loss"].iloc[-1] < 0.7 * history["train_loss"].iloc[0]
    assert rows["mse"].mean() < 0.5 * rows["mse_before"].mean()
    assert rows["dice"].mean() > rows["dice_before"].mean() + 0.05


def test_the_selected_weights_are_the_measured_ones(tiny_cohort, tmp_path):
    root = tiny_cohort(2)
    for selection in ("best", "last"):
        # a learning rate so high that the last epoch is not the best
        training = {"selection": selection, "learning_rate": 0.02, "epochs": 5}
        run_trial(settings_of(training=training), tmp_path / selection, root)
    best, last = (results(tmp_path / selection) for selection in ("best", "last"))
    assert best[1]["validation_loss"].argmin() < 4
    assert not best[0]["mse"].equals(last[0]["mse"])
    state = torch.load(tmp_path / "best" / "checkpoint.pt", weights_only=True)
    weights = load_model(tmp_path / "best" / "model.safetensors").state_dict()
    assert all(torch.equal(state["best"][name], weights[name]) for name in weights)


PYRAMID = {"backbone": "pyramid", "channels": [4, 8, 8], "padding_mode": "border"}
RECIPE: dict[str, Any] = {
    "schedule": "one-cycle",
    "precision": "bfloat16",
    "both_directions": True,
    "gradient_clipping": 0.03,
    "weight_averaging": 0.9,
    "augment": [{"transform": "RandFlipd", "keys": ["moving", "fixed"], "prob": 0.5, "spatial_axis": 0}],
}
"""All that the training of a pyramid has."""


def test_killed_at_random_moments_and_resumed_is_bit_identical(tiny_cohort, tmp_path):
    """With everything that a training can have to go on from."""
    root = tiny_cohort(2)
    training = {**RECIPE, "epochs": 6, "steps_per_epoch": 10, "penalty_warmup": 0.6, "selection": "last"}
    bias = {"transform": "RandBiasFieldd", "keys": ["moving", "fixed"], "prob": 0.5}
    training["augment"] = [*RECIPE["augment"], bias]
    pairs, objective = {"validation": 2, "test": 2}, {"penalty": "l1"}
    settings = settings_of(training=training, pairs=pairs, objective=objective, model=PYRAMID)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["smoothmorph.pipeline.trial"])
    chance = random.Random(0)

    def start(folder):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=run_trial, args=(settings, folder, root, sender.send))
        process.start()
        sender.close()
        return process, receiver

    process, _ = start(tmp_path / "whole")
    process.join(120)
    assert process.exitcode == 0

    kills = 0
    for _ in range(40):
        process, receiver = start(tmp_path / "killed")
        for _ in range(chance.randint(13, 32)):  # loading reports 12 times
            try:
                receiver.recv()
            except EOFError:
                break
        time.sleep(chance.random() * 0.03)
        process.kill()
        process.join(60)
        if process.exitcode == 0:
            break
        kills += 1
    assert kills >= 3
    assert process.exitcode == 0
    assert_same(tmp_path / "whole", tmp_path / "killed")
    assert not list((tmp_path / "killed").glob(".*.partial"))


@pytest.mark.parametrize(("schedule", "shape"), [("constant", [1, 1, 1, 1]), ("one-cycle", [0.04, 1, 0.83, 0])])
def test_the_learning_rate_follows_the_schedule(schedule, shape):
    settings = settings_of(training={"epochs": 10, "steps_per_epoch": 10, "schedule": schedule})
    optimizer = build_optimizer(settings, VoxelMorph(2))
    scheduler, rates = build_schedule(settings, optimizer), []
    for _ in range(100):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step(), scheduler.step()
    first, highest, falling, last = (rates[index] / 1e-3 for index in (0, 9, 24, 99))
    assert [first, highest, falling, last] == pytest.approx(shape, abs=0.03)


@pytest.mark.parametrize(("steps", "weights"), [(0, [2, 2, 2, 2, 2, 2]), (4, [0, 0.5, 1, 1.5, 2, 2])])
def test_the_penalty_warms_up(steps, weights):
    objective, seen = Objective(2, weight=2.0), []
    engine = Engine(lambda engine, batch: seen.append(objective.weight))
    PenaltyWarmUpHandler(objective, weight=2.0, steps=steps).attach(engine)
    engine.run(range(3), max_epochs=2)
    assert seen == weights


def test_a_pyramid_learns_to_register(tiny_cohort, tmp_path):
    training = {**RECIPE, "epochs": 2, "steps_per_epoch": 60, "learning_rate": 2e-3, "gradient_clipping": 1.0}
    settings = settings_of(
        model=PYRAMID, objective={"lambda": 0.002}, training=training, pairs={"validation": 2, "test": 6}
    )
    run_trial(settings, tmp_path, tiny_cohort(2))
    rows, history = results(tmp_path)
    assert history["validation_loss"].iloc[-1] < history["train_loss"].iloc[0]
    assert rows["mse"].mean() < 0.5 * rows["mse_before"].mean()
    assert rows["dice"].mean() > rows["dice_before"].mean() + 0.05


@pytest.mark.parametrize("selection", ["best", "last"])
def test_the_average_of_the_weights_is_what_is_measured(selection, tiny_cohort, tmp_path):
    settings = settings_of(training={"weight_averaging": 0.9, "selection": selection, "epochs": 2})
    run_trial(settings, tmp_path, tiny_cohort(2))
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    measured = load_model(tmp_path / "model.safetensors").state_dict()
    kept = state["best" if selection == "best" else "average"]
    assert all(torch.equal(kept[name], weight) for name, weight in measured.items())
    assert state["best_epoch"] == 2
    assert all(torch.equal(state["best"][name], weight) for name, weight in state["average"].items())
    assert not all(torch.equal(state["last"][name], weight) for name, weight in state["average"].items())


def test_the_first_weights_leave_the_average_soon():
    """Weights 1, 2 and 3 after a start of 0: decays 2/11, 3/12 and, where 4/13 is more than that, the trial's."""
    model: Any = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    averaging, seen = WeightAveragingHandler(model, decay=0.27), []
    engine = Engine(lambda engine, number: torch.nn.init.constant_(model.weight, number))
    averaging.attach(engine)
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: seen.append(averaging.average.weight.item()))
    engine.run([1.0, 2.0, 3.0])
    first = 9 / 11
    second = 3 / 12 * first + 9 / 12 * 2
    assert seen == pytest.approx([first, second, 0.27 * second + 0.73 * 3])
    assert not averaging.average.weight.requires_grad


def one_step(moving, fixed, model=PYRAMID, **options):
    """The terms of a step of plain gradient descent from one network, and how far each weight went."""
    settings = settings_of(model=model)
    network, objective = build_model(settings).double(), build_objective(settings)
    before = [weight.detach().clone() for weight in network.parameters()]
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    precision = autocast(settings, torch.device("cpu"))
    terms = training_step(network, objective, optimizer, precision, moving, fixed, **options)
    return terms, [weight.detach() - old for weight, old in zip(network.parameters(), before, strict=True)]


@pytest.mark.parametrize("model", [PYRAMID, {**PYRAMID, "symmetric": False}, {}], ids=["symmetric", "plain", "unet"])
def test_a_step_in_both_directions_is_the_mean_of_its_two(model):
    moving, fixed = torch.rand(2, 1, 1, 16, 16, generator=torch.Generator().manual_seed(0)).double()
    there, back = one_step(moving, fixed, model), one_step(fixed, moving, model)
    both, turned = (one_step(*pair, model, both_directions=True) for pair in ((moving, fixed), (fixed, moving)))
    for term in ("loss", "similarity", "penalty"):
        expected = (getattr(there[0], term) + getattr(back[0], term)) / 2
        torch.testing.assert_close(getattr(both[0], term), expected, rtol=1e-6, atol=1e-12)
    assert max(float(step.abs().max()) for step in both[1]) > 1e-6
    for ours, first, second, again in zip(both[1], there[1], back[1], turned[1], strict=True):
        torch.testing.assert_close(ours, (first + second) / 2, rtol=1e-6, atol=1e-12)
        torch.testing.assert_close(ours, again, rtol=1e-6, atol=1e-12)


def test_a_large_gradient_is_scaled_down_and_a_small_one_is_not():
    moving, fixed = torch.rand(2, 1, 1, 16, 16, generator=torch.Generator().manual_seed(0)).double()
    _, free = one_step(moving, fixed)
    norm = float(torch.stack([step.norm() for step in free]).norm())
    _, small = one_step(moving, fixed, gradient_clipping=2 * norm)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(small, free, strict=True))
    _, clipped = one_step(moving, fixed, gradient_clipping=norm / 10)
    for ours, theirs in zip(clipped, free, strict=True):
        torch.testing.assert_close(ours, theirs / 10, rtol=1e-2, atol=1e-12)


def test_a_complete_trial_is_left_alone(tiny_cohort, tmp_path):
    run_trial(settings_of(), tmp_path, tiny_cohort(2))
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    run_trial(settings_of(), tmp_path, tiny_cohort(2))
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_another_configuration_is_refused(tiny_cohort, tmp_path):
    run_trial(settings_of(), tmp_path, tiny_cohort(2))
    with pytest.raises(InputError, match="another configuration"):
        run_trial(settings_of(seed=1), tmp_path, tiny_cohort(2))


def test_divergence_is_one_sentence(tiny_cohort, tmp_path):
    settings = settings_of(training={"learning_rate": 1e18}, objective={"lambda": 1.0})
    with pytest.raises(TrialFailed, match=r"not finite in epoch \d"):
        run_trial(settings, tmp_path, tiny_cohort(2))
    assert not (tmp_path / "pairs.parquet").exists()


def test_a_displacement_that_is_not_finite_is_not_measured():
    model = VoxelMorph(2)
    with torch.no_grad():
        for convolution in model.field.convolutions:
            convolution.weight.fill_(1e20)
    sample: Any = {"id": "s1", "image": torch.ones(1, 16, 16)}
    with pytest.raises(TrialFailed, match="displacement by the network of s1 to s1 is not finite"):
        by_network(model, settings_of(), torch.device("cpu"))(sample, sample)


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 half a file"])
def test_a_damaged_checkpoint_is_one_sentence(damage, tiny_cohort, tmp_path):
    tmp_path.joinpath("checkpoint.pt").write_bytes(damage)
    with pytest.raises(InputError, match=r"checkpoint\.pt is damaged .*delete it"):
        run_trial(settings_of(), tmp_path, tiny_cohort(2))


def test_a_gpu_that_is_not_there_is_one_sentence(tiny_cohort, tmp_path):
    with pytest.raises(InputError, match="cuda:99"):
        run_trial(settings_of(compute={"device": "cuda:99"}), tmp_path, tiny_cohort(2))


def test_an_unwritable_folder_is_one_sentence(tiny_cohort, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"cannot write .*file"):
        run_trial(settings_of(), tmp_path / "file" / "trial", tiny_cohort(2))


@pytest.fixture
def largest_file():
    """A function that limits the size of files, so that writing fails as on a full disk."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", ["checkpoint.pt", "model.safetensors"])
def test_a_full_disk_is_one_sentence_and_what_was_there_stays(name, tiny_cohort, tmp_path, largest_file):
    if name == "model.safetensors":
        run_trial(settings_of(), tmp_path, tiny_cohort(2))
        for file in (name, "pairs.parquet"):
            (tmp_path / file).unlink()
    before = {path: path.read_bytes() for path in tmp_path.glob("checkpoint.pt")}
    largest_file(300_000)
    with pytest.raises(InputError, match=rf"cannot write .*{name}: File too large\. Free space"):
        run_trial(settings_of(), tmp_path, tiny_cohort(2))
    assert not list(tmp_path.glob(f"*{name}*"))
    assert {path: path.read_bytes() for path in tmp_path.glob("checkpoint.pt")} == before


def test_without_its_rows_a_trial_writes_every_file_anew_and_trains_nothing(tiny_cohort, tmp_path):
    run_trial(settings_of(), tmp_path / "whole", tiny_cohort(2))
    shutil.copytree(tmp_path / "whole", tmp_path / "part")
    for path in (tmp_path / "part").iterdir():
        if path.name != "checkpoint.pt":
            path.unlink()
    stages: list[str] = []
    run_trial(settings_of(), tmp_path / "part", tiny_cohort(2), lambda event: stages.append(event.stage))
    assert "training" not in stages
    assert_same(tmp_path / "whole", tmp_path / "part")
    assert {path.name for path in (tmp_path / "part").iterdir()} == {
        path.name for path in (tmp_path / "whole").iterdir()
    }


@pytest.mark.parametrize(
    ("size", "sentence"),
    [
        ([5, 32], "the images have 5x32 voxels, but registration needs at least 6 along each axis; give a larger"),
        (
            [500_000, 500_000],
            "12 subjects of 500000x500000 voxels need 16,764 GiB, but .* GiB free; reduce",
        ),
    ],
)
def test_a_size_that_cannot_be_used_is_refused_with_the_data(size, sentence, tiny_cohort):
    with pytest.raises(InputError, match=sentence):
        prepare(settings_of(cohort={"size": size}), tiny_cohort(2))


@pytest.mark.parametrize("penalty", ["l2", "bending-hessian", "bending-laplacian", "bending-pure"])
def test_the_smallest_images_are_registered(penalty, tiny_cohort, tmp_path):
    run_trial(settings_of(cohort={"size": [6, 6]}, objective={"penalty": penalty}), tmp_path, tiny_cohort(2))


def test_bfloat16_stays_close_to_float32(tiny_cohort, tmp_path):
    for precision in ("float32", "bfloat16"):
        run_trial(settings_of(training={"precision": precision}), tmp_path / precision, tiny_cohort(2))
    exact, half = (results(tmp_path / precision)[0]["mse"].to_numpy() for precision in ("float32", "bfloat16"))
    assert not np.array_equal(exact, half)
    np.testing.assert_allclose(half, exact, rtol=0.05)


def test_progress_tells_where_a_trial_is(tiny_cohort, tmp_path):
    events: list[TrialProgress] = []
    run_trial(settings_of(), tmp_path, tiny_cohort(2), events.append)
    stages = list(dict.fromkeys(event.stage for event in events))
    assert stages[-3:] == ["training", "evaluating", "done"]
    last = [event for event in events if event.stage == "training"][-1]
    assert (last.done, last.total) == (12, 12)


# λ as a field, and both directions


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("penalty", ["l2", "l2+0.5*gradicon"])
def test_a_weight_map_by_structure_is_part_of_training_validation_and_rows(dims, penalty, tiny_cohort, tmp_path):
    objective = {"penalty": penalty, "lambda": 1.0}
    for name, inside in (("plain", 1.0), ("stiff", 50.0), ("none", 0.0)):
        weights = {"weight_map": {"labels": [1], "inside": inside, "outside": inside}}
        settings = settings_of(dims, objective={**objective, **weights}, training={"epochs": 1})
        run_trial(settings, tmp_path / name, tiny_cohort(dims))
    histories = {name: pd.read_parquet(tmp_path / name / "history.parquet") for name in ("plain", "stiff", "none")}
    first = settings_of(dims, objective=objective, training={"epochs": 1})
    run_trial(first, tmp_path / "without", tiny_cohort(dims))
    without = pd.read_parquet(tmp_path / "without" / "history.parquet").drop(columns="seconds")
    pd.testing.assert_frame_equal(histories["plain"].drop(columns="seconds"), without)
    assert (histories["none"]["validation_penalty"] == 0).all()
    assert (histories["stiff"]["validation_penalty"] != histories["plain"]["validation_penalty"]).all()
    rows = pd.read_parquet(tmp_path / "none" / "pairs.parquet")
    assert rows["loss"].to_numpy() == pytest.approx(rows["mse"].to_numpy())
    assert ("displacement_gradicon" in rows) == ("gradicon" in penalty)
    assert not [name for name in rows if name.startswith("velocity_gradicon")]


def test_a_weight_map_of_a_structure_that_is_not_there_is_told(tiny_cohort, tmp_path):
    settings = settings_of(objective={"weight_map": {"labels": [7], "inside": 2}})
    with pytest.raises(InputError, match=r"objective\.weight_map\.labels has 7, but the label maps have 1 \("):
        run_trial(settings, tmp_path, tiny_cohort(2))
    for key, value in (("labels", [0]), ("inside", -1), ("outside", float("nan"))):
        with pytest.raises(InputError, match=rf"objective\.weight_map\.{key}"):
            settings_of(objective={"weight_map": {key: value}})


def test_an_augmentation_must_not_leave_the_label_of_a_weight_map_behind(tiny_cohort, tmp_path):
    flip = {"transform": "RandFlipd", "keys": ["moving", "fixed"], "prob": 0.5}
    weights = {"weight_map": {"labels": [1], "inside": 2}}
    settings = settings_of(objective=weights, training={"augment": [flip]})
    with pytest.raises(InputError, match=r"training\.augment\[0\] \(RandFlipd\) moves fixed, but not fixed_label"):
        run_trial(settings, tmp_path / "one", tiny_cohort(2))
    whole = flip | {"keys": ["moving", "fixed", "moving_label", "fixed_label"]}
    noise = {"transform": "RandGaussianNoised", "keys": ["moving", "fixed"], "prob": 1.0, "std": 0.01}
    run_trial(settings_of(objective=weights, training={"augment": [whole, noise]}), tmp_path / "two", tiny_cohort(2))


EACH = list(itertools.zip_longest(PENALTIES, [*SIMILARITIES, "mse+gradient-mse"]))
"""Every penalty and every similarity once."""


@pytest.mark.parametrize(("penalty", "similarity"), EACH)
@pytest.mark.parametrize("dims", [2, 3])
def test_steps_of_training_stay_finite_under_every_penalty_and_similarity(dims, penalty, similarity):
    objective = {"penalty": penalty or "l2", "lambda": 1.0, "similarity": similarity or "mse"}
    settings = settings_of(dims, objective=objective)
    model = build_model(settings)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    step = build_step(settings, model, build_objective(settings), build_optimizer(settings, model))
    moving, fixed = torch.rand(2, 2, 1, *[16] * dims, generator=torch.Generator().manual_seed(0))
    terms = [torch.stack(list(step(moving, fixed))) for _ in range(3)]
    assert torch.isfinite(torch.stack(terms)).all()
    assert any(not torch.equal(value, before[name]) for name, value in model.state_dict().items())

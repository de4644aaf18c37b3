"""What the benchmark compares: for each case both sides, on the same weights and inputs, and how far they differ."""

import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..networks import from_official, to_official
from ..networks.official import import_voxelmorph
from ..pipeline import training
from ..pipeline.allocator import keep_freed_memory
from ..pipeline.config import TrialSettings, parse
from ..pipeline.metrics import overlap_metrics
from ..pipeline.preparation import prepare as prepare_trial
from ..pipeline.training import autocast, build_model, build_objective, build_optimizer, training_step
from ..pipeline.trial import run_trial
from ..transforms import jacobian_statistics
from .executors import LocalExecutor
from .jobs import Job

LAMBDA, LOSS_MULT = 0.01, 2.0


@dataclass(frozen=True)
class Sides:
    """Both sides as functions without arguments, and the largest relative differences of outputs and of gradients."""

    official: Callable[[], Any]
    ours: Callable[[], Any]
    difference: float | None = None
    gradient_difference: float | None = None


@dataclass(frozen=True)
class Case:
    """One comparison."""

    name: str
    title: str
    prepare: Callable[..., Sides]
    shape: tuple[int, ...] = ()
    precision: str = "float32"
    rounds: int = 10
    warm_up: int = 2
    repeats: int = 1
    """Runs in a turn, where one is short: in training a step follows a step."""
    memory: bool = False
    together: bool = False
    """Both sides in one process: the second is a part of the first."""
    tolerance: float = 3e-5
    """Of outputs, relative. Official float32 results are up to 2e-5 from its own in double precision, in which the
    parity tests find both codes equal to 1e-10."""


def synchronize(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def device_name(device: str) -> str:
    if device == "cpu":
        return "cpu"
    return torch.cuda.get_device_name()


def memory_peak(device: str) -> float:
    """The most memory held so far, GB (10^9 bytes): by tensors on a GPU, by the whole process on a CPU."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated() / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def _settings(shape: tuple[int, ...], precision: str, device: str = "cpu", threads: int | None = None) -> TrialSettings:
    content = {
        "cohort": {"spatial_dims": len(shape)},
        "objective": {"lambda": LAMBDA, "multiplier": LOSS_MULT},
        "training": {"precision": precision},
        "compute": {"device": device, "threads": threads},
    }
    return parse(TrialSettings, content, "benchmark")


def _networks(shape: tuple[int, ...], settings: TrialSettings, device: str) -> tuple[Any, Any, Tensor, Tensor]:
    """Official and our network with the same weights, whose fields are of about a voxel, and two smooth images."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about its meshgrid
        official = import_voxelmorph().networks.VxmDense(shape, int_steps=7, int_downsize=2)
    torch.nn.init.normal_(official.flow.weight, std=5.0)
    ours = build_model(settings)
    ours.load_state_dict(from_official(official.state_dict()).state_dict())
    mode = "bilinear" if len(shape) == 2 else "trilinear"
    coarse = torch.rand(2, 1, *[length // 8 for length in shape], generator=torch.Generator().manual_seed(0))
    moving, fixed = F.interpolate(coarse, shape, mode=mode)[:, None].to(device).unbind()
    return official.to(device), ours.to(device), moving, fixed


def _relative(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).detach().abs().max() / theirs.detach().abs().max())


def training_steps(case: Case, device: str, threads: int, quick: bool = False, only: str = "") -> Sides:
    """A whole step: forward, MSE + λ · 2 · L2, backward, Adam; as voxelmorph's ``scripts/torch/train.py``."""
    torch.set_num_threads(threads)
    if only == "ours":
        keep_freed_memory()  # as a trial does
    shape = tuple(16 for _ in case.shape) if quick else case.shape
    settings = _settings(shape, case.precision)
    network, model, moving, fixed = _networks(shape, settings, device)
    losses, objective = import_voxelmorph().losses, build_objective(settings)
    optimizers = torch.optim.Adam(network.parameters(), lr=1e-4), build_optimizer(settings, model)
    precision = autocast(settings, torch.device(device))

    def official() -> tuple[Tensor, Tensor, Tensor]:
        warped, velocity = network(moving, fixed)
        if len(shape) == 3:
            penalty = losses.Grad("l2", loss_mult=LOSS_MULT).loss(None, velocity)
        else:  # Grad of 0.2 is 3-D only; the same formula per axis
            penalty = LOSS_MULT * sum(velocity.diff(dim=axis).square().mean() for axis in (2, 3)) / 2
        loss = losses.MSE().loss(fixed, warped) + LAMBDA * penalty
        optimizers[0].zero_grad()
        loss.backward()
        optimizers[0].step()
        return warped, velocity, loss

    def ours() -> Any:
        return training_step(model, objective, optimizers[1], moving, fixed, precision)

    if only:
        return Sides(official, ours)
    with torch.no_grad(), precision:
        registration = model(moving, fixed)
    warped, velocity, loss = official()
    terms = ours()
    outputs = [(registration.warped, warped), (registration.velocity, velocity), (terms.loss, loss)]
    holder = from_official(network.state_dict())
    holder.load_state_dict({name: parameter.grad for name, parameter in model.named_parameters()})
    gradients = to_official(holder)
    pairs = [(gradients[name].to(device), parameter.grad) for name, parameter in network.named_parameters()]
    return Sides(official, ours, max(_relative(*pair) for pair in outputs), max(_relative(*pair) for pair in pairs))


def forward_passes(case: Case, device: str, threads: int, quick: bool = False, only: str = "") -> Sides:
    """Warped image and full displacement, without gradients."""
    torch.set_num_threads(threads)
    shape = tuple(16 for _ in case.shape) if quick else case.shape
    network, model, moving, fixed = _networks(shape, _settings(shape, case.precision), device)
    network.eval(), model.eval()

    def official() -> Any:
        with torch.no_grad():
            return network(moving, fixed, registration=True)

    def ours() -> Any:
        with torch.no_grad():
            return model(moving, fixed)

    if only:
        return Sides(official, ours)
    (warped, displacement), registration = official(), ours()
    outputs = [(registration.warped, warped), (registration.displacement, displacement)]
    return Sides(official, ours, max(_relative(*pair) for pair in outputs))


def evaluations(case: Case, device: str, threads: int, quick: bool = False, only: str = "") -> Sides:
    """Dice of 35 labels, folding, SDlogJ and non-diffeomorphic volume of one pair.

    The other side: voxelmorph's ``dice`` and ``jacobian_determinant``, and the rest in NumPy.
    """
    torch.set_num_threads(threads)
    shape = tuple(24 for _ in case.shape) if quick else case.shape
    utils = import_voxelmorph().py.utils
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(1, 3, *[length // 8 for length in shape], generator=generator)
    displacement = 3 * F.interpolate(coarse, shape, mode="trilinear")
    noise = torch.rand(2, 1, *[length // 8 for length in shape], generator=generator)
    labels = (36 * F.interpolate(noise, shape, mode="trilinear")).floor().short()[:, None]
    field, first, second = displacement[0].movedim(0, -1).numpy(), labels[0, 0, 0].numpy(), labels[1, 0, 0].numpy()
    displacement, warped, fixed = displacement.to(device), labels[0].to(device), labels[1].to(device)
    names = {value: str(value) for value in range(1, 36)}

    def official() -> dict[str, float]:
        determinant = utils.jacobian_determinant(field)
        return {
            "dice": float(np.mean(utils.dice(first, second, labels=list(names)))),
            "nonpositive_percent": float(100 * np.mean(determinant <= 0)),
            "sdlogj": float(np.log(np.clip(determinant, 1e-9, 1e9)).std()),
            "nondiffeomorphic_percent": _nondiffeomorphic_percent(field),
        }

    def ours() -> dict[str, float]:
        statistics = {name: float(value) for name, value in jacobian_statistics(displacement).items()}
        overlap = overlap_metrics(warped, fixed, names, (1.0,) * 3, hausdorff=False)
        return {**statistics, "dice": overlap["dice"]}

    theirs, own = official(), ours()
    return Sides(official, ours, max(abs(own[name] - value) / abs(value) for name, value in theirs.items()))


def _nondiffeomorphic_percent(field: np.ndarray) -> float:
    """Liu et al., IJCV 2024, in NumPy: (*spatial, 3) -> % of the volume. Plain corners, not our way of computing it."""
    points = field + np.stack(np.meshgrid(*map(np.arange, field.shape[:3]), indexing="ij"), axis=-1)
    halves = (slice(None, -1), slice(1, None))

    def at(*corner: int) -> np.ndarray:
        return points[tuple(halves[offset] for offset in corner)]

    def inverted(start: tuple[int, ...], ends: list[tuple[int, ...]], sign: int) -> float:
        sides = [at(*end) - at(*start) for end in ends]
        volumes = sign * np.einsum("...a,...a", sides[0], np.cross(sides[1], sides[2])) / 6
        return -np.minimum(volumes, 0).sum()

    total = 0.0
    for i, j, k in product((0, 1), repeat=3):
        sign = (1 - 2 * i) * (1 - 2 * j) * (1 - 2 * k)
        total += inverted((i, j, k), [(1 - i, j, k), (i, 1 - j, k), (i, j, 1 - k)], sign)
    for s, t in ((0, 1), (1, 0)):
        total += inverted((s, s, s), [(s, t, t), (t, s, t), (t, t, s)], t - s)
    return float(100 * total / 2 / np.prod([length - 1 for length in field.shape[:3]]))


def epoch_overhead(case: Case, device: str, threads: int, quick: bool = False, only: str = "") -> Sides:
    """Official: the time of `train` without its validation; ours: what of it was spent in the training steps."""
    torch.set_num_threads(threads)
    settings = _settings(case.shape, case.precision)
    content = settings.model_dump(mode="json", by_alias=True)
    content["cohort"]["subjects"] = 12
    content["pairs"] = {"validation": 1, "test": 1}
    content["training"] |= {"epochs": 1 if quick else 3, "steps_per_epoch": 4 if quick else 100}
    settings = parse(TrialSettings, content, "benchmark")
    prepared = prepare_trial(settings, None)
    spent = {"step": 0.0, "validation": 0.0}
    validate: Any = training.ValidationHandler.__call__

    def timed(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            synchronize(device)
            started = time.perf_counter()
            result = work(*arguments)
            synchronize(device)
            spent[name] += time.perf_counter() - started
            return result

        return run

    def whole() -> float:
        spent.update(step=0.0, validation=0.0)
        with (
            tempfile.TemporaryDirectory() as folder,
            patch.object(training, "training_step", timed("step", training.training_step)),
            patch.object(training.ValidationHandler, "__call__", timed("validation", validate)),
        ):
            started = time.perf_counter()
            training.train(settings, prepared, Path(folder), torch.device(device))
            return time.perf_counter() - started - spent["validation"]

    return Sides(whole, lambda: float(spent["step"]))


def studies(case: Case, device: str, threads: int, quick: bool = False, only: str = "") -> Sides:
    """Six trials, from their start to their rows: one worker with all threads against one worker per thread."""
    content = _settings(case.shape, case.precision, device).model_dump(mode="json", by_alias=True)
    content["cohort"]["subjects"] = 12
    content["pairs"] = {"validation": 4, "test": 4}
    content["training"] |= {"epochs": 1 if quick else 4, "steps_per_epoch": 2 if quick else 100}
    content["compute"]["threads"] = None
    trials = [parse(TrialSettings, {**content, "seed": seed}, "benchmark") for seed in range(2 if quick else 6)]

    def study(workers: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            jobs = [Job(str(trial.seed), trial, Path(folder) / str(trial.seed), None) for trial in trials]
            LocalExecutor(workers).run(jobs, run_trial, lambda _: None)

    return Sides(lambda: study(1), lambda: study(max(threads, 2)))


CASES = {
    case.name: case
    for case in (
        Case("step-2d", "step 160x192, float32", training_steps, (160, 192), rounds=12, repeats=10),
        Case(
            "step-2d-fast",
            "step 160x192, bfloat16",
            training_steps,
            (160, 192),
            "bfloat16",
            rounds=12,
            repeats=10,
            tolerance=0.1,
        ),
        Case("step-3d", "step 64x80x64, float32", training_steps, (64, 80, 64), rounds=8),
        Case(
            "step-3d-fast",
            "step 96x112x96, bfloat16",
            training_steps,
            (96, 112, 96),
            "bfloat16",
            6,
            memory=True,
            tolerance=0.1,
        ),
        Case(
            "forward-3d",
            "forward 160x192x224, float32",
            forward_passes,
            (160, 192, 224),
            rounds=3,
            warm_up=0,
            memory=True,
            tolerance=5e-5,
        ),
        Case("evaluation-3d", "evaluation 160x192x224", evaluations, (160, 192, 224), rounds=4, warm_up=1),
        Case("epoch", "epoch: all / its steps", epoch_overhead, (160, 192), "bfloat16", 3, 1, together=True),
        Case("study", "study: 1 worker / one a core", studies, (160, 192), "bfloat16", 2, 0),
    )
}

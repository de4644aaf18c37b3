"""One training step, ours against official VoxelMorph (PyPI voxelmorph 0.2), float32, on this machine.

    python benchmarks/training_step.py [--threads 2] [--rounds 40]

Both start from the same weights and see the same images. Before anything is timed, warped image, velocity, loss and
every gradient are compared; then the steps alternate, official, ours, official, ours, and the ratio is taken per
round. Writes ``benchmarks/results/training_step.json`` and prints a table.
"""

import argparse
import inspect
import json
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.update(VXM_BACKEND="pytorch", NEURITE_BACKEND="pytorch")
if not hasattr(inspect, "getargspec"):  # removed in Python 3.11, used by voxelmorph 0.2
    setattr(inspect, "getargspec", lambda function: inspect.getfullargspec(function)[:4])  # noqa: B010
warnings.simplefilter("ignore")

import torch  # noqa: E402
import voxelmorph as vxm  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from torch import Tensor  # noqa: E402

from smoothmorph.networks import from_official, to_official  # noqa: E402
from smoothmorph.pipeline.config import TrialSettings, parse  # noqa: E402
from smoothmorph.pipeline.training import autocast, build_model, build_objective, build_optimizer, training_step  # noqa: E402

CASES = {"2-D 160x192": (160, 192), "3-D 64x80x64": (64, 80, 64)}
LAMBDA, LOSS_MULT = 0.01, 2.0


def official_step(network, optimizer, moving: Tensor, fixed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The step of voxelmorph's ``scripts/torch/train.py``: MSE + λ · Grad('l2', loss_mult=2), Adam."""
    warped, velocity = network(moving, fixed)
    if velocity.ndim == 5:
        penalty = vxm.losses.Grad("l2", loss_mult=LOSS_MULT).loss(None, velocity)
    else:  # Grad of 0.2 is 3-D only; the same formula per axis
        penalty = LOSS_MULT * sum(velocity.diff(dim=axis).square().mean() for axis in (2, 3)) / 2
    loss = vxm.losses.MSE().loss(fixed, warped) + LAMBDA * penalty
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return warped, velocity, loss


def prepare(shape: tuple[int, ...]) -> tuple[Callable[[], object], Callable[[], object], float]:
    """Both steps on the same weights and images, and the largest relative difference between them."""
    torch.manual_seed(0)
    network = vxm.networks.VxmDense(shape, int_steps=7, int_downsize=2)
    torch.nn.init.normal_(
        network.flow.weight, std=0.3
    )  # a field of about a voxel, so that there is something to compare
    settings = parse(
        TrialSettings,
        {"cohort": {"spatial_dims": len(shape)}, "objective": {"lambda": LAMBDA, "multiplier": LOSS_MULT}},
        "benchmark",
    )
    ours, objective = build_model(settings), build_objective(settings)
    ours.load_state_dict(from_official(network.state_dict()).state_dict())
    coarse = torch.rand(2, 1, *[length // 8 for length in shape])  # blurred noise: as smooth as an image
    mode = "bilinear" if len(shape) == 2 else "trilinear"
    moving, fixed = torch.nn.functional.interpolate(coarse, shape, mode=mode)[:, None].unbind()
    optimizers = [torch.optim.Adam(network.parameters(), lr=1e-4), build_optimizer(settings, ours)]
    precision = autocast(settings, torch.device("cpu"))

    registration = ours(moving, fixed)
    warped, velocity, loss = official_step(network, optimizers[0], moving, fixed)
    terms = training_step(ours, objective, optimizers[1], moving, fixed, precision)
    pairs = [(registration.warped, warped), (registration.velocity, velocity), (terms.loss, loss)]
    pairs += [(gradient, parameter.grad) for gradient, parameter in _gradients(ours, network)]
    difference = max(float((a - b).detach().abs().max() / b.detach().abs().max()) for a, b in pairs)
    return (
        lambda: official_step(network, optimizers[0], moving, fixed),
        lambda: training_step(ours, objective, optimizers[1], moving, fixed, precision),
        difference,
    )


def _gradients(ours, network):
    holder = from_official(network.state_dict())
    holder.load_state_dict({name: parameter.grad for name, parameter in ours.named_parameters()})
    gradients = to_official(holder)
    return [(gradients[name], parameter) for name, parameter in network.named_parameters()]


def measure(shape: tuple[int, ...], rounds: int) -> dict[str, Any]:
    """Milliseconds per step (medians) and the median ratio with its quartiles."""
    official, ours, difference = prepare(shape)
    if difference > 1e-5:
        raise SystemExit(f"not the same computation: relative difference {difference:.1e}")
    times: dict[str, list[float]] = {"official": [], "ours": []}
    for step_round in range(rounds + 2):
        for name, step in (("official", official), ("ours", ours)):
            started = time.perf_counter()
            step()
            if step_round >= 2:  # the first two warm up
                times[name].append(1000 * (time.perf_counter() - started))
    ratios = [official / ours for official, ours in zip(times["official"], times["ours"], strict=True)]
    low, median, high = statistics.quantiles(ratios, n=4)
    return {
        "official_ms": statistics.median(times["official"]),
        "ours_ms": statistics.median(times["ours"]),
        "ratio": median,
        "ratio_quartiles": [low, high],
        "relative_difference": difference,
        "rounds": rounds,
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=40, help="in 2-D; a quarter of it in 3-D")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    results = {
        "cases": {
            name: measure(shape, arguments.rounds if len(shape) == 2 else max(arguments.rounds // 4, 5))
            for name, shape in CASES.items()
        },
        "threads": arguments.threads,
        "cpu": _cpu(),
        "versions": {name: version(name) for name in ("torch", "monai", "voxelmorph", "smoothmorph")},
        "python": platform.python_version(),
    }
    path = Path(__file__).parent / "results" / "training_step.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(results, indent=2) + "\n")
    table = Table("case", "official ms", "ours ms", "official / ours (quartiles)", "largest relative difference")
    for name, case in results["cases"].items():
        low, high = case["ratio_quartiles"]
        ratio = f"{case['ratio']:.2f} ({low:.2f} to {high:.2f})"
        table.add_row(
            name, f"{case['official_ms']:.1f}", f"{case['ours_ms']:.1f}", ratio, f"{case['relative_difference']:.1e}"
        )
    Console().print(table)


if __name__ == "__main__":
    main()

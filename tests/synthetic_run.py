"""A fast replacement for training: it writes all files of a trial, with realistic numbers, in milliseconds."""

import json
import os
import signal
import time
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter, map_coordinates

from smoothmorph.networks import PENALTIES
from smoothmorph.pipeline.settings.schema import TrialSettings
from smoothmorph.transforms.basics.errors import InputError

SHAPE = (80, 96)
BASELINES = {"identity": 50.0, "syn": 0.02, "elastix": 0.06}  # each as smooth as L2 with twice this λ
STIFFNESS = {"l1": 4.0, "l2": 1.0, "bending-hessian": 0.4, "bending-laplacian": 0.35, "bending-pure": 0.3}
LABELS = ("left white matter", "right white matter", "left gray matter", "right gray matter")


def fingerprint(settings: TrialSettings, root: Path | None, tell=None) -> str:
    """A fingerprint of the data as in the pipeline: it depends on the cohort and on the file ``data`` in the root."""
    data = (root / "data").read_text() if root and (root / "data").exists() else ""
    return json.dumps(settings.cohort.model_dump(mode="json")) + data


def trial(settings: TrialSettings, folder: Path, root: Path | None, report) -> None:
    """A trial controlled by ``root``: a file <verb>-<penalty>-<lambda> in it makes the trial fail, crash or be killed.

    ``kill`` kills it once, ``doom`` at every attempt. With a file ``sleep``, it locks the file ``asleep`` in its folder
    and sleeps.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "pairs.parquet").exists():
        return
    (folder / "trial.yaml").write_text(settings.to_yaml())
    print("a line for the log")
    history = make_history(settings)
    for epoch in range(1, settings.training.epochs + 1 if settings.model.trains else 0):
        history[:epoch].to_parquet(folder / "history.parquet")
        report(SimpleNamespace(stage="training", done=epoch, total=settings.training.epochs, message="loss 0.003"))
        misbehave(settings, folder, root)
    np.savez_compressed(folder / "examples.npz", allow_pickle=False, **make_examples(settings))
    make_rows(settings).assign(trial=folder.name).to_parquet(folder / "pairs.parquet")
    if root is not None:  # record which process ran it
        threads = os.environ.get("OMP_NUM_THREADS", "")
        (folder / "who.json").write_text(json.dumps([os.getpid(), settings.compute.threads, threads, os.getcwd()]))


def misbehave(settings: TrialSettings, folder: Path, root: Path | None) -> None:
    if root is None:
        return
    name = f"{settings.objective.penalty}-{settings.objective.weight:g}"
    if (root / f"fail-{name}").exists():
        raise InputError("training diverged: the loss is nan in epoch 1.")
    if (root / f"crash-{name}").exists():
        raise ZeroDivisionError("division\nby zero")
    if (root / "sleep").exists():
        import fcntl  # not on Windows

        with open(folder / "asleep", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            time.sleep(60)
    if (root / f"stop-{name}").exists():
        raise KeyboardInterrupt
    if (root / f"kill-{name}").exists():
        (root / f"kill-{name}").unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    if (root / f"doom-{name}").exists():
        os.kill(os.getpid(), signal.SIGKILL)


def _generator(settings: TrialSettings) -> np.random.Generator:
    name = f"{settings.objective.penalty} {settings.objective.weight} {settings.seed}"
    if settings.model.method in BASELINES:
        name = settings.model.method
    return np.random.default_rng(zlib.crc32(name.encode()))


def _smoothness(settings: TrialSettings) -> float:
    if settings.model.method in BASELINES:
        return BASELINES[settings.model.method]
    members = PENALTIES.terms(settings.objective.penalty)
    return 2 * settings.objective.weight * sum(term.weight * STIFFNESS.get(term.name, 1.0) for term in members)


def make_history(settings: TrialSettings) -> pd.DataFrame:
    """A history whose loss falls to a level that depends on penalty and λ."""
    generator, epochs = _generator(settings), np.arange(1, settings.training.epochs + 1)
    level = 0.0015 + 0.0009 * np.log10(1 + 300 * _smoothness(settings))
    train = level + 0.004 * np.exp(-epochs / 6) + 0.00008 * generator.standard_normal(len(epochs))
    columns = {"epoch": epochs}
    for part, values in (("train", train), ("validation", train * 1.06)):
        columns |= {f"{part}_loss": values, f"{part}_similarity": 0.8 * values, f"{part}_penalty": 0.2 * values}
    return pd.DataFrame({**columns, "seconds": 6.0})


def make_rows(settings: TrialSettings, labels: bool = True) -> pd.DataFrame:
    """The rows of all test pairs."""
    generator, count = _generator(settings), settings.pairs.test
    smooth, diffeomorphic = _smoothness(settings), settings.model.integration_steps > 0
    hardness = np.random.default_rng(settings.pairs.seed).normal(0, 1, count)  # the same for all models
    mse = 0.0009 + 0.0016 * np.log10(1 + 150 * smooth) + 0.00035 * hardness + generator.normal(0, 0.00005, count)
    folding = np.clip(0.012 / (smooth + 1e-3) * np.exp(0.5 * generator.standard_normal(count)) - 0.02, 0, 60)
    rows = pd.DataFrame(
        {
            "trial": "unknown",
            **settings.columns(),
            "moving": [f"subject-{index:03d}" for index in range(count)],
            "fixed": [f"subject-{index + 1:03d}" for index in range(count)],
            "mse_before": 0.0069 + 0.001 * hardness,
            "mse": mse,
            "ncc_before": 0.45,
            "ncc": 0.9 - 40 * mse,
            "loss": 1.3 * mse,
            "seconds": 4.0 if settings.model.method in BASELINES else 0.05,
        }
    )
    if labels:
        for place, label in enumerate(LABELS):
            rows[f"dice_before/{label}"] = 0.5 + 0.02 * place
            rows[f"dice/{label}"] = 0.76 - 40 * (mse - 0.001) + 0.02 * place
        rows["dice_before"], rows["dice"] = 0.53, rows[[f"dice/{label}" for label in LABELS]].mean(axis=1)
        rows["hd95_before"], rows["hd95"] = 5.5, 3.0 + 300 * mse
    for field, scale in (("displacement", 0.0 if diffeomorphic else 1.0), ("velocity", 1.0)):
        percent = np.where(folding * scale < 1e-4, 0.0, folding * scale)
        rows[f"{field}_nonpositive_percent"] = percent
        rows[f"{field}_nondiffeomorphic_percent"] = 1.3 * percent
        rows[f"{field}_sdlogj"] = 0.35 / (1 + 10 * smooth)
        rows[f"{field}_sdlogj_l2r"] = 0.1 / (1 + 10 * smooth)
        rows[f"{field}_det_min"] = 0.05
        rows[f"{field}_magnitude"] = 2.1
    return rows


def make_examples(settings: TrialSettings, pairs: int = 3) -> dict[str, np.ndarray]:
    """Head-like images of the first test pairs and a smooth displacement that folds if the penalty is weak."""
    width, reach = 5 + 12 * _smoothness(settings), 4.0 if settings.model.integration_steps else 9.0
    names = ("moving", "fixed", "warped", "displacement", "velocity")
    stacks: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for pair in range(pairs):
        generator = np.random.default_rng(pair)
        moving, fixed = _head(generator), _head(generator)
        displacement = gaussian_filter(generator.standard_normal((2, *SHAPE)), (0, width, width))
        displacement *= reach / np.abs(displacement).max()
        points = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij")) + displacement
        stacks["moving"].append(moving)
        stacks["fixed"].append(fixed)
        stacks["warped"].append(map_coordinates(moving, points, order=1))
        stacks["displacement"].append(displacement)
        stacks["velocity"].append(displacement[:, ::2, ::2] / 2)
    arrays = {name: np.stack(values).astype(np.float32) for name, values in stacks.items()}
    arrays["moving_id"] = np.array([f"subject-{index:03d}" for index in range(pairs)])
    arrays["fixed_id"] = np.array([f"subject-{index + 1:03d}" for index in range(pairs)])
    return arrays


def _head(generator: np.random.Generator) -> np.ndarray:
    x, y = np.meshgrid(np.linspace(-1, 1, SHAPE[0]), np.linspace(-1, 1, SHAPE[1]), indexing="ij")
    a, b, tilt = 0.75 + 0.06 * generator.standard_normal(3)
    radius = np.hypot(x / a, (y - 0.1 * (tilt - 0.75)) / b)
    texture = gaussian_filter(generator.standard_normal(SHAPE), 3)
    return np.clip(1 - radius, 0, 0.35) * 2 * (radius < 1) * (1 + 2 * texture) * (0.8 + 0.2 * (y > 0))

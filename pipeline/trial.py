"""Running one trial, from settings to rows, in a folder from which it can resume."""

import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from ..networks import VoxelMorph, save_model
from ..transforms.basics.atomic import remove_leftovers
from ..transforms.basics.errors import InputError, printable
from .cohorts.memory_allocator import keep_freed_memory
from .cohorts.preparation import Prepared, prepare
from .cohorts.splits import pairs_hash
from .evaluation.finished_pairs import FinishedPairs
from .evaluation.refined import by_refinement, digest_of_weights
from .evaluation.rows import by_network, evaluate
from .evaluation.vocabulary import REFINED
from .files.text import write_atomically, write_text
from .methods.without_training import by_baseline
from .models.trained_model import about
from .models.training_images import TrainingImages
from .settings.device import choose_device
from .settings.schema import TrialSettings, read_trial
from .settings.vocabulary import METHODS
from .training.failure import TrialFailed
from .training.shared import trained_for
from .training.weight_map import check_weight_map

__all__ = ["TrialFailed", "TrialProgress", "prepare", "run_trial"]

_PACKAGES = ("smoothmorph", "torch", "monai", "pytorch-ignite", "numpy", "pandas", "nibabel", "itk", "nilearn")
_FINISHED = "finished"  # folder of a baseline's finished pairs, removed when the trial is complete


@dataclass(frozen=True)
class TrialProgress:
    """The progress of a trial. ``stage`` is loading (subjects), training (steps), evaluating (pairs),
    refining (pairs) or done.

    Without a network, there is one stage between loading and done: registering (pairs).
    """

    stage: str
    done: int
    total: int
    message: str = ""


def run_trial(
    settings: TrialSettings, folder: Path, root: Path | None, progress: Callable[[TrialProgress], None] | None = None
) -> None:
    """Train (or resume), evaluate and write one trial. A complete trial is left as it is.

    ``pairs.parquet`` is written last: it exists only when the trial is complete. A trial that was killed or failed
    resumes from its last checkpoint; a baseline, which trains nothing, resumes after its last finished pair.

    Args:
        settings: the trial.
        folder: the trial's own folder.
        root: folder of the data; None for the phantom.
        progress: called with the progress so far.

    Raises:
        InputError: the data has a fault, the folder belongs to another configuration, the checkpoint is damaged, the
            disk is full, or the package of a baseline is not installed.
        TrialFailed: training diverged, or a baseline failed on a pair.
    """
    tell = progress or (lambda _: None)
    check_folder(settings, folder)
    method = METHODS[settings.model.method]
    method.require()
    if (folder / "pairs.parquet").exists():
        return
    write_text(folder / "trial.yaml", settings.to_yaml())
    remove_leftovers(folder)
    device = choose_device(settings.compute.device if method.has_objective else "cpu")
    if settings.compute.threads is not None:
        torch.set_num_threads(settings.compute.threads)
    keep_freed_memory()
    prepared = prepare(settings, root, lambda done, total: tell(TrialProgress("loading", done, total)))
    _describe(settings, prepared, folder, device)
    log = _Log(folder / "log.txt")
    if method.is_network:
        obtain = _train if method.trains else _take
        model = obtain(settings, prepared, folder, device, tell, log)
        rows, examples = _evaluate(model, settings, prepared, folder, device, tell)
    else:
        rows, examples = _register(settings, prepared, root, folder, device, tell, log)
    write_atomically(folder / "examples.npz", lambda path: _save_arrays(path, examples))
    write_atomically(folder / "pairs.parquet", lambda path: rows.to_parquet(path))
    FinishedPairs(folder / _FINISHED).clear()
    log(f"complete: {len(rows)} rows")
    tell(TrialProgress("done", len(rows), len(rows)))


Progress = Callable[[TrialProgress], None]
Results = tuple[pd.DataFrame, dict[str, np.ndarray]]


def _train(
    settings: TrialSettings, prepared: Prepared, folder: Path, device: torch.device, tell: Progress, log: "_Log"
) -> VoxelMorph:
    log(f"training on {device} with {torch.get_num_threads()} threads")
    train = METHODS[settings.model.method].load()
    model = trained_for(
        train, settings, prepared, folder, device, lambda *state: tell(TrialProgress("training", *state)), log
    )
    told = about(settings.trial_id(prepared.fingerprint), settings, TrainingImages.of(prepared))
    write_atomically(folder / "model.safetensors", lambda path: save_model(path, model, told))
    return model


def _take(
    settings: TrialSettings, prepared: Prepared, folder: Path, device: torch.device, tell: Progress, log: "_Log"
) -> VoxelMorph:
    """As :func:`_train`, with a network that was trained before."""
    log(f"registering on {device} with {torch.get_num_threads()} threads")
    check_weight_map(settings.objective, prepared)
    method = METHODS[settings.model.method]
    return method.load()(settings, prepared, log, **method.arguments).network


def _evaluate(
    model: VoxelMorph, settings: TrialSettings, prepared: Prepared, folder: Path, device: torch.device, tell: Progress
) -> Results:
    register = by_network(model, settings, device)
    steps = settings.refinement.steps
    columns = {REFINED: 0} if steps else {}
    rows, examples = evaluate(
        register, settings, prepared, lambda *state: tell(TrialProgress("evaluating", *state)), columns=columns
    )
    if not steps:
        return rows, examples
    refined, _ = evaluate(
        by_refinement(model, settings, device),
        settings,
        prepared,
        lambda *state: tell(TrialProgress("refining", *state)),
        finished=FinishedPairs(folder / _FINISHED, digest_of_weights(model)),
        columns={REFINED: steps},
    )
    return pd.concat([rows, refined], ignore_index=True), examples


def _register(
    settings: TrialSettings,
    prepared: Prepared,
    root: Path | None,
    folder: Path,
    device: torch.device,
    tell: Progress,
    log: "_Log",
) -> Results:
    method = METHODS[settings.model.method]
    log(f"registering with {method.name} on {device} with {torch.get_num_threads()} threads")

    def say(done: int, total: int, message: str) -> None:
        log(f"pair {done}/{total}: {message}")
        tell(TrialProgress("registering", done, total, message))

    if method.has_objective:
        check_weight_map(settings.objective, prepared)
        register = method.load()(settings, device, **method.arguments)
    elif method.reads_files:
        register = method.load()(settings, prepared, root, **method.arguments)
    else:
        register = by_baseline(settings)
    return evaluate(register, settings, prepared, say, finished=FinishedPairs(folder / _FINISHED))


def check_folder(settings: TrialSettings, folder: Path) -> None:
    """Refuse a folder that holds a trial of another configuration.

    Raises:
        InputError: its ``trial.yaml`` differs in anything but ``compute``, or cannot be read.
    """
    path = folder / "trial.yaml"
    if path.exists() and read_trial(path).identity() != settings.identity():
        raise InputError(f"{folder} holds a trial of another configuration; choose another folder or remove it.")


def _describe(settings: TrialSettings, prepared: Prepared, folder: Path, device: torch.device) -> None:
    environment = {
        "packages": {name: _version(name) for name in (*_PACKAGES, *settings.packages())},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "cpu",
        "threads": torch.get_num_threads(),
        "data": prepared.fingerprint,
        "subjects": {side: len(ids) for side, ids in vars(prepared.split).items()},
        "validation_pairs": pairs_hash(prepared.validation_pairs),
        "test_pairs": pairs_hash(prepared.test_pairs),
    }
    write_text(folder / "environment.json", json.dumps(environment, indent=2))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _save_arrays(path: Path, arrays: dict[str, Any]) -> None:
    with open(path, "wb") as file:  # given a path, NumPy would append .npz
        np.savez_compressed(file, **arrays)


class _Log:
    """Appends lines with date and time to ``log.txt``. A line that cannot be written does not stop the trial."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, line: str) -> None:
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {os.getpid()} {printable(line)}\n")
        except OSError:
            pass

"""Trials that share a conditional network: the first one trains it, the others take it from its file."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from filelock import FileLock, Timeout

from ...networks import ConditionalVoxelMorph, VoxelMorph, read_model, save_model
from ...transforms.basics.atomic import remove_leftovers
from ...transforms.basics.errors import InputError
from ..cohorts.preparation import Prepared
from ..files.text import write_atomically
from ..models.trained_model import about
from ..models.training_images import TrainingImages
from ..settings.schema import SHARED, TrialSettings

HISTORY = "history.parquet"
BETWEEN_LOOKS = 5.0
"""Seconds after which a waiting trial looks again."""
Train = Callable[..., Any]
Tell = Callable[[int, int, str], None]


def trained_for(
    train: Train,
    settings: TrialSettings,
    prepared: Prepared,
    folder: Path,
    device: torch.device,
    tell: Tell,
    log: Callable[[str], None],
) -> VoxelMorph:
    """Return the network of a trial: trained in its folder, or a shared one at the penalty and λ of the trial.

    A shared network is trained in ``networks/ID`` beside the folders of the trials. Meanwhile other trials wait. The
    trial's own folder gets a copy of the history, also after every epoch of the training.

    Args:
        train: has the signature of :func:`.loop.train`.
        settings, prepared, folder, device, log: see there.
        tell: called with (steps done, total steps, message).

    Raises:
        InputError: the shared file holds an ordinary network, or is damaged.
    """
    if settings.objective.condition.of_each is None:
        return train(settings, prepared, folder, device, tell, log)
    shared = folder.parent / SHARED / settings.training_id(prepared.fingerprint)
    file = shared / "model.safetensors"
    shared.mkdir(parents=True, exist_ok=True)

    def report(done: int, steps: int, message: str) -> None:
        if _is_newer(shared / HISTORY, folder / HISTORY):
            _copy_history(shared, folder)
        tell(done, steps, message)

    with _alone(shared / ".lock", lambda: report(*_steps_done(settings, shared))):
        if not file.is_file():
            remove_leftovers(shared)
            network = train(settings, prepared, shared, device, report, log)
            note = about(shared.name, settings.at(*network.recommended), TrainingImages.of(prepared))
            write_atomically(file, lambda path: save_model(path, network, note))
    _copy_history(shared, folder)
    network, _ = read_model(file)
    if not isinstance(network, ConditionalVoxelMorph):
        raise InputError(f"{file} holds an ordinary network; delete it to train it again.")
    return network.at(settings.objective.penalty, settings.objective.weight).to(device)


@contextmanager
def _alone(lock: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold a lock; ``waiting`` is called again and again until another process gives it up or ends."""
    file = FileLock(lock)
    while True:
        try:
            file.acquire(timeout=BETWEEN_LOOKS)
            break
        except Timeout:
            waiting()
    try:
        yield
    finally:
        file.release()


def _is_newer(theirs: Path, own: Path) -> bool:
    """Whether there is a file that is newer than its copy, or has none."""
    return theirs.is_file() and (not own.is_file() or own.stat().st_mtime < theirs.stat().st_mtime)


def _copy_history(shared: Path, folder: Path) -> None:
    content = (shared / HISTORY).read_bytes()
    write_atomically(folder / HISTORY, lambda path: path.write_bytes(content))


def _steps_done(settings: TrialSettings, shared: Path) -> tuple[int, int, str]:
    try:
        epochs = pq.read_metadata(shared / HISTORY).num_rows
    except (OSError, pa.ArrowException):  # not yet written
        epochs = 0
    steps = settings.training.steps_per_epoch
    return epochs * steps, settings.training.epochs * steps, "by another trial, which shares the network"

"""Functions that run on the nodes of a Ray cluster: a check of the node, and the trials. Imports no Ray."""

import pickle
import platform
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....pipeline.settings.schema import TrialSettings
from ....transforms.basics.errors import InputError
from ..jobs import Event, Job, Task, attempt_quietly

if TYPE_CHECKING:
    from ....pipeline.cohorts.preparation import Prepared

SECONDS_BETWEEN_NEWS = 0.5


def look(flag: Path, data: Sequence[tuple[TrialSettings, Path | None]]) -> tuple[str, list[str]]:
    """Check this node.

    Args:
        flag: a file in the folder of the run.
        data: settings and root of each data configuration.

    Returns:
        a sentence if the folder of the run cannot be used here (else empty), and the fingerprint of each cohort (empty
        if it cannot be read here).
    """
    from ...store.run_folder import check_writable

    try:
        _check_shared(flag)
        check_writable(flag.parent)
    except InputError as error:
        return str(error), []
    return "", [_fingerprint(settings, root) for settings, root in data]


def _check_shared(flag: Path) -> None:
    if not flag.exists():
        raise InputError(
            f"the node {platform.node()} does not see the run folder {flag.parent}; give a folder with --out that all "
            "nodes see under the same path."
        )


def _fingerprint(settings: TrialSettings, root: Path | None) -> str:
    from ....pipeline.cohorts.preparation import find_data

    try:
        return find_data(settings.cohort, settings.split, root, settings.pairs)[0].fingerprint()
    except (InputError, OSError):
        return ""


def work(task: Task, job: Job, flag: Path, mailbox: Any, data: "Prepared | None") -> Event:
    """Run one trial, on ``data`` if they were sent, else on the data that this node reads itself."""
    progress = _progress_to(job.trial, mailbox)
    try:
        _check_shared(flag)  # this node may have joined after the others were checked
    except InputError as error:
        return Event(job.trial, "failed", str(error))
    if data is not None:
        from ....pipeline.cohorts.preparation import remember

        remember(job.settings, job.root, as_tensors(data))
    return attempt_quietly(task, job, progress)


def _progress_to(trial: str, mailbox: Any) -> Callable[[Any], None]:
    """Tell the mailbox that the trial has started; return a function that reports progress, at most twice a second."""
    last = float("-inf")

    def tell(progress: Any) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_NEWS:
            last = now
            mailbox.tell.remote(trial, pickle.dumps(progress))

    tell(None)
    return tell


def as_arrays(prepared: "Prepared") -> "Prepared":
    """Replace tensors by NumPy arrays: Ray shares arrays among the processes of a node, but would copy tensors."""
    import torch

    return _map_samples(prepared, lambda value: value.numpy() if isinstance(value, torch.Tensor) else value)


def as_tensors(prepared: "Prepared") -> "Prepared":
    """Undo `as_arrays`, without copying; the tensors must not be written to."""
    import numpy as np
    import torch

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return _map_samples(prepared, lambda value: torch.from_numpy(value) if isinstance(value, np.ndarray) else value)


def _map_samples(prepared: "Prepared", function: Callable[[Any], Any]) -> "Prepared":
    samples: Any = {
        subject: {part: function(value) for part, value in sample.items()}
        for subject, sample in prepared.samples.items()
    }
    return replace(prepared, samples=samples)

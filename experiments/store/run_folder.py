"""The folder of a run, ``runs/<study>/``: its study, and the state of each trial.

study.yaml  <trial id>/...  archive/...  tables/...  figures/...  report.html  .lock  .running.json
"""

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...pipeline.files.strict_yaml import read_yaml
from ...pipeline.files.text import write_text
from ...pipeline.settings.schema import SHARED, TrialSettings, read_trial
from ...transforms.basics.errors import InputError
from ..study.published_numbers import ENDING, write_numbers
from ..study.setting_keys import leaves_of
from ..study.study import Study, load_study
from .archive import archived_epochs
from .run_lock import noted, running_trials
from .trial_tables import how_to_mend, lacks_pairs, read_parquet

MADE = (SHARED, "tables", "figures", "report.html", "archive", f"study{ENDING}")
"""Files that are made from the trials or for several of them, and the published numbers beside the study."""
NOTES = (".yaml", ".json", ".txt")
"""Files of a trial that took no time to compute."""
ANOTHER = "choose another folder with --out"
MOST_NAMED = 3
"""A message names this many settings in which two studies differ."""
State = Literal["complete", "running", "partial", "failed", "missing", "damaged"]


@dataclass(frozen=True)
class Run:
    """A study and the folder of its trials; ``trials`` maps identifiers to settings."""

    path: Path
    study: Study
    trials: Mapping[str, TrialSettings]


@dataclass(frozen=True)
class TrialState:
    """The state of one trial: the ``epochs`` done, and the ``reason`` if it failed or is damaged."""

    state: State
    epochs: int = 0
    reason: str = ""


def open_run(path: Path) -> Run:
    """Read the study of a run folder.

    Raises:
        InputError: ``path`` holds no run, or its ``study.yaml`` is damaged.
    """
    file = check_run(path)
    try:
        study, ids = load_study(str(file)), read_yaml(file).get("trials", [])
        if len(set(ids)) != len(study.trials) or len(ids) != len(study.trials):
            raise InputError(f"{file} names {len(set(ids))} trials, expected {len(study.trials)}.")
        for trial, settings in zip(ids, study.trials, strict=True):
            settings.check_id(trial, str(file))
    except InputError as error:
        raise InputError(
            f"{error} If it names a part of another package, install that package; otherwise delete {file} and run the "
            "study again; complete trials are kept."
        ) from None
    return Run(path, study, dict(zip(ids, study.trials, strict=True)))


def check_run(path: Path) -> Path:
    """Return the path of ``study.yaml`` in a run folder; raise InputError if there is none."""
    file = path / "study.yaml"
    if not file.is_file():
        raise InputError(f"{path} holds no run: {file} is missing; give a folder that `smoothmorph run` wrote.")
    return file


def claim(path: Path, study: Study, ids: Sequence[str]) -> Run:
    """Make ``path`` the folder of this study: create it, or check that it belongs to this study.

    An existing run may have fewer trials, or other ones if none of them computed anything, so that a setting that was
    refused can be corrected. A folder without ``study.yaml`` is accepted if it holds nothing but trials of this study
    and their outputs.

    Raises:
        InputError: the folder cannot be written, or it holds other settings, other data, or something else.
    """
    check_writable(path)
    if (path / "study.yaml").exists():
        _check_same(open_run(path), study, ids)
    else:
        _check_alone(path, set(ids).__contains__)
    write_text(path / "study.yaml", study.to_yaml(ids))
    if study.numbers is not None:
        write_numbers(path / "study.yaml", study.numbers)
    return Run(path, study, dict(zip(ids, study.trials, strict=True)))


def check_place(path: Path, study: Study, advice: str = ANOTHER) -> None:
    """Check, before the data are read, whether :func:`claim` would refuse the folder with any data.

    Args:
        path, study: the folder and what is to be in it.
        advice: what the user can do if the folder cannot be used.

    Raises:
        InputError: it would.
    """
    check_writable(path, advice)
    if not (path / "study.yaml").exists():
        names = "|".join({re.escape(trial.readable) for trial in study.trials})
        _check_alone(path, lambda name: bool(re.fullmatch(f"({names})_[0-9a-f]{{10}}", name)), advice)


def _check_alone(path: Path, is_trial: Callable[[str], bool], advice: str = ANOTHER) -> None:
    names = {entry.name for entry in path.iterdir() if not entry.name.startswith(".")} - {*MADE}
    if not all(map(is_trial, names)):
        raise InputError(f"{path} is not empty and has no study.yaml; {advice}.")


def check_writable(path: Path, advice: str = ANOTHER) -> None:
    """Create ``path``, and raise `InputError` unless files can be written there."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path) as file:
            file.write(b"smoothmorph")
            file.flush()
    except OSError as error:
        raise InputError(f"cannot write in {path}: {error.strerror}; {advice}.") from None


def _check_same(run: Run, study: Study, ids: Sequence[str]) -> None:
    """Raise InputError unless the study has every trial of the run that computed something; it may have more."""
    if set(run.trials) <= set(ids) or not _has_work(run):
        return
    wanted = [leaves_of(trial) for trial in study.trials]
    for trial in run.trials.values():
        held = leaves_of(trial)
        differences = [[key for key in held if held[key] != other[key]] for other in wanted]
        nearest = min(range(len(wanted)), key=lambda place: len(differences[place]))
        if keys := differences[nearest][:MOST_NAMED]:
            there = " and ".join(f"{key} = {held[key]!r}" for key in keys)
            here = " and ".join(f"{key} = {wanted[nearest][key]!r}" for key in keys)
            whole = f", or `smoothmorph run {run.path / 'study.yaml'} --out {run.path}` for all joined trials"
            raise InputError(
                f"{run.path} holds a run with {there}, but the study has {here}; "
                "use the same settings, or another folder with --out"
                f"{whole if set(ids) < set(run.trials) else ''}."
            )
    raise InputError(
        f"{run.path} holds results with the same settings but other data; "
        "use the same data root, or another folder with --out."
    )


def _has_work(run: Run) -> bool:
    """Whether anything in the folder of a run took time to compute: more than notes of settings and of failures."""
    if (run.path / SHARED).exists() or (run.path / "archive").exists():
        return True
    folders = [run.path / trial for trial in run.trials]
    return any(entry.suffix not in NOTES for folder in folders if folder.exists() for entry in _entries(folder))


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else [folder]


def trial_state(folder: Path, settings: TrialSettings, running: bool = False) -> TrialState:
    """The state of a trial, from the files in its folder; nothing is changed."""
    found = _look(folder, settings, running)
    # the folder may have been removed while it was read: then it is missing, not damaged
    return TrialState("missing") if found.state == "damaged" and not folder.exists() else found


def _look(folder: Path, settings: TrialSettings, running: bool) -> TrialState:
    if folder.exists() and not folder.is_dir():
        return TrialState("damaged", 0, f"{folder} is a file, expected a folder; move it away and run the study again.")
    epochs, fault = _epochs_done(folder / "history.parquet")
    if (folder / "pairs.parquet").exists():
        fault = damage(folder, settings) or fault
        return TrialState("damaged", epochs, fault) if fault else TrialState("complete", epochs)
    if running:
        return TrialState("running", epochs)
    if (folder / "failure.json").exists():
        reason = noted(folder / "failure.json").get("reason")
        return TrialState("failed", epochs, reason if isinstance(reason, str) else "the reason was not recorded")
    if fault:
        return TrialState("damaged", epochs, fault)
    return TrialState("partial", epochs) if folder.is_dir() and any(folder.iterdir()) else TrialState("missing")


def damage(folder: Path, settings: TrialSettings) -> str:
    """What is wrong with a complete trial, in one sentence; empty if nothing is wrong."""
    file = folder / "trial.yaml"
    try:
        if read_trial(file).identity() != settings.identity():
            return f"{file} belongs to another trial; delete the folder {folder} and run the study again."
    except InputError as error:
        return f"{error} To repair it, {how_to_mend(file)}."
    try:
        rows = read_parquet(path := folder / "pairs.parquet", folder.name)
        if lacks_pairs(rows, settings.pairs):
            return (
                f"{path} has {len(rows)} rows, expected one for each of the {settings.pairs.test} test pairs; "
                f"{how_to_mend(path)}."
            )
    except InputError as error:
        return str(error)
    return ""


def _epochs_done(path: Path) -> tuple[int, str]:
    if not path.exists():
        return 0, ""
    try:
        return len(read_parquet(path)), ""
    except InputError as error:
        return 0, str(error)


def states(run: Run) -> dict[str, TrialState]:
    """The state of each trial, also while a run is in progress. A trial without a folder may be in the archive."""
    asked = {trial: settings.pairs for trial, settings in run.trials.items()}
    running, archived = running_trials(run.path) or set(), archived_epochs(run.path, asked)
    found = {}
    for trial, settings in run.trials.items():
        state = trial_state(run.path / trial, settings, trial in running)
        kept = state.state == "missing" and trial in archived
        found[trial] = TrialState("complete", archived[trial]) if kept else state
    return found


def short_names(run: Run) -> dict[str, str]:
    """Identifiers of trials without their hash, if they are still unique."""
    names = {trial: trial.rpartition("_")[0] for trial in run.trials}
    return names if len(set(names.values())) == len(names) else {trial: trial for trial in run.trials}

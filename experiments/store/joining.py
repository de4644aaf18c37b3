"""Copy the trials of one run into another, so that both are in the same tables and figures."""

import itertools
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...pipeline.files.text import write_text
from ...pipeline.settings.schema import TrialSettings
from ...transforms.basics.atomic import temporary_folder
from ...transforms.basics.errors import InputError
from ..study.study import Group, Study, default_settings
from .archive import HISTORY, ROWS, environments, examples_file, read_archived, restore
from .run_folder import Run, open_run, states
from .run_lock import locked

if TYPE_CHECKING:
    import pandas as pd

WEIGHT = "objective.lambda"


def join(path: Path, other: Path) -> Run:
    """Copy the complete trials of the run in ``other`` into the run in ``path``, and add their groups to its study.

    So baselines of one study appear beside the networks of another, and two machines can share the trials of one study.
    Existing trials stay unchanged; joining again does nothing. Archived trials get folders again, without networks.

    Returns:
        the extended run.

    Raises:
        InputError: a folder holds no run, the runs do not have the same test pairs of the same data, or another run is
            writing in ``path``.
    """
    run, guest = open_run(path), open_run(other)
    _check_same_pairs(run, guest)
    archived = {name: dict(list(read_archived(other, name).groupby("trial"))) for name in (ROWS, HISTORY)}
    with locked(path):
        study = unite_studies(run.study, guest.study)
        known = {_identity(settings): trial for trial, settings in {**guest.trials, **run.trials}.items()}
        trials = {known[_identity(settings)]: settings for settings in study.trials}
        lacking = {trial for trial, found in states(run).items() if found.state == "missing"}
        for trial, found in states(guest).items():
            if found.state == "damaged":
                raise InputError(f"{other} has a damaged trial: {found.reason} Then repeat this command.")
            if found.state == "complete" and (trial not in run.trials or trial in lacking):
                tables = {name: kept[trial] for name, kept in archived.items() if trial in kept}
                _copy(guest, trial, tables, path / trial)
        write_text(path / "study.yaml", study.to_yaml(list(trials)))
    return Run(path, study, trials)


def unite_studies(study: Study, other: Study) -> Study:
    """The study plus those groups of the other that add trials; settings that differ between the bases go into them.

    If there are such groups, the title names both studies.
    """
    held, names = {_identity(trial) for trial in study.trials}, [group.name for group in study.groups]
    base, others = ({**default_settings(), **one.base} for one in (study, other))
    added: list[Group] = []
    for group in itertools.chain.from_iterable(_with_weight(other, group) for group in other.groups):
        if all(_identity(trial) in held for trial in replace(other, groups=(group,)).trials):
            continue
        whole = {**others, **group.settings}
        settings = {key: whole[key] for key in whole if key not in group.axes and whole[key] != base[key]}
        name = group.name if group.name not in names else f"{other.name}-{group.name}"
        added.append(Group(name, settings, group.axes))
    titles = [study.title, *([other.title] if added and other.title not in study.title.split("; ") else [])]
    return replace(study, title="; ".join(filter(None, titles)), groups=(*study.groups, *added))


def _with_weight(study: Study, group: Group) -> list[Group]:
    """The group with λ written out, if it has the default: once for penalties, once for sums, whose default is another.

    Where the base of another study sets λ, that would otherwise hold for this group, too.
    """
    if WEIGHT in {*study.base, *group.settings, *group.axes}:
        return [group]
    axis = next((key for key in group.axes if key.startswith("objective.penalt")), None)
    by_weight: dict[float, list[Any]] = {}
    for penalty in group.axes[axis] if axis else [None]:
        part = replace(group, axes={**group.axes, axis: (penalty,)}) if axis else group
        weight = replace(study, groups=(part,)).trials[0].objective.weight
        by_weight.setdefault(weight, []).append(penalty)
    return [
        replace(
            group,
            name=group.name if len(by_weight) == 1 else f"{group.name}-{weight:g}",
            settings={**group.settings, WEIGHT: weight},
            axes={**group.axes, axis: tuple(penalties)} if axis else group.axes,
        )
        for weight, penalties in by_weight.items()
    ]


def _check_same_pairs(run: Run, guest: Run) -> None:
    """Raise InputError unless the trials of both runs recorded the same data and the same test pairs."""
    for key, what in (("data", "data"), ("test_pairs", "test pairs")):
        noted = [{str(e.get(key)) for e in environments(one.path, one.trials).values()} for one in (run, guest)]
        for one, hashes in zip((run, guest), noted, strict=True):
            if not hashes:
                raise InputError(
                    f"{one.path} has no environment.json with the hash of its {what}, so runs cannot be compared; "
                    "run the study again."
                )
        if len(noted[0] | noted[1]) > 1:
            first, second = (" and ".join(sorted(hashes)) for hashes in noted)
            raise InputError(
                f"{run.path} and {guest.path} do not have the same {what} (hash {first}, and {second}); join only runs "
                "with the same pairs of the same data."
            )


def _copy(guest: Run, trial: str, archived: Mapping[str, "pd.DataFrame"], target: Path) -> None:
    """Copy a trial from its folder, otherwise from its tables in the archive; whole or not at all."""
    if target.exists():
        return
    source = guest.path / trial
    parts = (source, *source.rglob("*"), *filter(None, [examples_file(guest.path, trial)]))
    links = [path for path in parts if path.is_symlink()]
    if links:  # their targets may be anywhere
        raise InputError(f"{links[0]} is a symbolic link, expected a file; replace the link by its target.")
    try:
        with temporary_folder(target) as partial:
            if source.is_dir():
                shutil.copytree(source, partial, dirs_exist_ok=True)
            else:
                restore(guest.path, trial, guest.trials[trial], archived, partial)
            os.replace(partial, target)
    except (OSError, shutil.Error) as error:
        raise InputError(
            f"cannot copy {source} to {target}: {error}. Free some space, then repeat the command."
        ) from None


def _identity(settings: TrialSettings) -> str:
    return json.dumps(settings.identity(), sort_keys=True)

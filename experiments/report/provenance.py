"""Provenance of the numbers: the trials, their environments, and the commands that reproduce them."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ...pipeline.settings.vocabulary import METHODS, READERS
from ..rows.summaries import not_refined, pick
from ..store.run_folder import Run, short_names, states
from ..study.study import built_in_studies, load_study
from .blocks import Code, Table
from .tables import from_frame

Environment = Mapping[str, Any]


def trials_table(run: Run, rows: pd.DataFrame, history: pd.DataFrame) -> Table:
    """One line per trial: its state, its time, and its last losses."""
    found = states(run)
    lines = []
    for trial, name in short_names(run).items():
        past = pick(history, history["trial"] == trial) if len(history) else history
        own = not_refined(pick(rows, rows["trial"] == trial))
        line = {"trial": name, "state": found[trial].state}
        trained = run.trials[trial].model.trains
        line |= {"epochs": len(past), "of": run.trials[trial].training.epochs} if trained else {}
        line |= {"training (s)": past["seconds"].sum() if len(past) and "seconds" in past else None}
        for part in ("train", "validation"):
            line[f"last {part} loss"] = past[f"{part}_loss"].iloc[-1] if len(past) else None
        line |= {"test pairs": len(own), "per pair (s)": own["seconds"].mean() if len(own) else None}
        lines.append(line | {"hash": trial.rpartition("_")[2], "note": found[trial].reason or None})
    frame = pd.DataFrame(lines)
    for name in ("training (s)", "last train loss", "last validation loss", "per pair (s)"):
        frame[name] = frame[name].astype(float)
    note = "Trials with the same hash have the same settings and data."
    return from_frame("trials", frame, "All trials", note)


def environment(found: Mapping[str, Environment]) -> tuple[str, Table | None]:
    """A sentence on the environments of the trials, and a table with one column per different environment."""
    if not found:
        return "The environment.json of the trials was not kept, so the versions of the packages are unknown.", None
    noted = [_flat(own) for own in found.values()]
    kinds = [kind for place, kind in enumerate(noted) if kind not in noted[:place]]
    keys = list(dict.fromkeys(key for kind in kinds for key in kind))
    frame = pd.DataFrame({"what": keys})
    for kind in kinds:
        count = noted.count(kind)
        heading = "version" if len(kinds) == 1 else f"{count} trial{'s' * (count > 1)}"
        while heading in frame:
            heading += " "
        frame[heading] = [kind.get(key, "") for key in keys]
    # a package that a trial did not need is no difference
    differing = [key for key in keys if len({kind[key] for kind in kinds if key in kind}) > 1]
    words = f"The trials ran in {len(kinds)} environments, which differ in {', '.join(differing)}."
    same = f"All {len(found)} trials ran in the same environment." if len(found) > 1 else "There is only one trial."
    return words if differing else same, from_frame("environment", frame, "Versions", csv=False)


def _flat(noted: Environment) -> dict[str, str]:
    packages = noted.get("packages")
    flat = {key: str(noted[key]) for key in ("python", "platform", "device", "threads") if key in noted}
    return flat | {name: str(version) for name, version in (packages if isinstance(packages, dict) else {}).items()}


def version_of(found: Mapping[str, Environment]) -> str:
    """The version of smoothmorph that the trials ran with; empty if it was not recorded."""
    versions = dict.fromkeys(_flat(noted).get("smoothmorph", "") for noted in found.values())
    return " and ".join(filter(None, versions))


def reproduce(run: Run, found: Mapping[str, Environment]) -> list[Code]:
    """The commands that reproduce this run, and its study file."""
    study, file = run.study, f"{run.study.name}.yaml"
    built_in = study.name in built_in_studies() and load_study(study.name).trials == study.trials
    readers = [READERS[name] for name in READERS.in_order(trial.cohort.reader for trial in run.trials.values())]
    fetch = [f"smoothmorph data fetch {reader.archive} --to data" for reader in readers if reader.archive]
    folder = f"data/{readers[0].archive}" if len(readers) == 1 and readers[0].archive else "DIR"
    root = f" --data-root {folder}" if any(reader.on_disk for reader in readers) else ""
    own = {METHODS[trial.model.method].package for trial in run.trials.values()}
    others = sorted({name for trial in run.trials.values() for name in trial.packages()} - own)
    versions = {name: version for noted in found.values() for name, version in _flat(noted).items()}
    extras = "'.[baselines]'" if any(own) else "."
    commands = [
        f"pip install -c constraints.txt -e {extras}",
        # no command: a package index may have another package of this name
        *(f"# and {name} {versions.get(name, '')}".rstrip() + ", which is not part of smoothmorph" for name in others),
        *fetch,
        f"smoothmorph run {study.name if built_in else file}{root}",
        f"smoothmorph report runs/{study.name}",
    ]
    checkout = f"In a checkout of smoothmorph {version_of(found)}".rstrip()
    return [
        Code(checkout, "\n".join(commands)),
        Code(f"The study file, {file}", study.to_yaml(list(run.trials)), folded=True, file=file),
    ]

"""Tables of a run: its rows (one trial, one test pair), their summaries, and a comparison with published numbers.

Percentages are in percent (0..100) in every table.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ...pipeline.evaluation import REFINED
from ...pipeline.files.csv_tables import write_csv
from ...pipeline.files.text import write_atomically
from ...pipeline.settings.schema import REFINEMENT_STEPS, TrialSettings
from ...transforms.basics.errors import InputError
from ..rows.summaries import SETTINGS, not_refined, per_label, summary
from ..statistics import Analysis
from ..store.archive import HISTORY, ROWS, read_archived
from ..store.run_folder import Run, open_run, states, trial_state
from ..store.trial_tables import read_parquet
from ..study.published_numbers import beside_ours
from ..study.setting_keys import known_keys, leaves_of, value_in_words, varying_keys

__all__ = ["collect", "collect_history", "per_label", "published", "summary", "write_tables"]


def collect(run: Run | Path, trials: Iterable[str] | None = None) -> pd.DataFrame:
    """All rows of the complete trials (or of ``trials``), with a column for every further setting that varies.

    The rows of a trial without a folder come from the archive of the run.

    Raises:
        InputError: no run there, a file of a trial cannot be read, or a trial is damaged and ``trials`` was not given.
    """
    run = open_run(run) if isinstance(run, Path) else run
    archived = dict(iter(read_archived(run.path, ROWS).groupby("trial")))
    if trials is None:
        found = states(run)
        for state in found.values():
            if state.state == "damaged":
                raise InputError(state.reason)
        trials = [trial for trial, state in found.items() if state.state == "complete"]
    wanted = set(trials)
    return _stack(run, [trial for trial in run.trials if trial in wanted], "pairs.parquet", archived)


def collect_history(run: Run) -> pd.DataFrame:
    """The history of every trial that has one, complete or not: one row per trial and epoch.

    Raises:
        InputError: a file cannot be read.
    """
    archived = dict(iter(read_archived(run.path, HISTORY).groupby("trial")))
    wanted = []
    for trial, settings in run.trials.items():
        folder = run.path / trial
        own = (folder / "history.parquet").exists() and trial_state(folder, settings).state != "damaged"
        if own or (trial in archived and not folder.exists()):
            wanted.append(trial)
    return _stack(run, wanted, "history.parquet", archived)


def _stack(run: Run, trials: list[str], file: str, archived: Mapping[Any, pd.DataFrame]) -> pd.DataFrame:
    """The tables of trials, one below the other in the order of the study, with the settings in the first columns."""
    extra = further_settings(run)
    frames = []
    for trial in trials:
        path = run.path / trial / file
        frame = read_parquet(path, trial) if path.exists() else archived[trial].reset_index(drop=True)
        columns = {"trial": trial, **settings_columns(run.trials[trial], extra)}
        kept = frame.drop(columns=[name for name in columns if name in frame])
        frames.append(pd.concat([pd.DataFrame(columns, index=kept.index), kept], axis=1))
    whole = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
    if REFINED in whole:  # rows of a trial without refinement do not have it
        whole[REFINED] = whole[REFINED].fillna(0).astype(int)
    for key in whole.columns.intersection(extra):
        if any(isinstance(value, str) for value in whole[key].unique()):  # a column cannot hold both
            whole[key] = whole[key].map(
                lambda value: f"{value:g}" if isinstance(value, int | float) else value, "ignore"
            )
    return whole


def further_settings(run: Run) -> list[str]:
    """The dotted keys that vary among the trials of one method and have no column yet."""
    by_method: dict[str, list[TrialSettings]] = {}
    for trial in run.trials.values():
        by_method.setdefault(trial.model.method, []).append(trial)
    own = [trial for trial in run.trials.values() if trial.model.has_objective]
    has_column = {f"objective.{name}" for name in SETTINGS} | {"seed", "model.method"}
    if len({t.model.integration_steps for t in own}) == len({t.model.kind for t in own}):
        has_column.add("model.integration_steps")
    rest = {json.dumps({**leaves_of(trial), REFINEMENT_STEPS: None}, sort_keys=True) for trial in own}
    if len(rest) == len(own):  # no two trials differ in it alone: then the rows' own column says which are refined
        has_column.add(REFINEMENT_STEPS)
    varying = {key for trials in by_method.values() for key in varying_keys(trials) if _differs(trials, key)}
    return [key for key in known_keys() if key in varying - has_column]


def _differs(trials: Sequence[TrialSettings], key: str) -> bool:
    """Whether a setting differs among the trials that use it."""
    own = [trial for trial in trials if trial.concerns(key)]
    return bool(own) and key in varying_keys(own)


def settings_columns(settings: TrialSettings, extra: Sequence[str] = ()) -> dict[str, object]:
    """The settings of a trial as columns of its rows; a setting that its method does not use is empty."""
    leaves = leaves_of(settings)
    plain = {key: value_in_words(leaves[key]) for key in extra}
    return {**settings.columns(), **{key: plain[key] if settings.concerns(key) else math.nan for key in extra}}


def published(run: Run, rows: pd.DataFrame, history: pd.DataFrame) -> pd.DataFrame:
    """Published numbers of this study beside ours: by the same definitions, and in our usual metrics.

    Empty if nothing was published. A trial that is not complete has only its published numbers.
    """
    if run.study.numbers is None:
        return pd.DataFrame()
    identifiers = {settings: trial for trial, settings in run.trials.items()}
    groups = {
        group.name: {identifiers[t]: t for t in run.study.group_trials(group.name) if t in identifiers}
        for group in run.study.groups
    }
    return beside_ours(run.study.numbers, groups, not_refined(rows), history)


def write_tables(run: Run, rows: pd.DataFrame, history: pd.DataFrame, analysis: Analysis) -> pd.DataFrame:
    """Write every table of a run into ``tables/`` and return the summary.

    Raises:
        InputError: the folder cannot be written; earlier tables stay intact.
    """
    folder, whole = run.path / "tables", summary(rows)
    write_atomically(folder / "rows.parquet", rows.to_parquet)
    write_atomically(folder / "summary.parquet", whole.to_parquet)
    frames = {"summary": whole, "history": history, "per_label": per_label(rows), **analysis.tables}
    frames["published"] = published(run, rows, history)
    for name, frame in frames.items():
        if not frame.empty:
            write_csv(folder / f"{name}.csv", frame)
    return whole

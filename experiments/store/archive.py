"""The archive of a finished run, ``RUN/archive``: it replaces the folders of the trials and is small enough to commit.

rows.parquet  history.parquet  environments.json  examples/<trial>.npz

Rows and histories are in single precision. They have no settings; these are in ``study.yaml``. An archived trial
counts as complete.
"""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...pipeline.files.text import write_atomically, write_text
from ...transforms.basics.errors import InputError
from ...transforms.basics.npz import read_npz
from .run_lock import noted
from .trial_tables import how_to_mend, lacks_pairs, needed_columns, read_checked

if TYPE_CHECKING:
    import pandas as pd

    from ...pipeline.settings.schema import PairSettings, TrialSettings

FOLDER, ROWS, HISTORY = "archive", "rows.parquet", "history.parquet"
ENVIRONMENTS, EXAMPLES = "environments.json", "examples"
HALF = float(np.finfo(np.float16).max)
KEPT_ARRAYS = ("moving", "fixed", "warped", "displacement", "moving_id", "fixed_id")
EXAMPLES_AT_MOST = 100
"""Largest number of pairs in a file; a trial keeps 3."""


def archived_epochs(run: Path, asked: Mapping[str, PairSettings]) -> dict[str, int]:
    """The trials in the archive of a run, and the epochs of each; empty without an archive.

    Args:
        run: folder of the run.
        asked: the settings of each trial's pairs.

    Raises:
        InputError: the archive cannot be read, or it lacks pairs of a trial.
    """
    if not (run / FOLDER / ROWS).is_file():
        return {}
    history = read_archived(run, HISTORY)
    epochs = history.groupby("trial")["epoch"].max()
    rows = dict(list(read_archived(run, ROWS).groupby("trial")))
    for trial in asked:
        if trial in rows and lacks_pairs(rows[trial], asked[trial]):
            raise InputError(
                f"{run / FOLDER / ROWS} has {len(rows[trial])} rows of {trial}, expected one for each of its "
                f"{asked[trial].test} test pairs; archive the run again."
            )
    return {str(trial): int(epochs.get(trial, 0)) for trial in rows}


def read_archived(run: Path, name: str) -> pd.DataFrame:
    """``rows.parquet`` or ``history.parquet`` from the archive of a run; an empty table without an archive.

    Raises:
        InputError: the file cannot be read, has no rows or lacks a column.
    """
    import pandas as pd

    path = run / FOLDER / name
    columns = list(dict.fromkeys(("trial", *needed_columns(name))))
    if not path.is_file():
        return pd.DataFrame(columns=pd.Index(columns))
    return read_checked(path, columns, lambda: "archive the run again")


def examples_file(run: Path, trial: str) -> Path | None:
    """The file with the example pairs of a trial, in its folder or in the archive; None if there is none."""
    places = (run / trial / "examples.npz", run / FOLDER / EXAMPLES / f"{trial}.npz")
    return next((path for path in places if path.exists()), None)


def read_examples(path: Path) -> dict[str, np.ndarray]:
    """The ``KEPT_ARRAYS`` of a file of example pairs.

    Raises:
        InputError: the file is damaged, or its arrays do not match each other.
    """
    try:
        arrays = read_npz(path, KEPT_ARRAYS)
        whole = _belong_together(arrays)
    except PermissionError:  # not damaged
        raise
    except (OSError, ValueError, KeyError):
        raise InputError(f"{path} is damaged; {how_to_mend(path)}.") from None
    if not whole:
        raise InputError(f"{path} has arrays that are not example pairs; {how_to_mend(path)}.")
    return arrays


def _belong_together(arrays: Mapping[str, np.ndarray]) -> bool:
    """Whether all shapes and types are right: images (P, H, W), ``displacement`` (P, 2, H, W), names (P,)."""
    pairs, *plane = arrays["fixed"].shape
    shapes = {"displacement": (pairs, 2, *plane), "moving_id": (pairs,), "fixed_id": (pairs,)}
    return (
        len(plane) == 2
        and 0 < pairs <= EXAMPLES_AT_MOST
        and all(
            arrays[name].shape == shapes.get(name, (pairs, *plane))
            and arrays[name].dtype.kind == ("U" if name.endswith("_id") else "f")
            for name in KEPT_ARRAYS
        )
    )


def environments(run: Path, trials: Iterable[str]) -> dict[str, Mapping[str, Any]]:
    """What each trial recorded about its environment. Missing or damaged files are left out: no result needs them."""
    kept: dict[str, Any] = {}
    for kind in noted(run / FOLDER / ENVIRONMENTS, list):
        if isinstance(kind, dict) and isinstance(kind.get("trials"), list):
            kept |= {str(trial): kind.get("environment") for trial in kind["trials"]}
    found = {trial: noted(run / trial / "environment.json") or kept.get(trial) for trial in trials}
    return {trial: own for trial, own in found.items() if isinstance(own, dict)}


def write_archive(
    source: Path, out: Path, rows: pd.DataFrame, history: pd.DataFrame, settings: Sequence[str], pairs: int
) -> None:
    """Write ``out/archive`` from the run in ``source``.

    Args:
        source: folder of the run.
        out: folder of the archived run.
        rows: rows of the trials to keep.
        history: histories of the trials to keep.
        settings: the columns to drop, because ``study.yaml`` has them.
        pairs: example pairs to keep per configuration, from its first seed.

    Raises:
        InputError: the archive cannot be written.
    """
    from ..rows.summaries import pick  # it loads pandas

    folder, trials = out / FOLDER, list(map(str, rows["trial"].unique()))
    history = pick(history, history["trial"].isin(trials)) if len(history) else history
    for name, frame in ((ROWS, rows), (HISTORY, history)):
        small = frame.drop(columns=[column for column in settings if column in frame])
        doubles = {column: np.float32 for column, kind in small.dtypes.items() if kind == np.float64}
        small = small.astype(doubles)
        if not small.empty:  # a history is empty if no trial kept it
            write = functools.partial(small.to_parquet, index=False, compression="zstd")
            write_atomically(folder / name, write)
    kinds: list[dict[str, Any]] = []
    for trial, own in environments(source, trials).items():
        if own not in (kind["environment"] for kind in kinds):
            kinds.append({"environment": own, "trials": []})
        next(kind for kind in kinds if kind["environment"] == own)["trials"].append(trial)
    write_text(folder / ENVIRONMENTS, json.dumps(kinds, indent=1))
    same = [column for column in settings if column not in ("trial", "seed")]
    first_seeds = rows.sort_values("seed", kind="stable").drop_duplicates(same)[
        "trial"
    ]  # figures show only the first seed
    for trial in map(str, first_seeds) if pairs else ():
        path = examples_file(source, trial)
        if path is not None:
            write_atomically(
                folder / EXAMPLES / f"{trial}.npz", lambda target, path=path: _copy_examples(path, target, pairs)
            )


def restore(run: Path, trial: str, settings: TrialSettings, tables: Mapping[str, pd.DataFrame], folder: Path) -> None:
    """Write the files of an archived trial into ``folder``, as if it had run there; its network is not among them.

    Args:
        run: folder of the archived run.
        trial: identifier of the trial.
        settings: its settings.
        tables: its rows and history, by the archive's name of the file.
        folder: where to write.

    Raises:
        InputError: a file cannot be written.
    """
    write_text(folder / "trial.yaml", settings.to_yaml())
    write_text(folder / "environment.json", json.dumps(environments(run, [trial]).get(trial, {})))
    for name, table in tables.items():
        write = functools.partial(table.to_parquet, index=False, compression="zstd")
        write_atomically(folder / ("pairs.parquet" if name == ROWS else name), write)
    examples = examples_file(run, trial)
    if examples is not None:
        write_atomically(folder / "examples.npz", functools.partial(shutil.copyfile, examples))


def _copy_examples(source: Path, target: Path, pairs: int) -> None:
    """Copy the first pairs in half precision: exact to 1/500 voxel for displacements up to 4, enough for a picture.

    Arrays with values beyond half precision, such as unscaled intensities, keep their type.
    """
    arrays = {name: array[:pairs] for name, array in read_examples(source).items()}
    small: dict[str, Any] = {
        name: array.astype(np.float16) if array.dtype.kind == "f" and np.abs(array).max() <= HALF else array
        for name, array in arrays.items()
    }
    with open(target, "wb") as file:
        np.savez_compressed(file, **small)

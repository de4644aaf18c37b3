"""What is kept of a finished run when its trials' folders are not: ``RUN/archive``, small enough to be committed.

rows.parquet  history.parquet  environments.json  examples/<trial>.npz

Rows and histories are in single precision and without the settings, which are in ``study.yaml``. A trial that is in
there counts as complete.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...pipeline.files.text import write_atomically, write_text
from ...pipeline.settings.sections import PairSettings
from ...transforms.basics.errors import InputError
from ...transforms.basics.npz import read_npz
from .run_lock import noted
from .trial_tables import how_to_mend, lacks_pairs, needed_columns, read_checked

if TYPE_CHECKING:
    import pandas as pd

FOLDER, ROWS, HISTORY = "archive", "rows.parquet", "history.parquet"
ENVIRONMENTS, EXAMPLES = "environments.json", "examples"
HALF = float(np.finfo(np.float16).max)
KEPT_ARRAYS = ("moving", "fixed", "warped", "displacement", "moving_id", "fixed_id")
EXAMPLES_AT_MOST = 100
"""Pairs of a file; a trial keeps 3."""


def archived_epochs(run: Path, asked: Mapping[str, PairSettings]) -> dict[str, int]:
    """The trials in a run's archive and the epochs of each; empty without an archive.

    Args:
        run: the folder.
        asked: the pairs that the settings of each trial ask for.

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
                f"{run / FOLDER / ROWS} has {len(rows[trial])} rows of {trial}, not those of its {asked[trial].test} "
                "test pairs; archive the run again."
            )
    return {str(trial): int(epochs.get(trial, 0)) for trial in rows}


def read_archived(run: Path, name: str) -> pd.DataFrame:
    """``rows.parquet`` or ``history.parquet`` of a run's archive; without lines if there is none.

    Raises:
        InputError: it cannot be read, has no rows or lacks a column.
    """
    import pandas as pd

    path = run / FOLDER / name
    columns = list(dict.fromkeys(("trial", *needed_columns(name))))
    if not path.is_file():
        return pd.DataFrame(columns=pd.Index(columns))
    return read_checked(path, columns, lambda: "archive the run again")


def examples_file(run: Path, trial: str) -> Path | None:
    """Where the example pairs of a trial are, in its folder or in the archive; None if nowhere."""
    places = (run / trial / "examples.npz", run / FOLDER / EXAMPLES / f"{trial}.npz")
    return next((path for path in places if path.exists()), None)


def read_examples(path: Path) -> dict[str, np.ndarray]:
    """The ``KEPT_ARRAYS`` of a file of example pairs.

    Raises:
        InputError: it is damaged, or its arrays do not belong together.
    """
    try:
        arrays = read_npz(path, KEPT_ARRAYS)
        whole = _belong_together(arrays)
    except PermissionError:  # not damaged
        raise
    except (OSError, ValueError, KeyError):
        raise InputError(f"{path} is damaged; {how_to_mend(path)}.") from None
    if not whole:
        raise InputError(f"{path} has arrays that are no example pairs; {how_to_mend(path)}.")
    return arrays


def _belong_together(arrays: Mapping[str, np.ndarray]) -> bool:
    """Whether all are there: pictures (P, H, W), ``displacement`` (P, 2, H, W) and names (P,)."""
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
    """What trials noted about their environment. One whose file is missing or damaged is left out: it is not needed."""
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
        rows, history: of the trials to keep.
        settings: the columns that ``study.yaml`` tells.
        pairs: how many example pairs of each configuration's first seed to keep.

    Raises:
        InputError: it cannot be written.
    """
    from ..rows.summaries import pick  # it loads pandas

    folder, trials = out / FOLDER, list(map(str, rows["trial"].unique()))
    history = pick(history, history["trial"].isin(trials)) if len(history) else history
    for name, frame in ((ROWS, rows), (HISTORY, history)):
        small = frame.drop(columns=[column for column in settings if column in frame])
        doubles = {column: np.float32 for column, kind in small.dtypes.items() if kind == np.float64}
        small = small.astype(doubles)
        if not small.empty:  # else no trial kept its history
            write = functools.partial(small.to_parquet, index=False, compression="zstd")
            write_atomically(folder / name, write)
    kinds: list[dict[str, Any]] = []
    for trial, own in environments(source, trials).items():
        if own not in (kind["environment"] for kind in kinds):
            kinds.append({"environment": own, "trials": []})
        next(kind for kind in kinds if kind["environment"] == own)["trials"].append(trial)
    write_text(folder / ENVIRONMENTS, json.dumps(kinds, indent=1))
    same = [column for column in settings if column not in ("trial", "seed")]
    first_seeds = rows.sort_values("seed", kind="stable").drop_duplicates(same)["trial"]  # the figures show no other
    for trial in map(str, first_seeds) if pairs else ():
        path = examples_file(source, trial)
        if path is not None:
            write_atomically(
                folder / EXAMPLES / f"{trial}.npz", lambda target, path=path: _copy_examples(path, target, pairs)
            )


def _copy_examples(source: Path, target: Path, pairs: int) -> None:
    """The first pairs, in half precision: 1/500 of a voxel for displacements up to 4, enough for a picture.

    Larger numbers than half precision can hold, such as intensities that are not scaled, stay as they are.
    """
    arrays = {name: array[:pairs] for name, array in read_examples(source).items()}
    small: dict[str, Any] = {
        name: array.astype(np.float16) if array.dtype.kind == "f" and np.abs(array).max() <= HALF else array
        for name, array in arrays.items()
    }
    with open(target, "wb") as file:
        np.savez_compressed(file, **small)

"""The tables that a trial leaves behind: read and checked, and what to do when one of its files is damaged."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ..transforms.errors import InputError, one_line

COLUMNS = {
    "pairs.parquet": (
        *("moving", "fixed", "mse", "ncc", "loss", "seconds"),
        *("displacement_nonpositive_percent", "velocity_nonpositive_percent"),
    ),
    "history.parquet": ("epoch", "train_loss", "validation_loss"),
}
"""What the tables and figures need of every trial."""


def read_parquet(path: Path) -> pd.DataFrame:
    """Read the rows (``pairs.parquet``) or the history of a trial.

    Raises:
        InputError: missing, truncated or otherwise unreadable, without rows or without a column that it always has.
    """
    return read_checked(path, COLUMNS[path.name], how_to_mend(path))


def read_checked(path: Path, columns: Sequence[str], advice: str) -> pd.DataFrame:
    """Read a parquet file that must have ``columns`` and rows; ``advice`` ends the sentence where it has not.

    Raises:
        InputError: missing, truncated or otherwise unreadable, without rows or without one of the columns.
    """
    try:
        frame = pd.read_parquet(path)
    except PermissionError:  # not damaged
        raise
    except Exception as error:  # pyarrow raises many kinds, some of them OSError without a message
        raise InputError(f"{path} cannot be read ({one_line(error)}); {advice}.") from None
    missing = [name for name in columns if name not in frame]
    if missing or frame.empty:
        fault = f"has no column {missing[0]}" if missing else "has no rows"
        raise InputError(f"{path} {fault}; {advice}.")
    return frame


def how_to_mend(path: Path) -> str:
    """What to do about a damaged file of a trial.

    Without ``pairs.parquet`` a trial goes on from its checkpoint and writes every other file anew.
    """
    rows = path.with_name("pairs.parquet")
    files = " and ".join(str(file) for file in dict.fromkeys([path, rows]) if file == path or file.exists())
    return f"delete {files} and run the study again; what checkpoint.pt holds is not trained again"

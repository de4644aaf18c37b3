"""The tables that a trial leaves behind: read and checked, and what to do when one of its files is damaged."""

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
    try:
        frame = pd.read_parquet(path)
    except PermissionError:  # not damaged
        raise
    except Exception as error:  # pyarrow raises many kinds, some of them OSError without a message
        raise InputError(f"{path} cannot be read ({one_line(error)}); {how_to_mend(path)}.") from None
    missing = [name for name in COLUMNS[path.name] if name not in frame]
    if missing or frame.empty:
        fault = f"has no column {missing[0]}" if missing else "has no rows"
        raise InputError(f"{path} {fault}; {how_to_mend(path)}.")
    return frame


def how_to_mend(path: Path) -> str:
    """What to do about a damaged file of a trial.

    Without ``pairs.parquet`` a trial goes on from its checkpoint and writes every other file anew.
    """
    rows = path.with_name("pairs.parquet")
    files = " and ".join(str(file) for file in dict.fromkeys([path, rows]) if file == path or file.exists())
    return f"delete {files} and run the study again; what checkpoint.pt holds is not trained again"

"""The tables of a trial (rows and history): read within bounds, check, and advise what to do with a damaged one.

All rows and histories are read and checked here. A trial is complete if its rows pass the checks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...pipeline.evaluation import METRICS, REFINED
from ...transforms.basics.bounds import LARGEST_FLOAT32, LONGEST_ID, MOST_CELLS, MOST_ROWS
from ...transforms.basics.errors import InputError, one_line, quoted

if TYPE_CHECKING:
    import pandas as pd

    from ...pipeline.settings.schema import PairSettings

TEXTS = {"trial", "moving", "fixed", "moving_group", "fixed_group"}
TEXTS |= {"penalty", "model", "method", "similarity", "acts_on"}
OF_HISTORY = ("epoch", "train_loss", "validation_loss")


def needed_columns(file: str) -> tuple[str, ...]:
    """The columns that tables and figures need: of ``history.parquet``, or of rows in any other file."""
    return OF_HISTORY if file == "history.parquet" else ("moving", "fixed", *_required(), "loss", "trial")


def _required() -> list[str]:
    """The metrics that every row has. Others are optional: Dice needs label maps, and baselines have no loss."""
    return [name for name, metric in METRICS.items() if metric.required]


def _range(column: str) -> tuple[float, float]:
    """The range of possible values of a column."""
    metric = METRICS.of_column(column)
    return metric.range if metric else (0.0 if column.endswith("_penalty") else -np.inf, np.inf)


def read_parquet(path: Path, trial: str | None = None) -> pd.DataFrame:
    """Read the rows (``pairs.parquet``) or the history of a trial.

    Args:
        path: the file.
        trial: the identifier of the trial; None: any single trial.

    Raises:
        InputError: as in `read_checked`, or the file has rows of another trial or of several trials.
    """
    frame = read_checked(path, needed_columns(path.name), lambda: how_to_mend(path))
    owners = frame["trial"].unique() if "trial" in frame else []
    if len(owners) > 1 or (trial is not None and any(owner != trial for owner in owners)):
        raise InputError(f"{path} has rows of the trial {quoted(owners[-1])}; {how_to_mend(path)}.")
    return frame


def read_checked(path: Path, columns: Sequence[str], advice: Callable[[], str]) -> pd.DataFrame:
    """Read a parquet file of rows or histories and check its content; ``advice`` ends the sentence of an error.

    Raises:
        InputError: the file is missing, truncated or otherwise unreadable, has no rows, lacks one of ``columns``,
            exceeds the bounds, has text in place of numbers, an impossible number, a pair twice, or epochs other than
            1, 2, 3, ...
    """
    import pandas as pd

    try:
        texts = _check_bounds(path)
        frame = pd.read_parquet(path, read_dictionary=texts)  # a text that many rows share is stored once
        for name in texts:
            if frame[name].cat.categories.str.len().max() > LONGEST_ID:
                raise InputError(f"has a text of more than {LONGEST_ID} characters in {quoted(name)}")
            frame[name] = frame[name].astype(frame[name].cat.categories.dtype)
    except PermissionError:  # not damaged
        raise
    except InputError as fault:
        raise InputError(f"{path} {fault}; {advice()}.") from None
    except Exception as error:  # pyarrow raises many kinds, some of them OSError without a message
        raise InputError(f"{path} cannot be read ({one_line(error)}); {advice()}.") from None
    missing = [name for name in columns if name not in frame]
    faults = [f"has no column {missing[0]}"] if missing else ["has no rows"] if frame.empty else _faults(frame)
    for fault in faults:
        raise InputError(f"{path} {fault}; {advice()}.")
    return frame


def _check_bounds(path: Path) -> list[str]:
    """Check the size of a file by its metadata, before its columns are read; return the columns of text.

    Raises:
        InputError: more rows, cells or bytes than any study has.
        Exception: from pyarrow, if it is not a parquet file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        about = file.metadata
        rows, columns, schema = about.num_rows, about.num_columns, file.schema_arrow
        size = sum(about.row_group(place).total_byte_size for place in range(about.num_row_groups))
    if rows > MOST_ROWS or rows * columns > MOST_CELLS or size > 8 * MOST_CELLS:
        raise InputError(f"claims {rows:,} rows of {columns:,} columns in {size:,} bytes, more than any study has")
    return [column.name for column in schema if column.type in (pa.string(), pa.large_string())]


def _faults(frame: pd.DataFrame) -> Iterator[str]:
    """What is wrong with rows or histories. Faults that would hide others come first."""
    if not frame.columns.is_unique:
        yield "has two columns with the same name"
    finite = {*OF_HISTORY, *_required()}
    for name, column in frame.items():
        yield from _column_faults(str(name), column, name in finite)
    trial = frame.get("trial")
    if "moving" in frame:
        pairs = frame[["moving", "fixed", "trial", *frame.columns.intersection([REFINED])]]
        if pairs.isna().any(axis=None) or pairs.duplicated().any():
            yield "has a pair twice, or a row without its pair or trial"
        if (frame["loss"].isna().groupby(frame["trial"]).nunique() > 1).any():
            yield "has a loss in only some of the rows of a trial"
    elif (frame["epoch"] != (np.arange(len(frame)) if trial is None else frame.groupby(trial).cumcount()) + 1).any():
        yield "has other epochs than 1, 2, 3 and so on"


def _column_faults(name: str, column: pd.Series, finite: bool) -> Iterator[str]:
    """Text in place of numbers or the reverse, and numbers that are impossible in a column of this name."""
    from pandas.api.types import is_bool_dtype, is_numeric_dtype, is_string_dtype

    if column.isna().all() and not finite:
        return
    text, expected = name in TEXTS, "a text" if name in TEXTS else "numbers"
    if (is_string_dtype(column), is_numeric_dtype(column)) != (text, not text) or is_bool_dtype(column):
        yield f"has {quoted(column.head(1).tolist()[0])} in {quoted(name)}, expected {expected}"
    elif not text:
        values = column.to_numpy(dtype=float, na_value=np.nan)
        low, high = _range(name)
        wrong = np.abs(values) > LARGEST_FLOAT32  # archives are in single precision
        wrong |= (values < low) | (values > high)
        wrong |= np.isnan(values) & finite
        if wrong.any():
            yield f"has {values[wrong][0]:g} in {quoted(name)}, which is impossible"


def lacks_pairs(rows: pd.DataFrame, asked: PairSettings) -> bool:
    """Whether rows are missing: expected are ``asked.test`` pairs, or all pairs of the subjects if these are fewer.

    Only the data say how many pairs there are within groups, onto an atlas or in a file; then fewer are accepted.
    """
    ways = rows[REFINED].nunique() if REFINED in rows else 1  # each pair has a row with refinement and one without
    if asked.chosen:
        return not 0 < len(rows) <= ways * asked.test
    subjects = len({*rows["moving"], *rows["fixed"]})
    return len(rows) != ways * min(asked.test, subjects * (subjects - 1))


def how_to_mend(path: Path) -> str:
    """What to do about a damaged file of a trial.

    Without ``pairs.parquet`` a trial continues from its checkpoint and writes all other files again.
    """
    files = [str(file) for file in dict.fromkeys([path, path.with_name("pairs.parquet")]) if file.exists()]
    delete = f"delete {' and '.join(files)} and " if files else ""
    return f"{delete}run the study again; epochs saved in checkpoint.pt are not trained again"

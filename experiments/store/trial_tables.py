"""The tables that a trial leaves behind: read within bounds, judged, and what to do when one of them is damaged.

This is the one judgement of rows and histories: a trial is complete if its rows pass it, and nothing else reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...pipeline.evaluation import METRICS
from ...pipeline.settings.sections import PairSettings
from ...transforms.basics.bounds import LARGEST_FLOAT32, LONGEST_ID, MOST_CELLS, MOST_ROWS
from ...transforms.basics.errors import InputError, one_line, quoted

if TYPE_CHECKING:
    import pandas as pd

TEXTS = {"trial", "moving", "fixed", "moving_group", "fixed_group", "penalty", "model", "similarity", "acts_on"}
OF_HISTORY = ("epoch", "train_loss", "validation_loss")


def needed_columns(file: str) -> tuple[str, ...]:
    """What tables and figures need of every trial: of its ``history.parquet``, or of the rows in any other file."""
    return OF_HISTORY if file == "history.parquet" else ("moving", "fixed", *_required(), "loss", "trial")


def _required() -> list[str]:
    """The numbers that every row has; the loss only those of a network, and a Dice needs label maps."""
    return [name for name, metric in METRICS.items() if metric.required]


def _range(column: str) -> tuple[float, float]:
    """The numbers that can be in a column."""
    metric = METRICS.of_column(column)
    return metric.range if metric else (0.0 if column.endswith("_penalty") else -np.inf, np.inf)


def read_parquet(path: Path, trial: str | None = None) -> pd.DataFrame:
    """Read the rows (``pairs.parquet``) or the history of a trial.

    Args:
        path: the file.
        trial: whose rows they must be; None: of any one trial.

    Raises:
        InputError: as `read_checked`, or rows of another trial or of several.
    """
    frame = read_checked(path, needed_columns(path.name), lambda: how_to_mend(path))
    owners = frame["trial"].unique() if "trial" in frame else []
    if len(owners) > 1 or (trial is not None and any(owner != trial for owner in owners)):
        raise InputError(f"{path} has rows of the trial {quoted(owners[-1])}; {how_to_mend(path)}.")
    return frame


def read_checked(path: Path, columns: Sequence[str], advice: Callable[[], str]) -> pd.DataFrame:
    """Read a parquet file of rows or of histories and judge what is in it; ``advice`` ends the sentence of a fault.

    Raises:
        InputError: missing, truncated or otherwise unreadable, without rows or without one of ``columns``, beyond the
            bounds, text for numbers, a number that cannot be, a pair twice, or epochs that are not 1, 2, 3, ...
    """
    import pandas as pd

    try:
        texts = _check_bounds(path)
        frame = pd.read_parquet(path, read_dictionary=texts)  # a text that many rows share is held once
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
    """The columns of text; all by the file's own account, before its columns are read.

    Raises:
        InputError: more rows, cells or bytes than any study has.
        Exception: pyarrow's, for what is no parquet file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        about = file.metadata
        rows, columns, schema = about.num_rows, about.num_columns, file.schema_arrow
        size = sum(about.row_group(place).total_byte_size for place in range(about.num_row_groups))
    if rows > MOST_ROWS or rows * columns > MOST_CELLS or size > 8 * MOST_CELLS:
        raise InputError(f"claims {rows:,} rows of {columns:,} columns in {size:,} bytes, and no study has so many")
    return [column.name for column in schema if column.type in (pa.string(), pa.large_string())]


def _faults(frame: pd.DataFrame) -> Iterator[str]:
    """What is wrong with rows or histories, first what makes the rest impossible to tell."""
    if not frame.columns.is_unique:
        yield "has two columns of one name"
    finite = {*OF_HISTORY, *_required()}
    for name, column in frame.items():
        yield from _column_faults(str(name), column, name in finite)
    trial = frame.get("trial")
    if "moving" in frame:
        pairs = frame[["moving", "fixed", "trial"]]
        if pairs.isna().any(axis=None) or pairs.duplicated().any():
            yield "has a pair twice, or a row without its pair or trial"
        if (frame["loss"].isna().groupby(frame["trial"]).nunique() > 1).any():
            yield "has a loss in only some rows of a trial"
    elif (frame["epoch"] != (np.arange(len(frame)) if trial is None else frame.groupby(trial).cumcount()) + 1).any():
        yield "has other epochs than 1, 2, 3 and so on"


def _column_faults(name: str, column: pd.Series, finite: bool) -> Iterator[str]:
    """Text for numbers or the reverse, and a number that cannot be in a column of this name."""
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
            yield f"has {values[wrong][0]:g} in {quoted(name)}, which cannot be"


def lacks_pairs(rows: pd.DataFrame, asked: PairSettings) -> bool:
    """Whether these are not the rows of all test pairs: as many as were asked for, or all that the subjects make.

    How many pairs there are within groups, onto an atlas or in a file is not known here: then there may be fewer.
    """
    if asked.chosen:
        return not 0 < len(rows) <= asked.test
    subjects = len({*rows["moving"], *rows["fixed"]})
    return len(rows) != min(asked.test, subjects * (subjects - 1))


def how_to_mend(path: Path) -> str:
    """What to do about a damaged file of a trial.

    Without ``pairs.parquet`` a trial goes on from its checkpoint and writes every other file anew.
    """
    files = [str(file) for file in dict.fromkeys([path, path.with_name("pairs.parquet")]) if file.exists()]
    delete = f"delete {' and '.join(files)} and " if files else ""
    return f"{delete}run the study again; what checkpoint.pt holds is not trained again"

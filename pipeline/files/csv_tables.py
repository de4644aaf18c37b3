"""CSV tables in and out: every table that the project reads is checked here, and every one that it writes is safe.

Spreadsheet programs take a cell that begins with ``=``, ``+``, ``-`` or ``@`` for a formula and run it. So such a text
gets an apostrophe before it, as OWASP advises against CSV injection; numbers stay as they are. Reading takes the
apostrophe away again, so that nothing is changed by a table in between.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype

from ...transforms.basics.bounds import MOST_COLUMNS, MOST_TABLE_ROWS
from ...transforms.basics.errors import InputError, one_line, quoted
from .text import read_text, write_text

FORMULA = re.compile("'*[=+\\-@\t\r\n＝＋－＠]")
"""How a text begins that would be run, and one that could be taken for such a text with its apostrophe."""


@dataclass(frozen=True)
class Row:
    """A line of a table."""

    line: int
    """Its number in the file, for the sentences; of a row of several lines that of the last."""
    cells: tuple[str, ...]
    """One per column of the table, without blanks around them."""


@dataclass(frozen=True)
class Table:
    """A table as text."""

    path: Path
    columns: tuple[str, ...]
    """Each name once; none of an empty file."""
    rows: tuple[Row, ...]
    """Without empty lines."""

    def dicts(self) -> list[dict[str, str]]:
        """Each row by column."""
        return [dict(zip(self.columns, row.cells, strict=True)) for row in self.rows]

    @property
    def frame(self) -> pd.DataFrame:
        """The cells as text. Not by pandas' reader, which takes the first column of longer rows for their index."""
        return pd.DataFrame([row.cells for row in self.rows], columns=pd.Index(self.columns), dtype=str)

    @property
    def named(self) -> str:
        """The columns for a sentence: the first of them, shortened."""
        few = [quoted(name)[1:-1] for name in self.columns[:12]]
        return ", ".join(few) + (", ..." if len(self.columns) > 12 else "") or "none"


def read_csv(path: Path, tabs: bool = False) -> Table:
    """Read a table: a header, and rows of as many cells as it has.

    Args:
        path: UTF-8 text.
        tabs: cells are separated by tabs and without quotes around them, as in BIDS: a quotation mark is a character
            and does not swallow the lines that follow.

    Raises:
        InputError: no such file, no CSV, larger than `transforms.basics.bounds` allows, a name of a column twice, a
            row of another width, or NUL in a cell.
    """
    rows = list(parse_rows(path, read_text(path), tabs))
    return make_table(path, rows[0].cells if rows else (), rows[1:])


def parse_rows(path: Path, text: str, tabs: bool = False) -> Iterator[Row]:
    """The lines of a CSV text that are not empty; InputError where :func:`read_csv` has it."""
    if "\0" in text:
        raise InputError(f"{path} holds NUL characters, so it is no text; save it as plain CSV.")
    options: Any = (
        {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if tabs else {"skipinitialspace": True, "strict": True}
    )
    reader = csv.reader(io.StringIO(text, newline=""), **options)
    try:
        for found in reader:
            cells = tuple(_without_apostrophe(cell.strip()) for cell in found)
            if any(cells):
                yield Row(reader.line_num, cells)
    except csv.Error as error:
        where = f"{path} is not a table of tabs" if tabs else f"{path}, line {reader.line_num}"
        raise InputError(f"{where}: {one_line(error)}; save it as plain {'text' if tabs else 'CSV'}.") from None


def make_table(path: Path, columns: tuple[str, ...], rows: Sequence[Row]) -> Table:
    """The table of a header and rows; InputError where :func:`read_csv` has it."""
    if len(columns) > MOST_COLUMNS:
        raise InputError(f"{path} has {len(columns)} columns; at most {MOST_COLUMNS} are read.")
    if len(set(columns)) < len(columns):
        twice = next(name for name in columns if columns.count(name) > 1)
        raise InputError(f"{path} has {columns.count(twice)} columns {quoted(twice)}; keep one of them.")
    if len(rows) > MOST_TABLE_ROWS:
        raise InputError(f"{path} has more than {MOST_TABLE_ROWS} rows, the most that are read of a table.")
    for row in rows:
        if len(row.cells) != len(columns):
            raise InputError(
                f"{path}, line {row.line} has {len(row.cells)} cells, but there are {len(columns)} columns; give each "
                "row a cell for every column."
            )
    return Table(path, columns, tuple(rows))


def csv_text(frame: pd.DataFrame) -> str:
    """A data frame as CSV for people: no cell of it is a formula. The index is left out."""
    safe = frame.rename(columns=_with_apostrophe)
    for place, (_, column) in enumerate(frame.items()):
        if not is_numeric_dtype(column):
            safe.isetitem(place, column.astype(object).map(_with_apostrophe, na_action="ignore"))
    return safe.to_csv(index=False, lineterminator="\n")


def write_csv(path: Path, frame: pd.DataFrame) -> Path:
    """Write a data frame as :func:`csv_text`, atomically.

    Raises:
        InputError: the folder cannot be written or the disk is full.
    """
    return write_text(path, csv_text(frame))


def _with_apostrophe(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and FORMULA.match(cell) and not _is_number(cell) else cell


def _without_apostrophe(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True

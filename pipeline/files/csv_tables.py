"""Checked reading and safe writing of all CSV tables of the project.

Spreadsheet programs run a cell that begins with ``=``, ``+``, ``-`` or ``@`` as a formula. Writing therefore puts an
apostrophe before such text, as OWASP recommends against CSV injection; numbers stay as they are. Reading removes the
apostrophe, so that writing and reading keep every text.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...transforms.basics.bounds import MOST_COLUMNS, MOST_TABLE_ROWS
from ...transforms.basics.errors import InputError, one_line, quoted
from .text import read_text, write_text

if TYPE_CHECKING:
    import pandas as pd

FORMULA = re.compile("'*[=+\\-@\t\r\n＝＋－＠]")
"""Matches text that a spreadsheet would run, also after apostrophes, so that removing one is unambiguous."""


@dataclass(frozen=True)
class Row:
    """A row of a table."""

    line: int
    """Line number in the file, for error messages; of a row over several lines, that of its last line."""
    cells: tuple[str, ...]
    """One cell per column, without leading and trailing blanks."""


@dataclass(frozen=True)
class Table:
    """A table whose cells are text."""

    path: Path
    columns: tuple[str, ...]
    """Distinct names; empty for an empty file."""
    rows: tuple[Row, ...]
    """The rows, without empty lines."""

    def dicts(self) -> list[dict[str, str]]:
        """Each row as a dictionary from column to cell."""
        return [dict(zip(self.columns, row.cells, strict=True)) for row in self.rows]

    @property
    def frame(self) -> pd.DataFrame:
        """The cells as a data frame of text. pandas' own reader would use the first column of longer rows as index."""
        import pandas as pd

        return pd.DataFrame([row.cells for row in self.rows], columns=pd.Index(self.columns), dtype=str)

    @property
    def named(self) -> str:
        """The column names for an error message: the first twelve, shortened."""
        few = [quoted(name)[1:-1] for name in self.columns[:12]]
        alone = len(self.columns) == 1 and (";" in self.columns[0] or "\t" in self.columns[0])
        hint = " (that is one column: commas must separate the cells)" if alone else ""
        return ", ".join(few) + (", ..." if len(self.columns) > 12 else hint) or "none"


def read_csv(path: Path, tabs: bool = False) -> Table:
    """Read a table: a header, and rows with the same number of cells.

    Args:
        path: a UTF-8 text file.
        tabs: cells are separated by tabs and not quoted, as in BIDS. A quotation mark is then an ordinary character
            and cannot make following lines part of a cell.

    Raises:
        InputError: the file does not exist, is not CSV or exceeds a limit in `transforms.basics.bounds`, a column name
            occurs twice, a row has another number of cells, or a cell has a NUL character.
    """
    rows = list(parse_rows(path, read_text(path), tabs))
    return make_table(path, rows[0].cells if rows else (), rows[1:])


def parse_rows(path: Path, text: str, tabs: bool = False) -> Iterator[Row]:
    """The rows of a CSV text that are not empty; InputError as in :func:`read_csv`."""
    if "\0" in text:
        raise InputError(f"{path} holds NUL characters, so it is not text; save it as plain CSV.")
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
        where = f"{path} is not a tab-separated table" if tabs else f"{path}, line {reader.line_num}"
        raise InputError(f"{where}: {one_line(error)}; save it as plain {'text' if tabs else 'CSV'}.") from None


def make_table(path: Path, columns: tuple[str, ...], rows: Sequence[Row]) -> Table:
    """Make a table from a header and rows; InputError as in :func:`read_csv`."""
    if len(columns) > MOST_COLUMNS:
        raise InputError(f"{path} has {len(columns)} columns; at most {MOST_COLUMNS} are allowed.")
    if len(set(columns)) < len(columns):
        twice = next(name for name in columns if columns.count(name) > 1)
        raise InputError(f"{path} has {columns.count(twice)} columns {quoted(twice)}; keep one of them.")
    if len(rows) > MOST_TABLE_ROWS:
        raise InputError(f"{path} has more than {MOST_TABLE_ROWS} rows, the limit for a table.")
    for row in rows:
        if len(row.cells) != len(columns):
            raise InputError(
                f"{path}, line {row.line} has {len(row.cells)} cells, but there are {len(columns)} columns; give each "
                "row a cell for every column."
            )
    return Table(path, columns, tuple(rows))


def csv_text(frame: pd.DataFrame) -> str:
    """A data frame as CSV text in which no cell is a formula, without the index."""
    from pandas.api.types import is_numeric_dtype

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

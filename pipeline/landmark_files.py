"""Files of landmarks: .csv tables, and Slicer's .fcsv and .mrk.json, which say whether they are in LPS or RAS.

What is not a coordinate is kept, so that Slicer loads its file again with the points where they went.
"""

import copy
import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from ..transforms.bounds import LONGEST_TEXT
from ..transforms.errors import InputError, one_line
from .files import read_text

AXES = ("x", "y", "z")
FRAMES = {"LPS": True, "1": True, "RAS": False, "0": False}
"""Whether a coordinate system of Slicer's is LPS; before Slicer 4.11 it was a number."""
UNNAMED = ("positionStatus", "autoCreated")
"""The last cells of newer .fcsv files, which their header leaves out."""
UNPLACED = ("undefined", "missing", "0", "3")
"""What Slicer has as the status of a point without a position, in .mrk.json and in .fcsv."""
POINTS = ("Fiducial", "Line", "Angle", "Curve", "ClosedCurve")
"""Slicer's markups that their points alone define."""
LONGEST_QUOTE = 60
"""Characters of a file that a message repeats."""
SLICERS = (".fcsv", ".mrk.json", ".json")


@dataclass(frozen=True)
class LandmarkFile:
    """A file's points, in its own frame."""

    table: pd.DataFrame
    """All columns, as text; x, y and z in mm among them."""
    lps: bool | None
    """Whether the file says that it is in LPS, or (False) RAS; None where it does not say."""
    text: Callable[[pd.DataFrame], str]
    """The file with the x, y and z of another table."""


def read_landmark_file(path: Path) -> LandmarkFile:
    """Read a file by its ending: .fcsv, .mrk.json (.json), or else a .csv table.

    Raises:
        InputError: it cannot be read, is too long, has no such points, or, as a file of Slicer's, no frame.
    """
    if path.is_file() and path.stat().st_size > LONGEST_TEXT:
        raise InputError(f"{path} has {path.stat().st_size} bytes, expected {LONGEST_TEXT} at most.")
    text, name = read_text(path), path.name.lower()
    if name.endswith(".fcsv"):
        return _fcsv(path, text)
    return _markups(path, text) if name.endswith(".json") else LandmarkFile(_csv(path, text), None, csv_text)


def _csv(path: Path, text: str) -> pd.DataFrame:
    """The cells of a CSV file as text. Not by pandas, which takes the first column of longer rows for their index."""
    rows = _rows(path, text)
    if not rows:
        raise InputError(f"{path} is not a CSV table: it is empty.")
    header, *rows = rows
    return _table(path, header, rows)


def csv_text(table: pd.DataFrame) -> str:
    return table.to_csv(index=False, lineterminator="\n")


def _fcsv(path: Path, text: str) -> LandmarkFile:
    """Comments with the frame and the columns, then a row of cells for each point."""
    lines = text.splitlines()
    comments = [line for line in lines if line.startswith("#")]
    said = {key.strip(): value.strip() for key, _, value in (line[1:].partition("=") for line in comments)}
    columns = [name.strip() for name in said.get("columns", "").split(",")]
    rows = _rows(path, "\n".join(line for line in lines if not line.startswith("#")))
    width = max(map(len, rows), default=0)
    columns += [name for name in UNNAMED[: max(width - len(columns), 0)] if name not in columns]
    table = _table(path, columns, [row + [""] * (len(columns) - len(row)) for row in rows])
    if "positionStatus" in table:
        _check_placed(path, table["positionStatus"].tolist())

    def rewritten(other: pd.DataFrame) -> str:
        return "\n".join([*comments, other[columns].to_csv(index=False, header=False, lineterminator="\n")])

    return LandmarkFile(table, _frame(path, said.get("CoordinateSystem", "")), rewritten)


def _markups(path: Path, text: str) -> LandmarkFile:
    """JSON: lists of control points, each with its coordinate system and units."""
    try:
        content: Any = json.loads(text)
        lists = content["markups"]
        points = [point for markup in lists for point in markup["controlPoints"]]
        placed = [str(point.get("positionStatus", "defined")) for point in points]
        _check_placed(path, placed)
        table = pd.DataFrame(list(map(_cells, points)), columns=pd.Index(["label", *AXES]), dtype=str)
        kinds, frames, units = (
            {str(markup.get(key, default)) for markup in lists}
            for key, default in (("type", "Fiducial"), ("coordinateSystem", ""), ("coordinateUnits", "mm"))
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise (
            error
            if isinstance(error, InputError)
            else InputError(
                f"{path} holds no markups of Slicer's: lists of control points, each with a position of three numbers."
            )
        ) from None
    others = [*kinds - {*POINTS}, *units - {"mm"}]
    if others or len(frames) > 1:
        found = (others or ["several coordinate systems"])[0][:LONGEST_QUOTE]
        raise InputError(f"{path} holds markups of {found!r}; expected {', '.join(POINTS)}, all in mm and one frame.")
    return LandmarkFile(table, _frame(path, *frames), partial(_markups_text, content))


def _cells(point: Any) -> dict[str, str]:
    """Label and position of a control point, as text."""
    position = point["position"]
    if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in position):
        raise TypeError
    return {"label": str(point.get("label", "")), **dict(zip(AXES, (repr(float(n)) for n in position), strict=True))}


def _markups_text(content: Any, table: pd.DataFrame) -> str:
    moved = copy.deepcopy(content)
    positions = iter(table[[*AXES]].astype(float).to_numpy().tolist())
    for markup in moved["markups"]:
        markup["measurements"] = []  # lengths and angles of before
        for point in markup["controlPoints"]:
            point["position"] = next(positions)
    return json.dumps(moved, indent=2) + "\n"


def _frame(path: Path, stated: str = "") -> bool:
    if stated not in FRAMES:
        raise InputError(f"{path} states no coordinate system that is LPS or RAS; save it with Slicer again.")
    return FRAMES[stated]


def _check_placed(path: Path, statuses: list[str]) -> None:
    unplaced = [index for index, status in enumerate(statuses, start=1) if status in UNPLACED]
    if unplaced:
        raise InputError(f"{path}, point {unplaced[0]} has no position; place it in Slicer, or remove it.")


def _rows(path: Path, text: str) -> list[list[str]]:
    """The cells of every line that is not empty."""
    try:
        if "\0" in text:
            raise csv.Error("it holds NUL characters")
        lines = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)
        return [[cell.strip() for cell in row] for row in lines if row not in ([], [""])]
    except csv.Error as error:
        raise InputError(f"{path} is not a CSV table: {one_line(error)}.") from None


def _table(path: Path, header: list[str], rows: list[list[str]]) -> pd.DataFrame:
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise InputError(
                f"{path}, row {number} has {len(row)} cells, but there are {len(header)} columns; give each row a "
                "cell for every column."
            )
    repeated = [name for name in dict.fromkeys(header) if header.count(name) > 1]
    if repeated:
        name = repeated[0][:LONGEST_QUOTE]
        raise InputError(f"{path} has {header.count(repeated[0])} columns {name!r}; keep one of them.")
    return pd.DataFrame(rows, columns=pd.Index(header), dtype=str)

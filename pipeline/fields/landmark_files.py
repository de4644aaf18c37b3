"""Landmark files: .csv tables, and Slicer's .fcsv and .mrk.json, which state whether they are in LPS or RAS.

All other content is kept, so that Slicer can load the written file with the points at their new positions.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...transforms.basics.errors import InputError, quoted
from ..files.csv_tables import Row, csv_text, make_table, parse_rows, read_csv
from ..files.text import read_json, read_text

if TYPE_CHECKING:
    import pandas as pd

AXES = ("x", "y", "z")
FRAMES = {"LPS": True, "1": True, "RAS": False, "0": False}
"""Slicer's names of coordinate systems, and whether each is LPS. Before Slicer 4.11, they were numbers."""
UNNAMED = ("positionStatus", "autoCreated")
"""The last cells in rows of newer .fcsv files; the header does not name them."""
UNPLACED = ("undefined", "missing", "0", "3")
"""Slicer's status values of a point without a position, in .mrk.json and in .fcsv."""
POINTS = ("Fiducial", "Line", "Angle", "Curve", "ClosedCurve")
"""Slicer's markups that are defined by their points only."""
SLICERS = (".fcsv", ".mrk.json", ".json")


@dataclass(frozen=True)
class LandmarkFile:
    """The points of a file, in the file's coordinate system."""

    table: pd.DataFrame
    """All columns as text, including x, y and z in mm."""
    lps: bool | None
    """True if the file states LPS, False if it states RAS, None if it states neither."""
    text: Callable[[pd.DataFrame], str]
    """Makes the content of the file with the x, y and z of another table."""


def read_landmark_file(path: Path) -> LandmarkFile:
    """Read a file by its ending: .fcsv, .mrk.json (.json), or otherwise a .csv table.

    Raises:
        InputError: the file cannot be read, is too long or has no such points, or a Slicer file states no coordinate
            system.
    """
    name = path.name.lower()
    if name.endswith(".fcsv"):
        return _fcsv(path, read_text(path))
    return _markups(path) if name.endswith(".json") else LandmarkFile(read_csv(path).frame, None, csv_text)


def _fcsv(path: Path, text: str) -> LandmarkFile:
    """Parse .fcsv: comments with the coordinate system and the columns, then one row per point."""
    lines = text.splitlines()
    comments = [line for line in lines if line.startswith("#")]
    said = {key.strip(): value.strip() for key, _, value in (line[1:].partition("=") for line in comments)}
    columns = [name.strip() for name in said.get("columns", "").split(",")]
    rows = list(parse_rows(path, "\n".join("" if line.startswith("#") else line for line in lines)))
    width = max((len(row.cells) for row in rows), default=0)
    columns += [name for name in UNNAMED[: max(width - len(columns), 0)] if name not in columns]
    filled = [Row(row.line, (*row.cells, *[""] * (len(columns) - len(row.cells)))) for row in rows]
    table = make_table(path, tuple(columns), filled).frame
    if "positionStatus" in table:
        _check_placed(path, table["positionStatus"].tolist())

    def rewritten(other: pd.DataFrame) -> str:
        return "\n".join([*comments, other[columns].to_csv(index=False, header=False, lineterminator="\n")])

    return LandmarkFile(table, _frame(path, said.get("CoordinateSystem", "")), rewritten)


def _markups(path: Path) -> LandmarkFile:
    """Parse .mrk.json: lists of control points, each list with its coordinate system and units."""
    import pandas as pd

    try:
        content: Any = read_json(path)
        lists = content["markups"]
        points = [point for markup in lists for point in markup["controlPoints"]]
        placed = [str(point.get("positionStatus", "defined")) for point in points]
        _check_placed(path, placed)
        table = pd.DataFrame(list(map(_cells, points)), columns=pd.Index(["label", *AXES]), dtype=str)
        kinds, frames, units = (
            {str(markup.get(key, default)) for markup in lists}
            for key, default in (("type", "Fiducial"), ("coordinateSystem", ""), ("coordinateUnits", "mm"))
        )
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise InputError(
            f"{path} holds no Slicer markups, which are lists of control points with a position of three numbers each."
        ) from None
    others = [*kinds - {*POINTS}, *units - {"mm"}]
    if others or len(frames) > 1:
        found = quoted((others or ["several coordinate systems"])[0])
        raise InputError(
            f"{path} holds markups of {found}; expected {', '.join(POINTS)}, all in mm and in one coordinate system."
        )
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
        markup["measurements"] = []  # lengths and angles of the old points
        for point in markup["controlPoints"]:
            point["position"] = next(positions)
    return json.dumps(moved, indent=2) + "\n"


def _frame(path: Path, stated: str = "") -> bool:
    if stated not in FRAMES:
        raise InputError(f"{path} does not state LPS or RAS as its coordinate system; save it with Slicer again.")
    return FRAMES[stated]


def _check_placed(path: Path, statuses: list[str]) -> None:
    unplaced = [index for index, status in enumerate(statuses, start=1) if status in UNPLACED]
    if unplaced:
        raise InputError(f"{path}, point {unplaced[0]} has no position; place it in Slicer or remove it.")

"""Landmarks in CSV files: warped by a field, and how far they are from where they should be (TRE)."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..transforms import InputError, PhysicalField
from ..transforms.errors import one_line
from ..transforms.geometry import mapped
from ..transforms.physical import INVERTED
from .apply import Done, load_field
from .files import read_text, write_atomically
from .outputs import TABLES, check_output

AXES = ("x", "y", "z")
NAMES = ("id", "label", "name")
"""Columns that name a point: two files that both have one must agree on it."""


@dataclass(frozen=True)
class Landmarks:
    """A CSV file of points, and what else it says of them."""

    path: Path
    table: pd.DataFrame
    """All columns, as text."""
    points: Tensor
    """(N, W) float64, RAS mm."""


def warp_points(
    path: Path,
    landmarks: Path,
    out: Path,
    inverse: bool = False,
    against: Path | None = None,
    lps: bool = False,
    like: Path | None = None,
    affine: Path | None = None,
) -> Done:
    """Warp a CSV of landmarks; the field takes points of the fixed image to the moving one, T(p) = A(p + d(p)).

    Args:
        path: the field.
        landmarks: points of the fixed image (``inverse``: of the moving image), columns x, y, z in mm.
        out: a .csv file, the same table with the warped x, y, z; with ``against`` also tre_before_mm and tre_after_mm.
        inverse: T⁻¹ instead, from the moving image to the fixed one.
        against: the same landmarks in the other image, row by row.
        lps: coordinates in the files are LPS, as those of ITK and ANTs, not RAS.
        like, affine: see :func:`~smoothmorph.pipeline.apply.load_field`.

    Raises:
        InputError: files that cannot be used, do not belong together, or are an input and ``out`` at once.
    """
    check_output(out, TABLES, [path, landmarks, against, like, affine])
    field = load_field(path, like, affine)
    given = read_landmarks(landmarks, field.fixed.world_axes, lps)
    truth = read_landmarks(against, field.fixed.world_axes, lps) if against is not None else None
    if truth is not None:
        _check_pairs(given, truth)
    if inverse:
        warped, missed = field.unmap_points(given.points)
        lost = int((missed > INVERTED).sum())
    else:
        warped, lost = field.map_points(given.points), 0
    table = _with_points(given.table, warped, lps)
    told = [_sentence(out, given, inverse, lps)]
    if truth is not None:
        before, after = ((points - truth.points).norm(dim=1) for points in (given.points, warped))
        table = table.assign(tre_before_mm=_text(before), tre_after_mm=_text(after))
        told.append(
            f"TRE: mean {float(before.mean()):.4g} mm before, {float(after.mean()):.4g} mm after; "
            f"median {float(before.quantile(0.5)):.4g} mm before, {float(after.quantile(0.5)):.4g} mm after."
        )
    write_atomically(out, lambda temporary: table.to_csv(temporary, index=False))
    beyond = int((~_in_grid(field, warped if inverse else given.points)).sum())
    notices = []
    if beyond:
        notices.append(
            f"{beyond} of {len(warped)} points lie outside of the fixed grid, where the displacement of its edge was "
            f"taken: are the coordinates {'LPS' if lps else 'RAS'}, and is the direction right?"
        )
    if lost:
        notices.append(f"{lost} of {len(warped)} points have no reliable inverse: the field folds there.")
    return Done(out, tuple(told), tuple(notices))


def read_landmarks(path: Path, world_axes: int, lps: bool = False) -> Landmarks:
    """Read points.

    Args:
        path: a CSV file with the columns x, y and (in 3-D) z, mm.
        world_axes: W.
        lps: the file's frame is LPS; RAS otherwise.

    Raises:
        InputError: no such file, missing columns or two of one name, no rows, a row of another width than the header,
            or a cell that is not a number.
    """
    table = _read_table(path)
    columns = list(AXES[:world_axes])
    if not {*columns} <= {*table.columns}:
        found = ", ".join(map(str, table.columns))
        raise InputError(f"{path} has the columns {found}; expected {', '.join(columns)} in mm.")
    if not len(table):
        raise InputError(f"{path} holds no points.")
    numbers = table[columns].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float, copy=True)
    faulty = np.argwhere(~np.isfinite(numbers))
    if len(faulty):
        row, column = faulty[0]
        raise InputError(
            f"{path}, row {row + 1}: {columns[column]} is {table[columns[column]][row]!r}, expected a number of mm."
        )
    return Landmarks(path, table, torch.from_numpy(_turned(numbers, lps)))


def _read_table(path: Path) -> pd.DataFrame:
    """The cells of a CSV file as text. Not by pandas, which takes the first column of longer rows for their index."""
    try:
        lines = csv.reader(io.StringIO(read_text(path), newline=""), skipinitialspace=True, strict=True)
        rows = [row for row in lines if row not in ([], [""])]
    except csv.Error as error:
        raise InputError(f"{path} is not a CSV table: {one_line(error)}.") from None
    if not rows:
        raise InputError(f"{path} is not a CSV table: it is empty.")
    header, *rows = [[cell.strip() for cell in row] for row in rows]
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise InputError(
                f"{path}, row {number} has {len(row)} cells, but there are {len(header)} columns; give each row a "
                "cell for every column."
            )
    repeated = [name for name in dict.fromkeys(header) if header.count(name) > 1]
    if repeated:
        raise InputError(f"{path} has {header.count(repeated[0])} columns {repeated[0]!r}; keep one of them.")
    return pd.DataFrame(rows, columns=pd.Index(header), dtype=str)


def _with_points(table: pd.DataFrame, points: Tensor, lps: bool) -> pd.DataFrame:
    numbers = _turned(points.numpy(), lps)
    return table.assign(
        **{axis: _text(torch.from_numpy(numbers[:, i])) for i, axis in enumerate(AXES[: len(numbers.T)])}
    )


def _text(numbers: Tensor) -> list[str]:
    return [f"{number:.6f}" for number in numbers.tolist()]


def _turned(points: np.ndarray, lps: bool) -> np.ndarray:
    """(N, W) between RAS and LPS: the first two components change their sign."""
    return points * np.array([-1.0, -1.0, 1.0])[: points.shape[1]] if lps else points


def _check_pairs(given: Landmarks, truth: Landmarks) -> None:
    if len(given.table) != len(truth.table):
        raise InputError(
            f"{truth.path} holds {len(truth.table)} points, but {given.path} holds {len(given.table)}; give the same "
            "landmarks row by row."
        )
    for column in NAMES:
        if column in given.table and column in truth.table:
            differ = np.flatnonzero(given.table[column].to_numpy() != truth.table[column].to_numpy())
            if len(differ):
                row = differ[0]
                raise InputError(
                    f"{truth.path}, row {row + 1} has {column} {truth.table[column][row]!r}, but {given.path} has "
                    f"{given.table[column][row]!r}; give the same landmarks row by row."
                )


def _in_grid(field: PhysicalField, points: Tensor) -> Tensor:
    return field.fixed.contains(mapped(np.linalg.inv(field.fixed.affine), points.T))


def _sentence(out: Path, given: Landmarks, inverse: bool, lps: bool) -> str:
    source, target, equation = ("moving", "fixed", "T⁻¹(q)") if inverse else ("fixed", "moving", "T(p) = A(p + d(p))")
    return (
        f"wrote {out}: {len(given.points)} points of the {source} image, {given.path}, where they lie in the {target} "
        f"image, {equation}; {'LPS' if lps else 'RAS'} mm."
    )

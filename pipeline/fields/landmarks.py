"""Warping of landmark files by a field, and the target registration error (TRE)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...transforms.basics.bounds import MOST_DIGITS
from ...transforms.basics.errors import InputError, quoted
from ..files.csv_tables import csv_text
from ..files.text import read_text, write_text
from ..images.output_paths import TABLES
from .apply import Done, check_files, load_field
from .landmark_files import AXES, SLICERS, LandmarkFile, read_landmark_file

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from ...transforms import PhysicalField

NAMES = ("id", "label", "name")
"""Columns that name a point. If two files have the same one, their names must agree."""


@dataclass(frozen=True)
class Landmarks:
    """The points of a file, with the file's other content."""

    path: Path
    file: LandmarkFile
    points: Tensor
    """(N, W) float64, RAS mm."""
    lps: bool
    """Whether the coordinates in the file are LPS."""

    @property
    def table(self) -> pd.DataFrame:
        """All columns of the file, as text."""
        return self.file.table


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
    """Warp a landmark file. The field maps points of the fixed image to the moving image: T(p) = A(p + d(p)).

    Args:
        path: the field.
        landmarks: points of the fixed image (with ``inverse``, of the moving image): a .csv file with columns x, y, z
            in mm, or Slicer's .fcsv or .mrk.json.
        out: the file to write. Either a .csv with the same table and the warped x, y, z, and with ``against`` also
            tre_before_mm and tre_after_mm; or a Slicer file with the ending and coordinate system of ``landmarks``.
        inverse: apply T⁻¹ instead, from the moving image to the fixed image.
        against: the same landmarks in the other image, in the same order, in any of these formats.
        lps: coordinates in .csv files are LPS, as in ITK and ANTs, instead of RAS. Slicer files state theirs.
        like, affine: see :func:`~smoothmorph.pipeline.fields.apply.load_field`.

    Raises:
        InputError: files cannot be used or do not belong together, or ``out`` is an input.
    """
    own = tuple(ending for ending in SLICERS if landmarks.name.lower().endswith(ending))
    check_files(out, TABLES + own, [path, affine], [like], [landmarks, against])
    for file in (landmarks, against):
        if file is not None:
            read_text(file)  # checks that it is a text file; the columns it needs depend on the field
    from ...transforms.world.physical_field import INVERTED

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
    as_table = out.name.lower().endswith(TABLES)
    written_lps = lps if as_table else given.lps
    table = _with_points(given.table, warped, written_lps)
    told = [_sentence(out, given, inverse, written_lps)]
    if truth is not None:
        before, after = ((points - truth.points).norm(dim=1) for points in (given.points, warped))
        table = table.assign(tre_before_mm=_text(before), tre_after_mm=_text(after))
        told.append(
            f"TRE: mean {float(before.mean()):.4g} mm before, {float(after.mean()):.4g} mm after; "
            f"median {float(before.quantile(0.5)):.4g} mm before, {float(after.quantile(0.5)):.4g} mm after."
        )
    write_text(out, csv_text(table) if as_table else given.file.text(table))
    beyond = int((~_in_grid(field, warped if inverse else given.points)).sum())
    notices = []
    if beyond:
        notices.append(
            f"{beyond} of {len(warped)} points lie outside of the fixed grid; the displacement at its edge was used. "
            f"Are the coordinates {'LPS' if given.lps else 'RAS'}, and is the direction correct?"
        )
    if lost:
        notices.append(f"{lost} of {len(warped)} points have no reliable inverse: the field folds there.")
    return Done(out, tuple(told), tuple(notices))


def read_landmarks(path: Path, world_axes: int, lps: bool = False) -> Landmarks:
    """Read a landmark file.

    Args:
        path: a .csv file with the columns x, y and (in 3-D) z in mm, or Slicer's .fcsv or .mrk.json.
        world_axes: W, the number of coordinates.
        lps: whether a .csv file is in LPS instead of RAS.

    Raises:
        InputError: the file does not exist, a column is missing or occurs twice, there are no rows, a row has another
            number of cells than the header, a cell is not a number, or ``lps`` is set for a file that states RAS.
    """
    file = read_landmark_file(path)
    table, columns = file.table, list(AXES[:world_axes])
    if not {*columns} <= {*table.columns}:
        found = quoted(", ".join(table.columns))[1:-1] or "none"
        raise InputError(f"{path} has the columns {found}; expected {', '.join(columns)} in mm.")
    if not len(table):
        raise InputError(f"{path} holds no points.")
    if lps and file.lps is False:
        raise InputError(f"{path} states that it is in RAS; leave out --lps, or save the file in LPS.")
    cells = table[columns].where(table[columns].map(len) <= MOST_DIGITS, "")
    import pandas as pd
    import torch

    numbers = cells.apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float, copy=True)
    faulty = np.argwhere(~np.isfinite(numbers))
    if len(faulty):
        row, column = faulty[0]
        found = quoted(table[columns[column]][row])
        raise InputError(f"{path}, row {row + 1}: {columns[column]} is {found}, expected a number in mm.")
    own = lps if file.lps is None else file.lps
    return Landmarks(path, file, torch.from_numpy(_turned(numbers, own)), own)


def _with_points(table: pd.DataFrame, points: Tensor, lps: bool) -> pd.DataFrame:
    numbers = _turned(points.numpy(), lps)
    return table.assign(**{axis: _text(numbers[:, i]) for i, axis in enumerate(AXES[: len(numbers.T)])})


def _text(numbers: Tensor | np.ndarray) -> list[str]:
    return [f"{number:.6f}" for number in numbers.tolist()]


def _turned(points: np.ndarray, lps: bool) -> np.ndarray:
    """Convert points (N, W) between RAS and LPS, if ``lps``: the first two components change their sign."""
    return points * np.array([-1.0, -1.0, 1.0])[: points.shape[1]] if lps else points


def _check_pairs(given: Landmarks, truth: Landmarks) -> None:
    if len(given.table) != len(truth.table):
        raise InputError(
            f"{truth.path} holds {len(truth.table)} points, but {given.path} holds {len(given.table)}; give the same "
            "landmarks in the same order."
        )
    slicers = [one.file.lps is not None for one in (given, truth)]
    for column in NAMES[any(slicers) :]:  # Slicer generates its ids, so they differ between files
        if column in given.table and column in truth.table:
            own, other = ([_named(name, all(slicers)) for name in one.table[column]] for one in (given, truth))
            row = next((row for row, names in enumerate(zip(own, other, strict=True)) if len({*names}) > 1), None)
            if row is not None:
                raise InputError(
                    f"{truth.path}, row {row + 1} has {column} {quoted(other[row])}, but {given.path} has "
                    f"{quoted(own[row])}; give the same landmarks in the same order."
                )


def _named(label: str, slicers: bool) -> str:
    """A label without the list's name if it is from Slicer: ``-1`` for ``F-1``, because two lists have two names."""
    return re.sub(r"^.*-(?=\d+$)", "-", label) if slicers else label


def _in_grid(field: PhysicalField, points: Tensor) -> Tensor:
    from ...transforms.fields.affine import apply_affine

    return field.fixed.contains(apply_affine(np.linalg.inv(field.fixed.affine), points.T))


def _sentence(out: Path, given: Landmarks, inverse: bool, lps: bool) -> str:
    source, target, equation = ("moving", "fixed", "T⁻¹(q)") if inverse else ("fixed", "moving", "T(p) = A(p + d(p))")
    return (
        f"wrote {out}: {len(given.points)} points of the {source} image ({given.path}) mapped to the {target} image, "
        f"{equation}; {'LPS' if lps else 'RAS'} mm."
    )

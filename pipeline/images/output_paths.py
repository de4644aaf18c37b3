"""Checks of output paths before a command starts, so that it cannot fail at its end or overwrite an input."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from ...transforms.basics.errors import InputError
from ...transforms.field_files import WRITERS, lps
from ...transforms.world.grid import Geometry
from .volumes import WRITTEN

FIELDS, IMAGES, TABLES = tuple(WRITERS), WRITTEN, (".csv",)
"""File name endings that commands can write."""
SHEARED = {IMAGES: (".nii", ".nii.gz"), FIELDS: (".npz",)}
"""Endings of formats that can store a grid whose axes are not perpendicular."""


def check_output(path: Path, endings: Sequence[str], inputs: Iterable[Path | None] = ()) -> None:
    """Refuse a path that cannot be written or that is an input file.

    Args:
        path: the file to write; an existing file will be replaced.
        endings: the allowed endings, in lower case.
        inputs: the input files; None for inputs that were not given.

    Raises:
        InputError: the path has another ending, is an input file or a folder, or its folder cannot be written.
    """
    if not path.name.lower().endswith(tuple(endings)):
        raise InputError(f"{path} has none of the endings that it can be written with: {', '.join(endings)}.")
    check_place(path)
    if path.exists() and any(one is not None and one.exists() and path.samefile(one) for one in inputs):
        raise InputError(f"{path} is an input file, and writing would replace it; choose another name.")


def check_place(path: Path) -> None:
    """Raise InputError if the path is a folder, or if its parent is not a folder or cannot be written."""
    if path.is_dir():
        raise InputError(f"cannot write {path}: it is a folder; choose another name.")
    nearest = next(parent for parent in path.parents if parent.exists())  # the folders below it will be created
    if not nearest.is_dir():
        raise InputError(f"cannot write {path}: {nearest} is a file, not a folder; choose another folder.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"cannot write {path}: no permission to write in {nearest}; choose another folder.")


def check_grid(path: Path, endings: tuple[str, ...], grid: Geometry, source: Path) -> None:
    """Raise InputError if a file of ``IMAGES`` or ``FIELDS`` cannot store the grid of ``source``."""
    if path.name.lower().endswith(SHEARED[endings]):
        return
    try:
        lps.itk_grid(grid)
    except InputError as error:
        raise InputError(f"cannot write {path} on the grid of {source}: {error}") from None

"""The files that a command is to write: what would fail at its end, or destroy an input, is refused at its start."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from ...transforms.basics.errors import InputError
from ...transforms.field_files import WRITERS, lps
from ...transforms.world.grid import Geometry
from .volumes import WRITTEN

FIELDS, IMAGES, TABLES = tuple(WRITERS), WRITTEN, (".csv",)
"""The endings of what commands write."""
SHEARED = {IMAGES: (".nii", ".nii.gz"), FIELDS: (".npz",)}
"""Of each, those that can lie on a grid whose axes are not perpendicular."""


def check_output(path: Path, endings: Sequence[str], inputs: Iterable[Path | None] = ()) -> None:
    """Refuse a file that could not be written, as far as that can be known, or that would replace an input.

    Args:
        path: the file to write; one that exists is replaced.
        endings: those that it may have, lower case.
        inputs: what is read; None for what was not given.

    Raises:
        InputError: another ending, an input's file, a folder, or a place where no file can be made.
    """
    if not path.name.lower().endswith(tuple(endings)):
        raise InputError(f"{path} has none of the endings that it can be written with: {', '.join(endings)}.")
    check_place(path)
    if path.exists() and any(one is not None and one.exists() and path.samefile(one) for one in inputs):
        raise InputError(f"{path} is a file that is read, and writing would replace it; choose another name.")


def check_place(path: Path) -> None:
    """Refuse, as InputError, a folder in place of the file, and a parent that is none or that cannot be written."""
    if path.is_dir():
        raise InputError(f"cannot write {path}: it is a folder; choose another name.")
    nearest = next(parent for parent in path.parents if parent.exists())  # the others are made
    if not nearest.is_dir():
        raise InputError(f"cannot write {path}: {nearest} is a file, not a folder; choose another folder.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"cannot write {path}: you may not write in {nearest}; choose another folder.")


def check_grid(path: Path, endings: tuple[str, ...], grid: Geometry, source: Path) -> None:
    """Refuse, as InputError, a file of ``IMAGES`` or ``FIELDS`` that cannot hold the grid of ``source``."""
    if path.name.lower().endswith(SHEARED[endings]):
        return
    try:
        lps.itk_grid(grid)
    except InputError as error:
        raise InputError(f"cannot write {path} on the grid of {source}: {error}") from None

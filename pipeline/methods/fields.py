"""Displacement fields that another tool wrote, one file for each test pair: their rows stand beside those of others."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..settings.vocabulary import METHODS, MethodEntry
from .without_training import moved_by

if TYPE_CHECKING:
    from torch import Tensor

    from ...networks import Registration
    from ...transforms import Geometry
    from ..cohorts.cohort import Sample
    from ..cohorts.preparation import Prepared
    from ..evaluation.rows import Registrar
    from ..settings.schema import TrialSettings

METHODS.add(
    MethodEntry(
        name="fields",
        title="field files",
        meaning="displacement fields that another tool wrote, one file for each test pair",
        target=f"{__name__}:by_files",
        settings=("fields.folder", "fields.file"),
        how="displacement fields from {folder}, files {file}; how long they took is not known",
        reads_files=True,
        place=4,
    )
)
PLACES = re.compile("MOVING|FIXED")
"""What stands for the ids of a pair in the name of its file. YAML and shells take it without quotes."""


def by_files(settings: TrialSettings, prepared: Prepared, root: Path | None) -> Registrar:
    """A registrar that reads each pair's field. Its seconds are NaN, as nobody knows them.

    Raises:
        InputError: the folder or a test pair's file is missing, or two pairs have one file; from the registrar: a
            file cannot be read, or its field lies on another grid than the fixed image.
    """
    files = _files(settings, prepared, root)

    def register(moving: Sample, fixed: Sample) -> tuple[Registration, float]:
        path = files[moving["id"], fixed["id"]]
        grid_of_moving, grid_of_fixed = (_grid(prepared, settings, sample) for sample in (moving, fixed))
        found = _in_voxels(path, grid_of_moving, grid_of_fixed, f"{moving['id']} to {fixed['id']}")
        return moved_by(found, moving), math.nan

    return register


def _files(settings: TrialSettings, prepared: Prepared, root: Path | None) -> dict[tuple[str, str], Path]:
    """The file of each test pair."""
    from ...transforms.basics.errors import InputError, naming
    from ...transforms.field_files import READERS, file_type

    own = settings.fields
    folder = (root or Path()) / str(own.folder)  # the settings check that it is given
    if not folder.is_dir():
        raise InputError(f"fields.folder: {folder} {'is not a folder' if folder.exists() else 'does not exist'}.")
    with naming("fields.file"):
        file_type(Path(own.file), READERS)
    names = {pair: _name(own.file, *pair) for pair in prepared.test_pairs}
    first: dict[str, tuple[str, str]] = {}
    for pair, name in names.items():
        if (other := first.setdefault(name, pair)) != pair:
            raise InputError(
                f"fields.file = {own.file} gives the pairs {' to '.join(other)} and {' to '.join(pair)} the same file, "
                f"{name}; name each pair's file by MOVING and FIXED."
            )
    missing = [pair for pair, name in names.items() if not (folder / name).is_file()]
    if missing:
        moving, fixed = missing[0]
        more = f", nor for {len(missing) - 1} more of the {len(names)} test pairs" if len(missing) > 1 else ""
        raise InputError(f"there is no field of {moving} to {fixed}, {folder / names[missing[0]]}{more}.")
    return {pair: folder / name for pair, name in names.items()}


def _name(pattern: str, moving: str, fixed: str) -> str:
    return PLACES.sub(lambda found: moving if found[0] == "MOVING" else fixed, pattern)


def _grid(prepared: Prepared, settings: TrialSettings, sample: Sample) -> Geometry:
    """Where the voxels of a sample lie: those of its file, padded or cropped, or of the reference that it came onto."""
    import numpy as np

    from ...transforms import Geometry
    from ..cohorts.subject_transforms import ToSampled

    shape, item = tuple(sample["image"].shape[1:]), prepared.cohort[sample["id"]].item
    if "image" not in item:  # made, not read
        return Geometry(shape, np.eye(len(shape) + 1))
    data: Any = item
    for transform in prepared.cohort.transform.transforms:
        if settings.cohort.align != "none" and hasattr(transform, "reference"):
            return transform.reference.grid  # pyright: ignore[reportAttributeAccessIssue]
        data = data if isinstance(transform, ToSampled) else transform(data)
    return Geometry(shape, data["image"].affine.numpy())


def _in_voxels(path: Path, moving: Geometry, fixed: Geometry, pair: str) -> Tensor:
    """The displacement (D, *fixed.shape) of a file, in voxels: from those of the fixed to those of the moving image."""
    import numpy as np

    from ...transforms import InputError, read_field
    from ...transforms.basics.errors import naming
    from ...transforms.field_files.voxelmorph import shares_one_grid
    from ...transforms.fields.affine import apply_affine

    field = read_field(path, fixed)
    if field.fixed.shape != fixed.shape or not (shares_one_grid(path) or field.fixed.is_same(fixed)):
        raise InputError(
            f"{path}, the field of {pair}, lies on {field.fixed}, expected the grid of the fixed image, {fixed}."
        )
    if shares_one_grid(path):
        return field.displacement
    x = fixed.points().double()
    mapped = field.map_points(apply_affine(fixed.affine, x).flatten(1).T).T.reshape(x.shape)
    with naming(path):
        return fixed.in_plane(apply_affine(np.linalg.inv(moving.affine), mapped) - x).float()

"""Operations on field files: composition, inversion, conversion and Jacobian determinant."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from ... import transforms
from ...transforms.basics.errors import InputError
from ...transforms.field_files import is_affine, read_field, write_field
from ..images.output_paths import FIELDS, IMAGES
from ..images.volumes import read_grid, write_volume
from .apply import Done, check_files, check_world, follow, load_field


def compose(paths: Sequence[Path], out: Path, like: Path | None = None) -> Done:
    """Compose fields: the result warps an image as the first of ``paths``, then the second and so on would.

    The composed map is T = T₁ ∘ T₂ ∘ ..., on the fixed grid of the last field. If given, ``like`` must have this grid.

    Raises:
        InputError: there are fewer than two fields, a file cannot be used, or a field maps no point into the next one.
    """
    if len(paths) < 2:
        raise InputError(f"compose needs two fields or more, got {len(paths)}.")
    check_files(out, FIELDS, paths, [like])
    last = load_field(paths[-1], like)
    fields = [read_field(path, last.fixed) for path in paths[:-1]]
    for path, field in zip(paths, fields, strict=False):
        check_world(path, field.fixed, paths[-1], last.fixed)
    composed, notices = last, []
    for first, after, field in zip(paths[-2::-1], paths[:0:-1], reversed(fields), strict=True):
        share = 100.0 if is_affine(first) else _entering(composed, field.fixed)
        if not share:
            raise InputError(
                f"{after} maps no point into {first} ({field.fixed}); do these fields belong together, and is their "
                "order correct?"
            )
        if share < 100:
            notices.append(
                f"{100 - share:.3g} % of the points that {after} maps to lie outside of {first}; the displacement at "
                "its edge was used there."
            )
        composed = field.followed_by(composed)
    write_field(out, composed)
    order = ", then ".join(str(path) for path in paths)
    return Done(
        out, (f"wrote {out}: warps an image with {order}; {composed.fixed}.", regularity(composed)), tuple(notices)
    )


def invert(path: Path, out: Path, like: Path | None = None, fixed: Path | None = None) -> Done:
    """Invert a field.

    Args:
        path: the field.
        out: the inverse to write.
        like: the moving image, whose grid the inverse gets; default: the field's own grid.
        fixed: the fixed image, if the file does not state the grid of its field because it begins with an affine.

    Raises:
        InputError: files cannot be used or do not belong together.
    """
    check_files(out, FIELDS, [path], [like, fixed])
    from ...transforms.field_files.voxelmorph import shares_one_grid

    grid = read_grid(like) if like is not None else None
    alone = is_affine(path)
    if fixed is None and grid is not None and (alone or shares_one_grid(path)):  # these are valid on that grid, too
        field = read_field(path, grid)
    else:
        field = load_field(path, fixed)
    if like is not None and grid is not None:
        check_world(path, field.fixed, like, grid)
    if not alone and not field.enters(grid or field.fixed).any():
        raise InputError(
            f"{path} maps no point into {like} ({grid}); is this the moving image?"
            if like is not None
            else f"{path} maps no point into its own grid, {field.fixed}; give the moving image with --like."
        )
    inverse, notices = inverted(field, grid, path)
    write_field(out, inverse)
    error = field.inverse_error(inverse)
    told = [f"wrote {out}: from the moving image to the fixed one; {inverse.fixed}."]
    if len(error):  # empty for an affine that maps out of the moving grid, which is used as its fixed grid, too
        mean, largest = float(error.mean()), float(error.max())
        told.append(f"inverse-consistency error |T⁻¹(T(p)) - p|: mean {mean:.3g} mm, max {largest:.3g} mm.")
    return Done(out, (*told, regularity(inverse)), notices)


def inverted(
    field: transforms.PhysicalField, grid: transforms.Geometry | None, source: Path
) -> tuple[transforms.PhysicalField, tuple[str, ...]]:
    """The inverse on ``grid``, and notices about it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        inverse = field.inverse(grid)
    return inverse, tuple(f"{source}: {warning.message}." for warning in caught)


def jacobian(path: Path, out: Path, like: Path | None = None, affine: Path | None = None) -> Done:
    """Write det ∂T/∂p on the fixed grid, including the affine: the moving volume (mm³) per mm³ of the fixed image."""
    check_files(out, IMAGES, [path, affine], [like])
    field = load_field(path, like, affine).dense()
    write_volume(out, field.jacobian_determinant().numpy(), field.fixed)
    return Done(out, (f"wrote {out}: det ∂T/∂p on the fixed grid, {field.fixed}.", regularity(field)))


def convert(path: Path, out: Path, like: Path | None = None, affine: Path | None = None) -> Done:
    """Write the same field in another format and, if ``like`` is given, on its grid.

    Raises:
        InputError: a file cannot be used, or ``like`` lies completely outside of the field.
    """
    check_files(out, FIELDS, [path, affine], [like])
    grid = read_grid(like) if like is not None else None
    field = read_field(path, grid)
    if like is not None and grid is not None:
        check_world(path, field.fixed, like, grid)
    field = field if affine is None else follow(field, affine)
    notices = []
    if grid is not None and not field.fixed.is_same(grid):
        beyond = 100 - _entering(transforms.PhysicalField.identity(grid), field.fixed)
        if beyond == 100:
            raise InputError(
                f"{like} lies completely outside of {path}: {grid}, expected a part of {field.fixed}; is this the "
                "fixed image?"
            )
        notices.append(
            f"{path} was resampled from its own grid, {field.fixed}, onto that of {like}"
            + (f"; {beyond:.3g} % of that lies outside, where the displacement at the edge is used." if beyond else ".")
        )
        field = field.resampled_onto(grid)
    write_field(out, field)
    apart = field.affine is not None and out.suffix.lower() == ".h5"
    folded = "" if field.affine is None else ", affine stored separately" if apart else ", affine included in the field"
    return Done(out, (f"wrote {out}: {field.fixed}{folded}.",), tuple(notices))


def _entering(field: transforms.PhysicalField, grid: transforms.Geometry) -> float:
    """The percentage of its fixed grid that a field maps into ``grid``."""
    return 100 * float(field.enters(grid).double().mean())


def regularity(field: transforms.PhysicalField) -> str:
    """A sentence with folding, SDlogJ and the range of the determinant of the whole map.

    A map that flips the axes everywhere, such as a mirror, does not fold. A voxel folds if its determinant is 0 or has
    another sign than the determinant of the affine that fits the map best. SDlogJ is computed from |det|.
    """
    apart = field.dense().apart
    found = {name: float(value) for name, value in transforms.jacobian_statistics(apart.displacement[None]).items()}
    factor = apart.affine_determinant
    low, high = sorted(factor * found[name] for name in ("det_min", "det_max"))
    folded = "det <= 0" if factor > 0 else "det >= 0 in a map that flips the axes"
    extent = "volume" if field.fixed.axes == 3 else "area"
    return (
        f"folding: {found['nonpositive_percent']:.3g} % of the voxels have {folded}, non-diffeomorphic {extent} "
        f"{abs(factor) * found['nondiffeomorphic_percent']:.3g} %; SDlogJ {found['sdlogj']:.3g}; det from {low:.3g} to "
        f"{high:.3g}, median {factor * found['det_p50']:.3g}."
    )

"""Commands for displacement fields in files: apply, compose, invert, jacobian, convert, points.

A field maps points of the fixed image to points of the moving image, T(p) = A(p + d(p)), so warped(p) = moving(T(p)).
"""

from pathlib import Path
from typing import Annotated

import typer

from ...pipeline.fields import tools
from ...pipeline.fields.apply import Done
from ...pipeline.fields.apply import apply as warp
from ...pipeline.fields.landmarks import warp_points
from .common import echo

ENDINGS = ".nii, .nii.gz, .mha, .nrrd, .h5 or .npz"
FieldFile = Annotated[
    Path, typer.Argument(metavar="FIELD", help=f"{ENDINGS}; or an affine of ITK or ANTs: .mat, .tfm or .txt.")
]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The file to write.")]
OutField = Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help=f"The field to write: {ENDINGS}.")]
Fixed = Annotated[
    Path | None,
    typer.Option(
        "--like", metavar="FIXED", help="The fixed image; needed if the file of the field has no grid (.npz)."
    ),
]
Affine = Annotated[
    Path | None,
    typer.Option(
        "--affine", metavar="FILE", help="An affine to apply after the field, such as 0GenericAffine.mat of ANTs."
    ),
]


def apply(
    field: FieldFile,
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="The moving image, on any grid.")],
    out: Out,
    like: Fixed = None,
    labels: Annotated[
        bool, typer.Option("--labels", help="IMAGE is a label map: nearest neighbour, same type.")
    ] = False,
    affine: Affine = None,
    background: Annotated[float, typer.Option(help="The value outside the moving image.")] = 0.0,
) -> None:
    """Warp an image or label map onto the grid of the fixed image: warped(p) = moving(T(p)).

    Example:
        smoothmorph apply field.h5 moving_seg.nii.gz --labels -o warped_seg.nii.gz
    """
    tell(warp(field, image, out, like, labels, affine, background))


def compose(
    fields: Annotated[
        list[Path],
        typer.Argument(metavar="FIELD FIELD...", help="The fields, in the order in which they warp the image."),
    ],
    out: OutField,
    like: Fixed = None,
) -> None:
    """Compose fields to one: it warps an image with the first field, the result with the second, and so on.

    Example:
        smoothmorph compose first.h5 second.h5 -o both.h5
    """
    tell(tools.compose(fields, out, like))


def invert(
    field: FieldFile,
    out: OutField,
    like: Annotated[
        Path | None, typer.Option("--like", metavar="MOVING", help="The moving image; default: the grid of the field.")
    ] = None,
    fixed: Annotated[
        Path | None,
        typer.Option("--fixed", metavar="FIXED", help="The fixed image; needed if the field begins with an affine."),
    ] = None,
) -> None:
    """Invert a field: the inverse maps points of the moving image to points of the fixed image.

    Example:
        smoothmorph invert field.h5 --like moving.nii.gz -o inverse.h5
    """
    tell(tools.invert(field, out, like, fixed))


def jacobian(field: FieldFile, out: Out, like: Fixed = None, affine: Affine = None) -> None:
    """Write the map of the Jacobian determinant: folding where it is <= 0.

    A value of 2 means that a voxel of the fixed image covers twice its volume in the moving image.

    Example:
        smoothmorph jacobian field.h5 -o determinant.nii.gz
    """
    tell(tools.jacobian(field, out, like, affine))


def convert(
    field: FieldFile,
    out: OutField,
    like: Annotated[
        Path | None, typer.Option("--like", metavar="FIXED", help="An image with the new grid; default: the same grid.")
    ] = None,
    affine: Affine = None,
) -> None:
    """Convert a field to another file format, and optionally to another grid.

    Example:
        smoothmorph convert field.h5 -o field.nii.gz
    """
    tell(tools.convert(field, out, like, affine))


def points(
    field: FieldFile,
    landmarks: Annotated[
        Path,
        typer.Argument(
            metavar="POINTS",
            help="Points of the fixed image: a .csv with columns x, y, z in mm, or Slicer's .fcsv or .mrk.json.",
        ),
    ],
    out: Out,
    inverse: Annotated[
        bool, typer.Option("--inverse", help="POINTS are in the moving image; warp them to the fixed one.")
    ] = False,
    against: Annotated[
        Path | None,
        typer.Option("--against", metavar="POINTS", help="The same landmarks in the other image; prints the TRE."),
    ] = None,
    lps: Annotated[bool, typer.Option("--lps", help="A .csv is in LPS (as in ITK and ANTs), not in RAS.")] = False,
    like: Fixed = None,
    affine: Affine = None,
) -> None:
    """Warp landmarks from the fixed image to the moving image, p -> T(p). Images are warped the other way.

    Example:
        smoothmorph points field.h5 landmarks.csv -o warped_landmarks.csv
    """
    tell(warp_points(field, landmarks, out, inverse, against, lps, like, affine))


def tell(done: Done) -> None:
    for line in done.told:
        echo(line)
    for notice in done.notices:
        echo(f"notice: {notice}", err=True)

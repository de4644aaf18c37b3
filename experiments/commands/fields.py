"""Commands on displacement fields in files: apply, compose, invert, jacobian, convert, points.

A field takes points of the fixed image to the moving image, T(p) = A(p + d(p)); warped(p) = moving(T(p)).
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
    Path, typer.Argument(metavar="FIELD", help=f"{ENDINGS}; also an affine alone: .mat, .tfm or .txt of ITK or ANTs.")
]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The file to write.")]
OutField = Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help=f"The field to write: {ENDINGS}.")]
Fixed = Annotated[
    Path | None,
    typer.Option("--like", metavar="FIXED", help="The fixed image; needed where the field's file has no grid (.npz)."),
]
Affine = Annotated[
    Path | None,
    typer.Option("--affine", metavar="FILE", help="Applied after the field, as ANTs' 0GenericAffine.mat."),
]


def apply(
    field: FieldFile,
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="The moving image, on any grid.")],
    out: Out,
    like: Fixed = None,
    labels: Annotated[bool, typer.Option("--labels", help="A label map: nearest neighbour, type kept.")] = False,
    affine: Affine = None,
    background: Annotated[float, typer.Option(help="The value outside of the moving image.")] = 0.0,
) -> None:
    """Warp an image or label map onto the fixed image's grid: warped(p) = moving(T(p))."""
    tell(warp(field, image, out, like, labels, affine, background))


def compose(
    fields: Annotated[list[Path], typer.Argument(metavar="FIELD FIELD...", help="In the order in which they warp.")],
    out: OutField,
    like: Fixed = None,
) -> None:
    """Make one field that warps an image with the first field, the result with the second, and so on."""
    tell(tools.compose(fields, out, like))


def invert(
    field: FieldFile,
    out: OutField,
    like: Annotated[
        Path | None, typer.Option("--like", metavar="MOVING", help="The moving image; by default the field's own grid.")
    ] = None,
    fixed: Annotated[
        Path | None,
        typer.Option("--fixed", metavar="FIXED", help="The fixed image; needed where the field begins with an affine."),
    ] = None,
) -> None:
    """Invert a field: from the moving image to the fixed one."""
    tell(tools.invert(field, out, like, fixed))


def jacobian(field: FieldFile, out: Out, like: Fixed = None, affine: Affine = None) -> None:
    """Write the map of the Jacobian determinant: <= 0 where the field folds, > 1 where it draws from more space."""
    tell(tools.jacobian(field, out, like, affine))


def convert(
    field: FieldFile,
    out: OutField,
    like: Annotated[
        Path | None, typer.Option("--like", metavar="FIXED", help="The grid to bring it onto; by default its own.")
    ] = None,
    affine: Affine = None,
) -> None:
    """Write a field in another kind of file, and on another grid."""
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
    inverse: Annotated[bool, typer.Option("--inverse", help="Points of the moving image, to the fixed one.")] = False,
    against: Annotated[
        Path | None,
        typer.Option("--against", metavar="POINTS", help="The same landmarks in the other image: gives TRE."),
    ] = None,
    lps: Annotated[bool, typer.Option("--lps", help="A .csv is LPS, as ITK's and ANTs', not RAS.")] = False,
    like: Fixed = None,
    affine: Affine = None,
) -> None:
    """Warp landmarks from the fixed image to the moving one, T(p): the way that the field goes, not the image."""
    tell(warp_points(field, landmarks, out, inverse, against, lps, like, affine))


def tell(done: Done) -> None:
    for line in done.told:
        echo(line)
    for notice in done.notices:
        echo(f"notice: {notice}", err=True)

"""Images and displacement fields: pure functions, MONAI array transforms and their dictionary twins."""

from .array import DeformationGrid, JacobianDeterminant, RandDiffeomorphic, WarpImage
from .dictionary import (
    DeformationGridD,
    DeformationGridd,
    DeformationGridDict,
    JacobianDeterminantD,
    JacobianDeterminantd,
    JacobianDeterminantDict,
    RandDiffeomorphicD,
    RandDiffeomorphicd,
    RandDiffeomorphicDict,
    WarpImageD,
    WarpImaged,
    WarpImageDict,
)
from .differences import (
    central_differences,
    check_field,
    forward_differences,
    interior,
    mean_over_axes,
    second_difference,
)
from .errors import InputError
from .field_files import read_field, write_field
from .fields import (
    compose,
    displace_points,
    field_in_mm,
    identity_grid,
    integrate,
    mm_to_voxel,
    resize_displacement,
    sample,
    voxel_to_mm,
    warp,
)
from .geometry import Geometry
from .inputs import (
    DropSingletons,
    DropSingletonsD,
    DropSingletonsd,
    DropSingletonsDict,
    PairImages,
    PairImagesD,
    PairImagesd,
    PairImagesDict,
)
from .inversion import find_preimages, invert
from .jacobian import jacobian_determinant, jacobian_statistics, nondiffeomorphic_percent
from .output import SaveField, SaveFieldD, SaveFieldd, SaveFieldDict, SliceWriter
from .physical import PhysicalField
from .random_fields import random_velocity

__all__ = [
    "DeformationGrid",
    "DeformationGridD",
    "DeformationGridDict",
    "DeformationGridd",
    "DropSingletons",
    "DropSingletonsD",
    "DropSingletonsDict",
    "DropSingletonsd",
    "Geometry",
    "InputError",
    "JacobianDeterminant",
    "JacobianDeterminantD",
    "JacobianDeterminantDict",
    "JacobianDeterminantd",
    "PairImages",
    "PairImagesD",
    "PairImagesDict",
    "PairImagesd",
    "PhysicalField",
    "RandDiffeomorphic",
    "RandDiffeomorphicD",
    "RandDiffeomorphicDict",
    "RandDiffeomorphicd",
    "SaveField",
    "SaveFieldD",
    "SaveFieldDict",
    "SaveFieldd",
    "SliceWriter",
    "WarpImage",
    "WarpImageD",
    "WarpImageDict",
    "WarpImaged",
    "central_differences",
    "check_field",
    "compose",
    "displace_points",
    "field_in_mm",
    "find_preimages",
    "forward_differences",
    "identity_grid",
    "integrate",
    "interior",
    "invert",
    "jacobian_determinant",
    "jacobian_statistics",
    "mean_over_axes",
    "mm_to_voxel",
    "nondiffeomorphic_percent",
    "random_velocity",
    "read_field",
    "resize_displacement",
    "sample",
    "second_difference",
    "voxel_to_mm",
    "warp",
    "write_field",
]

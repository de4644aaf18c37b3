"""Images and displacement fields: pure functions, MONAI array transforms and their dictionary twins."""

from .basics.errors import InputError
from .displacement_maps import (
    DeformationGrid,
    DeformationGridD,
    DeformationGridd,
    DeformationGridDict,
    JacobianDeterminant,
    JacobianDeterminantD,
    JacobianDeterminantd,
    JacobianDeterminantDict,
)
from .drop_singletons import DropSingletons, DropSingletonsD, DropSingletonsd, DropSingletonsDict
from .field_files import read_field, write_field
from .fields.differences import (
    central_differences,
    check_field,
    forward_differences,
    interior,
    mean_over_axes,
    second_difference,
)
from .fields.inversion import find_preimages, invert
from .fields.jacobian import jacobian_determinant, jacobian_statistics, nondiffeomorphic_percent
from .fields.random_velocity import random_velocity
from .fields.warping import (
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
from .pair_images import PairImages, PairImagesD, PairImagesd, PairImagesDict
from .rand_diffeomorphic import RandDiffeomorphic, RandDiffeomorphicD, RandDiffeomorphicd, RandDiffeomorphicDict
from .save_field import SaveField, SaveFieldD, SaveFieldd, SaveFieldDict
from .slice_writer import SliceWriter
from .warp_image import WarpImage, WarpImageD, WarpImaged, WarpImageDict
from .world.grid import Geometry
from .world.physical_field import PhysicalField

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

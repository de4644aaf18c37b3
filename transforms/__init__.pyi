from .basics.errors import InputError as InputError
from .displacement_maps import (
    DeformationGrid as DeformationGrid,
    DeformationGridD as DeformationGridD,
    DeformationGridd as DeformationGridd,
    DeformationGridDict as DeformationGridDict,
    JacobianDeterminant as JacobianDeterminant,
    JacobianDeterminantD as JacobianDeterminantD,
    JacobianDeterminantd as JacobianDeterminantd,
    JacobianDeterminantDict as JacobianDeterminantDict,
)
from .drop_singletons import (
    DropSingletons as DropSingletons,
    DropSingletonsD as DropSingletonsD,
    DropSingletonsd as DropSingletonsd,
    DropSingletonsDict as DropSingletonsDict,
)
from .field_files import read_field as read_field, write_field as write_field
from .fields.differences import (
    central_differences as central_differences,
    check_field as check_field,
    forward_differences as forward_differences,
    gradient as gradient,
    interior as interior,
    laplacian as laplacian,
    mean_over_axes as mean_over_axes,
    mean_over_voxels as mean_over_voxels,
    second_difference as second_difference,
)
from .fields.inversion import find_preimages as find_preimages, invert as invert
from .fields.jacobian import (
    inverted_part as inverted_part,
    jacobian_determinant as jacobian_determinant,
    jacobian_statistics as jacobian_statistics,
    nondiffeomorphic_percent as nondiffeomorphic_percent,
)
from .fields.random_velocity import random_velocity as random_velocity, smooth_noise as smooth_noise
from .fields.warping import (
    compose as compose,
    displace_points as displace_points,
    field_in_mm as field_in_mm,
    identity_grid as identity_grid,
    integrate as integrate,
    mm_to_voxel as mm_to_voxel,
    resize_displacement as resize_displacement,
    sample as sample,
    voxel_to_mm as voxel_to_mm,
    warp as warp,
)
from .label_images import thick_slices as thick_slices
from .pair_images import (
    PairImages as PairImages,
    PairImagesD as PairImagesD,
    PairImagesd as PairImagesd,
    PairImagesDict as PairImagesDict,
)
from .rand_diffeomorphic import (
    RandDiffeomorphic as RandDiffeomorphic,
    RandDiffeomorphicD as RandDiffeomorphicD,
    RandDiffeomorphicd as RandDiffeomorphicd,
    RandDiffeomorphicDict as RandDiffeomorphicDict,
)
from .rand_shapes import (
    RandShapes as RandShapes,
    RandShapesD as RandShapesD,
    RandShapesd as RandShapesd,
    RandShapesDict as RandShapesDict,
    random_shapes as random_shapes,
)
from .rand_synthetic_image import (
    RandSyntheticImage as RandSyntheticImage,
    RandSyntheticImageD as RandSyntheticImageD,
    RandSyntheticImaged as RandSyntheticImaged,
    RandSyntheticImageDict as RandSyntheticImageDict,
)
from .save_field import (
    SaveField as SaveField,
    SaveFieldD as SaveFieldD,
    SaveFieldd as SaveFieldd,
    SaveFieldDict as SaveFieldDict,
)
from .slice_writer import SliceWriter as SliceWriter
from .warp_image import (
    WarpImage as WarpImage,
    WarpImageD as WarpImageD,
    WarpImaged as WarpImaged,
    WarpImageDict as WarpImageDict,
)
from .world.grid import Geometry as Geometry
from .world.physical_field import PhysicalField as PhysicalField

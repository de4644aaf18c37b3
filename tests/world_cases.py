"""Shared cases for tests of field files: pairs of grids, smooth images, and warping by ITK and ANTs."""

from dataclasses import dataclass
from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import torch
from scipy.ndimage import binary_erosion, gaussian_filter

from smoothmorph.transforms import Geometry, PhysicalField, random_velocity

SEED = 7


def rotation(*degrees: float) -> np.ndarray:
    """Rotations about x, y and z, one after the other; with one angle, a rotation in the plane."""
    turned = np.eye(3)
    for axis, angle in zip((0, 1, 2) if len(degrees) == 3 else (2,), np.radians(degrees), strict=True):
        one, other = [a for a in range(3) if a != axis]
        step = np.eye(3)
        step[one, one] = step[other, other] = np.cos(angle)
        step[one, other], step[other, one] = -np.sin(angle), np.sin(angle)
        turned = step @ turned
    return turned if len(degrees) == 3 else turned[:2, :2]


def grid(shape, spacing, direction=None, centre=None) -> Geometry:
    """A grid with W = len(spacing) world axes and its centre at ``centre`` (mm)."""
    world = len(spacing)
    affine = np.eye(world + 1)
    affine[:-1, :-1] = (np.eye(world) if direction is None else direction) * np.array(spacing)
    middle = (np.array([*shape, 1][:world]) - 1) / 2
    affine[:-1, -1] = np.array(centre if centre is not None else [0.0] * world) - affine[:-1, :-1] @ middle
    return Geometry(shape, affine)


CORONAL = np.array([[-1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # orientation of the OASIS slices
GRIDS: dict[str, tuple[Geometry, Geometry]] = {
    "axis-aligned": (grid((30, 28, 26), (1, 1, 1)), grid((30, 28, 26), (1, 1, 1))),
    "anisotropic": (
        grid((30, 34, 16), (1.1, 0.9, 2.4), centre=(5, -70, 31)),
        grid((30, 34, 16), (1.1, 0.9, 2.4), centre=(5, -70, 31)),
    ),
    "oblique": (
        grid((30, 28, 26), (1, 1.2, 1.4), rotation(20, -15, 30), (9, 40, -12)),
        grid((30, 28, 26), (1, 1.2, 1.4), rotation(20, -15, 30), (9, 40, -12)),
    ),
    "flipped axes": (
        grid((28, 30, 26), (1, 1.3, 1.1), np.diag([-1, -1, 1]), (3, 4, 5)),
        grid((26, 28, 30), (1.1, 1, 1.3), np.array([[0, 0, 1.0], [-1, 0, 0], [0, 1, 0]]), (2, 4, 6)),
    ),
    "other moving grid": (
        grid((28, 26, 30), (1.2, 1.3, 1.1), rotation(10, 25, -5), (0, 30, -20)),
        grid((40, 36, 22), (0.9, 1.0, 1.9), rotation(-20, 5, 40) @ np.diag([1, -1, 1]), (1, 28, -19)),
    ),
    "2-D": (
        grid((40, 36), (1.3, 0.8), rotation(25), (4, -9)),
        grid((44, 50), (0.9, 1.1), rotation(-10) @ np.diag([-1, 1]), (5, -8)),
    ),
    "slice in space": (
        grid((40, 48), (1, 1.2, 1), CORONAL, (0, -7, 3)),
        grid((44, 40), (1.3, 1.1, 1), CORONAL @ np.diag([1, -1, 1]), (1, -7, 2)),
    ),
}


@dataclass(frozen=True)
class Case:
    """A field with a moving and a fixed image in files; intensities range from 0 to 1."""

    field: PhysicalField
    moving: Geometry
    image: torch.Tensor
    """(1, *moving.shape)."""
    folder: Path

    @property
    def moving_file(self) -> Path:
        return self.folder / "moving.nii.gz"

    @property
    def fixed_file(self) -> Path:
        return self.folder / "fixed.nii.gz"


def make_field(fixed: Geometry, affine: bool = False) -> PhysicalField:
    """A smooth displacement of some voxels, followed by a small affine."""
    generator = torch.Generator().manual_seed(SEED)
    displacement = random_velocity(fixed.shape, generator, magnitude=3.0, smoothness=4.0)[0]
    displacement += torch.linspace(0.6, -0.9, fixed.axes).view(-1, *[1] * fixed.axes)
    return PhysicalField(displacement, fixed, small_affine(fixed) if affine else None)


def make_case(name: str, folder: Path, affine: bool = False) -> Case:
    fixed, moving = GRIDS[name]
    case = Case(make_field(fixed, affine), moving, torch.from_numpy(blobs(moving.shape))[None], folder)
    save(case.moving_file, case.image[0].numpy(), moving)
    save(case.fixed_file, blobs(fixed.shape, seed=1), fixed)
    return case


def small_affine(fixed: Geometry) -> np.ndarray:
    """A rotation, a stretch and a shift about the centre of a grid; for a slice, within its plane."""
    world = fixed.world_axes
    if fixed.axes < world:
        in_plane = np.eye(3)
        in_plane[:2, :2] = rotation(6) @ np.diag([1.05, 0.96])
        axes = fixed.affine[:-1, :-1] / np.linalg.norm(fixed.affine[:-1, :-1], axis=0)
        linear = axes @ in_plane @ axes.T
        shift = axes @ np.array([1.2, -0.8, 0])
    else:
        linear = rotation(*([4, -3, 6] if world == 3 else [6])) @ np.diag([1.05, 0.96, 1.02][:world])
        shift = np.array([1.2, -0.8, 0.5][:world])
    middle = fixed.affine[:-1, -1] + fixed.affine[:-1, :-1] @ ((np.array(fixed.lifted_shape) - 1) / 2)
    affine = np.eye(world + 1)
    affine[:-1, :-1], affine[:-1, -1] = linear, middle - linear @ middle + shift
    return affine


def blobs(shape, seed: int = 0) -> np.ndarray:
    """A smooth random image from 0 to 1."""
    image = gaussian_filter(np.random.default_rng(seed).random(shape), 2.0)
    return ((image - image.min()) / (image.max() - image.min())).astype(np.float32)


def save(path: Path, image: np.ndarray, geometry: Geometry) -> None:
    """Write NIfTI, which both ITK and ANTs read."""
    affine = geometry.affine_4x4
    file = nib.Nifti1Image(image.reshape(geometry.lifted_shape), affine)
    file.set_qform(affine, code=1)
    file.set_sform(affine, code=1)
    nib.save(file, path)


def inner(inside: torch.Tensor | np.ndarray) -> np.ndarray:
    """Mask of voxels at least two voxels away from the edges of the fixed grid and of the moving image."""
    inside = np.asarray(inside)
    margin = np.zeros_like(inside)
    margin[(slice(2, -2),) * inside.ndim] = True
    return binary_erosion(inside, iterations=2) & margin


def itk_transform(file: Path):
    """A field file, read by ITK."""
    if file.name.endswith((".h5", ".mat")):
        return itk.transformread(str(file))[0]
    return itk_transform_of(itk.imread(str(file), pixel_type=itk.Vector[itk.F, dimensions(file)]))


def itk_transform_of(image):
    """A displacement field transform that owns a copy of ``image``."""
    world = image.GetImageDimension()
    transform = itk.DisplacementFieldTransform[itk.D, world].New()
    direction = itk.array_from_matrix(image.GetDirection()).ravel()
    numbers = [*itk.size(image), *image.GetOrigin(), *image.GetSpacing(), *direction]
    transform.SetFixedParameters(itk.OptimizerParameters[itk.D]([float(number) for number in numbers]))
    itk.array_view_from_image(transform.GetDisplacementField())[:] = itk.array_view_from_image(image)
    return transform


def dimensions(file: Path) -> int:
    io = itk.ImageIOFactory.CreateImageIO(str(file), itk.CommonEnums.IOFileMode_ReadMode)
    io.SetFileName(str(file))
    io.ReadImageInformation()
    return io.GetNumberOfDimensions()


def warped_by_itk(case: Case, transform) -> np.ndarray:
    fixed = itk.imread(str(case.fixed_file), itk.F)
    moving = itk.imread(str(case.moving_file), itk.F)
    warped = itk.resample_image_filter(moving, transform=transform, use_reference_image=True, reference_image=fixed)
    return itk.array_from_image(warped).T.reshape(case.field.fixed.shape)


def warped_by_ants(case: Case, transforms: list[Path]) -> np.ndarray:
    import ants

    fixed, moving = ants.image_read(str(case.fixed_file)), ants.image_read(str(case.moving_file))
    warped = ants.apply_transforms(fixed, moving, [str(file) for file in transforms])
    return warped.numpy().reshape(case.field.fixed.shape)


def place_twice(path: Path, how: str) -> Path:
    """Change a NIfTI file's header so that tools disagree on the positions of its voxels, or find none."""
    image = nib.load(path, mmap=False)
    voxels, affine, header = np.asarray(image.dataobj), np.array(image.affine), image.header
    moved = affine.copy()
    moved[:3, 3] += 20
    if how == "two forms":
        image.set_qform(moved, code=1)
    elif how == "micrometres":
        header.set_xyzt_units("micron")
    elif how == "NaN":
        header["srow_x"][0] = np.nan
    elif how == "no size":
        header["sform_code"], header["pixdim"][1] = 0, 0
    elif how == "other sizes":  # differs from the sform, which alone defines the positions
        image.set_qform(moved, code=0)
        header["pixdim"][1:4] *= 1.01
    if how in ("NaN", "no size"):  # nibabel would repair it
        path.write_bytes(header.binaryblock + b"\0" * 4 + voxels.tobytes("F"))
    else:
        nib.save(nib.Nifti1Image(voxels, None, header), path)
    return path


TWO_PLACES = {
    "two forms": "place its voxels up to 34.6 mm apart, and tools differ in which one they use; keep one",
    "micrometres": "gives lengths in micrometres",
    "NaN": "holds NaN or infinite numbers",
    "no size": "every size must be above 0",
}

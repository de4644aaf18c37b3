"""What the header of an image file says, whatever the format."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..basics.bounds import MOST_EXPANSION, MOST_VOXELS
from ..basics.errors import InputError, times


@dataclass(frozen=True)
class Header:
    """A header that was checked; making one compares it with the bounds and with the length of the file.

    Raises:
        InputError: too many voxels, or a file that is too short or too long for them.
    """

    path: Path
    sizes: tuple[int, ...]
    """Of all axes, the first one the fastest in the file."""
    dtype: np.dtype
    """Of the stored numbers, with their byte order."""
    affine: np.ndarray
    """Voxels -> RAS mm: (4, 4), or (3, 3) for a true 2-D image."""
    data: Path
    """The file with the voxels: ``path``, or one beside it."""
    start: int = 0
    """Where the data begin in it: bytes."""
    skip: int = 0
    """Bytes before the voxels in the data, once they are decompressed."""
    compression: str = ""
    """``gzip``, ``zlib`` or none."""
    component_axis: int | None = None
    """The axis along which the numbers of one voxel lie."""
    scale: tuple[float, float] = (1.0, 0.0)
    """Slope and intercept: value = slope * stored + intercept."""
    undirected: str = ""
    """Why it is unknown how the axes lie in the world, or nothing."""
    unframed: str = ""
    """Why it is unknown along which axes the components of a vector point, or nothing."""

    def __post_init__(self) -> None:
        if math.prod(self.shape) > MOST_VOXELS:
            raise InputError(
                f"the header of {self.path} states {times(self.shape)} voxels, more than {MOST_VOXELS:,}; is it "
                "damaged?"
            )
        there, stated = self.data.stat().st_size - self.start, self.data_bytes
        short = there * MOST_EXPANSION < stated if self.compression else there != stated
        if short:
            raise truncated(self.path, f"{there} bytes of data, but its header states {stated}")

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the axes that count voxels."""
        return tuple(size for axis, size in enumerate(self.sizes) if axis != self.component_axis)

    @property
    def components(self) -> int:
        """Numbers per voxel."""
        return 1 if self.component_axis is None else self.sizes[self.component_axis]

    @property
    def data_bytes(self) -> int:
        """The length of the data, once they are decompressed."""
        return self.skip + math.prod(self.sizes) * self.dtype.itemsize

    @property
    def value_type(self) -> np.dtype:
        """Of the values, native: that of the stored numbers, or float32 where they are scaled."""
        return self.dtype.newbyteorder("=") if self.scale == (1, 0) else np.dtype(np.float32)

    def check_direction(self) -> None:
        """Raise InputError if the file does not say how its axes lie in the world.

        Every tool then assumes something else: ITK that they are the patient's axes, nibabel that the first one is
        flipped and the origin in the middle.
        """
        if self.undirected:
            raise InputError(
                f"{self.path} has no direction cosines ({self.undirected}), so where its voxels lie is unknown; "
                "write its orientation into its header."
            )


def truncated(path: Path, found: str) -> InputError:
    """For a file that does not hold what its header states."""
    return InputError(f"{path} is truncated or damaged ({found}); copy or download it again.")


def ras_affine(axes: np.ndarray, origin: np.ndarray, signs: tuple[int, ...]) -> np.ndarray:
    """The affine of a header: ``axes`` (mm per voxel, one in each column), ``origin`` (mm), ``signs`` (to RAS)."""
    world = min(len(origin), 3)
    affine = np.eye(world + 1)
    affine[:-1, :-1], affine[:-1, -1] = axes[:world, :world], origin[:world]
    return np.diag([*signs[:world], 1.0]) @ affine

"""The header of an image file, independent of the format."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..basics.bounds import MOST_EXPANSION, MOST_VOXELS
from ..basics.errors import InputError, times


@dataclass(frozen=True)
class Header:
    """A checked header. The constructor compares it with the bounds and with the length of the file.

    Raises:
        InputError: there are too many voxels, or the file is too short or too long for them.
    """

    path: Path
    sizes: tuple[int, ...]
    """Sizes of all axes; the first axis varies fastest in the file."""
    dtype: np.dtype
    """Type of the stored numbers, with their byte order."""
    affine: np.ndarray
    """Affine, voxels -> RAS mm: (4, 4), or (3, 3) for a true 2-D image."""
    data: Path
    """The file with the voxels: ``path``, or another file in its folder."""
    start: int = 0
    """Position of the data in that file, in bytes."""
    skip: int = 0
    """Number of bytes before the voxels in the decompressed data."""
    compression: str = ""
    """``gzip``, ``zlib`` or empty."""
    component_axis: int | None = None
    """The axis of the components of a voxel, if it has several."""
    scale: tuple[float, float] = (1.0, 0.0)
    """Slope and intercept: value = slope * stored + intercept."""
    undirected: str = ""
    """Why the directions of the axes in the world are unknown, or empty."""
    unframed: str = ""
    """Why the frame of the vector components is unknown, or empty."""

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
        """The sizes of the voxel axes, without the component axis."""
        return tuple(size for axis, size in enumerate(self.sizes) if axis != self.component_axis)

    @property
    def components(self) -> int:
        """Number of components per voxel."""
        return 1 if self.component_axis is None else self.sizes[self.component_axis]

    @property
    def data_bytes(self) -> int:
        """Length of the decompressed data in bytes."""
        return self.skip + math.prod(self.sizes) * self.dtype.itemsize

    @property
    def value_type(self) -> np.dtype:
        """Type of the values in native byte order: the stored type, or float32 if values are scaled."""
        return self.dtype.newbyteorder("=") if self.scale == (1, 0) else np.dtype(np.float32)

    def check_direction(self) -> None:
        """Raise InputError if the file does not state the directions of its axes in the world.

        Tools then make different assumptions: ITK takes the patient's axes; nibabel flips the first one and puts the
        origin in the middle.
        """
        if self.undirected:
            raise InputError(
                f"{self.path} has no direction cosines ({self.undirected}), so the place of its voxels is unknown; "
                "write the orientation into its header."
            )


def truncated(path: Path, found: str) -> InputError:
    """Return the error for a file that does not hold what its header states."""
    return InputError(f"{path} is truncated or damaged ({found}); copy or download it again.")


def ras_affine(axes: np.ndarray, origin: np.ndarray, signs: tuple[int, ...]) -> np.ndarray:
    """Make the affine of a header from ``axes`` (mm per voxel, in columns), ``origin`` (mm) and ``signs`` (to RAS)."""
    world = min(len(origin), 3)
    affine = np.eye(world + 1)
    affine[:-1, :-1], affine[:-1, -1] = axes[:world, :world], origin[:world]
    return np.diag([*signs[:world], 1.0]) @ affine

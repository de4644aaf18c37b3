"""Random smooth velocity fields for random diffeomorphic deformations, and smooth noise."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy import fft, ndimage
from torch import Tensor


def random_velocity(
    shape: Sequence[int], generator: torch.Generator | None, magnitude: float, smoothness: float
) -> Tensor:
    """Draw a random stationary velocity field: Gaussian-filtered white noise, scaled to a given largest speed.

    The noise is filtered periodically, so its strength is the same everywhere. Each component then fades to 0 over
    2 · ``smoothness`` voxels towards the two faces that are perpendicular to it. The flow therefore slides along the
    faces and maps the grid onto itself: exp(v) and exp(-v) are inverse up to the edge, and the padding of
    :func:`integrate` does not matter.

    Args:
        shape: the D = 2 or 3 sizes of the grid.
        generator: generator of the noise; the same state gives the same field. None uses torch's global one.
        magnitude: length of the longest vector in voxels per unit time; exp(v) displaces no voxel farther.
        smoothness: standard deviation of the Gaussian filter in voxels. Below about half the magnitude, exp(v) is so
            steep that the sampled field can fold, although the flow itself cannot.

    Returns:
        (1, D, *shape), float32, on the CPU.

    Raises:
        ValueError: there are not 2 or 3 sizes of at least 3 points, or a number is negative or not finite.
    """
    shape = tuple(int(size) for size in shape)
    if len(shape) not in (2, 3) or min(shape) < 3:
        raise ValueError(f"a random velocity needs 2 or 3 sizes of at least 3 points, got {shape}")
    for name, value in (("magnitude", magnitude), ("smoothness", smoothness)):
        if not 0 <= value < np.inf:
            raise ValueError(f"{name} must be a number of voxels, 0 or more, got {value}")
    components = [
        _fading(size, axis, len(shape), smoothness) * _periodic_gaussian(component, smoothness)
        for axis, (size, component) in enumerate(zip(shape, _white((len(shape), *shape), generator), strict=True))
    ]
    velocity = torch.from_numpy(np.stack(components)[None].astype(np.float32, copy=False))
    return velocity * (magnitude / velocity.norm(dim=1).max().clamp_min(1e-30))


def smooth_noise(shape: Sequence[int], generator: torch.Generator | None, smoothness: float) -> Tensor:
    """Draw Gaussian-filtered white noise, periodic at the edges and scaled to a standard deviation of 1.

    Args:
        shape: the sizes of the grid.
        generator: generator of the noise; the same state gives the same noise. None uses torch's global one.
        smoothness: standard deviation of the Gaussian filter in voxels, 0 or more.

    Returns:
        (*shape), float32, on the CPU.
    """
    noise = _periodic_gaussian(_white(shape, generator), smoothness)
    return torch.from_numpy(noise / max(float(noise.std()), 1e-30)).float()


def _white(shape: Sequence[int], generator: torch.Generator | None) -> np.ndarray:
    device = "cpu" if generator is None else generator.device
    return torch.randn(tuple(shape), generator=generator, device=device).cpu().numpy()


def _periodic_gaussian(noise: np.ndarray, sigma: float) -> np.ndarray:
    # In Fourier space the cost does not grow with sigma.
    spectrum = ndimage.fourier_gaussian(fft.rfftn(noise), sigma, n=noise.shape[-1])
    return fft.irfftn(spectrum, s=noise.shape)  # pyright: ignore[reportReturnType]


def _fading(size: int, axis: int, axes: int, smoothness: float) -> np.ndarray:
    """Return sin² ramps from 0 at both ends of ``axis`` to 1 inside, shaped for broadcasting over the grid."""
    width = max(1.0, min(2 * smoothness, (size - 1) / 2))
    position = np.arange(size)
    depth = np.minimum(position, size - 1 - position)
    ramp = np.sin(np.pi / 2 * np.minimum(depth / width, 1)) ** 2
    return ramp.astype(np.float32).reshape([-1 if other == axis else 1 for other in range(axes)])

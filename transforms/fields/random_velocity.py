"""Random smooth velocity fields, for random diffeomorphic deformations."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy import fft, ndimage
from torch import Tensor


def random_velocity(
    shape: Sequence[int], generator: torch.Generator | None, magnitude: float, smoothness: float
) -> Tensor:
    """A random stationary velocity field: white Gaussian noise, Gaussian-filtered, scaled to a largest speed.

    The noise is filtered as if it were periodic, so that its strength is the same everywhere. Then every component
    fades to 0 towards the two faces of the grid that it is perpendicular to, over 2 · ``smoothness`` voxels: the flow
    slides along the faces and maps the grid onto itself, so that exp(v) and exp(-v) are inverse up to the edge, and
    the padding of :func:`integrate` does not matter.

    Args:
        shape: the D = 2 or 3 sizes of the grid.
        generator: where the noise is drawn from; the same state gives the same field. None is torch's global one.
        magnitude: the length of the longest vector, voxels per unit time; no voxel is displaced further by exp(v).
        smoothness: standard deviation of the Gaussian filter, voxels. Below about half of ``magnitude`` exp(v) gets so
            steep that its samples fold here and there, although the flow itself cannot.

    Returns:
        (1, D, *shape), float32, on the CPU.

    Raises:
        ValueError: not 2 or 3 sizes of at least 3 points, or a magnitude or smoothness that is negative or not finite.
    """
    shape = tuple(int(size) for size in shape)
    if len(shape) not in (2, 3) or min(shape) < 3:
        raise ValueError(f"a random velocity needs 2 or 3 sizes of at least 3 points, got {shape}")
    for name, value in (("magnitude", magnitude), ("smoothness", smoothness)):
        if not 0 <= value < np.inf:
            raise ValueError(f"{name} must be a number of voxels, 0 or more, got {value}")
    device = "cpu" if generator is None else generator.device
    noise = torch.randn((len(shape), *shape), generator=generator, device=device).cpu().numpy()
    components = [
        _fading(size, axis, len(shape), smoothness) * _periodic_gaussian(component, smoothness)
        for axis, (size, component) in enumerate(zip(shape, noise, strict=True))
    ]
    velocity = torch.from_numpy(np.stack(components)[None].astype(np.float32, copy=False))
    return velocity * (magnitude / velocity.norm(dim=1).max().clamp_min(1e-30))


def _periodic_gaussian(noise: np.ndarray, sigma: float) -> np.ndarray:
    # In Fourier space, where the cost does not grow with sigma.
    spectrum = ndimage.fourier_gaussian(fft.rfftn(noise), sigma, n=noise.shape[-1])
    return fft.irfftn(spectrum, s=noise.shape)  # pyright: ignore[reportReturnType]


def _fading(size: int, axis: int, axes: int, smoothness: float) -> np.ndarray:
    """sin² ramps from 0 at both ends of ``axis`` to 1 inside, shaped for broadcasting over a grid of D axes."""
    width = max(1.0, min(2 * smoothness, (size - 1) / 2))
    position = np.arange(size)
    depth = np.minimum(position, size - 1 - position)
    ramp = np.sin(np.pi / 2 * np.minimum(depth / width, 1)) ** 2
    return ramp.astype(np.float32).reshape([-1 if other == axis else 1 for other in range(axes)])

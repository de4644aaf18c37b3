"""Parts of figures of images: a slice, a warped grid, a Jacobian map."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

GRID_COLOUR, FOLD_COLOUR, FOLD_IN_MAP = "#56B4E9", "#FF2A2A", "#00A000"


def show(axes: Axes, image: np.ndarray, down: bool = True, aspect: float = 1.0, **how: Any) -> Any:
    """Show an image (H, W): axis 0 to the right, axis 1 down (``down``) or up.

    ``aspect``: voxel size along W divided by that along H.
    """
    picture = axes.imshow(image.T, origin="upper" if down else "lower", interpolation="nearest", aspect=aspect, **how)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    return picture


def panel(image: np.ndarray, width: float = 1.45, aspect: float = 1.0) -> tuple[float, float]:
    """Height and width of the panel of an image, in inches."""
    return width * aspect * image.shape[1] / image.shape[0], width


def brightest(*images: np.ndarray) -> float:
    """The intensity that is drawn white: the largest 99.8th percentile of the images."""
    return max(float(np.percentile(image, 99.8)) for image in images) or 1.0


def determinant_of(displacement: np.ndarray) -> np.ndarray:
    """The Jacobian determinant (*spatial) of a displacement (D, *spatial) in voxels."""
    import torch

    from ...transforms import jacobian_determinant

    return jacobian_determinant(torch.from_numpy(np.ascontiguousarray(displacement, np.float64))[None])[0].numpy()


def draw_grid(axes: Axes, displacement: np.ndarray, determinant: np.ndarray) -> None:
    """Draw the grid lines of the moving image, warped onto the fixed grid, and mark folded voxels.

    ``displacement``: (2, H, W) in voxels, within the plane. ``determinant``: (H, W). Point x of the warped image shows
    moving(x + u(x)), so the line "axis i = c" of the moving image is the contour line x_i + u_i(x) = c.
    """
    shape = displacement.shape[1:]
    spacing = max(2, round(min(shape) / 20))
    for axis, positions in enumerate(np.meshgrid(*map(np.arange, shape), indexing="ij")):
        levels = np.arange(spacing / 2, shape[axis], spacing)
        values = (positions + displacement[axis]).T
        axes.contour(values, levels=levels, colors=GRID_COLOUR, linewidths=0.45, linestyles="solid")
    _mark(axes, determinant, FOLD_COLOUR)


def draw_determinant(axes: Axes, determinant: np.ndarray, down: bool = True, aspect: float = 1.0) -> Any:
    """Show the Jacobian determinant (H, W): white where volume is kept, marked where it is not positive."""
    picture = show(axes, np.clip(determinant, 0, 3), down, aspect, **determinant_colours())
    _mark(axes, determinant, FOLD_IN_MAP)
    return picture


def determinant_colours() -> dict[str, Any]:
    """The colour map of `draw_determinant` and its norm."""
    return {"cmap": "RdBu_r", "norm": TwoSlopeNorm(1.0, 0.0, 3.0)}


def determinant_bar(figure: Figure, picture: Any, panels: list[Axes] | None = None, **how: Any) -> None:
    """Add the colour bar of `draw_determinant`, beside ``panels`` or in the axes ``cax``."""
    figure.colorbar(
        picture, ax=panels, label="Jacobian determinant\n(1: volume kept; green: folded)",
        ticks=[0, 0.5, 1, 2, 3], format=lambda value, _: f"{value:g}" if value < 3 else "≥ 3", **how,
    )  # fmt: skip


def _mark(axes: Axes, determinant: np.ndarray, colour: str) -> None:
    folded = np.argwhere(determinant <= 0)
    axes.scatter(folded[:, 0], folded[:, 1], s=2.5, marker="s", color=colour, linewidths=0, zorder=3)

"""Small pictures of an example pair, as bytes of WebP files. Each panel is a file, so that a narrow page can wrap."""

import io
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.image import imsave

from ..figures import panels
from ..figures.style import styled

LONGEST_SIDE, SHORTEST_SIDE = 288, 96
"""Pixels of a panel's longer side, and what it is reduced to at most."""
MANY_TRIALS = 100
"""With more trials, the panels get smaller, so that the page does not grow without limit."""
INCHES = 1.45
"""Width of a panel, as in the figures of example pairs: lines and marks have the same size relative to the image."""
QUALITY = 70
PAGE_DPI = 96


def longest_side(trials: int) -> int:
    """The longer side of a panel in pixels, for a page with the pictures of this many trials."""
    return max(SHORTEST_SIDE, round(LONGEST_SIDE * min(1.0, MANY_TRIALS / trials) ** 0.5))


def moving_and_fixed(moving: np.ndarray, fixed: np.ndarray, down: bool, side: int = LONGEST_SIDE) -> list[bytes]:
    """The images (H, W) of a pair before registration; ``side``: pixels of a panel's longer side."""
    top = panels.brightest(moving, fixed)
    drawn = [lambda axes, image=image: panels.show(axes, image, down, vmin=0, vmax=top) for image in (moving, fixed)]
    return _draw(fixed.shape, side, drawn)


def registered(
    warped: np.ndarray, displacement: np.ndarray, top: float, down: bool, side: int = LONGEST_SIDE
) -> list[bytes]:
    """The warped image (H, W), the same with its grid and folding, and the map of Jacobian determinants.

    Args:
        warped: the warped image (H, W).
        displacement: the displacement (2, H, W) in voxels, within the plane.
        top: the intensity that is drawn white.
        down: whether axis 1 points down.
        side: pixels of a panel's longer side.
    """
    determinant = panels.determinant_of(displacement)

    def image(axes: Axes) -> None:
        panels.show(axes, warped, down, vmin=0, vmax=top)

    def grid(axes: Axes) -> None:
        image(axes)
        panels.draw_grid(axes, displacement, determinant)

    def determinants(axes: Axes) -> None:
        panels.draw_determinant(axes, determinant, down)

    return _draw(warped.shape, side, [image, grid, determinants])


def determinant_key() -> bytes:
    """The colour bar of the map of determinants, without its map."""
    with styled():
        figure = Figure(figsize=(2.5, 0.72), dpi=2 * PAGE_DPI)
        bar = figure.add_axes((0.05, 0.8, 0.87, 0.18))
        panels.determinant_bar(
            figure, ScalarMappable(**panels.determinant_colours()), cax=bar, orientation="horizontal"
        )
        return _encoded(_pixels(FigureCanvasAgg(figure)), lossless=True)


def _draw(shape: Sequence[int], side: int, drawn: Sequence[Callable[[Axes], object]]) -> list[bytes]:
    """Every panel of images (H, W) of this shape, drawn by its own function. Axis 0 is the width."""
    width, height = (max(1, round(side * length / max(shape))) for length in shape)
    dpi, count = width / INCHES, len(drawn)
    with styled():
        figure = Figure(figsize=(count * width / dpi, height / dpi), dpi=dpi)
        canvas = FigureCanvasAgg(figure)
        for place, draw in enumerate(drawn):
            draw(figure.add_axes((place / count, 0, 1 / count, 1)))
        pixels = _pixels(canvas)
    return [_encoded(part, quality=QUALITY) for part in np.array_split(pixels, count, axis=1)]


def _pixels(canvas: FigureCanvasAgg) -> np.ndarray:
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def _encoded(pixels: np.ndarray, **how: object) -> bytes:
    file = io.BytesIO()
    imsave(file, np.ascontiguousarray(pixels), format="webp", pil_kwargs=how)
    return file.getvalue()

"""Overview of one registration: images, differences before and after, the warped grid and the Jacobian map."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from nibabel.orientations import apply_orientation, io_orientation

from ...pipeline.images.reading import axes_of
from ...transforms import PhysicalField
from .panels import brightest, determinant_bar, determinant_of, draw_determinant, draw_grid, panel, show
from .style import caption, new_figure, styled

HEADINGS = ("moving", "fixed", "warped", "moving - fixed", "warped - fixed", "warped grid", "Jacobian")
SECTIONS = ("across axis 0", "across axis 1", "across axis 2")
PLANES = ("sagittal", "coronal", "axial")
"""The names of the sections of a volume in RAS."""


class _Section(NamedTuple):
    """A plane of the pair: images and determinant (H, W), in-plane displacement (2, H, W) in voxels.

    ``aspect``: voxel size along W divided by that along H.
    """

    name: str
    moving: np.ndarray
    fixed: np.ndarray
    warped: np.ndarray
    displacement: np.ndarray
    determinant: np.ndarray
    aspect: float


def overview(
    moving: np.ndarray,
    fixed: np.ndarray,
    warped: np.ndarray,
    displacement: np.ndarray,
    title: str = "Registration",
    words: str = "",
    spacing: Sequence[float] | None = None,
    down: bool = True,
    names: Sequence[str] = SECTIONS,
) -> Figure:
    """One row of pictures for a 2-D pair; three rows for a 3-D pair, one for each middle section.

    Args:
        moving, fixed, warped: images (*spatial) on one grid.
        displacement: (D, *spatial) in voxels of that grid: warped(x) = moving(x + u(x)).
        title: the text above the pictures.
        words: the text below the pictures.
        spacing: mm per voxel, D numbers; default: equal.
        down: whether the second axis of a section points down; it points up in 3-D images in RAS.
        names: the names of the three sections.
    """
    sections = _sections((moving, fixed, warped), displacement, spacing or [1.0] * fixed.ndim, names)
    with styled():
        heights = [panel(section.fixed, 1.35, section.aspect)[0] for section in sections]
        figure = new_figure(7 * 1.6 + 1.5, sum(heights) + 0.1 * len(sections) + 0.9, title)
        grid = figure.subplots(len(sections), 7, squeeze=False, gridspec_kw={"height_ratios": heights})
        pictures = [_row(line, section, down) for line, section in zip(grid, sections, strict=True)]
        for axes, heading in zip(grid[0], HEADINGS, strict=True):
            axes.set_title(heading)
        determinant_bar(figure, pictures[0], grid.ravel().tolist(), shrink=0.95, aspect=15 * len(sections))
        caption(figure, words)
    return figure


def overview_in_world(
    moving: np.ndarray, fixed: np.ndarray, warped: np.ndarray, field: PhysicalField, title: str, words: str = ""
) -> Figure:
    """The overview on the fixed grid of ``field``; a volume is turned to RAS (right, anterior, superior).

    Args:
        moving, fixed, warped: images (*spatial) on that grid.
        field: only its displacement is drawn, not its affine.
        title: the text above the pictures.
        words: the text below the pictures.
    """
    grid, displacement = field.fixed, field.displacement.numpy()
    if grid.axes == 2:
        down = grid.world_axes == 2 or axes_of(grid.affine)[1] in "IP"
        return overview(moving, fixed, warped, displacement, title, words, grid.spacing, down)
    turn = io_orientation(grid.affine)
    own = np.argsort(turn[:, 0])  # for each axis of RAS, the axis of the image
    moving, fixed, warped = (apply_orientation(image, turn) for image in (moving, fixed, warped))
    turned = np.stack([apply_orientation(displacement[axis], turn) * turn[axis, 1] for axis in own])
    return overview(moving, fixed, warped, turned, title, words, [grid.spacing[axis] for axis in own], False, PLANES)


def _row(line: Sequence[Axes], section: _Section, down: bool) -> object:
    line[0].set_ylabel(section.name)
    top = brightest(section.moving, section.fixed)
    for axes, image in zip(line, (section.moving, section.fixed, section.warped), strict=False):
        show(axes, image, down, section.aspect, vmin=0, vmax=top)
    for axes, image in zip(line[3:], (section.moving, section.warped), strict=False):
        show(axes, image - section.fixed, down, section.aspect, cmap="RdBu_r", vmin=-top, vmax=top)
    show(line[5], section.warped, down, section.aspect, vmin=0, vmax=top)
    draw_grid(line[5], section.displacement, section.determinant)
    return draw_determinant(line[6], section.determinant, down, section.aspect)


def _sections(
    images: Sequence[np.ndarray], displacement: np.ndarray, spacing: Sequence[float], names: Sequence[str]
) -> list[_Section]:
    """``images``: moving, fixed and warped."""
    images = [np.asarray(image, np.float32) for image in images]
    displacement = np.asarray(displacement, np.float32)
    determinant = determinant_of(displacement)  # of the whole volume: a plane alone does not show every fold
    if len(displacement) == 2:
        return [_Section._make(("", *images, displacement, determinant, spacing[1] / spacing[0]))]
    found = []
    for axis, name in enumerate(names):
        a, b = (other for other in range(3) if other != axis)
        middle = determinant.shape[axis] // 2
        *cut, folds = (values.take(middle, axis) for values in (*images, determinant))
        plane = displacement[[a, b]].take(middle, axis + 1)
        found.append(_Section._make((name, *cut, plane, folds, spacing[b] / spacing[a])))
    return found

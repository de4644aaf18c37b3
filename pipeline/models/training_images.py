"""The images a network was trained on, and the adaptation of other images to their grid and intensities."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ...transforms import Geometry, InputError
from ...transforms.basics.bounds import MOST_NETWORK_VOXELS
from ...transforms.basics.errors import quoted, times
from ..cohorts.loading import SAME_SPACING
from ..cohorts.preparation import Prepared
from ..images.reading import axes_of
from ..images.volumes import Volume
from .image_notes import EXPECTED, checked
from .intensity_level import ALIKE, BRIGHT, DARK, TISSUE, UNKNOWN, Units, offset_of, percentile, shows

OPPOSITE = dict(zip("LRPAIS", "RLAPSI", strict=True))
PLANES = {"LR": "sagittal", "AP": "coronal", "IS": "axial"}
MOST_UNLIKE = 8.0
"""A field of view larger or smaller by this factor along every axis means that voxel sizes have wrong units."""
HIGH = 0.25
"""Darkest voxels above this fraction of the tissue level suggest that intensities have an offset."""
LEAST_COMMON = 0.01
"""Smallest fraction of the fixed grid that must be foreground in both images."""


@dataclass(frozen=True)
class TrainingImages:
    """The grid and the intensities of the training images; None or empty where they are not recorded.

    ``shape``: voxels. ``spacing``: mm per voxel. ``axes``: directions of the axes, see ``Sample``. ``brightest``,
    ``tissue``, ``darkest``: intensity levels of the brightest voxels, the tissue and the darkest voxels, after scaling,
    as medians over the training subjects. ``spread``: the largest factor between a subject's tissue level and their
    median.
    """

    shape: tuple[int, ...] | None = None
    spacing: tuple[float, ...] | None = None
    axes: str = ""
    brightest: float | None = None
    tissue: float | None = None
    darkest: float = 0.0
    spread: float = UNKNOWN

    @classmethod
    def of(cls, prepared: Prepared, names: Sequence[str] | None = None) -> "TrainingImages":
        """The grid and the intensities of a trial's training subjects, or of the subjects ``names``."""
        samples = [prepared.samples[name] for name in (prepared.split.train if names is None else names)]
        images = [sample["image"] for sample in samples]
        bright, dark = (float(np.median([percentile(image, p) for image in images])) for p in (BRIGHT, DARK))
        tissues = np.array([percentile(image[shows(image)], TISSUE) for image in images])
        tissue = float(np.median(tissues))
        spread = float(np.exp(np.abs(np.log(np.maximum(tissues - dark, 1e-30) / max(tissue - dark, 1e-30))).max()))
        first = samples[0]  # all have the same grid
        shape, (brightest, level) = tuple(first["image"].shape[1:]), (v if v > 0 else None for v in (bright, tissue))
        return cls(shape, first["spacing"], first["axes"], brightest, level, dark, min(spread, UNKNOWN))

    @classmethod
    def read(cls, noted: Any, axes: int, where: Path) -> "TrainingImages":
        """Read the values that :meth:`note` wrote; other values are ignored.

        Args:
            noted: the values in the file ``where``.
            axes: the network's number of axes.
            where: the file, for error messages.

        Raises:
            InputError: images cannot have such a value.
        """
        if not isinstance(noted, Mapping):
            raise InputError(f"{where}: about.images is {quoted(noted)}, expected a mapping.")
        known = {name: noted[name] for name in EXPECTED if noted.get(name) is not None}
        return cls(
            **{name: checked(name, value, axes, f"{where}: about.images.{name}") for name, value in known.items()}
        )

    def note(self) -> dict[str, Any]:
        """The values as plain JSON types."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def grid_over(self, image: Volume) -> Geometry:
        """A grid at the centre of ``image`` with the axes and the spacing of the training images.

        It covers the image and has at least the shape of the training images. If the image has their axes and spacing,
        the grid has the image's voxels, so that nothing is interpolated.

        Raises:
            InputError: as :meth:`check_extent`, or the grid has too many voxels.
        """
        self.check_extent(image)
        grid = image.grid
        columns, sizes, middle = [], [], []
        for axis, (own, sign) in enumerate(self._order(image)):
            length, spacing = grid.shape[own], grid.spacing[own]
            step = spacing if self.spacing is None else self.spacing[axis]
            keeps = abs(spacing / step - 1) <= SAME_SPACING
            step = spacing if keeps else step
            needed = length if keeps else int(np.ceil(length * spacing / step))
            size = needed if self.shape is None else max(needed, self.shape[axis])
            columns.append(sign * grid.affine[:-1, own] / spacing * step)
            sizes.append(size)
            # if voxels are kept, a whole number of voxels is added before the image, so that both grids match
            middle.append((size - 1) / 2 + ((size - length) % 2 / 2 if keeps else 0))
        if math.prod(sizes) > MOST_NETWORK_VOXELS:
            raise InputError(
                f"{image.path} ({grid}) needs {'x'.join(map(str, sizes))} voxels of {self._voxels()} for this model, "
                f"more than {MOST_NETWORK_VOXELS:,}; are its voxel sizes in mm? Crop or resample it."
            )
        affine = grid.affine.copy()
        centre = affine[:-1, -1] + affine[:-1, : grid.axes] @ (np.array(grid.shape) - 1) / 2
        affine[:-1, : grid.axes] = np.stack(columns, axis=1)
        affine[:-1, -1] = centre - affine[:-1, : grid.axes] @ middle
        return Geometry(tuple(sizes), affine)

    def check_extent(self, image: Volume) -> None:
        """Raise InputError if the model cannot be used for this image.

        The image has another number of axes, is a slice of another plane, or its field of view has another order of
        magnitude than that of the training images.
        """
        grid = image.grid
        if self.shape is not None and grid.axes != len(self.shape):
            raise InputError(
                f"{image.path} has {grid.axes} axes ({times(grid.shape)} voxels), but the model was trained on "
                f"{len(self.shape)}-D images; choose a model for {grid.axes}-D images."
            )
        order = self._order(image)
        if self.shape is None or self.spacing is None:
            return
        known = np.multiply(self.shape, self.spacing)
        extent = np.array([grid.shape[own] * grid.spacing[own] for own, _ in order])
        if (extent / known).min() > MOST_UNLIKE or (extent / known).max() < 1 / MOST_UNLIKE:
            raise InputError(
                f"{image.path} spans {times(extent.round(4))} mm, but the model was trained on images of "
                f"{times(known.round(1))} mm ({times(self.shape)} voxels of {self._voxels()}); are its voxel sizes "
                f"({times(np.round(grid.spacing, 6))}) in mm?"
            )

    def _voxels(self) -> str:
        return "their size" if self.spacing is None else f"{times(self.spacing)} mm"

    def _order(self, image: Volume) -> list[tuple[int, int]]:
        """For each axis of the training images: the image's parallel axis, and +1, or -1 for the opposite direction."""
        axes = axes_of(image.grid.affine) if image.grid.world_axes == 3 else ""
        if not self.axes or not axes:
            return [(axis, 1) for axis in range(image.grid.axes)]
        order = []
        for letter in self.axes[: image.grid.axes]:
            leads = [letter in (own, OPPOSITE[own]) for own in axes[: image.grid.axes]]
            if not any(leads):
                raise InputError(
                    f"{image.path} is a slice of the {plane_of(axes)} plane, but the model was trained on slices of "
                    f"the {plane_of(self.axes)} one."
                )
            own = leads.index(True)
            order.append((own, 1 if axes[own] == letter else -1))
        return order

    def units(self, moving: Tensor, fixed: Tensor, overlaid: Tensor, inside: Tensor) -> tuple[Units, Units] | None:
        """The conversions of both images of a pair from any units to the intensities of the training images.

        Each maps the image's tissue level to that of the training images. It also maps the darkest voxels to theirs if
        there is an offset: the image's darkest voxels are below 0, or those of the training images are not 0. None if
        both images already match, within the variation of the training images, or if the levels are not known.

        Args:
            moving, fixed: images scaled as in training, (1, *spatial), each on its own grid.
            overlaid: the moving image resampled on the fixed grid, before the network.
            inside: mask (*spatial) of the voxels of ``overlaid`` that are within the moving image.
        """
        if self.brightest is None:
            return None
        images, on_grid = (moving, fixed), (overlaid, fixed)
        both = shows(overlaid, inside) & shows(fixed)
        apart = float(both.float().mean()) < LEAST_COMMON  # then use the foreground of each image
        tissues = [
            percentile(image[shows(image)] if apart else laid[both], TISSUE)
            for image, laid in zip(images, on_grid, strict=True)
        ]
        ground = self.darkest if abs(self.darkest) > (ALIKE - 1) * (self.brightest - self.darkest) else 0.0
        lows = [offset_of(image, own, ground) for image, own in zip(images, tissues, strict=True)]
        above = [own - low for own, low in zip(tissues, lows, strict=True)]
        brights = [percentile(image, BRIGHT) - low for image, low in zip(images, lows, strict=True)]
        if min(*above, *brights) <= 0:
            return None
        if self.tissue is None:  # older model: assume the ratio to the brightest of the image without a bright rim
            level = self.brightest * max(own / bright for own, bright in zip(above, brights, strict=True))
        else:
            level = self.tissue - ground
        alike = max(self.spread, ALIKE)
        known = [
            level <= alike * own and own <= alike * level and abs(low - ground) <= (alike - 1) * level
            for own, low in zip(above, lows, strict=True)
        ]
        if all(known) or level <= 0:
            return None
        first, second = (Units(low, level / own, ground) for low, own in zip(lows, above, strict=True))
        return first, second

    def doubt(self, image: Tensor, path: Path) -> str:
        """A notice if an image (1, *spatial) seems to have an offset that the training images lack; otherwise "".

        The offset is not subtracted, because an image without background has no dark voxels, either.
        """
        low, tissue = percentile(image, DARK), percentile(image[shows(image)], TISSUE)
        if self.brightest is None or self.darkest > HIGH * self.brightest or not low > HIGH * tissue > 0:
            return ""
        return (
            f"the darkest voxels of {path} are {low:.3g} and its tissue is {tissue:.3g}, but the darkest voxels of the "
            f"training images are {self.darkest:.3g}; if its background is not 0, subtract it."
        )


def plane_of(axes: str) -> str:
    """The plane of a slice with these axes: ``coronal`` if A or P is the axis across it."""
    return next(name for letters, name in PLANES.items() if axes[-1] in letters)

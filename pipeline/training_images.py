"""What images a network was trained on, and how others are brought to look like them."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ..transforms import Geometry, InputError
from ..transforms.bounds import SPACINGS
from ..transforms.errors import quoted, times
from .images import axes_of
from .loading import SAME_SPACING, scale
from .preparation import Prepared
from .volumes import Volume

OPPOSITE = dict(zip("LRPAIS", "RLAPSI", strict=True))
ALL_AXES = [sorted(letters) for letters in itertools.product("LR", "AP", "IS")]
PLANES = {"LR": "sagittal", "AP": "coronal", "IS": "axial"}
BRIGHT = 99.8
"""The percentile that stands for an image's brightest voxels."""
MOST_VOXELS = 1 << 28
"""Of a grid: a network keeps dozens of numbers for each."""
MOST_UNLIKE = 8.0
"""A field of view that is so many times as large along every axis, or as small, is a mistake in the units."""
EXPECTED = {
    "shape": f"{{}} whole numbers from 1, of {MOST_VOXELS:,} voxels at most",
    "spacing": f"{{}} numbers from {SPACINGS[0]:g} to {SPACINGS[1]:g}, mm",
    "axes": "three letters such as RAS",
    "brightest": "a positive number in single precision",
}
"""What a model's file may say about its images; {} is the number of the network's axes."""
ALIKE = 2.0
"""Images whose brightest voxels are within this factor of the training images' are left as they are."""


@dataclass(frozen=True)
class TrainingImages:
    """The grid and the intensities that a network knows; None or empty where that is not recorded.

    ``shape``: voxels. ``spacing``: mm per voxel. ``axes``: where they lead, see ``Sample``. ``brightest``: the median
    over the training subjects of their brightest voxels, after scaling.
    """

    shape: tuple[int, ...] | None = None
    spacing: tuple[float, ...] | None = None
    axes: str = ""
    brightest: float | None = None

    @classmethod
    def of(cls, prepared: Prepared) -> "TrainingImages":
        """Those of the training subjects."""
        samples = [prepared.samples[name] for name in prepared.split.train]
        bright = float(np.median([brightest(sample["image"]) for sample in samples]))
        first = samples[0]  # all are of one grid
        return cls(tuple(first["image"].shape[1:]), first["spacing"], first["axes"], bright if bright > 0 else None)

    @classmethod
    def read(cls, noted: Any, axes: int, where: Path) -> "TrainingImages":
        """From what :meth:`note` gave, whatever else is noted there.

        Args:
            noted: as it is in the file ``where``.
            axes: of the network.

        Raises:
            InputError: a value that no images have.
        """
        if not isinstance(noted, Mapping):
            raise InputError(f"{where}: about.images is {quoted(noted)}, expected a mapping.")
        known = {name: noted[name] for name in EXPECTED if noted.get(name) is not None}
        return cls(
            **{name: checked(name, value, axes, f"{where}: about.images.{name}") for name, value in known.items()}
        )

    def note(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def grid_over(self, image: Volume) -> Geometry:
        """A grid around the middle of ``image`` with the axes and the spacing of the training images.

        It covers the image and is at least as large as they were. An image that has their axes and spacing keeps its
        own voxels, so that nothing is interpolated.

        Raises:
            InputError: as :meth:`check_extent`, or a grid of too many voxels.
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
            # a whole number of voxels before an image that keeps its own, so that none falls between two
            middle.append((size - 1) / 2 + ((size - length) % 2 / 2 if keeps else 0))
        if math.prod(sizes) > MOST_VOXELS:
            raise InputError(
                f"{image.path} ({grid}) takes {'x'.join(map(str, sizes))} voxels of {self._voxels()}, as the model "
                f"needs them, more than {MOST_VOXELS:,}; are its voxel sizes in mm? Crop it or resample it."
            )
        affine = grid.affine.copy()
        centre = affine[:-1, -1] + affine[:-1, : grid.axes] @ (np.array(grid.shape) - 1) / 2
        affine[:-1, : grid.axes] = np.stack(columns, axis=1)
        affine[:-1, -1] = centre - affine[:-1, : grid.axes] @ middle
        return Geometry(tuple(sizes), affine)

    def check_extent(self, image: Volume) -> None:
        """Raise InputError if the model cannot be for such an image.

        It has another number of axes, is a slice of another plane, or its field of view is of another order of
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
        return "own size" if self.spacing is None else f"{times(self.spacing)} mm"

    def _order(self, image: Volume) -> list[tuple[int, int]]:
        """For each axis of the training images: the image's axis that leads along it, and +1, or -1 against it."""
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

    def scale(self, image: Volume, intensity: str) -> tuple[Tensor, str]:
        """Intensities as in training, and a notice where that took more than the training's own scaling.

        Args:
            image: as it is in its file.
            intensity: ``cohort.intensity`` of the training.

        Returns:
            (1, *spatial) float32.

        Raises:
            InputError: as :func:`~smoothmorph.pipeline.loading.scale`; hardly a voxel is brighter than the darkest.
        """
        scaled = scale(image.values, intensity, str(image.path)).float()
        if brightest(scaled) == float(scaled.min()):
            raise InputError(
                f"fewer than {100 - BRIGHT:.2g} % of the voxels of {image.path} are brighter than its darkest ones, "
                "too few to register; crop it to what it shows."
            )
        if self.brightest is None or intensity != "none":
            return scaled, ""
        bright = brightest(scaled)
        if bright <= 0 or 1 / ALIKE <= bright / self.brightest <= ALIKE:
            return scaled, ""
        return scaled * (self.brightest / bright), (
            f"the brightest voxels of {image.path} are {bright:.3g} where those of the training images are "
            f"{self.brightest:.3g}; the network sees it scaled to match."
        )


def brightest(image: Tensor) -> float:
    """The percentile that stands for the brightest voxels."""
    return float(np.percentile(image.numpy(), BRIGHT))


def plane_of(axes: str) -> str:
    """``coronal`` for the axes of a slice that lies across A or P."""
    return next(name for letters, name in PLANES.items() if axes[-1] in letters)


def checked(name: str, value: Any, axes: int, where: str) -> Any:
    """What a file says at ``where`` of the images, as :class:`TrainingImages` has it.

    Raises:
        InputError: no images have that value.
    """
    if not _fits(name, value, axes):
        raise InputError(f"{where} is {quoted(value)}, expected {EXPECTED[name].format(axes)}.")
    return tuple(value) if isinstance(value, list) else value


def _fits(name: str, value: Any, axes: int) -> bool:
    """Whether ``value`` is as ``EXPECTED``."""
    if name == "axes":
        return isinstance(value, str) and (not value or sorted(value) in ALL_AXES)
    if name == "brightest":
        return _within(value, 0.0, float(np.finfo(np.float32).max)) and value > 0
    if not isinstance(value, list | tuple) or len(value) != axes:
        return False
    if name == "spacing":
        return all(_within(number, *SPACINGS) for number in value)
    return all(type(number) is int and number > 0 for number in value) and math.prod(value) <= MOST_VOXELS


def _within(value: Any, least: float, most: float) -> bool:
    return type(value) in (int, float) and least <= value <= most

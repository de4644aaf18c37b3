"""The files of one registration: two images, and if given their label maps and λ as a field."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ...transforms import InputError
from ..fields.apply import check_world
from ..images.affine_alignment import LEAST_OVERLAP
from ..images.reading import check_label
from ..images.relative_position import check_planes, overlap
from ..images.volumes import Volume
from ..models.built_in import advice


@dataclass(frozen=True)
class ImagePair:
    """The two images to register, and if given their label maps and λ as a field.

    ``weights`` is a factor on the penalty of the instance optimization, for every voxel of the fixed image.
    """

    moving: Volume
    fixed: Volume
    moving_labels: Volume | None = None
    fixed_labels: Volume | None = None
    weights: Volume | None = None

    def check(self, dims: int) -> None:
        """Raise InputError unless images are images, the other maps match them, and all have ``dims`` axes."""
        for image in (self.moving, self.fixed):
            if image.looks_like_labels:
                raise InputError(
                    f"{image.path} looks like a label map, as it holds integers and many equal those nearby; give "
                    "the image itself (to warp a label map, too, use --moving-labels)."
                )
            if image.grid.axes != dims:
                raise InputError(
                    f"the model is for {dims}-D images, but {image.path} is {image.grid.axes}-D; "
                    f"{advice(image.grid.axes)}."
                )
        check_world(self.moving.path, self.moving.grid, self.fixed.path, self.fixed.grid)
        for labels, image in ((self.moving_labels, self.moving), (self.fixed_labels, self.fixed)):
            if labels is not None:
                _check_labels(labels, image)
        if self.weights is not None:
            _check_weights(self.weights, self.fixed)

    def check_overlap(self, inside: Tensor) -> None:
        """Raise InputError if the images hardly overlap or are slices of different planes.

        ``inside``, the fixed voxels that lie in the moving image, is empty if two slices lie at different depths.
        """
        check_planes(self.fixed, self.moving)
        shared = overlap(self.fixed.grid, self.moving.grid, np.eye(4)) * bool(inside.any())
        if shared < LEAST_OVERLAP:
            raise InputError(
                f"{self.moving.path} and {self.fixed.path} share {100 * shared:.0f} % of the smaller field of view; "
                "add --affine to align them first."
            )

    @property
    def label_maps(self) -> tuple[Volume, Volume] | None:
        """The label maps, if both images have one."""
        both = self.moving_labels, self.fixed_labels
        return None if both[0] is None or both[1] is None else (both[0], both[1])

    def without_dice(self) -> str:
        """Why the label maps cannot tell an agreement; empty if they can, or there are none."""
        if (maps := self.label_maps) is None:
            return ""
        moving, fixed = ({int(value) for value in labels.values.unique() if value > 0} for labels in maps)
        if moving and fixed:
            return "" if moving & fixed else f"{maps[0].path} and {maps[1].path} share no label, so Dice is 0."
        return f"{maps[0].path if not moving else maps[1].path} holds no label above 0, so Dice says nothing."


def _check_labels(labels: Volume, image: Volume) -> None:
    check_label(labels.values, str(labels.path))
    if not labels.grid.is_same(image.grid):
        raise InputError(
            f"{labels.path} lies on another grid than its image {image.path}: {labels.grid}, expected "
            f"{image.grid}; resample the label map."
        )


def _check_weights(weights: Volume, fixed: Volume) -> None:
    if not weights.grid.is_same(fixed.grid):
        raise InputError(
            f"the weight map {weights.path} lies on another grid than the fixed image {fixed.path}: {weights.grid}, "
            f"expected {fixed.grid}; resample it onto this image."
        )
    if (least := float(weights.values.min())) < 0:
        raise InputError(f"the weight map {weights.path} has the value {least:g}, expected 0 or more everywhere.")

"""MONAI array transforms of deformations. Images are channel-first (C, *spatial), 2-D or 3-D, one sample at a time.

A displacement is (D, *spatial) here, voxels of the image's grid, warped(x) = image(x + u(x)); the functions of
:mod:`.fields` do the work. As from MONAI's own transforms, every input comes back as a ``MetaTensor`` that keeps its
affine and metadata (as a plain tensor where ``monai.data.set_track_meta(False)``); ``bilinear`` gives float32,
``nearest`` keeps the dtype and every value.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config.type_definitions import NdarrayOrTensor
from monai.data.meta_obj import get_track_meta
from monai.transforms.inverse import InvertibleTransform
from monai.transforms.transform import RandomizableTransform, Transform
from monai.utils.enums import TraceKeys, TransformBackends
from monai.utils.type_conversion import convert_to_dst_type, convert_to_tensor
from torch import Tensor

from .fields.jacobian import jacobian_determinant
from .fields.random_velocity import random_velocity
from .fields.warping import Interpolation, Padding, integrate, warp

_TORCH = [TransformBackends.TORCH]


class RandDiffeomorphic(RandomizableTransform, InvertibleTransform):
    """Warps an image with a random diffeomorphism exp(v), v a smooth random velocity.

    Sampled are three numbers: the magnitude, the smoothness and the seed of :func:`random_velocity`. They are the
    record in the image's ``applied_operations``, from which ``inverse`` warps with exp(-v): what comes back differs
    from the original by the blur of two interpolations, and where the image was moved out of its grid.

    Args:
        prob: probability that an image is deformed.
        magnitude: range of the largest velocity, voxels; bounds the largest displacement.
        smoothness: range of the Gaussian filter's standard deviation, voxels. Keep it above half the magnitude:
            no folding was seen there, and below it the field gets hard to sample.
        integration_steps: squarings of :func:`integrate`.
        mode: ``bilinear``, or ``nearest`` for label maps.
        padding_mode: beyond the image: ``border`` or ``zeros``.
    """

    backend = _TORCH

    def __init__(
        self,
        prob: float = 0.1,
        magnitude: Sequence[float] = (1.0, 5.0),
        smoothness: Sequence[float] = (8.0, 16.0),
        integration_steps: int = 7,
        mode: Interpolation = "bilinear",
        padding_mode: Padding = "border",
    ) -> None:
        RandomizableTransform.__init__(self, prob)
        self.magnitude = _check_range("magnitude", magnitude)
        self.smoothness = _check_range("smoothness", smoothness)
        if integration_steps < 1:
            raise ValueError(f"integration_steps must be 1 or more for a diffeomorphism, got {integration_steps}")
        self.integration_steps = integration_steps
        self.mode: Interpolation = mode
        self.padding_mode: Padding = padding_mode
        self.drawn: dict[str, float] = {"magnitude": 0.0, "smoothness": 0.0, "seed": 0}

    def randomize(self, data: Any = None) -> None:
        """Draws whether to deform, and the three parameters ``drawn``; magnitude 0 if not."""
        super().randomize(None)
        self.drawn = {"magnitude": 0.0, "smoothness": 0.0, "seed": 0}
        if self._do_transform:
            self.drawn = {
                "magnitude": float(self.R.uniform(*self.magnitude)),
                "smoothness": float(self.R.uniform(*self.smoothness)),
                "seed": int(self.R.randint(2**31 - 1)),
            }

    def displacement(self, spatial_shape: Sequence[int]) -> Tensor:
        """The displacement of the last draw on a grid of this shape: (D, *spatial), float32, zero where none."""
        return self._flow(self.drawn, spatial_shape)

    def __call__(self, img: NdarrayOrTensor, randomize: bool = True) -> Tensor:
        """The deformed image; ``randomize=False`` repeats the last draw."""
        if randomize:
            self.randomize()
        img = self.apply(img, self.displacement(img.shape[1:]), self.mode, self.padding_mode)
        return self.push_transform(img, extra_info=self.record(self.mode, self.padding_mode))

    def inverse(self, data: Tensor) -> Tensor:
        """Undoes the last deformation; ``data`` is a ``MetaTensor`` that this transform has returned."""
        return self.undo(data, self.pop_transform(data))

    def apply(self, img: NdarrayOrTensor, displacement: Tensor, mode: Interpolation, padding_mode: Padding) -> Tensor:
        """``img`` (C, *spatial) warped with the displacement of the last draw, or as it was if the draw was none."""
        image = _tracked(img)
        # A new tensor object either way: recording the transform must not touch the caller's.
        return _warped(image, displacement, mode, padding_mode) if self._do_transform else _like(_plain(image), image)

    def record(self, mode: Interpolation, padding_mode: Padding) -> dict[str, Any]:
        """What :meth:`undo` needs to know of the last draw: numbers and strings, which data loaders can collate."""
        return {**self.drawn, "mode": str(mode), "padding_mode": str(padding_mode)}

    def undo(self, img: Tensor, recorded: Mapping[str, Any]) -> Tensor:
        """``img`` (C, *spatial) warped with the inverse of a deformation that was recorded in its metadata."""
        if not recorded[TraceKeys.DO_TRANSFORM]:
            return img
        drawn = recorded[TraceKeys.EXTRA_INFO]
        displacement = self._flow(drawn, img.shape[1:], direction=-1)
        return _warped(img, displacement, drawn["mode"], drawn["padding_mode"])

    def _flow(self, drawn: Mapping[str, Any], spatial_shape: Sequence[int], direction: int = 1) -> Tensor:
        if drawn["magnitude"] == 0:
            return torch.zeros(len(spatial_shape), *spatial_shape)
        generator = torch.Generator().manual_seed(int(drawn["seed"]))
        velocity = random_velocity(spatial_shape, generator, float(drawn["magnitude"]), float(drawn["smoothness"]))
        return integrate(direction * velocity, self.integration_steps)[0]


class WarpImage(Transform):
    """Warps an image with a displacement that is given: warped(x) = image(x + u(x)).

    Args:
        mode: ``bilinear``, or ``nearest`` for label maps.
        padding_mode: beyond the image: ``border`` or ``zeros``.
    """

    backend = _TORCH

    def __init__(self, mode: Interpolation = "bilinear", padding_mode: Padding = "border") -> None:
        self.mode: Interpolation = mode
        self.padding_mode: Padding = padding_mode

    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        img: NdarrayOrTensor,
        displacement: NdarrayOrTensor,
        mode: Interpolation | None = None,
        reference: NdarrayOrTensor | None = None,
    ) -> Tensor:
        """``img`` (C, *spatial) warped with ``displacement`` (D, *spatial), voxels.

        Args:
            mode: overrides the own.
            reference: the fixed image, or what lies on its grid: the result takes its affine and metadata instead.
        """
        warped = _warped(_tracked(img), displacement, mode or self.mode, self.padding_mode)
        return warped if reference is None else _like(_plain(warped), _tracked(reference))


class JacobianDeterminant(Transform):
    """The map of det(I + ∂u/∂x) of a displacement: <= 0 where it folds, > 1 where the warped image is drawn from more
    space than it fills."""

    backend = _TORCH

    def __call__(self, displacement: NdarrayOrTensor) -> Tensor:
        """(D, *spatial), voxels -> (1, *spatial), float32 or better."""
        return _like(jacobian_determinant(_plain(displacement)[None]), _tracked(displacement))


class DeformationGrid(Transform):
    """A picture of a deformation: a regular grid of lines (planes in 3-D, so that every section shows lines), warped.

    Args:
        spacing: voxels from line to line.
        thickness: of a line, voxels, less than ``spacing``.
        axes: the axes along which the lines are spaced; None means all. For a section across axis 1 of a volume take
            (0, 2): the planes that lie in the section would cover it.
    """

    backend = _TORCH

    def __init__(self, spacing: int = 8, thickness: int = 1, axes: Sequence[int] | None = None) -> None:
        if not 0 < thickness < spacing:
            raise ValueError(f"a grid needs 0 < thickness < spacing, got thickness {thickness}, spacing {spacing}")
        self.spacing = spacing
        self.thickness = thickness
        self.axes = axes

    def __call__(self, displacement: NdarrayOrTensor) -> Tensor:
        """(D, *spatial), voxels -> (1, *spatial), 1 on the lines and 0 between them, bilinear."""
        plain = _plain(displacement)
        lines = torch.zeros(1, 1, *plain.shape[1:], device=plain.device)
        for axis in range(lines.ndim - 2) if self.axes is None else self.axes:
            # Half a cell from the edge, where lines would be hard to see.
            position = torch.arange(plain.shape[axis + 1], device=plain.device) + self.spacing // 2
            on_line = position % self.spacing < self.thickness
            lines.index_fill_(axis + 2, on_line.nonzero()[:, 0], 1.0)
        return _like(warp(lines, plain[None])[0], _tracked(displacement))


def _warped(img: Tensor, displacement: NdarrayOrTensor, mode: Interpolation, padding_mode: Padding) -> Tensor:
    image = _plain(img)
    if image.dtype == torch.float64 and mode == "bilinear":
        image = image.float()  # MONAI's spatial transforms return float32
    return _like(warp(image[None], _plain(displacement).to(image.device)[None], mode, padding_mode)[0], img)


def _tracked(data: NdarrayOrTensor) -> Tensor:
    """``data`` as a ``MetaTensor``, where MONAI tracks metadata."""
    if isinstance(data, np.ndarray) and data.dtype.kind == "u":
        data = torch.from_numpy(
            np.ascontiguousarray(data)
        )  # MONAI would make signed integers of it, large ones negative
    return convert_to_tensor(data, track_meta=get_track_meta())


def _plain(data: NdarrayOrTensor) -> Tensor:
    return convert_to_tensor(data, track_meta=False)


def _like(result: Tensor, source: Tensor) -> Tensor:
    """``result`` with the class and the metadata of ``source``."""
    return convert_to_dst_type(result, source, dtype=result.dtype)[0]


def _check_range(name: str, values: Sequence[float]) -> tuple[float, float]:
    if len(values) != 2 or not 0 <= values[0] <= values[1] < float("inf"):
        raise ValueError(f"{name} is a range (lowest, highest) of voxels, 0 <= lowest <= highest, got {values}")
    return float(values[0]), float(values[1])

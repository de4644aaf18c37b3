"""Pure functions for making images from label maps."""

from collections.abc import Sequence

import torch
from torch import Tensor


def thick_slices(image: Tensor, axis: int, thickness: float) -> Tensor:
    """Average an image over slices of ``thickness`` voxels along ``axis``, and interpolate it back.

    Args:
        image: (C, *spatial).
        axis: axis of the tensor, from 1 on.
        thickness: 1 or more; rounded so that a whole number of slices fills the axis.
    """
    size = image.shape[axis]
    slices = max(1, round(size / thickness))
    if slices == size:
        return image
    rows = image.movedim(axis, -1)
    flat = rows.reshape(1, -1, size)
    few = torch.nn.functional.adaptive_avg_pool1d(flat, slices)
    back = torch.nn.functional.interpolate(few, size=size, mode="linear", align_corners=False)
    return back.reshape(rows.shape).movedim(-1, axis).contiguous()


def scale_to_unit(image: Tensor) -> Tensor:
    """Shift and scale the range of ``image`` to 0 to 1; a constant image is only clamped."""
    low, high = image.aminmax()
    return (image - low) / (high - low) if high > low else image.clamp(0, 1)


def check_label_map(label: Tensor, classes: Sequence[int] | None) -> Tensor:
    """Return the label map as int64; ValueError unless it is one."""
    if label.ndim not in (3, 4) or label.shape[0] != 1 or not label.numel():
        raise ValueError(f"a label map must be (1, *spatial) with 2 or 3 spatial axes, got {tuple(label.shape)}")
    labels = label.long()
    if not torch.equal(labels.to(label.dtype), label) or labels.min() < 0:
        raise ValueError("a label map must hold integers from 0 on, got other values")
    if classes is not None and labels.max() >= len(classes):
        raise ValueError(f"the label map holds {int(labels.max())}, but classes are given for 0 to {len(classes) - 1}")
    return labels

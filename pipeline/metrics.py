"""What is measured on one registered pair. Each function takes batches of one and returns plain numbers by name."""

import warnings
from collections.abc import Mapping, Sequence

import torch
from monai.metrics.hausdorff_distance import compute_hausdorff_distance
from monai.metrics.meandice import compute_dice
from torch import Tensor

from ..networks import PENALTIES, LocalNCCLoss
from ..transforms import displace_points, jacobian_statistics


def similarity_metrics(warped: Tensor, fixed: Tensor) -> dict[str, float]:
    """``mse``, and ``ncc``: the mean squared local correlation (window 9), 1 at best. Images (1, 1, *spatial)."""
    return {
        "mse": float((warped - fixed).square().mean()),
        "ncc": -float(LocalNCCLoss(fixed.ndim - 2)(warped, fixed)),
    }


def overlap_metrics(
    warped: Tensor, fixed: Tensor, label_names: Mapping[int, str], spacing: Sequence[float]
) -> dict[str, float]:
    """Overlap of two label maps (1, 1, *spatial).

    Returns:
        ``dice/<label>`` for every label, NaN where neither map has it; ``dice``, their mean over the labels present in
        either; ``hd95`` in mm, the 95 % Hausdorff distance averaged over the labels present in both.
    """
    values = torch.tensor(list(label_names), dtype=fixed.dtype, device=fixed.device).view(
        1, -1, *[1] * (fixed.ndim - 2)
    )
    ours, truth = (warped == values).float(), (fixed == values).float()  # (1, labels, *spatial)
    dice = compute_dice(ours, truth, ignore_empty=False)[0]
    in_ours, in_truth = ours.flatten(2).any(2)[0], truth.flatten(2).any(2)[0]
    dice[~(in_ours | in_truth)] = torch.nan
    both = in_ours & in_truth
    metrics = {f"dice/{name}": float(score) for name, score in zip(label_names.values(), dice, strict=True)}
    return {"dice": float(dice.nanmean()), "hd95": _hausdorff(ours[:, both], truth[:, both], spacing), **metrics}


def _hausdorff(ours: Tensor, truth: Tensor, spacing: Sequence[float]) -> float:
    if ours.shape[1] == 0:
        return float("nan")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        distances = compute_hausdorff_distance(
            ours, truth, include_background=True, percentile=95, spacing=list(spacing)
        )
    return float(distances.mean())


def field_metrics(field: Tensor) -> dict[str, float]:
    """Regularity of a displacement or velocity field (1, D, *spatial) in voxels of its own grid.

    Returns:
        the statistics of :func:`~smoothmorph.transforms.jacobian_statistics`, the value of every penalty (without λ
        or multiplier), and ``magnitude``, the mean length in voxels.
    """
    statistics = {name: float(value) for name, value in jacobian_statistics(field).items()}
    penalties = {name: float(make()(field)) for name, make in PENALTIES.items()}
    return {**statistics, **penalties, "magnitude": float(field.norm(dim=1).mean())}


def target_registration_error(
    moving: Tensor, fixed: Tensor, displacement: Tensor | None, spacing: Sequence[float]
) -> float:
    """Mean distance in mm between the landmarks of the moving image and where the field takes those of the fixed one.

    Args:
        moving, fixed: (N, D) corresponding points, in voxels of their own image.
        displacement: (1, D, *spatial) in voxels, fixed -> moving; None measures before registration.
        spacing: mm per voxel.
    """
    predicted = fixed if displacement is None else displace_points(fixed, displacement)
    return float(((predicted - moving) * torch.tensor(spacing)).norm(dim=1).mean())

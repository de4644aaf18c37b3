"""What is measured on one registered pair. Each function takes batches of one and returns plain numbers by name."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from scipy.spatial import cKDTree  # pyright: ignore[reportAttributeAccessIssue] (KDTree with less around it)
from torch import Tensor

from ...networks import PENALTIES, LocalNCCLoss
from ...transforms import displace_points, jacobian_statistics

LARGE = 1000
"""A label value; Allen's atlas has some above 600 million."""


def similarity_metrics(warped: Tensor, fixed: Tensor) -> dict[str, float]:
    """``mse``, and ``ncc``: the mean squared local correlation (window 9), 1 at best. Images (1, 1, *spatial)."""
    return {
        "mse": float((warped - fixed).square().mean()),
        "ncc": -float(LocalNCCLoss(fixed.ndim - 2)(warped, fixed)),
    }


def overlap_metrics(
    warped: Tensor, fixed: Tensor, label_names: Mapping[int, str], spacing: Sequence[float], hausdorff: bool = True
) -> dict[str, float]:
    """Overlap of two label maps (1, 1, *spatial).

    Args:
        warped, fixed: integers; values without a name count as background.
        label_names: by value, above 0; without any, all is NaN.
        spacing: mm per voxel.
        hausdorff: also ``hd95``, which takes much longer than the rest.

    Returns:
        ``dice/<label>`` for every label, NaN where neither map has it; ``dice``, their mean over the labels present in
        either; ``hd95`` in mm, the 95 % Hausdorff distance averaged over the labels present in both.
    """
    if not label_names:
        return {"dice": float("nan"), **({"hd95": float("nan")} if hausdorff else {})}
    if max(label_names) > LARGE:  # numbered anew, because every pair of values is counted
        warped, fixed = (_numbered(labels, list(label_names)) for labels in (warped, fixed))
        label_names = dict(enumerate(label_names.values(), start=1))
    values = torch.tensor(list(label_names), device=fixed.device)
    size = int(values.max()) + 1
    ours, truth = (torch.where((labels >= 0) & (labels < size), labels, 0).long() for labels in (warped, fixed))
    joint = torch.bincount((ours * size + truth).flatten(), minlength=size * size).view(size, size).double()
    in_ours, in_truth = joint.sum(1)[values], joint.sum(0)[values]
    dice = 2 * joint.diagonal()[values] / (in_ours + in_truth)  # 0 / 0 is NaN
    both = values[(in_ours > 0) & (in_truth > 0)].tolist()
    metrics = {"dice": float(dice.nanmean())}
    if hausdorff:
        metrics["hd95"] = _mean_hausdorff(ours[0, 0].cpu().numpy(), truth[0, 0].cpu().numpy(), both, spacing)
    return metrics | {f"dice/{name}": score for name, score in zip(label_names.values(), dice.tolist(), strict=True)}


def _numbered(labels: Tensor, values: Sequence[int]) -> Tensor:
    """The place of each voxel's label in ``values``, counted from 1; 0 where it is not there."""
    ordered, places = torch.tensor(values, device=labels.device).sort()
    found = torch.searchsorted(ordered, labels.long().contiguous())  # else torch warns
    found = found.clamp(max=len(values) - 1)
    return torch.where(ordered[found] == labels, places[found] + 1, 0)


def _mean_hausdorff(ours: np.ndarray, truth: np.ndarray, values: Sequence[int], spacing: Sequence[float]) -> float:
    """Over the labels ``values``.

    As MONAI's ``compute_hausdorff_distance``, which takes ten times as long: it copies each mask through MetaTensors.
    """
    surfaces = [_surfaces(labels, spacing) for labels in (ours, truth)]
    distances = []
    for value in values:
        sides = [surface[value] for surface in surfaces]
        distances.append(max(_percentile95(cKDTree(there).query(here)[0]) for here, there in (sides, sides[::-1])))
    return float(np.mean(distances)) if distances else float("nan")


def _surfaces(labels: np.ndarray, spacing: Sequence[float]) -> dict[int, np.ndarray]:
    """By label above 0, the places (N, D) in mm of its voxels that touch another label or the edge of the image."""
    inside = np.ones(labels.shape, bool)
    around = np.pad(labels, 1)
    for axis in range(labels.ndim):
        for start in (0, 2):
            neighbours = [slice(1, -1)] * labels.ndim
            neighbours[axis] = slice(start, start + labels.shape[axis])
            inside &= around[tuple(neighbours)] == labels
    points = np.argwhere(~inside & (labels > 0))
    values = labels[tuple(points.T)]
    order = np.argsort(values, kind="stable")
    found, starts = np.unique(values[order], return_index=True)
    parts = np.split(points[order] * np.asarray(spacing), starts[1:])  # one, and empty, where nothing is found
    return dict(zip(found.tolist(), parts, strict=False))


def _percentile95(values: np.ndarray) -> float:
    """``np.percentile(values, 95)``, without its preparations, which take longer than a few hundred values."""
    return float(np.interp(0.95 * (len(values) - 1), np.arange(len(values)), np.sort(values)))


def field_metrics(field: Tensor) -> dict[str, float]:
    """Regularity of a displacement or velocity field (1, D, *spatial) in voxels of its own grid.

    Returns:
        the statistics of :func:`~smoothmorph.transforms.jacobian_statistics`, the value of every penalty (without λ
        or multiplier), and ``magnitude``, the mean length in voxels.
    """
    statistics = {name: float(value) for name, value in jacobian_statistics(field).items()}
    penalties = {name: float(make()(field)) for name, make in PENALTIES.items()}
    return {**statistics, **penalties, "magnitude": float(field.square().sum(1).sqrt().mean())}


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

"""How well two image files agree, before and after each stage of their registration."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ...transforms import PhysicalField
from ..evaluation.measured_pair import LabelMap, MeasuredPair
from ..evaluation.vocabulary import METRICS
from .image_pair import ImagePair


@dataclass(frozen=True)
class Agreement:
    """The metrics after one stage of the registration, on the fixed grid, with intensities scaled as in training.

    ``name`` is the stage. ``measures`` are the main metrics by name, in order: similarities, overlap if both label maps
    are given, smoothness.
    """

    name: str
    measures: Mapping[str, float]


def agreement(
    name: str, field: PhysicalField, warped: Tensor, fixed: Tensor, pair: ImagePair, similarity: str
) -> Agreement:
    """Measure one stage.

    Args:
        name: the stage.
        field: its field, on the fixed grid.
        warped, fixed: the moving image after the field, and the fixed one: (1, *fixed).
        pair: the files, for their label maps.
        similarity: what the model minimizes.
    """
    # an affine multiplies all determinants by one factor, so it changes neither folding nor SDlogJ
    labels, spacing = None, field.fixed.spacing
    if (maps := pair.label_maps) is not None:
        moving, truth = maps
        own, _ = field.warp(moving.values, moving.grid, "nearest")
        there = torch.cat([own.unique(), truth.values.unique()]).unique()
        names = {int(value): str(int(value)) for value in there if value > 0}
        labels = LabelMap(own[None].long(), names, spacing), LabelMap(truth.values[None].long(), names, spacing)
    measured = MeasuredPair(warped[None], fixed[None], field.displacement[None], labels=labels, spacing=spacing)
    main = [m for m in METRICS.measured(similarity, slow=False) if m.main and m.interval]
    row = measured.measure(main)
    return Agreement(name, {metric.name: row[metric.name] for metric in main if metric.name in row})
